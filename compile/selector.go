package compile

import (
	"net/netip"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// selector is a group or a set that rules of a VPC name. Those that are a
// prefix are in cidrs.
type selector struct {
	vpc   *vpc
	peer  sg.Peer
	num   ir.SelectorNum
	uses  int32 // rules
	fresh bool  // made by the current advance: filled from the next snapshot already
}

// vpc is one routing domain.
type vpc struct {
	id     sg.VPCID
	num    uint16
	cidrs  cidrs
	named  map[sg.Peer]*selector
	uses   int               // interfaces and selectors
	spaces [2]*classes.Space // of IPv4 and IPv6
	dirty  bool              // the spaces have changed since they were published
}

// peer is what rules with a peer refer to. It is valid until the next one is
// made.
type peer struct {
	num  ir.SelectorNum
	uses *int32 // rules; nil for any peer
}

// known returns what stands for p, the zero peer if there is nothing.
func (v *vpc) known(p sg.Peer) peer {
	if c, ok := p.CIDR(); ok {
		if is := v.cidrs.get(keyOf(c)); is != nil {
			return peer{is.num, &is.uses}
		}
	} else if is := v.named[p]; is != nil {
		return peer{is.num, &is.uses}
	}
	return peer{}
}

// space returns the space that p is in.
func (v *vpc) space(p netip.Prefix) *classes.Space {
	return v.spaces[familyIndex(sg.FamilyOf(p.Addr()))]
}

// selector returns what stands for p, which is not any, in a VPC, made and
// filled on first use.
func (s *state) selector(next *policy.Snapshot, id sg.VPCID, p *sg.Peer) peer {
	v := s.vpc(id)
	if c, ok := p.CIDR(); ok {
		is := v.cidrs.add(keyOf(c))
		if is.num == ir.Any {
			is.num = s.newSelector(v, p)
			s.dirt(v)
			v.space(c).Change(c, is.num, 1)
		}
		return peer{is.num, &is.uses}
	}
	is := v.named[*p]
	if is == nil {
		is = &selector{vpc: v, peer: *p, num: s.newSelector(v, p), fresh: true}
		s.fresh = append(s.fresh, is)
		v.named[*p] = is
		if set, ok := p.Set(); ok {
			if s.bySet[set] == nil {
				s.bySet[set] = map[sg.VPCID]*selector{}
			}
			s.bySet[set][id] = is
		}
		s.change(next, v, *p, is.num, 1)
	}
	return peer{is.num, &is.uses}
}

// newSelector numbers what stands for p.
func (s *state) newSelector(v *vpc, p *sg.Peer) ir.SelectorNum {
	s.lastSelector++
	v.uses++
	s.data.Selectors.Set(s.lastSelector, ir.Selector{Num: s.lastSelector, VPC: v.id, Peer: *p})
	s.step.Selector(s.lastSelector)
	return s.lastSelector
}

// dropSelector takes back what selector did. Members are up to date by then,
// so they are those of next.
func (s *state) dropSelector(next *policy.Snapshot, v *vpc, p sg.Peer, num ir.SelectorNum) {
	s.change(next, v, p, num, -1)
	if c, ok := p.CIDR(); ok {
		v.cidrs.remove(keyOf(c))
	} else {
		delete(v.named, p)
	}
	s.data.Selectors.Delete(num)
	s.step.Selector(num)
	if set, ok := p.Set(); ok {
		delete(s.bySet[set], v.id)
		if len(s.bySet[set]) == 0 {
			delete(s.bySet, set)
		}
	}
	s.releaseVPC(v.id)
}

func (s *state) vpc(id sg.VPCID) *vpc {
	if s.near != nil && s.near.id == id {
		return s.near
	}
	v := s.vpcs[id]
	if v == nil {
		v = &vpc{id: id, num: uint16(s.vpcNumbers.take() - 1), named: map[sg.Peer]*selector{}}
		if s.room > 0 {
			v.cidrs.grow(s.room)
			s.room = 0
		}
		for i, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			v.spaces[i] = classes.NewSpace(f, s.registries[i])
		}
		s.vpcs[id] = v
		s.dirt(v)
	}
	s.near = v
	return v
}

// change notes that the selector num, which stands for peer, has each of its
// prefixes in next n times more.
func (s *state) change(next *policy.Snapshot, v *vpc, peer sg.Peer, num ir.SelectorNum, n int) {
	s.dirt(v)
	if p, ok := peer.CIDR(); ok {
		v.space(p).Change(p, num, n)
	} else if id, ok := peer.Group(); ok {
		for p := range (source{next}).Group(v.id, id) {
			v.space(p).Change(p, num, n)
		}
	} else if id, ok := peer.Set(); ok {
		set, ok := next.Set(id)
		if !ok {
			return
		}
		space := v.spaces[familyIndex(set.Family())] // entries are of one family
		if n == 1 {
			space.Fill(entries(set), num, set.Len())
			return
		}
		for p := range entries(set) {
			space.Change(p, num, n)
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
	s.near = nil
	s.hotSpace.Set(uint32(v.num), nil)
	s.vpcNumbers.give(uint32(v.num) + 1)
}
