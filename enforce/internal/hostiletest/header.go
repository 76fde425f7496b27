package hostiletest

import "example.com/secgroup/sg"

// extensionPlans are EXT-01 to EXT-10.
func extensionPlans() []plan {
	to := func(s *script, port string) []byte { return syn(at(s.peer, "4000"), at(s.local, port)) }
	chain := func(b []byte, n int) []byte {
		for range n {
			b = extended(b, destOpts, padding()...)
		}
		return b
	}
	ah := func(b []byte) []byte { // 24 bytes: a payload length of 4 (RFC 4302 2.2)
		return extended(b, auth, append([]byte{0, 4}, make([]byte, 22)...)...)
	}
	return []plan{
		{"EXT-01", "", "6", usually(), func(s *script) {
			s.in('D', extended(to(s, "22"), hopByHop, padding()...))
			s.in('A', extended(to(s, "80"), hopByHop, padding()...))
			s.in('D', extended(to(s, "22"), destOpts, padding()...))
			s.in('A', extended(syn(at(s.peer, "4001"), at(s.local, "80")), destOpts, padding()...))
			s.in('D', extended(chain(to(s, "22"), 1), hopByHop, padding()...))
			s.in('D', extended(chain(to(s, "443"), 1), hopByHop, padding()...))
			s.in('a', extended(chain(syn(at(s.peer, "4002"), at(s.local, "80")), 1), hopByHop, padding()...))
		}},
		{"EXT-02", "", "6", usually(), func(s *script) {
			for _, n := range []int{9, 40} {
				s.in('D', chain(to(s, "22"), n))
				s.in('D', chain(to(s, "80"), n))
			}
		}},
		{"EXT-02", "8 are walked", "6", usually(), func(s *script) {
			s.in('d', chain(to(s, "22"), 8))
			s.in('a', chain(to(s, "80"), 8))
		}},
		{"EXT-03", "", "6", usually(), func(s *script) {
			s.in('D', extended(to(s, "80"), routing, 0, 0, 0, 0, 0, 0, 0, 0))
			s.in('D', extended(to(s, "22"), routing, 0, 0, 0, 0, 0, 0, 0, 0))
		}},
		{"EXT-04", "", "6", usually(), func(s *script) {
			late := func(b []byte) []byte { return extended(extended(b, hopByHop, padding()...), destOpts, padding()...) }
			s.in('D', late(to(s, "22")))
			s.in('D', late(to(s, "80")))
		}},
		{"EXT-05", "", "6", usually(), func(s *script) {
			b := to(s, "80")
			s.in('D', with(b, 6, nothing))
			s.in('D', with(b, 6, esp))
			s.in('D', with(b, 6, 253))
		}},
		{"EXT-06", "", "6", usually(), func(s *script) {
			b, v4 := to(s, "80"), four()
			inner4 := syn(at(v4.peer, "4000"), at(v4.local, "80"))
			s.in('D', ip(s.peer, s.local, 4, inner4...))
			s.in('D', ip(s.peer, s.local, 41, b...))
			s.in('D', ip(v4.peer, v4.local, 41, b...))
		}},
		{"EXT-07", "", "6", usually(), func(s *script) {
			s.in('D', ah(to(s, "22")))
			s.in('A', ah(to(s, "80")))
		}},
		{"EXT-08", "", "6", usually(), func(s *script) {
			jumbo := extended(to(s, "80"), hopByHop, 0, 0, 0xc2, 4, 0, 0, 0, 28)
			s.in('D', with(jumbo, 4, 0, 0))
		}},
		{"EXT-09", "", "6", usually(), func(s *script) {
			b := udp(at(s.peer, "4000"), at(s.local, "53"), make([]byte, 8)...)
			s.in('D', with(b, 5, 17))
			s.in('D', with(b, 5, 15))
		}},
		{"EXT-10", "", "6", cloud(), func(s *script) {
			ra := icmp(s.local, s.peer, 134, 0, make([]byte, 12)...)
			ra[7] = 255
			s.out('D', ra)
			s.out('D', extended(ra, destOpts, padding()...))
		}},
	}
}

// headerPlans are HDR-01 to HDR-12.
func headerPlans() []plan {
	to := func(s *script, port string) []byte { return syn(at(s.peer, "4000"), at(s.local, port)) }
	return []plan{
		{"HDR-01", "", "4", usually(), func(s *script) {
			for ihl := range byte(5) {
				s.in('D', with(to(s, "80"), 0, 0x40|ihl))
			}
		}},
		{"HDR-02", "", "4", usually(), func(s *script) { s.in('D', with(to(s, "80"), 0, 0x4f)) }},
		{"HDR-03", "", "4", usually(), func(s *script) {
			s.in('D', with(to(s, "80"), 3, 19))
			s.in('D', with(to(s, "80"), 3, 41))
			s.in('D', with(to(s, "80"), 3, 39))
		}},
		{"HDR-04", "", "4", usually(), func(s *script) {
			s.in('D', with(to(s, "80"), 0, 0x65))
			s.in('D', with(to(s, "80"), 0, 0x55))
			s.in('d', with(to(s, "80"), 0, 0x05))
		}},
		{"HDR-05", "", "4", usually(), func(s *script) { s.in('D', spoiled(to(s, "80"), 11)) }},
		{"HDR-06", "", "4", usually(), func(s *script) {
			s.in('D', optioned(to(s, "80"), 131, 7, 8, 1, 2, 3, 4, 0))
			s.in('D', optioned(to(s, "80"), 137, 7, 8, 1, 2, 3, 4, 0))
			s.in('D', optioned(to(s, "22"), 131, 7, 8, 1, 2, 3, 4, 0))
		}},
		{"HDR-07", "", "4", usually(), func(s *script) {
			s.in('D', optioned(to(s, "80"), 7, 9, 4, 0))
			s.in('D', optioned(to(s, "80"), 7, 0, 4, 0))
			s.in('D', optioned(to(s, "22"), 7, 9, 4, 0))
		}},
		{"HDR-08", "", "4", usually(), func(s *script) {
			// Read at byte 20, the ports are 257 and 257, or 80 and 80.
			s.in('A', optioned(to(s, "80"), 1, 1, 1, 1))
			s.in('D', optioned(to(s, "22"), 1, 1, 1, 1, 1, 1, 0, 0))
			s.in('A', optioned(syn(at(s.peer, "4001"), at(s.local, "80")), 1, 1, 1, 1, 1, 1, 1, 1))
			s.in('d', optioned(to(s, "22"), 0, 80, 0, 80))
		}},
		{"HDR-09", "", "4", usually(), func(s *script) {
			b := to(s, "80")
			for n := range 40 {
				want := byte('d')
				if n >= 20 && n%2 == 0 {
					want = 'D'
				}
				if n == 0 {
					continue // no packet
				}
				if n >= 20 { // the length owns up to it
					s.in(want, with(b[:n], 3, byte(n)))
					continue
				}
				s.in(want, b[:n])
			}
		}},
		{"HDR-10", "", "6", usually(), func(s *script) {
			b := udp(at(s.peer, "4000"), at(s.local, "53"))
			for n := 1; n < 48; n++ {
				if n > 40 { // the length owns up to it
					s.in('D', with(b[:n], 5, byte(n-40)))
					continue
				}
				s.in('d', b[:n])
			}
		}},
		{"HDR-11", "", "46", usually(), func(s *script) {
			s.in('D', syn(at(s.local, "80"), at(s.local, "80")))
		}},
		{"HDR-12", "", "4", opened(), func(s *script) {
			for _, src := range []string{"127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1"} {
				s.in('D', udp(at(src, "4000"), at(s.local, "53")))
			}
			for _, src := range []string{"::1", "ff02::1", "ff0e::1"} {
				s.in('D', udp(at(src, "4000"), at(six().local, "53")))
			}
			s.out('d', udp(at(s.local, "4000"), at("127.0.0.1", "53")))
			s.step('d', "b", sg.Ingress, udp(at("::", "4000"), at(six().other, "53")))
		}},
	}
}
