package pages

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel: the array equals a map, and frozen copies never change.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type frozen struct {
			a    *Array[int]
			want map[uint32]int
		}
		var a Array[int]
		model := map[uint32]int{}
		var old []frozen
		index := rapid.Uint32Range(0, 5*size)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "op") == 0 {
				old = append(old, frozen{a.Frozen(), maps.Clone(model)})
			} else {
				i, v := index.Draw(t, "i"), rapid.Int().Draw(t, "v")
				a.Set(i, v)
				model[i] = v
			}
		}
		for _, f := range append(old, frozen{&a, model}) {
			for i := range uint32(6 * size) {
				require.Equal(t, f.want[i], f.a.At(i))
			}
		}
	})
}
