package wire

import (
	"errors"
	"strings"

	"example.com/secgroup/sg"
)

// Draft is a group that is being read. Rules with faults are reported and left
// out of it.
type Draft struct {
	Group *sg.Group
	Obj   *Object // where the group stands

	r     *Reader
	field func(r sg.Rule, field string) string
	ids   map[sg.RuleID]string // where each rule id stands
	keys  map[sg.Rule]string   // where each rule stands, by what it says
}

// Bare begins a group of which o says neither id nor name: both are name.
func (r *Reader) Bare(o *Object, name string, field func(r sg.Rule, field string) string) *Draft {
	return &Draft{
		Group: &sg.Group{ID: sg.GroupID(name), Name: name}, Obj: o,
		r: r, field: field, ids: map[sg.RuleID]string{}, keys: map[sg.Rule]string{},
	}
}

// NewDraft begins a group with what o says of its id, name and description. A
// group without an id has its name for one. One without a name has its id for
// one, else the name unnamed; if that is empty, a name is required. field says
// what the format calls a field of sg.Rule.
func (r *Reader) NewDraft(o *Object, unnamed string, field func(r sg.Rule, field string) string) *Draft {
	d := r.Bare(o, "", field)
	g := d.Group
	id, hasID := o.Optional("id")
	name, ok := unnamed, unnamed != ""
	switch {
	case o.Has("name") || !ok:
		name, ok = o.Required("name")
	case hasID:
		name = id
	}
	idKey := "id"
	if !o.Has("id") {
		id, hasID, idKey = name, ok, "name"
	}
	g.ID, g.Name = sg.GroupID(id), name
	g.Description = o.Text("description")
	if ok && sg.CheckName(name) != "" {
		o.Fault("name", name, sg.ErrInvalid, sg.CheckName(name))
	} else if hasID && sg.CheckName(id) != "" {
		o.Fault(idKey, id, sg.ErrInvalid, sg.CheckName(id))
	} else if hasID && g.ID == sg.SelfGroup {
		o.Fault(idKey, id, sg.ErrInvalid, "stands for any group, in profiles")
	} else if first, taken := r.ids[g.ID]; hasID && taken {
		o.Fault(idKey, id, sg.ErrDuplicate, "the id of "+first)
	} else if hasID {
		r.ids[g.ID] = o.At(idKey)
	}
	return d
}

// Knows reports whether a group that was begun has that id.
func (r *Reader) Knows(id sg.GroupID) bool {
	_, ok := r.ids[id]
	return ok
}

// Template puts the rules in that a profile gives to new groups.
func (d *Draft) Template(rules []sg.Rule, dir sg.Direction) {
	d.Group.Rules = append(d.Group.Rules, sg.Template(rules, d.Group.ID, dir)...)
}

// Read reads the rules of a list, each by read.
func (d *Draft) Read(list List, read func(o *Object) sg.Rule) {
	list.Each(func(o *Object) { d.ReadOne(o, read) })
}

// ReadOne reads a rule that stands in no list.
func (d *Draft) ReadOne(o *Object, read func(o *Object) sg.Rule) {
	faults, from := d.r.faults.Count, len(d.r.faults.Told)
	rule := read(o)
	o.Done()
	d.check(o, rule, from)
	if first, taken := d.ids[rule.ID]; rule.ID != "" && taken {
		o.Fault("id", string(rule.ID), sg.ErrDuplicate, "the id of "+first)
	} else {
		d.ids[rule.ID] = o.Path
	}
	if d.r.faults.Count > faults {
		return
	}
	if first, taken := d.keys[rule.Key()]; taken {
		d.r.faults.Add(o.Path, nil, sg.ErrDuplicate, "same traffic as "+first)
		return
	}
	d.keys[rule.Key()] = o.Path
	d.Group.Rules = append(d.Group.Rules, rule)
}

// check notes what is wrong with a rule that could be read, in words of the
// format. A fault of a field that has one already, from errs[from] on, is a
// consequence of it.
func (d *Draft) check(o *Object, rule sg.Rule, from int) {
	if rule.ID == "" {
		rule.ID = "given later"
	}
	var errs sg.Errors
	if !errors.As(rule.Validate(), &errs) {
		return
	}
	told := map[string]bool{}
	for _, key := range o.quiet {
		told[o.At(key)] = true
	}
	for _, f := range d.r.faults.Told[from:] {
		told[f.Path] = true
		if rest, ok := strings.CutPrefix(f.Path, o.Path+"."); ok { // a part of a field
			field, _, _ := strings.Cut(rest, ".")
			told[o.At(field)] = true
		}
	}
	for _, f := range errs {
		if key := d.field(rule, f.Path); !told[o.At(key)] {
			o.Fault(key, f.Value, f.Err, f.Detail)
		}
	}
}

// Done gives ids to rules that have none and makes sure that the group is
// valid.
func (d *Draft) Done() *sg.Group {
	sg.AssignIDs(d.Group.Rules)
	if d.r.faults.Count == 0 {
		var errs sg.Errors
		errs.Merge(d.Obj.Path, d.Group.Validate())
		for _, f := range errs { // none is known to come so far
			d.r.faults.Add(f.Path, f.Value, f.Err, f.Detail)
		}
	}
	return d.Group
}

// Prefix reads a CIDR, or an address (RU-23), as a peer.
func (o *Object) Prefix(key, s string) sg.Peer {
	p, err := sg.ParsePrefix(s)
	if err != nil {
		o.Merge(key, err)
		return sg.Peer{}
	}
	return sg.PeerCIDR(p)
}

// GroupPeer reads the id of a group as a peer.
func (o *Object) GroupPeer(key, id string) sg.Peer {
	if sg.GroupID(id) == sg.SelfGroup {
		o.Fault(key, id, sg.ErrInvalid, "stands for any group, in profiles")
		return sg.Peer{}
	}
	return sg.PeerGroup(sg.GroupID(id))
}

// Protocol reads a protocol, in any letter case, that must be one of those
// listed (RU-03, RU-06). all is what the format calls every protocol.
func (o *Object) Protocol(key, all string, list ...sg.Protocol) sg.Protocol {
	s, ok := o.Required(key)
	if !ok {
		return 0
	}
	names := make([]string, 0, len(list)+1)
	for _, p := range list {
		if strings.ToLower(s) == p.String() {
			return p
		}
		names = append(names, p.String())
	}
	if strings.EqualFold(s, all) {
		return sg.AnyProtocol
	}
	o.Fault(key, s, sg.ErrInvalid, "want a protocol: "+strings.Join(append(names, all), ", "))
	return 0
}
