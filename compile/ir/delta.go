package ir

import (
	"net/netip"
	"slices"

	"example.com/secgroup/sg"
)

// Delta is a difference between two programs of one lineage.
type Delta struct {
	AddSelectors, DropSelectors []SelectorNum
	Members                     []MemberDelta // of selectors that both have
	Policies                    []uint32      // new, changed or gone
	Interfaces                  []sg.InterfaceID
}

// MemberDelta is a change of one selector's members, as Members yields them.
type MemberDelta struct {
	Selector    SelectorNum
	Add, Remove []netip.Prefix
}

// Since returns what changed after prev. Applied in the order new selectors,
// members to add, policies, interfaces, members to remove, old selectors, no
// rule ever uses a set that is not there. ok is false if prev is not of p's
// lineage and the whole program must be installed.
func (p *Program) Since(prev *Program) (d Delta, ok bool) {
	if !p.SameLineage(prev) {
		return Delta{}, false
	}
	for s := range p.Selectors() {
		if _, had := prev.Selector(s.Num); !had {
			d.AddSelectors = append(d.AddSelectors, s.Num)
		} else if m := memberDelta(prev, p, s.Num); len(m.Add)+len(m.Remove) > 0 {
			d.Members = append(d.Members, m)
		}
	}
	for s := range prev.Selectors() {
		if _, has := p.Selector(s.Num); !has {
			d.DropSelectors = append(d.DropSelectors, s.Num)
		}
	}
	for pol := range p.Policies() {
		old, had := prev.Policy(pol.Num)
		if !had || old != pol && !equalPolicies(old, pol) {
			d.Policies = append(d.Policies, pol.Num)
		}
	}
	for pol := range prev.Policies() {
		if _, has := p.Policy(pol.Num); !has {
			d.Policies = append(d.Policies, pol.Num)
		}
	}
	for i := range p.Interfaces() {
		if old, had := prev.Interface(i.ID); !had || !equalInterfaces(old, i) {
			d.Interfaces = append(d.Interfaces, i.ID)
		}
	}
	for i := range prev.Interfaces() {
		if _, has := p.Interface(i.ID); !has {
			d.Interfaces = append(d.Interfaces, i.ID)
		}
	}
	return d, true
}

// memberDelta compares two sorted lists of disjoint prefixes.
func memberDelta(prev, p *Program, s SelectorNum) MemberDelta {
	d := MemberDelta{Selector: s}
	was := slices.Collect(prev.Members(s, sg.FamilyAny))
	is := slices.Collect(p.Members(s, sg.FamilyAny))
	for len(was) > 0 || len(is) > 0 {
		switch {
		case len(is) == 0 || len(was) > 0 && was[0].Compare(is[0]) < 0:
			d.Remove, was = append(d.Remove, was[0]), was[1:]
		case len(was) == 0 || is[0].Compare(was[0]) < 0:
			d.Add, is = append(d.Add, is[0]), is[1:]
		default:
			was, is = was[1:], is[1:]
		}
	}
	return d
}

func equalPolicies(a, b *Policy) bool {
	return equalChains(&a.Ingress, &b.Ingress) && equalChains(&a.Egress, &b.Egress)
}

func equalChains(a, b *Chain) bool {
	return a.Default == b.Default && a.Reason == b.Reason && slices.Equal(a.Rules, b.Rules)
}

func equalInterfaces(a, b Interface) bool {
	return a.Serial == b.Serial && a.Index == b.Index && a.VPC == b.VPC && a.VPCNum == b.VPCNum && a.Policy == b.Policy && a.Guard == b.Guard &&
		slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.Allow, b.Allow)
}
