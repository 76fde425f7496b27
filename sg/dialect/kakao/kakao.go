// Package kakao is the profile of KakaoCloud VPC security groups.
package kakao

import (
	"net/netip"

	"example.com/secgroup/sg"
)

// Metadata is the prefix of the metadata service. An outbound rule for
// 0.0.0.0/0 does not cover it; a rule for the prefix does.
func Metadata() netip.Prefix { return netip.MustParsePrefix("169.254.169.0/24") }

// Profile returns KakaoCloud's semantics. Every interface has at least one
// group, except those of bare metal. A new group may send anything over IPv4
// but not reach the metadata service, and receive nothing; the default group
// also receives TCP from its own members and reaches the metadata service.
// Established connections live on until they time out.
//
// KakaoCloud limits groups per project and rules per group; the document names
// no numbers, so none are set here.
func Profile() sg.Profile {
	anyIPv4 := sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0"))
	egress := func(origin string) sg.Rule {
		return sg.Rule{ID: "default-egress", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: anyIPv4, Origin: origin}
	}
	const inDefault = "kakao: default group"
	return sg.Profile{
		Name:           "kakao",
		Established:    sg.Keep,
		RequireGroup:   true,
		UngroupedKinds: []string{"bare-metal"},
		NewGroup:       []sg.Rule{egress("kakao: new group")},
		DefaultGroup: []sg.Rule{
			{ID: "default-self", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.AllPorts(), Peer: sg.PeerGroup(sg.SelfGroup), Origin: inDefault},
			egress(inDefault),
			{ID: "default-metadata", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerCIDR(Metadata()), Origin: inDefault},
		},
		BeyondAny: []sg.PlatformRule{{Name: "metadata", Action: sg.Drop, Rule: sg.Rule{
			ID: "metadata-not-any", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(Metadata()),
			Origin: "kakao: 0.0.0.0/0 leaves out the metadata service",
		}}},
	}
}
