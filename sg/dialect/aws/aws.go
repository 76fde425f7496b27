// Package aws is the profile of Amazon VPC security groups.
//
// Source, beside the primer: the Amazon VPC User Guide, "Control traffic to
// your AWS resources using security groups" and "Amazon VPC quotas".
package aws

import (
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/infra"
)

// Profile returns Amazon's semantics and default quotas: 5 groups per
// interface, 60 rules per group, direction and family. Every interface has a
// group; a new group may send anything, IPv4 and IPv6, and receive nothing.
// DHCP and neighbour discovery are not filtered.
func Profile() sg.Profile {
	self := sg.Rule{
		ID: "default-self", Direction: sg.Ingress, Protocol: sg.AnyProtocol,
		Peer: sg.PeerGroup(sg.SelfGroup), Origin: "aws: default group",
	}
	return sg.Profile{
		Name:         "aws",
		RequireGroup: true,
		NewGroup:     egressAny("aws: new group"),
		DefaultGroup: append([]sg.Rule{self}, egressAny("aws: default group")...),
		Platform:     infra.Unfiltered("aws: not filtered"),
		Quota:        sg.Quota{GroupsPerInterface: 5, RulesPerDirection: 60},
	}
}

func anyIPv4() sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")) }
func anyIPv6() sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix("::/0")) }

func egressAny(origin string) []sg.Rule {
	return []sg.Rule{
		{ID: "default-egress-ipv4", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: anyIPv4(), Origin: origin},
		{ID: "default-egress-ipv6", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: anyIPv6(), Origin: origin},
	}
}
