package nftables

import (
	"fmt"
	"strings"
	"testing"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// programs are the policies of a history that have the most rules, each by
// itself.
func programs(t *testing.T, e sg.Established) (out []*ir.Program) {
	for _, changes := range history()[:2] {
		out = append(out, compiled(t, build(t, richProfile(e), changes...)).Program())
	}
	return out
}

// history is what the policy of a battery is, and how it changes.
func history() [][]policy.Change {
	return [][]policy.Change{rich(exempt, allRules), rich(nil, noSpare), rich(nil, halfOfThem), rich(nil, allRules), rich(nil, noSpare)}
}

func allRules(int, sg.Rule) bool       { return true }
func noSpare(_ int, r sg.Rule) bool    { return !strings.HasPrefix(string(r.ID), "spare") }
func halfOfThem(n int, r sg.Rule) bool { return n%2 == 0 && noSpare(n, r) }

func richProfile(e sg.Established) sg.Profile {
	rule := func(name string, a sg.Action, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.PlatformRule {
		return sg.PlatformRule{Name: name, Action: a, Rule: ruleOf(sg.RuleID(name), d, p, port, peer)}
	}
	p := sg.Profile{Name: "rich", AllowStateless: true, Established: e, EmptyDirection: sg.Accept}
	for _, d := range directions() {
		p.Platform = append(p.Platform,
			rule("no smtp "+d.String(), sg.Drop, d, sg.TCP, 25, "any"),
			rule("mdns "+d.String(), sg.Accept, d, sg.UDP, 5353, "any"),
			rule("no part "+d.String(), sg.Drop, d, sg.UDP, 2004, "192.0.2.128/25"),
			rule("no part6 "+d.String(), sg.Drop, d, sg.UDP, 2005, "2001:db8:a:0:8000::/65"))
		p.BeyondAny = append(p.BeyondAny, rule("beyond "+d.String(), sg.Drop, d, sg.TCP, 80, "198.51.100.0/28"))
	}
	return p
}

func ruleOf(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.Rule {
	r := sg.Rule{ID: id, Direction: d, Protocol: p}
	if err := r.Peer.UnmarshalText([]byte(peer)); err != nil {
		panic(err)
	}
	if p.HasPorts() {
		r.Ports = sg.Port(port)
	}
	return r
}

// exempt lifts the platform's rules that refuse.
func exempt(i *sg.Interface) { exemptOf("no smtp", "no part", "no part6", "beyond")(i) }

func exemptOf(names ...string) func(*sg.Interface) {
	return func(i *sg.Interface) {
		for _, d := range directions() {
			for _, name := range names {
				i.Exempt = append(i.Exempt, name+" "+d.String())
			}
		}
	}
}

// both makes two edits.
func both(f, g func(*sg.Interface)) func(*sg.Interface) {
	return func(i *sg.Interface) {
		if f != nil {
			f(i)
		}
		g(i)
	}
}

// rich is a policy with something of everything, and nothing twice: no rule
// allows what another one does. keep says which rules of each group are there.
func rich(edit func(*sg.Interface), keep func(n int, r sg.Rule) bool) (out []policy.Change) {
	set := func(id sg.SetID, f sg.Family, list ...string) {
		s := ipset.New(id, f, sg.Global())
		for _, p := range prefixes(list...) {
			if err := s.Add(ipset.Entry{Prefix: p}); err != nil {
				panic(err)
			}
		}
		out = append(out, policy.PutSet{Set: s})
	}
	set("s4", sg.IPv4, "192.0.2.240/29", "192.0.2.250")
	set("s6", sg.IPv6, "2001:db8:b:1::/64", "2001:db8:b::9")
	group := func(vpc sg.VPCID, id sg.GroupID, stateless bool, rules func(d sg.Direction, add func(sg.Protocol, uint16, string)), dirs ...sg.Direction) {
		g := &sg.Group{ID: id, Name: string(id), VPC: vpc, Stateless: stateless}
		n := 0
		for _, d := range dirs {
			rules(d, func(p sg.Protocol, port uint16, peer string) {
				r := ruleOf(sg.RuleID(fmt.Sprint(d, n)), d, p, port, peer)
				if port == 9999 {
					r.ID = sg.RuleID("spare " + d.String())
				}
				if n++; keep(n, r) {
					g.Rules = append(g.Rules, r)
				}
			})
		}
		out = append(out, policy.PutGroup{Group: g})
	}
	group("red", "many", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		for _, p := range []sg.Protocol{sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, 47} {
			add(p, 80, "any")
			if p == sg.TCP {
				for port := range uint16(5) {
					add(p, 1000+2*port, "any")
				}
			}
		}
		for i, peer := range []string{"group:peers", "set:s4", "set:s6", "192.0.2.0/24", "2001:db8:a::/64"} {
			add(sg.UDP, 2001+uint16(i), peer)
		}
		add(sg.TCP, 25, "any")
		add(sg.TCP, 80, "198.51.100.0/29")
		add(sg.UDP, 2201, "any")
		add(sg.UDP, 2211, "any")
		if d == sg.Egress { // what lets an answer out that is no answer any more
			add(sg.AnyProtocol, 0, "203.0.113.128/28")
		} else {
			add(sg.AnyProtocol, 0, "203.0.113.144/28")
		}
	}, directions()...)
	group("red", "nets", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		for _, list := range [][]string{{"192.0.2.0/24", "192.0.2.64/26", "198.51.100.32/27", "100.64.0.0/16", "100.64.8.0/24"}, {"2001:db8:a::/48", "2001:db8:a:1::/64", "2001:db8:b::/64", "fd00:a::/64", "fd00:a::8/125"}} {
			add(sg.TCP, 4000, list[0])
			add(sg.UDP, 4000, list[0])
			add(sg.UDP, 4001, list[1])
			add(sg.AnyProtocol, 0, list[2])
			add(sg.TCP, 4002, list[3])
			add(sg.TCP, 4003, list[4])
		}
		for i, peer := range []string{"192.0.2.0/24", "2001:db8:a::/48"} { // in part refused by the platform
			add(sg.UDP, 2004+uint16(i), peer)
		}
	}, directions()...)
	group("red", "plain", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 80, "any")
		add(sg.TCP, 80, "any")
		add(sg.TCP, 9999, "any")
	}, directions()...)
	// Of UDP and TCP 3005 only the rule that does not track is among half of
	// them: connections lose their licence, and packets pass.
	group("red", "less", true, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 3001, "any")
		add(sg.TCP, 3001, "any")
		add(sg.AnyProtocol, 0, "100.64.0.0/17")
		add(sg.AnyProtocol, 0, "2001:db8:a::/64")
		add(sg.UDP, 3006, "any")
		add(sg.UDP, 3005, "any")
		add(sg.TCP, 3006, "any")
		add(sg.TCP, 3005, "any")
		add(sg.TCP, 80, "any") // the platform refuses it, and UDP 2004, to and from some
		add(sg.UDP, 2005, "any")
	}, directions()...)
	group("red", "full", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 3005, "any")
		add(sg.UDP, 3003, "100.64.1.0/24")
		add(sg.ICMP, 0, "any")
		add(sg.TCP, 3003, "100.64.1.0/24")
		add(sg.ICMPv6, 0, "any")
		add(sg.UDP, 3004, "203.0.113.0/28")
		add(sg.TCP, 3004, "203.0.113.0/28")
		add(sg.UDP, 3003, "2001:db8:a::/63")
		add(sg.UDP, 3002, "any")
		add(sg.TCP, 3002, "any")
		add(sg.TCP, 3005, "any")
		add(sg.UDP, 3007, "any")
		add(sg.UDP, 2004, "any")
		add(sg.UDP, 3009, "any")
	}, directions()...)
	group("blue", "in", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 80, "any")
		add(sg.TCP, 80, "any")
	}, sg.Ingress)
	group("gray", "gray", true, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.TCP, 80, "any")
		add(sg.UDP, 80, "any")
	}, directions()...)
	group("gray", "tracks", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.TCP, 82, "198.51.100.0/24")
		add(sg.UDP, 82, "198.51.100.0/24")
	}, directions()...)
	group("red", "peers", false, func(sg.Direction, func(sg.Protocol, uint16, string)) {}, directions()...)
	out = append(out,
		attach("red-1", edit, "many"), attach("red-2", both(edit, guarded("198.18.2.0/29", "2001:db8:1:2::/65")), "plain", "nets"), attach("red-3", edit, "less", "full"),
		attach("blue-1", nil, "in"), attach("gray-1", both(exemptOf("mdns"), guarded()), "gray", "tracks"),
		policy.PutInterface{Interface: &sg.Interface{ID: "far", VPC: "red", Addrs: prefixes("198.51.100.64/30", "198.51.100.77", "2001:db8:b:2::/64", "2001:db8:b:3::9"), Groups: []sg.GroupID{"peers"}}})
	return out
}
