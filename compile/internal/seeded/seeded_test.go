package seeded

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel: a Table has the numbers that a Go map by hash has, with hashes that
// collide.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Table
		model := map[uint32]map[uint32]bool{} // numbers by hash
		hashes := rapid.SampledFrom([]uint32{0, 1, 2, 7, 15, 16, 31, 1 << 31, 1<<32 - 1})
		last, n := uint32(0), 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			h := hashes.Draw(t, "hash")
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				x.Grow(n + rapid.IntRange(0, 50).Draw(t, "room"))
			case 1, 2, 3:
				for number := range model[h] {
					x.Remove(h, number)
					delete(model[h], number)
					n--
					break
				}
			default:
				last++
				x.Add(h, last)
				if model[h] == nil {
					model[h] = map[uint32]bool{}
				}
				model[h][last] = true
				n++
			}
			require.Equal(t, n, x.Len())
		}
		for h, want := range model {
			got := map[uint32]bool{}
			for v, at := x.Next(h, h); v != 0; v, at = x.Next(h, at) {
				require.False(t, got[v], "twice")
				got[v] = true
			}
			require.Equal(t, want, got)
		}
	})
}

// TestSeeds: no two tables hash alike.
func TestSeeds(t *testing.T) {
	var a, b Table
	require.NotEqual(t, a.Mix(a.Seed(), 1), b.Mix(b.Seed(), 1))
	require.Equal(t, a.Mix(a.Seed(), 1), a.Mix(a.Seed(), 1))
}
