package policy

import (
	"net/netip"
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// With returns the policy that c leads to, and c with its consequences
// spelled out and without what has no effect. The order of changes within c
// does not matter for references: only the outcome is judged. Its error is
// sg.Errors with every fault; s is unchanged either way. The cost is that of
// the change, not of the policy.
func (s *Snapshot) With(c ...Change) (*Snapshot, []Change, error) {
	e := newEditor(s)
	for _, ch := range c {
		e.apply(ch)
	}
	if err := e.validate(); err != nil {
		return nil, nil, err
	}
	return e.next, e.done, nil
}

// editor leads from one snapshot to the next: apply edits without judging
// references, validate judges everything that was touched.
type editor struct {
	base, next *Snapshot
	done       []Change // effective changes
	errs       sg.Errors

	groups     map[sg.GroupID]bool     // touched
	whole      map[sg.GroupID]bool     // of them, those to be judged with all of their rules
	places     map[sg.GroupID][]uint64 // of the others, the rules to be judged
	sets       map[sg.SetID]bool
	interfaces map[sg.InterfaceID]bool
	instances  map[sg.InstanceID]bool
	owners     map[sg.OwnerID]bool
	concerned  []sg.InterfaceID       // by a change of their instance or owner
	counted    map[sg.InstanceID]bool // whose groups are to be counted
}

func newEditor(s *Snapshot) *editor {
	return &editor{
		base: s, next: s.clone(),
		groups: map[sg.GroupID]bool{}, whole: map[sg.GroupID]bool{}, places: map[sg.GroupID][]uint64{}, sets: map[sg.SetID]bool{}, interfaces: map[sg.InterfaceID]bool{},
		instances: map[sg.InstanceID]bool{}, owners: map[sg.OwnerID]bool{}, counted: map[sg.InstanceID]bool{},
	}
}

func (e *editor) apply(c Change) {
	switch c := c.(type) {
	case PutGroup:
		e.putGroup(c.Group)
	case EditGroup:
		e.editGroup(c)
	case DeleteGroup:
		e.deleteGroup(c.ID)
	case PutSet:
		e.putSet(c.Set)
	case DeleteSet:
		if !e.next.sets.Delete(c.ID) {
			e.errs.Add(setPath(c.ID), nil, sg.ErrNotFound, "")
			return
		}
		e.sets[c.ID] = true
		e.done = append(e.done, c)
	case EditSet:
		e.editSet(c)
	case PutInterface:
		e.putInterface(c.Interface)
	case DeleteInterface:
		old, ok := e.next.interfaces.Get(c.ID)
		if !ok {
			e.errs.Add(interfacePath(c.ID), nil, sg.ErrNotFound, "")
			return
		}
		e.detachAll(old)
		e.member(old, false)
		e.next.interfaces.Delete(c.ID)
		e.interfaces[c.ID] = true
		e.done = append(e.done, c)
	case PutInstance:
		e.putInstance(c.Instance)
	case DeleteInstance:
		e.deleteInstance(c.ID)
	case PutOwner:
		e.putOwner(c.Owner)
	case DeleteOwner:
		e.deleteOwner(c.ID)
	default:
		e.errs.Add("", nil, sg.ErrInvalid, "not a change")
	}
}

func (e *editor) putGroup(g *sg.Group) {
	if g == nil {
		e.errs.Add("groups", nil, sg.ErrRequired, "PutGroup without a group")
		return
	}
	e.groups[g.ID], e.whole[g.ID] = true, true
	if old, ok := e.next.groups.Get(g.ID); ok && equalGroups(old.group(), g) {
		return
	}
	e.setGroup(g)
	e.done = append(e.done, PutGroup{g})
}

// setGroup makes g what the group is now, and notes what there is to note
// beside it.
func (e *editor) setGroup(g *sg.Group) {
	rules := g.Rules // that are new
	if h, ok := e.next.groups.Get(g.ID); ok {
		old := h.group()
		gone := old.Rules
		for len(rules) > 0 && len(gone) > 0 && rules[0].Peer == gone[0].Peer {
			rules, gone = rules[1:], gone[1:]
		}
		for len(rules) > 0 && len(gone) > 0 && rules[len(rules)-1].Peer == gone[len(gone)-1].Peer {
			rules, gone = rules[:len(rules)-1], gone[:len(gone)-1]
		}
		e.forgetGroup(old, gone)
	}
	e.next.groups.Set(g.ID, &held{put: g})
	for i := range rules {
		e.refer(g.ID, rules[i].Peer, 1)
	}
	e.next.names.Set(e.next.nameOf(g), struct{}{})
	if _, has := e.next.defaults.Get(g.VPC); g.Default && !has {
		e.next.defaults.Set(g.VPC, g.ID)
	}
	e.count(g, 1)
}

// refer notes that n rules more of a group have that peer.
func (e *editor) refer(from sg.GroupID, p sg.Peer, n int) {
	ref, ok := target(p)
	if !ok {
		return
	}
	ref.from = from
	have, _ := e.next.refs.Get(ref)
	if have += n; have > 0 {
		e.next.refs.Set(ref, have)
	} else {
		e.next.refs.Delete(ref)
	}
}

// forgetGroup takes back what putGroup noted beside the group itself, of its
// rules for those in gone.
func (e *editor) forgetGroup(old *sg.Group, gone []sg.Rule) {
	for i := range gone {
		e.refer(old.ID, gone[i].Peer, -1)
	}
	e.next.names.Delete(e.next.nameOf(old))
	if id, _ := e.next.defaults.Get(old.VPC); old.Default && id == old.ID {
		e.next.defaults.Delete(old.VPC)
	}
	e.count(old, -1)
}

// count notes that the owner of g has n groups more.
func (e *editor) count(g *sg.Group, n int) {
	owner, ok := g.Scope.Owner()
	if !ok {
		return
	}
	have, _ := e.next.owned.Get(owner)
	if have+n == 0 {
		e.next.owned.Delete(owner)
		return
	}
	e.next.owned.Set(owner, have+n)
}

// nameOf returns the name of g with what it is unique within.
func (s *Snapshot) nameOf(g *sg.Group) groupName {
	n := groupName{vpc: g.VPC, name: g.Name, group: g.ID}
	if s.profile.NamesPerScope {
		n.scope = g.Scope.String()
	}
	return n
}

func (e *editor) deleteGroup(id sg.GroupID) {
	h, ok := e.next.groups.Get(id)
	if !ok {
		e.errs.Add(groupPath(id), nil, sg.ErrNotFound, "")
		return
	}
	is := func(g sg.GroupID) bool { return g == id }
	for _, n := range slices.Collect(e.next.boundTo(id)) {
		c := n.Clone()
		c.Groups = slices.DeleteFunc(c.Groups, is)
		e.putInstance(c)
	}
	for _, i := range slices.Collect(e.next.Attached(id)) {
		c := i.Clone()
		c.Groups = slices.DeleteFunc(c.Groups, is)
		e.putInterface(c)
	}
	if e.next.profile.OnReferenced == sg.Cascade {
		e.cascade(id)
	}
	old := h.group()
	e.forgetGroup(old, old.Rules)
	e.next.groups.Delete(id)
	e.groups[id], e.whole[id] = true, true
	e.done = append(e.done, DeleteGroup{id})
}

func (e *editor) putSet(s *ipset.Set) {
	if s == nil {
		e.errs.Add("sets", nil, sg.ErrRequired, "PutSet without a set")
		return
	}
	e.sets[s.ID] = true
	if old, ok := e.next.sets.Get(s.ID); ok && equalSets(old, s) {
		return
	}
	e.next.sets.Set(s.ID, s)
	e.done = append(e.done, PutSet{s})
}

func (e *editor) editSet(c EditSet) {
	old, ok := e.next.sets.Get(c.ID)
	if !ok {
		e.errs.Add(setPath(c.ID), nil, sg.ErrNotFound, "")
		return
	}
	e.sets[c.ID] = true
	set := old.Clone()
	var added []ipset.Entry
	var removed []netip.Prefix
	for _, p := range c.Remove {
		if set.Remove(p) {
			removed = append(removed, p)
		}
	}
	for _, entry := range c.Add {
		if set.Has(entry.Prefix) {
			continue
		}
		if err := set.Add(entry); err != nil {
			e.errs.Merge(setPath(c.ID)+".entries", err)
			continue
		}
		added = append(added, entry)
	}
	same := func(p netip.Prefix) bool { // it went and came back
		was, had := old.Note(p)
		is, has := set.Note(p)
		return had && has && was == is
	}
	removed = slices.DeleteFunc(removed, same)
	added = slices.DeleteFunc(added, func(entry ipset.Entry) bool { return same(entry.Prefix) })
	if len(added)+len(removed) == 0 {
		return
	}
	e.next.sets.Set(c.ID, set)
	e.done = append(e.done, EditSet{ID: c.ID, Add: added, Remove: removed})
}

func (e *editor) putInterface(i *sg.Interface) {
	if i == nil {
		e.errs.Add("interfaces", nil, sg.ErrRequired, "PutInterface without an interface")
		return
	}
	e.interfaces[i.ID] = true
	if old, ok := e.next.interfaces.Get(i.ID); ok {
		if equalInterfaces(old, i) {
			return
		}
		e.detachAll(old)
		e.member(old, false)
	}
	e.next.interfaces.Set(i.ID, i)
	e.member(i, true)
	e.attachAll(i)
	e.done = append(e.done, PutInterface{i})
}

func (e *editor) attachAll(i *sg.Interface) {
	for _, g := range e.next.effective(i).Groups {
		e.next.attached.Set(attachment{group: g, iface: i.ID}, struct{}{})
	}
}

func (e *editor) detachAll(i *sg.Interface) {
	for _, g := range e.next.effective(i).Groups {
		e.next.attached.Delete(attachment{group: g, iface: i.ID})
	}
}

// member notes whose interface i is, or forgets it.
func (e *editor) member(i *sg.Interface, is bool) {
	for _, m := range []membership{{instance: i.Instance, iface: i.ID}, {owner: i.Owner, iface: i.ID}} {
		switch {
		case m.instance == "" && m.owner == "":
		case is:
			e.next.members.Set(m, struct{}{})
		default:
			e.next.members.Delete(m)
		}
	}
}
