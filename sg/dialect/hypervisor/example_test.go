package hypervisor_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/hypervisor"
)

func ExampleDecode() {
	groups, _, err := hypervisor.Decode([]byte(`{"id": "3", "name": "Database", "user": null, "rules": [
	  {"id": "1", "direction": "Ingress", "protocol": "TCP", "port_range_min": 3306, "port_range_max": 3306,
	   "ip_version": "IPv4", "source_type": "remote_group", "remote_group": "2"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(groups[0].Scope, groups[0].Rules[0].Ports, groups[0].Rules[0].Peer)

	_, _, err = hypervisor.Decode([]byte(`{"name": "a", "rules": [
	  {"direction": "Ingress", "protocol": "ICMP", "port_range_min": 8, "ip_version": "IPv6", "source_type": "cidr", "cidr": "0.0.0.0/0"}]}`))
	fmt.Println(err)
	// Output:
	// global 3306 group 2
	// rules[0].cidr: address family mismatch "0.0.0.0/0": the rule is for ipv6
	// rules[0].port_range_min: invalid: protocol icmp has no ports
}

func ExampleEncode() {
	b, _, err := hypervisor.Encode([]*sg.Group{{ID: "3", Name: "Web", Scope: sg.User("alice"), Rules: []sg.Rule{{
		ID: "1", Direction: sg.Ingress, Family: sg.IPv6, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerAny(),
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(b))
	// Output:
	// {
	//   "id": "3",
	//   "name": "Web",
	//   "description": "",
	//   "user": "alice",
	//   "rules": [
	//     {
	//       "id": "1",
	//       "direction": "Ingress",
	//       "protocol": "TCP",
	//       "port_range_min": 443,
	//       "port_range_max": 443,
	//       "ip_version": "IPv6",
	//       "source_type": "cidr",
	//       "cidr": "::/0",
	//       "description": ""
	//     }
	//   ]
	// }
}
