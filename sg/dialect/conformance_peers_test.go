package dialect_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// peerClaims are those of section 1.2 about the remote end, the family, and
// rules as a whole.
func peerClaims() []claim {
	inf := "inbound_rules[0]."
	k := func(edit ...string) string { return kakaoDoc(kakaoRule(edit...)) }
	v6 := []string{"ip_version", `"IPv6"`, "cidr", `"::/0"`}
	remoteGroup := []string{"source_type", `"remote_group"`, "cidr", "", "remote_group", `"web"`}
	ipSet := []string{"source_type", `"ip_set"`, "cidr", "", "ip_set", `"office"`}
	return []claim{
		{
			id: "RU-16",
			wire: []wireCase{
				says(nfyio.Decode, `{"name": "g", "inbound_rules": [], "outbound_rules": [{"protocol": "udp", "port_range": "53", "destination": "10.0.0.0/8"}]}`, "out udp 53 10.0.0.0/8"),
				says(kakao.Decode, `{"name": "g", "inbound_rules": [], "outbound_rules": [{"protocol": "UDP", "port": "53", "destination": "10.0.0.0/8"}]}`, "out udp 53 10.0.0.0/8"),
				refuses(nfyio.Decode, nfyioRule("source", "", "destination", `"0.0.0.0/0"`), sg.ErrInvalid, inf+"destination"),
				refuses(nfyio.Decode, nfyioRule("source", ""), sg.ErrRequired, inf+"source"),
				refuses(kakao.Decode, k("source", ""), sg.ErrRequired, inf+"source"),
			},
			under: under(nfyio.Profile(), kakao.Profile(), stackit.Profile()), policy: []policy.Change{group("g", "in: in tcp 7 192.0.2.0/24", "out: out tcp 7 198.51.100.0/24"), nic("i", "g")},
			ask: []string{
				"i in tcp/7 192.0.2.1 -> accept rule g/in", "i in tcp/7 198.51.100.1 -> drop no_rule",
				"i out tcp/7 192.0.2.1 -> drop no_rule", "i out tcp/7 198.51.100.1 -> accept rule g/out",
			},
		},
		{
			id: "RU-17",
			wire: []wireCase{
				says(nfyio.Decode, nfyioRule("source", `"10.0.0.0/16"`), "in tcp 443 10.0.0.0/16"),
				says(kakao.Decode, k("source", `"10.0.0.0/16"`), "in tcp 443 10.0.0.0/16"),
				says(hypervisor.Decode, panelRule("cidr", `"10.0.0.0/16"`), "in v4 tcp 443 10.0.0.0/16"),
				says(stackit.Decode, stackitRule("ipRange", `"10.0.0.0/16"`), "in tcp 443 10.0.0.0/16"),
				refuses(nfyio.Decode, nfyioRule("source", `"10.0.0.5/16"`), sg.ErrInvalid, inf+"source"),
				refuses(hypervisor.Decode, panelRule("cidr", `"10.0.0.0/33"`), sg.ErrInvalid, "rules[0].cidr"),
			},
			under: under(nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), stackit.Profile()), policy: []policy.Change{group("g", "r: in v4 tcp 443 10.0.0.0/16"), nic("i", "g")},
			ask: []string{
				"i in tcp/443 10.0.0.0 -> accept rule", "i in tcp/443 10.0.255.255 -> accept rule", "i in tcp/443 10.1.0.0 -> drop no_rule", "i in tcp/443 9.255.255.255 -> drop no_rule",
			},
		},
		{
			id: "RU-18",
			wire: []wireCase{
				says(nfyio.Decode, `{"direction": "inbound", "protocol": "tcp", "port_range": "5432", "source": "sg_app_servers"}`, "in tcp 5432 group:sg_app_servers"),
				refuses(nfyio.Decode, nfyioRule("source", `"app servers"`), sg.ErrInvalid, inf+"source"),
			},
			under: under(nfyio.Profile()), policy: []policy.Change{
				group("sg_app_servers"), group("sg_db", "pg: in tcp 5432 group:sg_app_servers"), nic("app 10.0.0.7", "sg_app_servers"), nic("db 10.0.0.8", "sg_db"),
			},
			ask: []string{"db in tcp/5432 10.0.0.7 -> accept rule sg_db/pg", "db in tcp/5432 10.0.0.9 -> drop no_rule", "db in tcp/22 10.0.0.7 -> drop no_rule"},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrNotFound, `groups["g"].rules[0].peer`, group("g", "r: in tcp 1 group:sg_nobody"))
			},
		},
		{
			id: "RU-19",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule(remoteGroup...), "in v4 tcp 443 group:web"),
				refuses(hypervisor.Decode, panelRule("source_type", `"remote_group"`, "cidr", ""), sg.ErrRequired, "rules[0].remote_group"),
			},
			under: under(hypervisor.Profile()), policy: []policy.Change{
				group("web"), group("db", "sql: in v4 tcp 3306 group:web"), nic("w 10.0.0.7", "web"), nic("d 10.0.0.8", "db"),
			},
			ask: []string{"d in tcp/3306 10.0.0.7 -> accept rule db/sql", "d in tcp/3306 10.0.0.9 -> drop no_rule"},
		},
		{
			id: "RU-20",
			wire: []wireCase{
				says(kakao.Decode, `{"name": "default", "inbound_rules": [{"protocol": "TCP", "source": "@default", "port": "ALL"}], "outbound_rules": []}`, "in tcp 0-65535 group:default"),
				refuses(kakao.Decode, k("source", `"@"`), sg.ErrRequired, inf+"source"),
			},
			under: under(kakao.Profile()), policy: []policy.Change{group("g", "r: in tcp 22 10.9.9.9"), nic("i 10.0.0.5", "g")},
			then: func(t *testing.T, _ *scene) {
				s, err := document.Decode([]byte(`{"profile": "kakao", "security_groups": [{"id": "sg-1", "name": "web", "inbound_rules": [{"protocol": "tcp", "port_range": "all", "source": "@web"}]}]}`),
					document.Options{Profiles: profileOf})
				require.NoError(t, err)
				g, _ := s.Group("sg-1")
				require.Equal(t, sg.PeerGroup("sg-1"), g.Rules[0].Peer)
			},
		},
		{
			id:    "RU-21",
			wire:  []wireCase{says(hypervisor.Decode, panelRule(ipSet...), "in v4 tcp 443 set:office")},
			under: under(hypervisor.Profile()), policy: []policy.Change{
				set("office", sg.IPv4, "198.51.100.0/24", "192.0.2.1"), group("g", "r: in v4 tcp 443 set:office"), nic("i", "g"),
			},
			ask: []string{"i in tcp/443 198.51.100.9 -> accept rule g/r", "i in tcp/443 192.0.2.1 -> accept rule g/r", "i in tcp/443 192.0.2.2 -> drop no_rule"},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrNotFound, `groups["h"].rules[0].peer`, group("h", "r: in v4 tcp 1 set:nobody"))
			},
		},
		{
			id: "RU-22",
			wire: []wireCase{
				refuses(hypervisor.Decode, panelRule("remote_group", `"web"`), sg.ErrConflict, "rules[0].remote_group"),
				refuses(hypervisor.Decode, panelRule("ip_set", `"office"`), sg.ErrConflict, "rules[0].ip_set"),
				refuses(hypervisor.Decode, panelRule("source_type", ""), sg.ErrRequired, "rules[0].source_type"),
				refuses(hypervisor.Decode, panelRule("cidr", ""), sg.ErrRequired, "rules[0].cidr"),
			},
			under: under(hypervisor.Profile()),
			then: func(_ *testing.T, s *scene) {
				g := newGroup("g", "r: in v4 tcp 1 0.0.0.0/0")
				g.Rules[0].Peer = sg.Peer{}
				s.refusePut(sg.ErrRequired, `groups["g"].rules[0].peer`, policy.PutGroup{Group: g})
			},
		},
		{
			id: "RU-23",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule("cidr", `"10.0.0.5"`), "in v4 tcp 443 10.0.0.5/32"),
				says(hypervisor.Decode, panelRule("ip_version", `"IPv6"`, "cidr", `"2001:db8::1"`), "in v6 tcp 443 2001:db8::1/128"),
				says(stackit.Decode, stackitRule("ipRange", `"10.0.0.5"`), "in tcp 443 10.0.0.5/32"),
				refuses(hypervisor.Decode, panelRule("cidr", `"010.0.0.5"`), sg.ErrInvalid, "rules[0].cidr"),
			},
			under: under(hypervisor.Profile(), stackit.Profile()), policy: []policy.Change{group("g", "r: in v4 tcp 443 192.0.2.5"), nic("i", "g")},
			ask: []string{"i in tcp/443 192.0.2.5 -> accept rule g/r", "i in tcp/443 192.0.2.4 -> drop no_rule"},
		},
		{
			id: "RU-24", under: under(nfyio.Profile(), hypervisor.Profile()),
			policy: []policy.Change{group("four", "r: in v4 tcp 1 0.0.0.0/0"), group("six", "r: in v6 tcp 1 ::/0"), nic("i", "four"), nic("j 10.0.0.6 fd00::6", "six")},
			wire:   []wireCase{says(nfyio.Decode, nfyioRule("source", `"::/0"`), "in tcp 443 ::/0")},
			ask: []string{
				"i in tcp/1 0.0.0.1 -> accept rule four/r", "i in tcp/1 223.255.255.255 -> accept rule four/r", "i in tcp/1 2001:db8::1 -> drop no_rule",
				"j in tcp/1 192.0.2.1 -> drop no_rule", "j in tcp/1 2001:db8::1 -> accept rule six/r", "j in tcp/1 fe80::1 -> accept rule six/r",
			},
		},
		{
			id: "RU-25",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule(v6...), "in v6 tcp 443 ::/0"),
				refuses(hypervisor.Decode, panelRule("ip_version", ""), sg.ErrRequired, "rules[0].ip_version"),
				refuses(hypervisor.Decode, panelRule("ip_version", `"any"`), sg.ErrInvalid, "rules[0].ip_version"),
			},
			under: under(hypervisor.Profile()), policy: []policy.Change{group("g", "r: in v4 tcp 1 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrRequired, `groups["h"].rules[0].family`, group("h", "r: in tcp 1 0.0.0.0/0"))
				s.refuse(admin(), sg.ErrRequired, `groups["g"].rules[1].family`, func(tx *policy.Tx) error { return tx.AddRules("g", readRule("s: in any group:g")) })
			},
		},
		{
			id: "RU-26",
			wire: []wireCase{
				refuses(hypervisor.Decode, panelRule("cidr", `"::/0"`), sg.ErrFamily, "rules[0].cidr"),
				refuses(hypervisor.Decode, panelRule("ip_version", `"IPv6"`), sg.ErrFamily, "rules[0].cidr"),
			},
			under: under(hypervisor.Profile()),
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrFamily, `groups["g"].rules[0].peer`, group("g", "r: in v4 tcp 1 2001:db8::/32"))
				s.refusePut(sg.ErrFamily, `groups["g"].rules[0].peer`, group("g", "r: in v6 tcp 1 10.0.0.0/8"))
			},
		},
		{
			id: "RU-27", under: under(hypervisor.Profile()), policy: []policy.Change{set("four", sg.IPv4, "192.0.2.1"), set("six", sg.IPv6, "2001:db8::1")},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrFamily, `groups["g"].rules[0].peer`, group("g", "r: in v6 tcp 1 set:four"))
				s.refusePut(sg.ErrFamily, `groups["g"].rules[0].peer`, group("g", "r: in v4 tcp 1 set:six"))
				s.put(group("g", "4: in v4 tcp 1 set:four", "6: in v6 tcp 1 set:six"), nic("i", "g"))
				s.ask("i in tcp/1 192.0.2.1 -> accept rule g/4", "i in tcp/1 2001:db8::1 -> accept rule g/6")
			},
		},
		{
			id: "RU-28",
			wire: []wireCase{
				says(stackit.Decode, stackitRule("ipRange", `"2001:db8::/32"`), "in tcp 443 2001:db8::/32"),
				says(stackit.Decode, stackitRule("ipRange", ""), "in tcp 443 any"),
			},
			under: under(stackit.Profile()), policy: []policy.Change{
				group("g", "4: in tcp 443 192.0.2.0/24", "6: in tcp 443 2001:db8::/32", "both: in tcp 80 any", "ping: in icmp any"), nic("i", "g"),
			},
			ask: []string{
				"i in tcp/443 192.0.2.1 -> accept rule g/4", "i in tcp/443 2001:db8::1 -> accept rule g/6",
				"i in tcp/80 192.0.2.1 -> accept rule g/both", "i in tcp/80 2001:db8::1 -> accept rule g/both",
				"i in icmp/8 192.0.2.1 -> accept rule g/ping", "i in icmpv6/128 2001:db8::1 -> accept rule g/ping",
			},
		},
		{
			id: "RU-29",
			wire: []wireCase{
				described(nfyio.Decode, nfyioRule("description", `"HTTPS from internet"`)), described(hypervisor.Decode, panelRule("description", `"HTTPS from internet"`)),
				described(kakao.Decode, k("description", `"HTTPS from internet"`)),
				says(nfyio.Decode, nfyioRule("description", ""), "in tcp 443 0.0.0.0/0"),
			},
		},
		{
			id:    "RU-30",
			wire:  []wireCase{refuses(hypervisor.Decode, doubled(panelRule("description", `"one"`), `"one"`, `"two"`), sg.ErrDuplicate, "rules[1]")},
			under: under(hypervisor.Profile()), policy: []policy.Change{group("g", "ssh: in v4 tcp 22 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				again := readRule("another: in v4 tcp 22 0.0.0.0/0")
				again.Description = "of another day"
				s.refuse(admin(), sg.ErrDuplicate, `groups["g"].rules[1]`, func(tx *policy.Tx) error { return tx.AddRules("g", again) })
				for n, text := range []string{ // one field of the key differs
					"a: out v4 tcp 22 0.0.0.0/0", "b: in v4 udp 22 0.0.0.0/0", "c: in v4 tcp 23 0.0.0.0/0", "d: in v6 tcp 22 ::/0", "e: in v4 tcp 22 10.0.0.0/8",
				} {
					s.edit(func(tx *policy.Tx) error { return tx.AddRules("g", readRule(text)) })
					require.Len(s.t, s.group("g").Rules, n+2)
				}
			},
		},
		{
			id: "RU-31", under: under(hypervisor.Profile()),
			policy: []policy.Change{group("g", "ssh: in v4 tcp 22 0.0.0.0/0", "http: in v4 tcp 80 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "ssh") })
				s.ask("i in tcp/22 192.0.2.1 -> drop no_rule", "i in tcp/80 192.0.2.1 -> accept rule g/http")
				s.refuse(admin(), sg.ErrNotFound, `groups["g"].rules`, func(tx *policy.Tx) error { return tx.RemoveRule("g", "ssh") })
			},
		},
		{
			id: "RU-32",
			wire: []wireCase{
				says(nfyio.Decode, `{"direction": "inbound", "protocol": "icmp", "source": "10.0.0.0/8"}`, "in icmp 10.0.0.0/8"),
				says(nfyio.Decode, `{"inbound": [{"protocol": "icmp", "source": "10.0.0.0/8"}], "outbound": []}`, "in icmp 10.0.0.0/8"),
				says(nfyio.Decode, nfyioRule("direction", `"inbound"`), "in tcp 443 0.0.0.0/0"),
				refuses(nfyio.Decode, nfyioRule("direction", `"outbound"`), sg.ErrConflict, inf+"direction"),
				refuses(nfyio.Decode, `{"protocol": "icmp", "source": "10.0.0.0/8"}`, sg.ErrRequired, "direction"),
			},
		},
		{
			id: "RU-33", under: under(seven()...), policy: []policy.Change{group("g", "echo: in v4 icmp 8 0.0.0.0/0", "gre: in v4 gre 0.0.0.0/0"), nic("i", "g")},
			ask: []string{
				"i in icmp/8 192.0.2.1 -> accept rule g/echo", "i in icmp/13 192.0.2.1 -> drop no_rule",
				"i in gre 192.0.2.1 -> accept rule g/gre", "i in esp 192.0.2.1 -> drop no_rule",
			},
			then: func(t *testing.T, s *scene) { // what a document has no word for, its form refuses
				for _, encode := range []func([]*sg.Group) ([]byte, []sg.Warning, error){nfyio.Encode, hypervisor.Encode, kakao.Encode} {
					_, _, err := encode([]*sg.Group{s.group("g")})
					fault(t, err, sg.ErrUnsupported, `groups["g"].rules[0].icmp`)
					fault(t, err, sg.ErrUnsupported, `groups["g"].rules[1].protocol`)
				}
			},
		},
	}
}

func described(d decoder, in string) wireCase {
	return wireCase{decode: d, in: in, check: func(t *testing.T, g []*sg.Group) {
		require.Equal(t, "HTTPS from internet", g[0].Rules[0].Description)
	}}
}

// doubled repeats the only rule of a panel's document, with new in place of old.
func doubled(in, old, repl string) string {
	before, rest, _ := strings.Cut(in, "[")
	rule, after, _ := strings.Cut(rest, "]")
	return before + "[" + rule + ", " + strings.Replace(rule, old, repl, 1) + "]" + after
}

// profileOf finds a profile as dialect.Profile does.
func profileOf(name string) (sg.Profile, bool) {
	for _, p := range seven() {
		if p.Name == name {
			return p, true
		}
	}
	return sg.Profile{}, false
}
