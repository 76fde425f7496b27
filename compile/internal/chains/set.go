package chains

import (
	"slices"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/ends"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
)

// Set is the chains of a compiler, with what it takes to find those that a
// change concerns. It is not safe for concurrent use; the indexes it makes
// are.
type Set struct {
	regs    [2]*classes.Registry // of IPv4 and IPv6
	users   users
	perRule int // piecesPerRule, but for tests
	free    int // piecesFree
	touched []*Chain
	walks   [2]bool // some chain had a class without a merged list
	scratch scratch
}

// NewSet returns an empty set of chains whose classes are in v4 and v6.
func NewSet(v4, v6 *classes.Registry) *Set {
	return &Set{regs: [2]*classes.Registry{v4, v6}, perRule: piecesPerRule, free: piecesFree}
}

// Add returns an empty chain.
func (s *Set) Add(policy uint32) *Chain {
	return &Chain{Policy: policy, order: make(services.Order, 1)} // slots begin at one
}

// Walks reports whether any index may ask for the selectors of a class of
// family f.
func (s *Set) Walks(f int) bool { return s.walks[f] }

// Drop forgets c.
func (s *Set) Drop(c *Chain) {
	s.disuse(c)
	c.dropped = true
}

// disuse forgets what selectors c has rules for.
func (s *Set) disuse(c *Chain) {
	for sel := range c.selectors() {
		s.users.remove(sel, c)
	}
}

func (s *Set) touch(c *Chain) {
	if !c.touched {
		c.touched = true
		s.touched = append(s.touched, c)
	}
}

// Update makes c the chain that is says, whose rules get returns. Settle makes
// its index.
func (s *Set) Update(c *Chain, is *ir.Chain, get func(ir.RuleNum) Rule) {
	s.touch(c)
	c.fallback = ir.Verdict{Action: is.Default, Reason: is.Reason}
	head, tail := ends.Common(c.rules, is.Rules)
	was, now := len(c.rules)-tail, len(is.Rules)-tail // the ends of what differs
	if changed := was - head + now - head; changed > 16+len(c.rules)/4 || s.worn(c) {
		s.build(c, is, get)
		return
	}
	if was == head && now == head {
		return
	}
	if c.bySel == nil {
		c.bySel = c.selectors()
	}
	var affected []ir.SelectorNum
	affect := func(sel ir.SelectorNum) {
		if !slices.Contains(affected, sel) {
			affected = append(affected, sel)
		}
	}
	for i := head; i < was; i++ {
		r := get(c.rules[i])
		c.stateless -= r.stateless()
		sel := c.peers[i]
		affect(sel)
		list := c.bySel[sel]
		at := slices.Index(list, c.slots[i])
		list[at] = list[len(list)-1]
		c.bySel[sel] = list[:len(list)-1]
	}
	n := now - head
	peers, slots := make([]ir.SelectorNum, n), make([]uint32, n)
	for i, num := range is.Rules[head:now] {
		r := get(num)
		c.stateless += r.stateless()
		peers[i], slots[i] = r.peer, uint32(len(c.order))
		c.order = append(c.order, r.outcome())
		affect(r.peer)
		list, has := c.bySel[r.peer]
		if !has {
			s.users.add(r.peer, c)
		}
		c.bySel[r.peer] = append(list, slots[i])
	}
	c.rules = slices.Replace(c.rules, head, was, is.Rules[head:now]...)
	c.peers = slices.Replace(c.peers, head, was, peers...)
	c.slots = slices.Replace(c.slots, head, was, slots...)
	if !c.between(head, n) {
		c.label()
	}
	for _, sel := range affected {
		list := c.bySel[sel]
		if len(list) == 0 {
			delete(c.bySel, sel)
			s.users.remove(sel, c)
		}
		of := make([]placed, len(list))
		for i, slot := range list {
			of[i] = placed{get(ir.RuleNum(c.order[slot])), slot}
		}
		for f := range c.sides {
			b := &c.sides[f]
			b.set(sel, b.store(s.scratch.fold(c.order, f, of)))
		}
		s.stale(c, sel)
	}
}

// worn reports whether most of what c has in its arrays is out of use.
func (s *Set) worn(c *Chain) bool {
	return len(c.order) > 2*len(c.rules)+64 || c.sides[0].words.Len()+c.sides[1].words.Len() > 2*c.size+4096
}

// stale notes that the merged lists that have the rules for sel are to be
// renewed.
func (s *Set) stale(c *Chain, sel ir.SelectorNum) {
	if sel == ir.Any {
		return
	}
	for f := range c.sides {
		b := &c.sides[f]
		b.stale = append(b.stale, s.regs[f].With(sel)...)
	}
}

// Classes notes which classes of family f, 0 for IPv4 and 1 for IPv6, are new,
// and which are gone.
func (s *Set) Classes(f int, made []classes.Class, dropped []classes.Dropped) {
	var k classes.Class
	drop := func(c *Chain) {
		if c.sides[f].lists.Get(k) != 0 {
			s.touch(c)
			c.sides[f].lists.Delete(k)
		}
	}
	for _, d := range dropped {
		k = d.Class
		for _, sel := range d.Set {
			s.users.of(sel, drop)
		}
	}
	stale := func(c *Chain) {
		s.touch(c)
		if b := &c.sides[f]; len(b.stale) == 0 || b.stale[len(b.stale)-1] != k {
			b.stale = append(b.stale, k)
		}
	}
	for _, k = range made {
		for _, sel := range s.regs[f].Set(k) {
			s.users.of(sel, stale)
		}
	}
}

// Settle makes the indexes of all chains that anything concerned since the
// last Settle, and returns them.
func (s *Set) Settle() []*Chain {
	list := slices.DeleteFunc(s.touched, func(c *Chain) bool { return c.dropped })
	s.touched = nil
	for _, c := range list {
		for f := range c.sides {
			s.renew(c, f)
		}
		if c.size == 0 {
			for f := range c.sides {
				c.sides[f].words.Clip()
				c.sides[f].lists.Pack()
			}
			c.size = c.sides[0].words.Len() + c.sides[1].words.Len()
		}
		c.publish()
	}
	s.users.settled()
	s.scratch.clip()
	return list
}
