package openstack

import (
	"fmt"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// Decode reads security groups as the Networking API answers them: one, or a
// list under "security_groups".
//
//	{"security_group": {
//	   "id": "85cc3048", "name": "web", "description": "", "project_id": "e4f50856", "tenant_id": "e4f50856",
//	   "stateful": true, "created_at": "2026-03-19T19:16:56Z",
//	   "security_group_rules": [{
//	      "id": "3c0e45ff", "security_group_id": "85cc3048", "direction": "ingress", "ethertype": "IPv4",
//	      "protocol": "tcp", "port_range_min": 443, "port_range_max": 443, "remote_ip_prefix": "0.0.0.0/0",
//	      "remote_group_id": null, "remote_address_group_id": null, "description": "web"}]}}
//
// Source: the OpenStack Networking API v2.0 reference, "Security groups" and
// "Security group rules".
//
//   - A rule without a remote (null or absent) is for every address of its
//     ethertype: [sg.PeerAny]. It has at most one of remote_ip_prefix,
//     remote_group_id and remote_address_group_id, which is a [sg.PeerSet].
//   - Neutron takes prefixes with host bits and ignores these: they are masked
//     and listed. A normalized_cidr must then say the same.
//   - "icmp" and 1 in IPv6 rules mean ICMPv6. The ports of ICMP are its type
//     and code. Both ports null are all ports of TCP, UDP and SCTP, every
//     type and code of ICMP. A protocol that is null, "any" or "0" is every
//     protocol. Ports of protocols that have none are a fault, as they are for
//     Neutron; so are those of DCCP and UDP-Lite, which the model can not hold.
//   - Absent rules, as in a request, are those of a new group (see Profile); an
//     empty list has none. A rule without an id gets one by [sg.AssignIDs].
//   - The project is the scope, as [sg.User]. Absent stateful is true. The
//     group named "default" is the default group of its project.
//   - null is taken where the API writes it: description, protocol, the
//     ports, the remotes, normalized_cidr, belongs_to_default_sg, times.
//   - Accepted and listed, since they change no verdict: tags, shared,
//     updated_at, revision_number, standard_attr_id, a rule's created_at, and
//     its project if that is not the group's.
//
// Every fault is reported at once, as [sg.Errors] with paths such as
// security_groups[2].security_group_rules[0].port_range_min.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	d := decoder{groups: []*sg.Group{}, ids: map[sg.GroupID]bool{}}
	root, err := jsontree.Parse(b, &d.Faults)
	if err != nil {
		return nil, nil, err
	}
	d.readRoot(root)
	if err := d.Err(); err != nil {
		return nil, nil, err
	}
	return d.groups, d.warnings, nil
}

type decoder struct {
	jsontree.Faults
	warnings []sg.Warning
	groups   []*sg.Group
	ids      map[sg.GroupID]bool
}

func (d *decoder) warn(path, detail string) {
	d.warnings = append(d.warnings, sg.Warning{Path: path, Detail: detail})
}

// lost lists a field that the model can not hold and that changes no verdict,
// if it carries a value.
func (d *decoder) lost(o *jsontree.Object, key string, carries bool) {
	if carries {
		d.warn(o.At(key), "not kept")
	}
}

// readLost reads what both groups and rules have and the model has not.
func (d *decoder) readLost(o *jsontree.Object, times ...string) {
	for _, key := range times {
		d.lost(o, key, o.Text(key) != "")
	}
	for _, key := range []string{"revision_number", "standard_attr_id"} {
		_, ok := o.Number(key)
		d.lost(o, key, ok)
	}
}

func (d *decoder) readRoot(root *jsontree.Object) {
	const one, many, pages = "security_group", "security_groups", "security_groups_links"
	switch {
	case root.Has(one) && root.Has(many):
		root.Fault(many, nil, sg.ErrInvalid, "beside "+one+": want one of them")
	case !root.Has(one) && !root.Has(many):
		root.Fault(many, nil, sg.ErrRequired, "or "+one)
	}
	if o := root.Object(one); o != nil {
		d.readGroup(o)
	}
	list, _ := root.Objects(many)
	list.Each(d.readGroup)
	links := 0
	list, _ = root.Objects(pages)
	list.Each(func(l *jsontree.Object) {
		links++
		l.Text("rel")
		l.Text("href")
		l.Done()
	})
	if links > 0 {
		d.warn(pages, "more groups stand in other pages")
	}
	root.Done()
}

// ruleReader reads the rules of one group.
type ruleReader struct {
	*decoder
	group *sg.Group
	ids   map[sg.RuleID]string // place of the rule
	keys  map[sg.Rule]string   // the same
}

func (d *decoder) readGroup(o *jsontree.Object) {
	o.Nullable("description", "created_at", "updated_at")
	g := &sg.Group{Description: o.Text("description")}
	if id, ok := readID(o, "id"); ok {
		g.ID = sg.GroupID(id)
		if d.ids[g.ID] {
			o.Fault("id", id, sg.ErrDuplicate, "another group has this id")
		}
		d.ids[g.ID] = true
	}
	g.Name, _ = readName(o, "name")
	g.Default = g.Name == defaultName
	project := readProject(o)
	g.Scope = sg.User(project)
	g.Stateless = !o.Bool("stateful", true)
	g.Created = o.Time("created_at")
	const rules = "security_group_rules"
	list, ok := o.Objects(rules)
	if !ok {
		for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
			g.Rules = append(g.Rules, sg.Template(Profile().NewGroup, g.ID, dir)...)
		}
	}
	r := ruleReader{decoder: d, group: g, ids: map[sg.RuleID]string{}, keys: map[sg.Rule]string{}}
	list.Each(r.readRule)
	d.readLost(o, "updated_at")
	d.lost(o, "shared", o.Bool("shared", false))
	d.lost(o, "tags", len(o.Strings("tags")) > 0)
	o.Done()
	if d.Count == 0 {
		sg.AssignIDs(g.Rules)
	}
	d.groups = append(d.groups, g)
}

// readProject reads who owns o: project_id, or tenant_id, its older name.
func readProject(o *jsontree.Object) sg.OwnerID {
	project, tenant := o.Text("project_id"), o.Text("tenant_id")
	switch {
	case project == "":
		return sg.OwnerID(tenant)
	case tenant != "" && tenant != project:
		o.Fault("tenant_id", tenant, sg.ErrConflict, "not the project_id")
	}
	return sg.OwnerID(project)
}

// readID reads an id of Neutron.
func readID(o *jsontree.Object, key string) (string, bool) {
	id, ok := readName(o, key)
	switch {
	case !ok:
	case hasBlank(id):
		o.Fault(key, id, sg.ErrInvalid, "an id has no blanks")
		return "", false
	case id == string(sg.SelfGroup):
		o.Fault(key, id, sg.ErrInvalid, "no id of Neutron")
		return "", false
	}
	return id, ok
}

// readName reads a text that can be a name.
func readName(o *jsontree.Object, key string) (string, bool) {
	s, ok := o.Required(key)
	if !ok {
		return "", false
	}
	if why := sg.CheckName(s); why != "" {
		o.Fault(key, s, sg.ErrInvalid, why)
		return "", false
	}
	return s, true
}

func (d *ruleReader) readRule(o *jsontree.Object) {
	before := d.Count
	o.Nullable(
		"description", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
		"remote_address_group_id", "normalized_cidr", "belongs_to_default_sg", "created_at", "updated_at",
	)
	r := sg.Rule{Description: o.Text("description")}
	if o.Has("id") {
		id, _ := readName(o, "id")
		r.ID = sg.RuleID(id)
	}
	if s, ok := o.String("security_group_id"); ok && s != string(d.group.ID) && d.group.ID != "" {
		o.Fault("security_group_id", s, sg.ErrConflict, "the rule stands in another group")
	}
	r.Direction, r.Family = readDirection(o), readFamily(o)
	d.readTraffic(o, &r)
	peerKey := d.readPeer(o, &r)
	d.checkOwner(o)
	d.readLost(o, "created_at", "updated_at")
	d.lost(o, "tags", len(o.Strings("tags")) > 0)
	o.Done()
	if d.Count == before {
		d.add(o, r, peerKey)
	}
}

// add checks a rule, of which peerKey of o names the peer, and puts it into
// the group.
func (d *ruleReader) add(o *jsontree.Object, r sg.Rule, peerKey string) {
	checked := r
	if checked.ID == "" {
		checked.ID = "unnamed"
	}
	if err := checked.Validate(); err != nil {
		for _, f := range err.(sg.Errors) { // only families can still be at odds
			key := peerKey
			if f.Path == "protocol" {
				key = "protocol"
			}
			o.Fault(key, f.Value, f.Err, f.Detail)
		}
		return
	}
	if first, dup := d.ids[r.ID]; dup && r.ID != "" {
		o.Fault("id", string(r.ID), sg.ErrDuplicate, "as "+first)
		return
	}
	d.ids[r.ID] = o.Path
	key := r.Key()
	if first, dup := d.keys[key]; dup {
		d.Add(o.Path, nil, sg.ErrDuplicate, "same traffic as "+first)
		return
	}
	d.keys[key] = o.Path
	d.group.Rules = append(d.group.Rules, r)
}

// checkOwner checks what a rule repeats of its group.
func (d *ruleReader) checkOwner(o *jsontree.Object) {
	if project := readProject(o); project != "" && sg.User(project) != d.group.Scope {
		d.warn(o.At("project_id"), "not kept: not the project of the group")
	}
	if o.Bool("belongs_to_default_sg", d.group.Default) != d.group.Default {
		d.warn(o.At("belongs_to_default_sg"), `not kept: the default group, and no other, is named "default"`)
	}
}

func readDirection(o *jsontree.Object) sg.Direction {
	s, ok := o.Required("direction")
	switch {
	case !ok:
		return 0
	case s == "ingress":
		return sg.Ingress
	case s == "egress":
		return sg.Egress
	}
	o.Fault("direction", s, sg.ErrInvalid, "want ingress or egress")
	return 0
}

func readFamily(o *jsontree.Object) sg.Family {
	s, ok := o.Required("ethertype")
	if !ok {
		return sg.FamilyAny
	}
	f, err := sg.ParseFamily(s)
	if err != nil || f == sg.FamilyAny {
		o.Fault("ethertype", s, sg.ErrInvalid, "want IPv4 or IPv6")
	}
	return f
}

// readTraffic reads the protocol, and ports or ICMP type and code.
func (d *decoder) readTraffic(o *jsontree.Object, r *sg.Rule) {
	r.Protocol = sg.AnyProtocol
	if s, ok := o.String("protocol"); ok {
		p, err := parseProtocol(s)
		o.Merge("protocol", err)
		r.Protocol = p
	} else if o.Has("protocol") {
		r.Protocol = 0
	}
	if r.Protocol == sg.ICMP && r.Family == sg.IPv6 {
		r.Protocol = sg.ICMPv6
	}
	if onlyIPv6(r.Protocol) && r.Family == sg.IPv4 {
		o.Fault("protocol", protocolName(r.Protocol), sg.ErrFamily, "exists in IPv6 only")
	}
	low, high := 1, 65535
	if r.Protocol.HasICMP() {
		low, high = 0, 255
	}
	before := d.Count
	first, hasFirst := o.Int("port_range_min", low, high)
	last, hasLast := o.Int("port_range_max", low, high)
	switch {
	case d.Count > before, r.Protocol == 0:
	case r.Protocol.HasICMP():
		r.ICMP = icmp(o, first, hasFirst, last, hasLast)
	case r.Protocol.HasPorts():
		r.Ports = ports(o, first, hasFirst, last, hasLast)
	default:
		for _, key := range []string{"port_range_min", "port_range_max"} {
			switch {
			case !o.Has(key):
			case portsLost(r.Protocol):
				o.Fault(key, nil, sg.ErrUnsupported, "ports of protocol "+protocolName(r.Protocol)+" can not be held")
			default:
				o.Fault(key, nil, sg.ErrInvalid, "protocol "+r.Protocol.String()+" has no ports")
			}
		}
	}
}

func icmp(o *jsontree.Object, typ int, hasType bool, code int, hasCode bool) sg.ICMPMatch {
	switch {
	case hasType && hasCode:
		return sg.ICMPTypeCode(uint8(typ), uint8(code))
	case hasType:
		return sg.ICMPType(uint8(typ))
	case hasCode:
		o.Fault("port_range_max", code, sg.ErrInvalid, "an ICMP code needs its type in port_range_min")
	}
	return sg.ICMPMatch{}
}

func ports(o *jsontree.Object, first int, hasFirst bool, last int, hasLast bool) sg.PortRange {
	switch {
	case !hasFirst && !hasLast:
		return sg.AllPorts()
	case !hasFirst:
		o.Fault("port_range_min", nil, sg.ErrRequired, "beside port_range_max")
	case !hasLast:
		o.Fault("port_range_max", nil, sg.ErrRequired, "beside port_range_min")
	case first > last:
		o.Fault("port_range_min", first, sg.ErrInvalid, fmt.Sprintf("above port_range_max %d", last))
	}
	return sg.PortRange{First: uint16(first), Last: uint16(last)}
}

// readPeer reads the remote of a rule and returns its field.
func (d *decoder) readPeer(o *jsontree.Object, r *sg.Rule) (found string) {
	r.Peer = sg.PeerAny()
	for _, key := range []string{"remote_ip_prefix", "remote_group_id", "remote_address_group_id"} {
		switch {
		case !o.Has(key):
			o.Skip(key)
			continue
		case found != "":
			o.Fault(key, nil, sg.ErrInvalid, "beside "+found+": a rule has one remote") // RU-22
		}
		found = key
		switch key {
		case "remote_ip_prefix":
			r.Peer = d.readPrefix(o, key)
		case "remote_group_id":
			id, _ := readID(o, key)
			r.Peer = sg.PeerGroup(sg.GroupID(id))
		default:
			id, _ := readID(o, key)
			r.Peer = sg.PeerSet(sg.SetID(id))
		}
	}
	checkNormalized(o, r.Peer)
	return found
}

// readPrefix reads a CIDR or address and drops its host bits.
func (d *decoder) readPrefix(o *jsontree.Object, key string) sg.Peer {
	s, ok := o.Required(key)
	if !ok {
		return sg.Peer{}
	}
	if p, err := netip.ParsePrefix(s); err == nil && p != p.Masked() && !p.Addr().Is4In6() {
		d.warn(o.At(key), "host bits not kept: means "+p.Masked().String())
		return sg.PeerCIDR(p.Masked())
	}
	p, err := sg.ParsePrefix(s)
	o.Merge(key, err)
	return sg.PeerCIDR(p)
}

// checkNormalized checks what the API says again of remote_ip_prefix.
func checkNormalized(o *jsontree.Object, peer sg.Peer) {
	const key = "normalized_cidr"
	s, ok := o.String(key)
	if !ok {
		return
	}
	cidr, ok := peer.CIDR()
	if again, err := sg.ParsePrefix(s); err != nil {
		o.Merge(key, err)
	} else if !ok || cidr.IsValid() && again != cidr {
		o.Fault(key, s, sg.ErrConflict, "not the remote_ip_prefix")
	}
}
