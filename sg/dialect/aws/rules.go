package aws

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// DecodeRules reads the answer of describe-security-group-rules: rules with
// their ids, of any number of groups.
//
//	{"SecurityGroupRules": [{
//	   "SecurityGroupRuleId": "sgr-0e5", "GroupId": "sg-0a1", "GroupOwnerId": "111122223333", "IsEgress": false,
//	   "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv4": "0.0.0.0/0", "Description": "web"}]}
//
// Source: the Amazon EC2 API reference, DescribeSecurityGroupRules,
// SecurityGroupRule, ReferencedSecurityGroup.
//
//   - A rule has exactly one of CidrIpv4, CidrIpv6, PrefixListId and
//     ReferencedGroupInfo. Protocols and ports are as for [Decode].
//   - The groups stand in order of their first rule. The answer does not tell
//     their names, descriptions and VPCs: the name is the id.
//   - GroupOwnerId is the scope; the rules of a group agree on it. A rule
//     without SecurityGroupRuleId gets an id by [sg.AssignIDs].
//   - A NextToken is a fault, since rules of the same groups may follow: join
//     the pages first.
func DecodeRules(b []byte) ([]*sg.Group, []sg.Warning, error) {
	return decode(b, (*decoder).readRules)
}

func (d *decoder) readRules(root *wire.Object) {
	list, ok := root.Objects("SecurityGroupRules")
	if !ok {
		root.Fault("SecurityGroupRules", nil, sg.ErrRequired, "")
	}
	list.Each(d.readRule)
	if root.Text("NextToken") != "" {
		root.Fault("NextToken", nil, sg.ErrUnsupported, "more rules of these groups may follow; join all pages")
	}
}

// rulesKeys returns the field that holds a peer in a flat rule.
func rulesKeys(p sg.Peer) string {
	switch p.Kind() {
	case sg.PeerIsGroup:
		return "ReferencedGroupInfo"
	case sg.PeerIsSet:
		return "PrefixListId"
	}
	if cidr, ok := p.CIDR(); ok && cidr.Addr().Is6() {
		return "CidrIpv6"
	}
	return "CidrIpv4"
}

func (d *decoder) readRule(o *wire.Object) {
	before := d.Faults()
	id, ok := readID(o, "GroupId")
	owner := sg.User(sg.OwnerID(o.Text("GroupOwnerId")))
	g := d.drafts[sg.GroupID(id)]
	switch {
	case g == nil:
		g = d.draft(o, id, func(r sg.Rule, _ string) string { return rulesKeys(r.Peer) })
		g.Group.Scope = owner
	case ok && g.Group.Scope != owner:
		o.Fault("GroupOwnerId", nil, sg.ErrConflict, "another rule of the group names "+g.Group.Scope.String())
	}
	g.ReadOne(o, func(o *wire.Object) sg.Rule {
		r := readTraffic(o)
		r.Direction = sg.Ingress
		if o.Bool("IsEgress", false) {
			r.Direction = sg.Egress
		}
		if !o.Has("IsEgress") {
			o.Fault("IsEgress", nil, sg.ErrRequired, "")
		}
		r.ID = g.ruleID(o)
		r.Description = o.Text("Description")
		r.Peer = d.readPeer(o)
		o.IgnoreText("SecurityGroupRuleArn", "not kept")
		readTags(o)
		if d.Faults() > before {
			o.Quiet(rulesKeys(r.Peer)) // what does not fit follows from that
		}
		return r
	})
}

// ruleID reads the id of a rule, if it has one.
func (g *draft) ruleID(o *wire.Object) sg.RuleID {
	const key = "SecurityGroupRuleId"
	s, ok := o.Optional(key)
	if !ok || !checkName(o, key, s) {
		return ""
	}
	id := sg.RuleID(s)
	if first, dup := g.ids[id]; dup {
		o.Fault(key, s, sg.ErrDuplicate, "as "+first)
		return ""
	}
	g.ids[id] = o.Path
	return id
}

// readPeer reads the one peer of a rule.
func (d *decoder) readPeer(o *wire.Object) (peer sg.Peer) {
	found := ""
	for _, f := range []struct {
		key  string
		read func(*wire.Object) sg.Peer
	}{
		{"CidrIpv4", cidr("CidrIpv4", sg.IPv4)},
		{"CidrIpv6", cidr("CidrIpv6", sg.IPv6)},
		{"PrefixListId", prefixList},
		{"ReferencedGroupInfo", d.referenced},
	} {
		switch {
		case !o.Has(f.key):
			continue
		case found != "":
			o.Fault(f.key, nil, sg.ErrInvalid, "beside "+found+": a rule has one peer") // RU-22
		}
		peer, found = f.read(o), f.key
	}
	if found == "" {
		o.Fault("CidrIpv4", nil, sg.ErrRequired, "a rule names a peer: here, or as CidrIpv6, PrefixListId or ReferencedGroupInfo")
	}
	return peer
}

func (d *decoder) referenced(o *wire.Object) sg.Peer {
	info := o.Object("ReferencedGroupInfo")
	if info == nil {
		return sg.Peer{}
	}
	peer := d.peerGroup(info)
	info.Done()
	return peer
}
