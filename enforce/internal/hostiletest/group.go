package hostiletest

import (
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// members are a policy whose group "open" lets group "clients" in at TCP 80; the
// group has the interfaces named, which are elsewhere.
func members(names ...string) Policy {
	r := port(sg.Ingress, sg.TCP, 80)
	r.Peer = sg.PeerGroup("clients")
	p := worldOf(strict.Profile(), []sg.Rule{r}, policy.PutGroup{Group: group("clients")})
	for _, name := range names {
		f := map[string]func(family) string{"m": func(f family) string { return f.peer }, "n": func(f family) string { return f.far }}[name]
		p.Changes = append(p.Changes, policy.PutInterface{Interface: &sg.Interface{
			ID: sg.InterfaceID(name), VPC: "red", Addrs: prefixes(f(four()), f(six())), Groups: []sg.GroupID{"clients"},
		}})
	}
	return p
}

// entries are a policy whose group "open" lets a set per family in at TCP 80.
func entries(list ...string) Policy {
	var rules []sg.Rule
	var sets []policy.Change
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		id := map[sg.Family]sg.SetID{sg.IPv4: "four", sg.IPv6: "six"}[f]
		set := ipset.New(id, f, sg.Global())
		for _, p := range prefixes(list...) {
			if sg.FamilyOf(p.Addr()) != f {
				continue
			}
			if err := set.Add(ipset.Entry{Prefix: p}); err != nil {
				panic(err)
			}
		}
		r := port(sg.Ingress, sg.TCP, 80)
		r.Peer = sg.PeerSet(id)
		rules, sets = append(rules, r), append(sets, policy.PutSet{Set: set})
	}
	p := worldOf(strict.Profile(), rules)
	p.Changes = append(sets, p.Changes...)
	return p
}

// groupPlans are SEM-01 to SEM-11.
func groupPlans() []plan {
	from := func(s *script, want byte, src, port string) { // a connection to the workload
		f := four()
		if addr(src).Is6() {
			f = six()
		}
		s.in(want, syn(at(src, "4000"), at(f.local, port)))
	}
	two := func() Policy { // two groups with overlapping ranges and remotes of their own
		p := worldOf(strict.Profile(), []sg.Rule{allow(sg.Ingress, sg.TCP, 80, 100, "192.0.2.0/24")},
			policy.PutGroup{Group: group("more", allow(sg.Ingress, sg.TCP, 90, 110, "198.51.100.0/24"))})
		for _, c := range p.Changes {
			if i, ok := c.(policy.PutInterface); ok && i.Interface.ID == "a" {
				i.Interface.Groups = append(i.Interface.Groups, "more")
			}
		}
		return p
	}
	return []plan{
		{"SEM-01", "", "4", []Policy{world(allow(sg.Ingress, sg.TCP, 80, 80, "192.0.2.0/24"), allow(sg.Ingress, sg.UDP, 53, 53, "0.0.0.0/0"))}, func(s *script) {
			mapped := "::ffff:" + s.peer
			s.in('D', syn(at(mapped, "4000"), at(six().local, "80")))
			s.in('D', udp(at(mapped, "4000"), at(six().local, "53")))
			s.in('D', syn(at(mapped, "4000"), at("::ffff:"+s.local, "80")))
			s.in('D', syn(at("::"+s.peer, "4000"), at(six().local, "80"))) // IPv4-compatible, of old
			s.in('A', syn(at(s.peer, "4000"), at(s.local, "80")))
		}},
		{"SEM-02", "", "4", []Policy{world(allow(sg.Ingress, sg.TCP, 80, 80, "0.0.0.0/0"), allow(sg.Ingress, sg.TCP, 81, 81, "::/0"))}, func(s *script) {
			from(s, 'D', six().peer, "80")
			from(s, 'D', s.peer, "81")
			from(s, 'A', s.peer, "80")
			from(s, 'A', six().peer, "81")
		}},
		{"SEM-03", "", "4", []Policy{members("m", "n"), members("n"), members("m")}, func(s *script) {
			from(s, 'A', s.peer, "80")
			from(s, 'A', six().peer, "80")
			from(s, 'A', s.far, "80")
			from(s, 'D', s.third, "80")
			again := func(want byte, src string) { // a new flow, not a retry of the old one
				s.in(want, syn(at(src, "4001"), at(map[bool]string{true: four().local, false: six().local}[addr(src).Is4()], "80")))
			}
			s.next()
			again('D', s.peer)
			again('D', six().peer)
			again('A', s.far)
			s.next()
			again('A', s.peer)
			s.in('D', syn(at(s.far, "4002"), at(s.local, "80")))
		}},
		{"SEM-04", "", "4", []Policy{members(), entries(), world()}, func(s *script) {
			from(s, 'D', s.peer, "80")
			s.next()
			from(s, 'D', s.peer, "80")
			s.next()
			from(s, 'D', s.peer, "80")
		}},
		{"SEM-05", "", "4", []Policy{entries("203.0.113.0/25", "203.0.113.64/26", "203.0.113.128/26", "198.51.100.7/32", "198.51.100.8/31",
			"2001:db8:7::/48", "2001:db8:8::1/128", "8.0.0.0/5")}, func(s *script) {
			for _, c := range []struct {
				want byte
				src  string
			}{
				{'D', "203.0.112.255"}, {'A', "203.0.113.0"}, {'A', "203.0.113.127"}, {'A', "203.0.113.191"}, {'D', "203.0.113.192"}, {'D', "198.51.100.6"},
				{'A', "198.51.100.7"}, {'A', "198.51.100.9"}, {'A', "2001:db8:7::"}, {'A', "2001:db8:7:ffff:ffff:ffff:ffff:ffff"},
				{'D', "2001:db8:8::"}, {'D', "2001:db8:8::2"}, {'A', "2001:db8:8::1"}, {'A', "8.0.0.1"}, {'A', "15.255.255.255"}, {'D', "16.0.0.0"},
			} {
				from(s, c.want, c.src, "80")
			}
		}},
		{"SEM-06", "", "4", []Policy{two()}, func(s *script) {
			from(s, 'A', s.peer, "80")
			from(s, 'A', s.peer, "100")
			from(s, 'D', s.peer, "101")
			from(s, 'D', s.far, "89")
			from(s, 'A', s.far, "90")
			from(s, 'A', s.far, "110")
			from(s, 'D', s.far, "111")
			from(s, 'A', s.peer, "95")
			from(s, 'A', s.far, "95")
			from(s, 'D', s.third, "95")
		}},
		{"SEM-07", "", "4", usually(), func(s *script) {
			me, ftp := at(s.local, "4000"), at(s.peer, "21")
			s.talk(true, me, ftp, "c S 1000; s SA 5000 1001; c A 1001 5001", "AAA")
			command := []byte("PORT 10,0,0,5,19,137\r\n") // port 5001
			g := tcpPart(me, ftp, segment{flags: tcpFlags("PA"), seq: 1001, ack: 5001, win: 8192, data: len(command)})
			copy(g[20:], command)
			s.out('A', ip(s.local, s.peer, 6, sealed(s.local, s.peer, 6, g, 16)...))
			s.in('D', syn(at(s.peer, "20"), at(s.local, "5001")))
			s.out('A', udp(at(s.local, "5060"), at(s.peer, "5060"),
				[]byte("REGISTER sip:192.0.2.7 SIP/2.0\r\nContact: <sip:u@10.0.0.5:5062>\r\n\r\n")...))
			s.in('D', udp(at(s.peer, "5060"), at(s.local, "5062")))
			s.in('D', syn(at(s.peer, "4000"), at(s.local, "5062")))
		}},
		{"SEM-08", "", "46", usually(), func(s *script) {
			me, it := at(s.local, "4000"), at(s.peer, "69")
			s.out('A', udp(me, it))
			s.in('A', udp(it, me))
			s.out('A', udp(me, it))
			s.in('D', udp(at(s.peer, "70"), me))
			s.in('D', udp(it, at(s.local, "4001")))
			s.in('D', syn(it, me))
		}},
		{"SEM-09", "", "4", []Policy{world(
			allow(sg.Ingress, sg.TCP, 80, 80, "192.0.2.7/32"), allow(sg.Ingress, sg.TCP, 81, 81, "198.51.100.8/31"),
			allow(sg.Ingress, sg.TCP, 83, 83, "0.0.0.0/0"), allow(sg.Ingress, sg.TCP, 84, 84, "::/0"),
			allow(sg.Ingress, sg.TCP, 82, 82, "2001:db8::8/127"), allow(sg.Ingress, sg.TCP, 85, 85, "2001:db8::7/128"))}, func(s *script) {
			for _, c := range []struct {
				want      byte
				src, port string
			}{
				{'A', "192.0.2.7", "80"}, {'D', "192.0.2.6", "80"}, {'D', "192.0.2.8", "80"},
				{'A', "198.51.100.8", "81"}, {'A', "198.51.100.9", "81"}, {'D', "198.51.100.10", "81"},
				{'A', "1.0.0.1", "83"}, {'A', "223.255.255.254", "83"}, {'D', "2001:db8::7", "83"},
				{'A', "4000::1", "84"}, {'D', "192.0.2.7", "84"},
				{'A', "2001:db8::8", "82"}, {'A', "2001:db8::9", "82"}, {'D', "2001:db8::a", "82"}, {'D', "2001:db8::7", "82"},
				{'A', "2001:db8::7", "85"},
			} {
				from(s, c.want, c.src, c.port)
			}
		}},
		{"SEM-10", "", "46", shut(), func(s *script) {
			me, it := at(s.local, "80"), at(s.peer, "4000")
			s.in('D', udp(it, me))
			s.in('D', udp(it, me))
			s.out('D', udp(me, it))
			s.talk(false, it, me, "c S 1000; s SA 5000 1001; c A 1001 5001", "DDD")
		}},
		{"SEM-11", "", "46", usually(), func(s *script) {
			me, it := at(s.local, "4000"), at(s.peer, "443")
			s.talk(true, me, it, "c S 1000; s SA 5000 1001; c A 1001 5001", "AAA")
			s.step('D', "twin", sg.Ingress, tcp(it, me, segment{flags: tcpFlags("PA"), seq: 5001, ack: 1001, win: 8192, data: 5}))
			s.out('A', udp(me, it))
			s.step('D', "twin", sg.Ingress, udp(it, me))
			s.out('A', echo(s.local, s.peer, false, 7))
			s.in('A', echo(s.peer, s.local, true, 7))
			s.step('D', "twin", sg.Ingress, echo(s.peer, s.local, true, 7))
			s.step('D', "twin", sg.Ingress, unreachable(s.peer, s.local, udp(me, it)))
		}},
	}
}

// controlPlans are the cases of the control plane that packets show.
func controlPlans() []plan {
	without := func(p Policy, id sg.InterfaceID) Policy {
		out := Policy{Profile: p.Profile}
		for _, c := range p.Changes {
			if i, ok := c.(policy.PutInterface); !ok || i.Interface.ID != id {
				out.Changes = append(out.Changes, c)
			}
		}
		return out
	}
	return []plan{
		{"API-05", "", "4", []Policy{members()}, func(s *script) { // a group that nobody is in
			s.in('D', syn(at(s.peer, "4000"), at(s.local, "80")))
		}},
		{"API-06", "", "46", []Policy{without(world(usual()...), "a"), world(usual()...), without(world(usual()...), "a"), world()}, func(s *script) {
			c, p := at(s.peer, "4000"), at(s.local, "80")
			s.talk(false, c, p, "c S 1000", "D") // no policy yet
			s.next()
			s.talk(false, c, p, "c S 1000; s SA 5000 1001; c A 1001 5001", "AAA")
			s.next()
			s.talk(false, c, p, "c PA 1001 5001 +10", "D") // gone
			s.next()
			s.talk(false, c, p, "s PA 5001 1001 +10; c PA 1001 5001 +10", "DD") // another workload's: nothing is inherited
		}},
	}
}
