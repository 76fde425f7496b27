package document_test

import (
	"fmt"

	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

// A document without an outbound list gets what its cloud gives to new groups.
func ExampleDecode() {
	s, err := document.Decode([]byte(`{
	  "profile": "nfyio",
	  "security_groups": [
	    {"id": "sg-web", "name": "web", "inbound_rules": [
	      {"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"},
	      {"protocol": "tcp", "port_range": "22", "source": "@bastion"}]},
	    {"id": "sg-bastion", "name": "bastion", "inbound_rules": [], "outbound_rules": []}]
	}`), document.Options{Profiles: dialect.Profile})
	if err != nil {
		panic(err)
	}
	for g := range s.Groups() {
		fmt.Println(g.ID)
		for _, r := range g.Rules {
			fmt.Println(" ", r.Direction, r.ID)
		}
	}
	// Output:
	// sg-bastion
	// sg-web
	//   ingress in-tcp-443-from-0.0.0.0/0
	//   ingress in-tcp-22-from-group-sg-bastion
	//   egress default-egress
}

// Every fault is told at once, with its place in the document.
func ExampleDecode_faults() {
	_, err := document.Decode([]byte(`{
	  "profile": "aws",
	  "security_groups": [{"id": "sg-web", "name": "web", "inbound_rules": [
	    {"protocol": "tpc", "port_range": "443", "source": "0.0.0.0/0"},
	    {"protocol": "tcp", "port_range": "443-80", "source": "sg-wbe"}]}],
	  "interfaces": [{"id": "web-1", "adresses": ["10.0.0.5"], "security_group_ids": ["sg-web"]}]
	}`), document.Options{Profiles: dialect.Profile})
	fmt.Println(err)
	// Output:
	// interfaces[0].adresses: unknown field
	// security_groups[0].inbound_rules[0].protocol: invalid "tpc": want a protocol: tcp, udp, icmp, icmpv6, sctp, any, or a number from 1 to 255
	// security_groups[0].inbound_rules[1].port_range: invalid "443-80": the first port is above the last
	// security_groups[0].inbound_rules[1].source: not found "sg-wbe": neither a CIDR, nor the id of a group or IP set of this document
}
