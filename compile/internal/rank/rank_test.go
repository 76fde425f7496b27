package rank

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestBelow: a search equals a count, whatever lies around the numbers.
func TestBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		around := rapid.SliceOfN(rapid.Uint16(), 1, 9)
		before, after := around.Draw(t, "before"), around.Draw(t, "after")
		a := rapid.SliceOfN(rapid.Uint16Range(0, 300), 1, 70).Draw(t, "a")
		slices.Sort(a)
		all := slices.Concat(before, a, after)
		steps := Steps(uint(len(a))) + uint(rapid.IntRange(0, 3).Draw(t, "more"))
		for _, key := range append(a, 0, 300, 65535, rapid.Uint16Range(0, 301).Draw(t, "key")) {
			want := uint(0)
			for _, v := range a {
				if v < key {
					want++
				}
			}
			require.Equal(t, want, Below(all, uint(len(before)), uint(len(a)), steps, key), "%d in %v", key, a)
		}
	})
}
