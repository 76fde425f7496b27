package hostiletest

import "example.com/secgroup/sg"

// udpPlans are UDP-01 to UDP-07.
func udpPlans() []plan {
	associations := []Policy{world(append(usual(), port(sg.Ingress, sg.SCTP, 53))...)}
	return []plan{
		{"UDP-01", "", "46", usually(), func(s *script) {
			src, dst := at(s.peer, "4000"), at(s.local, "53")
			length := func(n byte) []byte {
				d := udpPart(src, dst, make([]byte, 8)...)
				d[5] = n
				// The checksum is over what the length says, where that can be.
				if n >= 8 && int(n) <= len(d) {
					copy(d, sealed(s.peer, s.local, 17, d[:n:n], 6))
				}
				return ip(s.peer, s.local, 17, d...)
			}
			s.in('D', length(17))
			s.in('D', length(7))
			s.in('D', length(0))
			s.in('A', length(12))
		}},
		{"UDP-02", "", "4", usually(), func(s *script) {
			v4 := udp(at(s.peer, "4000"), at(s.local, "53"), 1, 2, 3, 4)
			v6 := udp(at(six().peer, "4000"), at(six().local, "53"), 1, 2, 3, 4)
			s.in('A', with(v4, 26, 0, 0))
			s.in('D', spoiled(udp(at(s.peer, "4001"), at(s.local, "53"), 1, 2, 3, 4), 27))
			s.in('D', with(v6, 46, 0, 0))
			s.in('a', v6)
			s.in('D', spoiled(udp(at(six().peer, "4001"), at(six().local, "53"), 1, 2, 3, 4), 47))
		}},
		{"UDP-03", "", "46", usually(), func(s *script) {
			me := at(s.local, "4000")
			s.out('A', udp(me, at(s.peer, "69")))
			s.in('D', udp(at(s.peer, "70"), me))
			s.in('A', udp(at(s.peer, "69"), me))
			s.in('D', udp(at(s.far, "69"), me))
		}},
		{"UDP-04", "", "46", usually(), func(s *script) {
			s.in('A', udp(at(s.peer, "0"), at(s.local, "53")))
			s.in('D', udp(at(s.peer, "4000"), at(s.local, "0")))
			s.in('D', udp(at(s.peer, "0"), at(s.local, "0")))
		}},
		{"UDP-05", "", "46", usually(), func(s *script) {
			d := udpPart(at(s.peer, "4000"), at(s.local, "53"), 1, 2, 3, 4)
			const dccp, lite = 33, 136
			s.in('D', ip(s.peer, s.local, lite, d...))
			s.in('D', ip(s.peer, s.local, dccp, append([]byte{0x0f, 0xa0, 0, 53, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1}, 0, 0, 0, 0)...))
			s.in('D', sctp(at(s.peer, "4000"), at(s.local, "53"), 0, initChunk()...))
			s.in('A', udp(at(s.peer, "4000"), at(s.local, "53"), 1, 2, 3, 4))
			s.in('D', ip(s.peer, s.local, lite, d...)) // the flow that is open now is another protocol's
		}},
		{"UDP-06", "", "46", usually(), func(s *script) {
			me, it := at(s.local, "4000"), at(s.peer, "443")
			s.out('A', syn(me, it))
			s.in('D', udp(it, me))
			s.out('a', udp(at(s.local, "4001"), it))
			s.in('D', tcp(it, at(s.local, "4001"), segment{flags: tcpFlags("SA"), seq: 1, ack: 1001, win: 8192}))
		}},
		{"UDP-07", "", "46", associations, func(s *script) {
			good := sctp(at(s.peer, "4000"), at(s.local, "53"), 0, initChunk()...)
			s.in('D', spoiled(good, l4(good)+8))
			s.in('D', sctp(at(s.peer, "4000"), at(s.local, "53"), 0, dataChunk()...))
			s.in('a', good)
		}},
	}
}

// infraPlans are INF-01 to INF-04.
func infraPlans() []plan {
	return []plan{
		{"INF-01", "", "6", cloud(), func(s *script) {
			s.in('D', discovery(s.peer, s.local, 135, 254))
			s.in('D', discovery(s.peer, s.local, 136, 1))
			ra := icmp(s.peer, s.local, 134, 0, make([]byte, 12)...)
			s.in('D', ra)
			s.in('A', discovery(s.peer, s.local, 135, 255))
		}},
		{"INF-02", "", "4", cloud(), func(s *script) {
			v6 := six()
			s.out('A', udp(at("0.0.0.0", "68"), at("255.255.255.255", "67"), 1))
			s.in('A', udp(at(s.peer, "67"), at(s.local, "68"), 2))
			s.out('A', udp(at(s.local, "68"), at(s.peer, "67"), 3))
			s.out('A', udp(at("fe80::5", "546"), at("ff02::1:2", "547"), 1))
			s.in('A', udp(at(v6.peer, "547"), at(v6.local, "546"), 2))
			s.out('D', udp(at(s.local, "67"), at(s.far, "68"), 2))
			s.out('D', udp(at(v6.local, "547"), at(v6.far, "546"), 2))
			s.in('D', udp(at(s.far, "68"), at(s.local, "67"), 1))
		}},
		{"INF-02", "open group", "4", []Policy{guest()}, func(s *script) {
			v6 := six()
			s.out('d', udp(at(s.local, "67"), at(s.far, "68"), 2))
			s.out('d', udp(at(v6.local, "547"), at(v6.far, "546"), 2))
			s.out('a', udp(at(s.local, "67"), at(s.far, "69"), 2))
		}},
		{"INF-03", "", "6", cloud(), func(s *script) {
			report := icmp("fe80::5", "ff02::16", 143, 0, append([]byte{0, 0, 0, 1, 4, 0, 0, 0}, addr("ff02::1:ff00:5").AsSlice()...)...)
			report[7] = 1
			s.out('A', extended(report, hopByHop, 0, 0, 5, 2, 0, 0, 1, 0))
		}},
		{"INF-04", "", "4", cloud(), func(s *script) {
			report := []byte{0x16, 0, 0, 0, 224, 0, 0, 251}
			s.out('D', optioned(ip(s.local, "224.0.0.251", igmpType, sealed(s.local, "224.0.0.251", 1, report, 2)...), 0x94, 4, 0, 0))
		}},
	}
}
