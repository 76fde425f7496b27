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

// TestBelowPair: a search equals a count, whatever lies around the pairs.
func TestBelowPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := rapid.SampledFrom([]uint64{0, 1, 2, 1 << 63, 1<<64 - 2, 1<<64 - 1})
		pairs := rapid.Custom(func(t *rapid.T) [2]uint64 { return [2]uint64{half.Draw(t, "high"), half.Draw(t, "low")} })
		compare := func(a, b [2]uint64) int { return slices.Compare(a[:], b[:]) }
		around := rapid.SliceOfN(pairs, 1, 3)
		a := rapid.SliceOfN(pairs, 1, 70).Draw(t, "a")
		slices.SortFunc(a, compare)
		before := around.Draw(t, "before")
		var all []uint64
		for _, p := range slices.Concat(before, a, around.Draw(t, "after")) {
			all = append(all, p[:]...)
		}
		steps := Steps(uint(len(a))) + uint(rapid.IntRange(0, 3).Draw(t, "more"))
		for _, key := range append(a, [2]uint64{}, pairs.Draw(t, "key")) {
			want := uint(0)
			for _, v := range a {
				if compare(v, key) < 0 {
					want++
				}
			}
			require.Equal(t, want, BelowPair(all, uint(2*len(before)), uint(len(a)), steps, key[0], key[1]), "%d in %v", key, a)
		}
	})
}
