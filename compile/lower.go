package compile

import (
	"slices"
	"strings"

	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// groupKey names the lowered form of a group in a VPC: its peers are members
// in that VPC.
type groupKey struct {
	id  sg.GroupID
	vpc sg.VPCID
}

// group is the lowered rules of one group in one VPC.
type group struct {
	from *sg.Group // what nums is lowered from; empty if the group is gone
	nums []perFamily
	by   map[sg.Direction]*byPeer
	uses int // policies
}

// byPeer is rules in their order, by the kind of their peer. Chains put rules
// for any peer first, so that most packets need no look-up of an address, and
// CIDRs before groups and sets, so that one look-up of the kernel serves them.
type byPeer struct{ any, cidr, named []ir.RuleNum }

// perFamily is what a rule of a group is lowered to, zero where it does not
// apply.
type perFamily [2]ir.RuleNum

// each yields the rules of list that there are.
func each(list []perFamily, yield func(ir.RuleNum)) {
	for _, pair := range list {
		for _, n := range pair {
			if n != 0 {
				yield(n)
			}
		}
	}
}

// acquireGroup counts a use of a group, lowered on the first.
func (s *state) acquireGroup(next *policy.Snapshot, k groupKey) {
	low := s.groups[k]
	if low == nil {
		low = new(group)
		s.groups[k] = low
		s.lowerGroup(next, k, low, false)
	}
	low.uses++
}

func (s *state) releaseGroup(next *policy.Snapshot, k groupKey) {
	low := s.groups[k]
	if low.uses--; low.uses == 0 {
		delete(s.groups, k)
		each(low.nums, func(n ir.RuleNum) { s.releaseRule(next, n) })
	}
}

// relowerGroup lowers a group as it is in next, wherever it is in use, and
// notes in s.garbage the rules that it has no more. Rules that are the same as
// before mean the same, unless stale says that what they name has changed.
func (s *state) relowerGroup(next *policy.Snapshot, id sg.GroupID, stale bool) {
	var vpcs []sg.VPCID
	for p := range s.byGroup[id] {
		vpcs = append(vpcs, p.vpc)
	}
	slices.Sort(vpcs)
	for _, vpc := range slices.Compact(vpcs) {
		k := groupKey{id, vpc}
		s.lowerGroup(next, k, s.groups[k], stale)
	}
}

// lowerGroup gives low the rules that a group has in next; none if it is gone.
func (s *state) lowerGroup(next *policy.Snapshot, k groupKey, low *group, stale bool) {
	g, ok := next.Group(k.id)
	if !ok {
		g = new(sg.Group)
	}
	old := low.nums
	var head, tail int // rules that stay as they are
	if was := low.from; was != nil && was.Stateless == g.Stateless && !stale {
		head, tail = ends(was.Rules, g.Rules)
	}
	low.from, low.nums = g, make([]perFamily, len(g.Rules))
	copy(low.nums, old[:head])
	copy(low.nums[len(low.nums)-tail:], old[len(old)-tail:])
	for i := head; i < len(g.Rules)-tail; i++ {
		r := &g.Rules[i]
		for _, lr := range s.lower(next, k.vpc, *r) {
			lr.Ref = ir.RuleRef{Group: g.ID, Rule: r.ID, Origin: r.Origin}
			lr.Action, lr.Stateless = sg.Accept, g.Stateless
			low.nums[i][familyIndex(lr.Family)] = s.rule(lr)
		}
	}
	each(old[head:len(old)-tail], func(n ir.RuleNum) { s.garbage = append(s.garbage, n) })

	low.by = map[sg.Direction]*byPeer{sg.Ingress: {}, sg.Egress: {}}
	for i := range g.Rules {
		r := &g.Rules[i]
		list := &low.by[r.Direction].named
		if _, isCIDR := r.Peer.CIDR(); r.Peer.IsAny() {
			list = &low.by[r.Direction].any
		} else if isCIDR {
			list = &low.by[r.Direction].cidr
		}
		each(low.nums[i:i+1], func(n ir.RuleNum) { *list = append(*list, n) })
	}
}

// ends returns how many elements a and b have in common at the start, and at
// the end behind those.
func ends[T comparable](a, b []T) (head, tail int) {
	n := min(len(a), len(b))
	for head < n && a[head] == b[head] {
		head++
	}
	for tail < n-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head, tail
}

// lower returns what r means, one rule per family.
func (s *state) lower(next *policy.Snapshot, id sg.VPCID, r sg.Rule) []ir.Rule {
	family := r.EffectiveFamily()
	if set, ok := r.Peer.Set(); ok && family == sg.FamilyAny {
		if is, ok := next.Set(set); ok {
			family = is.Family()
		}
	}
	var out []ir.Rule
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		protocol := r.Protocol
		if f == sg.IPv6 && protocol == sg.ICMP && r.ICMP.IsAny() && next.Profile().ICMPCoversIPv6 && r.Family == sg.FamilyAny {
			protocol = sg.ICMPv6
			family = r.AddressFamily()
		}
		if !family.Matches(f) || !protocol.Family().Matches(f) {
			continue
		}
		out = append(out, ir.Rule{
			Family:   f,
			Protocol: protocol,
			Ports:    r.Ports,
			ICMP:     r.ICMP,
			Peer:     s.selector(next, id, r.Peer),
		})
	}
	return out
}

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
		s.releaseRule(next, n)
	}
	s.data.Policies.Set(p.num, pol)
	s.step.Policy(p.num)
}

// known returns a rule in use.
func (s *state) known(n ir.RuleNum) *ir.Rule {
	r, _ := s.data.Rules.Get(n)
	return &r
}

func (s *state) chain(next *policy.Snapshot, p *boundPolicy, d sg.Direction) ir.Chain {
	profile := next.Profile()
	var c ir.Chain
	var any, cidr, named []ir.RuleNum
	for _, id := range p.groups {
		g := s.groups[groupKey{id, p.vpc}].by[d]
		any = append(any, g.any...)
		cidr = append(cidr, g.cidr...)
		named = append(named, g.named...)
	}
	peer := slices.Concat(cidr, named)
	platform := s.lowerPlatform(next, p, d, profile.Platform)
	var beyond []ir.RuleNum
	if len(any) > 0 {
		beyond = s.lowerPlatform(next, p, d, profile.BeyondAny)
	}
	p.platform = append(append(p.platform, platform...), beyond...)
	if len(beyond) == 0 {
		c.Rules = slices.Concat(platform, any, peer)
	} else {
		c.Rules = slices.Concat(platform, peer, beyond, any)
	}
	switch {
	case len(p.groups) == 0:
		c.Default, c.Reason = profile.Unattached, ir.ReasonUnattached
	case len(any)+len(peer) == 0:
		c.Default, c.Reason = profile.EmptyDirection, ir.ReasonEmptyDirection
	default:
		c.Default, c.Reason = sg.Drop, ir.ReasonNoRule
	}
	return c
}

// lowerPlatform lowers the platform rules of p in direction d.
func (s *state) lowerPlatform(next *policy.Snapshot, p *boundPolicy, d sg.Direction, rules []sg.PlatformRule) (out []ir.RuleNum) {
	for _, pr := range rules {
		if pr.Rule.Direction != d || slices.Contains(p.exempt, pr.Name) {
			continue
		}
		for _, lr := range s.lower(next, p.vpc, pr.Rule) {
			lr.Ref = ir.RuleRef{Platform: pr.Name, Rule: pr.Rule.ID, Origin: pr.Rule.Origin}
			lr.Action = pr.Action
			out = append(out, s.rule(lr))
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
		s.releaseRule(next, n)
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
	head, tail := ends(was.Rules, is.Rules)
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
