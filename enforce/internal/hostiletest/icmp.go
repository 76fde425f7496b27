package hostiletest

import (
	"slices"

	"example.com/secgroup/sg"
)

// icmpPlans are ICMP-01 to ICMP-19.
func icmpPlans() []plan {
	// ask opens a UDP flow of the workload, about which errors may come.
	ask := func(s *script) (q []byte) {
		q = udp(at(s.local, "4000"), at(s.peer, "69"), 1, 2, 3, 4)
		s.out('A', q)
		return q
	}
	any4 := func(r ...sg.Rule) Policy { return world(append(r, anything(sg.Egress))...) }
	return []plan{
		{"ICMP-01", "", "46", pinging(), func(s *script) {
			s.in('D', unreachable(s.peer, s.local, udp(at(s.local, "4000"), at(s.peer, "69"))))
		}},
		{"ICMP-02", "", "46", pinging(), func(s *script) {
			q := ask(s)
			s.step('D', "b", sg.Ingress, unreachable(s.far, s.other, q))
			s.in('A', unreachable(s.far, s.local, q))
		}},
		{"ICMP-03", "", "46", pinging(), func(s *script) {
			ask(s)
			s.in('D', unreachable(s.peer, s.local, udp(at(s.peer, "69"), at(s.local, "4000"))))
		}},
		{"ICMP-04", "", "46", pinging(), func(s *script) {
			ask(s)
			s.in('D', unreachable(s.peer, s.local, udp(at(s.local, "4001"), at(s.peer, "69"))))
			s.in('D', unreachable(s.peer, s.local, udp(at(s.local, "4000"), at(s.peer, "70"))))
		}},
		{"ICMP-05", "", "46", pinging(), func(s *script) {
			ask(s)
			s.in('D', unreachable(s.peer, s.local, syn(at(s.local, "4000"), at(s.peer, "69"))))
		}},
		{"ICMP-06", "", "46", pinging(), func(s *script) {
			q := ask(s)
			s.in('D', unreachable(s.peer, s.local, q[:l4(q)+2]))
			s.in('A', unreachable(s.peer, s.local, q[:l4(q)+8]))
		}},
		{"ICMP-07", "", "46", pinging(), func(s *script) {
			q := ask(s)
			s.in('D', unreachable(s.peer, s.local, unreachable(s.local, s.peer, q)))
		}},
		{"ICMP-08", "", "46", pinging(), func(s *script) {
			e := unreachable(s.peer, s.local, ask(s))
			s.in('D', spoiled(e, l4(e)+2))
		}},
		{"ICMP-09", "", "46", pinging(), func(s *script) { s.in('D', echo(s.peer, s.local, true, 7)) }},
		{"ICMP-10", "", "46", pinging(), func(s *script) {
			s.out('A', echo(s.local, s.peer, false, 7))
			s.in('D', echo(s.far, s.local, true, 7))
			s.in('D', echo(s.peer, s.local, true, 8))
			s.in('A', echo(s.peer, s.local, true, 7))
		}},
		{"ICMP-11", "", "4", pinging(), func(s *script) {
			s.out('A', echo(s.local, s.peer, false, 7))
			s.in('A', echo(s.peer, s.local, true, 7))
			s.in('A', echo(s.peer, s.local, true, 7))
			s.in('D', icmp(s.peer, s.local, 14, 0, append([]byte{0, 7, 0, 1}, make([]byte, 12)...)...))
		}},
		{"ICMP-12", "", "46", pinging(), func(s *script) {
			s.in('D', icmp(s.peer, s.local, of(s.family, uint8(44), 200), 0, 0, 7, 0, 1))
			s.in('A', echo(s.peer, s.local, false, 7))
		}},
		{"ICMP-13", "", "4", pinging(), func(s *script) {
			q := udp(at(s.local, "4000"), at(s.peer, "69"), 1, 2, 3, 4)
			redirect := icmp(s.far, s.local, 5, 1, slices.Concat(addr(s.third).AsSlice(), q)...)
			s.in('D', redirect)
			s.out('A', q)
			s.in('A', redirect)
		}},
		{"ICMP-14", "", "6", usually(), func(s *script) {
			q := ask(s)
			s.in('A', icmp(s.far, s.local, 2, 0, append([]byte{0, 0, 4, 0}, q...)...)) // an MTU of 1024
		}},
		{"ICMP-15", "", "46", pinging(), func(s *script) {
			c, p := at(s.local, "4000"), at(s.peer, "80")
			s.talk(true, c, p, "c S 1000; s SA 5000 1001; c A 1001 5001", "AAA")
			s.in('D', unreachable(s.far, s.local, tcp(c, p, segment{flags: tcpFlags("A"), seq: 900_000, ack: 5001, win: 8192})))
			s.in('a', unreachable(s.far, s.local, tcp(c, p, segment{flags: tcpFlags("A"), seq: 1001, ack: 5001, win: 8192})))
		}},
		{"ICMP-16", "", "6", usually(), func(s *script) {
			s.out('A', discovery(s.local, s.peer, 135, 255))
			s.in('D', echo(s.peer, s.local, false, 0))
			s.in('D', echo(s.peer, s.local, true, 0))
		}},
		{"ICMP-17", "", "46", []Policy{world(port(sg.Ingress, sg.UDP, 53))}, func(s *script) {
			q := udp(at(s.peer, "4000"), at(s.local, "53"), 1, 2, 3, 4)
			s.in('A', q)
			s.out('A', unreachable(s.local, s.peer, q))
			s.out('D', unreachable(s.local, s.far, q))
		}},
		{"ICMP-18", "", "4", opened(), func(s *script) {
			six := six()
			s.in('D', ip(s.peer, s.local, 58, icmpPart(s.peer, s.local, 128, 0, 0, 7, 0, 1)...))
			s.in('D', ip(six.peer, six.local, 1, icmpPart(six.peer, six.local, 8, 0, 0, 7, 0, 1)...))
		}},
		{"ICMP-19", "", "4", []Policy{any4(icmpRule(sg.ICMP, 8, 0)), any4(icmpRule(sg.ICMP, 8, -1)), any4(allow(sg.Ingress, sg.ICMP, 0, 0, "")), any4(icmpRule(sg.ICMP, 0, -1))}, func(s *script) {
			message := func(typ, code, id uint8) []byte {
				return icmp(s.peer, s.local, typ, code, append([]byte{0, id, 0, 1}, make([]byte, 12)...)...)
			}
			s.in('A', message(8, 0, 1))
			s.in('D', message(8, 1, 2))
			s.in('D', message(13, 0, 3))
			s.in('D', echo(six().peer, six().local, false, 4))
			s.in('D', message(0, 0, 5))
			s.next()
			s.in('A', message(8, 0, 6))
			s.in('A', message(8, 1, 7))
			s.next()
			s.in('A', message(13, 0, 8))
			s.in('D', echo(six().peer, six().local, false, 9)) // a rule for ICMP is none for ICMPv6
			s.next()
			s.in('D', message(8, 0, 10)) // type 0 is not "no type"
		}},
	}
}
