package chains

import (
	"slices"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/services"
)

// renew merges the lists of the stale classes of a side. Those of low numbers
// come first.
func (s *Set) renew(c *Chain, f int) {
	b := &c.sides[f]
	slices.Sort(b.stale)
	b.stale = slices.Compact(b.stale)
	if n := len(b.stale); n > 0 && c.size == 0 {
		b.lists.Expect(b.stale[0], b.stale[n-1], n)
		b.words.Grow(7 * n) // what most need
	}
	for _, k := range b.stale {
		if !s.join(c, f, k) {
			s.merge(c, f, k)
		}
	}
	b.stale = nil
}

// room is how many pieces may still be merged.
func (s *Set) room(c *Chain, b *builder) int { return s.perRule*len(c.rules) + s.free - b.merged }

// join renews the merged list of class k from those of two classes that make it
// up, and reports whether it knew two such.
func (s *Set) join(c *Chain, f int, k classes.Class) bool {
	b := &c.sides[f]
	if b.walks { // a class without a list may have rules
		return false
	}
	x, y := s.regs[f].Parts(k)
	if x == 0 || x >= k && x&classes.Single == 0 || y >= k && y&classes.Single == 0 {
		return false // or one that may be stale itself
	}
	p, q := services.Ref(b.lists.Get(x)), services.Ref(b.lists.Get(y))
	switch {
	case p == 0 && q == 0:
		b.lists.Delete(k)
	case p == 0 || q == 0:
		b.lists.Set(k, uint32(p|q))
	default:
		in := &s.scratch.pieces
		in[0], in[1] = b.words.Read(in[0][:0], p), b.words.Read(in[1][:0], q)
		in[2] = c.order.Merge(in[2][:0], in[0], in[1])
		switch { // one may add nothing to the other
		case slices.Equal(in[2], in[0]):
			b.lists.Set(k, uint32(p))
		case slices.Equal(in[2], in[1]):
			b.lists.Set(k, uint32(q))
		default:
			s.put(c, f, k, in[2])
		}
	}
	return true
}

// put stores the merged list of class k, if there is room.
func (s *Set) put(c *Chain, f int, k classes.Class, list []services.Piece) {
	b := &c.sides[f]
	if len(list) > s.room(c, b) {
		s.walk(b, f, k)
		return
	}
	r, ok := b.words.Append(list)
	if !ok {
		s.walk(b, f, k)
		return
	}
	b.lists.Set(k, uint32(r))
	b.merged += len(list)
}

// merge renews the merged list of class k from the lists of its selectors.
func (s *Set) merge(c *Chain, f int, k classes.Class) {
	b := &c.sides[f]
	in := &s.scratch.pieces
	var one services.Ref
	n, acc := 0, 0
	for _, sel := range s.regs[f].Set(k) {
		r := services.Ref(b.lists.Get(single(sel)))
		if r == 0 {
			continue
		}
		if n++; n == 1 {
			one = r
			in[acc] = b.words.Read(in[acc][:0], r)
			continue
		}
		next := (acc + 1) % 2
		in[2] = b.words.Read(in[2][:0], r)
		in[next] = c.order.Merge(in[next][:0], in[acc], in[2])
		if acc = next; len(in[acc]) > s.room(c, b) {
			s.walk(b, f, k)
			return
		}
	}
	switch n {
	case 0:
		b.lists.Delete(k)
	case 1:
		b.lists.Set(k, uint32(one))
	default:
		s.put(c, f, k, in[acc])
	}
}

// walk leaves class k to the lists of its selectors.
func (s *Set) walk(b *builder, f int, k classes.Class) {
	b.lists.Delete(k)
	b.walks, s.walks[f] = true, true
}
