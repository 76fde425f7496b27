// Package nfyio is the profile of NFYio's resource-level security groups:
// stateful, allow-only, several groups per resource joined by OR.
package nfyio

import (
	"net/netip"

	"example.com/secgroup/sg"
)

// Profile returns NFYio's semantics. A group without an outbound list may send
// anything to 0.0.0.0/0, which is how NFYio writes "anywhere"; an empty
// outbound list sends nothing but replies. IPv6 opens by rules of its own.
// NFYio documents no limits.
func Profile() sg.Profile {
	return sg.Profile{
		Name: "nfyio",
		NewGroup: []sg.Rule{{
			ID: "default-egress", Direction: sg.Egress, Protocol: sg.AnyProtocol,
			Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")), Origin: "nfyio: outbound was not given",
		}},
	}
}
