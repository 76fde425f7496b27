package policy

import (
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// CopyGroup creates group id with the rules of group from, in the same VPC.
// Rules that name the group itself name the copy; a copy of a default group is
// an ordinary group.
func (tx *Tx) CopyGroup(from, id sg.GroupID, name string, scope sg.Scope) error {
	h, err := tx.held(from)
	if err != nil {
		return err
	}
	g := h.group().Clone()
	if _, taken := tx.Group(id); taken {
		return &sg.FieldError{Path: groupPath(id), Err: sg.ErrDuplicate, Detail: "a group has this id"}
	}
	g.ID, g.Name, g.Scope, g.Default = id, name, scope, false
	for n := range g.Rules {
		if g.Rules[n].Peer == sg.PeerGroup(from) {
			g.Rules[n].Peer = sg.PeerGroup(id)
		}
	}
	return tx.Apply(PutGroup{g})
}

// NewGroup creates g with the rules that the profile gives to new groups,
// before its own.
func (tx *Tx) NewGroup(g *sg.Group) error {
	if tx.editor == nil {
		return ErrTxDone
	}
	if g == nil {
		return tx.Apply(PutGroup{}) // says what is missing
	}
	if _, taken := tx.Group(g.ID); taken {
		return &sg.FieldError{Path: groupPath(g.ID), Err: sg.ErrDuplicate, Detail: "a group has this id"}
	}
	c := g.Clone()
	c.Rules = nil
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		c.Rules = append(c.Rules, sg.Template(tx.editor.next.profile.NewGroup, g.ID, d)...)
	}
	c.Rules = append(c.Rules, g.Rules...)
	return tx.Apply(PutGroup{c})
}

// AddRules adds rules to a group, behind those it has; a rule without an id
// gets one. A rule that is there already is a fault at commit.
func (tx *Tx) AddRules(id sg.GroupID, rules ...sg.Rule) error {
	h, err := tx.held(id)
	if err != nil {
		return err
	}
	if h.has("") { // put in this transaction: it gets one, too
		g := h.group().Clone()
		g.Rules = append(g.Rules, rules...)
		sg.AssignIDs(g.Rules)
		return tx.Apply(PutGroup{g})
	}
	rules = slices.Clone(rules)
	sg.AssignNewIDs(rules, h.has)
	return tx.Apply(EditGroup{ID: id, Add: rules})
}

// RemoveRule removes one rule of a group.
func (tx *Tx) RemoveRule(id sg.GroupID, rule sg.RuleID) error {
	h, err := tx.held(id)
	if err != nil {
		return err
	}
	if !h.has(rule) {
		return &sg.FieldError{Path: groupPath(id) + ".rules", Value: string(rule), Err: sg.ErrNotFound, Detail: "no such rule"}
	}
	return tx.Apply(EditGroup{ID: id, Remove: []sg.RuleID{rule}})
}

// held returns a group. It fails for one that the actor may not see.
func (tx *Tx) held(id sg.GroupID) (*held, error) {
	if tx.editor == nil {
		return nil, ErrTxDone
	}
	h, ok := tx.editor.next.groups.Get(id)
	if !ok {
		return nil, &sg.FieldError{Path: groupPath(id), Err: sg.ErrNotFound}
	}
	if !tx.by.CanView(h.header().Scope) { // a copy would tell its rules, and a rule id whether there is such a rule
		return nil, &sg.FieldError{Path: groupPath(id), Err: sg.ErrForbidden, Detail: "belongs to another user"}
	}
	return h, nil
}

// AddLines adds entries to an IP set, one per line: see ipset.Set.AddLines.
// The report says which were added; faulty lines do not fail the transaction.
func (tx *Tx) AddLines(id sg.SetID, text string) (ipset.Report, error) {
	if tx.editor == nil {
		return ipset.Report{}, ErrTxDone
	}
	s, ok := tx.Set(id)
	if !ok {
		return ipset.Report{}, &sg.FieldError{Path: setPath(id), Err: sg.ErrNotFound}
	}
	if !tx.by.CanView(s.Scope) { // the report would tell which entries there are
		return ipset.Report{}, &sg.FieldError{Path: setPath(id), Err: sg.ErrForbidden, Detail: "belongs to another user"}
	}
	trial := s.Clone()
	report := trial.AddLines(text)
	c := EditSet{ID: id}
	for _, p := range report.Added {
		note, _ := trial.Note(p)
		c.Add = append(c.Add, ipset.Entry{Prefix: p, Description: note})
	}
	return report, tx.Apply(c)
}

// AttachInterfaces attaches a group to interfaces: Attach from the side of the
// group.
func (tx *Tx) AttachInterfaces(g sg.GroupID, interfaces ...sg.InterfaceID) error {
	for _, i := range interfaces {
		if err := tx.Attach(i, g); err != nil {
			return err
		}
	}
	return nil
}

// DetachInterfaces detaches a group from interfaces.
func (tx *Tx) DetachInterfaces(g sg.GroupID, interfaces ...sg.InterfaceID) error {
	for _, i := range interfaces {
		if err := tx.Detach(i, g); err != nil {
			return err
		}
	}
	return nil
}

// AttachInstance attaches groups to an instance, behind those it has. A group
// that is attached already stays where it is.
func (tx *Tx) AttachInstance(id sg.InstanceID, g ...sg.GroupID) error {
	return tx.editInstance(id, func(have []sg.GroupID) []sg.GroupID { return union(have, g) })
}

// AttachInstances attaches a group to instances: AttachInstance from the side
// of the group.
func (tx *Tx) AttachInstances(g sg.GroupID, instances ...sg.InstanceID) error {
	for _, n := range instances {
		if err := tx.AttachInstance(n, g); err != nil {
			return err
		}
	}
	return nil
}

// DetachInstances detaches a group from instances.
func (tx *Tx) DetachInstances(g sg.GroupID, instances ...sg.InstanceID) error {
	for _, n := range instances {
		if err := tx.DetachInstance(n, g); err != nil {
			return err
		}
	}
	return nil
}

// DetachInstance detaches groups from an instance.
func (tx *Tx) DetachInstance(id sg.InstanceID, g ...sg.GroupID) error {
	return tx.editInstance(id, func(have []sg.GroupID) []sg.GroupID {
		return slices.DeleteFunc(have, func(one sg.GroupID) bool { return slices.Contains(g, one) })
	})
}

// SetInstanceGroups replaces the whole list of an instance's groups.
func (tx *Tx) SetInstanceGroups(id sg.InstanceID, g ...sg.GroupID) error {
	return tx.editInstance(id, func([]sg.GroupID) []sg.GroupID { return slices.Clone(g) })
}

func (tx *Tx) editInstance(id sg.InstanceID, edit func([]sg.GroupID) []sg.GroupID) error {
	if tx.editor == nil {
		return ErrTxDone
	}
	n, ok := tx.editor.next.Instance(id)
	if !ok {
		return &sg.FieldError{Path: instancePath(id), Err: sg.ErrNotFound}
	}
	c := n.Clone()
	c.Groups = edit(c.Groups)
	return tx.Apply(PutInstance{c})
}

// SetExempt replaces the platform rules that do not apply to an owner's
// interfaces; no names forgets the owner.
func (tx *Tx) SetExempt(id sg.OwnerID, names ...string) error {
	if tx.editor == nil {
		return ErrTxDone
	}
	if len(names) > 0 {
		return tx.Apply(PutOwner{&sg.Owner{ID: id, Exempt: slices.Clone(names)}})
	}
	if _, ok := tx.editor.next.Owner(id); !ok {
		return nil
	}
	return tx.Apply(DeleteOwner{id})
}
