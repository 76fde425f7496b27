package table

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel: the table equals a map, and published tables never change.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type published struct {
			t    Table
			want map[uint32]uint32
		}
		var e Editor
		model := map[uint32]uint32{}
		var old []published
		// The last is the inverse of the factor of the hash: all keys crowd.
		spread := rapid.SampledFrom([]uint32{1, 1<<20 + 1, 0x9E3779B1, 0x144CBC89}).Draw(t, "spread")
		draw := func(n uint32) uint32 {
			k := n * spread
			if spread == 1 && n%2 == 1 {
				k |= half
			}
			return k
		}
		keys := rapid.Uint32Range(1, 400)
		load := func(n, step uint32) {
			var list []Pair
			clear(model)
			for k := range n {
				key := draw(k*step + 7)
				list = append(list, Pair{key, k + 1})
				model[key] = k + 1
			}
			e.Load(list)
		}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			k := draw(keys.Draw(t, "key"))
			switch rapid.IntRange(0, 12).Draw(t, "op") {
			case 0:
				old = append(old, published{e.Table(), maps.Clone(model)})
			case 4:
				e.Pack()
			case 1, 2:
				e.Delete(k)
				delete(model, k)
			case 3:
				if rapid.IntRange(0, 9).Draw(t, "load") == 0 {
					load(rapid.Uint32Range(0, 200).Draw(t, "n"), rapid.Uint32Range(1, 12).Draw(t, "step"))
				}
			default:
				v := rapid.Uint32Range(1, 3).Draw(t, "value")
				e.Set(k, v)
				model[k] = v
			}
			require.Equal(t, len(model), e.Len())
			require.Equal(t, model[k], e.Get(k))
		}
		for _, p := range append(old, published{e.Table(), model}) {
			for n := range uint32(2_500) {
				if k := draw(n); p.want[k] != p.t.Get(k) {
					require.Equal(t, p.want[k], p.t.Get(k), k)
				}
			}
		}
	})
}
