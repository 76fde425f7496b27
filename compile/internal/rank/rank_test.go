package rank

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestOf: a search equals a count, whatever lies around the numbers.
func TestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		around := rapid.SliceOfN(rapid.Uint16(), 1, 9)
		before, after := around.Draw(t, "before"), around.Draw(t, "after")
		a := rapid.SliceOfN(rapid.Uint16Range(0, 300), 0, 70).Draw(t, "a")
		slices.Sort(a)
		all := slices.Concat(before, a, after)
		step := Steps(uint(len(a))) << rapid.IntRange(0, 3).Draw(t, "larger")
		for _, key := range append(a, 0, 300, 65535, rapid.Uint16Range(0, 301).Draw(t, "key")) {
			want := uint(0)
			for _, v := range a {
				if v <= key {
					want++
				}
			}
			require.Equal(t, want, Of(all, uint(len(before)), uint(len(a)), step, key), "%d in %v", key, a)
		}
	})
}
