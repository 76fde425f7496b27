package policy_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// model is the naive policy: plain maps of clones, judged as a whole after
// every transaction, with obvious code and no index.
type model struct {
	profile    sg.Profile
	groups     map[sg.GroupID]*sg.Group
	sets       map[sg.SetID]*ipset.Set
	interfaces map[sg.InterfaceID]*sg.Interface
}

func newModel(p sg.Profile) *model {
	return &model{p, map[sg.GroupID]*sg.Group{}, map[sg.SetID]*ipset.Set{}, map[sg.InterfaceID]*sg.Interface{}}
}

func (m *model) clone() *model {
	c := newModel(m.profile)
	for id, g := range m.groups {
		c.groups[id] = g.Clone()
	}
	for id, s := range m.sets {
		c.sets[id] = copySet(s)
	}
	for id, i := range m.interfaces {
		c.interfaces[id] = i.Clone()
	}
	return c
}

// copySet copies entry by entry, so that nothing is shared.
func copySet(s *ipset.Set) *ipset.Set {
	c := ipset.New(s.ID, s.Family(), s.Scope)
	c.Name, c.Description, c.VPC = s.Name, s.Description, s.VPC
	for e := range s.All() {
		_ = c.Add(e)
	}
	return c
}

// faults is the kinds of fault that a transaction has.
type faults map[error]bool

func (f faults) add(err error) {
	if err == nil {
		return
	}
	var all sg.Errors
	all.Merge("", err)
	for _, one := range all {
		f[one.Err] = true
	}
}

func (f faults) addIf(bad bool, kind error) {
	if bad {
		f[kind] = true
	}
}

// touched is what the steps of a transaction name.
type touched struct {
	groups     map[sg.GroupID]bool
	sets       map[sg.SetID]bool
	interfaces map[sg.InterfaceID]bool
}

// update is Store.Update: the next model and whether anything had an effect,
// or the faults.
func (m *model) update(by sg.Actor, changes []policy.Change) (*model, bool, faults) {
	next, f, effect := m.clone(), faults{}, false
	t := touched{map[sg.GroupID]bool{}, map[sg.SetID]bool{}, map[sg.InterfaceID]bool{}}
	for _, c := range changes {
		before := next.String()
		next.apply(c, f, t)
		effect = effect || next.String() != before
	}
	next.judge(f)
	next.inUse(f, t)
	for id := range t.sets { // IP-09
		old, had := m.sets[id]
		is, has := next.sets[id]
		f.addIf(had && has && old.Len() > 0 && old.Family() != is.Family(), sg.ErrInUse)
	}
	if !by.Admin {
		m.rights(next, by, f, t)
	}
	return next, effect, f
}

func (m *model) apply(c policy.Change, f faults, t touched) {
	switch c := c.(type) {
	case policy.PutGroup:
		m.groups[c.Group.ID], t.groups[c.Group.ID] = c.Group.Clone(), true
	case policy.DeleteGroup:
		if m.groups[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.groups, c.ID)
		t.groups[c.ID] = true
		for id, i := range m.interfaces {
			if slices.Contains(i.Groups, c.ID) {
				i.Groups = slices.DeleteFunc(i.Groups, func(g sg.GroupID) bool { return g == c.ID })
				t.interfaces[id] = true
			}
		}
	case policy.PutSet:
		m.sets[c.Set.ID], t.sets[c.Set.ID] = copySet(c.Set), true
	case policy.DeleteSet:
		if m.sets[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.sets, c.ID)
		t.sets[c.ID] = true
	case policy.EditSet:
		s := m.sets[c.ID]
		if s == nil {
			f[sg.ErrNotFound] = true
			return
		}
		t.sets[c.ID] = true
		for _, p := range c.Remove {
			s.Remove(p)
		}
		for _, e := range c.Add {
			if !s.Has(e.Prefix) {
				f.add(s.Add(e))
			}
		}
	case policy.PutInterface:
		m.interfaces[c.Interface.ID], t.interfaces[c.Interface.ID] = c.Interface.Clone(), true
	case policy.DeleteInterface:
		if m.interfaces[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.interfaces, c.ID)
		t.interfaces[c.ID] = true
	}
}

// judge checks every object and every cross-reference.
func (m *model) judge(f faults) {
	owned := map[sg.OwnerID]int{}
	for _, g := range m.groups {
		f.add(g.Validate())
		f.addIf(g.Stateless && !m.profile.AllowStateless, sg.ErrUnsupported)
		for _, other := range m.groups {
			f.addIf(other.ID != g.ID && other.VPC == g.VPC && other.Scope == g.Scope && other.Name == g.Name, sg.ErrDuplicate)
		}
		if owner, ok := g.Scope.Owner(); ok {
			owned[owner]++
		}
		m.over(f, len(g.Rules), m.profile.Quota.RulesPerGroup)
		count := map[string]int{}
		for _, r := range g.Rules {
			m.judgeRule(f, g, r)
			for _, family := range []sg.Family{sg.IPv4, sg.IPv6} {
				if r.EffectiveFamily().Matches(family) {
					count[r.Direction.String()+family.String()]++
				}
			}
		}
		for _, n := range count {
			m.over(f, n, m.profile.Quota.RulesPerDirection)
		}
	}
	for _, n := range owned {
		m.over(f, n, m.profile.Quota.GroupsPerOwner)
	}
	for _, s := range m.sets {
		f.add(s.Validate())
		m.over(f, s.Len(), m.profile.Quota.EntriesPerSet)
	}
	for _, i := range m.interfaces {
		f.add(i.Validate())
		f.addIf(len(i.Groups) == 0 && m.profile.RequireGroup && !slices.Contains(m.profile.UngroupedKinds, i.Kind), sg.ErrRequired)
		m.over(f, len(i.Groups), m.profile.Quota.GroupsPerInterface)
		rules := 0
		for _, id := range i.Groups {
			g := m.groups[id]
			f.addIf(g == nil, sg.ErrNotFound)
			f.addIf(g != nil && g.VPC != i.VPC, sg.ErrInvalid)
			if g != nil && g.VPC == i.VPC {
				rules += len(g.Rules)
			}
		}
		m.over(f, rules, m.profile.Quota.RulesPerInterface)
	}
}

func (m *model) judgeRule(f faults, g *sg.Group, r sg.Rule) {
	f.addIf(m.profile.RequireFamily && r.Family == sg.FamilyAny, sg.ErrRequired)
	if id, ok := r.Peer.Group(); ok {
		remote := m.groups[id]
		f.addIf(remote == nil, sg.ErrNotFound)
		f.addIf(remote != nil && remote.VPC != g.VPC, sg.ErrInvalid)
	}
	if id, ok := r.Peer.Set(); ok {
		s := m.sets[id]
		switch {
		case s == nil:
			f[sg.ErrNotFound] = true
		case s.VPC != "" && s.VPC != g.VPC:
			f[sg.ErrInvalid] = true
		case s.Family() != sg.FamilyAny && !r.EffectiveFamily().Matches(s.Family()):
			f[sg.ErrFamily] = true
		}
	}
}

func (m *model) over(f faults, usage, limit int) { f.addIf(limit > 0 && usage > limit, sg.ErrQuota) }

// inUse finds what the transaction deleted though rules name it. Then it does
// not matter whether those rules are found to lack their peer, too.
func (m *model) inUse(f faults, t touched) {
	for _, g := range m.groups {
		for _, r := range g.Rules {
			group, isGroup := r.Peer.Group()
			set, isSet := r.Peer.Set()
			f.addIf(isGroup && t.groups[group] && m.groups[group] == nil, sg.ErrInUse)
			f.addIf(isSet && t.sets[set] && m.sets[set] == nil, sg.ErrInUse)
		}
	}
}

// rights judges what a user, who is no admin, did between m and next.
func (m *model) rights(next *model, by sg.Actor, f faults, t touched) {
	for id := range t.groups {
		g := next.groups[id]
		f.addIf(m.groups[id] != nil && !by.CanEdit(m.groups[id].Scope), sg.ErrForbidden)
		f.addIf(g != nil && !by.CanEdit(g.Scope), sg.ErrForbidden)
		if g == nil {
			continue
		}
		for _, r := range g.Rules {
			remote, isGroup := r.Peer.Group()
			set, isSet := r.Peer.Set()
			f.addIf(isGroup && next.groups[remote] != nil && !by.CanView(next.groups[remote].Scope), sg.ErrForbidden)
			f.addIf(isSet && next.sets[set] != nil && !by.CanView(next.sets[set].Scope), sg.ErrForbidden)
		}
	}
	for id := range t.sets {
		f.addIf(m.sets[id] != nil && !by.CanEdit(m.sets[id].Scope), sg.ErrForbidden)
		f.addIf(next.sets[id] != nil && !by.CanEdit(next.sets[id].Scope), sg.ErrForbidden)
	}
	for id := range t.interfaces {
		f.addIf(!m.mayChange(next, by, m.interfaces[id], next.interfaces[id]), sg.ErrForbidden)
	}
}

// mayChange says whether the user may turn interface old into i; nil is none.
func (m *model) mayChange(next *model, by sg.Actor, old, i *sg.Interface) bool {
	mine := func(i *sg.Interface) bool { return i == nil || i.Owner != "" && i.Owner == by.ID }
	if !mine(old) || !mine(i) {
		if old == nil || i == nil || mine(old) {
			return false
		}
		// The deletion of a group of the user's took it off somebody else's.
		lost := old.Clone()
		lost.Groups = slices.DeleteFunc(lost.Groups, func(g sg.GroupID) bool { return next.groups[g] == nil })
		return len(lost.Groups) < len(old.Groups) && text(lost) == text(i)
	}
	if i != nil {
		for _, name := range i.Exempt {
			if old == nil || !slices.Contains(old.Exempt, name) {
				return false
			}
		}
		for _, g := range i.Groups {
			if next.groups[g] != nil && !by.CanView(next.groups[g].Scope) {
				return false
			}
		}
	}
	if old != nil && old.SourceGuard {
		if i == nil {
			return false
		}
		c := i.Clone()
		c.Groups, c.Exempt = old.Groups, old.Exempt
		return text(c) == text(old)
	}
	return true
}

// text writes an object with everything in it.
func text(v any) string {
	switch v := v.(type) {
	case *sg.Group:
		return fmt.Sprintf("group %q %q %q %q %v %v %v %v", v.ID, v.Name, v.Description, v.VPC, v.Scope, v.Stateless, v.Default, v.Rules)
	case *ipset.Set:
		return fmt.Sprintf("set %q %q %q %q %v %v %v", v.ID, v.Name, v.Description, v.VPC, v.Scope, v.Family(), slices.Collect(v.All()))
	case *sg.Interface:
		return fmt.Sprintf("interface %q %q %q %q %v %q %q %v %v", v.ID, v.VPC, v.Owner, v.Kind, v.Addrs, v.Groups, v.Exempt, v.SourceGuard, v.Allowed)
	}
	panic("no object")
}

// String writes everything in m, one object per line, in order.
func (m *model) String() string {
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(m.groups)) {
		lines = append(lines, text(m.groups[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(m.sets)) {
		lines = append(lines, text(m.sets[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(m.interfaces)) {
		lines = append(lines, text(m.interfaces[id]))
	}
	return strings.Join(lines, "\n")
}

// content writes everything in s as model.String does.
func content(s *policy.Snapshot) string {
	var lines []string
	for g := range s.Groups() {
		lines = append(lines, text(g))
	}
	for set := range s.Sets() {
		lines = append(lines, text(set))
	}
	for i := range s.Interfaces() {
		lines = append(lines, text(i))
	}
	return strings.Join(lines, "\n")
}

// attached and referrers are Snapshot.Attached and Snapshot.Referrers by scan.
func (m *model) attached(id sg.GroupID) []sg.InterfaceID {
	var out []sg.InterfaceID
	for _, i := range m.interfaces {
		if slices.Contains(i.Groups, id) {
			out = append(out, i.ID)
		}
	}
	return sortedIDs(out)
}

func (m *model) referrers(p sg.Peer) []sg.GroupID {
	var out []sg.GroupID
	for _, g := range m.groups {
		if slices.ContainsFunc(g.Rules, func(r sg.Rule) bool { return r.Peer == p }) {
			out = append(out, g.ID)
		}
	}
	return sortedIDs(out)
}

func sortedIDs[K ~string](ids []K) []K {
	slices.Sort(ids)
	return ids
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func cidr(s string) sg.Peer        { return sg.PeerCIDR(prefix(s)) }
