package hostiletest

import "example.com/secgroup/sg"

// fragmentPlans are FRAG-01 to FRAG-16.
func fragmentPlans() []plan {
	// web is a segment that opens a connection to a port and carries n bytes.
	web := func(s *script, port string, n int) []byte {
		return tcp(at(s.peer, "4000"), at(s.local, port), segment{flags: tcpFlags("S"), seq: 1000, win: 8192, data: n})
	}
	// dns is a datagram of n bytes to a port.
	dns := func(s *script, port string, n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i * 7)
		}
		return udp(at(s.peer, "4000"), at(s.local, port), data...)
	}
	return []plan{
		{"FRAG-01", "", "46", usually(), func(s *script) {
			open, closed := web(s, "80", 20), web(s, "22", 20)
			s.in('D', cut(open, 1, 0, 8, true))
			s.in('d', cut(open, 1, 8, 40, false))
			s.in('D', cut(closed, 2, 0, 8, true))
			s.in('D', cut(closed, 2, 8, 40, false))
		}},
		{"FRAG-02", "", "46", usually(), func(s *script) {
			open, closed := web(s, "80", 20), web(s, "22", 20)
			s.in('a', cut(open, 1, 0, 24, true))
			s.in('D', cut(closed, 1, 8, 40, false)) // its first byte is within the header that was judged
		}},
		{"FRAG-03", "", "6", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('a', cut(b, 1, 40, 72, true))
			s.in('D', cut(b, 1, 64, 100, false))
		}},
		{"FRAG-04", "", "46", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('A', cut(b, 1, 40, 100, false))
			s.in('A', cut(b, 1, 40, 100, false))
		}},
		{"FRAG-05", "", "46", usually(), func(s *script) {
			evil, good := dns(s, "22", 92), dns(s, "53", 92)
			s.in('d', cut(evil, 1, 0, 40, true))
			s.in('D', cut(good, 1, 0, 40, true))
			s.in('d', cut(good, 1, 40, 100, false))
		}},
		{"FRAG-05", "good first", "46", usually(), func(s *script) {
			evil, good := dns(s, "22", 92), dns(s, "53", 92)
			s.in('a', cut(good, 1, 0, 40, true))
			s.in('D', cut(evil, 1, 0, 40, true))
			s.in('d', cut(good, 1, 40, 100, false))
		}},
		{"FRAG-06", "", "46", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('D', cut(b, 1, 40, 72, true))
			s.in('D', cut(b, 1, 72, 100, false))
		}},
		{"FRAG-07", "", "46", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('D', fragment(b, 1, 65528, false, make([]byte, 64)...))
		}},
		{"FRAG-08", "", "46", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('A', fragment(b, 1, 72, false, make([]byte, 32)...))
			s.in('D', fragment(b, 1, 40, false, make([]byte, 16)...))
		}},
		{"FRAG-09", "", "4", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('D', cut(b, 1, 0, 44, true))
			s.in('D', cut(dns(&script{family: six()}, "53", 92), 1, 0, 44, true))
		}},
		{"FRAG-10", "", "46", usually(), func(s *script) {
			b := dns(s, "53", 92)
			s.in('a', cut(b, 1, 0, 40, true))
			s.in('D', fragment(b, 1, 40, true))
		}},
		{"FRAG-11", "", "6", usually(), func(s *script) {
			twice := func(port string, first, second byte) []byte {
				b := extended(dns(s, port, 24), fragHead, 0, 0, 0, second, 0, 0, 0, 2)
				return extended(b, fragHead, 0, 0, 0, first, 0, 0, 0, 1)
			}
			s.in('D', twice("22", 0, 0))
			s.in('D', twice("53", 0, 0))
			s.in('d', twice("53", 1, 0))
			s.in('d', twice("53", 0, 1))
			s.in('d', twice("53", 1, 1))
		}},
		{"FRAG-12", "", "6", usually(), func(s *script) {
			// The first fragment ends behind an options header that says TCP.
			chain := func(port string, id uint16) (first, rest []byte) {
				b := extended(web(s, port, 0), destOpts, padding()...)
				return cut(b, id, 0, 8, true), cut(b, id, 8, 28, false)
			}
			first, rest := chain("22", 1)
			s.in('d', first)
			s.in('D', rest)
			first, rest = chain("80", 2)
			s.in('d', first)
			s.in('D', rest)
		}},
		{"FRAG-13", "", "6", usually(), func(s *script) {
			s.in('A', extended(dns(s, "53", 24), fragHead, 0, 0, 0, 0, 0, 0, 0, 1))
			s.in('D', extended(dns(s, "22", 24), fragHead, 0, 0, 0, 0, 0, 0, 0, 1))
		}},
		{"FRAG-14", "", "6", opened(), func(s *script) {
			na := discovery(s.peer, s.local, 136, 255)
			s.in('d', cut(na, 1, 0, 16, true))
			s.in('D', cut(na, 1, 16, 24, false))
		}},
		{"FRAG-15", "", "46", append(pinging(), world(usual()...)), func(s *script) {
			ping := icmp(s.peer, s.local, of(s.family, uint8(8), 128), 0, append([]byte{0, 7, 0, 1}, make([]byte, 92)...)...)
			s.in('a', cut(ping, 1, 0, 40, true))
			s.in('A', cut(ping, 1, 40, 100, false))
			s.next()
			ping = with(ping, l4(ping)+5, 8) // another identifier; of a fragment nobody sees the checksum
			s.in('d', cut(ping, 2, 0, 40, true))
			s.in('D', cut(ping, 2, 40, 100, false))
		}},
		{"FRAG-16", "", "4", usually(), func(s *script) {
			for _, f := range []family{four(), six()} {
				b := udp(at(f.local, "4000"), at(f.peer, "53"), make([]byte, 92)...)
				s.out('a', cut(b, 1, 0, 40, true))
				s.step('D', "b", sg.Egress, cut(b, 1, 40, 100, false))
			}
		}},
	}
}
