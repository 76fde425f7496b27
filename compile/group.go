package compile

import (
	"slices"

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
	rules     []lowered              // in order, until the first edit
	byID      map[sg.RuleID]*located // from then on
	last      uint64                 // the highest place that was given
	stateless bool
	lists     [2][listKinds]numList // by direction, ingress first
	uses      int                   // policies
}

// lowered is a rule of a group.
type lowered struct {
	nums      [2]ir.RuleNum // by family, zero where it does not apply
	direction uint8         // 0 for ingress
	kind      listKind
}

// located is a rule of a group that was edited. Its place is above that of the
// rule before.
type located struct {
	lowered
	place uint64
}

// listKind tells rules by their peers. Chains put rules for any peer first, so
// that most packets need no look-up of an address, and CIDRs before groups and
// sets, so that one look-up of the kernel serves them.
type listKind uint8

const (
	listAny listKind = iota
	listCIDR
	listNamed
	listKinds
)

func kindOf(p *sg.Peer) listKind {
	if p.IsAny() {
		return listAny
	}
	if _, ok := p.CIDR(); ok {
		return listCIDR
	}
	return listNamed
}

// numList is the rules of one kind and direction, in order.
type numList struct {
	nums   []ir.RuleNum
	places []uint64 // of what each was lowered from; nil until the first edit
}

// add appends a rule.
func (l *numList) add(r *located) {
	for _, n := range r.nums {
		if n != 0 {
			l.nums, l.places = append(l.nums, n), append(l.places, r.place)
		}
	}
}

// replace puts rules, two at most, in place of those that have that place. Zeros
// are none.
func (l *numList) replace(place uint64, nums ...ir.RuleNum) {
	at, _ := slices.BinarySearch(l.places, place)
	end := at
	for end < len(l.places) && l.places[end] == place {
		end++
	}
	var list [2]ir.RuleNum
	is := list[:0]
	for _, n := range nums {
		if n != 0 {
			is = append(is, n)
		}
	}
	same := [2]uint64{place, place}
	l.nums = slices.Replace(l.nums, at, end, is...)
	l.places = slices.Replace(l.places, at, end, same[:len(is)]...)
}

func (g *group) list(r *lowered) *numList { return &g.lists[r.direction][r.kind] }

// acquireGroup counts a use of a group, lowered on the first.
func (s *state) acquireGroup(next *policy.Snapshot, k groupKey) {
	low := s.groups[k]
	if low == nil {
		low = new(group)
		s.groups[k] = low
		s.lowerGroup(next, k, low, nil)
	}
	low.uses++
}

func (s *state) releaseGroup(next *policy.Snapshot, k groupKey) {
	low := s.groups[k]
	if low.uses--; low.uses > 0 {
		return
	}
	delete(s.groups, k)
	for d := range low.lists {
		for _, l := range low.lists[d] {
			for _, n := range l.nums {
				s.dropRule(next, n)
			}
		}
	}
}

// relowerGroup lowers a group as it is in next, wherever it is in use, and
// notes in s.garbage the rules that it has no more. Rules that are the same as
// in cur mean the same, unless stale says that what they name has changed.
// Edits, if there are any, are all that is different.
func (s *state) relowerGroup(cur, next *policy.Snapshot, id sg.GroupID, edits []policy.EditGroup, stale bool) {
	var vpcs []sg.VPCID
	for p := range s.byGroup[id] {
		vpcs = append(vpcs, p.vpc)
	}
	slices.Sort(vpcs)
	for _, vpc := range slices.Compact(vpcs) {
		k := groupKey{id, vpc}
		low := s.groups[k]
		if len(edits) > 0 && !stale {
			if low.byID == nil {
				was, _ := cur.Group(id)
				low.index(was)
			}
			if e, ok := low.net(edits); ok {
				s.editGroup(next, k, low, e)
				continue
			}
		}
		var old *sg.Group
		if !stale {
			old, _ = cur.Group(id)
		}
		s.lowerGroup(next, k, low, old)
	}
}

// lowerGroup gives low the rules that a group has in next; none if it is gone.
// Old, if any, is what low is made of so far.
func (s *state) lowerGroup(next *policy.Snapshot, k groupKey, low *group, old *sg.Group) {
	g, ok := next.Group(k.id)
	if !ok {
		g = new(sg.Group)
	}
	was := low.ordered()
	var head, tail int // rules that stay as they are
	if old != nil && low.stateless == g.Stateless {
		head, tail = common(old.Rules, g.Rules)
	}
	keep := map[ir.Rule]ir.RuleNum{}
	for _, r := range was[head : len(was)-tail] {
		s.offer(keep, r.nums)
	}
	*low = group{rules: make([]lowered, len(g.Rules)), last: uint64(len(g.Rules)), stateless: g.Stateless, uses: low.uses}
	copy(low.rules, was[:head])
	copy(low.rules[len(low.rules)-tail:], was[len(was)-tail:])
	var sizes [2][listKinds]int
	for i := range low.rules {
		r := &low.rules[i]
		if i >= head && i < len(g.Rules)-tail {
			*r = s.lowerRule(next, k, low, &g.Rules[i], keep)
		}
		for _, n := range r.nums {
			if n != 0 {
				sizes[r.direction][r.kind]++
			}
		}
	}
	for d := range sizes {
		for kind, n := range sizes[d] {
			low.lists[d][kind].nums = make([]ir.RuleNum, 0, n)
		}
	}
	for i := range low.rules {
		r := &low.rules[i]
		l := low.list(r)
		for _, n := range r.nums {
			if n != 0 {
				l.nums = append(l.nums, n)
			}
		}
	}
	for _, n := range keep {
		s.garbage = append(s.garbage, n)
	}
}

// common returns how many rules a and b have in common at the start, and at
// the end behind those.
func common(a, b []sg.Rule) (head, tail int) {
	n := min(len(a), len(b))
	for head < n && a[head] == b[head] {
		head++
	}
	for tail < n-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	return head, tail
}

// offer puts rules that are on their way out to keep: what is lowered to the
// same takes them over.
func (s *state) offer(keep map[ir.Rule]ir.RuleNum, nums [2]ir.RuleNum) {
	for _, n := range nums {
		if n != 0 {
			r, _ := s.data.Rules.Get(n)
			r.Num = 0
			keep[r] = n
		}
	}
}

// lowerRule lowers a rule of a group, with the numbers of those in keep that
// are the same. It has no place yet.
func (s *state) lowerRule(next *policy.Snapshot, k groupKey, low *group, r *sg.Rule, keep map[ir.Rule]ir.RuleNum) (out lowered) {
	out.kind = kindOf(&r.Peer)
	if r.Direction == sg.Egress {
		out.direction = 1
	}
	var rules [2]ir.Rule
	sel := s.lower(next, k.vpc, r, &rules)
	for f := range rules {
		lr := &rules[f]
		if lr.Family == 0 {
			continue
		}
		lr.Ref = ir.RuleRef{Group: k.id, Rule: r.ID, Origin: r.Origin}
		lr.Action, lr.Stateless = sg.Accept, low.stateless
		if len(keep) > 0 {
			if n, ok := keep[*lr]; ok {
				delete(keep, *lr)
				out.nums[f] = n
				continue
			}
		}
		out.nums[f] = s.newRule(lr, sel)
	}
	return out
}

// lower returns what r means, one rule per family in which it means anything,
// and its peer.
func (s *state) lower(next *policy.Snapshot, id sg.VPCID, r *sg.Rule, out *[2]ir.Rule) (sel peer) {
	family := r.EffectiveFamily()
	if set, ok := r.Peer.Set(); ok && family == sg.FamilyAny {
		if is, ok := next.Set(set); ok {
			family = is.Family()
		}
	}
	for i, f := range [2]sg.Family{sg.IPv4, sg.IPv6} {
		protocol := r.Protocol
		if f == sg.IPv6 && protocol == sg.ICMP && r.ICMP.IsAny() && next.Profile().ICMPCoversIPv6 && r.Family == sg.FamilyAny {
			protocol = sg.ICMPv6
			family = r.AddressFamily()
		}
		if !family.Matches(f) || !protocol.Family().Matches(f) {
			continue
		}
		if sel.num == ir.Any && !r.Peer.IsAny() {
			sel = s.selector(next, id, &r.Peer)
		}
		out[i] = ir.Rule{Family: f, Protocol: protocol, Ports: r.Ports, ICMP: r.ICMP, Peer: sel.num}
	}
	return sel
}
