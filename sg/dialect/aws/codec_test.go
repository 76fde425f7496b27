package aws_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
)

// described is an answer with every known field.
const described = `{
  "SecurityGroups": [
    {
      "GroupId": "sg-0a11", "IpPermissionsEgress": [
        {"IpProtocol": "-1", "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}], "PrefixListIds": []}
      ],
      "Tags": [{"Key": "Name", "Value": "frontend"}], "VpcId": "vpc-0b22",
      "SecurityGroupArn": "arn:aws:ec2:eu-west-1:111122223333:security-group/sg-0a11",
      "OwnerId": "111122223333", "GroupName": "frontend", "Description": "load balancers",
      "IpPermissions": [
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 443,
         "UserIdGroupPairs": [
           {"Description": "peered", "UserId": "444455556666", "GroupId": "sg-0c33", "GroupName": "far", "VpcId": "vpc-0d44", "VpcPeeringConnectionId": "pcx-0e55", "PeeringStatus": "active"},
           {"UserId": "111122223333", "GroupId": "sg-0f66"}],
         "IpRanges": [{"CidrIp": "203.0.113.0/24", "Description": "office"}, {"CidrIp": "198.51.100.7/32"}],
         "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32", "Description": "office 6"}],
         "PrefixListIds": [{"PrefixListId": "pl-0123", "Description": "cdn"}]},
        {"IpProtocol": "icmp", "FromPort": 3, "ToPort": 4, "UserIdGroupPairs": [], "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [], "PrefixListIds": []},
        {"IpProtocol": "icmpv6", "UserIdGroupPairs": [], "IpRanges": [], "Ipv6Ranges": [{"CidrIpv6": "::/0"}], "PrefixListIds": []},
        {"IpProtocol": "47", "FromPort": 5, "ToPort": 6, "IpRanges": [{"CidrIp": "192.0.2.1/32"}]}
      ]
    },
    {"GroupId": "sg-0f66", "GroupName": "default", "Description": "", "OwnerId": "111122223333", "VpcId": "vpc-0b22",
     "IpPermissions": [], "IpPermissionsEgress": []}
  ],
  "NextToken": "eyJ2Ijo",
  "ResponseMetadata": {"RequestId": "5ffd", "HTTPStatusCode": 200, "HTTPHeaders": {"server": "AmazonEC2"}, "RetryAttempts": 0}
}`

const describedRules = `{
  "SecurityGroupRules": [
    {"SecurityGroupRuleId": "sgr-01", "GroupId": "sg-0a11", "GroupOwnerId": "111122223333", "IsEgress": false, "IpProtocol": "tcp",
     "FromPort": 22, "ToPort": 22, "ReferencedGroupInfo": {"GroupId": "sg-0c33", "UserId": "444455556666", "VpcId": "vpc-0d44", "PeeringStatus": "active", "VpcPeeringConnectionId": "pcx-0e55"},
     "Tags": [], "SecurityGroupRuleArn": "arn:aws:ec2:eu-west-1:111122223333:security-group-rule/sgr-01"},
    {"SecurityGroupRuleId": "sgr-02", "GroupId": "sg-0f66", "GroupOwnerId": "111122223333", "IsEgress": true, "IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "CidrIpv6": "::/0"},
    {"SecurityGroupRuleId": "sgr-03", "GroupId": "sg-0a11", "GroupOwnerId": "111122223333", "IsEgress": true, "IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "PrefixListId": "pl-0123", "Description": "dns"},
    {"GroupId": "sg-0a11", "GroupOwnerId": "111122223333", "IsEgress": false, "IpProtocol": "132", "FromPort": -1, "ToPort": -1, "CidrIpv4": "10.0.0.0/8", "Tags": [{"Key": "a", "Value": "b"}]}
  ]
}`

func cidr(s string) sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix(s)) }

// GR-01, GR-03, RU-17, RU-18, RU-24, RU-28, RU-29: every field that the model has, and a word about
// every other.
func TestDecodeDescribed(t *testing.T) {
	groups, ws, err := aws.Decode([]byte(described))
	require.NoError(t, err)
	web := sg.PortRange{First: 80, Last: 443}
	want := []*sg.Group{
		{ID: "sg-0a11", Name: "frontend", Description: "load balancers", VPC: "vpc-0b22", Scope: sg.User("111122223333"), Rules: []sg.Rule{
			{ID: "in-tcp-80-443-from-203.0.113.0/24", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: cidr("203.0.113.0/24"), Description: "office"},
			{ID: "in-tcp-80-443-from-198.51.100.7/32", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: cidr("198.51.100.7/32")},
			{ID: "in-tcp-80-443-from-2001:db8::/32", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: cidr("2001:db8::/32"), Description: "office 6"},
			{ID: "in-tcp-80-443-from-set-pl-0123", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: sg.PeerSet("pl-0123"), Description: "cdn"},
			{ID: "in-tcp-80-443-from-group-sg-0c33", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: sg.PeerGroup("sg-0c33"), Description: "peered"},
			{ID: "in-tcp-80-443-from-group-sg-0f66", Direction: sg.Ingress, Protocol: sg.TCP, Ports: web, Peer: sg.PeerGroup("sg-0f66")},
			{ID: "in-icmp-type-3/4-from-0.0.0.0/0", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPTypeCode(3, 4), Peer: cidr("0.0.0.0/0")},
			{ID: "in-icmpv6-from-::/0", Direction: sg.Ingress, Protocol: sg.ICMPv6, Peer: cidr("::/0")},
			{ID: "in-gre-from-192.0.2.1/32", Direction: sg.Ingress, Protocol: 47, Peer: cidr("192.0.2.1/32")},
			{ID: "out-any-to-0.0.0.0/0", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: cidr("0.0.0.0/0")},
			{ID: "out-any-to-::/0", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: cidr("::/0")},
		}},
		{ID: "sg-0f66", Name: "default", VPC: "vpc-0b22", Scope: sg.User("111122223333"), Default: true}, // GR-13, C3: empty lists have no rules
	}
	require.Equal(t, want, groups)
	pair := "SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0]."
	require.ElementsMatch(t, []string{
		"SecurityGroups[0].IpPermissions[3].FromPort", "SecurityGroups[0].IpPermissions[3].ToPort", "SecurityGroups[0].SecurityGroupArn",
		"SecurityGroups[0].Tags", "NextToken", "ResponseMetadata",
		pair + "GroupName", pair + "VpcId", pair + "PeeringStatus", pair + "VpcPeeringConnectionId", pair + "UserId",
	}, wiretest.Paths(ws))
}

func TestDecodeDescribedRules(t *testing.T) {
	groups, ws, err := aws.DecodeRules([]byte(describedRules))
	require.NoError(t, err)
	require.Equal(t, []*sg.Group{
		{ID: "sg-0a11", Name: "sg-0a11", Scope: sg.User("111122223333"), Rules: []sg.Rule{
			{ID: "sgr-01", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerGroup("sg-0c33")},
			{ID: "sgr-03", Direction: sg.Egress, Protocol: sg.UDP, Ports: sg.Port(53), Peer: sg.PeerSet("pl-0123"), Description: "dns"},
			{ID: "in-sctp-0-65535-from-10.0.0.0/8", Direction: sg.Ingress, Protocol: sg.SCTP, Ports: sg.AllPorts(), Peer: cidr("10.0.0.0/8")},
		}},
		{ID: "sg-0f66", Name: "sg-0f66", Scope: sg.User("111122223333"), Rules: []sg.Rule{
			{ID: "sgr-02", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: cidr("::/0")},
		}},
	}, groups)
	info := "SecurityGroupRules[0].ReferencedGroupInfo."
	require.ElementsMatch(t, []string{
		info + "UserId", info + "VpcId", info + "PeeringStatus", info + "VpcPeeringConnectionId",
		"SecurityGroupRules[0].SecurityGroupRuleArn", "SecurityGroupRules[3].Tags",
	}, wiretest.Paths(ws))
	again, _, err := aws.Decode([]byte(describedRules))
	require.NoError(t, err)
	require.Equal(t, groups, again)
}

// group wraps permissions in a sound group.
func group(ingress string) string {
	return `{"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "a", "IpPermissions": [` + ingress + `], "IpPermissionsEgress": []}]}`
}

// rule wraps fields in a sound flat rule.
func rule(fields string) string {
	return `{"SecurityGroupRules": [{"GroupId": "sg-1", "IsEgress": false, "IpProtocol": "-1", ` + fields + `}]}`
}

// Every fault alone, with its path (RU-06, RU-10, RU-12, RU-13, RU-22, RU-26, RU-30).
func TestDecodeFaults(t *testing.T) {
	const any4 = `"IpRanges": [{"CidrIp": "0.0.0.0/0"}]`
	perm := "SecurityGroups[0].IpPermissions[0]"
	flat := "SecurityGroupRules[0]"
	tcp := `{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, `
	for _, c := range []struct{ name, doc, want string }{
		{"empty", ``, ": invalid"},
		{"truncated", `{"SecurityGroups": [`, ": invalid"},
		{"no object", `[]`, ": invalid"},
		{"followed", `{"SecurityGroups": []} {}`, ": invalid"},
		{"not UTF-8", "{\"SecurityGroups\": [], \"\xff\": 1}", ": invalid"},
		{"half a character", `{"SecurityGroups": [], "\ud800": 1}`, ": invalid"},
		{"deep", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), ": invalid"},
		{"neither list", `{}`, "SecurityGroups: required"},
		{"null list", `{"SecurityGroups": null}`, "SecurityGroups: invalid"},
		{"element of another type", `{"SecurityGroups": ["sg-1"]}`, "SecurityGroups[0]: invalid"},
		{"unknown at the root", `{"SecurityGroups": [], "Groups": []}`, "Groups: unknown field"},
		{"both lists", `{"SecurityGroups": [], "SecurityGroupRules": []}`, "SecurityGroupRules: unknown field"},
		{"case of a field", `{"securityGroups": [], "SecurityGroups": []}`, "securityGroups: unknown field"},
		{"unknown in a group", strings.Replace(group(""), `"GroupName"`, `"Rules": [], "GroupName"`, 1), "SecurityGroups[0].Rules: unknown field"},
		{"repeated field", strings.Replace(group(""), `"GroupName"`, `"GroupId": "sg-1", "GroupName"`, 1), "SecurityGroups[0].GroupId: duplicate"},
		{"no id", strings.Replace(group(""), `"GroupId": "sg-1", `, ``, 1), "SecurityGroups[0].GroupId: required"},
		{"empty id", strings.Replace(group(""), `"sg-1"`, `""`, 1), "SecurityGroups[0].GroupId: required"},
		{"placeholder id", strings.Replace(group(""), `"sg-1"`, `"@self"`, 1), "SecurityGroups[0].GroupId: invalid"},
		{"no name", strings.Replace(group(""), `"GroupName": "a", `, ``, 1), "SecurityGroups[0].GroupName: required"},
		{"name with a control character", strings.Replace(group(""), `"a"`, `"a\n"`, 1), "SecurityGroups[0].GroupName: invalid"},
		{"null description", strings.Replace(group(""), `"GroupName"`, `"Description": null, "GroupName"`, 1), "SecurityGroups[0].Description: invalid"},
		{"number as owner", strings.Replace(group(""), `"GroupName"`, `"OwnerId": 111122223333, "GroupName"`, 1), "SecurityGroups[0].OwnerId: invalid"},
		{"tags", strings.Replace(group(""), `"GroupName"`, `"Tags": {}, "GroupName"`, 1), "SecurityGroups[0].Tags: invalid"},
		{"unknown in a tag", strings.Replace(group(""), `"GroupName"`, `"Tags": [{"Name": "a"}], "GroupName"`, 1), "SecurityGroups[0].Tags[0].Name: unknown field"},
		{"C3: absent list", strings.Replace(group(""), `, "IpPermissionsEgress": []`, ``, 1), "SecurityGroups[0].IpPermissionsEgress: required"},
		{"repeated group", strings.Replace(group(""), `[{"GroupId"`, `[{"GroupId": "sg-1", "GroupName": "b", "IpPermissions": [], "IpPermissionsEgress": []}, {"GroupId"`, 1), "SecurityGroups[1].GroupId: duplicate"},

		{"no protocol", group(`{` + any4 + `}`), perm + ".IpProtocol: required"},
		{"protocol as number", group(`{"IpProtocol": -1, ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"protocol all", group(`{"IpProtocol": "all", ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"protocol by a name AWS does not know", group(`{"IpProtocol": "gre", ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"protocol 0", group(`{"IpProtocol": "0", ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"protocol 06", group(`{"IpProtocol": "06", ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"protocol 256", group(`{"IpProtocol": "256", ` + any4 + `}`), perm + ".IpProtocol: invalid"},
		{"no FromPort", group(`{"IpProtocol": "tcp", "ToPort": 1, ` + any4 + `}`), perm + ".FromPort: required"},
		{"no ToPort", group(`{"IpProtocol": "udp", "FromPort": 1, ` + any4 + `}`), perm + ".ToPort: required"},
		{"null port", group(`{"IpProtocol": "udp", "FromPort": 1, "ToPort": null, ` + any4 + `}`), perm + ".ToPort: invalid"},
		{"port as text", group(`{"IpProtocol": "tcp", "FromPort": "1", "ToPort": 2, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"fraction", group(`{"IpProtocol": "tcp", "FromPort": 1.5, "ToPort": 2, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"TCP -1", group(`{"IpProtocol": "tcp", "FromPort": -1, "ToPort": 2, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"port too large", group(`{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 65536, ` + any4 + `}`), perm + ".ToPort: invalid"},
		{"ports reversed", group(`{"IpProtocol": "tcp", "FromPort": 2, "ToPort": 1, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"port 0 alone", group(`{"IpProtocol": "tcp", "FromPort": 0, "ToPort": 0, ` + any4 + `}`), perm + ".ToPort: unsupported"},
		{"ignored port out of range", group(`{"IpProtocol": "-1", "FromPort": 70000, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"ICMP without code", group(`{"IpProtocol": "icmp", "FromPort": 8, ` + any4 + `}`), perm + ".ToPort: required"},
		{"ICMP type too large", group(`{"IpProtocol": "icmp", "FromPort": 256, "ToPort": -1, ` + any4 + `}`), perm + ".FromPort: invalid"},
		{"ICMP code without type", group(`{"IpProtocol": "icmp", "FromPort": -1, "ToPort": 3, ` + any4 + `}`), perm + ".ToPort: invalid"},
		{"ICMP over IPv6", group(`{"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}`), perm + ".Ipv6Ranges[0].CidrIpv6: address family mismatch"},
		{"ICMPv6 over IPv4", group(`{"IpProtocol": "58", ` + any4 + `}`), perm + ".IpRanges[0].CidrIp: address family mismatch"},
		{"no peer", group(tcp + `"IpRanges": []}`), perm + ".IpRanges: required"},
		{"unknown in a permission", group(tcp + `"Ports": 1, ` + any4 + `}`), perm + ".Ports: unknown field"},
		{"range of another type", group(tcp + `"IpRanges": ["10.0.0.0/8"]}`), perm + ".IpRanges[0]: invalid"},
		{"ranges of another type", group(tcp + `"IpRanges": {}}`), perm + ".IpRanges: invalid"},
		{"no CIDR", group(tcp + `"IpRanges": [{}]}`), perm + ".IpRanges[0].CidrIp: required"},
		{"host bits", group(tcp + `"IpRanges": [{"CidrIp": "10.0.0.1/8"}]}`), perm + ".IpRanges[0].CidrIp: invalid"},
		{"bare address", group(tcp + `"IpRanges": [{"CidrIp": "10.0.0.1"}]}`), perm + ".IpRanges[0].CidrIp: invalid"},
		{"IPv6 in IpRanges", group(tcp + `"IpRanges": [{"CidrIp": "::/0"}]}`), perm + ".IpRanges[0].CidrIp: address family mismatch"},
		{"IPv4 in Ipv6Ranges", group(tcp + `"Ipv6Ranges": [{"CidrIpv6": "0.0.0.0/0"}]}`), perm + ".Ipv6Ranges[0].CidrIpv6: address family mismatch"},
		{"unknown in a range", group(tcp + `"IpRanges": [{"CidrIp": "0.0.0.0/0", "x y": 1}]}`), perm + `.IpRanges[0]["x y"]: unknown field`},
		{"prefix list without id", group(tcp + `"PrefixListIds": [{}]}`), perm + ".PrefixListIds[0].PrefixListId: required"},
		{"pair without id", group(tcp + `"UserIdGroupPairs": [{"GroupName": "web"}]}`), perm + ".UserIdGroupPairs[0].GroupId: required"},
		{"duplicate rule", group(tcp + any4 + `}, {"IpProtocol": "6", "FromPort": 1, "ToPort": 2, ` + any4 + `}`), "SecurityGroups[0].IpPermissions[1].IpRanges[0]: duplicate"},

		{"flat: no peer", rule(`"FromPort": -1`), flat + ".CidrIpv4: required"},
		{"flat: two peers", rule(`"CidrIpv4": "0.0.0.0/0", "CidrIpv6": "::/0"`), flat + ".CidrIpv6: invalid"},
		{"flat: empty id", rule(`"CidrIpv4": "0.0.0.0/0", "SecurityGroupRuleId": ""`), flat + ".SecurityGroupRuleId: required"},
		{"flat: info of another type", rule(`"ReferencedGroupInfo": "sg-2"`), flat + ".ReferencedGroupInfo: invalid"},
		{"flat: info without id", rule(`"ReferencedGroupInfo": {}`), flat + ".ReferencedGroupInfo.GroupId: required"},
		{"flat: unknown in info", rule(`"ReferencedGroupInfo": {"GroupId": "sg-2", "Description": "x"}`), flat + ".ReferencedGroupInfo.Description: unknown field"},
		{"flat: repeated in info", rule(`"ReferencedGroupInfo": {"GroupId": "sg-2", "GroupId": "sg-3"}`), flat + ".ReferencedGroupInfo.GroupId: duplicate"},
		{"flat: no direction", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `"IsEgress": false, `, "", 1), flat + ".IsEgress: required"},
		{"flat: direction as text", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `false`, `"false"`, 1), flat + ".IsEgress: invalid"},
		{"flat: no group", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `"GroupId": "sg-1", `, "", 1), flat + ".GroupId: required"},
		{"flat: next page", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `}]}`, `}], "NextToken": "x"}`, 1), "NextToken: unsupported"},
		{"flat: owners differ", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `}]}`, `}, {"GroupId": "sg-1", "GroupOwnerId": "1", "IsEgress": false, "IpProtocol": "-1", "CidrIpv6": "::/0"}]}`, 1), "SecurityGroupRules[1].GroupOwnerId: conflict"},
		{"flat: repeated id", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0", "SecurityGroupRuleId": "r"`), `}]}`, `}, {"GroupId": "sg-1", "SecurityGroupRuleId": "r", "IsEgress": false, "IpProtocol": "-1", "CidrIpv6": "::/0"}]}`, 1), "SecurityGroupRules[1].SecurityGroupRuleId: duplicate"},
		{"flat: duplicate", strings.Replace(rule(`"CidrIpv4": "0.0.0.0/0"`), `}]}`, `}, {"GroupId": "sg-1", "IsEgress": false, "IpProtocol": "-1", "CidrIpv4": "0.0.0.0/0"}]}`, 1), "SecurityGroupRules[1]: duplicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, ws, err := aws.Decode([]byte(c.doc))
			assert.Nil(t, groups)
			assert.Nil(t, ws)
			require.Error(t, err)
			require.Equal(t, []string{c.want}, wiretest.Faults(t, err))
			wiretest.CheckErrors(t, err)
		})
	}
}

func TestDecodeManyFaults(t *testing.T) {
	_, _, err := aws.Decode([]byte(`{"SecurityGroups": [
	  {"GroupName": "", "IpPermissions": [{"IpProtocol": "tcp", "FromPort": "22", "IpRanges": [{"CidrIp": "10.0.0.1/8", "x": 1}, {}]}], "Extra": 1},
	  {"GroupId": "sg-2", "GroupName": "b", "IpPermissions": [], "IpPermissionsEgress": [{"IpProtocol": "x"}]}]}`))
	require.Equal(t, []string{
		"SecurityGroups[0].Extra: unknown field",
		"SecurityGroups[0].GroupId: required",
		"SecurityGroups[0].GroupName: required",
		"SecurityGroups[0].IpPermissionsEgress: required",
		"SecurityGroups[0].IpPermissions[0].FromPort: invalid",
		"SecurityGroups[0].IpPermissions[0].IpRanges[0].CidrIp: invalid",
		"SecurityGroups[0].IpPermissions[0].IpRanges[0].x: unknown field",
		"SecurityGroups[0].IpPermissions[0].IpRanges[1].CidrIp: required",
		"SecurityGroups[0].IpPermissions[0].ToPort: required",
		"SecurityGroups[1].IpPermissionsEgress[0].IpProtocol: invalid",
	}, wiretest.Faults(t, err))
}

// RU-13, C16: AWS opens every port of such protocols: told, and never more
// than AWS itself opens.
func TestPortsOfOtherProtocols(t *testing.T) {
	for _, p := range []string{"-1", "50", "132"} {
		groups, ws, err := aws.Decode([]byte(group(`{"IpProtocol": "` + p + `", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}`)))
		require.NoError(t, err)
		require.Len(t, groups[0].Rules, 1)
		require.Equal(t, []string{"SecurityGroups[0].IpPermissions[0].FromPort", "SecurityGroups[0].IpPermissions[0].ToPort"}, wiretest.Paths(ws))
	}
	_, ws, err := aws.Decode([]byte(group(`{"IpProtocol": "-1", "FromPort": -1, "ToPort": -1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}`)))
	require.NoError(t, err)
	require.Empty(t, ws)
}

// Rules that share protocol and ports are one permission, in the documented order.
func TestEncodeRegroups(t *testing.T) {
	r := func(id sg.RuleID, p sg.Protocol, ports sg.PortRange, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Protocol: p, Ports: ports, Peer: peer}
	}
	b, ws, err := aws.Encode([]*sg.Group{{ID: "sg-1", Name: "a", Scope: sg.User("1"), Rules: []sg.Rule{
		r("1", sg.UDP, sg.Port(53), cidr("10.2.0.0/16")),
		r("2", sg.TCP, sg.Port(443), cidr("::/0")),
		r("3", sg.UDP, sg.Port(53), sg.PeerGroup("sg-1")),
		r("4", sg.TCP, sg.Port(22), sg.PeerSet("pl-1")),
		r("5", sg.UDP, sg.Port(53), cidr("10.1.0.0/16")),
		r("6", sg.AnyProtocol, sg.PortRange{}, sg.PeerGroup("sg-2")),
		r("in-tcp-443-from-0.0.0.0/0", sg.TCP, sg.Port(443), cidr("0.0.0.0/0")),
	}}})
	require.NoError(t, err)
	require.Equal(t, []string{
		`groups["sg-1"].rules[0].id`, `groups["sg-1"].rules[1].id`, `groups["sg-1"].rules[2].id`, `groups["sg-1"].rules[3].id`,
		`groups["sg-1"].rules[4].id`, `groups["sg-1"].rules[5].id`,
	}, wiretest.Paths(ws))
	require.JSONEq(t, `{"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "a", "Description": "", "OwnerId": "1", "IpPermissionsEgress": [], "IpPermissions": [
	  {"IpProtocol": "-1", "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": [{"GroupId": "sg-2"}]},
	  {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": [{"PrefixListId": "pl-1"}], "UserIdGroupPairs": []},
	  {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}], "PrefixListIds": [], "UserIdGroupPairs": []},
	  {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "IpRanges": [{"CidrIp": "10.1.0.0/16"}, {"CidrIp": "10.2.0.0/16"}], "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "1"}]}
	]}]}`, string(b))
}

func TestEncodeRefuses(t *testing.T) {
	sound := sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(1), Peer: sg.PeerGroup("sg-2")}
	with := func(change func(*sg.Rule)) *sg.Group {
		r := sound
		change(&r)
		return &sg.Group{ID: "sg-1", Name: "a", Rules: []sg.Rule{sound, r}}
	}
	ok := with(func(r *sg.Rule) { r.ID, r.Ports = "s", sg.Port(2) })
	for _, c := range []struct {
		name   string
		groups []*sg.Group
		want   string
	}{
		{"nil", []*sg.Group{nil}, "groups[0]: required"},
		{"repeated", []*sg.Group{ok, ok}, `groups["sg-1"].id: duplicate`},
		{"invalid", []*sg.Group{{ID: "sg-1", Rules: []sg.Rule{sound}}}, `groups["sg-1"].name: required`},
		{"stateless", []*sg.Group{{ID: "sg-1", Name: "a", Stateless: true, Rules: []sg.Rule{sound}}}, `groups["sg-1"].stateless: unsupported`},
		{"owner", []*sg.Group{{ID: "sg-1", Name: "a", Scope: sg.User("\xff"), Rules: []sg.Rule{sound}}}, `groups["sg-1"].scope: unsupported`},
		{"SCTP ports", []*sg.Group{with(func(r *sg.Rule) { r.ID, r.Protocol = "s", sg.SCTP })}, `groups["sg-1"].rules[1].ports: unsupported`},
		{"any peer", []*sg.Group{with(func(r *sg.Rule) { r.ID, r.Peer = "s", sg.PeerAny() })}, `groups["sg-1"].rules[1].peer: unsupported`},
		{"family of a group", []*sg.Group{with(func(r *sg.Rule) { r.ID, r.Family = "s", sg.IPv6 })}, `groups["sg-1"].rules[1].family: unsupported`},
		{"placeholder", []*sg.Group{with(func(r *sg.Rule) { r.ID, r.Peer = "s", sg.PeerGroup(sg.SelfGroup) })}, `groups["sg-1"].rules[1].peer: unsupported`},
		{"text", []*sg.Group{with(func(r *sg.Rule) { r.ID, r.Ports, r.Description = "s", sg.Port(2), "\xff" })}, `groups["sg-1"].rules[1].description: unsupported`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, encode := range []func([]*sg.Group) ([]byte, []sg.Warning, error){aws.Encode, aws.EncodeRules} {
				b, _, err := encode(c.groups)
				assert.Nil(t, b)
				require.Error(t, err)
				require.Equal(t, []string{c.want}, wiretest.Faults(t, err))
			}
		})
	}
	_, _, err := aws.EncodeRules([]*sg.Group{{ID: "sg-1", Name: "a"}})
	require.Equal(t, []string{`groups["sg-1"].rules: unsupported`}, wiretest.Faults(t, err))
}

func TestEncodeWarns(t *testing.T) {
	g := &sg.Group{
		ID: "sg-1", Name: "a", Description: "b", VPC: "v", Default: true, Created: time.Unix(1, 0),
		Rules: []sg.Rule{{ID: "r", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}},
	}
	_, ws, err := aws.Encode([]*sg.Group{g})
	require.NoError(t, err)
	require.Equal(t, []string{`groups["sg-1"].created`, `groups["sg-1"].rules[0].id`, `groups["sg-1"].default`}, wiretest.Paths(ws))
	_, ws, err = aws.EncodeRules([]*sg.Group{g})
	require.NoError(t, err)
	require.Equal(t, []string{
		`groups["sg-1"].created`, `groups["sg-1"].name`, `groups["sg-1"].description`, `groups["sg-1"].vpc`, `groups["sg-1"].default`,
	}, wiretest.Paths(ws))
}

// The groups that the profile makes can be said.
func TestProfileGroups(t *testing.T) {
	p := aws.Profile()
	for _, tmpl := range [][]sg.Rule{p.NewGroup, p.DefaultGroup} {
		g := &sg.Group{ID: "sg-1", Name: "a"}
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			g.Rules = append(g.Rules, sg.Template(tmpl, g.ID, d)...)
		}
		b, _, err := aws.Encode([]*sg.Group{g})
		require.NoError(t, err)
		back, _, err := aws.Decode(b)
		require.NoError(t, err)
		require.Equal(t, keys([]*sg.Group{g}), keys(back))
	}
}

// A large document takes bounded time, whether sound, with every rule the
// same, or made to collide; and the size has a limit.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 40 MB")
	}
	list := func(item func(int) string) []byte {
		var parts []string
		for i, n := 0, 0; n < 10<<20; i++ {
			s := item(i)
			parts, n = append(parts, s), n+len(s)
		}
		return []byte(group(`{"IpProtocol": "-1", "UserIdGroupPairs": [` + strings.Join(parts, ",") + `]}`))
	}
	for _, c := range []struct {
		name string
		doc  []byte
		ok   bool
	}{
		{"sound", list(func(i int) string { return fmt.Sprintf(`{"GroupId": "sg-%d"}`, i) }), true},
		{"duplicates", list(func(int) string { return `{"GroupId": "sg-1"}` }), false},
		{"faulty", list(func(int) string { return `{"x": null}` }), false},
		{"brackets", []byte(strings.Repeat("[", 10<<20)), false},
		{"fields", []byte(`{` + strings.Repeat(`"a": 1, `, 10<<17) + `"b": 1}`), false},
		{"too large", slices.Repeat([]byte{' '}, 64<<20+1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, _, err := aws.Decode(c.doc)
			require.Less(t, time.Since(start), time.Minute)
			require.Equal(t, c.ok, err == nil)
			if err != nil {
				wiretest.CheckErrors(t, err)
			}
		})
	}
}
