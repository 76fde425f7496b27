package kakao

import (
	"fmt"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type decoder struct {
	r      *wire.Reader
	names  names
	drafts []*draft
}

// draft is a group whose rules wait until every name is known.
type draft struct {
	*wire.Draft
	lists map[sg.Direction]wire.List // of the directions that are there
}

func (d *decoder) group(o *wire.Object) {
	before := d.r.Faults()
	g := &draft{Draft: d.r.NewDraft(o, "", fieldOf), lists: map[sg.Direction]wire.List{}}
	g.Group.VPC = sg.VPCID(o.Text("vpc"))
	g.Group.Default = g.Group.Name == defaultName
	if d.r.Faults() == before && !d.names.add(g.Group) {
		o.Fault("name", g.Group.Name, sg.ErrDuplicate, "another group of the VPC has it")
	}
	for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
		if list, ok := o.Objects(listKey(dir)); ok {
			g.lists[dir] = list
		}
	}
	o.Done()
	d.drafts = append(d.drafts, g)
}

// finish reads the rules, now that every name is known.
func (d *decoder) finish() []*sg.Group {
	groups := []*sg.Group{}
	for _, g := range d.drafts {
		template := Profile().NewGroup
		if g.Group.Default {
			template = Profile().DefaultGroup
		}
		for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
			list, ok := g.lists[dir]
			if !ok {
				g.Template(template, dir)
			}
			g.Read(list, func(o *wire.Object) sg.Rule { return d.rule(o, g.Group.VPC, dir) })
		}
		groups = append(groups, g.Done())
	}
	return groups
}

func (d *decoder) rule(o *wire.Object, vpc sg.VPCID, dir sg.Direction) sg.Rule {
	r := sg.Rule{Direction: dir, Description: o.Text("description")}
	r.Protocol = o.Protocol("protocol", "all", sg.TCP, sg.UDP, sg.ICMP)
	r.Ports = ports(o, r.Protocol)
	key := remoteKey(dir)
	if s, ok := o.Required(key); ok {
		if name, ok := strings.CutPrefix(s, "@"); ok {
			r.Peer = d.named(o, key, name, vpc)
		} else {
			r.Peer = o.Prefix(key, s)
		}
	}
	return r
}

func ports(o *wire.Object, p sg.Protocol) sg.PortRange {
	s, ok := o.String("port")
	switch {
	case o.Has("port") && !ok:
	case p.HasPorts() && s == "":
		o.Fault("port", nil, sg.ErrRequired, `a port, a range, or "ALL"`)
	case s == "":
	case p.HasPorts() || p == 0:
		r, err := sg.ParsePortRange(s)
		o.Merge("port", err)
		return r
	case !strings.EqualFold(s, "all"):
		o.Fault("port", s, sg.ErrInvalid, "protocol "+p.String()+` has no ports; leave it empty, or "ALL"`)
	}
	return sg.PortRange{}
}

// named finds a group by name.
func (d *decoder) named(o *wire.Object, key, name string, vpc sg.VPCID) sg.Peer {
	id, many := d.names.find(name, vpc)
	switch {
	case many:
		o.Fault(key, "@"+name, sg.ErrInvalid, fmt.Sprintf("%d groups of other VPCs have that name", len(d.names[name])))
		return sg.Peer{}
	case id != "":
		return o.GroupPeer(key, string(id))
	case d.r.Knows(sg.GroupID(name)):
		o.Fault(key, "@"+name, sg.ErrNotFound, "no group has that name, but one has it for an id; use its name")
		return sg.Peer{}
	}
	return o.GroupPeer(key, name)
}
