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
		spread := rapid.SampledFrom([]uint32{1, 1<<20 + 1, 0x9E3779B1, 0x144CBC89}).Draw(t, "spread") // the last is its inverse: all crowd
		keys := rapid.Uint32Range(1, 300)
		if rapid.Bool().Draw(t, "full") {
			for k := range uint32(200) {
				e.Set((k+1)*spread, 7)
				model[(k+1)*spread] = 7
			}
		}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			k := keys.Draw(t, "key") * spread
			if k == 0 {
				continue
			}
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0:
				old = append(old, published{e.Table(), maps.Clone(model)})
			case 1, 2:
				e.Delete(k)
				delete(model, k)
			default:
				v := rapid.Uint32Range(0, 3).Draw(t, "value")
				e.Set(k, v)
				model[k] = v
			}
			require.Equal(t, len(model), e.Len())
		}
		for _, p := range append(old, published{e.Table(), model}) {
			for k := range uint32(301) {
				if k *= spread; k != 0 {
					v, ok := p.t.Get(k)
					want, has := p.want[k]
					require.Equal(t, has, ok)
					require.Equal(t, want, v)
				}
			}
		}
	})
}
