package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

func groupPath(id sg.GroupID) string         { return "groups[" + strconv.Quote(string(id)) + "]" }
func setPath(id sg.SetID) string             { return "sets[" + strconv.Quote(string(id)) + "]" }
func interfacePath(id sg.InterfaceID) string { return "interfaces[" + strconv.Quote(string(id)) + "]" }

// Validate checks every object and every cross-reference again. It returns
// nil for every Snapshot that this package made; tests rely on it.
func (s *Snapshot) Validate() error {
	e := newEditor(s)
	for id := range s.groups.All() {
		e.groups[id], e.whole[id] = true, true
	}
	for id := range s.sets.All() {
		e.sets[id] = true
	}
	for id := range s.interfaces.All() {
		e.interfaces[id] = true
	}
	for id := range s.instances.All() {
		e.instances[id] = true
	}
	for id := range s.owners.All() {
		e.owners[id] = true
	}
	return e.validate()
}

// validate judges what was touched, and what refers to it, in the outcome. Of
// groups that were only edited it looks at the edited rules. If that shows any
// fault, it looks at all of their rules, to report every one.
func (e *editor) validate() error {
	e.widen()
	e.settleDefaults()
	before := len(e.errs)
	if e.judge(false) && len(e.errs) == before {
		return e.errs.Err()
	}
	e.errs = e.errs[:before]
	e.judge(true)
	return e.errs.Err()
}

// judge reports the faults of what was touched. Unless it is to look at all
// rules, it may return false instead, if groups that were only edited have
// some.
func (e *editor) judge(all bool) (sound bool) {
	sound = true
	newest := map[sg.OwnerID]sg.GroupID{} // of the groups touched, to name one
	for _, id := range sorted(e.groups) {
		e.defaultGroup(id)
		if h, ok := e.next.groups.Get(id); ok {
			g := h.header()
			if owner, ok := g.Scope.Owner(); ok {
				newest[owner] = id
			}
			if all || e.whole[id] {
				g = h.group()
				e.errs.Merge(groupPath(id), g.Validate())
				e.group(g)
			} else if !e.edited(h) {
				sound = false
			}
		} else {
			e.inUse(groupPath(id), sg.PeerGroup(id))
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(newest)) {
		usage, _ := e.next.owned.Get(owner)
		e.quota(groupPath(newest[owner])+".scope", "groups per owner", usage, e.next.profile.Quota.GroupsPerOwner)
	}
	for _, id := range sorted(e.sets) {
		if s, ok := e.next.sets.Get(id); ok {
			e.errs.Merge(setPath(id), s.Validate())
			e.set(s)
		} else {
			e.inUse(setPath(id), sg.PeerSet(id))
		}
	}
	for _, id := range sorted(e.interfaces) {
		if i, ok := e.next.interfaces.Get(id); ok {
			e.errs.Merge(interfacePath(id), i.Validate())
			e.iface(i)
		}
	}
	for _, id := range sorted(e.instances) {
		e.instance(id)
		if _, ok := e.next.instances.Get(id); ok {
			e.counted[id] = true
		}
	}
	for _, id := range sorted(e.counted) {
		e.instanceQuota(id)
	}
	for _, id := range sorted(e.owners) {
		if o, ok := e.next.owners.Get(id); ok {
			e.errs.Merge(ownerPath(id), o.Validate())
		}
	}
	return sound
}

// sorted returns the ids in order, so that faults come in the same order each
// time.
func sorted[K cmp.Ordered](ids map[K]bool) []K { return slices.Sorted(maps.Keys(ids)) }

// widen marks as touched whatever depends on a touched object in a way that
// its change can break.
func (e *editor) widen() {
	var groups []sg.GroupID
	var interfaces []sg.InterfaceID
	quota := e.next.profile.Quota.RulesPerInterface > 0
	for id := range e.groups {
		g, ok := e.next.header(id)
		old, had := e.base.header(id)
		moved := had && ok && old.VPC != g.VPC
		if moved {
			groups = slices.AppendSeq(groups, e.next.Referrers(sg.PeerGroup(id)))
		}
		if moved || quota && ok && (e.whole[id] || e.grew(id)) {
			for i := range e.next.Attached(id) {
				interfaces = append(interfaces, i.ID)
			}
		}
	}
	for id := range e.sets {
		s, ok := e.next.sets.Get(id)
		old, had := e.base.sets.Get(id)
		if had && ok && (old.Family() != s.Family() || old.VPC != s.VPC) {
			groups = slices.AppendSeq(groups, e.next.Referrers(sg.PeerSet(id)))
		}
	}
	for _, id := range groups {
		e.groups[id], e.whole[id] = true, true
	}
	for _, id := range append(interfaces, e.concerned...) {
		e.interfaces[id] = true
	}
	for id := range e.interfaces { // the limit of groups is that of the instance
		if i, ok := e.next.interfaces.Get(id); ok && i.Instance != "" {
			if _, has := e.next.instances.Get(i.Instance); has {
				e.counted[i.Instance] = true
			}
		}
	}
}

// inUse reports a deleted object that rules still name.
func (e *editor) inUse(path string, p sg.Peer) {
	var by []string
	for id := range e.next.Referrers(p) {
		by = append(by, string(id))
	}
	if len(by) > 0 {
		e.errs.Add(path, nil, sg.ErrInUse, "rules of these groups refer to it: "+strings.Join(by, ", "))
	}
}

// grew reports whether a group has more rules than before.
func (e *editor) grew(id sg.GroupID) bool {
	old, had := e.base.groups.Get(id)
	h, ok := e.next.groups.Get(id)
	return ok && (!had || h.size() > old.size())
}

func (e *editor) group(g *sg.Group) {
	path, p := groupPath(g.ID), e.next.profile
	if g.Stateless && !p.AllowStateless {
		e.errs.Add(path+".stateful", false, sg.ErrUnsupported, "every group of profile "+p.Name+" is stateful")
	}
	e.name(path, g)
	e.quota(path+".rules", "rules per group", len(g.Rules), p.Quota.RulesPerGroup)
	if limit := p.Quota.RulesPerDirection; limit > 0 {
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
				n := 0
				for _, r := range g.ByDirection(d) {
					if r.EffectiveFamily().Matches(f) {
						n++
					}
				}
				e.quota(path+".rules."+d.String(), d.String()+" rules per group for "+f.String(), n, limit)
			}
		}
	}
	for i := range g.Rules {
		if r := &g.Rules[i]; p.RequireFamily || r.Peer.Kind() == sg.PeerIsGroup || r.Peer.Kind() == sg.PeerIsSet {
			e.rule(fmt.Sprintf("%s.rules[%d]", path, i), g, *r)
		}
	}
}

// name reports a name that another group of the same VPC (and scope) has; of
// two groups that were both touched, the one with the higher id.
func (e *editor) name(path string, g *sg.Group) {
	want := e.next.nameOf(g)
	want.group = ""
	for n := range e.next.names.From(want) {
		if n.vpc != want.vpc || n.scope != want.scope || n.name != want.name {
			return
		}
		if n.group != g.ID && (n.group < g.ID || !e.groups[n.group]) {
			e.errs.Add(path+".name", g.Name, sg.ErrDuplicate, "taken by group "+string(n.group)+" of the same VPC")
			return
		}
	}
}

func (e *editor) rule(path string, g *sg.Group, r sg.Rule) {
	if e.next.profile.RequireFamily && r.Family == sg.FamilyAny {
		e.errs.Add(path+".family", nil, sg.ErrRequired, "profile "+e.next.profile.Name+" wants ipv4 or ipv6")
	}
	if id, ok := r.Peer.Group(); ok && id != "" {
		remote, found := e.next.header(id)
		switch {
		case !found:
			e.errs.Add(path+".peer", string(id), sg.ErrNotFound, "no such group")
		case remote.VPC != g.VPC && !e.next.floats(remote) && !e.next.floats(g):
			e.errs.Add(path+".peer", string(id), sg.ErrInvalid, "the group is in VPC "+strconv.Quote(string(remote.VPC)))
		}
	}
	if id, ok := r.Peer.Set(); ok && id != "" {
		set, found := e.next.sets.Get(id)
		switch {
		case !found:
			e.errs.Add(path+".peer", string(id), sg.ErrNotFound, "no such IP set")
		case set.VPC != "" && set.VPC != g.VPC:
			e.errs.Add(path+".peer", string(id), sg.ErrInvalid, "the IP set is in VPC "+strconv.Quote(string(set.VPC)))
		case set.Family() != sg.FamilyAny && !r.EffectiveFamily().Matches(set.Family()):
			e.errs.Add(path+".peer", string(id), sg.ErrFamily,
				"the set is for "+set.Family().String()+", the rule for "+r.EffectiveFamily().String())
		}
	}
}

func (e *editor) set(s *ipset.Set) {
	e.quota(setPath(s.ID)+".entries", "entries per set", s.Len(), e.next.profile.Quota.EntriesPerSet)
}

func (e *editor) iface(i *sg.Interface) {
	path, p := interfacePath(i.ID), e.next.profile
	if i.Instance != "" {
		if _, ok := e.next.instances.Get(i.Instance); !ok && !e.instances[i.Instance] {
			e.errs.Add(path+".instance", string(i.Instance), sg.ErrNotFound, "no such instance")
		}
	}
	i = e.next.effective(i)
	if len(i.Groups) == 0 && !p.MayBeUngrouped(i.Kind) {
		e.errs.Add(path+".groups", nil, sg.ErrRequired, "profile "+p.Name+" wants at least one group per interface")
	}
	if i.Instance == "" {
		e.quota(path+".groups", "groups per interface", len(i.Groups), p.Quota.GroupsPerInterface)
	}
	rules := 0
	for n, id := range i.Groups {
		h, ok := e.next.groups.Get(id)
		var g *sg.Group
		if ok {
			g = h.header()
		}
		switch {
		case !ok:
			e.errs.Add(fmt.Sprintf("%s.groups[%d]", path, n), string(id), sg.ErrNotFound, "no such group")
		case g.VPC != i.VPC && !e.next.floats(g):
			e.errs.Add(fmt.Sprintf("%s.groups[%d]", path, n), string(id), sg.ErrInvalid,
				fmt.Sprintf("the group is in VPC %q, the interface in %q", g.VPC, i.VPC))
		default:
			rules += h.size()
		}
	}
	e.quota(path+".groups", "rules per interface", rules, p.Quota.RulesPerInterface)
}

// quota reports usage above a limit; zero is no limit.
func (e *editor) quota(path, what string, usage, limit int) {
	if limit > 0 && usage > limit {
		e.errs.Add(path, usage, sg.ErrQuota, fmt.Sprintf("%s: limit %d, usage %d", what, limit, usage))
	}
}
