package policy

import (
	"fmt"

	"example.com/secgroup/sg"
)

// rights reports every change that by may not make. What a change leads to is
// compared with what stood before the transaction, so that no order of steps
// inside it can widen a right.
func (e *editor) rights(by sg.Actor) {
	if by.Admin {
		return
	}
	for id := range e.groups {
		old, had := e.base.groups.Get(id)
		g, has := e.next.groups.Get(id)
		if had && !by.CanEdit(old.Scope) || has && !by.CanEdit(g.Scope) {
			e.errs.Add(groupPath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		}
		if has {
			e.references(by, g)
		}
	}
	for id := range e.sets {
		old, had := e.base.sets.Get(id)
		s, has := e.next.sets.Get(id)
		if had && !by.CanEdit(old.Scope) || has && !by.CanEdit(s.Scope) {
			e.errs.Add(setPath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		}
	}
	for id := range e.interfaces {
		e.interfaceRights(by, id)
	}
}

// references reports rules that name a group or set that by may not see.
func (e *editor) references(by sg.Actor, g *sg.Group) {
	for i, r := range g.Rules {
		scope, found := sg.Scope{}, false
		if id, ok := r.Peer.Group(); ok {
			if remote, ok := e.next.groups.Get(id); ok {
				scope, found = remote.Scope, true
			}
		}
		if id, ok := r.Peer.Set(); ok {
			if set, ok := e.next.sets.Get(id); ok {
				scope, found = set.Scope, true
			}
		}
		if found && !by.CanView(scope) {
			e.errs.Add(fmt.Sprintf("%s.rules[%d].peer", groupPath(g.ID), i), r.Peer, sg.ErrForbidden, "belongs to another user")
		}
	}
}

func (e *editor) interfaceRights(by sg.Actor, id sg.InterfaceID) {
	old, had := e.base.interfaces.Get(id)
	i, has := e.next.interfaces.Get(id)
	owns := func(i *sg.Interface) bool { return i.Owner != "" && i.Owner == by.ID }
	if had && has && !owns(old) && e.onlyLostGroups(old, i) {
		return // a group that was deleted left an interface of somebody else
	}
	if had && !owns(old) || has && !owns(i) {
		e.errs.Add(interfacePath(id), nil, sg.ErrForbidden, "only its owner or an admin may change it")
		return
	}
	if !has {
		return
	}
	for n, gid := range i.Groups {
		if g, ok := e.next.groups.Get(gid); ok && !by.CanView(g.Scope) {
			e.errs.Add(fmt.Sprintf("%s.groups[%d]", interfacePath(id), n), string(gid), sg.ErrForbidden, "belongs to another user")
		}
	}
}

// onlyLostGroups reports whether i is old without groups that exist no more.
func (e *editor) onlyLostGroups(old, i *sg.Interface) bool {
	want := old.Clone()
	want.Groups = want.Groups[:0]
	for _, g := range old.Groups {
		if _, ok := e.next.groups.Get(g); ok {
			want.Groups = append(want.Groups, g)
		}
	}
	return equalInterfaces(want, i)
}
