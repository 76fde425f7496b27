package dialect_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// denying are the clouds that refuse what no rule allows in every situation.
func denying() []sg.Profile {
	return under(nfyio.Profile(), kakao.Profile(), aws.Profile(), stackit.Profile())
}

// startsWith asks what a new group, made by NewGroup, does at two interfaces.
func startsWith(id string, p sg.Profile, ask ...string) claim {
	return claim{id: id, under: under(p), then: func(_ *testing.T, s *scene) {
		s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
		s.put(nic("i", "g"), nic("j 10.0.0.6 fd00::6", "g"))
		s.ask(ask...)
	}}
}

// afterChange is an open connection whose rule is taken away: what its next
// packets are, at once and for a new connection.
func afterChange(id string, p []sg.Profile, next string) claim {
	return claim{
		id: id, under: p, policy: []policy.Change{group("g", "a: in v4 tcp 443 0.0.0.0/0", "b: in v4 tcp 22 0.0.0.0/0"), nic("i", "g")},
		then: func(_ *testing.T, s *scene) {
			s.connect("i in tcp/443 192.0.2.1")
			s.connect("i in tcp/22 192.0.2.1")
			s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "a") })
			s.pass("i in tcp/443 192.0.2.1 go -> "+next, "i in tcp/22 192.0.2.1 go -> accept established", "i in tcp/443 192.0.2.2 -> drop no_rule")
		},
	}
}

// disagreementClaims are those of section 2, Where they disagree.
func disagreementClaims() []claim {
	https := "https: in v4 tcp 443 0.0.0.0/0"
	any4 := []string{"i out tcp/443 192.0.2.1 -> accept rule", "i in tcp/443 192.0.2.1 -> drop"}
	denied := []string{"i in tcp/443 192.0.2.1 -> drop unattached", "i out tcp/443 192.0.2.1 -> drop unattached"}
	empty := []policy.Change{group("g"), nic("i", "g")}
	refused := func(p sg.Profile) claim {
		return claim{id: "C1", under: under(p), then: func(_ *testing.T, s *scene) { s.refusePut(sg.ErrRequired, `interfaces["i"].groups`, nic("i")) }}
	}
	eleven, ids := many(11)
	atMost := func(p sg.Profile, most int, path string) claim {
		return claim{id: "C6", under: under(p), policy: eleven, then: func(_ *testing.T, s *scene) {
			s.put(nic("i", ids[:min(most, 11)]...))
			if most < 11 {
				s.refusePut(sg.ErrQuota, path, nic("i", ids[:most+1]...))
			}
		}}
	}
	twoVPCs := []policy.Change{inVPC("v", "a"), inVPC("w", "b")}
	return []claim{
		{id: "C1", under: under(hypervisor.Profile()), policy: []policy.Change{nic("i")}, ask: []string{
			"i in tcp/443 192.0.2.1 -> accept unattached", "i out tcp/443 192.0.2.1 -> accept unattached", "i out tcp/25 192.0.2.1 -> drop platform",
		}},
		{id: "C1", under: under(nfyio.Profile(), stackit.Profile()), policy: []policy.Change{nic("i")}, ask: denied},
		refused(kakao.Profile()), refused(aws.Profile()),
		{id: "C2", under: denying(), policy: empty, ask: []string{"i in tcp/443 192.0.2.1 -> drop empty_direction", "i out tcp/443 192.0.2.1 -> drop empty_direction"}},
		{
			id: "C2", under: under(hypervisor.Profile()), policy: []policy.Change{group("g"), group("h", https), nic("i", "g"), nic("j 10.0.0.6", "g", "h")},
			ask: []string{"i in tcp/22 192.0.2.1 -> accept empty_direction", "j in tcp/22 192.0.2.1 -> drop no_rule", "j out tcp/22 192.0.2.1 -> accept empty_direction"},
		},
		{
			id: "C2b", under: under(hypervisor.Profile()), policy: []policy.Change{group("g", https), group("h", "r: in v6 tcp 1 ::/0"), nic("i", "g"), nic("j 10.0.0.6 fd00::6", "h")},
			ask: []string{"i in tcp/443 2001:db8::1 -> drop no_rule", "j in tcp/443 192.0.2.1 -> drop no_rule", "i out tcp/443 2001:db8::1 -> accept empty_direction"},
		},
		{id: "C3", wire: []wireCase{
			{decode: nfyio.Decode, in: `{"name": "g", "inbound_rules": []}`, rules: []string{"out any 0.0.0.0/0"}},
			{decode: nfyio.Decode, in: `{"name": "g", "inbound_rules": [], "outbound_rules": []}`, check: noRules},
			{decode: kakao.Decode, in: `{"name": "g"}`, rules: []string{"out any 0.0.0.0/0"}},
			{decode: kakao.Decode, in: `{"name": "g", "outbound_rules": []}`, check: noRules},
			{decode: hypervisor.Decode, in: `{"name": "g"}`, check: noRules},
			{decode: hypervisor.Decode, in: `{"name": "g", "rules": []}`, check: noRules},
			{decode: stackit.Decode, in: `{"id": "g", "name": "g", "rules": []}`, check: noRules},
			{decode: aws.Decode, in: `{"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "g", "IpPermissions": [], "IpPermissionsEgress": []}]}`, check: noRules},
			refuses(aws.Decode, `{"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "g", "IpPermissions": []}]}`, sg.ErrRequired, "SecurityGroups[0].IpPermissionsEgress"), // a part cut off
		}},
		startsWith("C4", nfyio.Profile(), append(any4, "i out tcp/1 2001:db8::1 -> drop")...),
		startsWith("C4", kakao.Profile(), append(any4, "i out tcp/1 2001:db8::1 -> drop", "i in tcp/1 10.0.0.6 -> drop")...),
		startsWith("C4", aws.Profile(), append(any4, "i out tcp/1 2001:db8::1 -> accept rule", "i in tcp/1 10.0.0.6 -> drop")...),
		startsWith("C4", stackit.Profile(), append(any4, "i out tcp/1 2001:db8::1 -> accept rule", "i in tcp/1 10.0.0.6 -> accept rule g/default-self")...),
		startsWith("C4", hypervisor.Profile(), "i in tcp/1 192.0.2.1 -> accept empty_direction", "i out tcp/1 192.0.2.1 -> accept empty_direction"),
		{id: "C5", under: under(kakao.Profile(), aws.Profile()), policy: []policy.Change{inVPC("v", "g")}, then: func(t *testing.T, s *scene) {
			g, ok := s.snapshot().DefaultGroup("v")
			require.True(t, ok)
			require.Equal(t, "default", g.Name)
			s.refuse(admin(), sg.ErrForbidden, fmt.Sprintf("groups[%q]", g.ID), func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: g.ID}) })
			s.put(nicOf(sg.Interface{VPC: "v"}, "i", g.ID), nicOf(sg.Interface{VPC: "v"}, "j 10.0.0.6", g.ID))
			want := map[string]string{"kakao": "drop no_rule", "aws": "accept rule"}[s.snapshot().Profile().Name]
			s.ask("i in tcp/1 10.0.0.6 -> accept rule", "i in udp/1 10.0.0.6 -> "+want, "i out udp/1 192.0.2.1 -> accept rule", "i in tcp/1 10.0.0.7 -> drop no_rule")
		}},
		{id: "C5", under: under(nfyio.Profile(), hypervisor.Profile(), stackit.Profile()), policy: []policy.Change{inVPC("v", "g")}, then: func(t *testing.T, s *scene) {
			_, ok := s.snapshot().DefaultGroup("v")
			require.False(t, ok)
			g := newGroup("d")
			g.Default = true
			s.refusePut(sg.ErrUnsupported, `groups["d"].default`, policy.PutGroup{Group: g})
		}},
		atMost(hypervisor.Profile(), 10, `interfaces["i"].groups`), atMost(aws.Profile(), 5, `interfaces["i"].groups`),
		atMost(nfyio.Profile(), 11, ""), atMost(stackit.Profile(), 11, ""), atMost(kakao.Profile(), 11, ""),
		{id: "C7", under: under(nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), aws.Profile()), then: func(_ *testing.T, s *scene) {
			g := newGroup("g", https)
			g.Stateless = true
			s.refusePut(sg.ErrUnsupported, `groups["g"].stateful`, policy.PutGroup{Group: g})
		}},
		{id: "C7", under: under(stackit.Profile()), then: func(_ *testing.T, s *scene) {
			g := newGroup("raw", "a: in tcp 443 0.0.0.0/0", "b: in tcp 22 0.0.0.0/0")
			g.Stateless = true
			s.put(policy.PutGroup{Group: g}, group("kept", "c: in tcp 22 10.0.0.0/8"), nic("i", "raw", "kept"))
			s.pass(
				"i in tcp/443 192.0.2.1 -> accept rule raw/a", "i in tcp/443 192.0.2.1 reply -> drop", // no reply without a rule
				"i in tcp/22 10.1.1.1 -> accept rule raw/b", "i in tcp/22 10.1.1.1 reply -> accept established", // the other group is stateful
				"i in tcp/22 192.0.2.1 -> accept rule raw/b", "i in tcp/22 192.0.2.1 reply -> drop",
			)
		}},
		afterChange("C8", under(nfyio.Profile(), hypervisor.Profile(), aws.Profile(), stackit.Profile()), "drop"),
		afterChange("C8", under(kakao.Profile()), "accept established"),
		{id: "C8", without: func(t *testing.T) {
			for _, p := range five() {
				want := map[bool]time.Duration{true: time.Minute}[p.Name == "hypervisor"]
				require.Equal(t, want, p.Propagation, p.Name)
			}
		}},
		{id: "C9", wire: []wireCase{
			refuses(nfyio.Decode, nfyioRule("action", `"deny"`), sg.ErrUnknown, "inbound_rules[0].action"),
			refuses(hypervisor.Decode, panelRule("action", `"deny"`), sg.ErrUnknown, "rules[0].action"),
			refuses(kakao.Decode, kakaoDoc(kakaoRule("action", `"deny"`)), sg.ErrUnknown, "inbound_rules[0].action"),
			refuses(aws.Decode, awsRule("RuleAction", `"deny"`), sg.ErrUnknown, "SecurityGroups[0].IpPermissions[0].RuleAction"),
			refuses(stackit.Decode, stackitRule("action", `"deny"`), sg.ErrUnknown, "rules[0].action"),
		}},
		{
			id: "C10", under: under(hypervisor.Profile()), policy: []policy.Change{group("g", "all: out v4 any 0.0.0.0/0", "smtp: out v4 tcp 25 192.0.2.1"), nic("i", "g")},
			ask: []string{"i out tcp/25 192.0.2.1 -> drop platform platform smtp", "i out tcp/24 192.0.2.1 -> accept rule g/all"},
		},
		{
			id: "C10", under: under(aws.Profile(), stackit.Profile()), policy: empty, ask: []string{
				"i out icmpv6/135 fe80::1 -> accept platform platform neighbour-discovery", "i out udp/67 255.255.255.255 -> accept platform platform dhcp",
				"i out udp/68 192.0.2.1 -> drop platform platform dhcp-guard",
			},
		},
		{
			id: "C11", under: under(kakao.Profile()), policy: []policy.Change{
				group("g", "all: out any 0.0.0.0/0"), group("h", "md: out tcp 80 169.254.169.254"), nic("i", "g"), nic("j 10.0.0.6", "g", "h"),
			},
			ask: []string{
				"i out tcp/80 169.254.169.254 -> drop platform", "i out tcp/80 169.254.168.254 -> accept rule g/all", "j out tcp/80 169.254.169.254 -> accept rule h/md",
				"j out tcp/443 169.254.169.254 -> drop platform", "j out tcp/80 169.254.169.1 -> drop platform",
			},
		},
		{id: "C11", under: under(nfyio.Profile(), hypervisor.Profile(), aws.Profile(), stackit.Profile()),
			policy: []policy.Change{group("g", "all: out v4 any 0.0.0.0/0"), nic("i", "g")}, ask: []string{"i out tcp/80 169.254.169.254 -> accept rule g/all"}},
		{id: "C12", under: under(hypervisor.Profile()), policy: []policy.Change{
			group("g", https), policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"g"}}},
			nicOf(sg.Interface{Instance: "vm"}, "i"), nicOf(sg.Interface{Instance: "vm"}, "j 10.0.0.6"), nic("k 10.0.0.7"),
		}, ask: []string{"i in tcp/1 192.0.2.1 -> drop no_rule", "j in tcp/443 192.0.2.1 -> accept rule g/https", "k in tcp/1 192.0.2.1 -> accept unattached"}},
		{id: "C12", under: denying(), policy: []policy.Change{group("g", https), policy.PutInstance{Instance: &sg.Instance{ID: "vm"}},
			nicOf(sg.Interface{Instance: "vm"}, "i", "g")}, ask: []string{"i in tcp/443 192.0.2.1 -> accept rule g/https"},
			then: func(_ *testing.T, s *scene) {
				s.refuse(admin(), sg.ErrUnsupported, `instances["vm"].groups`, func(tx *policy.Tx) error { return tx.AttachInstance("vm", "g") })
			}},
		{id: "C13", under: five(), policy: twoVPCs, then: func(_ *testing.T, s *scene) {
			same := newGroup("c")
			same.VPC, same.Name = "w", "a" // a name of another VPC
			s.put(policy.PutGroup{Group: same})
			same = same.Clone()
			same.ID = "d"
			s.refusePut(sg.ErrDuplicate, `groups["d"].name`, policy.PutGroup{Group: same})
			s.refusePut(sg.ErrInvalid, `groups["e"].rules[0].peer`, inVPC("v", "e", "r: in v4 any group:b")) // nor is a group of one
			s.refusePut(sg.ErrInvalid, `interfaces["i"].groups[0]`, nicOf(sg.Interface{VPC: "w"}, "i", "a"))
		}},
		{id: "C14", under: under(hypervisor.Profile()), then: func(_ *testing.T, s *scene) {
			s.refusePut(sg.ErrRequired, `groups["g"].rules[0].family`, group("g", "r: in tcp 1 0.0.0.0/0"))
		}},
		{
			id: "C14", under: denying(), policy: []policy.Change{group("g", "4: in tcp 1 0.0.0.0/0", "6: in tcp 2 ::/0", "both: in tcp 3 any"), nic("i", "g")},
			ask: []string{
				"i in tcp/1 192.0.2.1 -> accept rule g/4", "i in tcp/1 2001:db8::1 -> drop no_rule", "i in tcp/2 192.0.2.1 -> drop no_rule", "i in tcp/2 2001:db8::1 -> accept rule g/6",
				"i in tcp/3 192.0.2.1 -> accept rule g/both", "i in tcp/3 2001:db8::1 -> accept rule g/both",
			},
		},
		{
			id: "C15", under: under(stackit.Profile()), policy: []policy.Change{group("g", "ping: in icmp any"), nic("i", "g")},
			ask: []string{"i in icmp/8 192.0.2.1 -> accept rule g/ping", "i in icmpv6/128 2001:db8::1 -> accept rule g/ping"},
		},
		{
			id: "C15", under: under(nfyio.Profile(), kakao.Profile(), aws.Profile()), policy: []policy.Change{group("g", "ping: in icmp any"), nic("i", "g")},
			ask: []string{"i in icmp/8 192.0.2.1 -> accept rule g/ping", "i in icmpv6/128 2001:db8::1 -> drop no_rule"},
		},
		{id: "C15", wire: []wireCase{ // whose documents know no ICMPv6
			refuses(nfyio.Decode, nfyioRule("protocol", `"icmpv6"`, "port_range", ""), sg.ErrInvalid, "inbound_rules[0].protocol"),
			refuses(kakao.Decode, kakaoDoc(kakaoRule("protocol", `"ICMPv6"`, "port", "")), sg.ErrInvalid, "inbound_rules[0].protocol"),
		}},
		{id: "C16", wire: []wireCase{
			says(nfyio.Decode, nfyioRule("port_range", `"1-65535"`), "in tcp 1-65535 0.0.0.0/0"),
			says(kakao.Decode, kakaoDoc(kakaoRule("port", `"ALL"`)), "in tcp 0-65535 0.0.0.0/0"),
			refuses(hypervisor.Decode, panelRule("port_range_min", "0"), sg.ErrInvalid, "rules[0].port_range_min"),
			refuses(nfyio.Decode, nfyioRule("protocol", `"all"`), sg.ErrInvalid, "inbound_rules[0].port_range"),
			refuses(hypervisor.Decode, panelRule("protocol", `"All"`), sg.ErrInvalid, "rules[0].port_range_min"),
			refuses(kakao.Decode, kakaoDoc(kakaoRule("protocol", `"ALL"`)), sg.ErrInvalid, "inbound_rules[0].port"),
			refuses(stackit.Decode, stackitRule("protocol", ""), sg.ErrInvalid, "rules[0].portRange"),
		}, without: func(t *testing.T) { // AWS itself opens every port, and says so
			_, warnings, err := aws.Decode([]byte(awsRule("IpProtocol", `"-1"`)))
			require.NoError(t, err)
			require.NotEmpty(t, warnings)
			require.Equal(t, "SecurityGroups[0].IpPermissions[0].FromPort", warnings[0].Path)
		}},
		{id: "C17", wire: []wireCase{
			says(nfyio.Decode, nfyioRule("source", `"sg_x"`), "in tcp 443 group:sg_x"),
			says(hypervisor.Decode, panelRule("source_type", `"remote_group"`, "cidr", "", "remote_group", `"x"`), "in v4 tcp 443 group:x"),
			says(kakao.Decode, kakaoDoc(kakaoRule("source", `"@x"`)), "in tcp 443 group:x"),
			says(aws.Decode, awsRule("IpRanges", "[]", "UserIdGroupPairs", `[{"GroupId": "sg-x"}]`), "in tcp 443 group:sg-x"),
			says(stackit.Decode, stackitRule("ipRange", "", "remoteSecurityGroupId", `"x"`), "in tcp 443 group:x"),
		}},
		{
			id: "C18", under: under(aws.Profile()), policy: []policy.Change{group("g", "one: in tcp 443 192.0.2.7"), nic("i", "g")},
			ask:  []string{"i in tcp/443 192.0.2.7 -> accept rule g/one", "i in tcp/443 192.0.2.8 -> drop no_rule"},
			wire: []wireCase{refuses(aws.Decode, awsRule("Deny", "true"), sg.ErrUnknown, "SecurityGroups[0].IpPermissions[0].Deny")},
			then: func(_ *testing.T, s *scene) { // no rule more shuts one of many out
				s.put(group("g", "all: in tcp 443 0.0.0.0/0", "one: in tcp 443 192.0.2.7"), group("h", "net: in tcp 443 192.0.2.0/24"), nic("i", "g", "h"))
				s.ask("i in tcp/443 192.0.2.7 -> accept rule g/all")
			},
		},
		{id: "C19", under: under(hypervisor.Profile()), policy: []policy.Change{
			set("s", sg.IPv4, "192.0.2.1"), group("g", "r: in v4 tcp 1 set:s"), group("h", "r: in v4 tcp 1 group:g"), nic("i", "g"),
		}, then: func(_ *testing.T, s *scene) {
			s.refusePut(sg.ErrInUse, `sets["s"]`, policy.DeleteSet{ID: "s"})
			s.refusePut(sg.ErrInUse, `groups["g"]`, policy.DeleteGroup{ID: "g"})
			s.put(policy.DeleteGroup{ID: "h"}, policy.DeleteGroup{ID: "g"}, policy.DeleteSet{ID: "s"})
			s.ask("i in tcp/1 192.0.2.1 -> accept unattached")
		}},
		{id: "C19", under: under(stackit.Profile()), policy: []policy.Change{group("g"), group("h", "r: in tcp 1 group:g"), nic("i", "g", "h")}, then: func(_ *testing.T, s *scene) {
			s.put(policy.DeleteGroup{ID: "g"})
			require.Empty(s.t, s.group("h").Rules)
			s.ask("i in tcp/1 10.0.0.5 -> drop empty_direction")
		}},
		{id: "C20", under: five(), policy: []policy.Change{group("g", https), set("s", sg.IPv4, "192.0.2.1")}, then: func(_ *testing.T, s *scene) {
			s.refuse(admin(), sg.ErrDuplicate, `groups["g"].rules[1]`, func(tx *policy.Tx) error { return tx.AddRules("g", readRule("again: in v4 tcp 443 0.0.0.0/0")) })
			s.edit(func(tx *policy.Tx) error {
				r, err := tx.AddLines("s", "192.0.2.1\n192.0.2.2")
				require.Len(s.t, r.Duplicates, 1)
				require.Len(s.t, r.Added, 1)
				return err
			})
		}},
		{
			id: "C21", under: denying(), policy: []policy.Change{group("g", https), nic("i", "g")},
			ask: []string{"i out tcp/443 192.0.2.1 -> drop empty_direction"},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 192.0.2.1")
				s.pass("i out tcp/443 192.0.2.1 -> drop empty_direction")
			},
		},
		{
			id: "C21", under: under(hypervisor.Profile()), policy: []policy.Change{group("g", https, "out: out v4 tcp 1 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 192.0.2.1")
				s.pass("i out tcp/443 192.0.2.1 -> drop no_rule")
			},
		},
		{
			id: "C22", under: under(hypervisor.Profile()), policy: []policy.Change{nicOf(sg.Interface{VPC: "v"}, "i"), nicOf(sg.Interface{VPC: "v"}, "j 10.0.0.6")},
			ask: []string{"j out tcp/22 10.0.0.5 -> accept unattached", "i in tcp/22 10.0.0.6 -> accept unattached"},
		},
		{
			id: "C22", under: denying(), policy: []policy.Change{
				inVPC("v", "g", "out: out any 10.0.0.0/8"), inVPC("v", "h", "ssh: in tcp 22 group:g"), nicOf(sg.Interface{VPC: "v"}, "i", "g"), nicOf(sg.Interface{VPC: "v"}, "j 10.0.0.6", "h"),
			},
			ask: []string{
				"i out tcp/22 10.0.0.6 -> accept rule g/out", "j in tcp/22 10.0.0.5 -> accept rule h/ssh",
				"j in tcp/23 10.0.0.5 -> drop no_rule", "j out tcp/22 10.0.0.5 -> drop empty_direction", "i in tcp/22 10.0.0.6 -> drop empty_direction",
			},
		},
	}
}

func noRules(t *testing.T, g []*sg.Group) { require.Empty(t, g[0].Rules) }
