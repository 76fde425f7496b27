package stackit

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// Decode reads security groups of the STACKIT IaaS API (its public OpenAPI
// definition, schemas SecurityGroup and SecurityGroupRule). A document is one
// group,
//
//	{"id": "8f0c…", "name": "web", "description": "", "stateful": true, "labels": {}, "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "…",
//	 "rules": [{"id": "51e2…", "direction": "ingress", "ethertype": "IPv4", "protocol": {"name": "tcp", "number": 6},
//	            "portRange": {"min": 80, "max": 80}, "ipRange": "10.0.0.0/8", "description": "", "securityGroupId": "8f0c…"}]}
//
// or several, {"items": [...]}.
//
//   - A protocol is a name of the API, in any letter case, or a number from 1 to
//     255, or both if they agree. Absent, or named "any", it is every protocol.
//   - TCP, UDP and SCTP may have a portRange; absent, it is every port. On other
//     protocols it is a fault (RU-13). icmpParameters, with type and code, belong
//     to ICMP only.
//   - ipRange, a CIDR or an address, and remoteSecurityGroupId exclude each other
//     (RU-22). With neither, a rule is for any address.
//   - A rule without ethertype is for the family of its ipRange (RU-28) or of
//     ICMPv6, else for both families.
//   - "icmp" in a rule for IPv6 means ICMPv6, there with the number 1 or 58. In a
//     rule for both families it stays sg.ICMP; the profile's ICMPCoversIPv6 makes
//     it mean both, if it names no type.
//   - Absent rules are not an empty list: the group gets the rules of the profile
//     for new groups (GR-11).
//   - A group without an id, which a request has not, has its name for one; a rule
//     without one gets that of sg.AssignIDs. securityGroupId must be the group's.
//   - Absent, stateful is true. createdAt of the group is kept in UTC; labels,
//     updatedAt, and createdAt of rules are listed as warnings.
//
// Errors are sg.Errors with every fault, up to 1,000, and paths such as
// items[1].rules[0].portRange.min.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	r, root, err := wire.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	groups := []*sg.Group{}
	if root.Has("items") {
		list, _ := root.Objects("items")
		list.Each(func(o *wire.Object) { groups = append(groups, decodeGroup(r, o)) })
		root.Done()
	} else {
		groups = append(groups, decodeGroup(r, root))
	}
	return r.Result(groups)
}

// Encode writes groups as the API returns them: one as an object, none or
// several under "items". Every rule that is for one family says so. It is
// deterministic, and Decode gives groups of the same meaning.
//
// It fails with sg.ErrUnsupported for what the format can not say: IP sets, an
// ICMP type of any code, and groups of a VPC. Owners and the mark of the
// default group are lost with a warning.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	e := encoder{wire.Check(groups, wire.Has{Stateless: true, Created: true, RuleIDs: true})}
	out := []groupJSON{}
	for _, g := range groups {
		if g != nil {
			out = append(out, e.group(g))
		}
	}
	if len(out) == 1 {
		return e.Result(out[0])
	}
	return e.Result(map[string]any{"items": out})
}

type protocolName struct {
	name string
	p    sg.Protocol
}

// protocolNames holds the names that the API shares with OpenStack Neutron;
// the first of a number is the one written.
func protocolNames() []protocolName {
	return []protocolName{
		{"tcp", sg.TCP}, {"udp", sg.UDP}, {"icmp", sg.ICMP}, {"ipv6-icmp", sg.ICMPv6}, {"icmpv6", sg.ICMPv6}, {"sctp", sg.SCTP},
		{"any", sg.AnyProtocol},
		{"ah", 51}, {"dccp", 33}, {"egp", 8}, {"esp", 50}, {"gre", 47}, {"igmp", 2}, {"ipip", 4}, {"ipv6-encap", 41},
		{"ipv6-frag", 44}, {"ipv6-nonxt", 59}, {"ipv6-opts", 60}, {"ipv6-route", 43}, {"ospf", 89}, {"pgm", 113}, {"rsvp", 46},
		{"udplite", 136}, {"vrrp", 112},
	}
}

// fieldOf is what the format calls a field of sg.Rule.
func fieldOf(r sg.Rule, field string) string {
	switch field {
	case "ports":
		return "portRange"
	case "icmp":
		return "icmpParameters"
	case "family":
		return "ethertype"
	case "peer":
		if r.Peer.Kind() == sg.PeerIsGroup {
			return "remoteSecurityGroupId"
		}
		return "ipRange"
	}
	return field
}

// familyOf returns the family that a rule names one way or another. ICMP names
// none: it covers ICMPv6.
func familyOf(r sg.Rule) sg.Family {
	if f := r.AddressFamily(); f != sg.FamilyAny || r.Protocol != sg.ICMPv6 {
		return f
	}
	return sg.IPv6
}
