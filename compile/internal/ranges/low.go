package ranges

import (
	"math/bits"

	"example.com/secgroup/compile/internal/rank"
)

// brief marks, beside Deep, a number whose low halves differ at briefMax places
// or fewer, so that they go into the leaf around it: Deep plus brief plus the
// place of their runs in the editor's list. Each list of runs there begins at
// zero, and ends where the next one does. Maps have no such values.
const brief Value = 1 << 29

// briefMax is enough for one host or prefix, of which most are alone. A leaf of
// 15 high bounds, 16 numbers, then has at most 47 wide ones, within leafMax.
const briefMax = 2

func isBrief(v Value) bool { return v&(Deep|brief) == Deep|brief }

// low returns the runs that v, which is brief, stands for.
func (e *Editor) low(v Value) []Run {
	first := int(v &^ (Deep | brief))
	end := first + 1
	for end < len(e.lows) && e.lows[end].Start != 0 {
		end++
	}
	return e.lows[first:end:end]
}

// Nested returns a value that stands for runs, of all low halves of a number.
// It is for the next change only.
func (e *Editor) Nested(runs []Run) Value {
	switch k := len(runs) - 1; {
	case k == 0:
		return runs[0].Value
	case k <= briefMax:
		e.lows = append(e.lows, runs...)
		return Deep | brief | Value(len(e.lows)-k-1)
	}
	return e.deep(e.piece(0, 1<<64-1, runs))
}

// deep returns a value that stands for the low halves of p.
func (e *Editor) deep(p piece) Value {
	if !p.isNode() && p.count() <= briefMax {
		return e.Nested(e.runs(nil, p, 0, 1<<64-1))
	}
	e.m.deep = append(e.m.deep, p)
	e.grown++
	return Deep | Value(len(e.m.deep)-1)
}

// ReplaceLow is Replace of the low halves below the number high.
func (e *Editor) ReplaceLow(high, first, last uint64, runs []Run) {
	const end = 1<<64 - 1
	was := e.at(high)
	list := []Run{{0, was}}
	switch {
	case isBrief(was):
		list = e.low(was)
	case was&Deep != 0:
		p := e.m.deep[was&(Deep-1)]
		e.m.root = e.replace(e.m.root, 0, e.last, high, high,
			[]Run{{high, e.deep(e.replace(p, 0, end, first, last, runs))}})
		e.lows = e.lows[:0]
		return
	}
	e.Replace(high, high, []Run{{high, e.Nested(splice(list, first, last, end, runs))}})
}

// at returns the value of high as runs have it: it may be brief.
func (e *Editor) at(high uint64) Value {
	p, lo, hi := e.m.root, uint64(0), e.last
	for p.isNode() {
		n := e.m.nodes[p.values()]
		at := high - n.first
		if at > n.span {
			return n.outside(high)
		}
		lo = n.first + at&^(1<<n.shift-1)
		hi = lo + (1<<n.shift - 1)
		p = n.piece(at)
	}
	list := e.runs(nil, p, lo, hi)
	k := len(list) - 1
	for list[k].Start > high {
		k--
	}
	return list[k].Value
}

// anyBrief reports whether some of runs is brief.
func (e *Editor) anyBrief(runs []Run) bool {
	if len(e.lows) == 0 {
		return false
	}
	for _, r := range runs {
		if isBrief(r.Value) {
			return true
		}
	}
	return false
}

// wide returns a leaf of 128-bit bounds: runs as piece has them, at lo, with
// what is brief among them written out.
func (e *Editor) wide(runs []Run) piece {
	at := len(e.m.b64)
	values := e.scratch[:0]
	add := func(high, low uint64, v Value) {
		switch k := len(values); {
		case k == 0:
		case values[k-1].Value == v:
			return
		case low == 0:
			e.m.b64 = append(e.m.b64, high-1, 1<<64-1)
		default:
			e.m.b64 = append(e.m.b64, high, low-1)
		}
		values = append(values, Run{Value: v})
	}
	for _, r := range runs {
		if !isBrief(r.Value) {
			add(r.Start, 0, r.Value)
			continue
		}
		for _, l := range e.low(r.Value) {
			add(r.Start, l.Start, l.Value)
		}
	}
	e.scratch = values
	k := len(values) - 1
	e.m.wide = max(e.m.wide, rank.Steps(uint(k)))
	e.grown += 3*k + 1
	return piece(at) | piece(e.place(values))<<placeBits | piece(k)<<(2*placeBits) | 3<<62
}

// wideRuns appends the runs of a leaf of 128-bit bounds, for lo to hi.
func (e *Editor) wideRuns(list []Run, p piece, lo, hi uint64) []Run {
	at, n := p.bounds(), p.count()
	bound := func(i uint) (high, low uint64) { // where what is behind it begins
		low, carry := bits.Add64(e.m.b64[at+2*i+1], 1, 0)
		return e.m.b64[at+2*i] + carry, low
	}
	list = AppendRun(list, lo, e.m.value(p, 0))
	for i := uint(0); i < n; {
		high, low := bound(i)
		if low == 0 {
			i++
			list = AppendRun(list, high, e.m.value(p, i))
			continue
		}
		v := Deep | brief | Value(len(e.lows))
		e.lows = append(e.lows, Run{0, e.m.value(p, i)})
		for same := high; i < n && same == high && low != 0; {
			i++
			e.lows = append(e.lows, Run{low, e.m.value(p, i)})
			if i < n {
				same, low = bound(i)
			}
		}
		list = AppendRun(list, high, v)
		if high < hi {
			list = AppendRun(list, high+1, e.m.value(p, i))
		}
	}
	return list
}
