package compile

import (
	"slices"
	"strings"

	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/internal/ends"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// boundPolicy is what interfaces with the same groups share.
type boundPolicy struct {
	key      string
	num      uint32
	uses     int // interfaces
	vpc      sg.VPCID
	groups   []sg.GroupID
	exempt   []string
	platform []ir.RuleNum // in use by this policy
	chains   [2]*chains.Chain
}

// policyKey names the policy of i: equal keys mean equal verdicts.
func policyKey(i *sg.Interface) string {
	var b strings.Builder
	part := func(s string) {
		b.WriteString(s)
		b.WriteByte(0) // no name contains a control character
	}
	part(string(i.VPC))
	for _, g := range i.Groups {
		part(string(g))
	}
	part("")
	exempt := slices.Clone(i.Exempt)
	slices.Sort(exempt)
	for _, e := range slices.Compact(exempt) {
		part(e)
	}
	return b.String()
}

// build gives p the chains that its groups have now.
func (s *state) build(next *policy.Snapshot, p *boundPolicy) {
	old := p.platform
	p.platform = nil
	pol := &ir.Policy{Num: p.num}
	for i, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		*pol.Chain(d) = s.chain(next, p, d)
		s.chains.Update(p.chains[i], pol.Chain(d), s.known)
	}
	for _, n := range old {
		s.releasePlatform(next, n)
	}
	s.data.Policies.Set(p.num, pol)
	s.step.Policy(p.num)
}

// known returns a rule in use.
func (s *state) known(n ir.RuleNum) chains.Rule {
	if first := s.lastRule + 1 - ir.RuleNum(len(s.made)); n >= first {
		return s.made[n-first]
	}
	r, _ := s.data.Rules.Get(n)
	return chains.RuleOf(&r)
}

func (s *state) chain(next *policy.Snapshot, p *boundPolicy, d sg.Direction) ir.Chain {
	profile := next.Profile()
	var c ir.Chain
	var sizes [listKinds]int
	lists := make([]*[listKinds]numList, len(p.groups))
	for i, id := range p.groups {
		lists[i] = &s.groups[groupKey{id, p.vpc}].lists[d-sg.Ingress]
		for kind, l := range lists[i] {
			sizes[kind] += len(l.nums)
		}
	}
	platform := s.lowerPlatform(next, p, d, profile.Platform)
	var beyond []ir.RuleNum
	if sizes[listAny] > 0 {
		beyond = s.lowerPlatform(next, p, d, profile.BeyondAny)
	}
	p.platform = append(append(p.platform, platform...), beyond...)
	rules := sizes[listAny] + sizes[listCIDR] + sizes[listNamed]
	c.Rules = append(make([]ir.RuleNum, 0, len(platform)+len(beyond)+rules), platform...)
	add := func(kinds ...listKind) {
		for _, kind := range kinds {
			for _, l := range lists {
				c.Rules = append(c.Rules, l[kind].nums...)
			}
		}
	}
	if len(beyond) == 0 {
		add(listAny, listCIDR, listNamed)
	} else {
		add(listCIDR, listNamed)
		c.Rules = append(c.Rules, beyond...)
		add(listAny)
	}
	switch {
	case len(p.groups) == 0:
		c.Default, c.Reason = profile.Unattached, ir.ReasonUnattached
	case rules == 0:
		c.Default, c.Reason = profile.EmptyDirection, ir.ReasonEmptyDirection
	default:
		c.Default, c.Reason = sg.Drop, ir.ReasonNoRule
	}
	if len(c.Rules) == 0 {
		c.Rules = nil
	}
	return c
}

// lowerPlatform lowers the platform rules of p in direction d.
func (s *state) lowerPlatform(next *policy.Snapshot, p *boundPolicy, d sg.Direction, rules []sg.PlatformRule) (out []ir.RuleNum) {
	for i := range rules {
		pr := &rules[i]
		if pr.Rule.Direction != d || slices.Contains(p.exempt, pr.Name) {
			continue
		}
		var lowered [2]ir.Rule
		sel := s.lower(next, p.vpc, &pr.Rule, &lowered)
		for f := range lowered {
			lr := &lowered[f]
			if lr.Family == 0 {
				continue
			}
			lr.Ref = ir.RuleRef{Platform: pr.Name, Rule: pr.Rule.ID, Origin: pr.Rule.Origin}
			lr.Action = pr.Action
			out = append(out, s.platformRule(lr, sel))
		}
	}
	return out
}

// bind gives an interface the policy it has in next. One that was deleted on
// the way is another interface, which inherits nothing (API-06).
func (s *state) bind(next *policy.Snapshot, id sg.InterfaceID, reborn bool) {
	was, had := s.data.Interfaces.Get(id)
	old := s.interfaces[id]
	i, has := next.Effective(id)
	s.step.Interface(id)
	if has {
		p := s.acquirePolicy(next, i)
		v := s.vpc(i.VPC)
		v.uses++
		low := ir.Interface{
			ID: id, Index: was.Index, Serial: was.Serial, VPC: i.VPC, VPCNum: v.num, Policy: p.num,
			Guard: i.SourceGuard, Addrs: i.Addrs, Allow: i.Allowed,
		}
		if !had || reborn || was.VPC != i.VPC {
			s.lastSerial++
			low.Serial = s.lastSerial
			low.Index = s.indexes.take()
		}
		s.interfaces[id] = p
		s.data.Interfaces.Set(id, low)
		s.hotIfaces.Set(low.Index, hotInterface{policy: p.num, space: v.num})
		if had && was.Index != low.Index {
			s.hotIfaces.Set(was.Index, hotInterface{})
			s.indexes.give(was.Index)
		}
	} else if had {
		delete(s.interfaces, id)
		s.data.Interfaces.Delete(id)
		s.hotIfaces.Set(was.Index, hotInterface{})
		s.indexes.give(was.Index)
	}
	if had {
		s.releasePolicy(next, old)
		s.releaseVPC(was.VPC)
	}
}

func (s *state) acquirePolicy(next *policy.Snapshot, i *sg.Interface) *boundPolicy {
	key := policyKey(i)
	p := s.policies[key]
	if p == nil {
		p = &boundPolicy{key: key, num: s.numbers.take(), vpc: i.VPC, groups: i.Groups, exempt: i.Exempt}
		s.policies[key] = p
		s.byPolicy[p.num] = p
		for i := range p.chains {
			p.chains[i] = s.chains.Add(p.num)
		}
		for _, g := range p.groups {
			if s.byGroup[g] == nil {
				s.byGroup[g] = map[*boundPolicy]bool{}
			}
			s.byGroup[g][p] = true
			s.acquireGroup(next, groupKey{g, p.vpc})
		}
		s.build(next, p)
	}
	p.uses++
	return p
}

func (s *state) releasePolicy(next *policy.Snapshot, p *boundPolicy) {
	if p.uses--; p.uses > 0 {
		return
	}
	delete(s.policies, p.key)
	for _, g := range p.groups {
		delete(s.byGroup[g], p)
		if len(s.byGroup[g]) == 0 {
			delete(s.byGroup, g)
		}
		s.releaseGroup(next, groupKey{g, p.vpc})
	}
	for _, n := range p.platform {
		s.releasePlatform(next, n)
	}
	s.data.Policies.Delete(p.num)
	s.step.Policy(p.num)
	for _, c := range p.chains {
		s.chains.Drop(c)
	}
	delete(s.byPolicy, p.num)
	s.hotPolicy.Set(p.num, nil)
	s.numbers.give(p.num)
}

// narrowed reports whether anything that prev accepted may be refused now, as
// far as the chains of policies tell.
func narrowed(prev *ir.Program, now *ir.Data, changed map[*boundPolicy]bool, interfaces []sg.InterfaceID) bool {
	type pair struct{ old, new *ir.Policy }
	seen := map[pair]bool{}
	narrower := func(old, new *ir.Policy) bool {
		k := pair{old, new}
		n, ok := seen[k]
		if !ok {
			n = old != new && (chainNarrower(prev, now, &old.Ingress, &new.Ingress) || chainNarrower(prev, now, &old.Egress, &new.Egress))
			seen[k] = n
		}
		return n
	}
	for p := range changed {
		old, had := prev.Policy(p.num)
		is, has := now.Policies.Get(p.num)
		if had && has && narrower(old, is) {
			return true
		}
	}
	for _, id := range interfaces {
		was, had := prev.Interface(id)
		is, has := now.Interfaces.Get(id)
		if !had || !has {
			continue // no connection outlives its interface
		}
		old, _ := prev.Policy(was.Policy)
		to, _ := now.Policies.Get(is.Policy)
		if narrower(old, to) {
			return true
		}
	}
	return false
}

// chainNarrower reports whether a flow that was accepts may be refused by is.
func chainNarrower(prev *ir.Program, now *ir.Data, was, is *ir.Chain) bool {
	if was.Default == sg.Accept && is.Default == sg.Drop {
		return true
	}
	head, tail := ends.Common(was.Rules, is.Rules)
	old, new := was.Rules[head:len(was.Rules)-tail], is.Rules[head:len(is.Rules)-tail]
	has := make(map[ir.RuleNum]bool, len(new))
	for _, n := range new {
		has[n] = true
	}
	had := make(map[ir.RuleNum]bool, len(old))
	for _, n := range old {
		had[n] = true
		if r, _ := prev.Rule(n); r.Action == sg.Accept && !has[n] {
			return true
		}
	}
	for _, n := range new {
		if r, _ := now.Rules.Get(n); r.Action == sg.Drop && !had[n] {
			return true
		}
	}
	return false
}
