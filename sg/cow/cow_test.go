package cow_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg/cow"
)

// TestModel: any sequence of writes and clones equals plain maps, and writing
// to one copy never shows in another.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type pair struct {
			m     *cow.Map[int, int]
			model map[int]int
		}
		pairs := []pair{{cow.New[int, int](cmp.Compare[int]), map[int]int{}}}
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for range steps {
			p := pairs[rapid.IntRange(0, len(pairs)-1).Draw(t, "copy")]
			from := rapid.IntRange(0, 2000).Draw(t, "from")
			n := rapid.IntRange(1, 400).Draw(t, "n")
			switch rapid.IntRange(0, 4).Draw(t, "op") {
			case 0, 1:
				for k := from; k < from+n; k++ {
					p.m.Set(k, n)
					p.model[k] = n
				}
			case 2:
				for k := from + n; k >= from; k -= 3 {
					p.m.Set(k, k)
					p.model[k] = k
				}
			case 3:
				for k := from; k < from+n; k++ {
					_, had := p.model[k]
					delete(p.model, k)
					require.Equal(t, had, p.m.Delete(k))
				}
			case 4:
				if len(pairs) < 6 {
					pairs = append(pairs, pair{p.m.Clone(), maps.Clone(p.model)})
				}
			}
		}
		for _, p := range pairs {
			require.Equal(t, len(p.model), p.m.Len())
			want := slices.Sorted(maps.Keys(p.model))
			for _, n := range []int{0, 1, 255, 256, 257, len(want), len(want) + 1} {
				var tail []int
				for k, v := range p.m.Tail(n) {
					tail = append(tail, k)
					require.Equal(t, p.model[k], v)
				}
				require.True(t, slices.Equal(want[max(0, len(want)-n):], tail), "%d of %d", n, len(want))
			}
			var got []int
			for k, v := range p.m.All() {
				got = append(got, k)
				require.Equal(t, p.model[k], v)
			}
			require.Equal(t, want, got)
			at := rapid.IntRange(0, 2500).Draw(t, "at")
			v, ok := p.m.Get(at)
			w, has := p.model[at]
			require.Equal(t, has, ok)
			require.Equal(t, w, v)
			if ref := p.m.Ref(at); ok {
				require.Equal(t, w, *ref)
			} else {
				require.Nil(t, ref)
			}
			i, _ := slices.BinarySearch(want, at)
			got = nil
			for k := range p.m.From(at) {
				got = append(got, k)
			}
			require.Equal(t, len(want)-i, len(got))
			if len(got) > 0 {
				require.Equal(t, want[i:], got)
			}
		}
	})
}

// TestConcurrentClones: readers may clone what nobody writes to.
func TestConcurrentClones(t *testing.T) {
	m := cow.New[int, int](cmp.Compare[int])
	for k := range 1000 {
		m.Set(k, k)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			c := m.Clone()
			for k := range 1000 {
				c.Set(k, g)
			}
		})
	}
	wg.Wait()
	for k, v := range m.All() {
		require.Equal(t, k, v)
	}
}

func Example() {
	before := cow.New[string, int](cmp.Compare[string])
	before.Set("b", 2)
	before.Set("a", 1)
	after := before.Clone()
	after.Set("c", 3)
	after.Delete("a")
	for k, v := range before.All() {
		fmt.Println("before", k, v)
	}
	for k, v := range after.All() {
		fmt.Println("after", k, v)
	}
	// Output:
	// before a 1
	// before b 2
	// after b 2
	// after c 3
}
