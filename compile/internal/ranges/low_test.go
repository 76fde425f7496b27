package ranges

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// pair is a number of two halves.
type pair struct{ high, low uint64 }

func (p pair) compare(q pair) int {
	return cmp.Or(cmp.Compare(p.high, q.high), cmp.Compare(p.low, q.low))
}

func (p pair) next() pair {
	if p.low++; p.low == 0 {
		p.high++
	}
	return p
}

func (p pair) previous() pair {
	if p.low--; p.low == 1<<64-1 {
		p.high--
	}
	return p
}

// plane is the obvious form of a map of pairs: the value from each start on.
type plane []pairRun

type pairRun struct {
	pair
	v Value
}

func (f plane) at(k pair) Value {
	v := Value(0)
	for _, r := range f {
		if r.compare(k) <= 0 {
			v = r.v
		}
	}
	return v
}

// put gives first to last the value v.
func (f plane) put(first, last pair, v Value) plane {
	starts := []pair{first}
	for _, r := range f {
		starts = append(starts, r.pair)
	}
	if end := last.next(); end != (pair{}) {
		starts = append(starts, end)
	}
	slices.SortFunc(starts, pair.compare)
	var out plane
	for _, s := range slices.Compact(starts) {
		is := f.at(s)
		if s.compare(first) >= 0 && s.compare(last) <= 0 {
			is = v
		}
		if k := len(out); k == 0 || out[k-1].v != is {
			out = append(out, pairRun{s, is})
		}
	}
	return out
}

// lows returns the low halves of high from first to last.
func (f plane) lows(high, first, last uint64) []Run {
	out := []Run{{first, f.at(pair{high, first})}}
	for _, r := range f {
		if r.high == high && r.low > first && r.low <= last {
			out = AppendRun(out, r.low, r.v)
		}
	}
	return out
}

// highs returns the runs of the numbers whose high half is first to last.
func (f plane) highs(e *Editor, first, last uint64) []Run {
	places := []uint64{first}
	for _, r := range f {
		if r.high >= first && r.high <= last {
			places = append(places, r.high)
		}
		if r.high >= first && r.high < last {
			places = append(places, r.high+1)
		}
	}
	slices.Sort(places)
	var out []Run
	for _, p := range slices.Compact(places) {
		out = AppendRun(out, p, e.Nested(f.lows(p, 0, 1<<64-1)))
	}
	return out
}

// edit makes e what f is from first to last, an aligned part.
func (f plane) edit(e *Editor, first, last pair) {
	if first.low == 0 && last.low == 1<<64-1 {
		e.Replace(first.high, last.high, f.highs(e, first.high, last.high))
	} else {
		e.ReplaceLow(first.high, first.low, last.low, f.lows(first.high, first.low, last.low))
	}
}

func (f plane) build(e *Editor) {
	e.Reset(0)
	e.Build(f.highs(e, 0, 1<<64-1))
}

func (f plane) check(t require.TestingT, m *Map) {
	var keys []pair
	for _, r := range f {
		for _, h := range []uint64{r.high, r.high - 1, r.high + 1} {
			for _, l := range []uint64{r.low, 0, 1<<64 - 1} {
				keys = append(keys, pair{h, l})
			}
		}
		keys = append(keys, r.previous(), r.next())
	}
	for list := range slices.Chunk(keys, BatchMax) {
		var high, low [BatchMax]uint64
		var values [BatchMax]Value
		for i, k := range list {
			high[i], low[i] = k.high, k.low
		}
		n := len(list)
		m.FindAll2(high[:n], low[:n], values[:n])
		for i, k := range list {
			if want := f.at(k); values[i] != want || m.Find2(k.high, k.low) != want {
				require.Equal(t, []Value{want, want}, []Value{values[i], m.Find2(k.high, k.low)}, "%#x in %#x", k, f)
			}
		}
	}
}

// TestPairs: after any edits of parts of high and of low halves a map is the
// function that it was made from, and the maps before are what they were.
func TestPairs(t *testing.T) {
	for range 10 {
		rapid.Check(t, propertyPairs)
	}
}

func propertyPairs(t *rapid.T) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	ends := []uint64{0, 1<<64 - 1, r.Uint64(), r.Uint64()}
	crowd := rapid.SampledFrom([]uint{2, 5, 64}).Draw(t, "crowd") // how many bits vary
	near := func() uint64 {
		n := ends[r.IntN(len(ends))]
		if crowd < 64 && r.IntN(4) > 0 {
			return n ^ r.Uint64N(1<<crowd)
		}
		return n ^ r.Uint64()>>r.UintN(64)
	}
	part := func() (first, last pair) {
		p := pair{near(), near()}
		span := uint64(1)<<r.UintN(64) - 1
		switch r.IntN(6) {
		case 0: // a prefix of the high half
			return pair{p.high &^ span, 0}, pair{p.high | span, 1<<64 - 1}
		case 1:
			return pair{p.high, 0}, pair{p.high, 1<<64 - 1}
		case 2: // longer than it
			return pair{p.high, p.low &^ span}, pair{p.high, p.low | span}
		}
		return p, p
	}
	values := rapid.SampledFrom([]int{2, 9}).Draw(t, "values")
	f := plane{{}}
	change := func() (first, last pair) {
		first, last = part()
		f = f.put(first, last, Value(r.IntN(values)))
		return first, last
	}
	for range rapid.SampledFrom([]int{0, 3, 30, 90}).Draw(t, "start") {
		change()
	}
	e := NewEditor(1<<64 - 1)
	f.build(e)
	type published struct {
		f plane
		m *Map
	}
	old := []published{{f, e.Map()}}
	for range rapid.IntRange(0, 25).Draw(t, "edits") {
		if r.IntN(9) == 0 {
			f.build(e)
		}
		first, last := change()
		f.edit(e, first, last)
		require.Empty(t, e.lows, "kept for the next change")
		m := e.Map()
		old = append(old, published{f, m})
		f.check(t, m)
		audit(t, m, 1<<64-1)
	}
	for _, o := range old {
		o.f.check(t, o.m)
	}
}

// TestHosts: hosts at both ends of a high half, side by side, of the value
// around them, within each other's prefixes, alone and in crowds, as they come
// and as they go.
func TestHosts(t *testing.T) {
	const end = 1<<64 - 1
	type part struct {
		first, last pair
		v           Value
	}
	host := func(high, low uint64, v Value) part { return part{pair{high, low}, pair{high, low}, v} }
	crowd := func(high uint64, n uint64) (out []part) {
		for i := range n {
			out = append(out, host(high, 3+i*i, 7))
		}
		return out
	}
	for name, parts := range map[string][]part{
		"first":           {host(9, 0, 1)},
		"last":            {host(9, end, 1)},
		"both":            {host(9, 0, 1), host(9, end, 1)},
		"all of it":       {host(9, 0, 1), {pair{9, 0}, pair{9, end}, 1}},
		"across":          {host(9, end, 1), host(10, 0, 1)},
		"side by side":    {host(9, 6, 1), host(9, 7, 2)},
		"the same":        {host(9, 6, 1), host(9, 7, 1)},
		"as around":       {{pair{8, 0}, pair{15, end}, 1}, host(9, 7, 1), host(10, 7, 2)},
		"of the bounds":   {{pair{8, 0}, pair{15, end}, 1}, host(7, end, 1), host(8, 0, 2), host(15, end, 2), host(16, 0, 1)},
		"of the domain":   {host(0, 0, 1), host(end, end, 1)},
		"ends of a half":  {host(0, end, 1), host(end, 0, 1)},
		"a prefix":        {{pair{9, 1 << 40}, pair{9, 1<<41 - 1}, 1}, host(9, 1<<40, 2), host(9, 1<<41-1, 3)},
		"halves of it":    {{pair{9, 0}, pair{9, 1<<63 - 1}, 1}, {pair{9, 1 << 63}, pair{9, end}, 1}},
		"few":             crowd(9, briefMax+1),
		"a leaf of hosts": crowd(9, 7),
		"more":            crowd(9, 40),
		"in a row":        {host(9, 1, 1), host(10, 1, 1), host(11, 1, 1), host(12, 1, 1), host(13, 1, 1), host(14, 1, 1), host(15, 1, 1), host(16, 1, 1), host(17, 1, 1)},
		"of many values": {host(9, 1, 1), host(10, 1, 2), host(11, 1, 3), host(12, 1, 4), host(13, 1, 5), host(14, 1, 6), host(15, 1, 7),
			host(16, 1, 8), {pair{9, 1 << 8}, pair{9, 1<<9 - 1}, 9}},
		"beside a crowd": append(crowd(9, 20), host(8, end, 1), host(10, 0, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, around := range []int{0, 25} { // other hosts, so that there are nodes
				f := plane{{}}
				for i := range around {
					k := pair{uint64(i*i+30) << 2, uint64(i) << 32}
					f = f.put(k, k, Value(20+i%3))
				}
				e := NewEditor(end)
				f.build(e)
				check := func() {
					t.Helper()
					m := e.Map()
					f.check(t, m)
					audit(t, m, end)
					fresh := NewEditor(end)
					f.build(fresh)
					f.check(t, fresh.Map())
					audit(t, fresh.Map(), end)
				}
				was := []plane{f}
				for _, p := range parts {
					f = f.put(p.first, p.last, p.v)
					f.edit(e, p.first, p.last)
					check()
					was = append(was, f)
				}
				for i := range parts { // and back
					k := len(parts) - 1 - i
					f = was[k]
					f.edit(e, parts[k].first, parts[k].last)
					check()
				}
				require.Equal(t, was[0], f)
			}
		})
	}
}

// TestLowForms: a host is kept beside the bound of its high half, and so is one
// that others leave behind; a crowd is not.
func TestLowForms(t *testing.T) {
	e := NewEditor(1<<64 - 1)
	f := plane{{}}
	put := func(k pair, v Value) Value {
		f = f.put(k, k, v)
		f.edit(e, k, k)
		f.check(t, e.Map())
		audit(t, e.Map(), 1<<64-1)
		return e.m.find2(e.m.root, 5, 9)
	}
	require.Equal(t, Value(1), put(pair{5, 9}, 1))
	require.NotZero(t, put(pair{5, 20}, 1)&Deep)
	require.Equal(t, Value(1), put(pair{5, 20}, 0), "a crowd that shrinks to one")
	require.NotZero(t, put(pair{5, 20}, 1)&Deep)
	require.Equal(t, Value(0), put(pair{5, 9}, 0), "one that goes")
	require.Zero(t, put(pair{5, 20}, 0)&Deep)
	require.True(t, e.m.root.isConstant())
	for i := range uint64(30) {
		put(pair{5, 2 * i}, 1)
	}
	require.True(t, e.m.deep[e.m.find2(e.m.root, 5, 0)&(Deep-1)].isNode())
}

// TestHostSet: what a large set of hosts takes is near the 32 bytes of the two
// bounds of each, next to none is below a second node, and none has a map of its own.
func TestHostSet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n = 60_000
	hosts := make([]pair, n)
	for i := range hosts {
		hosts[i] = pair{r.Uint64(), r.Uint64()>>1 + 1}
	}
	slices.SortFunc(hosts, pair.compare)
	e := NewEditor(1<<64 - 1)
	e.Reset(0)
	runs := []Run{{}}
	for _, h := range hosts {
		runs = AppendRun(runs, h.high, e.Nested([]Run{{0, 0}, {h.low, 1}, {h.low + 1, 0}}))
		runs = AppendRun(runs, h.high+1, 0)
	}
	e.Build(runs)
	e.Clip()
	m := e.Map()
	audit(t, m, 1<<64-1)
	require.Less(t, m.Bytes(), 40*n)
	require.Less(t, len(m.nodes), n/1000)
	require.Empty(t, m.deep)
	for list := range slices.Chunk(hosts, BatchMax) {
		var high, low [BatchMax]uint64
		var values [BatchMax]Value
		k := len(list)
		for i, h := range list {
			high[i], low[i] = h.high, h.low
			require.Equal(t, []Value{0, 1, 0}, []Value{m.Find2(h.high, h.low-1), m.Find2(h.high, h.low), m.Find2(h.high, h.low+1)})
		}
		m.FindAll2(high[:k], low[:k], values[:k])
		for _, v := range values[:k] {
			require.Equal(t, Value(1), v)
		}
	}
}
