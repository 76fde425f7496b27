package enforcetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// both is the two directions.
func both() []sg.Direction { return []sg.Direction{sg.Ingress, sg.Egress} }

// tryPorts queues openers of p to every port of list, in both directions and
// families.
func (b *bench) tryPorts(i sg.InterfaceID, p sg.Protocol, list ...uint16) {
	for _, f := range families() {
		for _, d := range both() {
			for _, port := range list {
				b.open(i, d, p, f.peer, f.local, port)
			}
		}
	}
}

// tryPeers queues openers of p to a port from and to the addresses of list.
func (b *bench) tryPeers(i sg.InterfaceID, p sg.Protocol, port uint16, list ...string) {
	for _, s := range list {
		for _, f := range families() {
			if a := addr(s); a.BitLen() == f.local.BitLen() {
				for _, d := range both() {
					b.open(i, d, p, a, f.local, port)
				}
			}
		}
	}
}

// twice returns the same rule for both directions.
func twice(id sg.RuleID, p sg.Protocol, ports, from string) []sg.Rule {
	return []sg.Rule{rule(id+"-in", sg.Ingress, p, ports, from), rule(id+"-out", sg.Egress, p, ports, from)}
}

func portRules(p sg.Protocol) [][]sg.Rule {
	return [][]sg.Rule{
		twice("low", p, "0-1", "any"), twice("one", p, "443", "any"), twice("range", p, "8000-8010", "any"),
		twice("inside", p, "8003-8004", "any"), twice("next", p, "8011", "any"), twice("top", p, "65535", "any"),
	}
}

func verdictCases() []Case {
	edges := []uint16{0, 1, 2, 442, 443, 444, 7999, 8000, 8002, 8003, 8004, 8005, 8010, 8011, 8012, 65534, 65535}
	ports := func(p sg.Protocol) Case {
		return Case{Name: "verdict/ports-" + p.String(), Doc: "Port ranges hold at their edges, 0 and 65535 included, and for their own protocol only.", run: func(b *bench) {
			edges := edges
			if p == sg.SCTP {
				edges = edges[1:] // it has no port 0 (RFC 9260 3.1)
			}
			b.start(profile(sg.Revalidate), group("g", portRules(p)...), iface("red-1", "g"))
			b.tryPorts("red-1", p, edges...)
			for _, other := range []sg.Protocol{sg.TCP, sg.UDP} {
				if other != p {
					b.tryPorts("red-1", other, 443, 8000)
				}
			}
			b.start(profile(sg.Revalidate), group("g", twice("all", p, "all", "any")), iface("red-1", "g"))
			b.tryPorts("red-1", p, edges...)
			b.tryPorts("red-1", 253, 0)
		}}
	}
	return []Case{
		ports(sg.TCP), ports(sg.UDP), ports(sg.SCTP),
		{Name: "verdict/directions", Doc: "A rule of one direction opens nothing in the other.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("g", anyPeer("i", sg.Ingress, sg.TCP, "80"), anyPeer("e", sg.Egress, sg.TCP, "81")), iface("red-1", "g"))
			b.tryPorts("red-1", sg.TCP, 80, 81)
		}},
		{Name: "verdict/families", Doc: "0.0.0.0/0 does not open IPv6, nor ::/0 IPv4 (SEM-02).", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("g", twice("4", sg.TCP, "4", "0.0.0.0/0"), twice("6", sg.TCP, "6", "::/0"), twice("46", sg.TCP, "46", "any")), iface("red-1", "g"))
			b.tryPorts("red-1", sg.TCP, 4, 6, 46)
		}},
		{Name: "verdict/prefixes", Doc: "Prefixes of every kind of length hold at their edges (SEM-09).", run: func(b *bench) {
			for n, c := range []struct{ prefix, probes string }{
				{"0.0.0.0/0", "100.64.0.1 192.0.2.7"}, {"0.0.0.0/1", "100.64.0.1 192.0.2.7"}, {"128.0.0.0/1", "100.64.0.1 192.0.2.7"},
				{"192.0.2.128/25", "192.0.2.127 192.0.2.128 192.0.2.254 198.51.100.128"},
				{"192.0.2.8/31", "192.0.2.7 192.0.2.8 192.0.2.9 192.0.2.10"}, {"192.0.2.8/32", "192.0.2.7 192.0.2.8 192.0.2.9"},
				{"100.64.0.0/17", "100.64.0.1 100.64.127.255 100.64.128.0 192.0.2.7"},
				{"::/0", "2001:db8:a::7 fd00:a::7"}, {"::/1", "2001:db8:a::7 fd00:a::7"}, {"8000::/1", "2001:db8:a::7 fd00:a::7"},
				{"2001:db8:a::/48", "2001:db8:a::1 2001:db8:a:ffff:ffff:ffff:ffff:ffff 2001:db8:b::1"},
				{"2001:db8:a:8000::/49", "2001:db8:a:7fff:ffff:ffff:ffff:ffff 2001:db8:a:8000::1"},
				{"2001:db8:a::8/127", "2001:db8:a::7 2001:db8:a::8 2001:db8:a::9 2001:db8:a::a"},
				{"2001:db8:a::8/128", "2001:db8:a::7 2001:db8:a::8 2001:db8:a::9"},
				{"2001:db8:a::/64", "2001:db8:a::1 2001:db8:a:0:ffff:ffff:ffff:ffff 2001:db8:a:1::1"},
			} {
				b.start(profile(sg.Revalidate), group("g", twice("r", sg.TCP, fmt.Sprint(1000+n), c.prefix)), iface("red-1", "g"))
				b.tryPeers("red-1", sg.TCP, uint16(1000+n), strings.Fields(c.probes)...)
			}
		}},
		{Name: "verdict/protocols", Doc: "Any protocol is every protocol; a number is that one.", run: func(b *bench) {
			for _, p := range []sg.Protocol{sg.AnyProtocol, 253} {
				b.start(profile(sg.Revalidate), group("g", twice("r", p, "", "any")), iface("red-1", "g"))
				for _, d := range both() {
					for _, f := range families() {
						for _, q := range []sg.Protocol{sg.TCP, sg.UDP, f.icmp, 253, 254} {
							b.open("red-1", d, q, b.stranger(f), f.local, 7)
						}
					}
				}
			}
		}},
		{Name: "verdict/icmp", Doc: "A rule for an ICMP type, or type and code, opens that one: type 0 is no word for any (ICMP-19).", run: func(b *bench) {
			for _, f := range families() {
				query := func(typ, code uint8) {
					for _, d := range both() {
						src, dst, id := f.peer, f.local, b.port()
						if d == sg.Egress {
							src, dst = dst, src
						}
						b.eval("red-1", d, ICMP(src, dst, typ, code, []byte{byte(id >> 8), byte(id), 0, 1}))
					}
				}
				for _, m := range []sg.ICMPMatch{{}, sg.ICMPType(f.echo), sg.ICMPTypeCode(f.echo, 0), sg.ICMPTypeCode(f.echo, 1), sg.ICMPType(f.reply), sg.ICMPTypeCode(0, 0)} {
					b.start(profile(sg.Revalidate), group("g", []sg.Rule{icmpRule("in", sg.Ingress, f, m), icmpRule("out", sg.Egress, f, m)}), iface("red-1", "g"))
					query(f.echo, 0)
					for _, other := range families() {
						if other.icmp != f.icmp {
							b.open("red-1", sg.Ingress, other.icmp, other.peer, other.local, 0)
						}
					}
					b.tryPorts("red-1", sg.UDP, 8)
				}
			}
		}},
		{Name: "verdict/groups", Doc: "A rule for a group is for the addresses of its members, in both families, and for nobody else (SEM-03).", run: func(b *bench) {
			b.start(profile(sg.Revalidate),
				group("db", twice("sql", sg.TCP, "5432", "group:app"), twice("self", sg.TCP, "5433", "group:db")),
				group("app"), group("other"),
				iface("red-1", "db"), iface("red-2", "app"),
				member("m1", "192.0.2.10 2001:db8:a::10", "app"),
				member("m2", "192.0.2.12/30 2001:db8:a:5::/64", "app"), // delegated prefixes
				member("m3", "192.0.2.20 2001:db8:a::20", "other"),
				member("m4", "192.0.2.21 2001:db8:a::21"),
				member("m5", "192.0.2.22 2001:db8:a::22", "other", "db"))
			for _, port := range []uint16{5432, 5433} {
				b.tryPeers("red-1", sg.TCP, port, strings.Fields("192.0.2.9 192.0.2.10 192.0.2.11 192.0.2.12 192.0.2.15 192.0.2.16 192.0.2.20 192.0.2.21 192.0.2.22 "+
					"2001:db8:a::f 2001:db8:a::10 2001:db8:a::11 2001:db8:a:5::1 2001:db8:a:6::1 2001:db8:a::20 2001:db8:a::21 2001:db8:a::22")...)
			}
			b.change(member("m1", "192.0.2.9", "app"), policy.DeleteInterface{ID: "m2"}, member("m4", "192.0.2.21 2001:db8:a::21", "app"))
			b.tryPeers("red-1", sg.TCP, 5432, strings.Fields("192.0.2.9 192.0.2.10 192.0.2.12 192.0.2.21 2001:db8:a::10 2001:db8:a:5::1 2001:db8:a::21")...)
		}},
		{Name: "verdict/vpcs", Doc: "A group's members in one VPC are no peers in another, though the addresses are the same (SEM-11).", run: func(b *bench) {
			blue := member("m2", "192.0.2.20 2001:db8:a::20", "peers-blue")
			blue.Interface.VPC = "blue"
			b.start(profile(sg.Revalidate),
				group("peers"), groupIn("blue", "peers-blue"),
				group("g", twice("r", sg.TCP, "80", "group:peers")), groupIn("blue", "h", twice("r", sg.TCP, "80", "group:peers-blue"), twice("s", sg.TCP, "81", "any")),
				member("m1", "192.0.2.10 2001:db8:a::10", "peers"), blue,
				iface("red-1", "g"), iface("blue-1", "h"))
			for _, i := range []sg.InterfaceID{"red-1", "blue-1"} {
				for _, port := range []uint16{80, 81} {
					b.tryPeers(i, sg.TCP, port, strings.Fields("192.0.2.10 192.0.2.20 2001:db8:a::10 2001:db8:a::20")...)
				}
			}
		}},
		{Name: "verdict/sets", Doc: "A rule for an IP set is for all that its entries cover: nested, adjacent or single (SEM-05).", run: func(b *bench) {
			b.start(profile(sg.Revalidate),
				set("v4", sg.IPv4, "192.0.2.0/25 192.0.2.64/26 192.0.2.70 192.0.2.128/26 198.51.100.7 198.51.100.8/29"),
				set("v6", sg.IPv6, "2001:db8:a::/64 2001:db8:a::7 2001:db8:a:1::/64 2001:db8:b::9"),
				group("g", twice("4", sg.TCP, "80", "set:v4"), twice("6", sg.TCP, "80", "set:v6")), iface("red-1", "g"))
			probes := strings.Fields("192.0.2.1 192.0.2.63 192.0.2.64 192.0.2.70 192.0.2.71 192.0.2.127 192.0.2.128 192.0.2.191 192.0.2.192 " +
				"198.51.100.6 198.51.100.7 198.51.100.8 198.51.100.15 198.51.100.16 203.0.113.5 " +
				"2001:db8:a::1 2001:db8:a::7 2001:db8:a:0:ffff:ffff:ffff:ffff 2001:db8:a:1::1 2001:db8:a:2::1 2001:db8:b::8 2001:db8:b::9 2001:db8:b::a")
			b.tryPeers("red-1", sg.TCP, 80, probes...)
			// Take the wide entries away: the narrow ones inside stay.
			b.change(
				policy.EditSet{ID: "v4", Remove: []netip.Prefix{prefix("192.0.2.0/25"), prefix("198.51.100.8/29")}, Add: []ipset.Entry{{Prefix: prefix("203.0.113.4/31")}}},
				policy.EditSet{ID: "v6", Remove: []netip.Prefix{prefix("2001:db8:a::/64")}})
			b.tryPeers("red-1", sg.TCP, 80, probes...)
		}},
		{Name: "verdict/empty", Doc: "A group without members and a set without entries match nothing, not everything (SEM-04).", run: func(b *bench) {
			b.start(profile(sg.Revalidate), set("none", sg.FamilyAny, ""), set("none4", sg.IPv4, ""), group("nobody"),
				group("g", twice("g", sg.TCP, "80", "group:nobody"), twice("s", sg.TCP, "81", "set:none"), twice("s4", sg.TCP, "82", "set:none4"), twice("a", sg.TCP, "83", "any")),
				iface("red-1", "g"))
			b.tryPorts("red-1", sg.TCP, 80, 81, 82, 83)
			// Filled, and empty again.
			b.change(member("m", "192.0.2.7 2001:db8:a::7", "nobody"))
			b.tryPorts("red-1", sg.TCP, 80)
			b.change(policy.DeleteInterface{ID: "m"})
			b.tryPorts("red-1", sg.TCP, 80)
		}},
		{Name: "verdict/defaults", Doc: "An interface without groups, and a direction without rules, get what the profile says.", run: func(b *bench) {
			for _, unattached := range []sg.Action{sg.Drop, sg.Accept} {
				for _, empty := range []sg.Action{sg.Drop, sg.Accept} {
					p := profile(sg.Revalidate)
					p.Unattached, p.EmptyDirection = unattached, empty
					b.start(p, group("i", anyPeer("r", sg.Ingress, sg.TCP, "80")), group("e", anyPeer("r", sg.Egress, sg.TCP, "80")), group("none"), iface("red-1", "none"))
					for _, groups := range [][]sg.GroupID{nil, {"none"}, {"i"}, {"e"}, {"i", "e"}, {"none", "i"}} {
						b.change(iface("red-1", groups...))
						b.tryPorts("red-1", sg.TCP, 80, 81)
					}
				}
			}
		}},
		{Name: "verdict/platform", Doc: "Platform rules stand above every group, in their order, but for who is exempt.", run: func(b *bench) {
			p := profile(sg.Revalidate)
			no := rule("no", sg.Egress, sg.TCP, "25", "any")
			yes := rule("yes", sg.Ingress, sg.TCP, "68", "192.0.2.0/24")
			never := rule("never", sg.Ingress, sg.TCP, "60-70", "any")
			p.Platform = []sg.PlatformRule{{Name: "smtp", Action: sg.Drop, Rule: no}, {Name: "dhcp", Action: sg.Accept, Rule: yes}, {Name: "guard", Action: sg.Drop, Rule: never}}
			for _, unattached := range []sg.Action{sg.Drop, sg.Accept} {
				p.Unattached = unattached
				b.start(p, group("open", twice("all", sg.TCP, "all", "any")), group("none"), iface("red-1", "open"))
				for _, groups := range [][]sg.GroupID{{"open"}, {"none"}, nil} {
					for _, exempt := range [][]string{nil, {"smtp"}, {"guard", "dhcp"}} {
						i := iface("red-1", groups...)
						i.Interface.Exempt = exempt
						b.change(i)
						b.tryPorts("red-1", sg.TCP, 24, 25, 26, 59, 60, 67, 68, 69, 70, 71)
						b.tryPeers("red-1", sg.TCP, 68, "198.51.100.9")
					}
				}
			}
		}},
		{Name: "verdict/beyond-any", Doc: "What the profile keeps out of \"any\" is covered only by rules that name a peer.", run: func(b *bench) {
			p := profile(sg.Revalidate)
			p.BeyondAny = []sg.PlatformRule{{Name: "metadata", Action: sg.Drop, Rule: rule("metadata", sg.Egress, sg.TCP, "80", "203.0.113.0/28")}}
			b.start(p, group("any", anyPeer("all", sg.Egress, sg.AnyProtocol, "")), group("one", []sg.Rule{rule("r", sg.Egress, sg.TCP, "80", "203.0.113.4/32")}), iface("red-1", "any"))
			for _, groups := range [][]sg.GroupID{{"any"}, {"one"}, {"any", "one"}, {"one", "any"}} {
				b.change(iface("red-1", groups...))
				for _, port := range []uint16{80, 81} {
					b.tryPeers("red-1", sg.TCP, port, strings.Fields("203.0.113.3 203.0.113.4 203.0.113.15 203.0.113.16 2001:db8:a::7")...)
				}
			}
		}},
		{Name: "verdict/overlap", Doc: "Overlapping port ranges of two groups keep their own remotes (SEM-06).", run: func(b *bench) {
			b.start(profile(sg.Revalidate),
				group("a", twice("a4", sg.TCP, "80-90", "192.0.2.0/24"), twice("a6", sg.TCP, "80-90", "2001:db8:a::/48")),
				group("b", twice("b4", sg.TCP, "85-95", "198.51.100.0/24"), twice("b6", sg.TCP, "85-95", "2001:db8:b::/48"), twice("c", sg.TCP, "87", "any")),
				iface("red-1", "a", "b"))
			for _, port := range []uint16{79, 80, 84, 85, 86, 87, 88, 90, 91, 95, 96} {
				b.tryPeers("red-1", sg.TCP, port, strings.Fields("192.0.2.7 198.51.100.9 203.0.113.1 2001:db8:a::7 2001:db8:b::9 fd00:a::1")...)
			}
		}},
		{Name: "verdict/union", Doc: "Several groups are the union of their rules, in whatever order; a group that is detached takes its own along only.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("a", twice("r", sg.UDP, "1-10", "any")), group("b", twice("r", sg.UDP, "5-15", "any")), group("c", twice("r", sg.UDP, "20", "192.0.2.0/24")), iface("red-1", "a"))
			for _, groups := range [][]sg.GroupID{{"a", "b", "c"}, {"c", "b", "a"}, {"b"}, {"c"}, {"a", "c"}} {
				b.change(iface("red-1", groups...))
				b.tryPorts("red-1", sg.UDP, 0, 1, 4, 5, 10, 11, 15, 16, 20)
			}
		}},
		{Name: "verdict/random", Doc: "Random policies, probed at the edges of their rules, mean what Eval says.", run: randomVerdicts},
	}
}

// randomVerdicts tries random policies, one after the other.
func randomVerdicts(b *bench) {
	for n := range b.options.Policies {
		r := rand.New(rand.NewPCG(b.options.Seed, uint64(n)))
		g := generator{r}
		p, c := g.policy()
		b.start(p, c...)
		for range b.options.Packets {
			if b.err != nil {
				break
			}
			g.probe(b)
		}
		b.flush()
		if b.err != nil {
			b.err = fmt.Errorf("seed %d, policy %d: %w", b.options.Seed, n, b.err)
			return
		}
	}
}

// generator makes policies, and packets aimed at them.
type generator struct{ *rand.Rand }

func pick[T any](g generator, list ...T) T { return list[g.IntN(len(list))] }

// prefixes are CIDRs of rules, entries of sets and addresses of members.
func (g generator) prefixes(f sg.Family) []string {
	if f == sg.IPv4 {
		return strings.Fields("0.0.0.0/0 0.0.0.0/1 128.0.0.0/1 100.64.0.0/17 192.0.2.0/24 192.0.2.0/25 192.0.2.64/26 192.0.2.7/32 192.0.2.8/31 198.51.100.0/24 198.51.100.9/32 198.51.100.128/29 203.0.113.1/32")
	}
	return strings.Fields("::/0 ::/1 8000::/1 2001:db8:a::/48 2001:db8:a:8000::/49 2001:db8:a::/64 2001:db8:a::7/128 2001:db8:a::8/127 2001:db8:b::/48 2001:db8:b::9/128 2001:db8:b::80/121 fd00:a::/64 fd00:a::1/128")
}

func (g generator) prefix(f sg.Family, narrow bool) netip.Prefix {
	for {
		if p := prefix(pick(g, g.prefixes(f)...)); !narrow || p.Bits() > 1 {
			return p
		}
	}
}

func (g generator) family() sg.Family { return pick(g, sg.IPv4, sg.IPv6) }

func (g generator) rule(id sg.RuleID, peers []string) sg.Rule {
	r := sg.Rule{ID: id, Direction: pick(g, both()...), Protocol: pick(g, sg.TCP, sg.TCP, sg.UDP, sg.UDP, sg.AnyProtocol, sg.ICMP, sg.ICMPv6, 253)}
	if r.Protocol.HasPorts() {
		r.Ports = pick(g, sg.AllPorts(), sg.Port(80), sg.Port(443), sg.Port(65535), sg.PortRange{First: 0, Last: 79}, sg.PortRange{First: 80, Last: 90}, sg.PortRange{First: 85, Last: 8000}, sg.PortRange{First: 443, Last: 444})
	}
	family := r.Protocol.Family()
	if family == sg.FamilyAny {
		family = g.family()
	}
	if r.Protocol.HasICMP() {
		r.ICMP = pick(g, sg.ICMPMatch{}, sg.ICMPType(8), sg.ICMPType(128), sg.ICMPTypeCode(8, 0), sg.ICMPTypeCode(128, 0), sg.ICMPType(0))
		r.Family = family
	}
	switch g.IntN(4) {
	case 0:
		r.Peer = sg.PeerAny()
	case 1, 2:
		r.Peer = sg.PeerCIDR(g.prefix(family, false))
	default:
		r.Peer = peer(pick(g, peers...))
		if set, ok := r.Peer.Set(); ok {
			// The set's family goes before that of the protocol.
			if v4 := set == "s4"; r.Protocol.HasICMP() && v4 != (r.Protocol == sg.ICMP) {
				r.Peer = sg.PeerAny()
			}
		}
	}
	return r
}

func (g generator) policy() (sg.Profile, []policy.Change) {
	p := profile(sg.Revalidate)
	if g.IntN(3) == 0 {
		p.Unattached, p.EmptyDirection = pick(g, sg.Drop, sg.Accept), pick(g, sg.Drop, sg.Accept)
	}
	if g.IntN(3) == 0 {
		p.Platform = []sg.PlatformRule{
			{Name: "no", Action: sg.Drop, Rule: rule("no", pick(g, both()...), sg.TCP, "80-85", pick(g, g.prefixes(sg.IPv4)...))},
			{Name: "yes", Action: sg.Accept, Rule: rule("yes", pick(g, both()...), sg.UDP, "80-443", pick(g, g.prefixes(sg.IPv6)...))},
		}
	}
	if g.IntN(3) == 0 {
		p.BeyondAny = []sg.PlatformRule{{Name: "beyond", Action: sg.Drop, Rule: rule("beyond", pick(g, both()...), sg.TCP, "all", pick(g, g.prefixes(sg.IPv4)[3:]...))}}
	}
	var c []policy.Change
	entries := func(f sg.Family) (s string) {
		seen := make(map[netip.Prefix]bool)
		for range g.IntN(6) {
			if e := g.prefix(f, true); !seen[e] {
				seen[e] = true
				s += " " + e.String()
			}
		}
		return s
	}
	c = append(c, set("s4", sg.IPv4, entries(sg.IPv4)), set("s6", sg.IPv6, entries(sg.IPv6)))
	for _, vpc := range []sg.VPCID{"red", "blue"} {
		name := func(n int) sg.GroupID { return sg.GroupID(fmt.Sprintf("%s-g%d", vpc, n)) }
		var ids []sg.GroupID
		peers := []string{"set:s4", "set:s6"}
		for n := range 1 + g.IntN(4) {
			ids = append(ids, name(n))
			peers = append(peers, "group:"+string(name(n)))
		}
		for _, id := range ids {
			gr := groupIn(vpc, id)
			gr.Group.Stateless = g.IntN(6) == 0
			keys := make(map[sg.Rule]bool)
			for n := range g.IntN(8) {
				if r := g.rule(sg.RuleID(fmt.Sprint("r", n)), peers); !keys[r.Key()] {
					keys[r.Key()] = true
					gr.Group.Rules = append(gr.Group.Rules, r)
				}
			}
			c = append(c, gr)
		}
		some := func() (out []sg.GroupID) {
			for _, n := range g.Perm(len(ids))[:g.IntN(len(ids)+1)] {
				out = append(out, ids[n])
			}
			return out
		}
		for n := range g.IntN(6) {
			m := member(sg.InterfaceID(fmt.Sprintf("%s-m%d", vpc, n)), g.prefix(g.family(), true).String(), some()...)
			m.Interface.VPC = vpc
			c = append(c, m)
		}
		for _, i := range Interfaces() {
			if i.VPC == vpc {
				put := iface(i.ID, some()...)
				if g.IntN(4) == 0 && len(p.Platform) > 0 {
					put.Interface.Exempt = []string{"no"}
				}
				c = append(c, put)
			}
		}
	}
	return p, c
}

// probe queues a packet aimed at the edges of some rule.
func (g generator) probe(b *bench) {
	i := pick(g, Interfaces()...)
	d := pick(g, both()...)
	proto := pick(g, sg.TCP, sg.TCP, sg.UDP, sg.ICMP, 253)
	port := pick[uint16](g, 0, 79, 80, 81, 84, 85, 90, 91, 442, 443, 444, 445, 8000, 8001, 65534, 65535)
	p := b.matcher.Program()
	is, _ := p.Interface(i.ID)
	pol, _ := p.Policy(is.Policy)
	target := g.prefix(g.family(), true)
	if rules := pol.Chain(d).Rules; len(rules) > 0 && g.IntN(4) > 0 {
		r, _ := p.Rule(pick(g, rules...))
		if r.Protocol != sg.AnyProtocol {
			proto = r.Protocol
		}
		if r.Protocol.HasPorts() && g.IntN(4) > 0 {
			port = pick(g, r.Ports.First-1, r.Ports.First, r.Ports.Last, r.Ports.Last+1)
		}
		var members []netip.Prefix
		for m := range p.Members(r.Peer, r.Family) {
			members = append(members, m)
		}
		if r.Peer != ir.Any && len(members) > 0 {
			target = pick(g, members...)
		}
	}
	remote := g.edge(target)
	local := i.Addrs[0].Addr()
	if remote.Is6() {
		local = i.Addrs[1].Addr()
	}
	if proto.HasICMP() {
		proto = map[bool]sg.Protocol{true: sg.ICMP, false: sg.ICMPv6}[remote.Is4()]
	}
	b.open(i.ID, d, proto, remote, local, port)
}

// edge returns an address in Remotes at, or one off, an edge of p, or any if
// there is none.
func (g generator) edge(p netip.Prefix) netip.Addr {
	first, last := p.Addr(), lastAddr(p)
	for range 4 {
		if a := pick(g, first.Prev(), first, last, last.Next()); remote(a) {
			return a
		}
	}
	for {
		in := pick(g, Remotes()...)
		if in.Addr().Is4() == p.Addr().Is4() {
			return pick(g, in.Addr().Next(), lastAddr(in).Prev(), in.Addr().Next().Next())
		}
	}
}

func remote(a netip.Addr) bool {
	for _, p := range Remotes() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// lastAddr returns the last address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if n := p.Bits() - 8*i; n < 8 {
			b[i] |= 0xff >> max(n, 0)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
