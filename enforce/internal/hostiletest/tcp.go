package hostiletest

// tcpPlans are TCP-01 to TCP-25.
func tcpPlans() []plan {
	const open = "c S 1000; s SA 5000 1001; c A 1001 5001;"
	const over = open + "c FA 1001 5001; s FA 5001 1002; c A 1002 5002;"
	// inward is a connection of a host outside to the open port, outward one of
	// the workload.
	inward := func(segments, want string) func(*script) {
		return func(s *script) { s.talk(false, at(s.peer, "4000"), at(s.local, "80"), segments, want) }
	}
	outward := func(segments, want string) func(*script) {
		return func(s *script) { s.talk(true, at(s.local, "4000"), at(s.peer, "443"), segments, want) }
	}
	return []plan{
		{"TCP-01", "", "46", usually(), inward("c - 1; c F 1; c FPU 1; c SF 1; c SR 1; c SFR 1; c FSRPAUEC 1; c FU 1; c P 1; c U 1; c FR 1; c SFA 1; c FSRPAU 1", "DDDDDDDDDDDDD")},
		{"TCP-02", "", "46", usually(), inward("c A 1 1; c PA 1 1 +10", "DD")},
		{"TCP-03", "", "46", usually(), inward("c SA 1 1", "D")},
		{"TCP-04", "", "46", usually(), func(s *script) {
			for i, g := range []segment{
				{flags: tcpFlags("SEC"), seq: 1000, win: 8192}, {flags: tcpFlags("SU"), seq: 1000, win: 8192},
				{flags: tcpFlags("SP"), seq: 1000, win: 8192}, {flags: tcpFlags("S"), seq: 1000, win: 8192, data: 100},
			} {
				s.in('A', tcp(at(s.peer, string(rune('1'+i))+"000"), at(s.local, "80"), g))
			}
			// The bit of RFC 9768, and another checksum: one more in the word.
			b := syn(at(s.peer, "5000"), at(s.local, "80"))
			n := l4(b)
			sum := uint16(b[n+16])<<8 | uint16(b[n+17])
			less := uint32(sum) + 0xffff - 0x100
			less = less>>16 + less&0xffff
			s.in('a', with(b, n+12, b[n+12]|1, b[n+13], b[n+14], b[n+15], byte(less>>8), byte(less)))
		}},
		{"TCP-05", "", "46", usually(), func(s *script) {
			plain := syn(at(s.peer, "4000"), at(s.local, "80"))
			for _, offset := range []byte{0x00, 0x40, 0xf0, 0x60} {
				b := with(plain, l4(plain)+12, offset)
				s.in('D', ip(s.peer, s.local, 6, sealed(s.peer, s.local, 6, b[l4(b):], 16)...))
			}
		}},
		{"TCP-06", "", "46", usually(), func(s *script) {
			c, p := at(s.peer, "4000"), at(s.local, "80")
			s.talk(false, c, p, open, "AAA")
			rst := tcp(c, p, segment{flags: tcpFlags("RA"), seq: 1001, ack: 5001})
			s.in('D', spoiled(rst, l4(rst)+17))
			bad := syn(at(s.peer, "4001"), p)
			s.in('D', spoiled(bad, l4(bad)+17))
			s.talk(false, c, p, "c PA 1001 5001 +10", "A")
		}},
		{"TCP-07", "", "46", usually(), inward(open+"s PA 1005001 1001 +100; s PA 5001 1001 +100", "AAADA")},
		{"TCP-08", "", "46", usually(), inward(open+"s A 5001 1002", "AAAD")},
		{"TCP-09", "", "46", usually(), inward(open+
			"s PA 5001 1001 +1000; c A 1001 6001;"+
			"s R 5500; s R 6501; s R 6601; s RA 6701 1001; s R 7001; s R 1006001;"+
			"c A 1001 6001; s PA 6001 1001 +10; c A 1001 6011; s RA 6601 900000", "AAAaaDAAAADAAAD")},
		{"TCP-10", "", "46", usually(), inward(open+"c PA 1001 5001 +10; s R 5001", "AAAAA")},
		{"TCP-11", "", "46", usually(), inward(open+"c S 1000; s S 5000; c A 1001 5001", "AAAADA")},
		{"TCP-12", "", "46", usually(), outward("c S 1000; s S 5000; c SA 1000 5001; s SA 5000 1001; c A 1001 5001; s A 5001 1001", "AAAAAA")},
		{"TCP-13", "", "46", usually(), func(s *script) {
			s.out('A', syn(at(s.local, "4000"), at(s.peer, "443")))
			s.in('D', syn(at(s.far, "443"), at(s.local, "4000")))
			s.in('D', syn(at(s.peer, "444"), at(s.local, "4000")))
		}},
		{"TCP-14", "", "46", usually(), inward("c S 4294967200; s SA 4294965290 4294967201; c A 4294967201 4294965291;"+
			"c PA 4294967201 4294965291 +50; s PA 4294965291 4294967251 +1000; c PA 4294967251 4294966291 +50; s PA 4294966291 5 +1000;"+
			"c PA 5 4294967291 +50; s PA 4294967291 55 +1000; c PA 55 995 +50; s PA 995 105 +1000;"+
			"c A 105 1995; c PA 105 1995 +50; s A 1995 155; c A 155 1995", "AAAAAAAAAAAAAAA")},
		{"TCP-15", "", "46", usually(), inward("c S 1000 w65535 s7; s SA 5000 1001 w65535 s7; c A 1001 5001 w65535; s A 5001 1001 +1400; s A 539000 1001 +1400", "AAAAA")},
		{"TCP-16", "", "46", usually(), inward("c S 1000 s14; s SA 5000 1001; c A 1001 5001; s PA 105001 1001 +100", "AAAD")},
		{"TCP-17", "", "46", usually(), inward("c S 1000; s SA 5000 1001; c A 1001 5001 w0; s A 5001 1001 +1; c A 1001 5001 w0; s A 5000 1001; c A 1001 5002", "AAAAAAA")},
		{"TCP-18", "", "46", usually(), outward("c S 1000; s R 1001; s SA 5000 1001", "ADA")},
		{"TCP-19", "", "46", usually(), outward("c S 1000; c S 90000; s SA 5000 90001; c A 90001 5001", "AAAA")},
		{"TCP-20", "", "46", usually(), inward("c S 1000; c FA 1001 1; c PA 1001 1 +10", "ADD")},
		{"TCP-21", "", "46", usually(), outward("c S 1000; s A 5000 1001; s S 5000; c SA 1000 5001", "AAAA")},
		{"TCP-22", "", "46", usually(), inward(over+"c S 90000; s SA 70000 90001; c A 90001 70001", "AAAAAAAAA")},
		{"TCP-23", "", "46", []Policy{world(usual()...), world()}, func(s *script) {
			inward(over, "AAAAAA")(s)
			s.next()
			inward("c S 90000", "D")(s)
		}},
		{"TCP-24", "", "46", usually(), outward(over+"s S 90000", "AAAAAAD")},
		{"TCP-25", "", "46", []Policy{world(usual()...), world()}, func(s *script) {
			inward(open, "AAA")(s)
			s.next()
			inward("c S 90000; s SA 70000 90001; c A 90001 70001", "DDD")(s)
		}},
	}
}
