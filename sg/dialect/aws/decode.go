package aws

import (
	"fmt"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// Decode reads the answer of describe-security-groups as the AWS CLI and the
// SDKs write it in JSON, and that of describe-security-group-rules, as
// [DecodeRules] does: the root field tells which it is.
//
//	{"SecurityGroups": [{
//	   "GroupId": "sg-0a1", "GroupName": "web", "Description": "", "OwnerId": "111122223333", "VpcId": "vpc-0b2",
//	   "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
//	      "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "web"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
//	      "PrefixListIds": [{"PrefixListId": "pl-0c3"}], "UserIdGroupPairs": [{"GroupId": "sg-0d4", "UserId": "111122223333"}]}],
//	   "IpPermissionsEgress": [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]}]}
//
// Source: the Amazon EC2 API reference, DescribeSecurityGroups, SecurityGroup,
// IpPermission, IpRange, Ipv6Range, PrefixListId, UserIdGroupPair.
//
//   - Every range, prefix list and pair of a permission is a rule. Rules have
//     no ids here and get them by [sg.AssignIDs].
//   - Both permission lists are required: the API always writes them, so an
//     absent one is a part cut off, never the rules of a new group. An empty
//     one has no rules. A permission without any peer is a fault.
//   - TCP and UDP need both ports, ICMP its type and code in their place (-1:
//     any), ICMPv6 both or none. For "-1" and other numbers AWS opens every
//     port whatever stands there: ports other than -1 are listed as ignored.
//     SCTP (132) is such a number, and becomes a rule for all ports.
//   - The account that owns a group is its scope, as [sg.User]. A prefix list
//     is a [sg.PeerSet]. A peer group is known by its GroupId alone.
//   - The group named "default" is the default group of its VPC.
//   - Accepted and listed, since they change no verdict: tags, ARNs,
//     ResponseMetadata, NextToken (more groups follow), and of a peer group
//     its name, VPC, peering, and account, unless that is known from the same
//     document.
//
// Every fault is reported at once, as [sg.Errors] with paths such as
// SecurityGroups[2].IpPermissions[0].IpRanges[1].CidrIp.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	return decode(b, func(d *decoder, root *wire.Object) {
		if root.Has("SecurityGroupRules") && !root.Has("SecurityGroups") {
			d.readRules(root)
		} else {
			d.readGroups(root)
		}
	})
}

func decode(b []byte, read func(*decoder, *wire.Object)) ([]*sg.Group, []sg.Warning, error) {
	r, root, err := wire.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	d := decoder{Reader: r, drafts: map[sg.GroupID]*draft{}}
	read(&d, root)
	root.IgnoreObject("ResponseMetadata", "not kept")
	root.Done()
	return d.result()
}

type decoder struct {
	*wire.Reader
	order  []*draft
	drafts map[sg.GroupID]*draft
	owners []ownedPeer
}

// draft is a group that is being read.
type draft struct {
	*wire.Draft
	ids map[sg.RuleID]string // place of the rule
}

// ownedPeer is a place that says who owns a peer group.
type ownedPeer struct {
	path  string
	group sg.GroupID
	owner string
}

// draft returns a new group, known by its id if that is new.
func (d *decoder) draft(o *wire.Object, id string, field func(r sg.Rule, field string) string) *draft {
	g := &draft{Draft: d.Bare(o, id, field), ids: map[sg.RuleID]string{}}
	d.drafts[g.Group.ID] = g
	d.order = append(d.order, g)
	return g
}

func (d *decoder) readGroups(root *wire.Object) {
	list, ok := root.Objects("SecurityGroups")
	if !ok {
		root.Fault("SecurityGroups", nil, sg.ErrRequired, "")
	}
	list.Each(d.readGroup)
	root.IgnoreText("NextToken", "more groups follow in the next page")
}

func (d *decoder) readGroup(o *wire.Object) {
	id, ok := readID(o, "GroupId")
	if ok && d.drafts[sg.GroupID(id)] != nil {
		o.Fault("GroupId", id, sg.ErrDuplicate, "another group has this id")
	}
	g := d.draft(o, id, func(r sg.Rule, _ string) string { return groupKeys(r.Peer) })
	group := g.Group
	if group.Name, ok = o.Required("GroupName"); ok {
		checkName(o, "GroupName", group.Name)
	}
	group.Description = o.Text("Description")
	group.Scope = sg.User(sg.OwnerID(o.Text("OwnerId")))
	group.VPC = sg.VPCID(o.Text("VpcId"))
	group.Default = group.Name == defaultName
	for _, dir := range []sg.Direction{sg.Ingress, sg.Egress} {
		key := listKey(dir)
		list, ok := o.Objects(key)
		if !ok {
			o.Fault(key, nil, sg.ErrRequired, "the API always writes both lists; an empty one has no rules")
		}
		list.Each(func(p *wire.Object) { d.readPermission(g, p, dir) })
	}
	o.IgnoreText("SecurityGroupArn", "not kept")
	readTags(o)
	o.Done()
}

func listKey(dir sg.Direction) string {
	if dir == sg.Egress {
		return "IpPermissionsEgress"
	}
	return "IpPermissions"
}

// groupKeys returns the field that holds a peer in a permission.
func groupKeys(p sg.Peer) string {
	switch p.Kind() {
	case sg.PeerIsGroup:
		return "GroupId"
	case sg.PeerIsSet:
		return "PrefixListId"
	}
	if cidr, ok := p.CIDR(); ok && cidr.Addr().Is6() {
		return "CidrIpv6"
	}
	return "CidrIp"
}

// readPermission reads one permission: a rule for each peer.
func (d *decoder) readPermission(g *draft, o *wire.Object, dir sg.Direction) {
	before := d.Faults()
	traffic := readTraffic(o)
	traffic.Direction = dir
	sound, peers := d.Faults() == before, 0
	for _, list := range []struct {
		key  string
		peer func(*wire.Object) sg.Peer
	}{
		{"IpRanges", cidr("CidrIp", sg.IPv4)},
		{"Ipv6Ranges", cidr("CidrIpv6", sg.IPv6)},
		{"PrefixListIds", prefixList},
		{"UserIdGroupPairs", d.peerGroup},
	} {
		read := func(item *wire.Object) sg.Rule {
			peers++
			r, before := traffic, d.Faults()
			r.Description = item.Text("Description")
			r.Peer = list.peer(item)
			if d.Faults() > before {
				item.Quiet(groupKeys(r.Peer))
			}
			return r
		}
		items, _ := o.Objects(list.key)
		if sound {
			g.Read(items, read)
			continue
		}
		items.Each(func(item *wire.Object) {
			read(item)
			item.Done()
		})
	}
	if peers == 0 && d.Faults() == before {
		o.Fault("IpRanges", nil, sg.ErrRequired, "a permission names a peer: here, in Ipv6Ranges, PrefixListIds or UserIdGroupPairs")
	}
	o.Done()
}

// readTraffic reads the protocol, and ports or ICMP type and code.
func readTraffic(o *wire.Object) (r sg.Rule) {
	if s, ok := o.Required("IpProtocol"); ok {
		p, err := parseProtocol(s)
		o.Merge("IpProtocol", err)
		r.Protocol = p
	}
	switch {
	case r.Protocol == sg.TCP, r.Protocol == sg.UDP:
		r.Ports = readPorts(o)
	case r.Protocol.HasICMP():
		r.ICMP = readICMP(o, r.Protocol)
	default:
		if r.Protocol.HasPorts() {
			r.Ports = sg.AllPorts()
		}
		for _, key := range []string{"FromPort", "ToPort"} {
			if v, ok := o.Int(key, -1, 65535); ok && v != -1 && r.Protocol != 0 {
				o.Warn(key, "AWS ignores ports of protocol "+protocolName(r.Protocol)+": every port is open")
			}
		}
	}
	return r
}

func readPorts(o *wire.Object) sg.PortRange {
	from, okFrom := need(o, "FromPort", 0, 65535)
	to, okTo := need(o, "ToPort", 0, 65535)
	switch {
	case !okFrom || !okTo:
	case from > to:
		o.Fault("FromPort", from, sg.ErrInvalid, fmt.Sprintf("above ToPort %d", to))
	case to == 0:
		o.Fault("ToPort", to, sg.ErrUnsupported, "port 0 alone can not be named")
	default:
		return sg.PortRange{First: uint16(from), Last: uint16(to)}
	}
	return sg.PortRange{}
}

func readICMP(o *wire.Object, p sg.Protocol) sg.ICMPMatch {
	if p == sg.ICMPv6 && !o.Has("FromPort") && !o.Has("ToPort") {
		return sg.ICMPMatch{}
	}
	typ, okType := need(o, "FromPort", -1, 255)
	code, okCode := need(o, "ToPort", -1, 255)
	switch {
	case !okType || !okCode:
	case typ == -1 && code != -1:
		o.Fault("ToPort", code, sg.ErrInvalid, "a code needs its type; want -1, as FromPort")
	case typ == -1:
	case code == -1:
		return sg.ICMPType(uint8(typ))
	default:
		return sg.ICMPTypeCode(uint8(typ), uint8(code))
	}
	return sg.ICMPMatch{}
}

// need reads a number that must be there.
func need(o *wire.Object, key string, low, high int) (int, bool) {
	v, ok := o.Int(key, low, high)
	if !o.Has(key) {
		o.Fault(key, nil, sg.ErrRequired, "")
	}
	return v, ok
}

// cidr returns a reader of CIDRs of one family. AWS writes no bare addresses.
func cidr(key string, f sg.Family) func(*wire.Object) sg.Peer {
	return func(o *wire.Object) sg.Peer {
		s, ok := o.Required(key)
		if !ok {
			return sg.Peer{}
		}
		p, err := sg.ParsePrefix(s)
		switch {
		case err != nil:
			o.Merge(key, err)
		case sg.FamilyOf(p.Addr()) != f:
			o.Fault(key, s, sg.ErrFamily, "want an "+f.String()+" CIDR")
		case !strings.Contains(s, "/"):
			o.Fault(key, s, sg.ErrInvalid, "want a CIDR; did you mean "+p.String()+"?")
		default:
			return sg.PeerCIDR(p)
		}
		return sg.Peer{}
	}
}

func prefixList(o *wire.Object) sg.Peer {
	if id, ok := readID(o, "PrefixListId"); ok {
		return sg.PeerSet(sg.SetID(id))
	}
	return sg.Peer{}
}

// peerGroup reads a UserIdGroupPair, or a ReferencedGroupInfo.
func (d *decoder) peerGroup(o *wire.Object) sg.Peer {
	id, ok := readID(o, "GroupId")
	if owner := o.Text("UserId"); owner != "" {
		d.owners = append(d.owners, ownedPeer{o.At("UserId"), sg.GroupID(id), owner})
	}
	for _, key := range []string{"GroupName", "VpcId", "PeeringStatus", "VpcPeeringConnectionId"} {
		o.IgnoreText(key, "not kept")
	}
	if !ok {
		return sg.Peer{}
	}
	return sg.PeerGroup(sg.GroupID(id))
}

// readID reads an id of AWS.
func readID(o *wire.Object, key string) (string, bool) {
	id, ok := o.Required(key)
	if ok && id == string(sg.SelfGroup) {
		o.Fault(key, id, sg.ErrInvalid, "stands for any group, in profiles")
		ok = false
	}
	return id, ok && checkName(o, key, id)
}

func checkName(o *wire.Object, key, name string) bool {
	why := sg.CheckName(name)
	if why != "" {
		o.Fault(key, name, sg.ErrInvalid, why)
	}
	return why == ""
}

// readTags lists tags: the model has none.
func readTags(o *wire.Object) {
	n := 0
	tags, _ := o.Objects("Tags")
	tags.Each(func(t *wire.Object) {
		n++
		t.Text("Key")
		t.Text("Value")
		t.Done()
	})
	if n > 0 {
		o.Warn("Tags", "not kept")
	}
}

// result gives rules their ids and returns the groups, or the faults.
func (d *decoder) result() ([]*sg.Group, []sg.Warning, error) {
	for _, p := range d.owners {
		if g := d.drafts[p.group]; g == nil || g.Group.Scope != sg.User(sg.OwnerID(p.owner)) {
			d.Warn(p.path, "not kept")
		}
	}
	groups := make([]*sg.Group, len(d.order))
	for i, g := range d.order {
		groups[i] = g.Done()
	}
	return d.Result(groups)
}
