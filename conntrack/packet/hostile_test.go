package packet_test

import (
	"bytes"
	"fmt"
	"testing"

	"example.com/secgroup/conntrack/packet"
)

// TestHostile runs the cases of the project's list of hostile input that the
// decoder decides, by their ids. With want ok the packet must decode, and
// check, if any, looks at what it decoded to.
func TestHostile(t *testing.T) {
	const (
		truncated = packet.ErrTruncated
		version   = packet.ErrVersion
		header    = packet.ErrHeader
		tiny      = packet.ErrTinyFragment
		ok        = packet.Error(0)
	)
	syn4, syn6 := ip4(6, tcp(packet.SYN, nil, nil)), ip6(6, tcp(packet.SYN, nil, nil))
	dns4, dns6 := ip4(17, udp([]byte("12345678"))), ip6(17, udp([]byte("12345678")))
	pad := make([]byte, 100)
	ports := func(src, dst uint16) func(packet.Packet) bool {
		return func(p packet.Packet) bool { return p.Tuple.SrcPort == src && p.Tuple.DstPort == dst }
	}
	noPorts := ports(0, 0)
	tcpPorts, udpPorts := ports(40001, 443), ports(5353, 53)
	proto := func(n uint8) func(packet.Packet) bool {
		return func(p packet.Packet) bool { return p.Tuple.Proto == n && noPorts(p) }
	}
	noQuote := func(p packet.Packet) bool { return p.Inner == packet.Quote{} }
	quoted := func(p packet.Packet) bool { return p.Inner.Tuple.Family == p.Tuple.Family }
	unreach4 := func(quote []byte) []byte { return ip4(1, icmp(3, 3, quote)) }
	unreach6 := func(quote []byte) []byte { return ip6(58, icmp(1, 4, quote)) }
	chain := func(n int) []byte { // n destination options headers before TCP
		var b []byte
		for i := range n {
			next := uint8(60)
			if i == n-1 {
				next = 6
			}
			b = append(b, opts(next)...)
		}
		return ip6(60, b, tcp(packet.SYN, nil, nil))
	}
	ah := func(next uint8, words uint8) []byte {
		return append([]byte{next, words, 0, 0}, make([]byte, (int(words)+2)*4-4)...)
	}

	type test struct {
		id    string
		b     []byte
		want  packet.Error
		check func(packet.Packet) bool
	}
	tests := []test{
		{"HDR-02 IHL 15 in 40 bytes", with(syn4, 0, 0x4f), header, nil},
		{"HDR-02 IHL 15 in 40 bytes, total length 60", with(with(syn4, 0, 0x4f), 3, 60), truncated, nil},
		{"HDR-03 total length below the header", with(syn4, 3, 19), header, nil},
		{"HDR-03 total length 0", with(syn4, 3, 0), header, nil},
		{"HDR-03 total length above the frame", with(syn4, 3, 41), truncated, nil},
		{"HDR-03 total length cuts TCP", with(syn4, 3, 39), truncated, nil},
		{"HDR-03 Ethernet padding", cat(syn4, pad), ok, func(p packet.Packet) bool { return p.Length == 40 && p.Data == 0 }},
		{"HDR-04 version 5", with(syn4, 0, 0x55), version, nil},
		{"HDR-04 version 0", with(syn4, 0, 0x05), version, nil},
		{"HDR-04 version 6 in IPv4", with(syn4, 0, 0x65), truncated, nil},
		{"HDR-04 version 4 in IPv6", with(syn6, 0, 0x45), header, nil},
		{"HDR-06 loose source route", ip4opt(6, []byte{131, 7, 4, 1, 2, 3, 4, 0}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddSourceRoute && tcpPorts(p) }},
		{"HDR-06 strict source route behind a NOP", ip4opt(6, []byte{1, 137, 7, 4, 1, 2, 3, 4}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddSourceRoute }},
		{"HDR-06 record route is none", ip4opt(6, []byte{7, 7, 4, 0, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == 0 }},
		{"HDR-07 option length 0", ip4opt(6, []byte{7, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddOptions && tcpPorts(p) }},
		{"HDR-07 option length 1", ip4opt(6, []byte{7, 1, 0, 0}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddOptions && tcpPorts(p) }},
		{"HDR-07 option past the header", ip4opt(6, []byte{7, 5, 4, 0}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddOptions && tcpPorts(p) }},
		{"HDR-07 option without length", ip4opt(6, []byte{1, 1, 1, 7}, tcp(packet.SYN, nil, nil)), ok, func(p packet.Packet) bool { return p.Odd == packet.OddOptions && tcpPorts(p) }},
		{"HDR-07 anything behind the end", ip4opt(6, []byte{0, 7, 0, 0}, tcp(packet.SYN, nil, nil)), ok, tcpPorts},
		{"HDR-08 options shift the ports", ip4opt(6, []byte{1, 1, 1, 1, 1, 1, 1, 0}, tcp(packet.SYN, nil, nil)), ok, tcpPorts},

		{"TCP-05 data offset 0", with(syn4, 32, 0), header, nil},
		{"TCP-05 data offset 4", with(syn4, 32, 0x40), header, nil},
		{"TCP-05 data offset 15 without options", with(syn4, 32, 0xf0), header, nil},
		{"TCP-05 options beyond the segment", with(ip4(6, tcp(packet.SYN, []byte{1, 1, 1, 1}, nil)), 32, 0x70), header, nil},
		{"TCP-05 data offset 4, v6", with(syn6, 52, 0x40), header, nil},
		{"TCP-04 reserved bit", with(syn4, 32, 0x51), ok, tcpPorts},

		{"UDP-01 length above the packet", with(dns4, 25, 17), truncated, nil},
		{"UDP-01 length above the packet, padded frame", cat(with(dns4, 25, 17), pad), truncated, nil},
		{"UDP-01 length 7", with(dns4, 25, 7), header, nil},
		{"UDP-01 length 0", with(dns4, 25, 0), header, nil},
		{"UDP-01 length below the payload", with(dns4, 25, 12), ok, udpPorts},
		{"UDP-01 length 0, v6", with(dns6, 45, 0), header, nil},
		{"UDP-05 UDP-Lite", ip4(136, udp(pad)), ok, proto(136)},
		{"UDP-05 DCCP", ip4(33, udp(pad)), ok, proto(33)},
		{"UDP-05 SCTP", ip4(132, cat(udp(pad))), ok, udpPorts},
		{"UDP-05 SCTP cut", ip4(132, udp(nil)), truncated, nil},

		{"UDP-07 DATA without a tag", ip4(132, cat(make([]byte, 12), []byte{0, 3, 0, 16}, pad[:12])), header, nil},
		{"UDP-07 INIT with a tag", ip4(132, cat(with(make([]byte, 12), 7, 1), []byte{1, 0, 0, 20}, pad[:16])), header, nil},
		{"UDP-07 INIT", ip4(132, cat(make([]byte, 12), []byte{1, 0, 0, 20}, pad[:16])), ok, proto(132)},
		{"UDP-07 DATA", ip4(132, cat(with(make([]byte, 12), 7, 1), []byte{0, 3, 0, 16}, pad[:12])), ok, proto(132)},

		{"ICMP-06 quote without ports", unreach4(dns4[:20]), ok, noQuote},
		{"ICMP-06 quote with 4 bytes", unreach4(dns4[:24]), ok, noQuote},
		{"ICMP-06 quote with 7 bytes", unreach4(dns4[:27]), ok, noQuote},
		{"ICMP-06 quote with 8 bytes", unreach4(dns4[:28]), ok, quoted},
		{"ICMP-06 quote with 7 bytes, v6", unreach6(dns6[:47]), ok, noQuote},
		{"ICMP-06 quote with 8 bytes, v6", unreach6(dns6[:48]), ok, quoted},
		{"ICMP-07 error about an error", unreach4(ip4(1, icmp(3, 3, dns4))), ok, noQuote},
		{"ICMP-07 error about an error, v6", unreach6(ip6(58, icmp(1, 4, dns6))), ok, noQuote},
		{"ICMP-06 message of 7 bytes", ip4(1, icmp(8, 0, nil)[:7]), truncated, nil},
		{"ICMP-06 message of 7 bytes, v6", ip6(58, icmp(128, 0, nil)[:7]), truncated, nil},
		{"ICMP-18 ICMPv4 in IPv6", ip6(1, icmp(8, 0, nil)), header, nil},
		{"ICMP-18 ICMPv6 in IPv4", ip4(58, icmp(128, 0, nil)), header, nil},
		{"ICMP-18 in a trailing fragment", frag4(58, 1, false, pad), header, nil},
		{"ICMP-18 in a trailing fragment, v6", ip6(44, frag6(1, 1, false), pad), header, nil},
		{"ICMP-18 quoted", unreach4(ip4(58, icmp(128, 0, nil))), ok, noQuote},

		{"FRAG-01 tiny first fragment", frag4(6, 0, true, tcp(packet.SYN, nil, nil)[:8]), tiny, nil},
		{"FRAG-01 16 of 20 bytes", frag4(6, 0, true, tcp(packet.SYN, nil, nil)[:16]), tiny, nil},
		{"FRAG-01 without the options", frag4(6, 0, true, tcp(packet.SYN, make([]byte, 8), nil)[:24]), tiny, nil},
		{"FRAG-01 just long enough", frag4(6, 0, true, tcp(packet.SYN, nil, make([]byte, 4))), ok, tcpPorts},
		{"FRAG-01 UDP of 8 bytes", frag4(17, 0, true, udp(pad)[:8]), ok, udpPorts},
		{"FRAG-01 SCTP of 8 bytes", frag4(132, 0, true, pad[:8]), tiny, nil},
		{"FRAG-02 TCP at offset 1", frag4(6, 1, false, pad), tiny, nil},
		{"FRAG-02 TCP at offset 2", frag4(6, 2, false, pad), tiny, nil},
		{"FRAG-02 TCP at offset 3", frag4(6, 3, false, pad), ok, noPorts},
		{"FRAG-02 UDP at offset 1", frag4(17, 1, false, pad), ok, noPorts},
		{"FRAG-02 TCP at offset 1, v6", ip6(44, frag6(6, 1, false), pad), tiny, nil},
		{"FRAG-06 trailing fragment has no ports", frag4(6, 10, false, tcp(packet.SYN, nil, nil)), ok,
			func(p packet.Packet) bool { return noPorts(p) && p.Trailing() && p.L4 == 0 && p.Flags == 0 }},
		{"FRAG-07 ping of death", frag4(1, 8189, false, pad), header, nil},
		{"FRAG-07 to the last byte", frag4(1, 8187, false, pad[:19]), ok, noPorts},
		{"FRAG-07 one byte more", frag4(1, 8187, false, pad[:20]), header, nil},
		{"FRAG-07 v6", ip6(44, frag6(58, 8191, false), pad[:8]), header, nil},
		{"FRAG-07 to the last byte, v6", ip6(44, frag6(58, 8191, false), pad[:7]), ok, noPorts},
		{"FRAG-07 to the last byte behind options, v6", ip6(0, opts(44), frag6(58, 8191, false), pad[:7]), header, nil},
		{"FRAG-09 length 9 and more to come", frag4(17, 3, true, pad[:9]), header, nil},
		{"FRAG-09 length 12 and more to come", frag4(17, 3, true, pad[:12]), header, nil},
		{"FRAG-09 length 9 and more to come, first", frag4(17, 0, true, udp(pad[:1])), header, nil},
		{"FRAG-09 v6", ip6(44, frag6(17, 3, true), pad[:9]), header, nil},
		{"FRAG-10 empty", frag4(17, 3, false, nil), header, nil},
		{"FRAG-10 empty first", frag4(6, 0, true, nil), header, nil},
		{"FRAG-10 v6", ip6(44, frag6(17, 3, false)), header, nil},
		{"FRAG-11 two fragment headers", ip6(44, frag6(44, 0, true), frag6(17, 0, true), udp(nil)), header, nil},
		{"FRAG-11 two that cut, trailing", ip6(44, frag6(44, 0, true), frag6(17, 3, true), udp(nil)), header, nil},
		{"FRAG-11 two atomic ones", ip6(44, frag6(44, 0, false), frag6(17, 0, false), udp(nil)), ok,
			func(p packet.Packet) bool { return p.Odd == packet.OddFragmentHeaders && udpPorts(p) && !p.Fragment }},
		{"FRAG-11 the first is atomic", ip6(44, frag6(44, 0, false), frag6(17, 0, true), udp(nil)), ok,
			func(p packet.Packet) bool { return p.Odd == packet.OddFragmentHeaders && p.Fragment && p.FragSize == 8 }},
		{"FRAG-11 the second is atomic", ip6(44, frag6(44, 0, true), frag6(17, 0, false), udp(nil)), ok,
			func(p packet.Packet) bool {
				return p.Odd == packet.OddFragmentHeaders && p.Fragment && p.FragSize == 16
			}},
		{"FRAG-11 a trailing one", ip6(44, frag6(44, 1, false), pad), ok,
			func(p packet.Packet) bool { return p.Odd == packet.OddFragmentHeaders && p.Trailing() && noPorts(p) }},
		{"FRAG-12 chain cut in the options", ip6(44, frag6(60, 0, true), []byte{6, 1, 1, 4, 0, 0, 0, 0}), tiny, nil},
		{"FRAG-12 chain cut before TCP", ip6(44, frag6(60, 0, true), opts(6)), tiny, nil},
		{"FRAG-12 chain cut before ICMPv6", ip6(44, frag6(60, 0, true), opts(58)), tiny, nil},
		{"FRAG-12 chain cut before UDP", ip6(44, frag6(60, 0, true), opts(17)), tiny, nil},
		{"FRAG-12 whole chain", ip6(44, frag6(60, 0, true), opts(17), udp(nil)), ok, udpPorts},
		{"FRAG-13 atomic fragment", ip6(44, frag6(17, 0, false), udp(pad)), ok,
			func(p packet.Packet) bool { return udpPorts(p) && !p.Fragment && p.L4 == 48 && p.FragID == 0 }},
		{"FRAG-13 atomic fragment cut", ip6(44, frag6(6, 0, false), tcp(packet.SYN, nil, nil)[:16]), truncated, nil},
		{"FRAG-14 fragmented neighbour advertisement shows its type", ip6(44, frag6(58, 0, true), icmp(136, 0, pad[:16])), ok,
			func(p packet.Packet) bool { return p.Fragment && p.ICMPType == 136 }},
		{"FRAG-15 fragmented ping", frag4(1, 0, true, icmp(8, 0, pad[:8])), ok, ports(77, 77)},

		{"EXT-01 hop-by-hop", ip6(0, opts(6), tcp(packet.SYN, nil, nil)), ok, tcpPorts},
		{"EXT-01 destination options", ip6(60, opts(17), udp(nil)), ok, udpPorts},
		{"EXT-01 both", ip6(0, opts(60), opts(6), tcp(packet.SYN, nil, nil)), ok, tcpPorts},
		{"EXT-01 option past its header", ip6(0, []byte{6, 0, 1, 5, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-01 options of single pads", ip6(60, []byte{6, 0, 0, 0, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok, tcpPorts},
		{"EXT-01 pad without length", ip6(60, []byte{6, 0, 0, 0, 0, 0, 0, 1}, tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-02 8 headers", chain(8), ok, tcpPorts},
		{"EXT-02 9 headers", chain(9), header, nil},
		{"EXT-02 40 headers", chain(40), header, nil},
		{"EXT-03 routing header type 0", ip6(43, []byte{6, 0, 0, 0, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok,
			func(p packet.Packet) bool { return p.Odd == packet.OddRoutingType0 && tcpPorts(p) }},
		{"EXT-03 routing header type 4, at its end", ip6(43, []byte{6, 0, 4, 0, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok,
			func(p packet.Packet) bool { return tcpPorts(p) && p.Odd == 0 }},
		{"EXT-03 routing header type 4, a segment left", ip6(43, []byte{6, 0, 4, 1, 0, 0, 0, 0}, tcp(packet.SYN, nil, nil)), ok,
			func(p packet.Packet) bool { return p.Odd == packet.OddSourceRoute }},
		{"EXT-04 hop-by-hop second", ip6(60, opts(0), opts(6), tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-04 hop-by-hop twice", ip6(0, opts(0), opts(6), tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-05 no next header", ip6(59), ok, proto(59)},
		{"EXT-05 no next header with a tail", ip6(59, tcp(packet.SYN, nil, nil)), ok, proto(59)},
		{"EXT-05 ESP", ip6(50, tcp(packet.SYN, nil, nil)), ok, proto(50)},
		{"EXT-05 experimental 253", ip6(253, tcp(packet.SYN, nil, nil)), ok, proto(253)},
		{"EXT-05 experimental behind options", ip6(60, opts(253), tcp(packet.SYN, nil, nil)), ok, proto(253)},
		{"EXT-06 IPv4 in IPv6", ip6(4, syn4), ok, proto(4)},
		{"EXT-06 IPv6 in IPv6", ip6(41, syn6), ok, proto(41)},
		{"EXT-06 IPv6 in IPv4", ip4(41, syn6), ok, proto(41)},
		{"EXT-07 AH counts in 4 bytes", ip6(51, ah(6, 4), tcp(packet.SYN, nil, nil)), ok,
			func(p packet.Packet) bool { return tcpPorts(p) && p.L4 == 64 }},
		{"EXT-07 AH too short to be one", ip6(51, ah(6, 0), tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-07 AH past the packet", ip6(51, with(ah(6, 4), 1, 200), tcp(packet.SYN, nil, nil)), truncated, nil},
		{"EXT-08 jumbogram", with(with(ip6(0, []byte{6, 0, 0xc2, 4, 0, 1, 0, 0}, pad), 4, 0), 5, 0), header, nil},
		{"EXT-08 jumbo option and a length", ip6(0, []byte{6, 0, 0xc2, 4, 0, 1, 0, 0}, tcp(packet.SYN, nil, nil)), header, nil},
		{"EXT-08 payload length 0 before TCP", with(syn6, 5, 0), truncated, nil},
		{"EXT-09 payload longer than the frame", with(syn6, 5, 21), truncated, nil},
		{"EXT-09 payload shorter than the datagram", with(dns6, 5, 15), truncated, nil},
		{"EXT-09 padded frame", cat(dns6, pad), ok, func(p packet.Packet) bool { return p.Length == 56 }},
		{"EXT-10 router advertisement behind options", ip6(60, opts(58), icmp(134, 0, pad[:8])), ok,
			func(p packet.Packet) bool { return p.Tuple.Proto == 58 && p.ICMPType == 134 && noPorts(p) }},

		{"SEM-01 IPv4-mapped source in IPv6", cat(syn6[:8], make([]byte, 10), []byte{255, 255, 10, 1, 1, 1}, syn6[24:]), ok,
			func(p packet.Packet) bool { return p.Tuple.Family == 6 && p.Tuple.SrcAddr().Is4In6() }},
	}
	for ihl := range byte(5) {
		tests = append(tests, test{fmt.Sprintf("HDR-01 IHL %d", ihl), with(syn4, 0, 0x40|ihl), header, nil})
	}
	for n := range len(syn4) {
		tests = append(tests, test{fmt.Sprintf("HDR-09 %d bytes", n), syn4[:n], truncated, nil})
		if n >= 20 { // the length field owns up to the cut
			tests = append(tests, test{fmt.Sprintf("HDR-09 length %d", n), with(syn4, 3, byte(n))[:n], truncated, nil})
		}
	}
	for n := range 48 {
		tests = append(tests, test{fmt.Sprintf("HDR-10 %d bytes", n), dns6[:n], truncated, nil})
		if n >= 40 {
			tests = append(tests, test{fmt.Sprintf("HDR-10 length %d", n), with(dns6, 5, byte(n-40))[:n], truncated, nil})
		}
	}
	flags := []byte{0, packet.FIN, packet.FIN | packet.PSH | packet.URG, packet.SYN | packet.FIN,
		packet.SYN | packet.RST, packet.SYN | packet.FIN | packet.RST, 0xff, packet.ACK, packet.SYN | packet.ACK}
	for _, f := range flags { // TCP-01, -02, -03: the tracker judges flags, so they must arrive
		tests = append(tests, test{fmt.Sprintf("TCP-01 flags %08b", f), ip4(6, tcp(f, nil, nil)), ok,
			func(p packet.Packet) bool { return p.Flags == f && tcpPorts(p) }})
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			p, err := decode(t, tt.b)
			switch {
			case tt.want != ok && err != error(tt.want):
				t.Fatalf("got %v, want %v\n%+v", err, tt.want, p)
			case tt.want == ok && err != nil:
				t.Fatalf("refused: %v", err)
			case tt.check != nil && !tt.check(p):
				t.Fatalf("decoded to %+v", p)
			}
		})
	}
}

// TestRefused: what stays of a refused packet is what a log needs.
func TestRefused(t *testing.T) {
	syn4, syn6 := ip4(6, tcp(packet.SYN, nil, nil)), ip6(6, tcp(packet.SYN, nil, nil))
	want4 := packet.Packet{Tuple: tuple(t, 6, "192.0.2.7:0", "10.0.0.5:0")}
	want6 := packet.Packet{Tuple: tuple(t, 6, "[2001:db8::7]:0", "[2001:db8::5]:0")}
	proto := func(p packet.Packet, n uint8) packet.Packet { p.Tuple.Proto = n; return p }
	for _, tt := range []struct {
		name string
		b    []byte
		want packet.Packet
	}{
		{"nothing", nil, packet.Packet{}},
		{"19 bytes of IPv4", syn4[:19], packet.Packet{}},
		{"39 bytes of IPv6", syn6[:39], packet.Packet{}},
		{"version", bytes.Repeat([]byte{0x70}, 60), packet.Packet{}},
		{"IPv4 header only", syn4[:20], want4},
		{"IPv6 header only", syn6[:40], want6},
		{"IHL", with(syn4, 0, 0x44), want4},
		{"data offset", with(syn4, 32, 0), want4},
		{"UDP length", with(ip4(17, udp(nil)), 25, 0), proto(want4, 17)},
		{"data offset behind a source route", with(ip4opt(6, []byte{131, 3, 4, 0}, tcp(packet.SYN, nil, nil)), 36, 0), want4},
		{"tiny fragment", frag4(6, 0, true, make([]byte, 8)), want4},
		{"TCP behind options", ip6(60, opts(6), make([]byte, 4)), want6},
		{"routing header behind options", ip6(60, opts(43), []byte{6, 200, 4, 0, 0, 0, 0, 0}), proto(want6, 43)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(t, tt.b)
			if err == nil || p != tt.want {
				t.Fatalf("%v\n got %+v\nwant %+v", err, p, tt.want)
			}
		})
	}
}
