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
	instances  map[sg.InstanceID]*sg.Instance
	owners     map[sg.OwnerID]*sg.Owner
}

func newModel(p sg.Profile) *model {
	return &model{
		p, map[sg.GroupID]*sg.Group{}, map[sg.SetID]*ipset.Set{}, map[sg.InterfaceID]*sg.Interface{},
		map[sg.InstanceID]*sg.Instance{}, map[sg.OwnerID]*sg.Owner{},
	}
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
	for id, n := range m.instances {
		c.instances[id] = n.Clone()
	}
	for id, o := range m.owners {
		c.owners[id] = o.Clone()
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

// touched is what the steps of a transaction name, and what they lead to at
// once.
type touched struct {
	groups     map[sg.GroupID]bool
	sets       map[sg.SetID]bool
	interfaces map[sg.InterfaceID]bool
	instances  map[sg.InstanceID]bool
	owners     map[sg.OwnerID]bool
}

// step is one call in a transaction, of a Tx and as the model sees it: the
// changes that it stands for, and why it fails, if it does.
type step struct {
	name  string
	store func(*policy.Tx) error
	model func(*model, sg.Actor) ([]policy.Change, error)
}

func (s step) String() string { return s.name }

// put is the step of Tx.Apply.
func put(changes ...policy.Change) step {
	return step{
		fmt.Sprintf("Apply%v", changes),
		func(tx *policy.Tx) error { return tx.Apply(changes...) },
		func(*model, sg.Actor) ([]policy.Change, error) { return changes, nil },
	}
}

// update is Store.Update: the next model and whether anything had an effect,
// or the faults. A step that fails ends the transaction, unless failures are
// ignored.
func (m *model) update(by sg.Actor, steps []step, ignore bool) (*model, bool, faults) {
	next, f, effect := m.clone(), faults{}, false
	t := touched{
		map[sg.GroupID]bool{}, map[sg.SetID]bool{}, map[sg.InterfaceID]bool{}, map[sg.InstanceID]bool{}, map[sg.OwnerID]bool{},
	}
	for _, s := range steps {
		changes, err := s.model(next, by)
		for _, c := range changes {
			before := next.String()
			next.apply(c, f, t)
			effect = effect || next.String() != before
		}
		if err != nil && !ignore {
			return m, false, faults{err: true}
		}
	}
	if !by.Admin {
		m.rights(next, by, f, t)
	}
	m.lasting(next, f, t)
	before := next.String()
	next.addDefaults(t)
	effect = effect || next.String() != before
	next.judge(f)
	next.inUse(f, t)
	return next, effect, f
}

// lasting finds what nobody may do to what was there.
func (m *model) lasting(next *model, f faults, t touched) {
	for id := range t.sets { // IP-09
		old, had := m.sets[id]
		is, has := next.sets[id]
		f.addIf(had && has && old.Len() > 0 && old.Family() != is.Family(), sg.ErrInUse)
	}
	for id := range t.groups { // GR-13
		old, had := m.groups[id]
		is, has := next.groups[id]
		if had && old.Default {
			f.addIf(!has || !is.Default || is.VPC != old.VPC, sg.ErrForbidden)
		}
	}
}

// addDefaults gives the VPCs of what was touched their default group. It is of
// whom the first object there is: groups come first, then interfaces.
func (m *model) addDefaults(t touched) {
	for _, id := range slices.Sorted(maps.Keys(t.groups)) {
		if g := m.groups[id]; g != nil {
			m.addDefault(g.VPC, g.Scope)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(t.interfaces)) {
		if i := m.interfaces[id]; i != nil {
			m.addDefault(i.VPC, sg.User(i.Owner))
		}
	}
}

func (m *model) addDefault(vpc sg.VPCID, scope sg.Scope) {
	if len(m.profile.DefaultGroup) == 0 || len(m.defaults(vpc)) > 0 {
		return
	}
	id := sg.GroupID("default")
	if vpc != "" {
		id += sg.GroupID("-" + vpc)
	}
	for base, n := id, 2; m.groups[id] != nil; n++ {
		id = sg.GroupID(fmt.Sprintf("%s-%d", base, n))
	}
	g := &sg.Group{ID: id, Name: "default", Description: "made by the platform", VPC: vpc, Scope: scope, Default: true}
	for n := 2; m.named(g); n++ {
		g.Name = fmt.Sprintf("default-%d", n)
	}
	g.Rules = m.template(m.profile.DefaultGroup, id)
	m.groups[id] = g
}

// defaults is the default groups of a VPC: one at most, unless there is a
// fault.
func (m *model) defaults(vpc sg.VPCID) (out []sg.GroupID) {
	for id, g := range m.groups {
		if g.Default && g.VPC == vpc {
			out = append(out, id)
		}
	}
	return out
}

// named says whether another group of g's VPC (and scope) has its name.
func (m *model) named(g *sg.Group) bool {
	for _, other := range m.groups {
		if other.ID != g.ID && other.VPC == g.VPC && other.Name == g.Name && (other.Scope == g.Scope || !m.profile.NamesPerScope) {
			return true
		}
	}
	return false
}

// template is the rules of a profile as rules of group id, ingress first.
func (m *model) template(rules []sg.Rule, id sg.GroupID) (out []sg.Rule) {
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		for _, r := range rules {
			if r.Peer == sg.PeerGroup(sg.SelfGroup) {
				r.Peer = sg.PeerGroup(id)
			}
			if r.Direction == d {
				out = append(out, r)
			}
		}
	}
	return out
}

// effective is Snapshot.Effective.
func (m *model) effective(i *sg.Interface) *sg.Interface {
	var groups []sg.GroupID
	var exempt []string
	if n := m.instances[i.Instance]; n != nil {
		groups = n.Groups
	}
	if o := m.owners[i.Owner]; o != nil {
		exempt = o.Exempt
	}
	c := i.Clone()
	if len(groups)+len(exempt) == 0 {
		return c
	}
	c.Groups = plus(groups, i.Groups)
	c.Exempt = plus(i.Exempt, exempt)
	return c
}

// plus is a, and of b what is not there yet.
func plus[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// minus is a without what is in b.
func minus[T comparable](a, b []T) []T {
	return slices.DeleteFunc(slices.Clone(a), func(v T) bool { return slices.Contains(b, v) })
}

func (m *model) apply(c policy.Change, f faults, t touched) {
	switch c := c.(type) {
	case policy.PutGroup:
		m.groups[c.Group.ID], t.groups[c.Group.ID] = c.Group.Clone(), true
	case policy.EditGroup:
		g := m.groups[c.ID]
		if g == nil {
			f[sg.ErrNotFound] = true
			return
		}
		t.groups[c.ID] = true
		var missing []sg.RuleID
		g.Rules, missing = edited(g.Rules, c)
		f.addIf(len(missing) > 0, sg.ErrNotFound)
	case policy.DeleteGroup:
		if m.groups[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.groups, c.ID)
		t.groups[c.ID] = true
		gone := []sg.GroupID{c.ID}
		for id, i := range m.interfaces {
			if slices.Contains(i.Groups, c.ID) {
				i.Groups, t.interfaces[id] = minus(i.Groups, gone), true
			}
		}
		for id, n := range m.instances {
			if slices.Contains(n.Groups, c.ID) {
				n.Groups, t.instances[id] = minus(n.Groups, gone), true
			}
		}
		for id, g := range m.groups {
			names := func(r sg.Rule) bool { return r.Peer == sg.PeerGroup(c.ID) }
			if m.profile.OnReferenced == sg.Cascade && slices.ContainsFunc(g.Rules, names) {
				g.Rules, t.groups[id] = slices.DeleteFunc(g.Rules, names), true
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
	case policy.PutInstance:
		m.instances[c.Instance.ID], t.instances[c.Instance.ID] = c.Instance.Clone(), true
	case policy.DeleteInstance:
		if m.instances[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.instances, c.ID)
		t.instances[c.ID] = true
	case policy.PutOwner:
		m.owners[c.Owner.ID], t.owners[c.Owner.ID] = c.Owner.Clone(), true
	case policy.DeleteOwner:
		if m.owners[c.ID] == nil {
			f[sg.ErrNotFound] = true
			return
		}
		delete(m.owners, c.ID)
		t.owners[c.ID] = true
	default:
		panic(c)
	}
}

// judge checks every object and every cross-reference.
func (m *model) judge(f faults) {
	owned := map[sg.OwnerID]int{}
	for _, g := range m.groups {
		f.add(g.Validate())
		f.addIf(g.Stateless && !m.profile.AllowStateless, sg.ErrUnsupported)
		f.addIf(m.named(g), sg.ErrDuplicate)
		switch {
		case g.Default && len(m.profile.DefaultGroup) == 0:
			f[sg.ErrUnsupported] = true
		case g.Default && len(m.defaults(g.VPC)) > 1:
			f[sg.ErrDuplicate] = true
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
	for _, n := range m.instances {
		f.add(n.Validate())
		f.addIf(len(n.Groups) > 0 && m.profile.Unit != sg.PerInstance, sg.ErrUnsupported)
		all := map[sg.GroupID]bool{}
		for _, id := range n.Groups {
			all[id] = true
		}
		for _, i := range m.interfaces {
			for _, id := range i.Groups {
				if i.Instance == n.ID {
					all[id] = true
				}
			}
		}
		m.over(f, len(all), m.profile.Quota.GroupsPerInterface)
		for _, id := range n.Groups {
			f.addIf(m.groups[id] == nil, sg.ErrNotFound)
		}
	}
	for _, o := range m.owners {
		f.add(o.Validate())
	}
	for _, i := range m.interfaces {
		f.add(i.Validate())
		f.addIf(i.Instance != "" && m.instances[i.Instance] == nil, sg.ErrNotFound)
		i = m.effective(i)
		f.addIf(len(i.Groups) == 0 && m.profile.RequireGroup && !slices.Contains(m.profile.UngroupedKinds, i.Kind), sg.ErrRequired)
		if i.Instance == "" {
			m.over(f, len(i.Groups), m.profile.Quota.GroupsPerInterface)
		}
		rules := 0
		for _, id := range i.Groups {
			g := m.groups[id]
			switch {
			case g == nil:
				f[sg.ErrNotFound] = true
			case g.VPC != i.VPC && !m.floats(g):
				f[sg.ErrInvalid] = true
			default:
				rules += len(g.Rules)
			}
		}
		m.over(f, rules, m.profile.Quota.RulesPerInterface)
	}
}

// floats says whether g applies in every VPC.
func (m *model) floats(g *sg.Group) bool { return m.profile.Unit == sg.PerInstance && g.VPC == "" }

func (m *model) judgeRule(f faults, g *sg.Group, r sg.Rule) {
	f.addIf(m.profile.RequireFamily && r.Family == sg.FamilyAny, sg.ErrRequired)
	if id, ok := r.Peer.Group(); ok {
		remote := m.groups[id]
		f.addIf(remote == nil, sg.ErrNotFound)
		f.addIf(remote != nil && remote.VPC != g.VPC && !m.floats(remote) && !m.floats(g), sg.ErrInvalid)
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

// inUse finds what the transaction deleted though rules name it, or interfaces
// belong to it. Then it does not matter whether those are found to lack it, too.
func (m *model) inUse(f faults, t touched) {
	for _, g := range m.groups {
		for _, r := range g.Rules {
			group, isGroup := r.Peer.Group()
			set, isSet := r.Peer.Set()
			f.addIf(isGroup && t.groups[group] && m.groups[group] == nil, sg.ErrInUse)
			f.addIf(isSet && t.sets[set] && m.sets[set] == nil, sg.ErrInUse)
		}
	}
	for _, i := range m.interfaces {
		f.addIf(t.instances[i.Instance] && m.instances[i.Instance] == nil, sg.ErrInUse)
	}
}

// rights judges what a user, who is no admin, did between m and next.
func (m *model) rights(next *model, by sg.Actor, f faults, t touched) {
	for id := range t.groups {
		f.addIf(!m.mayChangeGroup(next, by, m.groups[id], next.groups[id]), sg.ErrForbidden)
	}
	for id := range t.sets {
		f.addIf(m.sets[id] != nil && !by.CanEdit(m.sets[id].Scope), sg.ErrForbidden)
		f.addIf(next.sets[id] != nil && !by.CanEdit(next.sets[id].Scope), sg.ErrForbidden)
	}
	for id := range t.interfaces {
		f.addIf(!m.mayChange(next, by, m.interfaces[id], next.interfaces[id]), sg.ErrForbidden)
	}
	for id := range t.instances {
		f.addIf(!m.mayChangeInstance(next, by, m.instances[id], next.instances[id]), sg.ErrForbidden)
	}
	f.addIf(len(t.owners) > 0, sg.ErrForbidden)
}

// gone is the groups among ids that are no more.
func (m *model) gone(ids []sg.GroupID) (out []sg.GroupID) {
	for _, id := range ids {
		if m.groups[id] == nil {
			out = append(out, id)
		}
	}
	return out
}

// sees says whether by may see all groups among ids that exist.
func (m *model) sees(by sg.Actor, ids []sg.GroupID) bool {
	for _, id := range ids {
		if m.groups[id] != nil && !by.CanView(m.groups[id].Scope) {
			return false
		}
	}
	return true
}

// mayChangeGroup says whether the user may turn group old into g; nil is none.
func (m *model) mayChangeGroup(next *model, by sg.Actor, old, g *sg.Group) bool {
	if old != nil && g != nil { // whoever's: it lost the rules that name a deleted group
		lost := old.Clone()
		lost.Rules = slices.DeleteFunc(lost.Rules, func(r sg.Rule) bool {
			id, ok := r.Peer.Group()
			return ok && next.groups[id] == nil
		})
		if len(lost.Rules) < len(old.Rules) && text(lost) == text(g) {
			return true
		}
	}
	if old != nil && !by.CanEdit(old.Scope) || g != nil && !by.CanEdit(g.Scope) {
		return false
	}
	if g == nil {
		return true
	}
	for _, r := range g.Rules {
		remote, isGroup := r.Peer.Group()
		set, isSet := r.Peer.Set()
		if isGroup && !next.sees(by, []sg.GroupID{remote}) || isSet && next.sets[set] != nil && !by.CanView(next.sets[set].Scope) {
			return false
		}
	}
	return true
}

// mayChange says whether the user may turn interface old into i; nil is none.
func (m *model) mayChange(next *model, by sg.Actor, old, i *sg.Interface) bool {
	if old != nil && i != nil { // whoever's: it lost a deleted group
		lost := old.Clone()
		lost.Groups = minus(old.Groups, next.gone(old.Groups))
		if len(lost.Groups) < len(old.Groups) && text(lost) == text(i) {
			return true
		}
	}
	mine := func(i *sg.Interface) bool { return i == nil || i.Owner != "" && i.Owner == by.ID }
	if !mine(old) || !mine(i) {
		return false
	}
	if i != nil {
		for _, name := range i.Exempt {
			if old == nil || !slices.Contains(old.Exempt, name) {
				return false
			}
		}
		if n := next.instances[i.Instance]; n != nil {
			member := old != nil && old.Instance == i.Instance && old.VPC == i.VPC && slices.Equal(old.Addrs, i.Addrs)
			if n.Owner == "" || n.Owner != by.ID || !member && !next.sees(by, n.Groups) {
				return false
			}
		}
		if !next.sees(by, i.Groups) {
			return false
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

// mayChangeInstance says whether the user may turn instance old into n; nil is
// none.
func (m *model) mayChangeInstance(next *model, by sg.Actor, old, n *sg.Instance) bool {
	if old != nil && n != nil { // whoever's: it lost a deleted group
		lost := old.Clone()
		lost.Groups = minus(old.Groups, next.gone(old.Groups))
		if len(lost.Groups) < len(old.Groups) && text(lost) == text(n) {
			return true
		}
	}
	mine := func(n *sg.Instance) bool { return n == nil || n.Owner != "" && n.Owner == by.ID }
	return mine(old) && mine(n) && (n == nil || next.sees(by, n.Groups))
}

// text writes an object with everything in it.
func text(v any) string {
	switch v := v.(type) {
	case *sg.Group:
		return fmt.Sprintf("group %q %q %q %q %v %v %v %v", v.ID, v.Name, v.Description, v.VPC, v.Scope, v.Stateless, v.Default, v.Rules)
	case *ipset.Set:
		return fmt.Sprintf("set %q %q %q %q %v %v %v", v.ID, v.Name, v.Description, v.VPC, v.Scope, v.Family(), slices.Collect(v.All()))
	case *sg.Interface:
		return fmt.Sprintf("interface %q %q %q %q %q %v %q %q %v %v", v.ID, v.VPC, v.Owner, v.Instance, v.Kind, v.Addrs, v.Groups, v.Exempt, v.SourceGuard, v.Allowed)
	case *sg.Instance:
		return fmt.Sprintf("instance %q %q %q %q", v.ID, v.Owner, v.Kind, v.Groups)
	case *sg.Owner:
		return fmt.Sprintf("owner %q %q", v.ID, v.Exempt)
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
	for _, id := range slices.Sorted(maps.Keys(m.instances)) {
		lines = append(lines, text(m.instances[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(m.owners)) {
		lines = append(lines, text(m.owners[id]))
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
	for n := range s.Instances() {
		lines = append(lines, text(n))
	}
	for o := range s.Owners() {
		lines = append(lines, text(o))
	}
	return strings.Join(lines, "\n")
}

// attached and referrers are Snapshot.Attached and Snapshot.Referrers by scan.
func (m *model) attached(id sg.GroupID) []sg.InterfaceID {
	var out []sg.InterfaceID
	for _, i := range m.interfaces {
		if slices.Contains(m.effective(i).Groups, id) {
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
