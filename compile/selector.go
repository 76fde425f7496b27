package compile

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// selector is a peer of rules in a VPC.
type selector struct {
	vpc   *vpc
	peer  sg.Peer
	num   ir.SelectorNum
	uses  int32
	fresh bool // made by the current advance: filled from the next snapshot already
}

// cidrKey is a prefix that a rule names.
type cidrKey struct{ high, low, bits uint64 }

func keyOf(p netip.Prefix) cidrKey {
	b := p.Addr().As16()
	k := cidrKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint64(p.Bits())}
	if p.Addr().Is4() { // no prefix of IPv6 is as long
		k.bits += 1 << 8
	}
	return k
}

// vpc is one routing domain.
type vpc struct {
	id     sg.VPCID
	num    uint16
	cidrs  map[cidrKey]*selector
	named  map[sg.Peer]*selector // groups and sets
	uses   int                   // interfaces and selectors
	spaces [2]*classes.Space     // of IPv4 and IPv6
	dirty  bool                  // the spaces have changed since they were published
}

// known returns what stands for peer, nil if there is nothing.
func (v *vpc) known(peer sg.Peer) *selector {
	if p, ok := peer.CIDR(); ok {
		return v.cidrs[keyOf(p)]
	}
	return v.named[peer]
}

// space returns the space that p is in.
func (v *vpc) space(p netip.Prefix) *classes.Space {
	return v.spaces[familyIndex(sg.FamilyOf(p.Addr()))]
}

// selector returns what stands for peer, which is not any, in a VPC, made and
// filled on first use.
func (s *state) selector(next *policy.Snapshot, id sg.VPCID, peer sg.Peer) *selector {
	v := s.vpc(id)
	if sel := v.known(peer); sel != nil {
		return sel
	}
	if len(s.selectors) == 0 {
		s.selectors = make([]selector, 1+min(64, s.room/16))
	}
	sel := &s.selectors[0]
	s.selectors = s.selectors[1:]
	s.lastSelector++
	*sel = selector{vpc: v, peer: peer, num: s.lastSelector, fresh: true}
	s.fresh = append(s.fresh, sel)
	if p, ok := peer.CIDR(); ok {
		v.cidrs[keyOf(p)] = sel
	} else {
		v.named[peer] = sel
	}
	s.data.Selectors.Set(sel.num, ir.Selector{Num: sel.num, VPC: id, Peer: peer})
	s.step.Selector(sel.num)
	if set, ok := peer.Set(); ok {
		if s.bySet[set] == nil {
			s.bySet[set] = map[sg.VPCID]*selector{}
		}
		s.bySet[set][id] = sel
	}
	v.uses++
	s.change(next, v, sel, 1)
	return sel
}

// dropSelector takes back what selector did. Members are up to date by then,
// so they are those of next.
func (s *state) dropSelector(next *policy.Snapshot, sel *selector) {
	s.change(next, sel.vpc, sel, -1)
	if p, ok := sel.peer.CIDR(); ok {
		delete(sel.vpc.cidrs, keyOf(p))
	} else {
		delete(sel.vpc.named, sel.peer)
	}
	s.data.Selectors.Delete(sel.num)
	s.step.Selector(sel.num)
	if set, ok := sel.peer.Set(); ok {
		delete(s.bySet[set], sel.vpc.id)
		if len(s.bySet[set]) == 0 {
			delete(s.bySet, set)
		}
	}
	s.releaseVPC(sel.vpc.id)
}

func (s *state) vpc(id sg.VPCID) *vpc {
	v := s.vpcs[id]
	if v == nil {
		v = &vpc{id: id, num: uint16(s.vpcNumbers.take() - 1), cidrs: make(map[cidrKey]*selector, s.room), named: map[sg.Peer]*selector{}}
		s.room = 0
		for i, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			v.spaces[i] = classes.NewSpace(f, s.registries[i])
		}
		s.vpcs[id] = v
		s.dirt(v)
	}
	return v
}

// change notes that sel has each of its prefixes in next n times more.
func (s *state) change(next *policy.Snapshot, v *vpc, sel *selector, n int) {
	s.dirt(v)
	if p, ok := sel.peer.CIDR(); ok {
		v.space(p).Change(p, sel.num, n)
	} else if id, ok := sel.peer.Group(); ok {
		for p := range (source{next}).Group(v.id, id) {
			v.space(p).Change(p, sel.num, n)
		}
	} else if id, ok := sel.peer.Set(); ok {
		set, ok := next.Set(id)
		if !ok {
			return
		}
		space := v.spaces[familyIndex(set.Family())] // entries are of one family
		if n == 1 {
			space.Fill(entries(set), sel.num, set.Len())
			return
		}
		for p := range entries(set) {
			space.Change(p, sel.num, n)
		}
	}
}

// dirt notes that the spaces of v are to be settled and published.
func (s *state) dirt(v *vpc) {
	if !v.dirty {
		v.dirty = true
		s.dirty = append(s.dirty, v)
	}
}

func (s *state) releaseVPC(id sg.VPCID) {
	v := s.vpcs[id]
	if v.uses--; v.uses > 0 {
		return
	}
	delete(s.vpcs, id)
	s.hotSpace.Set(uint32(v.num), nil)
	s.vpcNumbers.give(uint32(v.num) + 1)
}
