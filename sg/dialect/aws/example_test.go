package aws_test

import (
	"fmt"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
)

func ExampleDecode() {
	groups, warnings, err := aws.Decode([]byte(`{"SecurityGroups": [{
	  "GroupId": "sg-0a1", "GroupName": "web", "Description": "front", "OwnerId": "111122223333", "VpcId": "vpc-0b2",
	  "Tags": [{"Key": "tier", "Value": "web"}],
	  "IpPermissions": [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443,
	    "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "web"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
	    "PrefixListIds": [], "UserIdGroupPairs": []}],
	  "IpPermissionsEgress": []}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range groups {
		fmt.Println(g.ID, g.Name, g.VPC, g.Scope)
		for _, r := range g.Rules {
			fmt.Println(r.ID)
		}
	}
	fmt.Println(warnings)
	// Output:
	// sg-0a1 web vpc-0b2 user 111122223333
	// in-tcp-443-from-0.0.0.0/0
	// in-tcp-443-from-::/0
	// [SecurityGroups[0].Tags: not kept]
}

func ExampleEncode() {
	b, _, err := aws.Encode([]*sg.Group{{ID: "sg-0a1", Name: "web", VPC: "vpc-0b2", Rules: []sg.Rule{{
		ID: "in-icmp-type-8-from-10.0.0.0/8", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPType(8),
		Peer: sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8")), Description: "ping",
	}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", b)
	// Output:
	// {
	//   "SecurityGroups": [
	//     {
	//       "GroupId": "sg-0a1",
	//       "GroupName": "web",
	//       "Description": "",
	//       "VpcId": "vpc-0b2",
	//       "IpPermissions": [
	//         {
	//           "IpProtocol": "icmp",
	//           "FromPort": 8,
	//           "ToPort": -1,
	//           "IpRanges": [
	//             {
	//               "CidrIp": "10.0.0.0/8",
	//               "Description": "ping"
	//             }
	//           ],
	//           "Ipv6Ranges": [],
	//           "PrefixListIds": [],
	//           "UserIdGroupPairs": []
	//         }
	//       ],
	//       "IpPermissionsEgress": []
	//     }
	//   ]
	// }
}

func ExampleEncode_unsupported() {
	_, _, err := aws.Encode([]*sg.Group{{ID: "sg-0a1", Name: "web", Rules: []sg.Rule{{
		ID: "all", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny(),
	}}}})
	fmt.Println(err)
	// Output: groups["sg-0a1"].rules[0].peer: unsupported "any": write one rule for 0.0.0.0/0 and one for ::/0
}

func ExampleDecodeRules() {
	groups, _, err := aws.DecodeRules([]byte(`{"SecurityGroupRules": [{
	  "SecurityGroupRuleId": "sgr-0e5", "GroupId": "sg-0a1", "GroupOwnerId": "111122223333", "IsEgress": true,
	  "IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "CidrIpv4": "0.0.0.0/0", "Tags": []}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r := groups[0].Rules[0]
	fmt.Println(groups[0].ID, r.ID, r.Direction, r.Protocol, r.Peer)
	// Output: sg-0a1 sgr-0e5 egress any 0.0.0.0/0
}

func ExampleEncodeRules() {
	b, warnings, err := aws.EncodeRules([]*sg.Group{{ID: "sg-0a1", Name: "web", Rules: []sg.Rule{{
		ID: "sgr-0e5", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerGroup("sg-0f6"),
	}}}})
	fmt.Println(warnings, err)
	fmt.Printf("%s", b)
	// Output:
	// [groups["sg-0a1"].name: not kept] <nil>
	// {
	//   "SecurityGroupRules": [
	//     {
	//       "SecurityGroupRuleId": "sgr-0e5",
	//       "GroupId": "sg-0a1",
	//       "IsEgress": false,
	//       "IpProtocol": "tcp",
	//       "FromPort": 22,
	//       "ToPort": 22,
	//       "ReferencedGroupInfo": {
	//         "GroupId": "sg-0f6"
	//       }
	//     }
	//   ]
	// }
}
