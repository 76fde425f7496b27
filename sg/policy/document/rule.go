package document

import (
	"fmt"
	"hash/fnv"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// remoteKey is the field that holds the remote end, by direction.
func remoteKey(d sg.Direction) string {
	if d == sg.Egress {
		return "destination"
	}
	return "source"
}

// readRules reads the two rule lists of a group, now that every id is known.
func (d *decoder) readRules(draft *groupDraft) {
	g := draft.group
	used := map[sg.RuleID]bool{}
	var unnamed []int
	for n, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
		if !draft.given[n] {
			for _, r := range sg.Template(d.profile.NewGroup, g.ID, dir) {
				used[r.ID] = true
				g.Rules = append(g.Rules, r)
			}
			continue
		}
		for _, o := range draft.lists[n] {
			r := d.readRule(o, g, dir)
			d.place(fmt.Sprintf("groups[%q].rules[%d]", g.ID, len(g.Rules)), o.Path)
			if r.ID == "" {
				unnamed = append(unnamed, len(g.Rules))
			}
			used[r.ID] = true
			g.Rules = append(g.Rules, r)
		}
	}
	for _, n := range unnamed {
		r := &g.Rules[n]
		base := generateID(*r)
		r.ID = base
		for k := 2; used[r.ID]; k++ {
			r.ID = sg.RuleID(fmt.Sprintf("%s-%d", base, k))
		}
		used[r.ID] = true
	}
}

func (d *decoder) readRule(o *jsontree.Object, g *sg.Group, dir sg.Direction) sg.Rule {
	r := sg.Rule{Direction: dir, Description: o.Text("description")}
	if o.Has("id") {
		id, _ := o.Required("id")
		r.ID = sg.RuleID(id)
		if id == "" {
			r.ID = sg.RuleID("\x00" + o.Path)
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
		o.Text(other)
		o.Fault(other, nil, sg.ErrInvalid, dir.String()+" rules name their remote end as "+key)
		d.place(o.At(key), o.At(other)) // do not ask for it again
	} else if v, ok := o.Required(key); ok {
		r.Peer = d.peer(o, key, v, g)
	}
	o.Done()
	return r
}

// peer reads a remote end: CIDR or address, id of a group or set, or @name.
func (d *decoder) peer(o *jsontree.Object, key, v string, g *sg.Group) sg.Peer {
	if name, ok := strings.CutPrefix(v, "@"); ok {
		return d.named(o, key, name, g)
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
	all := d.byName[name]
	var near []*sg.Group
	for _, c := range all {
		if c.VPC == g.VPC {
			near = append(near, c)
		}
	}
	switch {
	case len(near) == 1:
		return sg.PeerGroup(near[0].ID)
	case len(near) == 0 && len(all) == 1:
		return sg.PeerGroup(all[0].ID)
	case len(all) == 0:
		o.Fault(key, "@"+name, sg.ErrNotFound, "no group of that name")
	default:
		o.Fault(key, "@"+name, sg.ErrInvalid, fmt.Sprintf("%d groups have that name; use an id", len(all)))
	}
	return sg.Peer{}
}

// maxGenerated bounds a generated id; a longer one is cut and told apart by a
// hash.
const maxGenerated = 120

// generateID makes an id of what a rule says, such as
// "in-tcp-443-from-0.0.0.0/0": the same rule always gets the same id.
func generateID(r sg.Rule) sg.RuleID {
	id, side := "in-", "-from-"
	if r.Direction == sg.Egress {
		id, side = "out-", "-to-"
	}
	id += r.Protocol.String()
	if !r.Ports.IsZero() {
		id += "-" + r.Ports.String()
	}
	if !r.ICMP.IsAny() {
		id += "-type-" + r.ICMP.String()
	}
	if r.Family != sg.FamilyAny {
		id += "-" + r.Family.String()
	}
	id += side + strings.ReplaceAll(r.Peer.String(), " ", "-")
	if len(id) > maxGenerated {
		h := fnv.New64a()
		h.Write([]byte(id))
		id = fmt.Sprintf("%s-%016x", strings.ToValidUTF8(id[:maxGenerated], ""), h.Sum64())
	}
	return sg.RuleID(id)
}
