package ranges

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/internal/rank"
)

// audit checks the form of a map: leaves are short, sorted, searched to the end,
// and have no bound that they could do without; nodes divide their window evenly;
// low halves have a map of their own only where they differ at many places. It
// returns how many bounds the map has.
func audit(t require.TestingT, m *Map, last uint64) (bounds int) {
	var walk func(p piece, lo, hi uint64)
	walk = func(p piece, lo, hi uint64) {
		if !p.isNode() {
			n := auditLeaf(t, m, p, lo, hi)
			bounds += n
			return
		}
		n := m.nodes[p.values()]
		if n.first&n.span != 0 || n.span&(n.span+1) != 0 || n.span>>n.shift == 0 || n.first < lo || n.first+n.span > hi {
			require.Fail(t, "a window", "%#x to %#x by %d", n.first, n.first+n.span, n.shift)
		}
		if n.first > lo && isBrief(n.below) || n.first+n.span < hi && isBrief(n.beyond) {
			require.Fail(t, "a value", "%#x or %#x outside of a window", n.below, n.beyond)
		}
		pieces := n.span>>n.shift + 1
		require.Len(t, n.pages, int((pieces+pageSize-1)/pageSize))
		for i := range pieces {
			from := n.first + i<<n.shift
			walk(n.pages[i>>pageBits][i%pageSize], from, from+(1<<n.shift-1))
		}
		bounds += 2
	}
	walk(m.root, 0, last)
	for _, p := range m.deep {
		if !p.isNode() && p.count() <= briefMax {
			require.Fail(t, "a deep map", "of %d bounds", p.count())
		}
		walk(p, 0, 1<<64-1)
	}
	return bounds
}

// auditLeaf checks a leaf, from lo to hi, and returns how many bounds it has.
func auditLeaf(t require.TestingT, m *Map, p piece, lo, hi uint64) int {
	n, at := p.count(), p.bounds()
	steps := m.steps
	if p.width() == 3 {
		steps = m.wide
	}
	if n > leafMax || rank.Steps(n) > steps || at == 0 || p.width() == 3 && (n == 0 || at == 1) {
		require.Fail(t, "a leaf", "%d bounds at %d, %d steps", n, at, steps)
	}
	if p.width() == 0 && n > 0 && hi-lo >= 1<<16 || p.width() == 1 && n > 0 && hi-lo >= 1<<32 {
		require.Fail(t, "a width", "%d of %#x to %#x", p.width(), lo, hi)
	}
	value := func(i uint) Value {
		switch p.width() {
		case 0, 3:
			return m.value(p, i)
		case 1:
			return m.b32[at+n+i]
		}
		return Value(m.b64[at+n+i])
	}
	run, inner := uint(0), 0
	var before pair
	for i := range n {
		b := pair{low: 1<<64 - 1} // the last number before what begins
		switch p.width() {
		case 0:
			b.high = lo&^(1<<16-1) | uint64(m.b16[at+i])
		case 1:
			b.high = lo&^(1<<32-1) | uint64(m.b32[at+i])
		case 2:
			b.high = m.b64[at+i]
		default:
			b = pair{m.b64[at+2*i], m.b64[at+2*i+1]}
		}
		if b.compare(pair{lo, 0}) < 0 || i > 0 && b.compare(before) <= 0 || b.compare(pair{hi, 1<<64 - 1}) >= 0 {
			require.Fail(t, "a bound", "%#x in %#x to %#x after %#x", b, lo, hi, before)
		}
		if b.low == 1<<64-1 {
			run = 0
		} else {
			inner++
			if i == 0 || b.high != before.high {
				run = 0
			}
			run++
		}
		if run > briefMax {
			require.Fail(t, "a crowd", "%d bounds in the low halves of %#x", run, b.high)
		}
		if i == 0 && isBrief(value(0)) || isBrief(value(i+1)) || value(i) == value(i+1) {
			require.Fail(t, "a value", "%#x and %#x at %#x", value(i), value(i+1), b)
		}
		before = b
	}
	if (p.width() == 3) != (inner > 0) {
		require.Fail(t, "a width", "%d, %d bounds in low halves", p.width(), inner)
	}
	return int(n)
}

// scattered returns n runs or fewer, of that many values, below last.
func scattered(r *rand.Rand, n, values int, last uint64) []Run {
	places := make([]uint64, n)
	for i := range places {
		places[i] = r.Uint64() & last
	}
	slices.Sort(places)
	runs := []Run{{}}
	for _, p := range slices.Compact(places) {
		runs = AppendRun(runs, p, Value(1+r.IntN(values)))
	}
	return runs
}

// TestForms: maps of all sizes and widths have their form, take no more than some
// bytes for each bound, and answer like the list that they were made of.
func TestForms(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for _, c := range []struct {
		last   uint64
		bounds int
		bytes  [2]float64 // of each bound, at most: of two values, and of many
	}{
		{1<<16 - 1, 7, [2]float64{10, 10}}, {1<<16 - 1, 16, [2]float64{10, 36}}, {1<<16 - 1, 1000, [2]float64{7.5, 14.5}},
		{1<<32 - 1, 3, [2]float64{20, 20}}, {1<<32 - 1, 15, [2]float64{12, 11}}, {1<<32 - 1, 16, [2]float64{12, 40}},
		{1<<32 - 1, 100, [2]float64{25, 21}}, {1<<32 - 1, 1000, [2]float64{17, 17}}, {1<<32 - 1, 40_000, [2]float64{21, 24}},
		{1<<32 - 1, 70_000, [2]float64{26, 11}}, {1<<64 - 1, 8, [2]float64{24, 21}}, {1<<64 - 1, 1000, [2]float64{34, 28}},
	} {
		for i, values := range []int{2, 1000} {
			runs := scattered(r, c.bounds, values, c.last)
			e := NewEditor(c.last)
			e.Reset(0)
			e.Build(runs)
			e.Clip()
			m := e.Map()
			audit(t, m, c.last)
			require.Less(t, float64(m.Bytes())/float64(len(runs)), c.bytes[i], "%d of %#x, %d values", c.bounds, c.last, values)
			require.False(t, e.Stale())
			for i, run := range runs {
				if m.Find(run.Start) != run.Value || i > 0 && m.Find(run.Start-1) != runs[i-1].Value {
					t.Fatalf("%d of %#x: %#x", c.bounds, c.last, run.Start)
				}
			}
		}
	}
}

// TestBytes: every part of a map counts.
func TestBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	e := NewEditor(1<<64 - 1)
	e.Reset(0)
	was := e.Map().Bytes()
	more := func(least int, what string) {
		t.Helper()
		e.Clip()
		is := e.Map().Bytes()
		require.GreaterOrEqual(t, is-was, least, what)
		require.LessOrEqual(t, is-was, 4*least, what)
		was = is
	}
	for range 1000 {
		e.m.deep = append(e.m.deep, e.constant(1))
	}
	more(8*1000, "the roots of maps below")
	for range 1000 {
		e.Nested([]Run{{0, 1}, {1 << 40, 2}, {1 << 41, 1}, {1 << 42, 2}})
	}
	more((8+3*8+4*8)*1000, "bounds of 64 bits")
	for range 1000 {
		e.wide([]Run{{0, 1}, {6, e.Nested([]Run{{0, 1}, {5, 2}, {6, 1}})}, {7, 1}})
	}
	more(2*16*1000, "bounds of 128 bits")
	e.Nested(scattered(r, 5000, 3, 1<<64-1))
	more((8+8)*3000, "nodes and what is below them")
	e = NewEditor(1<<32 - 1)
	e.Reset(0)
	was = e.Map().Bytes()
	e.Build(scattered(r, 10, 3, 1<<32-1))
	more((4+4)*7, "bounds of 32 bits")
	e = NewEditor(1<<16 - 1)
	e.Reset(0)
	was = e.Map().Bytes()
	e.Build(scattered(r, 7, 100, 1<<16-1))
	more((2+4)*6, "bounds of 16 bits")
}

// TestStale: edits leave behind a bounded multiple of what a map takes, if it is
// built anew when it is stale, and that is seldom.
func TestStale(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const last = 1<<32 - 1
	for _, n := range []int{10, 1000, 20_000} {
		f := function(scattered(r, n, 3, last))
		e := NewEditor(last)
		e.Reset(0)
		e.Build(slices.Clone(f))
		e.Clip()
		fresh, anew := e.Map().Bytes(), 0
		const edits = 4000
		for i := range edits {
			if e.Stale() {
				anew++
				e.Reset(0)
				e.Build(slices.Clone(f))
			}
			at := f[1+r.IntN(len(f)-1)].Start // there and away again
			v := Value(9 + i%2)
			e.Replace(at, at, []Run{{at, v}})
			require.Equal(t, v, e.Map().Find(at))
			e.Replace(at, at, []Run{{at, f.at(at)}})
		}
		audit(t, e.Map(), last)
		require.Less(t, e.Map().Bytes(), 4*fresh+4096, n)
		require.True(t, anew > 0 || n == 20_000, n)
		require.Less(t, anew, edits/25, n)
	}
}

// TestEditAroundCrowds: an edit of a part that has a crowd of bounds inside of it,
// or beside it, wherever the crowd lies, leaves the rest as it is.
func TestEditAroundCrowds(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for _, last := range []uint64{1<<32 - 1, 1<<64 - 1} {
		for _, n := range []int{3, 20, 120} {
			for _, at := range []uint64{0, 1 << 24, 3 << 20, last &^ (1<<20 - 1), last>>1 + 1} {
				f := function{{}}
				for range n {
					first := at | r.Uint64()&(1<<20-1)
					f = f.put(first, first, last, Value(1+r.IntN(3)))
				}
				e := NewEditor(last)
				e.Reset(0)
				e.Build(slices.Clone(f))
				top := at | (1<<20 - 1)
				f = f.put(top, top, last, 9)
				e.Replace(top, top, []Run{{top, 9}})
				f.check(t, e.Map(), last)
				for _, bits := range []uint{20, 21, 24, 31} {
					first := at &^ (1<<bits - 1)
					for _, first := range []uint64{first, first ^ 1<<bits} {
						part := first | (1<<bits - 1)
						g := f.put(first+5, first+8, last, 7) // some of it stays
						e := *e                               // from the same map each time
						e.m.nodes = slices.Clone(e.m.nodes)
						e.Replace(first, part, g.within(first, part))
						g.check(t, e.Map(), last)
						g = g.put(first, part, last, 8)
						e.Replace(first, part, g.within(first, part))
						g.check(t, e.Map(), last)
						audit(t, e.Map(), last)
					}
				}
			}
		}
	}
}
