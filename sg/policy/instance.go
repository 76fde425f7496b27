package policy

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/sg"
)

func instancePath(id sg.InstanceID) string { return "instances[" + strconv.Quote(string(id)) + "]" }
func ownerPath(id sg.OwnerID) string       { return "owners[" + strconv.Quote(string(id)) + "]" }

// boundTo yields the instances that a group is attached to, in order of id.
func (s *Snapshot) boundTo(id sg.GroupID) iter.Seq[*sg.Instance] {
	return func(yield func(*sg.Instance) bool) {
		for b := range s.bound.From(binding{group: id}) {
			if b.group != id {
				return
			}
			if n, ok := s.instances.Get(b.instance); ok && !yield(n) {
				return
			}
		}
	}
}

// around makes a change that alters what interfaces are judged by, and spells
// out that it concerns them.
func (e *editor) around(interfaces []*sg.Interface, change func()) {
	for _, i := range interfaces {
		e.detachAll(i)
	}
	change()
	for _, i := range interfaces {
		e.attachAll(i)
		e.concerned = append(e.concerned, i.ID)
		e.done = append(e.done, PutInterface{i})
	}
}

func (e *editor) putInstance(n *sg.Instance) {
	if n == nil {
		e.errs.Add("instances", nil, sg.ErrRequired, "PutInstance without an instance")
		return
	}
	e.instances[n.ID] = true
	old, had := e.next.instances.Get(n.ID)
	if had && equalInstances(old, n) {
		return
	}
	e.around(slices.Collect(e.next.InterfacesOf(n.ID)), func() {
		if had {
			e.unbind(old)
		}
		e.next.instances.Set(n.ID, n)
		for _, g := range n.Groups {
			e.next.bound.Set(binding{g, n.ID}, struct{}{})
		}
		e.done = append(e.done, PutInstance{n})
	})
}

func (e *editor) unbind(n *sg.Instance) {
	for _, g := range n.Groups {
		e.next.bound.Delete(binding{g, n.ID})
	}
}

func (e *editor) deleteInstance(id sg.InstanceID) {
	old, ok := e.next.instances.Get(id)
	if !ok {
		e.errs.Add(instancePath(id), nil, sg.ErrNotFound, "")
		return
	}
	e.instances[id] = true
	e.around(slices.Collect(e.next.InterfacesOf(id)), func() {
		e.unbind(old)
		e.next.instances.Delete(id)
		e.done = append(e.done, DeleteInstance{id})
	})
}

func (e *editor) putOwner(o *sg.Owner) {
	if o == nil {
		e.errs.Add("owners", nil, sg.ErrRequired, "PutOwner without an owner")
		return
	}
	e.owners[o.ID] = true
	if old, ok := e.next.owners.Get(o.ID); ok && slices.Equal(old.Exempt, o.Exempt) {
		return
	}
	e.around(slices.Collect(e.next.OwnedBy(o.ID)), func() {
		e.next.owners.Set(o.ID, o)
		e.done = append(e.done, PutOwner{o})
	})
}

func (e *editor) deleteOwner(id sg.OwnerID) {
	if _, ok := e.next.owners.Get(id); !ok {
		e.errs.Add(ownerPath(id), nil, sg.ErrNotFound, "")
		return
	}
	e.owners[id] = true
	e.around(slices.Collect(e.next.OwnedBy(id)), func() {
		e.next.owners.Delete(id)
		e.done = append(e.done, DeleteOwner{id})
	})
}

// cascade deletes the rules of other groups that name group id.
func (e *editor) cascade(id sg.GroupID) {
	for _, from := range slices.Collect(e.next.Referrers(sg.PeerGroup(id))) {
		g, ok := e.next.Group(from)
		if !ok || from == id {
			continue
		}
		c := g.Clone()
		c.Rules = slices.DeleteFunc(c.Rules, func(r sg.Rule) bool { return r.Peer == sg.PeerGroup(id) })
		e.putGroup(c)
	}
}

// instanceQuota counts the groups of an instance: its own, and those that its
// interfaces have beside them.
func (e *editor) instanceQuota(id sg.InstanceID) {
	n, _ := e.next.instances.Get(id)
	all := union(nil, n.Groups)
	for i := range e.next.InterfacesOf(id) {
		all = union(all, i.Groups)
	}
	e.quota(instancePath(id)+".groups", "groups per instance", len(all), e.next.profile.Quota.GroupsPerInterface)
}

// instance judges an instance, or the interfaces that one left behind.
func (e *editor) instance(id sg.InstanceID) {
	path, p := instancePath(id), e.next.profile
	n, ok := e.next.instances.Get(id)
	if !ok {
		var left []string
		for i := range e.next.InterfacesOf(id) {
			left = append(left, string(i.ID))
		}
		if len(left) > 0 {
			e.errs.Add(path, nil, sg.ErrInUse, "these interfaces belong to it: "+strings.Join(left, ", "))
		}
		return
	}
	e.errs.Merge(path, n.Validate())
	if len(n.Groups) > 0 && p.Unit != sg.PerInstance {
		e.errs.Add(path+".groups", nil, sg.ErrUnsupported, "groups of profile "+p.Name+" attach to interfaces")
	}
	for k, g := range n.Groups {
		if _, ok := e.next.groups.Get(g); !ok {
			e.errs.Add(fmt.Sprintf("%s.groups[%d]", path, k), string(g), sg.ErrNotFound, "no such group")
		}
	}
}
