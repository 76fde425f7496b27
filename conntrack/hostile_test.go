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
