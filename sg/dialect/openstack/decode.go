package openstack

import (
	"fmt"
	"net/netip"
	"time"

	"example.com/secgroup/sg"
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
	if root := d.root(b); root != nil {
		d.readRoot(root)
	}
	if d.faults > 0 {
		return nil, nil, d.err()
	}
	return d.groups, d.warnings, nil
}

type decoder struct {
	document
	groups []*sg.Group
	ids    map[sg.GroupID]bool
}

func (d *decoder) readRoot(root *object) {
	const one, many = "security_group", "security_groups"
	switch {
	case root.has(one) && root.has(many):
		root.fault(many, nil, sg.ErrInvalid, "beside "+one+": want one of them")
	case !root.has(one) && !root.has(many):
		root.fault(many, nil, sg.ErrRequired, "or "+one)
	}
	if o := root.object(one); o != nil {
		d.readGroup(o)
	}
	for _, o := range root.objects(many) {
		d.readGroup(o)
	}
	links := root.objects("security_groups_links")
	for _, l := range links {
		l.text("rel")
		l.text("href")
		l.done()
	}
	if len(links) > 0 {
		d.warn("security_groups_links", "more groups stand in other pages")
	}
	root.done()
}

// ruleReader reads the rules of one group.
type ruleReader struct {
	*decoder
	group *sg.Group
	ids   map[sg.RuleID]string // place of the rule
	keys  map[sg.Rule]string   // the same
}

func (d *decoder) readGroup(o *object) {
	o.null = []string{"description", "created_at", "updated_at"}
	g := &sg.Group{Description: o.text("description")}
	if id, ok := o.id("id"); ok {
		g.ID = sg.GroupID(id)
		if d.ids[g.ID] {
			o.fault("id", id, sg.ErrDuplicate, "another group has this id")
		}
		d.ids[g.ID] = true
	}
	g.Name, _ = o.name("name")
	g.Default = g.Name == defaultName
	project := readProject(o)
	g.Scope = sg.User(project)
	if stateful, given := o.flag("stateful"); given {
		g.Stateless = !stateful
	}
	if n := o.get("created_at", "string"); n != nil {
		t, err := time.Parse(time.RFC3339, n.text)
		if err != nil {
			o.fault("created_at", n.text, sg.ErrInvalid, "want an RFC 3339 time")
		}
		g.Created = t.UTC()
	}
	const rules = "security_group_rules"
	list := o.objects(rules)
	if !o.has(rules) {
		for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
			g.Rules = append(g.Rules, sg.Template(Profile().NewGroup, g.ID, dir)...)
		}
	}
	r := ruleReader{decoder: d, group: g, ids: map[sg.RuleID]string{}, keys: map[sg.Rule]string{}}
	for _, item := range list {
		r.readRule(item)
	}
	o.lost("string", "updated_at")
	o.lost("number", "revision_number", "standard_attr_id")
	o.lost("boolean", "shared")
	readTags(o)
	o.done()
	if d.faults == 0 {
		sg.AssignIDs(g.Rules)
	}
	d.groups = append(d.groups, g)
}

// readProject reads who owns o: project_id, or tenant_id, its older name.
func readProject(o *object) sg.OwnerID {
	project, tenant := o.text("project_id"), o.text("tenant_id")
	switch {
	case project == "":
		return sg.OwnerID(tenant)
	case tenant != "" && tenant != project:
		o.fault("tenant_id", tenant, sg.ErrConflict, "not the project_id")
	}
	return sg.OwnerID(project)
}

// id reads an id of Neutron.
func (o *object) id(key string) (string, bool) {
	id, ok := o.name(key)
	switch {
	case !ok:
	case hasBlank(id):
		o.fault(key, id, sg.ErrInvalid, "an id has no blanks")
		return "", false
	case id == string(sg.SelfGroup):
		o.fault(key, id, sg.ErrInvalid, "no id of Neutron")
		return "", false
	}
	return id, ok
}

// name reads a text that can be a name.
func (o *object) name(key string) (string, bool) {
	s, ok := o.need(key)
	if !ok {
		return "", false
	}
	if why := sg.CheckName(s); why != "" {
		o.fault(key, s, sg.ErrInvalid, why)
		return "", false
	}
	return s, true
}

// readTags lists tags: the model has none.
func readTags(o *object) {
	n := o.get("tags", "array")
	if n == nil {
		return
	}
	for i, v := range n.values {
		if v.kind != "string" {
			o.doc.fault(fmt.Sprintf("%s[%d]", o.at("tags"), i), nil, sg.ErrInvalid, "want a string, not "+article(v.kind))
		}
	}
	o.lost("array", "tags")
}

func (d *ruleReader) readRule(o *object) {
	before := d.faults
	o.null = []string{
		"description", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id",
		"remote_address_group_id", "normalized_cidr", "belongs_to_default_sg", "created_at", "updated_at",
	}
	r := sg.Rule{Description: o.text("description")}
	if o.has("id") {
		id, _ := o.name("id")
		r.ID = sg.RuleID(id)
	}
	if n := o.get("security_group_id", "string"); n != nil && n.text != string(d.group.ID) && d.group.ID != "" {
		o.fault("security_group_id", n.text, sg.ErrConflict, "the rule stands in another group")
	}
	r.Direction, r.Family = readDirection(o), readFamily(o)
	readTraffic(o, &r)
	peerKey := readPeer(o, &r)
	d.checkOwner(o)
	o.lost("string", "created_at", "updated_at")
	o.lost("number", "revision_number", "standard_attr_id")
	readTags(o)
	o.done()
	if d.faults == before {
		d.add(o, r, peerKey)
	}
}

// add checks a rule, of which peerKey of o names the peer, and puts it into
// the group.
func (d *ruleReader) add(o *object, r sg.Rule, peerKey string) {
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
			o.fault(key, f.Value, f.Err, f.Detail)
		}
		return
	}
	if first, dup := d.ids[r.ID]; dup && r.ID != "" {
		o.fault("id", string(r.ID), sg.ErrDuplicate, "as "+first)
		return
	}
	d.ids[r.ID] = o.path
	key := r.Key()
	if first, dup := d.keys[key]; dup {
		d.fault(o.path, nil, sg.ErrDuplicate, "same traffic as "+first)
		return
	}
	d.keys[key] = o.path
	d.group.Rules = append(d.group.Rules, r)
}

// checkOwner checks what a rule repeats of its group.
func (d *ruleReader) checkOwner(o *object) {
	if project := readProject(o); project != "" && sg.User(project) != d.group.Scope {
		d.warn(o.at("project_id"), "not kept: not the project of the group")
	}
	if isDefault, given := o.flag("belongs_to_default_sg"); given && isDefault != d.group.Default {
		d.warn(o.at("belongs_to_default_sg"), `not kept: the default group, and no other, is named "default"`)
	}
}

func readDirection(o *object) sg.Direction {
	s, ok := o.need("direction")
	switch {
	case !ok:
		return 0
	case s == "ingress":
		return sg.Ingress
	case s == "egress":
		return sg.Egress
	}
	o.fault("direction", s, sg.ErrInvalid, "want ingress or egress")
	return 0
}

func readFamily(o *object) sg.Family {
	s, ok := o.need("ethertype")
	if !ok {
		return sg.FamilyAny
	}
	f, err := sg.ParseFamily(s)
	if err != nil || f == sg.FamilyAny {
		o.fault("ethertype", s, sg.ErrInvalid, "want IPv4 or IPv6")
	}
	return f
}

// readTraffic reads the protocol, and ports or ICMP type and code.
func readTraffic(o *object, r *sg.Rule) {
	r.Protocol = sg.AnyProtocol
	if s := o.get("protocol", "string"); s != nil {
		p, err := parseProtocol(s.text)
		o.merge("protocol", err)
		r.Protocol = p
	} else if o.has("protocol") {
		r.Protocol = 0
	}
	if r.Protocol == sg.ICMP && r.Family == sg.IPv6 {
		r.Protocol = sg.ICMPv6
	}
	if onlyIPv6(r.Protocol) && r.Family == sg.IPv4 {
		o.fault("protocol", protocolName(r.Protocol), sg.ErrFamily, "exists in IPv6 only")
	}
	low, high := 1, 65535
	if r.Protocol.HasICMP() {
		low, high = 0, 255
	}
	before := o.doc.faults
	first, hasFirst := o.number("port_range_min", low, high)
	last, hasLast := o.number("port_range_max", low, high)
	switch {
	case o.doc.faults > before, r.Protocol == 0:
	case r.Protocol.HasICMP():
		r.ICMP = icmp(o, first, hasFirst, last, hasLast)
	case r.Protocol.HasPorts():
		r.Ports = ports(o, first, hasFirst, last, hasLast)
	default:
		for _, key := range []string{"port_range_min", "port_range_max"} {
			switch {
			case !o.has(key):
			case portsLost(r.Protocol):
				o.fault(key, nil, sg.ErrUnsupported, "ports of protocol "+protocolName(r.Protocol)+" can not be held")
			default:
				o.fault(key, nil, sg.ErrInvalid, "protocol "+r.Protocol.String()+" has no ports")
			}
		}
	}
}

func icmp(o *object, typ int, hasType bool, code int, hasCode bool) sg.ICMPMatch {
	switch {
	case hasType && hasCode:
		return sg.ICMPTypeCode(uint8(typ), uint8(code))
	case hasType:
		return sg.ICMPType(uint8(typ))
	case hasCode:
		o.fault("port_range_max", code, sg.ErrInvalid, "an ICMP code needs its type in port_range_min")
	}
	return sg.ICMPMatch{}
}

func ports(o *object, first int, hasFirst bool, last int, hasLast bool) sg.PortRange {
	switch {
	case !hasFirst && !hasLast:
		return sg.AllPorts()
	case !hasFirst:
		o.fault("port_range_min", nil, sg.ErrRequired, "beside port_range_max")
	case !hasLast:
		o.fault("port_range_max", nil, sg.ErrRequired, "beside port_range_min")
	case first > last:
		o.fault("port_range_min", first, sg.ErrInvalid, fmt.Sprintf("above port_range_max %d", last))
	}
	return sg.PortRange{First: uint16(first), Last: uint16(last)}
}

// readPeer reads the remote of a rule and returns its field.
func readPeer(o *object, r *sg.Rule) (found string) {
	r.Peer = sg.PeerAny()
	for _, key := range []string{"remote_ip_prefix", "remote_group_id", "remote_address_group_id"} {
		switch {
		case !o.has(key):
			o.read[key] = true
			continue
		case found != "":
			o.fault(key, nil, sg.ErrInvalid, "beside "+found+": a rule has one remote") // RU-22
		}
		found = key
		switch key {
		case "remote_ip_prefix":
			r.Peer = readPrefix(o, key)
		case "remote_group_id":
			id, _ := o.id(key)
			r.Peer = sg.PeerGroup(sg.GroupID(id))
		default:
			id, _ := o.id(key)
			r.Peer = sg.PeerSet(sg.SetID(id))
		}
	}
	checkNormalized(o, r.Peer)
	return found
}

// readPrefix reads a CIDR or address and drops its host bits.
func readPrefix(o *object, key string) sg.Peer {
	s, ok := o.need(key)
	if !ok {
		return sg.Peer{}
	}
	if p, err := netip.ParsePrefix(s); err == nil && p != p.Masked() && !p.Addr().Is4In6() {
		o.doc.warn(o.at(key), "host bits not kept: means "+p.Masked().String())
		return sg.PeerCIDR(p.Masked())
	}
	p, err := sg.ParsePrefix(s)
	o.merge(key, err)
	return sg.PeerCIDR(p)
}

// checkNormalized checks what the API says again of remote_ip_prefix.
func checkNormalized(o *object, peer sg.Peer) {
	const key = "normalized_cidr"
	s := o.get(key, "string")
	if s == nil {
		return
	}
	cidr, ok := peer.CIDR()
	if again, err := sg.ParsePrefix(s.text); err != nil {
		o.merge(key, err)
	} else if !ok || cidr.IsValid() && again != cidr {
		o.fault(key, s.text, sg.ErrConflict, "not the remote_ip_prefix")
	}
}
