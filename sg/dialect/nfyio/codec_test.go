package nfyio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/dialect/nfyio"
)

var codec = wiretest.Codec{Decode: nfyio.Decode, Encode: nfyio.Encode}

// rules lists the rules of a group by id: what they say.
func rules(g *sg.Group) []string {
	var out []string
	for _, r := range g.Rules {
		out = append(out, string(r.ID))
	}
	return out
}

// TestFlatRule reads one rule with its direction (RU-01, RU-02, RU-18, RU-32).
func TestFlatRule(t *testing.T) {
	for doc, want := range map[string]string{
		`{"direction": "inbound", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0", "description": "TLS"}`: "in-tcp-443-from-0.0.0.0/0",
		`{"direction": "inbound", "protocol": "tcp", "port_range": "5432", "source": "sg_app"}`:                         "in-tcp-5432-from-group-sg_app",
		`{"direction": "EGRESS", "protocol": "UDP", "port_range": "53", "destination": "2001:db8::53"}`:                 "out-udp-53-to-2001:db8::53/128",
		`{"direction": "outbound", "protocol": "All", "destination": "::/0"}`:                                           "out-any-to-::/0",
	} {
		groups := codec.Groups(t, doc)
		require.Len(t, groups, 1)
		require.Equal(t, sg.GroupID(nfyio.Unnamed), groups[0].ID)
		require.Equal(t, []string{want}, rules(groups[0]), "and no rule besides")
	}
	require.Equal(t, "TLS", codec.Groups(t, `{"direction": "inbound", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0", "description": "TLS"}`)[0].Rules[0].Description)
}

// TestConfigForm reads the inbound and outbound lists of configurations
// (GR-07), absent and empty outbound lists (C3, GR-08, GR-09), and all without
// ports (RU-15).
func TestConfigForm(t *testing.T) {
	for doc, want := range map[string][]string{
		`{"inbound": [{"protocol": "tcp", "port_range": "80", "source": "0.0.0.0/0"}, {"protocol": "tcp", "port_range": "22", "source": "10.0.0.0/8"}],
		  "outbound": [{"protocol": "all", "destination": "0.0.0.0/0"}]}`: {"in-tcp-80-from-0.0.0.0/0", "in-tcp-22-from-10.0.0.0/8", "out-any-to-0.0.0.0/0"},
		`{"inbound": [{"protocol": "tcp", "port_range": "7007", "source": "10.0.0.0/16"}]}`:                    {"in-tcp-7007-from-10.0.0.0/16", "default-egress"},
		`{"inbound": [{"protocol": "tcp", "port_range": "5432", "source": "sg_app_servers"}], "outbound": []}`: {"in-tcp-5432-from-group-sg_app_servers"},
		`{"outbound": []}`: {},
		`{"inbound": []}`:  {"default-egress"},
	} {
		g := codec.Groups(t, doc)[0]
		require.ElementsMatch(t, want, rules(g), doc)
		require.Equal(t, nfyio.Unnamed, g.Name)
	}
	g := codec.Groups(t, `{"id": "sg_1", "inbound": []}`)[0]
	require.Equal(t, "sg_1", g.Name, "a group that only has an id")
	g = codec.Groups(t, `{"id": "sg_1", "name": "one", "description": "d", "vpc_id": "v", "inbound": []}`)[0]
	require.Equal(t, &sg.Group{ID: "sg_1", Name: "one", Description: "d", VPC: "v", Rules: g.Rules}, g)
}

const response = `{
  "id": "sg_7", "name": "web", "description": "front", "vpc_id": "vpc_9",
  "inbound_rules": [{"direction": "inbound", "protocol": "tcp", "port_range": "8000-9000", "source": "0.0.0.0/0", "description": "API"},
    {"protocol": "icmp", "source": "10.0.0.0/8"}],
  "outbound_rules": [{"protocol": "udp", "port_range": "0-65535", "destination": "sg_dns", "description": ""}],
  "created_at": "2026-03-01T14:00:00.5+02:00"}`

// TestRequestAndResponse reads the two API forms (GR-01, GR-02, GR-03, GR-06).
func TestRequestAndResponse(t *testing.T) {
	g := codec.Groups(t, `{"name": "web servers", "description": "d", "vpc_id": "vpc_abc",
	  "inbound_rules": [{"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}]}`)[0]
	require.Equal(t, sg.GroupID("web servers"), g.ID, "without an id, the name is the id")
	require.Equal(t, []string{"in-tcp-443-from-0.0.0.0/0", "default-egress"}, rules(g))

	g = codec.Groups(t, response)[0]
	require.Equal(t, time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC), g.Created)
	require.Equal(t, []string{"in-tcp-8000-9000-from-0.0.0.0/0", "in-icmp-from-10.0.0.0/8", "out-udp-0-65535-to-group-sg_dns"}, rules(g))
	require.True(t, g.Rules[2].Ports.IsAll())

	groups := codec.Groups(t, `{"security_groups": [`+response+`, {"name": "web", "inbound_rules": [{"protocol": "all", "source": "cfg"}]}, {"name": "cfg", "outbound": []}]}`)
	require.Len(t, groups, 3)
	require.Equal(t, sg.PeerGroup("cfg"), groups[1].Rules[0].Peer, "an id of this document")
	require.Empty(t, codec.Groups(t, `{"security_groups": []}`))
}

func TestFaults(t *testing.T) {
	for doc, want := range map[string]string{
		``:                                      `invalid: line 1, column 1: the document ends too early`,
		`[]`:                                    `invalid: want a JSON object, not an array`,
		`{}`:                                    `name: required`,
		`{"name": ""}`:                          `name: required: must not be empty`,
		`{"name": "a\u0007"}`:                   "name: invalid \"a\\a\": contains a control character",
		`{"id": "@self", "name": "a"}`:          `id: invalid "@self": stands for any group, in profiles`,
		`{"id": "", "name": "a"}`:               `id: required: must not be empty`,
		`{"name": "a", "name": "a"}`:            `name: duplicate: the field stands more than once`,
		`{"name": "a", "tags": {}}`:             `tags: unknown field`,
		`{"name": "a", "vpc_id": null}`:         `vpc_id: invalid: want a string, not null`,
		`{"name": "a", "outbound_rules": null}`: `outbound_rules: invalid: want an array, not null`,
		`{"name": "a", "created_at": "2026-03-01"}`:                                `created_at: invalid "2026-03-01": want a time as in RFC 3339, such as 2026-03-01T12:00:00Z`,
		`{"name": "a", "inbound_rules": [], "outbound": []}`:                       `outbound: conflict: the group has inbound_rules or outbound_rules; use one style`,
		`{"security_groups": [], "name": "a"}`:                                     `name: unknown field`,
		`{"security_groups": [{"name": "a"}, {"id": "a", "name": "b"}]}`:           `security_groups[1].id: duplicate "a": the id of security_groups[0].name`,
		`{"security_groups": [{"outbound": []}, {"outbound": []}]}`:                `security_groups[1].name: duplicate "unnamed": the id of security_groups[0].name`,
		`{"protocol": "all", "source": "10.0.0.0/8"}`:                              `direction: required`,
		`{"direction": "up", "protocol": "all", "source": "10.0.0.0/8"}`:           `direction: invalid "up": want a direction: ingress, egress`,
		`{"direction": "inbound", "protocol": "all", "destination": "10.0.0.0/8"}`: `destination: invalid: ingress rules name their remote end as source`,
	} {
		codec.Faults(t, doc, want)
	}
}

// TestRuleFaults checks each fault of a rule alone.
func TestRuleFaults(t *testing.T) {
	const at = "inbound_rules[0]"
	for rule, want := range map[string]string{
		`{"port_range": "1", "source": "::/0"}`:                      at + `.protocol: required`,
		`{"protocol": "6", "port_range": "1", "source": "::/0"}`:     at + `.protocol: invalid "6": want a protocol: tcp, udp, icmp, all`,
		`{"protocol": "icmpv6", "source": "::/0"}`:                   at + `.protocol: invalid "icmpv6": want a protocol: tcp, udp, icmp, all`,
		`{"protocol": "tcp", "source": "::/0"}`:                      at + `.port_range: required: name a port, a range, or all`,
		`{"protocol": "tcp", "port_range": 443, "source": "::/0"}`:   at + `.port_range: invalid: want a string, not a number`,
		`{"protocol": "tcp", "port_range": "", "source": "::/0"}`:    at + `.port_range: invalid "": want a port ("443"), a range ("8000-9000") or "all", from 0 to 65535`,
		`{"protocol": "tcp", "port_range": "ALL", "source": "::/0"}`: at + `.port_range: invalid "ALL": every port is "0-65535"`,
		`{"protocol": "tcp", "port_range": "9-8", "source": "::/0"}`: at + `.port_range: invalid "9-8": the first port is above the last`,
		// RU-13, C16: never widened
		`{"protocol": "icmp", "port_range": "8", "source": "10.0.0.0/8"}`:              at + `.port_range: invalid "8": protocol icmp has no ports`,
		`{"protocol": "all", "port_range": "0-65535", "source": "10.0.0.0/8"}`:         at + `.port_range: invalid "0-65535": protocol any has no ports`,
		`{"protocol": "icmp", "source": "::/0"}`:                                       at + `.protocol: address family mismatch "icmp": icmp exists in ipv4 only`,
		`{"protocol": "all"}`:                                                          at + `.source: required`,
		`{"protocol": "all", "source": "10.0.0.1/8"}`:                                  at + `.source: invalid "10.0.0.1/8": has host bits; did you mean 10.0.0.0/8?`,
		`{"protocol": "all", "source": "10.0.0.0/33"}`:                                 at + `.source: invalid "10.0.0.0/33": want a CIDR, an id that begins with "sg_", or the id of a group of this document`,
		`{"protocol": "all", "source": "sg_"}`:                                         at + `.source: invalid "sg_": want a CIDR, an id that begins with "sg_", or the id of a group of this document`,
		`{"protocol": "all", "source": "@self"}`:                                       at + `.source: invalid "@self": want a CIDR, an id that begins with "sg_", or the id of a group of this document`,
		`{"protocol": "all", "source": "::/0", "destination": "::/0"}`:                 at + `.destination: invalid: ingress rules name their remote end as source`,
		`{"direction": "outbound", "protocol": "all", "source": "::/0"}`:               at + `.direction: conflict "outbound": the list is for ingress`,
		`{"protocol": "all", "source": "::/0", "id": "1"}`:                             at + `.id: unknown field`,
		`{"protocol": "all", "source": "::/0", "description": null}`:                   at + `.description: invalid: want a string, not null`,
		`{"protocol": "all", "source": "::/0"}, {"protocol": "ALL", "source": "::/0"}`: `inbound_rules[1]: duplicate: same traffic as ` + at,
		`7`: at + `: invalid: want an object, not a number`,
	} {
		codec.Faults(t, `{"name": "a", "inbound_rules": [`+rule+`]}`, want)
	}
}

func TestManyFaultsAtOnce(t *testing.T) {
	codec.Faults(t, `{"security_groups": [{"name": 5, "zz": 1, "inbound": [{"protocol": "gre", "port_range": "x", "source": 1}]},
	  {"name": "b", "created_at": "x", "outbound_rules": [{"protocol": "icmp", "port_range": "1", "source": "::/0", "yy": []}]}]}`,
		`security_groups[0].inbound[0].port_range: invalid "x": want a port ("443"), a range ("8000-9000") or "all", from 0 to 65535`,
		`security_groups[0].inbound[0].protocol: invalid "gre": want a protocol: tcp, udp, icmp, all`,
		`security_groups[0].inbound[0].source: invalid: want a string, not a number`,
		`security_groups[0].name: invalid: want a string, not a number`,
		`security_groups[0].zz: unknown field`,
		`security_groups[1].created_at: invalid "x": want a time as in RFC 3339, such as 2026-03-01T12:00:00Z`,
		`security_groups[1].outbound_rules[0].port_range: invalid "1": protocol icmp has no ports`,
		`security_groups[1].outbound_rules[0].source: invalid: egress rules name their remote end as destination`,
		`security_groups[1].outbound_rules[0].yy: unknown field`,
	)
}

func TestWrongInput(t *testing.T) {
	codec.Wrong(t, response, []string{
		`id="8"`, `name="8"`, `description=""`, `vpc_id=""`, `inbound_rules=[]`, `outbound_rules=[]`,
	}, nil)
	codec.Wrong(t, `{"security_groups": [`+response+`]}`, nil, nil)
}

func TestHostileDocuments(t *testing.T) {
	codec.Hostile(t, `{"name": "a", "inbound_rules": [`, `{"protocol": "all", "source": "sg_%d"}`, `]}`)
}

func sayable() *rapid.Generator[[]*sg.Group] {
	return wiretest.Groups(wiretest.Spec{
		IDs:     []sg.GroupID{"sg_web", "sg_db", "web", "b c"},
		RuleIDs: true,
		Group: func(g *sg.Group) {
			g.Scope, g.Stateless, g.Default = sg.Global(), false, false
			if wire.Time(g.Created) == "" {
				g.Created = time.Time{}
			}
		},
		Rule: func(r sg.Rule) sg.Rule {
			r.Family, r.ICMP = sg.FamilyAny, sg.ICMPMatch{}
			switch r.Protocol {
			case sg.TCP, sg.UDP, sg.ICMP, sg.AnyProtocol:
			default:
				r.Protocol, r.Ports = sg.AnyProtocol, sg.PortRange{}
			}
			id, ok := r.Peer.Group()
			if !ok && r.Peer.Kind() != sg.PeerIsCIDR || ok && id[:2] != "sg" {
				r.Peer = sg.PeerGroup("sg_x")
			}
			return r
		},
	})
}

func TestRoundTrip(t *testing.T) { codec.RoundTrip(t, sayable()) }
func TestAnyGroups(t *testing.T) { codec.Anything(t) }

// TestRefuses checks what the format can not say.
func TestRefuses(t *testing.T) {
	rule := func(id string, p sg.Protocol, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: sg.RuleID(id), Direction: sg.Ingress, Protocol: p, Peer: peer}
	}
	typed, family := rule("5", sg.ICMP, sg.PeerGroup("sg_a")), rule("6", sg.AnyProtocol, sg.PeerGroup("sg_a"))
	typed.ICMP, family.Family = sg.ICMPType(8), sg.IPv6
	codec.Refuses(t, []*sg.Group{{ID: "a", Name: "a", Stateless: true, Description: "\xff", Created: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Rules: []sg.Rule{
		rule("1", 47, sg.PeerGroup("a")), rule("2", sg.AnyProtocol, sg.PeerAny()), rule("3", sg.AnyProtocol, sg.PeerSet("s")),
		rule("4", sg.AnyProtocol, sg.PeerGroup("b")), typed, family, rule("7", sg.AnyProtocol, sg.PeerGroup("::1")), rule("8", sg.AnyProtocol, sg.PeerGroup(sg.SelfGroup)),
	}}},
		`groups["a"].created: the year does not have four digits`,
		`groups["a"].description: not valid UTF-8`,
		`groups["a"].rules[0].protocol: only tcp, udp, icmp and all`,
		`groups["a"].rules[1].family: any address is written "0.0.0.0/0" or "::/0", one rule each`,
		`groups["a"].rules[2].peer: only a CIDR or a group`,
		`groups["a"].rules[3].peer: the group is not among those written, and its id does not begin with "sg_"`,
		`groups["a"].rules[4].icmp: the format has no ICMP types`,
		`groups["a"].rules[5].family: a rule for a group is for both families`,
		`groups["a"].rules[6].peer: the id looks like an address`,
		`groups["a"].rules[7].peer: stands for any group, in profiles`,
		`groups["a"].rules[7].peer: the group is not among those written, and its id does not begin with "sg_"`,
		`groups["a"].stateless: groups are stateful here`,
	)
}

// TestLosses checks what is lost with a warning.
func TestLosses(t *testing.T) {
	_, warnings, err := nfyio.Encode([]*sg.Group{{ID: "a", Name: "a", Scope: sg.User("bo"), Default: true, Rules: []sg.Rule{
		{ID: "https", Direction: sg.Egress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
		{ID: "in-any-from-group-sg_b", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup("sg_b")},
	}}})
	require.NoError(t, err)
	require.Equal(t, []string{
		`groups["a"].scope: the format has no owner; "bo" is lost`,
		`groups["a"].default: the format does not tell the default group from others`,
		`groups["a"].rules[0].id: the format has no rule ids; "https" is lost`,
	}, wiretest.Warnings(warnings))
}

func TestEncodeInvalid(t *testing.T) {
	_, _, err := nfyio.Encode([]*sg.Group{nil, {ID: "a", Rules: []sg.Rule{{ID: "x"}}}, {ID: "a", Name: "a"}})
	require.ErrorIs(t, err, sg.ErrRequired)
	require.ErrorIs(t, err, sg.ErrDuplicate)
	require.ErrorContains(t, err, "groups[0]: required: no group")
	require.ErrorContains(t, err, `groups["a"].rules[0].direction: required`)
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		response, `{"security_groups": [` + response + `, {"name": "b", "outbound": []}]}`, `{"inbound": []}`,
		`{"direction": "inbound", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}`,
		`{"name": "a b", "inbound_rules": [{"protocol": "all", "source": "a b"}, {"protocol": "all", "source": "::1"}]}`,
		`{"name": "\ud83d\ude00", "outbound_rules": []}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { codec.Check(t, b) })
}
