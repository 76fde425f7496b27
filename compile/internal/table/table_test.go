package table

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestModel: the table equals a map, and published tables never change.
func TestModel(t *testing.T) {
	often(t, 5, func(t *rapid.T) {
		type published struct {
			t    Table
			want map[uint32]uint32
		}
		var e Editor
		model := map[uint32]uint32{}
		var old []published
		// The last is the inverse of the factor of the hash: all keys crowd.
		spread := rapid.SampledFrom([]uint32{1, 1<<20 + 1, 0x9E3779B1, 0x0E8B2F51}).Draw(t, "spread")
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
			switch rapid.IntRange(0, 13).Draw(t, "op") {
			case 13:
				last := draw(rapid.Uint32Range(1, 400).Draw(t, "last"))
				e.Expect(min(k, last)|k&half, max(k&^half, last&^half)|k&half, rapid.IntRange(0, 400).Draw(t, "expected"))
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
			audit(t, &e)
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

// audit checks that what an editor counts is what its table has, that searches
// end, and that the table is no larger than a few places per key.
func audit(t require.TestingT, e *Editor) {
	for h, a := range e.t.direct {
		n := 0
		for _, page := range a.pages {
			for _, v := range page {
				if v != 0 {
					n++
				}
			}
		}
		require.Equal(t, n, e.count[h])
		require.Len(t, e.own[h], len(a.pages))
	}
	require.Len(t, e.used, len(e.t.pages))
	require.Len(t, e.owned, len(e.t.pages))
	total, places := 0, 0
	for i, page := range e.t.pages {
		n := 0
		for _, o := range page {
			if o.key != 0 {
				n++
				require.Equal(t, o.value, e.t.search(o.key))
				_, _, ok := e.place(o.key, false)
				require.False(t, ok, "an array answers for %d", o.key)
			}
		}
		require.Equal(t, n, e.used[i])
		require.Less(t, n, len(page), "no search would end")
		total, places = total+n, places+len(page)
	}
	require.Equal(t, total, e.n)
	require.LessOrEqual(t, 2*total, max(places, 0))
}

// TestLoadForm: keys that lie close together are in an array, others are hashed,
// and neither takes more than a few places for each.
func TestLoadForm(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, n      uint32
		step          uint32
		direct, pages int // pages of the array; hashed places
	}{
		{"none", 1, 0, 1, 0, 0},
		{"too few", 1, 7, 1, 0, 16},
		{"dense", 1, 8, 1, 1, 0},
		{"dense, far away", 1 << 20, 64, 1, 2, 0},
		{"a page and one", 5, 33, 1, 2, 0},
		{"every fourth", 9, 32, 4, 4, 0},
		{"every fifth", 9, 32, 5, 0, 64},
		{"one more than a power", 9, 33, 5, 0, 128},
		{"many", 9, 1000, 5, 0, 2048},
	} {
		for _, h := range []uint32{0, 1} {
			var list []Pair
			for i := range c.n {
				list = append(list, Pair{(c.first + i*c.step) | h*half, i + 1})
			}
			var e Editor
			e.Set(77, 7) // Load forgets it
			e.Load(list)
			audit(t, &e)
			require.Len(t, e.t.direct[h].pages, c.direct, c.name)
			require.Empty(t, e.t.direct[1-h].pages, c.name)
			places := 0
			for _, p := range e.t.pages {
				places += len(p)
			}
			require.Equal(t, c.pages, places, c.name)
			require.Equal(t, int(c.n), e.Len(), c.name)
			for _, p := range list {
				require.Equal(t, p.Value, e.Get(p.Key), c.name)
			}
			e.Pack()
			require.Len(t, e.t.direct[h].pages, c.direct, c.name)
			for _, p := range list {
				e.Delete(p.Key)
				require.Zero(t, e.Get(p.Key))
			}
			require.Zero(t, e.Len())
			audit(t, &e)
		}
	}
}

// TestCrowd: keys whose hashes lie all in one place are found, in a table of a
// bounded size, and keys beside them too.
func TestCrowd(t *testing.T) {
	const inverse = 0x0E8B2F51 // of the factor of the hash
	for _, n := range []uint32{1, 31, 32, 33, 63, 64, 65, 200, 400} {
		for _, top := range []uint32{0, 1 << 31, 0xfffff000} { // where they lie
			var e Editor
			e.Load(nil)
			for i := range n {
				if k := (top + i) * inverse; k != 0 {
					e.Set(k, i+1)
				}
				e.Set(i*7919*4096+5, i+7)
			}
			audit(t, &e)
			places := 0
			for _, p := range e.t.pages {
				places += len(p)
			}
			require.LessOrEqual(t, places, 64*int(n)+64, "%d", n)
			for i := range n {
				if k := (top + i) * inverse; k != 0 {
					require.Equal(t, i+1, e.Get(k), "%d of %d", i, n)
				}
				require.Equal(t, i+7, e.Get(i*7919*4096+5))
			}
			if n != 65 {
				continue
			}
			for i := range 40 * n { // so many that the crowd is few among them
				e.Set(half|(i+1)*104729, i+3)
			}
			audit(t, &e)
			for i := range n {
				if k := (top + i) * inverse; k != 0 {
					require.Equal(t, i+1, e.Get(k), "%d of %d", i, n)
				}
			}
			for i := range 40 * n {
				require.Equal(t, i+3, e.Get(half|(i+1)*104729))
			}
		}
	}
}

// TestGrow: a table that grows key by key takes at most eight places for each, and
// a few beside; one that lies in an array stays in one, and far keys do not.
func TestGrow(t *testing.T) {
	for name, key := range map[string]func(i uint32) uint32{
		"scattered": func(i uint32) uint32 { return i * 2654435 },
		"dense":     func(i uint32) uint32 { return half | i },
		"by threes": func(i uint32) uint32 { return 3 * i },
	} {
		var e Editor
		var list []Pair
		for i := range uint32(8) {
			list = append(list, Pair{key(i + 1), i + 1})
		}
		e.Load(list)
		ahead := map[uint32]uint32{} // keys that the array comes to later
		for _, i := range []uint32{500, 501, 777, 2999} {
			ahead[key(i)] = 9000 + i
			e.Set(key(i), 9000+i)
		}
		for i := uint32(9); i < 3000; i++ {
			for k, v := range ahead {
				require.Equal(t, v, e.Get(k), name)
			}
			delete(ahead, key(i))
			e.Set(key(i), i)
			if i%100 == 9 {
				audit(t, &e)
				places := 0
				for _, p := range e.t.pages {
					places += len(p)
				}
				for _, a := range e.t.direct {
					places += len(a.pages) * arrayPage
				}
				require.LessOrEqual(t, places, 8*int(i)+spare+arrayPage, name)
			}
		}
		if name != "scattered" {
			require.Zero(t, e.n, name)
		}
		e.Set(key(1)&half|1<<30, 5)
		require.Equal(t, uint32(5), e.Get(key(1)&half|1<<30))
		require.Equal(t, 3000, e.Len())
		for i := uint32(1); i < 3000; i++ {
			require.Equal(t, i, e.Get(key(i)))
		}
		audit(t, &e)
	}
}

// often checks a property in n times as many cases as rapid does by itself, which
// is 20 of a short run and 100 of a long one.
func often(t *testing.T, n int, property func(*rapid.T)) {
	for range n {
		rapid.Check(t, property)
	}
}
