package compile

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// state is what a Compiler keeps between programs.
type state struct {
	data ir.Data
	step *ir.Step // what the current advance touches

	platform map[ir.Rule]*numbered // by content, Num zero
	lastRule ir.RuleNum
	garbage  []ir.RuleNum  // rules that the current advance has replaced
	made     []chains.Rule // by the current advance, in order of number

	bySet        map[sg.SetID]map[sg.VPCID]*selector
	fresh        []*selector // made by the current advance
	room         int         // for how many CIDRs the first VPC makes room
	lastSelector ir.SelectorNum

	groups   map[groupKey]*group
	policies map[string]*boundPolicy
	byPolicy map[uint32]*boundPolicy // by number
	byGroup  map[sg.GroupID]map[*boundPolicy]bool
	numbers  numbers // of policies

	vpcs       map[sg.VPCID]*vpc
	near       *vpc // the one that was asked for last
	vpcNumbers numbers

	interfaces map[sg.InterfaceID]*boundPolicy
	indexes    numbers
	lastSerial uint64

	registries [2]*classes.Registry // of IPv4 and IPv6
	chains     *chains.Set
	hotIfaces  pages.Array[hotInterface]
	hotPolicy  pages.Array[*policyIndex]
	hotSpace   pages.Array[*space]
	dirty      []*vpc
}

type numbered struct {
	num  ir.RuleNum
	uses int
}

// newState returns the state of an empty policy, with room for that many
// rules, of which so many name a CIDR.
func newState(rules, cidrs int) *state {
	registries := [2]*classes.Registry{new(classes.Registry), new(classes.Registry)}
	return &state{
		registries: registries,
		chains:     chains.NewSet(registries[0], registries[1]),
		data:       ir.NewData(),
		platform:   map[ir.Rule]*numbered{},
		room:       cidrs,
		made:       make([]chains.Rule, 0, rules),
		bySet:      map[sg.SetID]map[sg.VPCID]*selector{},
		groups:     map[groupKey]*group{},
		policies:   map[string]*boundPolicy{},
		byPolicy:   map[uint32]*boundPolicy{},
		byGroup:    map[sg.GroupID]map[*boundPolicy]bool{},
		vpcs:       map[sg.VPCID]*vpc{},
		interfaces: map[sg.InterfaceID]*boundPolicy{},
	}
}

// numbers hands out small numbers from 1 and takes them back.
type numbers struct {
	last uint32
	free []uint32
}

func (n *numbers) take() uint32 {
	if k := len(n.free); k > 0 {
		v := n.free[k-1]
		n.free = n.free[:k-1]
		return v
	}
	n.last++
	return n.last
}

func (n *numbers) give(v uint32) { n.free = append(n.free, v) }

// advance leads from the policy of cur to that of next. It can not fail.
//
// What is new is acquired before what is old is released, so that rules,
// selectors and policies that stay keep their numbers and tables.
func (s *state) advance(cur, next *policy.Snapshot, prev *ir.Program, t *touched) *Matcher {
	if prev != nil {
		s.step = new(ir.Step)
	}
	stale := map[sg.GroupID]bool{}
	for _, id := range t.sets.order {
		// A set that changed its family changes the rules that name it.
		was, had := cur.Set(id)
		if is, has := next.Set(id); had && has && was.Family() != is.Family() {
			for g := range next.Referrers(sg.PeerSet(id)) {
				t.groups.add(g)
				stale[g] = true
			}
		}
	}
	for _, id := range t.groups.order {
		s.relowerGroup(cur, next, id, t.rules[id], t.profile || stale[id])
	}
	revoked := s.members(cur, next, t)

	changed := map[*boundPolicy]bool{}
	for _, id := range t.groups.order {
		for p := range s.byGroup[id] {
			changed[p] = true
		}
	}
	if t.profile {
		for _, p := range s.policies {
			changed[p] = true
		}
	}
	for _, p := range slices.SortedFunc(maps.Keys(changed), func(a, b *boundPolicy) int { return cmp.Compare(a.num, b.num) }) {
		s.build(next, p)
	}
	for _, id := range t.interfaces.order {
		s.bind(next, id, t.reborn[id])
	}
	slices.Sort(s.garbage)
	for _, n := range s.garbage {
		s.dropRule(next, n)
	}
	s.garbage = nil
	for _, sel := range s.fresh {
		sel.fresh = false
	}
	s.fresh, s.made = nil, nil

	s.data.Source = source{next}
	s.data.Established = next.Profile().Established
	s.data.Generation++
	if prev != nil && (revoked || t.profile || narrowed(prev, &s.data, changed, t.interfaces.order)) {
		s.data.Epoch++
	}
	s.settle()
	var now *ir.Program
	if prev == nil {
		now = ir.New(s.data)
	} else {
		now = ir.Next(prev, s.data, s.step)
	}
	s.step = nil
	m := &Matcher{prog: now, ifaces: s.hotIfaces.Frozen(), policies: s.hotPolicy.Frozen(), spaces: s.hotSpace.Frozen()}
	for f, r := range s.registries {
		if s.chains.Walks(f) {
			m.classes[f] = r.Sets()
		}
	}
	return m
}

// settle brings the spaces and chains that Match reads up to date.
func (s *state) settle() {
	for _, v := range s.dirty {
		v.dirty = false
		for _, sp := range v.spaces {
			sp.Settle()
		}
		if v.uses > 0 {
			s.hotSpace.Set(uint32(v.num), &space{v.spaces[0].Map(), v.spaces[1].Map()})
		}
	}
	s.dirty = nil
	for f, r := range s.registries {
		made, dropped := r.Flush()
		s.chains.Classes(f, made, dropped)
	}
	renewed := map[uint32]bool{}
	for _, c := range s.chains.Settle() {
		renewed[c.Policy] = true
	}
	for num := range renewed {
		p := s.byPolicy[num]
		s.hotPolicy.Set(num, &policyIndex{p.chains[0].Index(), p.chains[1].Index()})
	}
}

// newRule numbers r, whose peer is sel.
func (s *state) newRule(r *ir.Rule, sel peer) ir.RuleNum {
	s.lastRule++
	r.Num = s.lastRule
	s.data.Rules.Set(r.Num, *r)
	s.step.Rule(r.Num)
	s.made = append(s.made, chains.RuleOf(r))
	if sel.uses != nil {
		*sel.uses++
	}
	return r.Num
}

func (s *state) dropRule(next *policy.Snapshot, num ir.RuleNum) {
	r, _ := s.data.Rules.Get(num)
	s.data.Rules.Delete(num)
	s.step.Rule(num)
	if r.Peer == ir.Any {
		return
	}
	is, _ := s.data.Selectors.Get(r.Peer)
	v := s.vpcs[is.VPC]
	sel := v.known(is.Peer)
	if *sel.uses--; *sel.uses == 0 {
		s.dropSelector(next, v, is.Peer, sel.num)
	}
}

// platformRule returns the number of a platform rule, the same as long as it
// is in use by any policy.
func (s *state) platformRule(r *ir.Rule, sel peer) ir.RuleNum {
	n := s.platform[*r]
	if n == nil {
		key := *r
		n = &numbered{num: s.newRule(r, sel)}
		s.platform[key] = n
	}
	n.uses++
	return n.num
}

func (s *state) releasePlatform(next *policy.Snapshot, num ir.RuleNum) {
	r, _ := s.data.Rules.Get(num)
	r.Num = 0
	n := s.platform[r]
	if n.uses--; n.uses == 0 {
		delete(s.platform, r)
		s.dropRule(next, num)
	}
}

// members brings the selectors that stood before this advance up to date and
// reports whether any lost a prefix.
func (s *state) members(cur, next *policy.Snapshot, t *touched) (lost bool) {
	type member struct {
		sel *selector
		p   netip.Prefix
	}
	diff := map[member]int{}
	var order []member
	note := func(sel *selector, p netip.Prefix, n int) {
		if sel == nil || sel.fresh {
			return
		}
		m := member{sel, p}
		if _, ok := diff[m]; !ok {
			order = append(order, m)
		}
		diff[m] += n
	}
	iface := func(i *sg.Interface, n int) {
		for _, g := range i.Groups {
			v := s.vpcs[i.VPC]
			if v == nil {
				return
			}
			sel := v.named[sg.PeerGroup(g)]
			for _, p := range i.Addrs {
				note(sel, p, n)
			}
		}
	}
	for _, id := range t.interfaces.order {
		if i, ok := cur.Effective(id); ok {
			iface(i, -1)
		}
		if i, ok := next.Effective(id); ok {
			iface(i, +1)
		}
	}
	set := func(id sg.SetID, p netip.Prefix, n int) {
		for _, sel := range s.bySet[id] {
			note(sel, p, n)
		}
	}
	for _, id := range t.sets.order {
		stood := false
		for _, sel := range s.bySet[id] {
			stood = stood || !sel.fresh
		}
		if !stood {
			continue
		}
		if edits, ok := t.edits[id]; ok {
			for _, e := range edits {
				for _, p := range e.Remove {
					set(id, p, -1)
				}
				for _, a := range e.Add {
					set(id, a.Prefix, +1)
				}
			}
			continue
		}
		was, _ := cur.Set(id)
		is, _ := next.Set(id)
		for e := range entries(was) {
			if is == nil || !is.Has(e) {
				set(id, e, -1)
			}
		}
		for e := range entries(is) {
			if was == nil || !was.Has(e) {
				set(id, e, +1)
			}
		}
	}
	for _, m := range order {
		n := diff[m]
		if n == 0 {
			continue
		}
		v := m.sel.vpc
		space := v.space(m.p)
		had := space.Count(m.p, m.sel.num)
		space.Change(m.p, m.sel.num, n)
		s.dirt(v)
		if joined := had+n > 0; joined != (had > 0) {
			s.step.Member(m.sel.num, m.p, joined)
			lost = lost || !joined
		}
	}
	return lost
}

func entries(s *ipset.Set) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		if s == nil {
			return
		}
		for e := range s.All() {
			if !yield(e.Prefix) {
				return
			}
		}
	}
}
