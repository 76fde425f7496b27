package document

import (
	"fmt"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// anyPeer stands for every address.
const anyPeer = "any"

// remoteKey is the field that holds the remote end, by direction.
func remoteKey(d sg.Direction) string {
	if d == sg.Egress {
		return "destination"
	}
	return "source"
}

func listKey(d sg.Direction) string {
	if d == sg.Egress {
		return "outbound_rules"
	}
	return "inbound_rules"
}

// readRules reads the two rule lists of a group, now that every id is known.
func (d *decoder) readRules(draft *groupDraft) {
	g := draft.group
	var soft []int // rules of the template: their ids give way to written ones
	broken := map[int]*jsontree.Object{}
	for n, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
		if !draft.given[n] {
			for _, r := range sg.Template(d.profile.NewGroup, g.ID, dir) {
				d.place(fmt.Sprintf("groups[%q].rules[%d]", g.ID, len(g.Rules)), draft.obj.At(listKey(dir)))
				soft = append(soft, len(g.Rules))
				g.Rules = append(g.Rules, r)
			}
			continue
		}
		draft.lists[n].Each(func(o *jsontree.Object) {
			before := d.faults.Count
			r := d.readRule(o, g, dir)
			if d.faults.Count > before {
				broken[len(g.Rules)] = o
			}
			d.place(fmt.Sprintf("groups[%q].rules[%d]", g.ID, len(g.Rules)), o.Path)
			g.Rules = append(g.Rules, r)
		})
	}
	sg.AssignIDs(g.Rules, soft...)
	d.separate(g, broken)
}

// separate keeps rules with faults from being taken for duplicates of others
// because of what could not be read.
func (d *decoder) separate(g *sg.Group, broken map[int]*jsontree.Object) {
	if len(broken) == 0 {
		return
	}
	count := make(map[sg.Rule]int, len(g.Rules))
	for _, r := range g.Rules {
		count[r.Key()]++
	}
	for n, o := range broken {
		if r := &g.Rules[n]; count[r.Key()] > 1 {
			r.Peer = sg.PeerGroup(sg.GroupID(placeholder(o)))
			d.silent[o.At(remoteKey(r.Direction))] = true
		}
	}
}

func (d *decoder) readRule(o *jsontree.Object, g *sg.Group, dir sg.Direction) sg.Rule {
	r := sg.Rule{Direction: dir, Description: o.Text("description")}
	if o.Has("id") {
		id, _ := o.Required("id")
		r.ID = sg.RuleID(id)
		if id == "" {
			r.ID = sg.RuleID(placeholder(o))
		}
	}
	if v, ok := o.Required("protocol"); ok {
		p, err := sg.ParseProtocol(v)
		o.Merge("protocol", err)
		r.Protocol = p
	}
	if v, ok := o.String("port_range"); ok {
		p, err := sg.ParsePortRange(v)
		o.Merge("port_range", err)
		r.Ports = p
	}
	if v, ok := o.String("ip_version"); ok {
		f, err := sg.ParseFamily(v)
		o.Merge("ip_version", err)
		r.Family = f
	}
	typ, hasType := o.Int("icmp_type", 0, 255)
	code, hasCode := o.Int("icmp_code", 0, 255)
	switch {
	case hasType && hasCode:
		r.ICMP = sg.ICMPTypeCode(uint8(typ), uint8(code))
	case hasType:
		r.ICMP = sg.ICMPType(uint8(typ))
	case hasCode && !o.Has("icmp_type"):
		o.Fault("icmp_code", code, sg.ErrInvalid, "a code needs its icmp_type")
	}
	key, other := remoteKey(dir), remoteKey(dir.Opposite())
	if o.Has(other) && !o.Has(key) {
		if _, ok := o.String(other); ok {
			o.Fault(other, nil, sg.ErrInvalid, dir.String()+" rules name their remote end as "+key)
		}
		d.silent[o.At(key)] = true // do not ask for it again
	} else if v, ok := o.Required(key); ok {
		r.Peer = d.peer(o, key, v, g)
	}
	o.Done()
	return r
}

// peer reads a remote end: CIDR or address, any, id of a group or set, or @name.
func (d *decoder) peer(o *jsontree.Object, key, v string, g *sg.Group) sg.Peer {
	if name, ok := strings.CutPrefix(v, "@"); ok {
		return d.named(o, key, name, g)
	}
	if v == anyPeer {
		return sg.PeerAny()
	}
	switch d.ids[v] {
	case "group":
		return sg.PeerGroup(sg.GroupID(v))
	case "set":
		return sg.PeerSet(sg.SetID(v))
	}
	p, err := sg.ParsePrefix(v)
	if err == nil {
		return sg.PeerCIDR(p)
	}
	if isAddress(v) || strings.ContainsAny(v, "/:") || strings.Trim(v, "0123456789.") == "" {
		o.Merge(key, err)
	} else {
		o.Fault(key, v, sg.ErrNotFound, "neither a CIDR, nor the id of a group or IP set of this document")
	}
	return sg.Peer{}
}

// named finds a group by name: that of the rule's own VPC, else the only one.
func (d *decoder) named(o *jsontree.Object, key, name string, g *sg.Group) sg.Peer {
	near, all := d.inVPC[vpcName{g.VPC, name}], d.byName[name]
	switch {
	case len(near) == 1:
		return sg.PeerGroup(near[0])
	case len(near) == 0 && len(all) == 1:
		return sg.PeerGroup(all[0])
	case len(all) == 0:
		o.Fault(key, "@"+name, sg.ErrNotFound, "no group of that name")
	default:
		o.Fault(key, "@"+name, sg.ErrInvalid, fmt.Sprintf("%d groups have that name; use an id", len(all)))
	}
	return sg.Peer{}
}
