package classes

import (
	"iter"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Space is the addresses of one VPC in one family. It is not safe for
// concurrent use, but the maps it publishes are.
type Space struct {
	family sg.Family
	reg    *Registry
	store  store
	again  map[member]int // how often a selector has a prefix, beyond the first time
	queue  []change
	first  []entry // queued beside: members that come, once more each, where nothing was
	sorted bool    // first is, and of different prefixes
	flat   *ranges.Editor
}

type member struct {
	prefix
	sel ir.SelectorNum
}

// change is n times more, or less, that a selector has a prefix.
type change struct {
	member
	n int32
}

// NewSpace returns an empty space of family f whose classes are in r.
func NewSpace(f sg.Family, r *Registry) *Space {
	half, _ := width(f)
	return &Space{family: f, reg: r, store: store{family: f}, flat: ranges.NewEditor(1<<half - 1)}
}

// Map returns the class of each address as it is now, by the high and the low
// half of the address; of IPv4, by the address alone. It never changes.
func (s *Space) Map() *ranges.Map { return s.flat.Map() }

// Empty reports whether no selector has any prefix.
func (s *Space) Empty() bool { return s.store.n == 0 && len(s.queue)+len(s.first) == 0 }

// Count returns how often sel had p when the space was last settled.
func (s *Space) Count(p netip.Prefix, sel ir.SelectorNum) int {
	m := member{prefixOf(p), sel}
	if e := s.store.get(m.prefix); e == nil || !s.reg.has(e.own, sel) {
		return 0
	}
	return 1 + s.again[m]
}

// Change notes that sel has p n times more, less if n is negative. It takes
// effect with Settle.
func (s *Space) Change(p netip.Prefix, sel ir.SelectorNum, n int) {
	if n == 1 && s.store.n == 0 && len(s.queue) == 0 {
		s.begin(prefixOf(p), sel)
		return
	}
	s.spill()
	s.queue = append(s.queue, change{member{prefixOf(p), sel}, int32(n)})
}

// begin notes that sel has p, where nothing was.
func (s *Space) begin(p prefix, sel ir.SelectorNum) {
	k := len(s.first)
	if k == cap(s.first) {
		s.first = slices.Grow(s.first, max(16, k))
	}
	s.sorted = k == 0 || s.sorted && s.first[k-1].compare(p) < 0
	s.first = append(s.first, entry{prefix: p, own: Single | Class(sel)})
}

// Fill is Change of all prefixes, n of them about, once more each.
func (s *Space) Fill(prefixes iter.Seq[netip.Prefix], sel ir.SelectorNum, n int) {
	if s.store.n > 0 || len(s.queue) > 0 {
		s.queue = slices.Grow(s.queue, n)
		for p := range prefixes {
			s.Change(p, sel, 1)
		}
		return
	}
	s.first = slices.Grow(s.first, n)
	for p := range prefixes {
		s.begin(prefixOf(p), sel)
	}
}

// spill queues what begin noted.
func (s *Space) spill() {
	if len(s.first) == 0 {
		return
	}
	s.queue = slices.Grow(s.queue, len(s.first))
	for _, e := range s.first {
		s.queue = append(s.queue, change{member{e.prefix, ir.SelectorNum(e.own &^ Single)}, 1})
	}
	s.first = nil
}

// Settle carries out what Change noted. It costs about what changes, or what
// there is if that is less. Classes that are not in use any more keep their
// number until the registry is flushed.
func (s *Space) Settle() {
	if len(s.first) > 0 {
		list := s.first
		if !s.sorted {
			sortEntries(list, s.family)
			list = s.unite(list)
		}
		s.first = nil
		s.build(list)
		return
	}
	if len(s.queue) == 0 {
		return
	}
	slices.SortFunc(s.queue, change.compare)
	turns := s.count()
	s.queue = nil
	switch {
	case len(turns) == 0:
	case s.store.n == 0 || len(turns) > s.store.n/16 || s.flat.Stale():
		s.rebuild(turns)
	default:
		s.edit(turns)
	}
}

// count counts what is queued and returns the members that come (n is 1) and
// go (n is -1), in order.
func (s *Space) count() []change {
	turns := s.queue[:0]
	for q := s.queue; len(q) > 0; {
		c := q[0]
		for q = q[1:]; len(q) > 0 && q[0].member == c.member; q = q[1:] {
			c.n += q[0].n
		}
		had := 0
		if s.store.n > 0 {
			if e := s.store.get(c.prefix); e != nil && s.reg.has(e.own, c.sel) {
				had = 1 + s.again[c.member]
			}
		}
		has := max(had+int(c.n), 0)
		if had > 1 || has > 1 {
			if s.again == nil {
				s.again = map[member]int{}
			}
			if s.again[c.member] = has - 1; has < 2 {
				delete(s.again, c.member)
			}
		}
		if (had > 0) != (has > 0) {
			c.n = 1
			if has == 0 {
				c.n = -1
			}
			turns = append(turns, c)
		}
	}
	return turns
}

// unite makes one entry of those of one prefix, in place. They are of one
// selector each.
func (s *Space) unite(list []entry) []entry {
	out := list[:0]
	var last Class
	for _, e := range list {
		k := len(out) - 1
		switch {
		case k < 0 || out[k].prefix != e.prefix:
			out = append(out, e)
		case e.own == last:
			if s.again == nil {
				s.again = map[member]int{}
			}
			s.again[member{e.prefix, ir.SelectorNum(last &^ Single)}]++
		default:
			was := out[k].own
			out[k].own = s.reg.join(was, e.own)
			s.reg.release(was)
		}
		last = e.own
	}
	return out
}

// owns returns what own becomes when turns, all of one prefix, have happened.
func (s *Space) owns(own Class, turns []change) Class {
	s.reg.retain(own)
	for _, c := range turns {
		was := own
		if c.n > 0 {
			own = s.reg.join(was, Single|Class(c.sel))
		} else {
			own = s.reg.without(was, c.sel)
		}
		s.reg.release(was)
	}
	return own
}

// next cuts the turns of one prefix off.
func next(turns []change) (same, rest []change) {
	n := 1
	for n < len(turns) && turns[n].prefix == turns[0].prefix {
		n++
	}
	return turns[:n], turns[n:]
}

// edit carries out few turns.
func (s *Space) edit(turns []change) {
	for rest := turns; len(rest) > 0; {
		var same []change
		same, rest = next(rest)
		p := same[0].prefix
		e := s.store.get(p)
		if e == nil {
			s.store.insert(entry{prefix: p, own: s.owns(0, same)})
			continue
		}
		own := s.owns(e.own, same)
		s.reg.release(e.own)
		if e.own = own; own == 0 {
			s.reg.release(e.full)
			s.store.remove(p)
		}
	}
	var outer []prefix // those that changed and are not inside of another
	for _, c := range turns {
		if k := len(outer); k == 0 || !outer[k-1].contains(c.prefix, s.family) {
			outer = append(outer, c.prefix)
			s.refresh(c.prefix)
		}
	}
	half, _ := width(s.family)
	for _, p := range outer {
		last, low := p.last(s.family)
		if uint(p.bits) <= half {
			s.flat.Replace(p.high, last, s.runs(p.high, last))
		} else {
			s.flat.ReplaceLow(p.high, p.low, low, s.lowRuns(p, low))
		}
	}
}

// refresh renews the classes of p and of all inside of it.
func (s *Space) refresh(p prefix) {
	var up nest
	if e := s.store.parent(p); e != nil {
		up.enter(e, s.family)
	}
	s.store.from(p, func(e *entry) bool {
		if !p.contains(e.prefix, s.family) {
			return false
		}
		s.fill(e, &up)
		return true
	})
}

// fill gives e its full class, given those around the entry before.
func (s *Space) fill(e *entry, up *nest) {
	was := e.full
	e.full = s.reg.join(up.around(e), e.own)
	s.reg.release(was)
	up.enter(e, s.family)
}

// nest is the entries around a place, the widest first.
type nest []around

// around is where an entry ends, and its full class.
type around struct {
	high, low uint64
	full      Class
}

// around returns the full class of the narrowest that e is inside of. Those
// that end before e go.
func (n *nest) around(e *entry) Class {
	for k := len(*n) - 1; k >= 0; k-- {
		if a := &(*n)[k]; a.high > e.high || a.high == e.high && a.low >= e.low {
			return a.full
		}
		*n = (*n)[:k]
	}
	return 0
}

func (n *nest) enter(e *entry, f sg.Family) {
	high, low := e.last(f)
	*n = append(*n, around{high, low, e.full})
}

// rebuild carries out turns by making everything anew.
func (s *Space) rebuild(turns []change) {
	list := make([]entry, 0, s.store.n+len(turns))
	old := make([]Class, 0, 2*s.store.n)
	add := func(e entry, same []change) {
		if len(same) > 0 {
			own := s.owns(e.own, same)
			s.reg.release(e.own)
			e.own = own
		}
		if e.own == 0 {
			old = append(old, e.full)
			return
		}
		list = append(list, e)
	}
	for _, chunk := range s.store.chunks {
		for _, e := range chunk {
			for len(turns) > 0 && turns[0].prefix.compare(e.prefix) < 0 {
				var same []change
				same, turns = next(turns)
				add(entry{prefix: same[0].prefix}, same)
			}
			var same []change
			if len(turns) > 0 && turns[0].prefix == e.prefix {
				same, turns = next(turns)
			}
			add(e, same)
		}
	}
	for len(turns) > 0 {
		var same []change
		same, turns = next(turns)
		add(entry{prefix: same[0].prefix}, same)
	}
	for _, c := range old {
		s.reg.release(c)
	}
	s.build(list)
}

// build makes list, sorted and without full classes that are up to date, all
// that there is.
func (s *Space) build(list []entry) {
	up := make(nest, 0, 130)
	s.reg.expect(list)
	for i := range list {
		s.fill(&list[i], &up)
	}
	s.store.load(list)
	s.flat.Reset(len(list))
	half, _ := width(s.family)
	s.flat.Build(s.runs(0, 1<<half-1))
	s.flat.Clip()
}
