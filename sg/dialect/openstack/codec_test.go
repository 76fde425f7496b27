package openstack_test

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
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/dialect/openstack"
)

// shown is an answer with every known field.
const shown = `{"security_groups": [
  {
    "id": "g-1", "name": "default", "description": null, "project_id": "p-1", "tenant_id": "p-1", "stateful": true, "shared": true,
    "tags": ["a"], "created_at": "2026-03-19T19:16:56Z", "updated_at": "2026-03-20T19:16:56Z", "revision_number": 4, "standard_attr_id": 77,
    "security_group_rules": [
      {"id": "r-1", "security_group_id": "g-1", "project_id": "p-1", "tenant_id": "p-1", "direction": "egress", "ethertype": "IPv4",
       "protocol": null, "port_range_min": null, "port_range_max": null, "remote_ip_prefix": null, "remote_group_id": null,
       "remote_address_group_id": null, "normalized_cidr": null, "description": null, "created_at": "2026-03-19T19:16:56Z",
       "updated_at": "2026-03-19T19:16:56Z", "revision_number": 0, "standard_attr_id": 78, "tags": [], "belongs_to_default_sg": true},
      {"id": "r-2", "security_group_id": "g-1", "direction": "ingress", "ethertype": "IPv6", "protocol": null, "remote_group_id": "g-1"},
      {"id": "r-3", "direction": "ingress", "ethertype": "IPv4", "protocol": "TCP", "port_range_min": 8000, "port_range_max": 9000,
       "remote_ip_prefix": "203.0.113.9/24", "normalized_cidr": "203.0.113.0/24", "description": "office"},
      {"id": "r-4", "direction": "ingress", "ethertype": "IPv4", "protocol": "udp", "remote_address_group_id": "ag-1"},
      {"id": "r-5", "direction": "ingress", "ethertype": "IPv4", "protocol": "icmp", "port_range_min": 3, "port_range_max": 4, "remote_ip_prefix": "0.0.0.0/0"},
      {"id": "r-6", "direction": "ingress", "ethertype": "IPv6", "protocol": "icmp", "port_range_min": 128},
      {"id": "r-7", "direction": "ingress", "ethertype": "IPv6", "protocol": "ipv6-icmp", "port_range_min": 129, "port_range_max": 0},
      {"id": "r-8", "direction": "ingress", "ethertype": "IPv4", "protocol": "112", "project_id": "p-2"},
      {"id": "r-9", "direction": "ingress", "ethertype": "IPv4", "protocol": "gre", "remote_ip_prefix": "192.0.2.1"},
      {"direction": "egress", "ethertype": "IPv6", "protocol": "sctp", "belongs_to_default_sg": false}
    ]
  },
  {"id": "g-2", "name": "b", "tenant_id": "p-2", "stateful": false, "shared": false, "security_group_rules": []}
], "security_groups_links": [{"rel": "next", "href": "https://example.com/v2.0/security-groups?marker=g-2"}]}`

func cidr(s string) sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix(s)) }

// GR-01, GR-02, RU-02, RU-04, RU-05, RU-06, RU-21, RU-23, RU-25, RU-29: every
// field that the model has, and a word about every other.
func TestDecodeShown(t *testing.T) {
	groups, ws, err := openstack.Decode([]byte(shown))
	require.NoError(t, err)
	in := func(id sg.RuleID, f sg.Family, p sg.Protocol, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Family: f, Protocol: p, Peer: peer}
	}
	want := []*sg.Group{{
		ID: "g-1", Name: "default", Scope: sg.User("p-1"), Default: true, Created: time.Date(2026, 3, 19, 19, 16, 56, 0, time.UTC),
		Rules: []sg.Rule{
			{ID: "r-1", Direction: sg.Egress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
			in("r-2", sg.IPv6, sg.AnyProtocol, sg.PeerGroup("g-1")), // EV-19
			in("r-3", sg.IPv4, sg.TCP, cidr("203.0.113.0/24")),
			in("r-4", sg.IPv4, sg.UDP, sg.PeerSet("ag-1")),
			in("r-5", sg.IPv4, sg.ICMP, cidr("0.0.0.0/0")),
			in("r-6", sg.IPv6, sg.ICMPv6, sg.PeerAny()),
			in("r-7", sg.IPv6, sg.ICMPv6, sg.PeerAny()),
			in("r-8", sg.IPv4, 112, sg.PeerAny()),
			in("r-9", sg.IPv4, 47, cidr("192.0.2.1/32")),
			{ID: "out-sctp-0-65535-ipv6-to-any", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.SCTP, Ports: sg.AllPorts(), Peer: sg.PeerAny()},
		},
	}, {ID: "g-2", Name: "b", Scope: sg.User("p-2"), Stateless: true}} // C3: an empty list has no rules
	rules := want[0].Rules
	rules[2].Ports, rules[2].Description = sg.PortRange{First: 8000, Last: 9000}, "office"
	rules[3].Ports = sg.AllPorts()
	rules[4].ICMP, rules[5].ICMP, rules[6].ICMP = sg.ICMPTypeCode(3, 4), sg.ICMPType(128), sg.ICMPTypeCode(129, 0)
	require.Equal(t, want, groups)
	g, r := "security_groups[0].", "security_groups[0].security_group_rules"
	require.ElementsMatch(t, []string{
		g + "shared", g + "tags", g + "updated_at", g + "revision_number", g + "standard_attr_id",
		r + "[0].created_at", r + "[0].updated_at", r + "[0].revision_number", r + "[0].standard_attr_id",
		r + "[2].remote_ip_prefix", r + "[7].project_id", r + "[9].belongs_to_default_sg", "security_groups_links",
	}, wiretest.Paths(ws))
}

// C3: absent rules are those of a new group, as in a request; empty is none.
func TestAbsentRules(t *testing.T) {
	groups, ws, err := openstack.Decode([]byte(`{"security_group": {"id": "g", "name": "a"}}`))
	require.NoError(t, err)
	require.Empty(t, ws)
	require.Equal(t, sg.Template(openstack.Profile().NewGroup, "g", sg.Egress), groups[0].Rules)
	groups, _, err = openstack.Decode([]byte(`{"security_group": {"id": "g", "name": "a", "security_group_rules": []}}`))
	require.NoError(t, err)
	require.Empty(t, groups[0].Rules)
	groups, _, err = openstack.Decode([]byte(`{"security_groups": []}`))
	require.NoError(t, err)
	require.NotNil(t, groups)
	require.Empty(t, groups)
}

// The names of Neutron, and every number, are read and written back.
func TestProtocols(t *testing.T) {
	decode := func(text string) sg.Protocol {
		groups, _, err := openstack.Decode([]byte(rule(fmt.Sprintf(`"ethertype": "IPv6", "protocol": %q`, text))))
		require.NoError(t, err, text)
		return groups[0].Rules[0].Protocol
	}
	for text, want := range map[string]sg.Protocol{
		"tcp": 6, "udp": 17, "sctp": 132, "icmp": 58, "icmpv6": 58, "ipv6-icmp": 58, "ICMPv6": 58, "ah": 51, "dccp": 33, "egp": 8, "esp": 50,
		"gre": 47, "igmp": 2, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89,
		"pgm": 113, "rsvp": 46, "udplite": 136, "vrrp": 112, "any": sg.AnyProtocol, "0": sg.AnyProtocol, "1": 58,
	} {
		require.Equal(t, want, decode(text), text)
	}
	for p := sg.Protocol(2); p <= 255; p++ {
		require.Equal(t, p, decode(fmt.Sprint(int(p))))
	}
}

// rule wraps fields in a sound rule of a sound group; a field given again
// takes the place of the sound one.
func rule(fields string) string {
	all := []string{`"id": "r"`, `"direction": "ingress"`, `"ethertype": "IPv4"`}
	out := []string{}
	for _, f := range all {
		if !strings.Contains(fields, strings.SplitN(f, ":", 2)[0]+":") {
			out = append(out, f)
		}
	}
	if fields != "" {
		out = append(out, fields)
	}
	return `{"security_group": {"id": "g", "name": "a", "security_group_rules": [{` + strings.Join(out, ", ") + `}]}}`
}

// Every fault alone, with its path (RU-10, RU-12, RU-13, RU-22, RU-25, RU-26, RU-30).
func TestDecodeFaults(t *testing.T) {
	r := "security_group.security_group_rules[0]"
	tcp := `"protocol": "tcp", `
	group := func(fields string) string {
		return `{"security_groups": [{"name": "a", "security_group_rules": []` + fields + `}]}`
	}
	without := func(doc, field string) string { return strings.Replace(doc, field, "", 1) }
	for _, c := range []struct{ name, doc, want string }{
		{"empty", ``, ": invalid"},
		{"truncated", `{"security_groups": [{"id": "a"`, ": invalid"},
		{"no object", `"x"`, ": invalid"},
		{"half a character", `{"security_groups": [], "\ud800": 1}`, ": invalid"},
		{"deep", strings.Repeat("[", 40), ": invalid"},
		{"neither", `{}`, "security_groups: required"},
		{"both", `{"security_group": {"id": "g", "name": "a"}, "security_groups": []}`, "security_groups: invalid"},
		{"null", `{"security_groups": null}`, "security_groups: invalid"},
		{"list as one", `{"security_group": []}`, "security_group: invalid"},
		{"unknown at the root", `{"security_groups": [], "links": []}`, "links: unknown field"},
		{"element", `{"security_groups": [null]}`, "security_groups[0]: invalid"},
		{"no id", group(``), "security_groups[0].id: required"},
		{"id as number", group(`, "id": 5`), "security_groups[0].id: invalid"},
		{"null id", group(`, "id": null`), "security_groups[0].id: invalid"},
		{"blank in an id", group(`, "id": "a b"`), "security_groups[0].id: invalid"},
		{"placeholder id", group(`, "id": "@self"`), "security_groups[0].id: invalid"},
		{"no name", `{"security_group": {"id": "g", "security_group_rules": []}}`, "security_group.name: required"},
		{"repeated group", `{"security_groups": [{"id": "g", "name": "a"}, {"id": "g", "name": "b"}]}`, "security_groups[1].id: duplicate"},
		{"repeated field", group(`, "id": "g", "name": "b"`), "security_groups[0].name: duplicate"},
		{"unknown field", group(`, "id": "g", "rules": []`), "security_groups[0].rules: unknown field"},
		{"odd key", group(`, "id": "g", "a.b": 1`), `security_groups[0]["a.b"]: unknown field`},
		{"stateful as text", group(`, "id": "g", "stateful": "true"`), "security_groups[0].stateful: invalid"},
		{"null stateful", group(`, "id": "g", "stateful": null`), "security_groups[0].stateful: invalid"},
		{"null project", group(`, "id": "g", "project_id": null`), "security_groups[0].project_id: invalid"},
		{"two projects", group(`, "id": "g", "project_id": "a", "tenant_id": "b"`), "security_groups[0].tenant_id: conflict"},
		{"created", group(`, "id": "g", "created_at": "2026-03-19"`), "security_groups[0].created_at: invalid"},
		{"created before the year 0", group(`, "id": "g", "created_at": "0000-01-01T00:00:00+01:00"`), "security_groups[0].created_at: invalid"},
		{"created empty", group(`, "id": "g", "created_at": ""`), "security_groups[0].created_at: invalid"},
		{"tags", group(`, "id": "g", "tags": ["a", 1]`), "security_groups[0].tags[1]: invalid"},
		{"revision as text", group(`, "id": "g", "revision_number": "4"`), "security_groups[0].revision_number: invalid"},
		{"null rules", `{"security_group": {"id": "g", "name": "a", "security_group_rules": null}}`, "security_group.security_group_rules: invalid"},

		{"empty rule id", rule(`"id": ""`), r + ".id: required"},
		{"null rule id", rule(`"id": null`), r + ".id: invalid"},
		{"another group", rule(`"security_group_id": "h"`), r + ".security_group_id: conflict"},
		{"no direction", without(rule(``), `"direction": "ingress", `), r + ".direction: required"},
		{"inbound", rule(`"direction": "inbound"`), r + ".direction: invalid"},
		{"no ethertype", without(rule(``), `, "ethertype": "IPv4"`), r + ".ethertype: required"},
		{"ethertype any", rule(`"ethertype": "any"`), r + ".ethertype: invalid"},
		{"null ethertype", rule(`"ethertype": null`), r + ".ethertype: invalid"},
		{"unknown in a rule", rule(`"action": "deny"`), r + ".action: unknown field"},
		{"protocol as number", rule(`"protocol": 6`), r + ".protocol: invalid"},
		{"protocol all", rule(`"protocol": "all"`), r + ".protocol: invalid"},
		{"protocol empty", rule(`"protocol": ""`), r + ".protocol: invalid"},
		{"protocol 256", rule(`"protocol": "256"`), r + ".protocol: invalid"},
		{"ICMPv6 in IPv4", rule(`"protocol": "icmpv6"`), r + ".protocol: address family mismatch"},
		{"ipv6-encap in IPv4", rule(`"protocol": "41"`), r + ".protocol: address family mismatch"},
		{"port as text", rule(tcp + `"port_range_min": "1", "port_range_max": 2`), r + ".port_range_min: invalid"},
		{"port 0", rule(tcp + `"port_range_min": 0, "port_range_max": 2`), r + ".port_range_min: invalid"},
		{"port too large", rule(tcp + `"port_range_min": 1, "port_range_max": 65536`), r + ".port_range_max: invalid"},
		{"ports reversed", rule(tcp + `"port_range_min": 2, "port_range_max": 1`), r + ".port_range_min: invalid"},
		{"only first", rule(tcp + `"port_range_min": 2`), r + ".port_range_max: required"},
		{"only last", rule(tcp + `"port_range_min": null, "port_range_max": 2`), r + ".port_range_min: required"},
		{"ports without protocol", rule(`"port_range_min": 2`), r + ".port_range_min: invalid"},
		{"ports of GRE", rule(`"protocol": "gre", "port_range_max": 2`), r + ".port_range_max: invalid"},
		{"ports of DCCP", rule(`"protocol": "dccp", "port_range_min": 2`), r + ".port_range_min: unsupported"},
		{"ICMP code alone", rule(`"protocol": "icmp", "port_range_max": 2`), r + ".port_range_max: invalid"},
		{"ICMP type too large", rule(`"protocol": "icmp", "port_range_min": 256`), r + ".port_range_min: invalid"},
		{"two remotes", rule(`"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": "g"`), r + ".remote_group_id: invalid"},
		{"remote empty", rule(`"remote_group_id": ""`), r + ".remote_group_id: required"},
		{"remote blank", rule(`"remote_address_group_id": "a b"`), r + ".remote_address_group_id: invalid"},
		{"prefix of IPv6", rule(`"remote_ip_prefix": "::/0"`), r + ".remote_ip_prefix: address family mismatch"},
		{"prefix of IPv4", rule(`"ethertype": "IPv6", "remote_ip_prefix": "0.0.0.0/0"`), r + ".remote_ip_prefix: address family mismatch"},
		{"mapped prefix", rule(`"ethertype": "IPv6", "remote_ip_prefix": "::ffff:10.0.0.1/104"`), r + ".remote_ip_prefix: invalid"},
		{"no prefix", rule(`"remote_ip_prefix": "web"`), r + ".remote_ip_prefix: invalid"},
		{"normalized differs", rule(`"remote_ip_prefix": "10.0.0.1/8", "normalized_cidr": "10.0.0.0/9"`), r + ".normalized_cidr: conflict"},
		{"normalized alone", rule(`"normalized_cidr": "10.0.0.0/8"`), r + ".normalized_cidr: conflict"},
		{"default as text", rule(`"belongs_to_default_sg": "true"`), r + ".belongs_to_default_sg: invalid"},
		{"duplicate", strings.Replace(rule(``), `}]`, `}, {"id": "s", "direction": "ingress", "ethertype": "IPv4", "remote_ip_prefix": "0.0.0.0/0"}]`, 1), "security_group.security_group_rules[1]: duplicate"},
		{"repeated rule id", strings.Replace(rule(``), `}]`, `}, {"id": "r", "direction": "egress", "ethertype": "IPv4"}]`, 1), "security_group.security_group_rules[1].id: duplicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, ws, err := openstack.Decode([]byte(c.doc))
			assert.Nil(t, groups)
			assert.Nil(t, ws)
			require.Error(t, err)
			require.Equal(t, []string{c.want}, wiretest.Faults(t, err))
			wiretest.CheckErrors(t, err)
		})
	}
}

func TestDecodeManyFaults(t *testing.T) {
	_, _, err := openstack.Decode([]byte(`{"security_groups": [
	  {"name": "", "stateful": 1, "security_group_rules": [{"protocol": "tcp", "port_range_min": "1", "remote_ip_prefix": "x"}, 5]},
	  {"id": "g", "name": "a", "security_group_rules": [{"id": "r", "direction": "up", "ethertype": "IPv4", "x": null, "x": 1}]}]}`))
	r := "security_groups[0].security_group_rules"
	require.Equal(t, []string{
		"security_groups[0].id: required",
		"security_groups[0].name: required",
		r + "[0].direction: required",
		r + "[0].ethertype: required",
		r + "[0].port_range_min: invalid",
		r + "[0].remote_ip_prefix: invalid",
		r + "[1]: invalid",
		"security_groups[0].stateful: invalid",
		"security_groups[1].security_group_rules[0].direction: invalid",
		"security_groups[1].security_group_rules[0].x: duplicate",
		"security_groups[1].security_group_rules[0].x: unknown field",
	}, wiretest.Faults(t, err))
}

func TestEncodeRefuses(t *testing.T) {
	sound := sg.Rule{ID: "r", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(1), Peer: sg.PeerGroup("h")}
	with := func(change func(*sg.Rule)) *sg.Group {
		r := sound
		r.ID, r.Ports = "s", sg.Port(2)
		change(&r)
		return &sg.Group{ID: "g", Name: "a", Rules: []sg.Rule{sound, r}}
	}
	ok := with(func(*sg.Rule) {})
	rule := `groups["g"].rules[1].`
	for _, c := range []struct {
		name   string
		groups []*sg.Group
		want   string
	}{
		{"nil", []*sg.Group{ok, nil}, "groups[1]: required"},
		{"repeated", []*sg.Group{ok, ok}, `groups["g"]: duplicate`},
		{"invalid", []*sg.Group{with(func(r *sg.Rule) { r.Ports = sg.PortRange{} })}, rule + "ports: required"},
		{"blank", []*sg.Group{{ID: "g g", Name: "a"}}, `groups["g g"].id: unsupported`},
		{"text", []*sg.Group{{ID: "g", Name: "a", Description: "\xff"}}, `groups["g"].description: unsupported`},
		{"owner", []*sg.Group{{ID: "g", Name: "a", Scope: sg.User("\xff")}}, `groups["g"].scope: unsupported`},
		{"VPC", []*sg.Group{{ID: "g", Name: "a", VPC: "v"}}, `groups["g"].vpc: unsupported`},
		{"year", []*sg.Group{{ID: "g", Name: "a", Created: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}, `groups["g"].created: unsupported`},
		{"both families", []*sg.Group{with(func(r *sg.Rule) { r.Family = sg.FamilyAny })}, rule + "family: unsupported"},
		{"port 0", []*sg.Group{with(func(r *sg.Rule) { r.Ports = sg.PortRange{First: 0, Last: 5} })}, rule + "ports: unsupported"},
		{"IPv6 only", []*sg.Group{with(func(r *sg.Rule) { r.Protocol, r.Ports = 41, sg.PortRange{} })}, rule + "protocol: unsupported"},
		{"blank peer", []*sg.Group{with(func(r *sg.Rule) { r.Peer = sg.PeerSet("a b") })}, rule + "peer: unsupported"},
		{"placeholder", []*sg.Group{with(func(r *sg.Rule) { r.Peer = sg.PeerGroup(sg.SelfGroup) })}, rule + "peer: unsupported"},
		{"rule text", []*sg.Group{with(func(r *sg.Rule) { r.Description = "\xff" })}, rule + "description: unsupported"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, _, err := openstack.Encode(c.groups)
			assert.Nil(t, b)
			require.Error(t, err)
			require.Equal(t, []string{c.want}, wiretest.Faults(t, err))
		})
	}
}

func TestEncodeWarns(t *testing.T) {
	b, ws, err := openstack.Encode([]*sg.Group{{ID: "g", Name: "a", Default: true}})
	require.NoError(t, err)
	require.Equal(t, []string{`groups["g"].default`}, wiretest.Paths(ws))
	require.Contains(t, string(b), `"security_group_rules": []`) // C3: none, not those of a new group
}

// The groups that the profile makes can be said.
func TestProfileGroups(t *testing.T) {
	p := openstack.Profile()
	for _, tmpl := range [][]sg.Rule{p.NewGroup, p.DefaultGroup} {
		g := &sg.Group{ID: "g", Name: "a"}
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			g.Rules = append(g.Rules, sg.Template(tmpl, "g", d)...)
		}
		b, _, err := openstack.Encode([]*sg.Group{g})
		require.NoError(t, err)
		back, _, err := openstack.Decode(b)
		require.NoError(t, err)
		require.Equal(t, keys([]*sg.Group{g}), keys(back))
	}
}

// A large document takes bounded time, whether sound or not; and the size has
// a limit.
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
		return []byte(`{"security_group": {"id": "g", "name": "a", "security_group_rules": [` + strings.Join(parts, ",") + `]}}`)
	}
	for _, c := range []struct {
		name string
		doc  []byte
		ok   bool
	}{
		{"sound", list(func(i int) string {
			return fmt.Sprintf(`{"direction": "ingress", "ethertype": "IPv4", "remote_group_id": "g%d"}`, i)
		}), true},
		{"duplicates", list(func(int) string { return `{"direction": "ingress", "ethertype": "IPv4"}` }), false},
		{"faulty", list(func(int) string { return `{"x": null}` }), false},
		{"brackets", []byte(strings.Repeat("[", 10<<20)), false},
		{"fields", []byte(`{` + strings.Repeat(`"a": 1, `, 10<<17) + `"b": 1}`), false},
		{"too large", slices.Repeat([]byte{' '}, 64<<20+1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, _, err := openstack.Decode(c.doc)
			require.Less(t, time.Since(start), time.Minute)
			require.Equal(t, c.ok, err == nil)
			if err != nil {
				wiretest.CheckErrors(t, err)
			}
		})
	}
}
