package ranges

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// function is the obvious form: the value from each start on.
type function []Run

func (f function) at(key uint64) Value {
	v := Value(0)
	for _, r := range f {
		if r.Start <= key {
			v = r.Value
		}
	}
	return v
}

// put gives first to last the value v.
func (f function) put(first, last, domain uint64, v Value) function {
	var starts []uint64
	for _, r := range f {
		starts = append(starts, r.Start)
	}
	starts = append(starts, first)
	if last < domain {
		starts = append(starts, last+1)
	}
	slices.Sort(starts)
	var out []Run
	for _, s := range slices.Compact(starts) {
		is := f.at(s)
		if s >= first && s <= last {
			is = v
		}
		out = AppendRun(out, s, is)
	}
	return out
}

func (f function) within(first, last uint64) []Run {
	out := []Run{{first, f.at(first)}}
	for _, r := range f {
		if r.Start > first && r.Start <= last {
			out = append(out, r)
		}
	}
	return out
}

func (f function) check(t require.TestingT, m *Map, domain uint64) {
	for rest := f; len(rest) > 0; {
		k := min(len(rest), BatchMax)
		keys, values := make([]uint64, k), make([]Value, k)
		for i := range keys {
			keys[i] = rest[i].Start
		}
		m.FindAll(keys, values)
		for i := range keys {
			if values[i] != rest[i].Value {
				require.Equal(t, rest[i].Value, values[i], "%#x in %v", keys[i], f)
			}
		}
		rest = rest[k:]
	}
	for _, r := range f {
		for _, k := range []uint64{r.Start - 1, r.Start, r.Start + 1} {
			if k &= domain; f.at(k) != m.Find(k) {
				require.Equal(t, f.at(k), m.Find(k), "%#x in %v", k, f)
			}
		}
	}
}

// TestModel: after any edits a map is the function that it was made from, and
// the maps before are what they were.
func TestModel(t *testing.T) {
	for range 30 { // of a short run's 20 cases or a long one's 100
		rapid.Check(t, propertyModel)
	}
}

func propertyModel(t *rapid.T) {
	size := rapid.SampledFrom([]uint{5, 16, 17, 32, 64}).Draw(t, "domain")
	domain := uint64(1)<<size - 1
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	// Places crowd around few centres, at every scale.
	centres := []uint64{0, domain, r.Uint64() & domain, r.Uint64() & domain}
	part := func() (first, last uint64) {
		c := centres[r.IntN(len(centres))] ^ r.Uint64()>>(64-size)>>r.UintN(size)
		span := uint64(1)<<r.UintN(size+1) - 1
		if r.IntN(2) == 0 {
			span >>= size / 2
		}
		first = c &^ span & domain
		return first, first | span&domain
	}
	values := rapid.SampledFrom([]int{2, 9}).Draw(t, "values")
	f := function{{}}
	for range rapid.SampledFrom([]int{0, 3, 60, 200}).Draw(t, "start") {
		first, last := part()
		f = f.put(first, last, domain, Value(r.IntN(values)))
	}
	e := NewEditor(domain)
	e.Reset(0)
	e.Build(slices.Clone(f))
	type published struct {
		f function
		m *Map
	}
	old := []published{{f, e.Map()}}
	for range rapid.IntRange(0, 40).Draw(t, "edits") {
		if r.IntN(9) == 0 {
			e.Reset(0)
			e.Build(slices.Clone(f))
		}
		first, last := part()
		f = f.put(first, last, domain, Value(r.IntN(values)))
		e.Replace(first, last, f.within(first, last))
		old = append(old, published{f, e.Map()})
		f.check(t, e.Map(), domain)
		audit(t, e.Map(), domain)
	}
	for _, o := range old {
		o.f.check(t, o.m, domain)
	}
}

// TestNested: the low half decides where the high one is deep.
func TestNested(t *testing.T) {
	e := NewEditor(1<<64 - 1)
	e.Reset(0)
	v := e.Nested([]Run{{0, 7}, {1 << 63, 8}})
	e.Build([]Run{{0, 1}, {100, v}, {101, 2}})
	m := e.Map()
	ask := func(m *Map) []Value {
		list := make([]Value, 5)
		m.FindAll2([]uint64{99, 100, 100, 100, 101}, []uint64{5, 1<<63 - 1, 1 << 63, 1<<63 + 4, 0}, list)
		require.Equal(t, list, []Value{m.Find2(99, 5), m.Find2(100, 1<<63-1), m.Find2(100, 1<<63), m.Find2(100, 1<<63+4), m.Find2(101, 0)})
		return []Value{m.Find2(99, 5), m.Find2(100, 1<<63-1), m.Find2(100, 1<<63), m.Find2(100, 1<<63+4), m.Find2(101, 0)}
	}
	require.Equal(t, []Value{1, 7, 8, 8, 2}, ask(m))
	e.ReplaceLow(100, 1<<63, 1<<63+3, []Run{{1 << 63, 9}})
	e.ReplaceLow(99, 5, 5, []Run{{5, 6}})
	require.Equal(t, []Value{6, 7, 9, 8, 2}, ask(e.Map()))
	e.ReplaceLow(100, 0, 1<<64-1, []Run{{0, 3}})
	require.Equal(t, []Value{6, 3, 3, 3, 2}, ask(e.Map()))
	require.Equal(t, Value(3), e.m.find2(e.m.root, 100, 0), "not deep any more")
	require.Equal(t, []Value{1, 7, 8, 8, 2}, ask(m), "the map before changed")
}

// TestSet: what a set of scattered numbers takes is near the two bytes of each
// of its bounds.
func TestSet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	places := make([]uint64, 2*n)
	for i := range places {
		places[i] = uint64(r.Uint32())
	}
	slices.Sort(places)
	runs := []Run{{}}
	for i, p := range slices.Compact(places) {
		runs = AppendRun(runs, p, Value(1-i%2))
	}
	e := NewEditor(1<<32 - 1)
	e.Reset(0)
	e.Build(runs)
	e.Clip()
	require.Less(t, e.Map().Bytes(), 8*n)
	for i, r := range runs {
		require.Equal(t, r.Value, e.Map().Find(r.Start), i)
	}
}
