package kakao_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/kakao"
)

func ExampleDecode() {
	groups, _, err := kakao.Decode([]byte(`{"name": "web", "vpc": "vpc-1",
	  "inbound_rules": [{"protocol": "TCP", "source": "@default", "port": "ALL"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range groups[0].Rules { // the second one comes with a new group
		fmt.Println(r.Direction, r.Protocol, r.Ports, r.Peer)
	}

	_, _, err = kakao.Decode([]byte(`{"name": "web", "inbound_rules": [{"protocol": "ICMP", "source": "0.0.0.0/0", "port": "8"}]}`))
	fmt.Println(err)
	// Output:
	// ingress tcp 0-65535 group default
	// egress any  0.0.0.0/0
	// inbound_rules[0].port: invalid "8": protocol icmp has no ports; leave it empty, or "ALL"
}

func ExampleEncode() {
	b, _, err := kakao.Encode([]*sg.Group{{ID: "web", Name: "web", VPC: "vpc-1", Rules: []sg.Rule{{
		ID: "in-tcp-0-65535-from-group-web", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.AllPorts(), Peer: sg.PeerGroup("web"),
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(b))
	// Output:
	// {
	//   "name": "web",
	//   "description": "",
	//   "vpc": "vpc-1",
	//   "inbound_rules": [
	//     {
	//       "protocol": "TCP",
	//       "source": "@web",
	//       "port": "ALL",
	//       "description": ""
	//     }
	//   ],
	//   "outbound_rules": []
	// }
}
