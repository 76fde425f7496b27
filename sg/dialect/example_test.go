package dialect_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
)

// A profile is data: what a new group starts with, for one.
func ExampleProfile() {
	p, ok := dialect.Profile("AWS")
	if !ok {
		panic("no such profile")
	}
	fmt.Println(p.Name, "wants a group:", p.RequireGroup)
	for _, r := range sg.Template(p.NewGroup, "sg-web", sg.Egress) {
		fmt.Println(r.ID, r.Protocol, r.Peer)
	}
	// Output:
	// aws wants a group: true
	// default-egress-ipv4 any 0.0.0.0/0
	// default-egress-ipv6 any ::/0
}
