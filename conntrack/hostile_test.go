package conntrack

import (
	"strings"
	"testing"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
)

// TestHostile plays the cases of the threat catalogue that conntrack alone
// decides. Every step is "A" (allowed) or "D" (denied); see gate for the rules.
func TestHostile(t *testing.T) {
	const in, out, web = inside + ":4000", outside + ":80", inside + ":80"
	type verdicts func(g *gate) []string
	// connect opens a connection from inside to outside.
	connect := func(g *gate) []string {
		return []string{g.out(tcp(in, out, "S")), g.in(tcp(out, in, "SA")), g.out(tcp(in, out, "A"))}
	}
	// numbered is connect with numbers: the opener's first is 1000, the other's 5000.
	numbered := func(g *gate, client, server uint16) []string {
		return []string{g.out(seg(in, out, "S", 1000, 0, 0, client)), g.in(seg(out, in, "SA", 5000, 1001, 0, server)), g.out(seg(in, out, "A", 1001, 5001, 0, client))}
	}
	closing := func(g *gate) []string {
		return []string{g.out(tcp(in, out, "FA")), g.in(tcp(out, in, "FA")), g.out(tcp(in, out, "A"))}
	}
	for _, tc := range []struct {
		id, want string
		run      verdicts
	}{
		{"ICMP-01", "D D", func(g *gate) []string {
			return []string{g.in(icmpError(outside, inside, 3, udp(in, out))), g.in(icmpError(outside, inside, 3, nil))}
		}},
		{"ICMP-02", "A D A", func(g *gate) []string {
			q := udp(in, out)
			return []string{g.out(q), g.in(icmpError(stranger, "10.0.0.2", 3, q)), g.in(icmpError(stranger, inside, 3, q))}
		}},
		{"ICMP-03", "A D D", func(g *gate) []string {
			q := udp(in, out)
			return []string{g.out(q), g.in(icmpError(outside, inside, 3, udp(out, in))), g.in(icmpError(stranger, outside, 3, udp(out, in)))}
		}},
		{"ICMP-03/reply-never-seen", "A D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.out(icmpError(inside, outside, 3, udp(out, in)))}
		}},
		{"ICMP-04", "A D D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.in(icmpError(outside, inside, 3, udp(inside+":4001", out))), g.in(icmpError(outside, inside, 3, udp(in, outside+":81")))}
		}},
		{"ICMP-05", "A D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.in(icmpError(outside, inside, 3, tcp(in, out, "S")))}
		}},
		{"ICMP-07", "A D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.in(icmpError(outside, inside, 3, icmpError(inside, outside, 3, udp(in, out))))}
		}},
		{"ICMP-09", "D D", func(g *gate) []string {
			return []string{g.in(icmp(outside, inside, 0, 7)), g.out(icmp(inside, outside, 0, 7))}
		}},
		{"ICMP-10", "A D D A", func(g *gate) []string {
			return []string{g.out(icmp(inside, outside, 8, 7)), g.in(icmp(stranger, inside, 0, 7)), g.in(icmp(outside, inside, 0, 8)), g.in(icmp(outside, inside, 0, 7))}
		}},
		{"ICMP-11", "A A A D", func(g *gate) []string {
			return []string{g.out(icmp(inside, outside, 8, 7)), g.in(icmp(outside, inside, 0, 7)), g.in(icmp(outside, inside, 0, 7)), g.in(icmp(outside, inside, 14, 7))}
		}},
		{"ICMP-13", "D A A", func(g *gate) []string {
			q := udp(in, out)
			return []string{g.in(icmpError(stranger, inside, 5, q)), g.out(q), g.in(icmpError(stranger, inside, 5, q))}
		}},
		{"ICMP-14", "A A", func(g *gate) []string {
			q := udp("[fd00::1]:4000", "[2001:db8::1]:80")
			return []string{g.out(q), g.in(icmpError("2001:db8::9", "fd00::1", 2, q))}
		}},
		{"ICMP-15", "A A A A A D D D A A D", func(g *gate) []string {
			about := func(src, dst string, seq uint32) *packet.Packet {
				side, p := stranger, seg(src, dst, "A", seq, 0, 0, 0)
				return icmpError(side, strings.Split(src, ":")[0], 3, p)
			}
			v := append(numbered(g, 8192, 8192), g.out(seg(in, out, "PA", 1001, 5001, 100, 8192)), g.in(seg(out, in, "A", 5001, 1101, 0, 8192)))
			return append(v,
				g.in(about(in, out, 900_000)),         // never sent
				g.in(about(in, out, 1102)),            // not yet
				g.in(about(in, out, 1<<32+1101-8193)), // long ago
				g.in(about(in, out, 1101)),            // the next one: a bare acknowledgement has it
				g.out(about(out, in, 5001)),           // of the other side
				g.out(about(out, in, 5001+8192)))      // likewise
		}},
		{"ICMP-15/syn", "A A D A A", func(g *gate) []string {
			about := func(seq uint32) *packet.Packet {
				return icmpError(stranger, inside, 3, seg(in, out, "S", seq, 0, 0, 0))
			}
			return []string{g.out(seg(in, out, "S", 1000, 0, 0, 8192)), g.in(about(1000)), g.in(about(2000)),
				g.out(seg(in, out, "S", 2000, 0, 0, 8192)), g.in(about(2000))} // it tries again
		}},
		{"ICMP-16", "A D D", func(g *gate) []string {
			return []string{g.out(icmp("fd00::1", "2001:db8::1", 135, 0)), g.in(icmp("2001:db8::1", "fd00::1", 128, 0)), g.in(icmp("2001:db8::1", "fd00::1", 129, 0))}
		}},
		{"ICMP-17", "A A D", func(g *gate) []string {
			g.open = []uint16{80}
			q := udp(outside+":9", web)
			return []string{g.in(q), g.out(icmpError(inside, outside, 3, q)), g.out(icmpError(inside, stranger, 3, q))}
		}},
		{"ICMP-18", "D D", func(g *gate) []string {
			four, six := icmp(inside, outside, 8, 1), icmp("fd00::1", "2001:db8::1", 128, 1)
			four.Tuple.Proto, six.Tuple.Proto = packet.ProtoICMPv6, packet.ProtoICMP
			return []string{g.out(four), g.out(six)}
		}},
		{"ICMP-19", "A D D", func(g *gate) []string { // the code is part of the connection
			q, r, back := icmp(inside, outside, 8, 7), icmp(outside, inside, 0, 7), icmp(outside, inside, 8, 7)
			r.ICMPCode = 1
			return []string{g.out(q), g.in(r), g.in(back)}
		}},
		{"TCP-01", strings.TrimSpace(strings.Repeat("D ", 13)), func(g *gate) (v []string) {
			g.open = []uint16{80}
			for _, f := range []string{"", "F", "FPU", "SF", "SR", "SFR", "FSRPAU", "FSRPAUEC", "FU", "P", "U", "FR", "SFA"} {
				v = append(v, g.in(tcp(outside+":9", web, f)))
			}
			return v
		}},
		{"TCP-02", "D D", func(g *gate) []string {
			g.open = []uint16{80}
			return []string{g.in(tcp(outside+":9", web, "A")), g.in(tcp(outside+":9", web, "PA"))}
		}},
		{"TCP-03", "D", func(g *gate) []string {
			g.open = []uint16{80}
			return []string{g.in(tcp(outside+":9", web, "SA"))}
		}},
		{"TCP-04", "A A A A", func(g *gate) []string {
			g.open = []uint16{80}
			data := tcp(outside+":12", web, "S")
			data.Data, data.Length = 100, 140
			return []string{g.in(tcp(outside+":9", web, "SEC")), g.in(tcp(outside+":10", web, "SU")), g.in(tcp(outside+":11", web, "SP")), g.in(data)}
		}},
		{"TCP-10", "A A A A A", func(g *gate) []string {
			return append(connect(g), g.out(tcp(in, out, "PA")), g.in(tcp(out, in, "R")))
		}},
		{"TCP-11", "A A A A D A", func(g *gate) []string {
			return append(connect(g), g.out(tcp(in, out, "S")), g.in(tcp(out, in, "S")), g.out(tcp(in, out, "A")))
		}},
		{"TCP-12", "A A A A A A", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.in(tcp(out, in, "S")), g.out(tcp(in, out, "SA")), g.in(tcp(out, in, "SA")), g.out(tcp(in, out, "A")), g.in(tcp(out, in, "A"))}
		}},
		{"TCP-13", "A D D", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.in(tcp(stranger+":80", in, "S")), g.in(tcp(outside+":81", in, "S"))}
		}},
		{"TCP-18", "A D A", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.in(tcp(out, in, "R")), g.in(tcp(out, in, "SA"))}
		}},
		{"TCP-19", "A A A A", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.out(tcp(in, out, "S")), g.in(tcp(out, in, "SA")), g.out(tcp(in, out, "A"))}
		}},
		{"TCP-20", "A D D D", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.out(tcp(in, out, "FA")), g.out(tcp(in, out, "PA")), g.in(tcp(out, in, "FA"))}
		}},
		{"TCP-21", "A A A A", func(g *gate) []string {
			return []string{g.out(tcp(in, out, "S")), g.in(tcp(out, in, "A")), g.in(tcp(out, in, "S")), g.out(tcp(in, out, "SA"))}
		}},
		{"TCP-22", "A A A A A A A A A", func(g *gate) []string { return append(append(connect(g), closing(g)...), connect(g)...) }},
		{"TCP-24", "A A A A A A D", func(g *gate) []string {
			return append(append(connect(g), closing(g)...), g.in(tcp(out, in, "S")))
		}},
		{"TCP-25", "A A A A A A", func(g *gate) []string { return append(connect(g), connect(g)...) }},
		// The cases with numbers: c is the opener inside (first number 1000), s the
		// service outside (5000), windows 8192 where nothing else is said.
		{"TCP-07", "A A A D D A", func(g *gate) []string {
			return append(numbered(g, 8192, 8192),
				g.in(seg(out, in, "PA", 5001+1_000_000, 1001, 100, 8192)),
				g.in(seg(out, in, "PA", 5001+8192*2+1, 1001, 100, 8192)),
				g.in(seg(out, in, "PA", 5001, 1001, 100, 8192)))
		}},
		{"TCP-08", "A A A D D A", func(g *gate) []string {
			return append(numbered(g, 8192, 8192),
				g.in(seg(out, in, "A", 5001, 1002, 0, 8192)),
				g.in(seg(out, in, "PA", 5001, 900_000, 10, 8192)),
				g.in(seg(out, in, "PA", 5001, 1001, 10, 8192)))
		}},
		{"TCP-09", "A A A A A A A D D A A D A A A", func(g *gate) []string {
			v := append(numbered(g, 8192, 8192),
				g.out(seg(in, out, "PA", 1001, 5001, 100, 8192)),
				g.in(seg(out, in, "PA", 5001, 1101, 1000, 8192)),
				g.out(seg(in, out, "A", 1101, 6001, 0, 8192)),
				g.in(seg(out, in, "PA", 6001, 1101, 100, 8192)),
				g.in(seg(out, in, "R", 5500, 0, 0, 0)),            // below the window
				g.in(seg(out, in, "R", 6001+1_000_000, 0, 0, 0)),  // far beyond
				g.in(seg(out, in, "R", 6001+500, 0, 0, 0)),        // inexact: the endpoint is asked
				g.in(seg(out, in, "RA", 6001+501, 1101, 0, 0)),    // again
				g.in(seg(out, in, "RA", 6001+501, 900_000, 0, 0)), // and with an impossible acknowledgement
				g.out(seg(in, out, "A", 1101, 6101, 0, 8192)),     // the challenge ACK
				g.in(seg(out, in, "PA", 6101, 1101, 100, 8192)))   // and it lives
			require.Equal(t, StatusEstablished, g.status())
			v = append(v, g.in(seg(out, in, "R", 6101, 0, 0, 0))) // exact
			require.Equal(t, StatusClose, g.status())
			return v
		}},
		{"TCP-14", strings.TrimSpace(strings.Repeat("A ", 15)), func(g *gate) []string {
			c, s := uint32(1<<32-50), uint32(1<<32-2000)
			v := []string{g.out(seg(in, out, "S", c, 0, 0, 8192)), g.in(seg(out, in, "SA", s, c+1, 0, 8192)), g.out(seg(in, out, "A", c+1, s+1, 0, 8192))}
			for c, s = c+1, s+1; len(v) < 15; c, s = c+100, s+1000 {
				v = append(v, g.out(seg(in, out, "PA", c, s, 100, 8192)), g.in(seg(out, in, "PA", s, c+100, 1000, 8192)))
			}
			return v
		}},
		{"TCP-15", "A A A A A A D", func(g *gate) []string {
			syn, synAck := seg(in, out, "S", 1000, 0, 0, 65535), seg(out, in, "SA", 5000, 1001, 0, 65535)
			syn.HasScale, syn.Scale, synAck.HasScale, synAck.Scale = true, 7, true, 7
			return []string{g.out(syn), g.in(synAck), g.out(seg(in, out, "A", 1001, 5001, 0, 65535)),
				g.in(seg(out, in, "A", 5001, 1001, 60_000, 502)),
				g.in(seg(out, in, "A", 5001+474_000, 1001, 60_000, 502)), // 534 kB in flight
				g.in(seg(out, in, "A", 5001+65535<<7, 1001, 1, 502)),
				g.in(seg(out, in, "A", 5001+65535<<8, 1001, 1, 502))}
		}},
		{"TCP-16", "A A A D", func(g *gate) []string {
			syn := seg(in, out, "S", 1000, 0, 0, 8192)
			syn.HasScale, syn.Scale = true, 14
			return []string{g.out(syn), g.in(seg(out, in, "SA", 5000, 1001, 0, 8192)), g.out(seg(in, out, "A", 1001, 5001, 0, 8192)),
				g.in(seg(out, in, "PA", 5001+100_000, 1001, 100, 8192))}
		}},
		{"TCP-17", "A A A A A A A A", func(g *gate) []string {
			return append(numbered(g, 8192, 1),
				g.out(seg(in, out, "A", 1001, 5001, 0, 0)),    // the window closes
				g.in(seg(out, in, "A", 5001, 1001, 1, 8192)),  // a probe of one byte
				g.out(seg(in, out, "A", 1001, 5001, 0, 0)),    // still closed
				g.in(seg(out, in, "A", 5000, 1001, 0, 8192)),  // keepalive below what is acknowledged
				g.out(seg(in, out, "A", 1001, 5002, 0, 8192))) // open again
		}},
		{"TCP-18/numbers", "A D D D A", func(g *gate) []string {
			return []string{g.out(seg(in, out, "S", 1000, 0, 0, 8192)),
				g.in(seg(out, in, "R", 1001, 0, 0, 0)), g.in(seg(out, in, "RA", 0, 0, 0, 1)), g.in(seg(out, in, "RA", 0, 1002, 0, 1)),
				g.in(seg(out, in, "RA", 0, 1001, 0, 1))}
		}},
		{"TCP-18/data", "A D A", func(g *gate) []string { // RFC 7413: the SYN's data may be acknowledged, or not
			return []string{g.out(seg(in, out, "S", 1000, 0, 100, 8192)), g.in(seg(out, in, "RA", 0, 1000, 0, 1)), g.in(seg(out, in, "RA", 0, 1001, 0, 1))}
		}},
		{"TCP-19/higher", "A A A A", func(g *gate) []string {
			return []string{g.out(seg(in, out, "S", 1000, 0, 0, 8192)), g.out(seg(in, out, "S", 900_000, 0, 0, 8192)),
				g.in(seg(out, in, "SA", 5000, 900_001, 0, 8192)), g.out(seg(in, out, "A", 900_001, 5001, 0, 8192))}
		}},
		{"TCP-19/lower", "A A A A", func(g *gate) []string {
			return []string{g.out(seg(in, out, "S", 900_000, 0, 0, 8192)), g.out(seg(in, out, "S", 1000, 0, 0, 8192)),
				g.in(seg(out, in, "SA", 5000, 1001, 0, 8192)), g.out(seg(in, out, "A", 1001, 5001, 0, 8192))}
		}},
		{"TCP-22/numbers", "A A A A A A A A A A A", func(g *gate) []string {
			return append(append(numbered(g, 8192, 8192),
				g.out(seg(in, out, "FA", 1001, 5001, 0, 8192)), g.in(seg(out, in, "FA", 5001, 1002, 0, 8192)), g.out(seg(in, out, "A", 1002, 5002, 0, 8192)),
				g.out(seg(in, out, "S", 70_000, 0, 0, 8192)), g.in(seg(out, in, "SA", 5002, 1001, 0, 8192))), // an answer to the old one: the opener resets it
				g.in(seg(out, in, "SA", 800_000, 70_001, 0, 8192)), g.out(seg(in, out, "A", 70_001, 800_001, 0, 8192)), g.in(seg(out, in, "PA", 800_001, 70_001, 50, 8192)))
		}},
		{"TCP-25/numbers", "A A A A A A A", func(g *gate) []string {
			// The server forgot the connection and takes the new one.
			v := append(numbered(g, 8192, 8192), g.out(seg(in, out, "S", 3_000_000, 0, 0, 8192)),
				g.in(seg(out, in, "SA", 9_000_000, 3_000_001, 0, 8192)))
			require.Equal(t, StatusSynRecv, g.status())
			return append(v, g.out(seg(in, out, "A", 3_000_001, 9_000_001, 0, 8192)), g.in(seg(out, in, "PA", 9_000_001, 3_000_001, 100, 8192)))
		}},
		{"TCP-25/challenge", "A A A A A A", func(g *gate) []string {
			// The server still has it: challenge ACK, and the opener resets.
			v := append(numbered(g, 8192, 8192), g.out(seg(in, out, "S", 3_000_000, 0, 0, 8192)),
				g.in(seg(out, in, "A", 5001, 1001, 0, 8192)), g.out(seg(in, out, "R", 1001, 0, 0, 0)))
			require.Equal(t, StatusClose, g.status())
			return v
		}},
		{"UDP-03", "A D D A D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.in(udp(outside+":81", in)), g.in(udp(stranger+":80", in)), g.in(udp(out, in)), g.in(udp(out, inside+":4001"))}
		}},
		{"UDP-05", "A D D D", func(g *gate) []string {
			other := func(proto uint8) *packet.Packet {
				return &packet.Packet{Tuple: tuple(proto, out, in), Length: 40}
			}
			return []string{g.out(udp(in, out)), g.in(other(136)), g.in(other(33)), g.in(other(packet.ProtoSCTP))}
		}},
		{"UDP-06", "A D", func(g *gate) []string { return []string{g.out(tcp(in, out, "S")), g.in(udp(out, in))} }},
		{"SEM-01", "A D", func(g *gate) []string {
			six := udp(out, in)
			six.Tuple.Family = 6 // the same bytes, IPv4-mapped on the wire
			return []string{g.out(udp(in, out)), g.in(six)}
		}},
		{"SEM-08", "A A D D D", func(g *gate) []string {
			return []string{g.out(udp(in, out)), g.in(udp(out, in)), g.in(udp(outside+":81", in)), g.in(udp(out, inside+":81")), g.in(tcp(out, in, "S"))}
		}},
		{"SEM-10", "D D D D A", func(g *gate) []string { // a refused packet leaves no trace
			g.open = nil
			q := udp(outside+":9", web)
			v := []string{g.in(q), g.in(q), g.in(tcp(outside+":9", web, "S")), g.in(icmpError(outside, inside, 3, udp(web, outside+":9")))}
			if g.Len() != 0 {
				return []string{"state left"}
			}
			return append(v, g.out(udp(web, outside+":9"))) // a flow of its own, not a reply
		}},
		{"SEM-11", "A D A D A D", func(g *gate) (v []string) {
			for _, p := range [][2]*packet.Packet{{udp(in, out), udp(out, in)}, {tcp(in, out, "S"), tcp(out, in, "SA")}, {icmp(inside, outside, 8, 7), icmp(outside, inside, 0, 7)}} {
				g.zone = 1
				v = append(v, g.out(p[0]))
				g.zone = 2
				v = append(v, g.in(p[1]))
			}
			return v
		}},
		{"side", "A D A", func(g *gate) []string { // the right addresses from the wrong side
			return []string{g.out(udp(in, out)), g.in(udp(in, out)), g.in(udp(out, in))}
		}},
	} {
		t.Run(tc.id, func(t *testing.T) {
			require.Equal(t, tc.want, strings.Join(tc.run(newGate()), " "))
		})
	}
}

// TestHostileReuse is TCP-23: a port pair reused after the connection closed is
// New, so today's rules judge it.
func TestHostileReuse(t *testing.T) {
	const in, out = inside + ":4000", outside + ":80"
	for _, tc := range []struct{ name, end string }{{"TCP-23/fin", "FA"}, {"TCP-23/rst", "RA"}} {
		t.Run(tc.name, func(t *testing.T) {
			var ends []End
			g := &gate{Table: NewTable(Options{OnEnd: func(e *Entry, why End) { ends = append(ends, why) }})}
			g.out(tcp(in, out, "S"))
			g.in(tcp(out, in, "SA"))
			g.out(tcp(in, out, "A"))
			g.out(tcp(in, out, tc.end))
			if tc.end == "FA" {
				g.in(tcp(out, in, "FA"))
				g.out(tcp(in, out, "A"))
			}
			c := g.Track(0, 0, Local, tcp(in, out, "S"))
			require.Equal(t, Conn{State: New, Opener: Local}, c)
			require.Equal(t, 1, g.Len(), "Track removes nothing")
			c = g.Track(0, 0, Remote, tcp(out, in, "S"))
			require.Equal(t, Conn{State: New, Opener: Remote}, c)
			c, err := g.Commit(0, 0, Remote, tcp(out, in, "S"), 9, 9)
			require.NoError(t, err)
			require.Equal(t, []any{New, Original, Remote}, []any{c.State, c.Dir, c.Opener})
			require.Equal(t, []End{EndReplaced}, ends)
			require.Equal(t, 1, g.Len())
		})
	}
}

// TestLiberal: with TCPLiberal numbers refuse nothing but a stale RST, and what
// flags say holds.
func TestLiberal(t *testing.T) {
	const in, out = inside + ":4000", outside + ":80"
	for _, liberal := range []bool{false, true} {
		g := &gate{Table: NewTable(Options{TCPLiberal: liberal})}
		far := map[bool]string{false: "D", true: "A"}[liberal]
		require.Equal(t, "A", g.out(seg(in, out, "S", 1000, 0, 0, 100)))
		require.Equal(t, "A", g.in(seg(out, in, "SA", 5000, 1001, 0, 100)))
		require.Equal(t, "A", g.out(seg(in, out, "A", 1001, 5001, 0, 100)))
		require.Equal(t, far, g.in(seg(out, in, "PA", 900_000, 1001, 100, 100)))
		require.Equal(t, far, g.in(seg(out, in, "PA", 5001, 900_000, 100, 100)))
		require.Equal(t, "D", g.in(seg(out, in, "R", 4000, 0, 0, 100)), "TCP-09")
		require.Equal(t, "D", g.in(seg(out, in, "S", 5001, 0, 0, 100)), "TCP-11")
		require.Equal(t, far, g.in(seg(out, in, "FA", 900_000, 900_000, 0, 100)))
		require.Equal(t, map[bool]Status{false: StatusEstablished, true: StatusFinWait}[liberal], g.status())
	}
}
