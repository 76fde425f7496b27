// Package aws is the profile of Amazon VPC security groups.
//
// Source, beside the primer: the Amazon VPC User Guide, "Control traffic to
// your AWS resources using security groups" and "Amazon VPC quotas".
package aws

import (
	"net/netip"

	"example.com/secgroup/sg"
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
		Platform:     platform(),
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

// platform is what security groups do not filter. Router advertisements come
// from the network only (RFC 6105), and an interface is a DHCP client, never a
// server (RFC 2131, RFC 8415).
func platform() []sg.PlatformRule {
	nd := func(id sg.RuleID, d sg.Direction, typ uint8) sg.PlatformRule {
		return sg.PlatformRule{Name: "neighbour-discovery", Action: sg.Accept, Rule: sg.Rule{
			ID: id, Direction: d, Protocol: sg.ICMPv6, ICMP: sg.ICMPType(typ), Peer: anyIPv6(), Origin: "aws: not filtered",
		}}
	}
	dhcp := func(id sg.RuleID, d sg.Direction, port uint16, peer sg.Peer) sg.PlatformRule {
		return sg.PlatformRule{Name: "dhcp", Action: sg.Accept, Rule: sg.Rule{
			ID: id, Direction: d, Protocol: sg.UDP, Ports: sg.Port(port), Peer: peer, Origin: "aws: not filtered",
		}}
	}
	return []sg.PlatformRule{
		nd("router-solicitation", sg.Egress, 133),
		nd("router-advertisement", sg.Ingress, 134),
		nd("neighbour-solicitation-out", sg.Egress, 135),
		nd("neighbour-solicitation-in", sg.Ingress, 135),
		nd("neighbour-advertisement-out", sg.Egress, 136),
		nd("neighbour-advertisement-in", sg.Ingress, 136),
		dhcp("dhcpv4-request", sg.Egress, 67, anyIPv4()),
		dhcp("dhcpv4-reply", sg.Ingress, 68, anyIPv4()),
		dhcp("dhcpv6-request", sg.Egress, 547, anyIPv6()),
		dhcp("dhcpv6-reply", sg.Ingress, 546, anyIPv6()),
	}
}
