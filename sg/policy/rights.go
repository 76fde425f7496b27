package policy

import (
	"fmt"
	"slices"

	"example.com/secgroup/sg"
)

// rights reports every change that by may not make. What a change leads to is
// compared with what stood before the transaction, so that no order of steps
// inside it can widen a right.
func (e *editor) rights(by sg.Actor) {
	if by.Admin {
		return
	}
	lost := e.lostGroup()
	for _, id := range sorted(e.groups) {
		old, had := e.base.header(id)
		g, has := e.next.header(id)
		if lost && had && has && e.onlyLostRules(id) {
			continue // a group that was deleted took rules along, whoever's
		}
		if had && !by.CanEdit(old.Scope) || has && !by.CanEdit(g.Scope) {
			e.errs.Add(groupPath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		}
		if has && (e.whole[id] || e.namesHidden(by, id)) {
			g, _ := e.next.Group(id)
			e.references(by, g)
		}
	}
	for _, id := range sorted(e.sets) {
		old, had := e.base.sets.Get(id)
		s, has := e.next.sets.Get(id)
		if had && !by.CanEdit(old.Scope) || has && !by.CanEdit(s.Scope) {
			e.errs.Add(setPath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		}
	}
	for _, id := range sorted(e.interfaces) {
		e.interfaceRights(by, id)
	}
	for _, id := range sorted(e.instances) {
		e.instanceRights(by, id)
	}
	for _, id := range sorted(e.owners) {
		e.errs.Add(ownerPath(id), nil, sg.ErrForbidden, "only an admin may change it")
	}
}

func (e *editor) instanceRights(by sg.Actor, id sg.InstanceID) {
	old, had := e.base.instances.Get(id)
	n, has := e.next.instances.Get(id)
	owns := func(n *sg.Instance) bool { return n.Owner != "" && n.Owner == by.ID }
	if had && has {
		want := old.Clone()
		want.Groups = e.surviving(old.Groups)
		if len(want.Groups) < len(old.Groups) && equalInstances(want, n) {
			return // a group that was deleted left an instance, whoever's
		}
	}
	if had && !owns(old) || has && !owns(n) {
		e.errs.Add(instancePath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		return
	}
	if has {
		e.attachable(by, instancePath(id), n.Groups)
	}
}

// attachable reports groups that by may not see, and so not attach.
func (e *editor) attachable(by sg.Actor, path string, groups []sg.GroupID) {
	for n, gid := range groups {
		if g, ok := e.next.header(gid); ok && !by.CanView(g.Scope) {
			e.errs.Add(fmt.Sprintf("%s.groups[%d]", path, n), string(gid), sg.ErrForbidden, "belongs to another user")
		}
	}
}

// surviving returns the groups that exist still.
func (e *editor) surviving(groups []sg.GroupID) (out []sg.GroupID) {
	for _, g := range groups {
		if _, ok := e.next.groups.Get(g); ok {
			out = append(out, g)
		}
	}
	return out
}

// onlyLostRules reports whether group id is as before, but for the rules, at
// least one, that name groups which exist no more.
func (e *editor) onlyLostRules(id sg.GroupID) bool {
	old, _ := e.base.Group(id)
	g, _ := e.next.Group(id)
	want := old.Clone()
	want.Rules = slices.DeleteFunc(want.Rules, func(r sg.Rule) bool {
		id, ok := r.Peer.Group()
		_, has := e.next.groups.Get(id)
		return ok && !has
	})
	return len(want.Rules) < len(old.Rules) && equalGroups(want, g)
}

// lostGroup reports whether any group is gone.
func (e *editor) lostGroup() bool {
	for id := range e.groups {
		if _, has := e.next.groups.Get(id); !has {
			return true
		}
	}
	return false
}

// scopeOf returns the scope of the group or set that rules with peer p name.
func (e *editor) scopeOf(p sg.Peer) (sg.Scope, bool) {
	if id, ok := p.Group(); ok {
		if remote, ok := e.next.header(id); ok {
			return remote.Scope, true
		}
	}
	if id, ok := p.Set(); ok {
		if set, ok := e.next.sets.Get(id); ok {
			return set.Scope, true
		}
	}
	return sg.Scope{}, false
}

// namesHidden reports whether any rule of group id, which was edited, names a
// group or set that by may not see.
func (e *editor) namesHidden(by sg.Actor, id sg.GroupID) bool {
	h, _ := e.next.groups.Get(id)
	for ref := range h.rules().peers.All() {
		p := sg.PeerGroup(sg.GroupID(ref.target))
		if ref.kind == sg.PeerIsSet {
			p = sg.PeerSet(sg.SetID(ref.target))
		}
		if scope, found := e.scopeOf(p); found && !by.CanView(scope) {
			return true
		}
	}
	return false
}

// references reports rules that name a group or set that by may not see.
func (e *editor) references(by sg.Actor, g *sg.Group) {
	for i := range g.Rules {
		r := &g.Rules[i]
		if scope, found := e.scopeOf(r.Peer); found && !by.CanView(scope) {
			e.errs.Add(fmt.Sprintf("%s.rules[%d].peer", groupPath(g.ID), i), r.Peer, sg.ErrForbidden, "belongs to another user")
		}
	}
}

func (e *editor) interfaceRights(by sg.Actor, id sg.InterfaceID) {
	old, had := e.base.interfaces.Get(id)
	i, has := e.next.interfaces.Get(id)
	owns := func(i *sg.Interface) bool { return i.Owner != "" && i.Owner == by.ID }
	if had && has && e.onlyLostGroups(old, i) {
		return // a group that was deleted left an interface, whoever's
	}
	if had && !owns(old) || has && !owns(i) {
		e.errs.Add(interfacePath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		return
	}
	e.operators(id, old, i)
	if !has {
		return
	}
	e.attachable(by, interfacePath(id), i.Groups)
	n, ok := e.next.instances.Get(i.Instance)
	if !ok {
		return
	}
	if n.Owner == "" || n.Owner != by.ID {
		e.errs.Add(interfacePath(id)+".instance", string(i.Instance), sg.ErrForbidden, "belongs to another user")
	}
	// An admin may have attached a group of somebody else to the instance: no
	// address becomes a member of it by joining.
	if old == nil || old.Instance != i.Instance || old.VPC != i.VPC || !slices.Equal(old.Addrs, i.Addrs) {
		e.attachable(by, interfacePath(id)+".instance", n.Groups)
	}
}

// operators reports what the owner of an interface, old before and i after,
// must leave to an admin: the names of platform rules that do not apply to it,
// and everything but the groups of an interface with a source guard. Either
// would lift a rule that stands above every group.
func (e *editor) operators(id sg.InterfaceID, old, i *sg.Interface) {
	if i != nil {
		for n, name := range i.Exempt {
			if old == nil || !slices.Contains(old.Exempt, name) {
				e.errs.Add(fmt.Sprintf("%s.exempt[%d]", interfacePath(id), n), name, sg.ErrForbidden, "only an admin may exempt from a platform rule")
			}
		}
	}
	if old == nil || !old.SourceGuard {
		return
	}
	same := false
	if i != nil {
		c := i.Clone()
		c.Groups, c.Exempt = old.Groups, old.Exempt
		same = equalInterfaces(old, c)
	}
	if !same {
		e.errs.Add(interfacePath(id)+".source_guard", nil, sg.ErrForbidden, "of an interface with a source guard, its owner may change the groups only")
	}
}

// onlyLostGroups reports whether i is old without the groups, at least one,
// that exist no more.
func (e *editor) onlyLostGroups(old, i *sg.Interface) bool {
	if len(i.Groups) == len(old.Groups) {
		return false
	}
	want := old.Clone()
	want.Groups = e.surviving(old.Groups)
	return equalInterfaces(want, i)
}
