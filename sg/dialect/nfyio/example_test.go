package nfyio_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/nfyio"
)

func ExampleDecode() {
	groups, _, err := nfyio.Decode([]byte(`{
	  "name": "database",
	  "inbound": [{"protocol": "tcp", "port_range": "5432", "source": "sg_app"}],
	  "outbound": []
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range groups[0].Rules {
		fmt.Println(r.Direction, r.Protocol, r.Ports, r.Peer)
	}

	_, _, err = nfyio.Decode([]byte(`{"inbound": [{"protocol": "icmp", "port_range": "8", "source": "anywhere"}]}`))
	fmt.Println(err)
	// Output:
	// ingress tcp 5432 group sg_app
	// inbound[0].port_range: invalid "8": protocol icmp has no ports
	// inbound[0].source: invalid "anywhere": want a CIDR, an id that begins with "sg_", or the id of a group of this document
}

func ExampleEncode() {
	b, warnings, err := nfyio.Encode([]*sg.Group{{ID: "sg_web", Name: "web", VPC: "vpc_1", Rules: []sg.Rule{{
		ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Family: sg.IPv4, Peer: sg.PeerAny(),
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(b))
	fmt.Println(warnings[0])
	// Output:
	// {
	//   "id": "sg_web",
	//   "name": "web",
	//   "description": "",
	//   "vpc_id": "vpc_1",
	//   "inbound_rules": [
	//     {
	//       "protocol": "tcp",
	//       "port_range": "443",
	//       "source": "0.0.0.0/0",
	//       "description": ""
	//     }
	//   ],
	//   "outbound_rules": []
	// }
	// groups["sg_web"].rules[0].id: the format has no rule ids; "https" is lost
}
