package dialect_test

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// found says that lint finds code at these places of a policy of p, and
// nowhere else.
func found(code string, p sg.Profile, c []policy.Change, at ...string) lintOutcome {
	return lintOutcome{profile: p, policy: c, code: code, at: at}
}

// lintClaims are those of section 1.7, Guidance: a finding is made under the
// profile of its document, and never where that makes it impossible.
func lintClaims() []claim {
	of := func(rules ...string) []policy.Change { return []policy.Change{group("g", rules...), nic("i", "g")} }
	noted := func(note string) []policy.Change {
		g := newGroup("g", "r: in tcp 443 192.0.2.0/24")
		g.Rules[0].Description = note
		return []policy.Change{policy.PutGroup{Group: g}, nic("i", "g")}
	}
	vm := func(groups ...sg.GroupID) []policy.Change {
		return []policy.Change{
			group("g", "r: in v4 tcp 443 192.0.2.0/24"), policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: groups}}, nicOf(sg.Interface{Instance: "vm"}, "i 10.0.0.5"),
		}
	}
	rule := func(n int) string { return fmt.Sprintf(`groups["g"].rules[%d]`, n) }
	const g, i = `groups["g"]`, `interfaces["i"]`
	n, h, k, st := nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), stackit.Profile()
	web := group("web", "r: in tcp 443 192.0.2.0/24")
	return []claim{
		{id: "LI-01", lint: []lintOutcome{
			found("LI-01", n, of("all: in any 0.0.0.0/0", "six: in any ::/0", "own: in any 10.0.0.0/8", "https: in tcp 443 0.0.0.0/0"), rule(0), rule(1)),
			found("LI-01", n, of("https: in tcp 443 0.0.0.0/0")),
		}},
		{id: "LI-02", lint: []lintOutcome{
			found("LI-02", n, append(of("pg: in tcp 5432 10.0.0.7", "else: in tcp 5432 10.0.0.8"), web, nic("w 10.0.0.7", "web")), rule(0)),
			found("LI-02", n, append(of("pg: in tcp 5432 group:web"), web, nic("w 10.0.0.7", "web"))),
			found("LI-02", h, append(vm("g"), group("db", "sql: in v4 tcp 3306 10.0.0.5"), nic("d 10.0.0.6", "db")), `groups["db"].rules[0]`), // its instance has the group
		}},
		{id: "LI-03", lint: []lintOutcome{
			found("LI-03", n, noted(""), rule(0)),
			found("LI-03", n, noted("needed by the shop")),
		}},
		{id: "LI-04", lint: []lintOutcome{
			found("LI-04", n, of("https: in tcp 443 0.0.0.0/0", "pg: in tcp 5432 10.0.0.0/8"), g),
			found("LI-04", n, append(of("https: in tcp 443 0.0.0.0/0"), group("db", "pg: in tcp 5432 group:g"), nic("d 10.0.0.6", "db"))),
		}},
		{id: "LI-05", lint: []lintOutcome{
			found("LI-05", k, of("ssh: in tcp 22 0.0.0.0/0", "rdp: in tcp 3389 ::/0", "range: in tcp 20-25 0.0.0.0/0", "office: in tcp 22 198.51.100.0/24", "udp: in udp 22 0.0.0.0/0"),
				rule(0), rule(1), rule(2)),
			found("LI-05", k, of("ssh: in tcp 22 198.51.100.0/24", "rdp: in tcp 3389 198.51.100.0/24")),
		}},
		{id: "LI-06", lint: []lintOutcome{
			found("LI-06", k, of("many: in tcp 1000-9999 192.0.2.0/24", "all: in udp ALL 192.0.2.0/24", "few: in tcp 8000-8010 192.0.2.0/24"),
				`groups["default"].rules[0]`, rule(0), rule(1)), // of the platform's making, but editable
			found("LI-06", n, of("few: in tcp 8000-8010 192.0.2.0/24", "none: in any 192.0.2.0/24")),
		}},
		{id: "LI-07", lint: []lintOutcome{
			found("LI-07", k, append(of("https: in tcp 443 0.0.0.0/0"), group("a", "same: in tcp 443 0.0.0.0/0")), g),
			found("LI-07", k, append(of("https: in tcp 443 0.0.0.0/0"), group("a", "other: in tcp 444 0.0.0.0/0"))),
		}},
		{id: "LI-08", lint: []lintOutcome{
			found("LI-08", n, of("all: out any 0.0.0.0/0", "some: out tcp 443 0.0.0.0/0"), rule(0)),
			found("LI-08", st, of("all: out any any"), rule(0)),
			found("LI-08", st, of("some: out tcp 443 0.0.0.0/0")),
		}},
		{id: "LI-09", lint: []lintOutcome{
			found("LI-09", n, of("ping: in icmp 0.0.0.0/0", "own: in icmp 10.0.0.0/8"), rule(0)),
			found("LI-09", n, of("own: in icmp 10.0.0.0/8", "out: out icmp 0.0.0.0/0")),
		}},
		{id: "LI-10", lint: []lintOutcome{
			found("LI-10", h, of("ssh: in v4 tcp 22 10.0.0.0/8"), i), // outbound is open
			found("LI-10", h, of(), i, i),
			found("LI-10", h, vm("g"), i), // by its instance
			found("LI-10", h, of("ssh: in v4 tcp 22 10.0.0.0/8", "dns: out v4 udp 53 10.0.0.0/8")),
			found("LI-10", n, of()), found("LI-10", k, of()), found("LI-10", st, of()), // closed there
		}},
		{id: "LI-11", lint: []lintOutcome{
			found("LI-11", h, of("ssh: in v4 tcp 22 10.0.0.0/8", "4: out v4 any 0.0.0.0/0", "6: out v6 any ::/0"), i),
			found("LI-11", h, of("ssh: in v4 tcp 22 10.0.0.0/8", "ssh6: in v6 tcp 22 fd00::/8")),
			found("LI-11", h, []policy.Change{group("g", "ssh: in v4 tcp 22 10.0.0.0/8"), nic("i 10.0.0.5", "g")}), // has no IPv6
			found("LI-11", n, of("ping: in icmp 10.0.0.0/8"), i),
			found("LI-11", n, of("ping: in icmp any"), i),
			found("LI-11", st, of("ping: in icmp any")), // means ICMPv6 too
		}},
		{id: "LI-12", lint: []lintOutcome{
			found("LI-12", h, []policy.Change{group("g", "r: in v4 tcp 443 192.0.2.0/24"), nic("i")}, g, i),
			found("LI-12", h, vm("g")), // attached, by the instance
			found("LI-12", h, vm(), g, i),
			found("LI-12", n, of("r: in tcp 443 192.0.2.0/24")),
			found("LI-12", k, []policy.Change{group("g"), nic("i", "g")}), // an interface without any can not be, and the default group may idle
			found("LI-12", k, []policy.Change{group("g"), nicOf(sg.Interface{Kind: "bare-metal"}, "i", "g"), nicOf(sg.Interface{Kind: "bare-metal"}, "m 10.0.0.6")}, `interfaces["m"]`),
		}},
	}
}
