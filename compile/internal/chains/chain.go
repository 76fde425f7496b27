package chains

import (
	"slices"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/internal/table"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Bounds of the memory of merged lists.
const (
	piecesPerRule = 48
	piecesFree    = 1 << 13
)

// Chain makes the indexes of one chain, each from the one before. It belongs
// to a Set.
type Chain struct {
	Policy uint32 // for the caller

	rules []ir.RuleNum     // in order
	peers []ir.SelectorNum // of each
	slots []uint32         // of each
	order services.Order
	lists map[ir.SelectorNum]*lists
	sides [2]builder

	fallback  ir.Verdict
	stateless int // how many rules are
	size      int // pieces when all was built
	touched   bool
	index     *Index
}

// lists is the rules for one peer, merged.
type lists struct {
	slots  []uint32 // of the rules, in any order
	pieces [2][]services.Piece
	refs   [2]services.Ref
}

// builder is a side in the making.
type builder struct {
	words  services.Words
	lists  table.Editor
	any    services.Ref
	merged int             // pieces of merged lists since all was built
	walks  bool            // since then, some class got no merged list
	stale  []classes.Class // whose merged lists are out of date
}

// Index returns the chain as of the last Settle.
func (c *Chain) Index() *Index { return c.index }

func side4or6(f sg.Family) int {
	if f == sg.IPv6 {
		return 1
	}
	return 0
}

// rule is the slot of a rule that is in the chain.
type rule struct {
	*ir.Rule
	slot uint32
}

// hit is what r has in its list.
func (r rule) hit() services.Hit {
	h := r.slot << 1
	if r.Action == sg.Accept && !r.Stateless {
		h |= 1
	}
	return h
}

// outcome returns what a rule does, without a label.
func outcome(r *ir.Rule) uint64 {
	o := uint64(r.Num)
	if r.Ref.Platform != "" {
		o |= platform
	}
	if r.Action == sg.Accept {
		o |= accepts
	}
	return o
}

// label gives all rules labels with equal gaps, in a new order: indexes that
// were published keep theirs.
func (c *Chain) label() {
	c.order = slices.Clone(c.order)
	gap := uint64(1<<labelBits) / uint64(len(c.slots)+1)
	for i, slot := range c.slots {
		c.order[slot] = c.order[slot]&(1<<labelAt-1) | uint64(i+1)*gap<<labelAt
	}
}

// between labels the n slots from at on, and reports whether there was room.
func (c *Chain) between(at, n int) bool {
	lo, hi := uint64(0), uint64(1<<labelBits)
	if at > 0 {
		lo = c.order[c.slots[at-1]] >> labelAt
	}
	if at+n < len(c.slots) {
		hi = c.order[c.slots[at+n]] >> labelAt
	}
	gap := (hi - lo) / uint64(n+1)
	for i := range n {
		c.order[c.slots[at+i]] |= (lo + uint64(i+1)*gap) << labelAt
	}
	return gap > 0
}

// publish makes the index.
func (c *Chain) publish() {
	x := &Index{order: c.order, fallback: c.fallback, firstPeer: ^uint64(0), stateless: c.stateless > 0}
	if i := slices.IndexFunc(c.peers, func(s ir.SelectorNum) bool { return s != ir.Any }); i >= 0 {
		x.firstPeer = c.order[c.slots[i]]
	}
	for f := range x.sides {
		b := &c.sides[f]
		x.sides[f] = side{words: b.words, lists: b.lists.Table(), any: b.any, walks: b.walks}
	}
	c.index = x
	c.touched = false
}

// store puts a list into the words of a side.
func (b *builder) store(list []services.Piece) services.Ref {
	r, ok := b.words.Append(list)
	if !ok {
		panic("chains: more than a hundred million rules in one chain")
	}
	return r
}

// merge renews the merged list of class k.
func (s *Set) merge(c *Chain, f int, k classes.Class) {
	b := &c.sides[f]
	room := s.perRule*len(c.rules) + s.free - b.merged
	var one *lists
	n := 0
	var acc []services.Piece
	for _, sel := range s.regs[f].Set(k) {
		l := c.lists[sel]
		if l == nil || len(l.pieces[f]) == 0 {
			continue
		}
		switch n++; n {
		case 1:
			one = l
			acc = l.pieces[f]
		default:
			into := &s.scratch[n%2]
			*into = c.order.Merge((*into)[:0], acc, l.pieces[f])
			if acc = *into; len(acc) > room {
				s.walk(b, f, k)
				return
			}
		}
	}
	switch n {
	case 0:
		b.lists.Delete(k)
	case 1:
		b.lists.Set(k, uint32(one.refs[f]))
	default:
		if r, ok := b.words.Append(acc); ok {
			b.lists.Set(k, uint32(r))
			b.merged += len(acc)
		} else {
			s.walk(b, f, k)
		}
	}
}

// walk leaves class k to the lists of its selectors.
func (s *Set) walk(b *builder, f int, k classes.Class) {
	b.lists.Delete(k)
	b.walks, s.walks[f] = true, true
}
