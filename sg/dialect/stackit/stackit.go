// Package stackit is the profile of STACKIT security groups.
package stackit

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/infra"
)

// Profile returns STACKIT's semantics. A new group may send anything and
// receive from its own members, over IPv4 and IPv6; groups may be stateless;
// ICMP means ICMPv6 in IPv6. Neighbour discovery and DHCP are not filtered.
// Deleting a group deletes the rules that name it, as in OpenStack Neutron,
// which STACKIT is built on (neutron commit 4d09a6f7).
func Profile() sg.Profile {
	const origin = "stackit: new group"
	return sg.Profile{
		Name:           "stackit",
		AllowStateless: true,
		ICMPCoversIPv6: true,
		OnReferenced:   sg.Cascade,
		NewGroup: []sg.Rule{
			{ID: "default-egress", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny(), Origin: origin},
			{ID: "default-self", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup), Origin: origin},
		},
		Platform: infra.Unfiltered("stackit: not filtered"),
	}
}
