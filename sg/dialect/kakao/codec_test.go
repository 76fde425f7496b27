package kakao_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/dialect/kakao"
)

var codec = wiretest.Codec{Decode: kakao.Decode, Encode: kakao.Encode}

func rules(g *sg.Group) []string {
	var out []string
	for _, r := range g.Rules {
		out = append(out, string(r.ID))
	}
	return out
}

const web = `{
  "name": "web", "description": "front", "vpc": "vpc-1",
  "inbound_rules": [
    {"protocol": "TCP", "source": "0.0.0.0/0", "port": "80", "description": "HTTP"},
    {"protocol": "tcp", "source": "203.0.113.0/24", "port": "1000-2000", "description": ""},
    {"protocol": "ICMP", "source": "198.51.100.7", "port": ""}],
  "outbound_rules": [
    {"protocol": "TCP", "destination": "10.0.2.0/24", "port": "1433"},
    {"protocol": "TCP", "destination": "169.254.169.0/24", "port": "80", "description": "metadata"},
    {"protocol": "UDP", "destination": "@db", "port": "all"},
    {"protocol": "ALL", "destination": "@web"}]}`

// TestTables reads the tables of the document: a web server, and what it may
// reach (RU-03, RU-06, RU-14, RU-16, RU-17, RU-20, RU-29, EV-20).
func TestTables(t *testing.T) {
	g := codec.Groups(t, web)[0]
	require.Equal(t, &sg.Group{ID: "web", Name: "web", Description: "front", VPC: "vpc-1", Rules: g.Rules}, g)
	require.Equal(t, []string{
		"in-tcp-80-from-0.0.0.0/0", "in-tcp-1000-2000-from-203.0.113.0/24", "in-icmp-from-198.51.100.7/32",
		"out-tcp-1433-to-10.0.2.0/24", "out-tcp-80-to-169.254.169.0/24", "out-udp-0-65535-to-group-db", "out-any-to-group-web",
	}, rules(g))
	require.Equal(t, "HTTP", g.Rules[0].Description)
}

// TestDefaultGroup reads the default group as the document shows it, and one
// whose rules are not given (GR-13, GR-14).
func TestDefaultGroup(t *testing.T) {
	g := codec.Groups(t, `{"name": "default", "inbound_rules": [{"protocol": "TCP", "source": "@default", "port": "ALL"}],
	  "outbound_rules": [{"protocol": "ALL", "destination": "0.0.0.0/0", "port": "ALL"}]}`)[0]
	require.True(t, g.Default)
	require.Equal(t, []string{"in-tcp-0-65535-from-group-default", "out-any-to-0.0.0.0/0"}, rules(g))
	require.True(t, g.Rules[0].Ports.IsAll())

	g = codec.Groups(t, `{"id": "g-1", "name": "default"}`)[0]
	require.Equal(t, []string{"default-self", "default-egress", "default-metadata"}, rules(g))
	require.Equal(t, sg.PeerGroup("g-1"), g.Rules[0].Peer)
}

// TestAbsentLists: absent is not empty (C3, GR-10).
func TestAbsentLists(t *testing.T) {
	for doc, want := range map[string][]string{
		`{"name": "a"}`:                       {"default-egress"},
		`{"name": "a", "inbound_rules": []}`:  {"default-egress"},
		`{"name": "a", "outbound_rules": []}`: nil,
		`{"name": "a", "outbound_rules": [{"protocol": "ALL", "destination": "::/0", "port": ""}]}`: {"out-any-to-::/0"},
	} {
		g := codec.Groups(t, doc)[0]
		require.Equal(t, want, rules(g), doc)
		require.False(t, g.Default)
	}
}

// TestNames: @name is the group of that name, of the same VPC first; a name
// that the document does not have is taken for an id (RU-20).
func TestNames(t *testing.T) {
	rule := `"outbound_rules": [], "inbound_rules": [{"protocol": "ALL", "source": "@app"}]}`
	groups := codec.Groups(t, `{"security_groups": [
	  {"id": "1", "name": "app", "vpc": "x", "outbound_rules": []}, {"id": "2", "name": "app", "vpc": "y", "outbound_rules": []},
	  {"name": "a", "vpc": "x", `+rule+`, {"name": "b", "vpc": "y", `+rule+`]}`)
	require.Equal(t, sg.PeerGroup("1"), groups[2].Rules[0].Peer)
	require.Equal(t, sg.PeerGroup("2"), groups[3].Rules[0].Peer)
	groups = codec.Groups(t, `{"security_groups": [{"id": "1", "name": "app", "vpc": "x"}, {"name": "a", "vpc": "y", `+rule+`]}`)
	require.Equal(t, sg.PeerGroup("1"), groups[1].Rules[0].Peer, "the only one of that name")
	require.Equal(t, sg.PeerGroup("app"), codec.Groups(t, `{"name": "a", `+rule)[0].Rules[0].Peer, "not in the document")

	codec.Faults(t, `{"security_groups": [{"id": "1", "name": "app", "vpc": "x"}, {"id": "2", "name": "app", "vpc": "y"}, {"name": "a", `+rule+`]}`,
		`security_groups[2].inbound_rules[0].source: invalid "@app": 2 groups of other VPCs have that name`)
	codec.Faults(t, `{"security_groups": [{"id": "app", "name": "other"}, {"name": "a", `+rule+`]}`,
		`security_groups[1].inbound_rules[0].source: not found "@app": no group has that name, but one has it for an id; use its name`)
}

func TestGroupFaults(t *testing.T) {
	for doc, want := range map[string]string{
		`{}`:                                   `name: required`,
		`{"name": "a", "vpc": 1}`:              `vpc: invalid: want a string, not a number`,
		`{"name": "a", "vpc_id": "v"}`:         `vpc_id: unknown field`,
		`{"name": "a", "inbound_rules": null}`: `inbound_rules: invalid: want an array, not null`,
		// GR-05
		`{"security_groups": [{"name": "a"}, {"name": "a"}]}`:                                               `security_groups[1].name: duplicate "a": the id of security_groups[0].name`,
		`{"security_groups": [{"id": "1", "name": "a", "vpc": "v"}, {"id": "2", "name": "a", "vpc": "v"}]}`: `security_groups[1].name: duplicate "a": another group of the VPC has it`,
		`{"security_groups": [{"id": "1", "name": "a"}, {"id": "1", "name": "b"}]}`:                         `security_groups[1].id: duplicate "1": the id of security_groups[0].id`,
	} {
		codec.Faults(t, doc, want)
	}
}

// TestRuleFaults checks each fault of a rule alone.
func TestRuleFaults(t *testing.T) {
	for rule, want := range map[string]string{
		`"port": "1", "source": "::/0"`:                                                             `.protocol: required`,
		`"protocol": "ANY", "source": "::/0"`:                                                       `.protocol: invalid "ANY": want a protocol: tcp, udp, icmp, all`,
		`"protocol": "TCP", "source": "::/0"`:                                                       `.port: required: a port, a range, or "ALL"`,
		`"protocol": "TCP", "port": "", "source": "::/0"`:                                           `.port: required: a port, a range, or "ALL"`,
		`"protocol": "TCP", "port": 80, "source": "::/0"`:                                           `.port: invalid: want a string, not a number`,
		`"protocol": "TCP", "port": "080", "source": "::/0"`:                                        `.port: invalid "080": want a port ("443"), a range ("8000-9000") or "all", from 0 to 65535`,
		`"protocol": "UDP", "port": "2-1", "source": "::/0"`:                                        `.port: invalid "2-1": the first port is above the last`,
		`"protocol": "ICMP", "port": "8", "source": "0.0.0.0/0"`:                                    `.port: invalid "8": protocol icmp has no ports; leave it empty, or "ALL"`, // RU-13
		`"protocol": "ALL", "port": "0-65535", "source": "::/0"`:                                    `.port: invalid "0-65535": protocol any has no ports; leave it empty, or "ALL"`,
		`"protocol": "ALL", "port": null, "source": "::/0"`:                                         `.port: invalid: want a string, not null`,
		`"protocol": "ICMP", "source": "::/0"`:                                                      `.protocol: address family mismatch "icmp": icmp exists in ipv4 only`,
		`"protocol": "ALL"`:                                                                         `.source: required`,
		`"protocol": "ALL", "source": "@"`:                                                          `.source: required: group id must not be empty`,
		`"protocol": "ALL", "source": "@@self"`:                                                     `.source: invalid "@self": stands for any group, in profiles`,
		`"protocol": "ALL", "source": "web"`:                                                        `.source: invalid "web": want an address or a CIDR`,
		`"protocol": "ALL", "source": "10.0.0.1/8"`:                                                 `.source: invalid "10.0.0.1/8": has host bits; did you mean 10.0.0.0/8?`,
		`"protocol": "ALL", "source": "::/0", "destination": "::/0"`:                                `.destination: unknown field`,
		`"protocol": "ALL", "source": "::/0", "id": "1"`:                                            `.id: unknown field`,
		`"protocol": "ALL", "source": "::/0"}, {"protocol": "ALL", "port": "ALL", "source": "::/0"`: `: duplicate: same traffic as inbound_rules[0]`,
	} {
		at := "inbound_rules[0]"
		if strings.HasPrefix(want, ":") {
			at = "inbound_rules[1]"
		}
		codec.Faults(t, `{"name": "a", "inbound_rules": [{`+rule+`}]}`, at+want)
	}
}

func TestManyFaultsAtOnce(t *testing.T) {
	codec.Faults(t, `{"security_groups": [{"description": 1, "inbound_rules": [{"protocol": 6, "port": "x", "source": "x", "zz": 1}, 1]},
	  {"name": "b", "yy": 1, "outbound_rules": [{"protocol": "TCP", "source": "::/0"}]}]}`,
		`security_groups[0].description: invalid: want a string, not a number`,
		`security_groups[0].inbound_rules[0].port: invalid "x": want a port ("443"), a range ("8000-9000") or "all", from 0 to 65535`,
		`security_groups[0].inbound_rules[0].protocol: invalid: want a string, not a number`,
		`security_groups[0].inbound_rules[0].source: invalid "x": want an address or a CIDR`,
		`security_groups[0].inbound_rules[0].zz: unknown field`,
		`security_groups[0].inbound_rules[1]: invalid: want an object, not a number`,
		`security_groups[0].name: required`,
		`security_groups[1].outbound_rules[0].destination: required`,
		`security_groups[1].outbound_rules[0].port: required: a port, a range, or "ALL"`,
		`security_groups[1].outbound_rules[0].source: unknown field`,
		`security_groups[1].yy: unknown field`,
	)
}

func TestWrongInput(t *testing.T) {
	codec.Wrong(t, web, nil, nil)
	codec.Wrong(t, `{"security_groups": [`+web+`]}`, nil, nil)
}

func TestHostileDocuments(t *testing.T) {
	codec.Hostile(t, `{"name": "a", "inbound_rules": [`, `{"protocol": "ALL", "source": "@group %d"}`, `]}`)
}

func sayable() *rapid.Generator[[]*sg.Group] {
	return wiretest.Groups(wiretest.Spec{
		RuleIDs: true,
		Group: func(g *sg.Group) {
			g.Scope, g.Stateless, g.Created = sg.Global(), false, time.Time{}
			g.Name = string(g.ID) // names then tell groups apart
			if g.ID == "a b" {
				g.Name = "A name"
			}
			g.Default = g.Name == "default"
		},
		Rule: func(r sg.Rule) sg.Rule {
			r.Family, r.ICMP = sg.FamilyAny, sg.ICMPMatch{}
			switch r.Protocol {
			case sg.TCP, sg.UDP, sg.ICMP, sg.AnyProtocol:
			default:
				r.Protocol, r.Ports = sg.AnyProtocol, sg.PortRange{}
			}
			if k := r.Peer.Kind(); k != sg.PeerIsCIDR && k != sg.PeerIsGroup {
				r.Peer = sg.PeerGroup("web")
			}
			return r
		},
	})
}

func TestRoundTrip(t *testing.T) { codec.RoundTrip(t, sayable()) }
func TestAnyGroups(t *testing.T) { codec.Anything(t) }

// TestRefuses checks what the format can not say.
func TestRefuses(t *testing.T) {
	rule := func(id sg.RuleID, p sg.Protocol, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Egress, Protocol: p, Peer: peer}
	}
	typed, family := rule("4", sg.ICMP, sg.PeerGroup("x")), rule("5", sg.AnyProtocol, sg.PeerGroup("x"))
	typed.ICMP, family.Family = sg.ICMPType(8), sg.IPv6
	codec.Refuses(t, []*sg.Group{
		{ID: "a", Name: "default", Stateless: true, Rules: []sg.Rule{
			rule("1", 47, sg.PeerGroup("x")), rule("2", sg.AnyProtocol, sg.PeerAny()), rule("3", sg.AnyProtocol, sg.PeerSet("s")), typed, family,
			rule("6", sg.AnyProtocol, sg.PeerGroup("app")), rule("7", sg.AnyProtocol, sg.PeerGroup("b")),
		}},
		{ID: "b", Name: "app", VPC: "v"}, {ID: "c", Name: "app", VPC: "w"}, {ID: "d", Name: "app", VPC: "w", Default: true},
	},
		`groups["a"].default: the default group is the one named "default"`,
		`groups["a"].rules[0].protocol: only TCP, UDP, ICMP and ALL`,
		`groups["a"].rules[1].family: any address is written "0.0.0.0/0" or "::/0", one rule each`,
		`groups["a"].rules[2].peer: only a CIDR or a group`,
		`groups["a"].rules[3].icmp: the format has no ICMP types`,
		`groups["a"].rules[4].family: a rule for a group is for both families`,
		`groups["a"].rules[5].peer: its name means another group here`,
		`groups["a"].rules[6].peer: its name means another group here`,
		`groups["a"].stateless: groups are stateful here`,
		`groups["d"].default: the default group is the one named "default"`,
		`groups["d"].name: another group of the VPC has it`,
	)
}

func TestLosses(t *testing.T) {
	_, warnings, err := kakao.Encode([]*sg.Group{{ID: "a", Name: "a", Scope: sg.User("bo"), Created: time.Unix(1, 0), Rules: kakao.Profile().NewGroup}})
	require.NoError(t, err)
	require.Equal(t, []string{
		`groups["a"].scope: the format has no owner; "bo" is lost`, `groups["a"].created: the format has no time of creation`,
		`groups["a"].rules[0].id: the format has no rule ids; "default-egress" is lost`,
	}, wiretest.Warnings(warnings))
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		web, `{"security_groups": [` + web + `, {"name": "default"}, {"id": "7", "name": "db", "vpc": "vpc-1", "outbound_rules": []}]}`,
		`{"security_groups": [{"id": "1", "name": "a", "vpc": "v"}, {"id": "2", "name": "a", "inbound_rules": [{"protocol": "ALL", "source": "@a"}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { codec.Check(t, b) })
}
