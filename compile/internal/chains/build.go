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
	rules := s.scratch.room(n)
	byPeer := s.scratch.keys[:n] // peer, place
	gap := uint64(1<<labelBits) / uint64(n+1)
	var pieces [2]int // of the lists of selectors, at most
	for i, num := range is.Rules {
		r := &rules[i]
		*r = placed{get(num), uint32(i + 1)}
		if r.stateless {
			c.stateless++
		}
		c.peers[i], c.slots[i] = r.peer, r.slot
		c.order[i+1] = r.outcome | uint64(i+1)*gap<<labelAt
		byPeer[i] = uint64(r.peer)<<32 | uint64(i)
		pieces[r.side] += services.SpanPieces
	}
	for f := range c.sides {
		c.sides[f].words.Grow(pieces[f])
	}
	slices.Sort(byPeer)
	for len(byPeer) > 0 {
		sel := ir.SelectorNum(byPeer[0] >> 32)
		of := s.scratch.of[:0]
		for len(byPeer) > 0 && ir.SelectorNum(byPeer[0]>>32) == sel {
			of = append(of, rules[uint32(byPeer[0])])
			byPeer = byPeer[1:]
		}
		s.scratch.of = of
		s.users.add(sel, c)
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
	rules  []placed
	of     []placed
	keys   []uint64
	lists  [][]services.Piece
	pieces [3][]services.Piece
}

// room returns room for n rules, and makes room for as many keys.
func (s *scratch) room(n int) []placed {
	if cap(s.rules) < n {
		s.rules, s.keys = make([]placed, n), make([]uint64, n)
	}
	return s.rules[:n]
}

// clip gives much room back.
func (s *scratch) clip() {
	if cap(s.rules)+cap(s.of)+cap(s.lists)+cap(s.pieces[0])+cap(s.pieces[1])+cap(s.pieces[2]) > 1<<12 {
		*s = scratch{}
	}
}

// fold returns the merged list of the rules of one family. It is valid until
// the next use of s.
func (s *scratch) fold(order services.Order, f int, rules []placed) []services.Piece {
	all, room := s.lists[:0], s.pieces[0][:0]
	for i := range rules {
		if r := &rules[i]; int(r.side) == f {
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
