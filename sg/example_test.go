package sg_test

import (
	"errors"
	"fmt"
	"net/netip"

	"example.com/secgroup/sg"
)

// A web server's group: HTTPS from anywhere over IPv4, SSH from the members
// of another group, every destination.
func Example() {
	web := sg.Group{
		ID: "sg-web", Name: "web", VPC: "vpc-1", Scope: sg.User("alice"),
		Rules: []sg.Rule{
			{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443),
				Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")), Description: "public site"},
			{ID: "ssh", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerGroup("sg-bastion")},
			{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("::/0"))},
		},
	}
	if err := web.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range web.Rules {
		fmt.Println(r.Direction, r.EffectiveFamily(), r.Protocol, r.Ports, r.Peer)
	}
	// Output:
	// ingress ipv4 tcp 443 0.0.0.0/0
	// ingress any tcp 22 group sg-bastion
	// egress ipv6 any  ::/0
}

// Validate reports every fault at once, each with its place and its kind.
func ExampleRule_Validate() {
	r := sg.Rule{
		ID:        "ping",
		Direction: sg.Ingress,
		Protocol:  sg.ICMP,
		Ports:     sg.Port(8), // meant was ICMP type 8
		Peer:      sg.PeerCIDR(netip.MustParsePrefix("192.0.2.7/24")),
	}
	err := r.Validate()
	fmt.Println(err)

	var faults sg.Errors
	if errors.As(err, &faults) {
		fmt.Println(faults[0].Path, errors.Is(faults[0], sg.ErrInvalid))
	}
	// Output:
	// peer: invalid "192.0.2.7/24": has host bits; did you mean 192.0.2.0/24?
	// ports: invalid "8": protocol icmp has no ports
	// peer true
}

func ExampleParsePortRange() {
	for _, s := range []string{"443", "8000-9000", "ALL", "9000-8000"} {
		r, err := sg.ParsePortRange(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(r)
	}
	// Output:
	// 443
	// 8000-9000
	// 0-65535
	// invalid "9000-8000": the first port is above the last
}

// The rules of a new group come from the profile; "@self" becomes the group.
func ExampleTemplate() {
	members := sg.Rule{ID: "self", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup)}
	profile := sg.Profile{Name: "example", NewGroup: []sg.Rule{members}}
	for _, r := range sg.Template(profile.NewGroup, "sg-web", sg.Ingress) {
		fmt.Println(r.Direction, r.Protocol, r.Peer)
	}
	// Output: ingress any group sg-web
}
