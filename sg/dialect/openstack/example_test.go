package openstack_test

import (
	"fmt"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/openstack"
)

func ExampleDecode() {
	groups, warnings, err := openstack.Decode([]byte(`{"security_group": {
	  "id": "85cc3048", "name": "web", "description": "front", "project_id": "e4f50856", "tenant_id": "e4f50856",
	  "stateful": false, "tags": ["tier:web"],
	  "security_group_rules": [{
	    "id": "3c0e45ff", "direction": "ingress", "ethertype": "IPv6", "protocol": "tcp",
	    "port_range_min": 443, "port_range_max": 443, "remote_ip_prefix": null, "remote_group_id": null}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	g := groups[0]
	fmt.Println(g.ID, g.Name, g.Scope, "stateless:", g.Stateless)
	for _, r := range g.Rules {
		fmt.Println(r.ID, r.Direction, r.Family, r.Protocol, r.Ports, r.Peer)
	}
	fmt.Println(warnings)
	// Output:
	// 85cc3048 web user e4f50856 stateless: true
	// 3c0e45ff ingress ipv6 tcp 443 any
	// [security_group.tags: not kept]
}

func ExampleEncode() {
	b, _, err := openstack.Encode([]*sg.Group{{ID: "85cc3048", Name: "web", Scope: sg.User("e4f50856"), Rules: []sg.Rule{{
		ID: "3c0e45ff", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPType(8),
		Peer: sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8")), Description: "ping",
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", b)
	// Output:
	// {
	//   "security_groups": [
	//     {
	//       "id": "85cc3048",
	//       "name": "web",
	//       "description": "",
	//       "project_id": "e4f50856",
	//       "tenant_id": "e4f50856",
	//       "stateful": true,
	//       "security_group_rules": [
	//         {
	//           "id": "3c0e45ff",
	//           "security_group_id": "85cc3048",
	//           "project_id": "e4f50856",
	//           "tenant_id": "e4f50856",
	//           "direction": "ingress",
	//           "ethertype": "IPv4",
	//           "protocol": "icmp",
	//           "port_range_min": 8,
	//           "port_range_max": null,
	//           "remote_ip_prefix": "10.0.0.0/8",
	//           "remote_group_id": null,
	//           "remote_address_group_id": null,
	//           "description": "ping"
	//         }
	//       ]
	//     }
	//   ]
	// }
}

func ExampleEncode_unsupported() {
	_, _, err := openstack.Encode([]*sg.Group{{ID: "85cc3048", Name: "web", Rules: []sg.Rule{{
		ID: "all", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup("85cc3048"),
	}}}})
	fmt.Println(err)
	// Output: groups["85cc3048"].rules[0].family: unsupported "any": a rule is for IPv4 or for IPv6: write two
}
