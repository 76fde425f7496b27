package document_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// packageDoc is the example of the package doc.
const packageDoc = `{"profile": "aws",
 "security_groups": [{"id": "sg-web", "name": "web", "description": "", "vpc_id": "vpc-1", "owner": "", "stateful": true,
    "inbound_rules":  [{"id": "https", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0", "description": ""}],
    "outbound_rules": [{"id": "db", "protocol": "tcp", "port_range": "5432", "destination": "sg-db"}]}],
 "ip_sets": [{"id": "ips-office", "name": "office", "ip_version": "ipv4", "entries": [{"cidr": "198.51.100.0/24", "description": ""}]}],
 "interfaces": [{"id": "web-1", "vpc_id": "vpc-1", "owner": "", "kind": "", "addresses": ["10.0.0.5", "fd00::5"],
    "security_group_ids": ["sg-web"], "exempt": ["smtp"]}]}`

func options() document.Options { return document.Options{Profiles: dialect.Profile} }

func decode(text string) (*policy.Snapshot, error) { return document.Decode([]byte(text), options()) }

func mustDecode(t testing.TB, text string) *policy.Snapshot {
	t.Helper()
	s, err := decode(text)
	require.NoError(t, err, "%.2000s", text)
	return s
}

// lines lists the faults of err as "path: kind".
func lines(t testing.TB, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var all sg.Errors
	require.ErrorAs(t, err, &all)
	var out []string
	for _, f := range all {
		out = append(out, f.Path+": "+f.Err.Error())
	}
	return out
}

// whole is packageDoc with the group that it refers to.
func whole() string {
	return strings.Replace(packageDoc, `"security_groups": [`, `"security_groups": [{"id": "sg-db", "name": "db", "vpc_id": "vpc-1"}, `, 1)
}

func TestPackageDoc(t *testing.T) {
	_, err := decode(packageDoc)
	require.Equal(t, []string{"security_groups[0].outbound_rules[0].destination: not found"}, lines(t, err), "sg-db is left out for brevity")

	s := mustDecode(t, whole())
	require.Equal(t, policy.Size{Groups: 2, Sets: 1, Interfaces: 1}, s.Size())
	g, ok := s.Group("sg-web")
	require.True(t, ok)
	require.Equal(t, []sg.Rule{
		{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: cidr("0.0.0.0/0")},
		{ID: "db", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(5432), Peer: sg.PeerGroup("sg-db")},
	}, g.Rules)
	i, ok := s.Interface("web-1")
	require.True(t, ok)
	require.Equal(t, &sg.Interface{
		ID: "web-1", VPC: "vpc-1", Addrs: []netip.Prefix{prefix("10.0.0.5/32"), prefix("fd00::5/128")},
		Groups: []sg.GroupID{"sg-web"}, Exempt: []string{"smtp"},
	}, i)
	set, ok := s.Set("ips-office")
	require.True(t, ok)
	require.Equal(t, sg.IPv4, set.Family())
	require.True(t, set.Contains(netip.MustParseAddr("198.51.100.7")))
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func cidr(s string) sg.Peer        { return sg.PeerCIDR(prefix(s)) }

// TestAbsentAndEmpty: C3, GR-08 to GR-12. A list that is absent gets what the
// profile gives to new groups; one that is empty has no rules.
func TestAbsentAndEmpty(t *testing.T) {
	const absent, empty = "", `"outbound_rules": [], `
	for _, c := range []struct {
		profile, outbound string
		want              []string
	}{
		{"aws", absent, []string{"default-egress-ipv4 any 0.0.0.0/0", "default-egress-ipv6 any ::/0"}},
		{"aws", empty, nil},
		{"nfyio", absent, []string{"default-egress any 0.0.0.0/0"}},
		{"nfyio", empty, nil},
		{"strict", absent, nil},
		{"strict", empty, nil},
	} {
		for _, inbound := range []string{"", `"inbound_rules": [], `} {
			s := mustDecode(t, `{"profile": "`+c.profile+`", "security_groups": [{`+c.outbound+inbound+`"id": "g", "name": "g"}]}`)
			g, _ := s.Group("g")
			var got []string
			for _, r := range g.Rules {
				require.Equal(t, sg.Egress, r.Direction)
				require.NotEmpty(t, r.Origin, "Explain names what added it")
				got = append(got, fmt.Sprint(r.ID, " ", r.Protocol, " ", r.Peer))
			}
			require.Equal(t, c.want, got, "%s %q", c.profile, c.outbound)
		}
	}
}

// TestTemplate: a new group of some cloud may refer to itself; what the
// document says keeps its id.
func TestTemplate(t *testing.T) {
	p := sg.Profile{Name: "p", NewGroup: []sg.Rule{
		{ID: "self", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup), Origin: "p"},
	}}
	o := document.Options{Profiles: func(string) (sg.Profile, bool) { return p, true }}
	s, err := document.Decode([]byte(`{"profile": "x", "security_groups": [
		{"id": "g", "name": "g", "outbound_rules": [{"id": "self", "protocol": "any", "destination": "any"}]}]}`), o)
	require.NoError(t, err)
	g, _ := s.Group("g")
	require.Equal(t, sg.RuleID("self-2"), g.Rules[0].ID)
	require.Equal(t, sg.PeerGroup("g"), g.Rules[0].Peer)
	require.Equal(t, sg.RuleID("self"), g.Rules[1].ID)
}

// TestPeers: RU-16 to RU-23.
func TestPeers(t *testing.T) {
	const doc = `{"profile": "strict",
	 "security_groups": [
	  {"id": "g", "name": "web", "vpc_id": "v", "inbound_rules": [{"protocol": "tcp", "port_range": "1", "source": %q}]},
	  {"id": "h", "name": "db", "vpc_id": "v"}, {"id": "web", "name": "h", "vpc_id": "v"},
	  {"id": "far", "name": "far", "vpc_id": "w"}, {"id": "far-web", "name": "web", "vpc_id": "w"},
	  {"id": "twin-1", "name": "twin", "vpc_id": "v"}, {"id": "twin-2", "name": "twin", "vpc_id": "v", "owner": "ann"},
	  {"id": "1.2.3.4/x", "name": "@odd", "vpc_id": "v"}, {"id": "10.0.0.300", "name": "any", "vpc_id": "v"}],
	 "ip_sets": [{"id": "s", "name": "db", "entries": []}]}`
	const at = "security_groups[0].inbound_rules[0].source: "
	scoped := document.Options{Profiles: func(string) (sg.Profile, bool) { // two owners may use one name
		return sg.Profile{Name: "strict", NamesPerScope: true}, true
	}}
	for text, want := range map[string]any{
		"10.0.0.0/8": cidr("10.0.0.0/8"), "10.1.2.3": cidr("10.1.2.3/32"), "fd00::1": cidr("fd00::1/128"), "0.0.0.0/0": cidr("0.0.0.0/0"),
		"::/0": cidr("::/0"), "any": sg.PeerAny(), "h": sg.PeerGroup("h"), "g": sg.PeerGroup("g"), "s": sg.PeerSet("s"),
		"web": sg.PeerGroup("web"), "@web": sg.PeerGroup("g"), "@h": sg.PeerGroup("web"), "@db": sg.PeerGroup("h"), // sets have no @name
		"1.2.3.4/x": sg.PeerGroup("1.2.3.4/x"), "10.0.0.300": sg.PeerGroup("10.0.0.300"), "@@odd": sg.PeerGroup("1.2.3.4/x"), "@any": sg.PeerGroup("10.0.0.300"),

		"@far": at + "invalid", "far": at + "invalid", "@twin": at + "invalid", "@nope": at + "not found", "@": at + "not found", "@self": at + "not found",
		"nope": at + "not found", "Any": at + "not found", "ANY": at + "not found", "": at + "required", "10.0.0.1/8": at + "invalid", "010.0.0.1": at + "invalid",
		"fe80::1%eth0": at + "invalid", "::ffff:1.2.3.4": at + "invalid", "10.0.0.0/33": at + "invalid", "1.2.3": at + "invalid", "10.0.0.0/8 ": at + "invalid", " h": at + "not found",
	} {
		s, err := document.Decode(fmt.Appendf(nil, doc, text), scoped)
		if path, ok := want.(string); ok {
			require.Equal(t, []string{path}, lines(t, err), text)
			continue
		}
		require.NoError(t, err, text)
		g, _ := s.Group("g")
		require.Equal(t, want, g.Rules[0].Peer, text)
	}
}

// TestIDsThatLookLikeAddresses: a source must mean one thing.
func TestIDsThatLookLikeAddresses(t *testing.T) {
	for _, id := range []string{"10.0.0.1", "10.0.0.0/8", "::1", "fe80::1%eth0", "10.0.0.1/8", "@web", "@", "any"} {
		for _, list := range []string{"security_groups", "ip_sets"} {
			_, err := decode(fmt.Sprintf(`{"profile": "strict", %q: [{"id": %q, "name": "x"}]}`, list, id))
			require.Equal(t, []string{list + "[0].id: invalid"}, lines(t, err), id)
		}
		mustDecode(t, fmt.Sprintf(`{"profile": "strict", "interfaces": [{"id": %q}]}`, id)) // nothing refers to it
	}
	_, err := decode(`{"profile": "strict", "security_groups": [{"id": "x", "name": "x"}], "ip_sets": [{"id": "x", "name": "x"}], "interfaces": [{"id": "x"}]}`)
	require.Equal(t, []string{"ip_sets[0].id: duplicate"}, lines(t, err))
}

// TestGeneratedIDs: an id depends on what the rule says, not on its place.
func TestGeneratedIDs(t *testing.T) {
	rules := []string{
		`{"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}`,
		`{"protocol": "TCP", "port_range": "443", "source": "::/0", "description": "web"}`,
		`{"protocol": "tcp", "port_range": "8000-9000", "source": "a b"}`,
		`{"protocol": "tcp", "port_range": "8000-9000", "source": "a-b"}`,
		`{"protocol": "icmp", "source": "any"}`, `{"protocol": "icmp", "icmp_type": 8, "source": "any"}`,
		`{"protocol": "icmp", "icmp_type": 8, "icmp_code": 0, "source": "any"}`,
		`{"protocol": "47", "ip_version": "ipv6", "source": "@s"}`, `{"protocol": "any", "source": "s"}`,
		`{"protocol": "udp", "port_range": "53", "source": "s"}`, `{"protocol": "udp", "port_range": "53", "source": "s-2"}`,
		`{"id": "in-udp-53-from-set-s", "protocol": "udp", "port_range": "54", "source": "s"}`,
		`{"protocol": "any", "source": "` + strings.Repeat("x", 250) + `"}`, `{"protocol": "any", "source": "` + strings.Repeat("x", 251) + `"}`,
	}
	read := func(t interface{ Fatal(...any) }, rules []string) map[sg.Rule]sg.RuleID {
		s, err := decode(fmt.Sprintf(`{"profile": "strict", "security_groups": [{"id": "a b", "name": "s", "inbound_rules": [%s]}, {"id": "a-b", "name": "b"},
			{"id": %q, "name": "x"}, {"id": %q, "name": "y"}], "ip_sets": [{"id": "s", "name": "s"}, {"id": "s-2", "name": "s-2"}]}`,
			strings.Join(rules, ","), strings.Repeat("x", 250), strings.Repeat("x", 251)))
		if err != nil {
			t.Fatal(err)
		}
		g, _ := s.Group("a b")
		ids, seen := map[sg.Rule]sg.RuleID{}, map[sg.RuleID]bool{}
		for _, r := range g.Rules {
			if ids[r.Key()] = r.ID; seen[r.ID] || sg.CheckName(string(r.ID)) != "" {
				t.Fatal("no good id: ", r.ID)
			}
			seen[r.ID] = true
		}
		return ids
	}
	ids := read(t, rules)
	got := slices.Sorted(maps.Values(ids))
	require.Equal(t, []sg.RuleID{
		"in-any-from-set-s", "in-gre-ipv6-from-group-a b", "in-icmp-from-any", "in-icmp-type-8-from-any", "in-icmp-type-8/0-from-any",
		"in-tcp-443-from-0.0.0.0/0", "in-tcp-443-from-::/0", "in-tcp-8000-9000-from-group-a b", "in-tcp-8000-9000-from-group-a-b",
		"in-udp-53-from-set-s", "in-udp-53-from-set-s-2", "in-udp-53-from-set-s-3",
	}, slices.DeleteFunc(got, func(id sg.RuleID) bool { return len(id) > 50 }))
	rapid.Check(t, func(t *rapid.T) {
		if other := read(t, rapid.Permutation(rules).Draw(t, "order")); !maps.Equal(ids, other) {
			t.Fatalf("%v\nin another order:\n%v", ids, other)
		}
	})
}
