package classes

import (
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/sg"
)

// runs returns the classes of the addresses whose high half is first to last:
// an aligned part.
func (s *Space) runs(first, last uint64) []ranges.Run {
	half, all := width(s.family)
	p := prefix{first, 0, uint8(half)}
	for span := last - first; span != 0; span >>= 1 {
		p.bits--
	}
	sw := sweep{family: s.family, last: last}
	if e := s.store.parent(p); e != nil {
		sw.push(e)
	}
	size := 16
	if p.bits == 0 {
		size += 2 * s.store.n
	}
	sw.out = make([]ranges.Run, 0, size)
	sw.out = append(sw.out, ranges.Run{Start: first, Value: sw.top()})
	s.store.from(p, func(e *entry) bool {
		if e.high > last {
			return false
		}
		if uint(e.bits) <= half || half == all {
			sw.nested(s.flat)
			sw.leave(e.high)
			sw.push(e)
			sw.out = ranges.AppendRun(sw.out, e.high, e.full)
			return true
		}
		if len(sw.deep) > 0 && sw.deep[0].high != e.high {
			sw.nested(s.flat)
		}
		if len(sw.deep) == 0 {
			sw.leave(e.high)
		}
		sw.deep = append(sw.deep, e)
		return true
	})
	sw.nested(s.flat)
	sw.leave(last)
	return sw.out
}

// sweep walks over sorted entries.
type sweep struct {
	family sg.Family
	last   uint64   // of the part
	up     []ender  // the entries around the place where the sweep is, the widest first
	deep   []*entry // longer than the high half, of one high half
	low    lowSweep // of those, again and again
	out    []ranges.Run
}

type ender struct {
	last  uint64 // where it ends
	class Class
}

func (w *sweep) top() Class {
	if len(w.up) == 0 {
		return 0
	}
	return w.up[len(w.up)-1].class
}

func (w *sweep) push(e *entry) {
	last, _ := e.last(w.family)
	w.up = append(w.up, ender{last, e.full})
}

// leave ends what ends before to.
func (w *sweep) leave(to uint64) {
	for k := len(w.up); k > 0 && w.up[k-1].last < to; k-- {
		end := w.up[k-1].last + 1
		w.up = w.up[:k-1]
		w.out = ranges.AppendRun(w.out, end, w.top())
	}
}

// nested makes a map of the entries in deep.
func (w *sweep) nested(flat *ranges.Editor) {
	if len(w.deep) == 0 {
		return
	}
	at, above := w.deep[0].high, w.top()
	low := &w.low
	low.family, low.above, low.up, low.out = w.family, above, low.up[:0], append(low.out[:0], ranges.Run{Value: above})
	for _, e := range w.deep {
		low.enter(e)
	}
	low.leave(1<<64 - 1)
	w.out = ranges.AppendRun(w.out, at, flat.Nested(low.out))
	if at < w.last {
		w.out = ranges.AppendRun(w.out, at+1, above)
	}
	w.deep = w.deep[:0]
}

// lowRuns returns the classes of the addresses of p, which is longer than the
// high half and whose last address has that low half.
func (s *Space) lowRuns(p prefix, last uint64) []ranges.Run {
	low := lowSweep{family: s.family}
	if e := s.store.parent(p); e != nil {
		low.above = e.full
	}
	low.out = []ranges.Run{{Start: p.low, Value: low.above}}
	s.store.from(p, func(e *entry) bool {
		if !p.contains(e.prefix, s.family) {
			return false
		}
		low.enter(e)
		return true
	})
	low.leave(last)
	return low.out
}

// lowSweep walks over sorted entries of one high half.
type lowSweep struct {
	family sg.Family
	above  Class // outside of all of them
	up     []ender
	out    []ranges.Run
}

func (w *lowSweep) enter(e *entry) {
	w.leave(e.low)
	_, last := e.last(w.family)
	w.up = append(w.up, ender{last, e.full})
	w.out = ranges.AppendRun(w.out, e.low, e.full)
}

// leave ends what ends before to.
func (w *lowSweep) leave(to uint64) {
	for k := len(w.up); k > 0 && w.up[k-1].last < to; k-- {
		end, c := w.up[k-1].last+1, w.above
		if w.up = w.up[:k-1]; k > 1 {
			c = w.up[k-2].class
		}
		w.out = ranges.AppendRun(w.out, end, c)
	}
}
