package stackit_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
)

func ExampleDecode() {
	groups, warnings, err := stackit.Decode([]byte(`{"items": [{"id": "g-1", "name": "web", "stateful": true, "labels": {"team": "edge"},
	  "rules": [{"id": "r-1", "direction": "ingress", "ethertype": "IPv6", "protocol": {"name": "icmp"}}]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := groups[0].Rules[0]
	fmt.Println(r.Direction, r.Family, r.Protocol, r.Peer)
	fmt.Println(warnings[0])

	_, _, err = stackit.Decode([]byte(`{"name": "web", "rules": [{"direction": "ingress", "protocol": {"name": "tcp", "number": 17}}]}`))
	fmt.Println(err)
	// Output:
	// ingress ipv6 icmpv6 any
	// items[0].labels: the model has no labels
	// rules[0].protocol.number: conflict "17": not the number of "tcp"
}

func ExampleEncode() {
	b, _, err := stackit.Encode([]*sg.Group{{ID: "g-1", Name: "web", Rules: []sg.Rule{{
		ID: "r-1", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerAny(),
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(b))
	// Output:
	// {
	//   "id": "g-1",
	//   "name": "web",
	//   "description": "",
	//   "stateful": true,
	//   "rules": [
	//     {
	//       "id": "r-1",
	//       "direction": "ingress",
	//       "ethertype": "IPv4",
	//       "protocol": {
	//         "name": "tcp",
	//         "number": 6
	//       },
	//       "portRange": {
	//         "min": 443,
	//         "max": 443
	//       },
	//       "description": "",
	//       "securityGroupId": "g-1"
	//     }
	//   ]
	// }
}
