package chains

import (
	"slices"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/internal/table"
	"example.com/secgroup/compile/ir"
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
	sides [2]builder

	// bySel is the slots of the rules for each peer, in any order: made by the
	// first edit, nil before.
	bySel map[ir.SelectorNum][]uint32

	fallback  ir.Verdict
	stateless int // how many rules are
	size      int // pieces when all was built
	touched   bool
	dropped   bool
	index     *Index
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

// set makes r the list of the rules for sel.
func (b *builder) set(sel ir.SelectorNum, r services.Ref) {
	switch {
	case sel == ir.Any:
		b.any = r
	case r != 0:
		b.lists.Set(single(sel), uint32(r))
	default:
		b.lists.Delete(single(sel))
	}
}

func single(sel ir.SelectorNum) classes.Class { return classes.Single | classes.Class(sel) }

// Index returns the chain as of the last Settle.
func (c *Chain) Index() *Index { return c.index }

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
