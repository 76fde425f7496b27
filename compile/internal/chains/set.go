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
	users   map[ir.SelectorNum][]*Chain
	perRule int // piecesPerRule, but for tests
	free    int // piecesFree
	touched []*Chain
	walks   [2]bool // some chain had a class without a merged list
	scratch [2][]services.Piece
	pieces  slab[services.Piece]
	ones    slab[*Chain]
	lists   slab[lists]
	slots   slab[uint32]
}

// slab cuts short lists from long ones, each twice as long as the one before:
// where there are many they are made by the thousand.
type slab[T any] struct {
	rest []T
	size int
}

// take returns a list of n elements.
func (s *slab[T]) take(n int) []T {
	if n > 64 { // as long as the first
		return make([]T, n)
	}
	if n > len(s.rest) {
		s.size = min(1024, max(64, 2*s.size))
		s.rest = make([]T, s.size)
	}
	list := s.rest[:n:n]
	s.rest = s.rest[n:]
	return list
}

// NewSet returns an empty set of chains whose classes are in v4 and v6.
func NewSet(v4, v6 *classes.Registry) *Set {
	return &Set{regs: [2]*classes.Registry{v4, v6}, users: map[ir.SelectorNum][]*Chain{}, perRule: piecesPerRule, free: piecesFree}
}

// Add returns an empty chain.
func (s *Set) Add(policy uint32) *Chain {
	return &Chain{Policy: policy, lists: map[ir.SelectorNum]*lists{}, order: make(services.Order, 1)} // slots begin at one
}

// Walks reports whether any index may ask for the selectors of a class of
// family f.
func (s *Set) Walks(f int) bool { return s.walks[f] }

// Drop forgets c.
func (s *Set) Drop(c *Chain) {
	for sel := range c.lists {
		s.leave(sel, c)
	}
	c.lists = nil
}

func (s *Set) leave(sel ir.SelectorNum, c *Chain) {
	if sel == ir.Any {
		return
	}
	list := s.users[sel]
	i := slices.Index(list, c)
	list[i] = list[len(list)-1]
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) > 0 {
		s.users[sel] = list
	} else {
		delete(s.users, sel)
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
func (s *Set) Update(c *Chain, is *ir.Chain, get func(ir.RuleNum) *ir.Rule) {
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
	var affected []ir.SelectorNum
	affect := func(sel ir.SelectorNum) {
		if !slices.Contains(affected, sel) {
			affected = append(affected, sel)
		}
	}
	for i := head; i < was; i++ {
		if get(c.rules[i]).Stateless {
			c.stateless--
		}
		affect(c.peers[i])
		l := c.lists[c.peers[i]]
		at := slices.Index(l.slots, c.slots[i])
		l.slots[at] = l.slots[len(l.slots)-1]
		l.slots = l.slots[:len(l.slots)-1]
	}
	n := now - head
	peers, slots := make([]ir.SelectorNum, n), make([]uint32, n)
	for i, num := range is.Rules[head:now] {
		r := get(num)
		if r.Stateless {
			c.stateless++
		}
		peers[i], slots[i] = r.Peer, uint32(len(c.order))
		c.order = append(c.order, outcome(r))
		affect(r.Peer)
		l := s.listsOf(c, r.Peer)
		l.slots = append(l.slots, slots[i])
	}
	c.rules = slices.Replace(c.rules, head, was, is.Rules[head:now]...)
	c.peers = slices.Replace(c.peers, head, was, peers...)
	c.slots = slices.Replace(c.slots, head, was, slots...)
	if !c.between(head, n) {
		c.label()
	}
	for _, sel := range affected {
		l := c.lists[sel]
		of := make([]rule, len(l.slots))
		for i, slot := range l.slots {
			of[i] = rule{get(ir.RuleNum(c.order[slot])), slot}
		}
		s.list(c, sel, l, of)
		s.stale(c, sel)
	}
}

// worn reports whether most of what c has in its arrays is out of use.
func (s *Set) worn(c *Chain) bool {
	return len(c.order) > 2*len(c.rules)+64 || c.sides[0].words.Len()+c.sides[1].words.Len() > 2*c.size+4096
}

// build makes all of c anew.
func (s *Set) build(c *Chain, is *ir.Chain, get func(ir.RuleNum) *ir.Rule) {
	old := c.lists
	n := len(is.Rules)
	*c = Chain{Policy: c.Policy, fallback: c.fallback, touched: true, index: c.index, lists: make(map[ir.SelectorNum]*lists, n)}
	c.rules = slices.Clone(is.Rules)
	c.peers, c.slots = make([]ir.SelectorNum, n), make([]uint32, n)
	c.order = make(services.Order, 1, n+1+n/8)
	if len(s.users) == 0 {
		s.users = make(map[ir.SelectorNum][]*Chain, n)
	}
	rules := make([]rule, n)
	for i, num := range is.Rules {
		r := get(num)
		if r.Stateless {
			c.stateless++
		}
		c.peers[i], c.slots[i] = r.Peer, uint32(i+1)
		c.order = append(c.order, outcome(r))
		rules[i] = rule{r, uint32(i + 1)}
	}
	gap := uint64(1<<labelBits) / uint64(n+1)
	for i := range n {
		c.order[i+1] |= uint64(i+1) * gap << labelAt
	}
	slices.SortStableFunc(rules, func(a, b rule) int { return int(int64(a.Peer) - int64(b.Peer)) })
	for len(rules) > 0 {
		k := 1
		for k < len(rules) && rules[k].Peer == rules[0].Peer {
			k++
		}
		sel := rules[0].Peer
		if _, had := old[sel]; had {
			c.lists[sel] = &s.lists.take(1)[0] // a user already
			delete(old, sel)
		}
		l := s.listsOf(c, sel)
		l.slots = s.slots.take(k)
		for i := range rules[:k] {
			l.slots[i] = rules[i].slot
		}
		s.list(c, sel, l, rules[:k])
		rules = rules[k:]
	}
	for sel := range old {
		s.leave(sel, c)
	}
	for sel := range c.lists {
		s.stale(c, sel)
	}
}

// listsOf returns the lists of the rules for sel, made if there are none.
func (s *Set) listsOf(c *Chain, sel ir.SelectorNum) *lists {
	l := c.lists[sel]
	if l != nil {
		return l
	}
	l = &s.lists.take(1)[0]
	c.lists[sel] = l
	if users := s.users[sel]; sel == ir.Any {
	} else if users == nil {
		users = s.ones.take(1)
		users[0] = c
		s.users[sel] = users
	} else {
		s.users[sel] = append(users, c)
	}
	return l
}

// list makes l the lists of the rules for sel; none drops them.
func (s *Set) list(c *Chain, sel ir.SelectorNum, l *lists, rules []rule) {
	if len(rules) == 0 {
		delete(c.lists, sel)
		s.leave(sel, c)
		for f := range c.sides {
			if sel == ir.Any {
				c.sides[f].any = 0
			} else {
				c.sides[f].lists.Delete(classes.Single | classes.Class(sel))
			}
		}
		return
	}
	for f := range c.sides {
		b := &c.sides[f]
		l.pieces[f] = s.fold(c, f, rules)
		l.refs[f] = b.store(l.pieces[f])
		switch {
		case sel == ir.Any:
			b.any = l.refs[f]
		case len(l.pieces[f]) > 0:
			b.lists.Set(classes.Single|classes.Class(sel), uint32(l.refs[f]))
		default:
			b.lists.Delete(classes.Single | classes.Class(sel))
		}
	}
}

// fold returns the merged list of the rules of one family.
func (s *Set) fold(c *Chain, f int, rules []rule) []services.Piece {
	var few [8][]services.Piece
	all := few[:0]
	for _, r := range rules {
		if side4or6(r.Family) == f {
			s.scratch[0] = services.Append(s.scratch[0][:0], r.Rule, r.hit())
			all = append(all, s.keep(s.scratch[0]))
		}
	}
	for len(all) > 1 { // pairs of equal size: few pieces are merged often
		next := all[:0]
		for i := 0; i+1 < len(all); i += 2 {
			s.scratch[0] = c.order.Merge(s.scratch[0][:0], all[i], all[i+1])
			next = append(next, s.keep(s.scratch[0]))
		}
		if len(all)%2 == 1 {
			next = append(next, all[len(all)-1])
		}
		all = next
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func (s *Set) keep(list []services.Piece) []services.Piece {
	kept := s.pieces.take(len(list))
	copy(kept, list)
	return kept
}

// stale notes that the merged lists that have the rules for sel are to be
// renewed.
func (s *Set) stale(c *Chain, sel ir.SelectorNum) {
	if sel == ir.Any {
		return
	}
	for f := range c.sides {
		c.sides[f].stale = append(c.sides[f].stale, s.regs[f].With(sel)...)
	}
}

// Classes notes which classes of family f, 0 for IPv4 and 1 for IPv6, are new,
// and which are gone.
func (s *Set) Classes(f int, made []classes.Class, dropped []classes.Dropped) {
	for _, d := range dropped {
		for _, sel := range d.Set {
			for _, c := range s.users[sel] {
				if c.sides[f].lists.Get(d.Class) != 0 {
					s.touch(c)
					c.sides[f].lists.Delete(d.Class)
				}
			}
		}
	}
	for _, k := range made {
		for _, sel := range s.regs[f].Set(k) {
			for _, c := range s.users[sel] {
				s.touch(c)
				c.sides[f].stale = append(c.sides[f].stale, k)
			}
		}
	}
}

// Settle makes the indexes of all chains that anything concerned since the
// last Settle, and returns them.
func (s *Set) Settle() []*Chain {
	list := s.touched
	s.touched = nil
	for _, c := range list {
		if c.lists == nil {
			continue // dropped
		}
		for f := range c.sides {
			b := &c.sides[f]
			slices.Sort(b.stale)
			for _, k := range slices.Compact(b.stale) {
				s.merge(c, f, k)
			}
			b.stale = nil
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
	return slices.DeleteFunc(list, func(c *Chain) bool { return c.lists == nil })
}
