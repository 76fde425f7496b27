package dialect_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// evaluationClaims are those of section 1.1, Evaluation semantics. Groups have
// rules in both directions where a profile would leave an empty one open.
func evaluationClaims() []claim {
	return slices.Concat(stateClaims(), unionClaims(), filterClaims(), placeClaims())
}

func stateClaims() []claim {
	return []claim{
		{
			id: "EV-01", under: five(),
			policy: []policy.Change{group("g", "https: in v4 tcp 443 0.0.0.0/0", "db: out v4 tcp 5432 10.0.9.0/24"), nic("i", "g")},
			ask: []string{
				"i in tcp/443 192.0.2.1 -> accept rule g/https",
				"i in tcp/5432 10.0.9.1 -> drop no_rule",
				"i out tcp/5432 10.0.9.1 -> accept rule g/db",
				"i out tcp/443 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "EV-02", under: five(),
			policy: []policy.Change{
				group("g", "https: in v4 tcp 443 0.0.0.0/0", "dns: in v4 udp 53 0.0.0.0/0", "ping: in v4 icmp 0.0.0.0/0", "v6: in v6 tcp 443 ::/0",
					"other: out v4 tcp 1 0.0.0.0/0", "other6: out v6 tcp 1 ::/0"),
				nic("i", "g"),
			},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 192.0.2.1")
				s.connect("i in tcp/443 2001:db8::1")
				s.pass(
					"i in tcp/443 192.0.2.1 back -> accept established",
					"i in udp/53 192.0.2.1 -> accept rule g/dns",
					"i in udp/53 192.0.2.1 reply -> accept established",
					"i in icmp/8 192.0.2.1 -> accept rule g/ping",
					"i in icmp/8 192.0.2.1 reply -> accept established",
					"i in udp/53 198.51.100.1 -> accept rule g/dns",
					"i in udp/53 198.51.100.1 error -> accept related",
					"i in tcp/443 2001:db8::7 -> accept rule g/v6",
					"i in tcp/443 2001:db8::7 error -> accept related",
					"i out udp/53 192.0.2.9 -> drop no_rule", // no reply
					"i in tcp/443 198.51.100.9 back -> drop", // a reply to nothing
				)
			},
		},
		{
			id: "EV-03", under: under(kakao.Profile(), aws.Profile(), stackit.Profile()),
			policy: []policy.Change{
				group("g", "db: out tcp 5432 0.0.0.0/0", "dns: out udp 53 0.0.0.0/0", "ping: out icmp 0.0.0.0/0", "v6: out tcp 5432 ::/0"),
				nic("i", "g"),
			},
			then: func(_ *testing.T, s *scene) {
				s.connect("i out tcp/5432 192.0.2.1")
				s.connect("i out tcp/5432 2001:db8::1")
				s.pass(
					"i out udp/53 192.0.2.1 -> accept rule g/dns",
					"i out udp/53 192.0.2.1 reply -> accept established",
					"i out icmp/8 192.0.2.1 -> accept rule g/ping",
					"i out icmp/8 192.0.2.1 reply -> accept established",
					"i out tcp/5432 192.0.2.7 -> accept rule g/db",
					"i out tcp/5432 192.0.2.7 error -> accept related",
					"i out tcp/5432 192.0.2.8 error -> drop", // about nothing that was sent
					"i in tcp/5432 192.0.2.9 -> drop empty_direction",
					"i out udp/53 192.0.2.9 back -> drop empty_direction",
				)
			},
		},
		{
			id: "EV-04", under: under(hypervisor.Profile()),
			policy: []policy.Change{group("g", "ssh: in v4 tcp 22 0.0.0.0/0", "https: out v4 tcp 443 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/22 192.0.2.1")
				s.connect("i out tcp/443 192.0.2.1")
				s.pass(
					"i in tcp/22 192.0.2.1 back -> accept established",
					"i out tcp/443 192.0.2.1 back -> accept established",
					"i in tcp/22 192.0.2.9 go -> drop invalid_state", // opens nothing, so no rule is for it
				)
			},
		},
		{
			id: "EV-17", under: under(aws.Profile()),
			policy: []policy.Change{group("g", "http: in tcp 80 0.0.0.0/0"), nic("i", "g")},
			ask:    []string{"i out tcp/80 192.0.2.1 -> drop empty_direction", "i out tcp/40000 192.0.2.1 -> drop empty_direction"},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/80 192.0.2.1")
				s.pass("i out tcp/80 192.0.2.1 -> drop empty_direction", "i out udp/40000 192.0.2.1 -> drop empty_direction")
			},
		},
	}
}

func unionClaims() []claim {
	deny := `{"name": "g", "inbound_rules": [{"protocol": "tcp", %s, "source": "0.0.0.0/0", "action": "deny"}]}`
	return []claim{
		{
			id: "EV-05",
			wire: []wireCase{
				{decode: nfyio.Decode, in: fmt.Sprintf(deny, `"port_range": "22"`), kind: sg.ErrUnknown, path: "inbound_rules[0].action"},
				{decode: kakao.Decode, in: fmt.Sprintf(deny, `"port": "22"`), kind: sg.ErrUnknown, path: "inbound_rules[0].action"},
			},
			without: func(t *testing.T) {
				_, has := reflect.TypeFor[sg.Rule]().FieldByName("Action")
				require.False(t, has, "a rule of a group has no action")
			},
		},
		{
			id: "EV-06", under: under(nfyio.Profile(), kakao.Profile(), aws.Profile(), stackit.Profile()),
			policy: []policy.Change{group("g", "https: in tcp 443 192.0.2.0/24"), nic("i", "g")},
			ask: []string{
				"i in tcp/443 192.0.2.1 -> accept rule g/https",
				"i in tcp/444 192.0.2.1 -> drop no_rule",
				"i in udp/443 192.0.2.1 -> drop no_rule",
				"i in tcp/443 192.0.3.1 -> drop no_rule",
				"i in icmp/8 192.0.2.1 -> drop no_rule",
				"i in tcp/443 2001:db8::1 -> drop no_rule",
				"i out tcp/443 192.0.2.1 -> drop empty_direction",
			},
		},
		{
			id: "EV-09", under: under(nfyio.Profile(), hypervisor.Profile(), stackit.Profile()),
			policy: []policy.Change{
				group("a", "https: in v4 tcp 443 0.0.0.0/0"), group("b", "ssh: in v4 tcp 22 10.0.0.0/8", "all: in v4 any 10.0.7.7"), nic("i", "a", "b"),
			},
			ask: []string{
				"i in tcp/443 192.0.2.1 -> accept rule a/https",
				"i in tcp/22 10.1.1.1 -> accept rule b/ssh",
				"i in tcp/443 10.0.7.7 -> accept rule a/https", // both allow it
				"i in tcp/22 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "EV-10", under: under(stackit.Profile()),
			policy: []policy.Change{
				group("a", "https: in tcp 443 0.0.0.0/0"), group("b", "ssh: in tcp 22 10.0.0.0/8"), group("empty"), nic("i", "empty", "b", "a"),
			},
			ask: []string{"i in tcp/443 192.0.2.1 -> accept rule a/https", "i in tcp/443 10.0.0.9 -> accept rule a/https"},
		},
		{
			id: "EV-11", under: under(stackit.Profile()),
			policy: []policy.Change{nic("i")},
			then: func(_ *testing.T, s *scene) {
				rules := readRules("any: in tcp 443 0.0.0.0/0", "net: in tcp 22-443 10.0.0.0/8", "host: in any 10.0.7.7")
				for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
					g := newGroup("g")
					for _, n := range order {
						g.Rules = append(g.Rules, rules[n])
					}
					other := group("h", "dns: in udp 53 10.0.0.0/8")
					for _, attached := range [][]sg.GroupID{{"g", "h"}, {"h", "g"}} {
						s.put(policy.PutGroup{Group: g}, other, nic("i", attached...))
						s.ask(
							"i in tcp/443 10.0.7.7 -> accept rule", "i in tcp/443 192.0.2.1 -> accept rule", "i in tcp/22 10.1.1.1 -> accept rule",
							"i in udp/53 10.0.7.7 -> accept rule", "i in udp/54 10.0.7.7 -> accept rule", "i in udp/54 10.0.7.8 -> drop no_rule",
							"i in tcp/22 192.0.2.1 -> drop no_rule",
						)
					}
				}
			},
		},
		{
			id: "EV-16", under: under(stackit.Profile()),
			policy: []policy.Change{group("g", "https: in tcp 443 0.0.0.0/0", "out: out tcp 443 0.0.0.0/0"), nic("i", "g")},
			ask: []string{
				"i in tcp/443 192.0.2.1 -> accept rule g/https", "i in tcp/80 192.0.2.1 -> drop no_rule", "i out tcp/80 192.0.2.1 -> drop no_rule",
			},
			wire: []wireCase{{
				decode: stackit.Decode, in: `{"name": "g", "rules": [{"direction": "ingress", "protocol": {"name": "tcp"}, "action": "deny"}]}`,
				kind: sg.ErrUnknown, path: "rules[0].action",
			}},
		},
	}
}

func filterClaims() []claim {
	return []claim{
		{
			id: "EV-07", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("none"), group("some", "ssh: in v4 tcp 22 10.0.0.0/8"),
				nic("open 10.0.0.5", "none"), nic("closed 10.0.0.6", "none", "some"),
			},
			ask: []string{
				"open in tcp/443 192.0.2.1 -> accept empty_direction",
				"closed in tcp/22 10.1.1.1 -> accept rule some/ssh",
				"closed in tcp/443 192.0.2.1 -> drop no_rule",
				"closed out tcp/443 192.0.2.1 -> accept empty_direction",
			},
			then: func(_ *testing.T, s *scene) { // the first rule closes, the last one removed opens
				s.connect("open in tcp/443 192.0.2.1")
				s.edit(func(tx *policy.Tx) error { return tx.AddRules("none", readRule("ssh: in v4 tcp 22 10.0.0.0/8")) })
				s.ask("open in tcp/443 192.0.2.1 -> drop no_rule")
				s.pass("open in tcp/443 192.0.2.1 go -> drop")
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("none", "ssh") })
				s.ask("open in tcp/443 192.0.2.1 -> accept empty_direction")
			},
		},
		{
			id: "EV-08", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("in", "ssh: in v4 tcp 22 10.0.0.0/8"), group("out", "https: out v4 tcp 443 0.0.0.0/0"),
				nic("a 10.0.0.5", "in"), nic("b 10.0.0.6", "out"), nic("c 10.0.0.7", "in", "out"),
			},
			ask: []string{
				"a in tcp/80 192.0.2.1 -> drop no_rule", "a out tcp/80 192.0.2.1 -> accept empty_direction",
				"b in tcp/80 192.0.2.1 -> accept empty_direction", "b out tcp/80 192.0.2.1 -> drop no_rule",
				"c in tcp/80 192.0.2.1 -> drop no_rule", "c out tcp/80 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "EV-12", under: under(hypervisor.Profile()),
			policy: []policy.Change{nic("i")},
			ask: []string{
				"i in tcp/22 192.0.2.1 -> accept unattached", "i in udp/53 2001:db8::1 -> accept unattached", "i in tcp/25 192.0.2.1 -> accept unattached",
				"i out tcp/443 192.0.2.1 -> accept unattached", "i out icmp/8 192.0.2.1 -> accept unattached",
				"i out tcp/25 192.0.2.1 -> drop platform platform smtp [hypervisor: SMTP is not enabled]",
				"i out tcp/25 2001:db8::1 -> drop platform platform smtp",
			},
			then: func(_ *testing.T, s *scene) { s.connect("i in tcp/25 192.0.2.1") }, // a mail server answers
		},
		{
			id: "EV-13", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("g", "smtp: out v4 tcp 25 0.0.0.0/0", "smtp6: out v6 tcp 25 ::/0", "all: out v4 any 0.0.0.0/0"),
				nicOf(sg.Interface{Owner: "alice"}, "i", "g"), nicOf(sg.Interface{Owner: "bob"}, "j 10.0.0.6"),
			},
			ask: []string{
				"i out tcp/25 192.0.2.1 -> drop platform platform smtp", "i out tcp/25 2001:db8::1 -> drop platform platform smtp",
				"i out tcp/26 192.0.2.1 -> accept rule g/all", "i out udp/25 192.0.2.1 -> accept rule g/all",
				"j out tcp/25 192.0.2.1 -> drop platform platform smtp",
			},
			then: func(_ *testing.T, s *scene) {
				s.refuse(alice(), sg.ErrForbidden, `owners["alice"]`, func(tx *policy.Tx) error { return tx.SetExempt("alice", hypervisor.SMTP) })
				s.edit(func(tx *policy.Tx) error { return tx.SetExempt("alice", hypervisor.SMTP) })
				s.ask("i out tcp/25 192.0.2.1 -> accept rule g/smtp", "j out tcp/25 192.0.2.1 -> drop platform platform smtp")
				s.connect("i out tcp/25 192.0.2.1")
				s.edit(func(tx *policy.Tx) error { return tx.SetExempt("alice") })
				s.ask("i out tcp/25 192.0.2.1 -> drop platform platform smtp")
				s.pass("i out tcp/25 192.0.2.1 go -> drop")
			},
		},
		{
			id: "EV-14", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("four", "ssh: in v4 tcp 22 0.0.0.0/0"), group("six", "ssh: in v6 tcp 22 ::/0"), nic("i", "four"), nic("j 10.0.0.6 fd00::6", "six"),
			},
			ask: []string{
				"i in tcp/22 192.0.2.1 -> accept rule four/ssh", "i in tcp/22 2001:db8::1 -> drop no_rule", "i in tcp/22 ::ffff:192.0.2.1 -> drop no_rule",
				"j in tcp/22 192.0.2.1 -> drop no_rule", "j in tcp/22 2001:db8::1 -> accept rule six/ssh",
			},
		},
		{
			id: "EV-15", under: under(nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), stackit.Profile()),
			policy: []policy.Change{group("g", "all: in v4 any 10.0.0.0/8"), nic("i", "g")},
			ask: []string{
				"i in tcp/1 10.0.0.9 -> accept rule g/all", "i in tcp/65535 10.0.0.9 -> accept rule g/all", "i in udp/53 10.0.0.9 -> accept rule g/all",
				"i in icmp/8 10.0.0.9 -> accept rule g/all", "i in gre 10.0.0.9 -> accept rule g/all", "i in sctp/7 10.0.0.9 -> accept rule g/all",
				"i in gre 192.0.2.1 -> drop no_rule",
			},
			then: func(_ *testing.T, s *scene) {
				g := newGroup("h", "all: in v4 any 10.0.0.0/8")
				g.Rules[0].Ports = sg.Port(22)
				s.refusePut(sg.ErrInvalid, `groups["h"].rules[0].ports`, policy.PutGroup{Group: g})
			},
		},
	}
}

// placeClaims are about where traffic comes from.
func placeClaims() []claim {
	return []claim{
		{
			id: "EV-18", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("db", "sql: in v4 tcp 3306 10.0.1.0/24"), nicOf(sg.Interface{VPC: "v"}, "web 10.0.1.5"), nicOf(sg.Interface{VPC: "v"}, "db 10.0.2.5"),
				nicOf(sg.Interface{VPC: "v"}, "other 10.0.3.5"),
			},
			ask: []string{
				"web out tcp/3306 10.0.2.5 -> accept unattached", "db in tcp/3306 10.0.1.5 -> accept unattached", "db in tcp/22 10.0.3.5 -> accept unattached",
			},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error {
					i, _ := tx.Interface("db")
					c := i.Clone()
					c.Instance = "vm-db"
					return tx.Apply(policy.PutInstance{Instance: &sg.Instance{ID: "vm-db", Groups: []sg.GroupID{"db"}}}, policy.PutInterface{Interface: c})
				})
				s.ask(
					"web out tcp/3306 10.0.2.5 -> accept unattached", "db in tcp/3306 10.0.1.5 -> accept rule db/sql",
					"db in tcp/22 10.0.1.5 -> drop no_rule", "db in tcp/3306 10.0.3.5 -> drop no_rule", "db out tcp/22 10.0.3.5 -> accept empty_direction",
				)
			},
		},
		{
			id: "EV-19", under: under(kakao.Profile()),
			policy: []policy.Change{group("other"), nic("outside 10.0.0.9", "other")},
			then: func(_ *testing.T, s *scene) { // the default group is there by now
				s.put(nic("a 10.0.0.5", "default"), nic("b 10.0.0.6", "default"))
				s.ask(
					"a in tcp/22 10.0.0.6 -> accept rule default/default-self [kakao: default group]", "b in tcp/22 10.0.0.5 -> accept rule default/default-self",
					"a in tcp/22 10.0.0.9 -> drop no_rule", "a in udp/53 10.0.0.6 -> drop no_rule",
				)
			},
		},
		{
			id: "EV-19", under: under(stackit.Profile()),
			policy: []policy.Change{group("other"), nic("outside 10.0.0.9 fd00::9", "other")},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
				s.put(nic("a 10.0.0.5 fd00::5", "g"), nic("b 10.0.0.6 fd00::6", "g"))
				s.ask(
					"a in tcp/22 10.0.0.6 -> accept rule g/default-self [stackit: new group]", "a in udp/53 10.0.0.6 -> accept rule g/default-self",
					"a in icmp/8 10.0.0.6 -> accept rule g/default-self", "a in tcp/22 fd00::6 -> accept rule g/default-self",
					"a in tcp/22 10.0.0.9 -> drop no_rule", "a in tcp/22 fd00::9 -> drop no_rule",
				)
			},
		},
		{
			id: "EV-20", under: under(kakao.Profile()),
			then: func(t *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("custom")) })
				s.put(nic("i", "custom"), nic("j 10.0.0.6", "custom", "default"))
				s.ask(
					"i out tcp/80 169.254.169.254 -> drop platform platform metadata [kakao: 0.0.0.0/0 leaves out the metadata service]",
					"i out tcp/80 169.254.170.1 -> accept rule custom/default-egress", "i out tcp/80 192.0.2.1 -> accept rule custom/default-egress",
					"j out tcp/80 169.254.169.254 -> accept rule default/default-metadata",
				)
				require.True(t, kakao.Metadata().Contains(netip.MustParseAddr("169.254.169.254")))
				s.edit(func(tx *policy.Tx) error {
					return tx.AddRules("custom", readRule("metadata: out tcp 80 169.254.169.0/24"))
				})
				s.ask("i out tcp/80 169.254.169.254 -> accept rule custom/metadata", "i out tcp/81 169.254.169.254 -> drop platform platform metadata")
			},
		},
	}
}
