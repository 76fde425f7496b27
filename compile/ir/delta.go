package ir

import (
	"cmp"
	"net/netip"
	"slices"

	"example.com/secgroup/sg"
)

// Delta is a difference between two programs of one lineage. Every list is
// sorted and without duplicates.
type Delta struct {
	AddSelectors, DropSelectors []SelectorNum // ask Members for what a new one has
	Members                     []MemberDelta // of selectors that both programs have
	Rules                       []RuleNum     // new or gone: what a number stands for never changes
	Policies                    []uint32      // new, changed or gone
	Interfaces                  []sg.InterfaceID
}

// MemberDelta is a change of one selector's members, as Members yields them:
// Add are those that it had not, Remove those that it has no more.
type MemberDelta struct {
	Selector    SelectorNum
	Add, Remove []netip.Prefix
}

// Since returns what changed after prev. Applied in the order new selectors,
// members to add, new rules, policies, interfaces, old rules, members to
// remove, old selectors, nothing ever refers to what is not there. ok is false
// if prev is not of p's lineage and the whole program must be installed.
//
// The cost is that of the changes if prev is one of the last 64 programs
// before p, and they changed less than 65,536 things together. Otherwise, and
// on the way back from p to an older program, all of both is compared.
func (p *Program) Since(prev *Program) (d Delta, ok bool) {
	if !p.SameLineage(prev) {
		return Delta{}, false
	}
	if steps, ok := p.stepsSince(prev); ok {
		d = settle(prev, p, steps)
		d.Members = composed(prev, p, steps)
		return d, true
	}
	d = settle(prev, p, []*Step{union(prev, p)})
	for s := range p.Selectors() {
		if _, had := prev.Selector(s.Num); had {
			if m := memberDelta(prev, p, s.Num); len(m.Add)+len(m.Remove) > 0 {
				d.Members = append(d.Members, m)
			}
		}
	}
	return d, true
}

// settle returns what of the steps differs between prev and p, all but the
// members.
func settle(prev, p *Program, steps []*Step) (d Delta) {
	var selectors []SelectorNum
	for _, s := range steps {
		selectors = append(selectors, s.selectors...)
		d.Rules = append(d.Rules, s.rules...)
		d.Policies = append(d.Policies, s.policies...)
		d.Interfaces = append(d.Interfaces, s.interfaces...)
	}
	d.AddSelectors = only(slices.Clone(selectors), func(n SelectorNum) bool {
		had, has := prev.hasSelector(n), p.hasSelector(n)
		return has && !had
	})
	d.DropSelectors = only(selectors, func(n SelectorNum) bool {
		had, has := prev.hasSelector(n), p.hasSelector(n)
		return had && !has
	})
	d.Rules = only(d.Rules, func(n RuleNum) bool {
		_, had := prev.Rule(n)
		_, has := p.Rule(n)
		return had != has
	})
	d.Policies = only(d.Policies, func(n uint32) bool {
		was, had := prev.Policy(n)
		is, has := p.Policy(n)
		return had != has || had && !equalPolicies(was, is)
	})
	d.Interfaces = only(d.Interfaces, func(id sg.InterfaceID) bool {
		was, had := prev.Interface(id)
		is, has := p.Interface(id)
		return had != has || had && !equalInterfaces(was, is)
	})
	return d
}

// only returns those of list that differ, in order and once each.
func only[T cmp.Ordered](list []T, differs func(T) bool) []T {
	slices.Sort(list)
	list = slices.Compact(list)
	if list = slices.DeleteFunc(list, func(v T) bool { return !differs(v) }); len(list) == 0 {
		return nil
	}
	return list
}

func (p *Program) hasSelector(n SelectorNum) bool {
	_, ok := p.Selector(n)
	return ok
}

// composed returns what the steps from prev to p come to for the members of
// selectors that both have.
func composed(prev, p *Program, steps []*Step) (out []MemberDelta) {
	var all []joint
	for _, s := range steps {
		all = append(all, s.members...)
	}
	slices.SortStableFunc(all, func(a, b joint) int {
		return cmp.Or(cmp.Compare(a.selector, b.selector), a.prefix.Compare(b.prefix))
	})
	for len(all) > 0 {
		d := MemberDelta{Selector: all[0].selector}
		for len(all) > 0 && all[0].selector == d.Selector {
			n := 1
			for n < len(all) && all[n].selector == d.Selector && all[n].prefix == all[0].prefix {
				n++
			}
			// It came and went by turns: an even number of times is no change.
			switch last := all[n-1]; {
			case n%2 == 0:
			case last.joined:
				d.Add = append(d.Add, last.prefix)
			default:
				d.Remove = append(d.Remove, last.prefix)
			}
			all = all[n:]
		}
		if len(d.Add)+len(d.Remove) > 0 && prev.hasSelector(d.Selector) && p.hasSelector(d.Selector) {
			out = append(out, d)
		}
	}
	return out
}

// union names everything in prev and p.
func union(prev, p *Program) *Step {
	s := new(Step)
	for _, from := range []*Program{prev, p} {
		for sel := range from.Selectors() {
			s.selectors = append(s.selectors, sel.Num)
		}
		for r := range from.Rules() {
			s.rules = append(s.rules, r.Num)
		}
		for pol := range from.Policies() {
			s.policies = append(s.policies, pol.Num)
		}
		for i := range from.Interfaces() {
			s.interfaces = append(s.interfaces, i.ID)
		}
	}
	return s
}

// memberDelta compares the members of s in prev and in p, both sorted.
func memberDelta(prev, p *Program, s SelectorNum) MemberDelta {
	d := MemberDelta{Selector: s}
	was, is := prev.members(s, sg.FamilyAny), p.members(s, sg.FamilyAny)
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
	return a == b || equalChains(&a.Ingress, &b.Ingress) && equalChains(&a.Egress, &b.Egress)
}

func equalChains(a, b *Chain) bool {
	return a.Default == b.Default && a.Reason == b.Reason && slices.Equal(a.Rules, b.Rules)
}

func equalInterfaces(a, b Interface) bool {
	return a.Serial == b.Serial && a.Index == b.Index && a.VPC == b.VPC && a.VPCNum == b.VPCNum && a.Policy == b.Policy && a.Guard == b.Guard &&
		slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.Allow, b.Allow)
}
