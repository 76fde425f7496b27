package lint_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/lint"
	"example.com/secgroup/sg/policy"
)

func cidr(s string) sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix(s)) }

// rule is an ingress rule with a description, as nobody objects to.
func rule(id sg.RuleID, p sg.Protocol, ports sg.PortRange, peer sg.Peer) sg.Rule {
	return sg.Rule{ID: id, Direction: sg.Ingress, Family: sg.FamilyAny, Protocol: p, Ports: ports, Peer: peer, Description: "needed"}
}

func egress(r sg.Rule) sg.Rule {
	r.Direction = sg.Egress
	return r
}

// policyOf is the groups, each attached to an interface of its own.
func policyOf(t *testing.T, p sg.Profile, more []policy.Change, groups ...*sg.Group) *policy.Snapshot {
	t.Helper()
	changes := more
	for n, g := range groups {
		g.Name = string(g.ID)
		changes = append(changes, policy.PutGroup{Group: g}, policy.PutInterface{Interface: &sg.Interface{
			ID: sg.InterfaceID(fmt.Sprint("nic-", g.ID)), Groups: []sg.GroupID{g.ID},
			Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/32", n+1))},
		}})
	}
	s, err := policy.Build(p, changes...)
	require.NoError(t, err)
	return s
}

// codes is what lint says, short.
func codes(s *policy.Snapshot) (out []string) {
	for _, f := range lint.Check(s) {
		out = append(out, f.Code+" "+f.Severity.String()+" "+f.Path)
	}
	return out
}

// TestFindings: each piece of advice alone, LI-01 to LI-12.
func TestFindings(t *testing.T) {
	https := rule("https", sg.TCP, sg.Port(443), sg.PeerAny())
	for name, c := range map[string]struct {
		profile sg.Profile
		more    []policy.Change
		groups  []*sg.Group
		want    []string
	}{
		"nothing": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{https, egress(rule("sql", sg.TCP, sg.Port(5432), sg.PeerGroup("a")))}}}, nil},
		"LI-01 everything open": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("all", sg.AnyProtocol, sg.PortRange{}, sg.PeerAny())}}},
			[]string{`LI-01 critical groups["a"].rules[0]`, `LI-05 critical groups["a"].rules[0]`, `LI-05 critical groups["a"].rules[0]`}},
		"LI-02 a CIDR that is a member": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("b", sg.TCP, sg.Port(443), cidr("10.0.0.2/32"))}}, {ID: "b"}},
			[]string{`LI-02 info groups["a"].rules[0]`}},
		"LI-03 no description": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{{ID: "x", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: cidr("192.0.2.0/24")}}}},
			[]string{`LI-03 info groups["a"].rules[0]`}},
		"LI-04 two tiers": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{https, rule("sql", sg.TCP, sg.Port(5432), cidr("192.0.2.0/24"))}}},
			[]string{`LI-04 warning groups["a"]`}},
		"LI-05 SSH": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("ssh", sg.TCP, sg.PortRange{First: 20, Last: 30}, cidr("::/0"))}}},
			[]string{`LI-05 critical groups["a"].rules[0]`, `LI-11 warning interfaces["nic-a"]`}},
		"LI-05 RDP from an office is fine": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("rdp", sg.TCP, sg.Port(3389), cidr("198.51.100.0/24"))}}}, nil},
		"LI-06 a large range": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("many", sg.UDP, sg.PortRange{First: 8000, Last: 8099}, cidr("192.0.2.0/24"))}}},
			[]string{`LI-06 warning groups["a"].rules[0]`}},
		"LI-06 99 ports are fine": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("many", sg.UDP, sg.PortRange{First: 8000, Last: 8098}, cidr("192.0.2.0/24"))}}}, nil},
		"LI-07 twins": {strict.Profile(), nil, []*sg.Group{
			{ID: "a", Rules: []sg.Rule{https, rule("self", sg.TCP, sg.Port(22), sg.PeerGroup("a"))}},
			{ID: "b", Rules: []sg.Rule{rule("me", sg.TCP, sg.Port(22), sg.PeerGroup("b")), rule("web", sg.TCP, sg.Port(443), sg.PeerAny())}},
		}, []string{`LI-07 info groups["b"]`}},
		"LI-08 outbound open": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{https, egress(rule("all", sg.AnyProtocol, sg.PortRange{}, sg.PeerAny()))}}},
			[]string{`LI-08 info groups["a"].rules[1]`}},
		"LI-09 ping for all": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("ping", sg.ICMP, sg.PortRange{}, cidr("0.0.0.0/0"))}}},
			[]string{`LI-09 warning groups["a"].rules[0]`}},
		"LI-10 an open direction": {hypervisor.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{{ID: "https", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(443), Peer: cidr("0.0.0.0/0"), Description: "web"}}}},
			[]string{`LI-10 critical interfaces["nic-a"]`}},
		"LI-10 impossible elsewhere": {aws.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{https}}}, nil},
		"LI-11 another family": {strict.Profile(), nil, []*sg.Group{{ID: "a", Rules: []sg.Rule{rule("v6", sg.TCP, sg.Port(443), cidr("2001:db8::/32"))}}},
			[]string{`LI-11 warning interfaces["nic-a"]`}},
		"LI-11 a set of another family": {strict.Profile(), []policy.Change{policy.PutSet{Set: ipset.New("six", sg.IPv6, sg.Global())}},
			[]*sg.Group{{ID: "a", Rules: []sg.Rule{rule("v6", sg.TCP, sg.Port(443), sg.PeerSet("six"))}}}, []string{`LI-11 warning interfaces["nic-a"]`}},
		"LI-11 ICMP covers ICMPv6": {stackit.Profile(), []policy.Change{policy.PutGroup{Group: &sg.Group{ID: "b", Name: "b", Rules: []sg.Rule{rule("icmp", sg.ICMP, sg.PortRange{}, sg.PeerGroup("b"))}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "six", Groups: []sg.GroupID{"b"}, Addrs: []netip.Prefix{netip.MustParsePrefix("fd00::1/128")}}}}, nil, nil},
		"LI-12 no group, open": {hypervisor.Profile(), []policy.Change{policy.PutInterface{Interface: &sg.Interface{ID: "bare"}}}, nil,
			[]string{`LI-12 critical interfaces["bare"]`}},
		"LI-12 no group, closed": {strict.Profile(), []policy.Change{policy.PutInterface{Interface: &sg.Interface{ID: "bare"}}}, nil,
			[]string{`LI-12 info interfaces["bare"]`}},
		"LI-12 bare metal may": {kakao.Profile(), []policy.Change{policy.PutInterface{Interface: &sg.Interface{ID: "bare", Kind: "bare-metal"}}}, nil,
			[]string{`LI-12 info interfaces["bare"]`}},
		"LI-12 attached nowhere": {strict.Profile(), []policy.Change{policy.PutGroup{Group: &sg.Group{ID: "idle", Name: "idle"}}}, nil,
			[]string{`LI-12 info groups["idle"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, codes(policyOf(t, c.profile, c.more, c.groups...)))
		})
	}
}

// TestRule: a finding about a rule says which, by its id; its place among the
// rules of both directions is not the one of a list per direction.
func TestRule(t *testing.T) {
	s := policyOf(t, strict.Profile(), nil, &sg.Group{ID: "a", Rules: []sg.Rule{
		rule("https", sg.TCP, sg.Port(443), sg.PeerAny()),
		egress(rule("all", sg.AnyProtocol, sg.PortRange{}, sg.PeerAny())),
		rule("sql", sg.TCP, sg.Port(5432), cidr("192.0.2.0/24")),
		rule("say \"me\"", sg.TCP, sg.Port(22), sg.PeerAny()),
	}})
	var got []string
	for _, f := range lint.Check(s) {
		got = append(got, f.String())
		b, err := json.Marshal(f)
		require.NoError(t, err)
		require.Equal(t, f.Rule != "", strings.Contains(string(b), `"rule":`), "%s", b)
	}
	require.Equal(t, []string{
		`LI-04 warning groups["a"]: the group opens web ports and database ports; use a group per tier, and refer from one to the other`,
		`LI-08 info groups["a"].rules[1] "all": anything may be sent anywhere; restrict outbound traffic against exfiltration`,
		`LI-05 critical groups["a"].rules[3] "say \"me\"": port 22 is open to everybody; allow it from the addresses of administrators`,
	}, got)
}

func Example() {
	ssh := sg.Rule{ID: "ssh", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerAny(), Description: "admin"}
	s, err := policy.Build(strict.Profile(),
		policy.PutGroup{Group: &sg.Group{ID: "sg-web", Name: "web", Rules: []sg.Rule{ssh}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "web-1", Groups: []sg.GroupID{"sg-web"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range lint.Check(s) {
		fmt.Println(f)
	}
	// Output:
	// LI-05 critical groups["sg-web"].rules[0] "ssh": port 22 is open to everybody; allow it from the addresses of administrators
}
