package hypervisor_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
)

var codec = wiretest.Codec{Decode: hypervisor.Decode, Encode: hypervisor.Encode}

const panel = `{
  "id": "12", "name": "Database", "description": "only the web tier", "user": "u-7",
  "rules": [
    {"id": "1", "direction": "Ingress", "protocol": "TCP", "port_range_min": 22, "port_range_max": 22, "ip_version": "IPv4", "source_type": "cidr", "cidr": "0.0.0.0/0", "description": "SSH"},
    {"id": "2", "direction": "Ingress", "protocol": "All", "ip_version": "IPv4", "source_type": "cidr", "cidr": "10.0.0.0/8"},
    {"id": "3", "direction": "Ingress", "protocol": "ICMP", "ip_version": "IPv4", "source_type": "cidr", "cidr": "0.0.0.0/0"},
    {"id": "4", "direction": "Ingress", "protocol": "TCP", "port_range_min": 3306, "port_range_max": 3310, "ip_version": "IPv4", "source_type": "remote_group", "remote_group": "9"},
    {"id": "5", "direction": "egress", "protocol": "icmpv6", "ip_version": "ipv6", "source_type": "ip_set", "ip_set": "office"},
    {"direction": "Outbound", "protocol": "udp", "port_range_min": 1, "port_range_max": 65535, "ip_version": "IPv6", "source_type": "cidr", "cidr": "2001:db8::1"}
  ]}`

// TestPanelExamples reads the examples of the panel's tables: SSH from
// anywhere, all from a subnet, ping, a database for a remote group (RU-02,
// RU-04, RU-05, RU-06, RU-11, RU-15, RU-17, RU-19, RU-21, RU-23, RU-25).
func TestPanelExamples(t *testing.T) {
	cidr := func(s string) sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix(s)) }
	require.Equal(t, []*sg.Group{{
		ID: "12", Name: "Database", Description: "only the web tier", Scope: sg.User("u-7"), Rules: []sg.Rule{
			{ID: "1", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(22), Peer: cidr("0.0.0.0/0"), Description: "SSH"},
			{ID: "2", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: cidr("10.0.0.0/8")},
			{ID: "3", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.ICMP, Peer: cidr("0.0.0.0/0")},
			{ID: "4", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.PortRange{First: 3306, Last: 3310}, Peer: sg.PeerGroup("9")},
			{ID: "5", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.ICMPv6, Peer: sg.PeerSet("office")},
			{ID: "out-udp-1-65535-ipv6-to-2001:db8::1/128", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.UDP, Ports: sg.PortRange{First: 1, Last: 65535}, Peer: cidr("2001:db8::1/128")},
		},
	}}, codec.Groups(t, panel))
}

// TestScope: a blank user is global scope (GR-19, GR-21).
func TestScope(t *testing.T) {
	for user, want := range map[string]sg.Scope{`"user": null,`: sg.Global(), `"user": "",`: sg.Global(), ``: sg.Global(), `"user": "bo",`: sg.User("bo")} {
		require.Equal(t, want, codec.Groups(t, `{`+user+` "name": "a", "rules": []}`)[0].Scope)
	}
}

// TestNewGroup: absent and empty rules are the same here, since new groups are
// empty (C3, C4, GR-12). Groups without an id have their name for one.
func TestNewGroup(t *testing.T) {
	require.Equal(t, []*sg.Group{{ID: "a", Name: "a"}, {ID: "b", Name: "b"}}, codec.Groups(t, `{"security_groups": [{"name": "a"}, {"name": "b", "rules": []}]}`))
}

func TestGroupFaults(t *testing.T) {
	for doc, want := range map[string]string{
		`{"rules": []}`:                                           `name: required`,
		`{"name": "a", "rules": {}}`:                              `rules: invalid: want an array, not an object`,
		`{"name": "a", "user": 7}`:                                `user: invalid: want a string, not a number`,
		`{"name": "a", "vpc_id": "v"}`:                            `vpc_id: unknown field`,
		`{"security_groups": [{"name": "a"}, {"name": "a"}]}`:     `security_groups[1].name: duplicate "a": the id of security_groups[0].name`,
		`{"security_groups": [{"id": "1", "name": "a"}], "x": 1}`: `x: unknown field`,
		`{"security_groups": null}`:                               `security_groups: invalid: want an array, not null`,
	} {
		codec.Faults(t, doc, want)
	}
}

// TestRuleFaults checks each fault of a rule alone.
func TestRuleFaults(t *testing.T) {
	const tail = `"ip_version": "IPv4", "source_type": "cidr", "cidr": "10.0.0.0/8"`
	const head = `"direction": "Ingress", "protocol": "All"`
	for rule, want := range map[string][]string{
		`"protocol": "All", ` + tail:                            {`direction: required`},
		`"direction": "in", "protocol": "All", ` + tail:         {`direction: invalid "in": want a direction: ingress, egress`},
		`"direction": "Ingress", ` + tail:                       {`protocol: required`},
		`"direction": "Ingress", "protocol": "any", ` + tail:    {`protocol: invalid "any": want a protocol: tcp, udp, icmp, icmpv6, all`},
		`"direction": "Ingress", "protocol": "ICMPv6", ` + tail: {`protocol: address family mismatch "icmpv6": icmpv6 exists in ipv6 only`}, // RU-04
		// RU-10, RU-11, RU-12
		`"direction": "Ingress", "protocol": "TCP", ` + tail: {
			`port_range_max: required: for one port, both are the same`, `port_range_min: required: for one port, both are the same`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": 1, ` + tail:                            {`port_range_max: required: for one port, both are the same`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": 0, "port_range_max": 9, ` + tail:       {`port_range_min: invalid "0": want a whole number from 1 to 65535`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": 1, "port_range_max": 65536, ` + tail:   {`port_range_max: invalid "65536": want a whole number from 1 to 65535`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": "22", "port_range_max": 22, ` + tail:   {`port_range_min: invalid: want a number, not a string`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": 22.0, "port_range_max": 22, ` + tail:   {`port_range_min: invalid "22.0": want a whole number from 1 to 65535`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": 9, "port_range_max": 8, ` + tail:       {`port_range_min: invalid "9": above port_range_max, which is 8`},
		`"direction": "Ingress", "protocol": "TCP", "port_range_min": null, "port_range_max": null, ` + tail: {`port_range_max: invalid: want a number, not null`, `port_range_min: invalid: want a number, not null`},
		// RU-13, C16: not used, and so refused
		`"direction": "Ingress", "protocol": "ICMP", "port_range_min": 8, "port_range_max": 0, ` + tail: {`port_range_max: invalid: protocol icmp has no ports`, `port_range_min: invalid: protocol icmp has no ports`},
		head + `, "port_range_min": 22, ` + tail:                                                        {`port_range_min: invalid: protocol any has no ports`},
		head + `, "source_type": "cidr", "cidr": "10.0.0.0/8"`:                                          {`ip_version: required`}, // RU-25
		head + `, "ip_version": "any", "source_type": "cidr", "cidr": "10.0.0.0/8"`:                     {`ip_version: invalid "any": want IPv4 or IPv6`},
		head + `, "ip_version": "IPv6", "source_type": "cidr", "cidr": "0.0.0.0/0"`:                     {`cidr: address family mismatch "0.0.0.0/0": the rule is for ipv6`}, // RU-26
		head + `, "ip_version": "IPv4", "cidr": "0.0.0.0/0"`:                                            {`source_type: required`},
		head + `, "ip_version": "IPv4", "source_type": "CIDR", "cidr": "0.0.0.0/0"`:                     {`source_type: invalid "CIDR": want cidr, remote_group or ip_set`},
		head + `, "ip_version": "IPv4", "source_type": "cidr"`:                                          {`cidr: required`},
		head + `, "ip_version": "IPv4", "source_type": "cidr", "cidr": ""`:                              {`cidr: required: must not be empty`},
		head + `, "ip_version": "IPv4", "source_type": "cidr", "cidr": "10.1.0.0/8"`:                    {`cidr: invalid "10.1.0.0/8": has host bits; did you mean 10.0.0.0/8?`},
		head + `, "ip_version": "IPv4", "source_type": "remote_group", "remote_group": "@self"`:         {`remote_group: invalid "@self": stands for any group, in profiles`},
		head + `, "ip_version": "IPv4", "source_type": "ip_set", "ip_set": "a\nb"`:                      {`ip_set: invalid "a\nb": set id contains a control character`},
		// RU-22: one remote end
		head + `, ` + tail + `, "remote_group": "9"`:             {`remote_group: conflict: source_type is cidr, and a rule has one remote end`},
		head + `, ` + tail + `, "ip_set": null`:                  {`ip_set: invalid: want a string, not null`},
		head + `, ` + tail + `, "id": ""`:                        {`id: required: must not be empty`},
		head + `, ` + tail + `, "priority": 1`:                   {`priority: unknown field`},
		head + `, ` + tail + `, "description": "x", "cidr": "x"`: {`cidr: duplicate: the field stands more than once`},
	} {
		for i := range want {
			want[i] = "rules[0]." + want[i]
		}
		codec.Faults(t, `{"name": "a", "rules": [{`+rule+`}]}`, want...)
	}
	// RU-30: the description is not in the key
	codec.Faults(t, `{"name": "a", "rules": [{`+head+`, `+tail+`}, {"id": "7", "description": "x", `+head+`, `+tail+`}]}`, `rules[1]: duplicate: same traffic as rules[0]`)
	codec.Faults(t, `{"name": "a", "rules": [{"id": "7", `+head+`, `+tail+`}, {"id": "7", `+head+`, "ip_version": "IPv6", "source_type": "cidr", "cidr": "::/0"}]}`,
		`rules[1].id: duplicate "7": the id of rules[0]`)
}

func TestManyFaultsAtOnce(t *testing.T) {
	codec.Faults(t, `{"security_groups": [{"name": "a", "rules": [
	    {"direction": 1, "protocol": "SCTP", "port_range_min": 0, "ip_version": "6", "source_type": "ip_set", "cidr": "x", "zz": 1}, null]},
	  {"user": [], "rules": [{"direction": "Ingress", "protocol": "UDP", "port_range_min": 1, "port_range_max": 2, "ip_version": "IPv4", "source_type": "cidr", "cidr": "::/0", "id": "\u0000"}]}]}`,
		`security_groups[0].rules[0].cidr: conflict: source_type is ip_set, and a rule has one remote end`,
		`security_groups[0].rules[0].direction: invalid: want a string, not a number`,
		`security_groups[0].rules[0].ip_set: required`,
		`security_groups[0].rules[0].ip_version: invalid "6": want IPv4 or IPv6`,
		`security_groups[0].rules[0].port_range_min: invalid "0": want a whole number from 1 to 65535`,
		`security_groups[0].rules[0].protocol: invalid "SCTP": want a protocol: tcp, udp, icmp, icmpv6, all`,
		`security_groups[0].rules[0].zz: unknown field`,
		`security_groups[0].rules[1]: invalid: want an object, not null`,
		`security_groups[1].name: required`,
		`security_groups[1].rules[0].cidr: address family mismatch "::/0": the rule is for ipv4`,
		`security_groups[1].rules[0].id: invalid "\x00": contains a control character`,
		`security_groups[1].user: invalid: want a string, not an array`,
	)
}

func TestWrongInput(t *testing.T) {
	codec.Wrong(t, panel, []string{`user=null`, `rules=[]`}, nil)
	codec.Wrong(t, `{"security_groups": [`+panel+`]}`, []string{`security_groups[0].user=null`}, nil)
}

func TestHostileDocuments(t *testing.T) {
	codec.Hostile(t, `{"name": "a", "rules": [`,
		`{"direction": "Ingress", "protocol": "All", "ip_version": "IPv4", "source_type": "remote_group", "remote_group": "%d"}`, `]}`)
}

func sayable() *rapid.Generator[[]*sg.Group] {
	return wiretest.Groups(wiretest.Spec{
		Group: func(g *sg.Group) { g.VPC, g.Stateless, g.Default, g.Created = "", false, false, time.Time{} },
		Rule: func(r sg.Rule) sg.Rule {
			r.ICMP = sg.ICMPMatch{}
			if r.Family = r.EffectiveFamily(); r.Family == sg.FamilyAny {
				r.Family = sg.IPv4
			}
			if r.Ports != (sg.PortRange{}) && r.Ports.First == 0 {
				r.Ports.First = 1
			}
			if r.Peer.Kind() == sg.PeerIsAny {
				r.Peer = sg.PeerSet("ips-any")
			}
			switch r.Protocol {
			case sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, sg.AnyProtocol:
			default:
				r.Protocol, r.Ports = sg.AnyProtocol, sg.PortRange{}
			}
			return r
		},
	})
}

func TestRoundTrip(t *testing.T) { codec.RoundTrip(t, sayable()) }
func TestAnyGroups(t *testing.T) { codec.Anything(t) }

// TestAnyPeer: any address of one family is written as its CIDR (RU-24).
func TestAnyPeer(t *testing.T) {
	b, _, err := hypervisor.Encode([]*sg.Group{{ID: "a", Name: "a", Rules: []sg.Rule{
		{ID: "1", Direction: sg.Ingress, Family: sg.IPv6, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
		{ID: "2", Direction: sg.Ingress, Protocol: sg.ICMP, Peer: sg.PeerAny()},
	}}})
	require.NoError(t, err)
	g := codec.Groups(t, string(b))[0]
	require.Equal(t, "::/0 0.0.0.0/0", fmt.Sprint(g.Rules[0].Peer, g.Rules[1].Peer))
}

// TestRefuses checks what the format can not say.
func TestRefuses(t *testing.T) {
	rule := func(id sg.RuleID, f sg.Family, p sg.Protocol, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Egress, Family: f, Protocol: p, Peer: peer}
	}
	all, typed := rule("1", sg.IPv4, sg.TCP, sg.PeerAny()), rule("2", sg.IPv4, sg.ICMP, sg.PeerAny())
	all.Ports, typed.ICMP = sg.AllPorts(), sg.ICMPType(8)
	codec.Refuses(t, []*sg.Group{{ID: "a", Name: "a", VPC: "v", Stateless: true, Scope: sg.User("\xff"), Rules: []sg.Rule{
		all, typed, rule("3", sg.IPv6, 47, sg.PeerAny()), rule("4", 0, sg.AnyProtocol, sg.PeerGroup("b")), rule("5", 0, sg.AnyProtocol, sg.PeerAny()),
	}}},
		`groups["a"].rules[0].ports: ports begin at 1`,
		`groups["a"].rules[1].icmp: the format has no ICMP types`,
		`groups["a"].rules[2].protocol: only TCP, UDP, ICMP, ICMPv6 and All`,
		`groups["a"].rules[3].family: a rule is for IPv4 or IPv6; write two`,
		`groups["a"].rules[4].family: a rule is for IPv4 or IPv6; write two`,
		`groups["a"].scope: not valid UTF-8`,
		`groups["a"].stateless: groups are stateful here`,
		`groups["a"].vpc: the format has no VPC: the group would stand in another one`,
	)
}

func TestLosses(t *testing.T) {
	_, warnings, err := hypervisor.Encode([]*sg.Group{{ID: "a", Name: "a", Default: true, Created: time.Unix(1, 0)}})
	require.NoError(t, err)
	require.Equal(t, []string{
		`groups["a"].default: the format does not tell the default group from others`, `groups["a"].created: the format has no time of creation`,
	}, wiretest.Warnings(warnings))
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{panel, `{"security_groups": [` + panel + `, {"name": "b"}]}`, `{"name": "a", "user": null, "rules": []}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { codec.Check(t, b) })
}
