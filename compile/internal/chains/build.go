package chains

import (
	"slices"

	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
)

// build makes all of c anew.
func (s *Set) build(c *Chain, is *ir.Chain, get func(ir.RuleNum) Rule) {
	s.disuse(c)
	n := len(is.Rules)
	*c = Chain{
		Policy: c.Policy, fallback: c.fallback, touched: true, index: c.index, rules: slices.Clone(is.Rules),
		peers: make([]ir.SelectorNum, n), slots: make([]uint32, n), order: make(services.Order, n+1),
	}
	byPeer := s.scratch.room(n) // peer, place
	gap := uint64(1<<labelBits) / uint64(n+1)
	var pieces [2]int // of the lists of selectors, at most
	var peers [2]span // that rules have
	for i, num := range is.Rules {
		r := get(num)
		c.stateless += r.stateless()
		c.peers[i], c.slots[i] = r.peer, uint32(i+1)
		c.order[i+1] = r.outcome() | uint64(i+1)*gap<<labelAt
		byPeer[i] = uint64(r.peer)<<32 | uint64(i)
		pieces[r.side()] += r.span.Pieces()
		peers[r.side()].add(r.peer)
	}
	slices.Sort(byPeer)
	if n > 0 {
		s.users.grow(ir.SelectorNum(byPeer[n-1] >> 32))
	}
	for f := range c.sides {
		b := &c.sides[f]
		b.words.Grow(pieces[f] + 1 + pieces[f]/16)
		if p := peers[f]; p.n > 0 {
			b.lists.Expect(single(p.low), single(p.high), p.n)
		}
	}
	for len(byPeer) > 0 {
		sel := ir.SelectorNum(byPeer[0] >> 32)
		of := s.scratch.of[:0]
		for len(byPeer) > 0 && ir.SelectorNum(byPeer[0]>>32) == sel {
			i := uint32(byPeer[0])
			of = append(of, placed{get(is.Rules[i]), i + 1})
			byPeer = byPeer[1:]
		}
		s.scratch.of = of
		s.users.add(sel, c)
		if len(of) == 1 { // as most are
			b := &c.sides[of[0].side()]
			s.scratch.pieces[0] = of[0].span.Append(s.scratch.pieces[0][:0], of[0].hit())
			b.set(sel, b.store(s.scratch.pieces[0]))
			s.stale(c, sel)
			continue
		}
		for f := range c.sides {
			if b := &c.sides[f]; pieces[f] > 0 {
				if r := b.store(s.scratch.fold(c.order, f, of)); r != 0 {
					b.set(sel, r)
				}
			}
		}
		s.stale(c, sel)
	}
}

// span is the lowest and the highest of some selectors, and how many they are,
// with those that come twice.
type span struct {
	low, high ir.SelectorNum
	n         int
}

func (s *span) add(sel ir.SelectorNum) {
	if sel == ir.Any {
		return
	}
	if s.n == 0 || sel < s.low {
		s.low = sel
	}
	s.high = max(s.high, sel)
	s.n++
}

// selectors returns the slots of the rules for each peer.
func (c *Chain) selectors() map[ir.SelectorNum][]uint32 {
	if c.bySel != nil {
		return c.bySel
	}
	byPeer := make([]uint64, len(c.peers))
	for i, sel := range c.peers {
		byPeer[i] = uint64(sel)<<32 | uint64(c.slots[i])
	}
	slices.Sort(byPeer)
	all := make([]uint32, len(byPeer))
	for i, k := range byPeer {
		all[i] = uint32(k)
	}
	list := make(map[ir.SelectorNum][]uint32, len(byPeer))
	for i := 0; i < len(byPeer); {
		k := i + 1
		for k < len(byPeer) && byPeer[k]>>32 == byPeer[i]>>32 {
			k++
		}
		list[ir.SelectorNum(byPeer[i]>>32)] = all[i:k:k]
		i = k
	}
	return list
}

// scratch is room that is used again and again.
type scratch struct {
	of     []placed
	keys   []uint64
	lists  [][]services.Piece
	pieces [3][]services.Piece
}

// room returns room for n keys.
func (s *scratch) room(n int) []uint64 {
	if cap(s.keys) < n {
		s.keys = make([]uint64, n)
	}
	return s.keys[:n]
}

// clip gives much room back.
func (s *scratch) clip() {
	if cap(s.keys)+cap(s.of)+cap(s.lists)+cap(s.pieces[0])+cap(s.pieces[1])+cap(s.pieces[2]) > 1<<12 {
		*s = scratch{}
	}
}

// fold returns the merged list of the rules of one family. It is valid until
// the next use of s.
func (s *scratch) fold(order services.Order, f int, rules []placed) []services.Piece {
	all, room := s.lists[:0], s.pieces[0][:0]
	for i := range rules {
		if r := &rules[i]; r.side() == f {
			at := len(room)
			room = r.span.Append(room, r.hit())
			all = append(all, room[at:len(room):len(room)])
		}
	}
	s.lists = all
	for len(all) > 1 { // pairs of equal size: few pieces are merged often
		next := all[:0]
		for i := 0; i+1 < len(all); i += 2 {
			at := len(room)
			room = order.Merge(room, all[i], all[i+1])
			next = append(next, room[at:len(room):len(room)])
		}
		if len(all)%2 == 1 {
			next = append(next, all[len(all)-1])
		}
		all = next
	}
	s.pieces[0] = room
	if len(all) == 0 {
		return nil
	}
	return all[0]
}
