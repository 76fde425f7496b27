package nfyio

import (
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type decoder struct {
	r      *wire.Reader
	drafts []*draft
}

// draft is a group whose rules wait until every id is known.
type draft struct {
	*wire.Draft
	lists []list
	rule  *wire.Object // instead of lists: the document is one rule
}

type list struct {
	dir  sg.Direction
	objs wire.List
}

// styles are the names of the two lists: of the API, and of configurations.
func styles() [2][2]string {
	return [2][2]string{{"inbound_rules", "outbound_rules"}, {"inbound", "outbound"}}
}

func (d *decoder) group(o *wire.Object) {
	api, config := styles()[0], styles()[1]
	unnamed := ""
	isAPI, isConfig := o.Has(api[0]) || o.Has(api[1]), o.Has(config[0]) || o.Has(config[1])
	if isConfig && !isAPI {
		unnamed = Unnamed
	}
	g := &draft{Draft: d.r.NewDraft(o, unnamed, fieldOf)}
	g.Group.VPC = sg.VPCID(o.Text("vpc_id"))
	g.Group.Created = o.Time("created_at")
	for _, keys := range styles() {
		for i, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
			if !o.Has(keys[i]) {
				continue
			}
			if isAPI && keys == config {
				o.Fault(keys[i], nil, sg.ErrConflict, "the group has inbound_rules or outbound_rules; use one style")
			}
			objs, _ := o.Objects(keys[i])
			g.lists = append(g.lists, list{dir, objs})
		}
	}
	o.Done()
	d.drafts = append(d.drafts, g)
}

// single reads a document that is one rule.
func (d *decoder) single(o *wire.Object) {
	d.drafts = append(d.drafts, &draft{Draft: d.r.Bare(o, Unnamed, fieldOf), rule: o})
}

// finish reads the rules, now that every id is known.
func (d *decoder) finish() []*sg.Group {
	groups := []*sg.Group{}
	for _, g := range d.drafts {
		if g.rule != nil {
			g.ReadOne(g.rule, func(o *wire.Object) sg.Rule { return d.rule(o, 0) })
			groups = append(groups, g.Done())
			continue
		}
		given := map[sg.Direction]bool{}
		for _, l := range g.lists {
			given[l.dir] = true
			g.Read(l.objs, func(o *wire.Object) sg.Rule { return d.rule(o, l.dir) })
		}
		for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
			if !given[dir] {
				g.Template(Profile().NewGroup, dir)
			}
		}
		groups = append(groups, g.Done())
	}
	return groups
}

// rule reads a rule of a list for dir, or one on its own if dir is 0.
func (d *decoder) rule(o *wire.Object, dir sg.Direction) sg.Rule {
	r := sg.Rule{Direction: direction(o, dir), Description: o.Text("description")}
	r.Protocol = o.Protocol("protocol", "all", sg.TCP, sg.UDP, sg.ICMP)
	if s, ok := o.String("port_range"); ok {
		var err error
		if strings.EqualFold(s, "all") {
			err = &sg.FieldError{Value: s, Err: sg.ErrInvalid, Detail: `every port is "0-65535"`}
		} else {
			r.Ports, err = sg.ParsePortRange(s)
		}
		o.Merge("port_range", err)
	}
	if r.Direction != 0 {
		r.Peer = d.remote(o, r.Direction)
		return r
	}
	for _, key := range []string{"source", "destination"} { // the fault is in the direction
		if s, ok := o.String(key); ok {
			d.peer(o, key, s)
		}
		o.Quiet(key)
	}
	return r
}

// direction reads the direction of a rule; dir is that of its list.
func direction(o *wire.Object, dir sg.Direction) sg.Direction {
	if dir != 0 && !o.Has("direction") {
		return dir
	}
	s, ok := o.Required("direction")
	if !ok {
		return dir
	}
	got, err := sg.ParseDirection(s)
	switch {
	case err != nil:
		o.Merge("direction", err)
	case dir == 0:
		return got
	case got != dir:
		o.Fault("direction", s, sg.ErrConflict, "the list is for "+dir.String())
	}
	return dir
}

func (d *decoder) remote(o *wire.Object, dir sg.Direction) sg.Peer {
	key, other := remoteKey(dir), remoteKey(dir.Opposite())
	if o.Has(other) {
		if _, ok := o.String(other); ok {
			o.Fault(other, nil, sg.ErrInvalid, dir.String()+" rules name their remote end as "+key)
		}
		o.Quiet(key)
		if !o.Has(key) {
			return sg.Peer{}
		}
	}
	s, ok := o.Required(key)
	if !ok {
		return sg.Peer{}
	}
	return d.peer(o, key, s)
}

func (d *decoder) peer(o *wire.Object, key, s string) sg.Peer {
	switch {
	case isAddress(s):
		return o.Prefix(key, s)
	case isGroupID(s) || d.r.Knows(sg.GroupID(s)):
		return o.GroupPeer(key, s)
	}
	o.Fault(key, s, sg.ErrInvalid, `want a CIDR, an id that begins with "sg_", or the id of a group of this document`)
	return sg.Peer{}
}
