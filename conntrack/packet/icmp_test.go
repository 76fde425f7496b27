package packet_test

import (
	"testing"

	"example.com/secgroup/conntrack/packet"
)

func TestQuote(t *testing.T) {
	t4 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "192.0.2.7:0", "10.0.0.5:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	t6 := func(proto uint8, src, dst uint16) packet.Tuple {
		r := tuple(t, proto, "[2001:db8::7]:0", "[2001:db8::5]:0")
		r.SrcPort, r.DstPort = src, dst
		return r
	}
	tcp8 := tcp(packet.ACK, nil, nil)[:8]
	const seq = 0x01020304
	for _, tt := range []struct {
		name  string
		quote []byte
		want  packet.Quote
	}{
		{"TCP", ip4(6, tcp8), packet.Quote{Tuple: t4(6, 40001, 443), Seq: seq}},
		{"UDP", ip4(17, udp(nil)), packet.Quote{Tuple: t4(17, 5353, 53)}},
		{"SCTP cut to 8 bytes", ip4(132, udp(nil)), packet.Quote{Tuple: t4(132, 5353, 53)}},
		{"echo", ip4(1, icmp(8, 0, nil)), packet.Quote{Tuple: t4(1, 77, 77), ICMPType: 8}},
		{"timestamp reply", ip4(1, icmp(14, 0, nil)), packet.Quote{Tuple: t4(1, 77, 77), ICMPType: 14}},
		{"router solicitation", ip4(1, icmp(10, 0, nil)), packet.Quote{}},
		{"GRE", ip4(47, make([]byte, 4)), packet.Quote{Tuple: t4(47, 0, 0)}},
		{"options shift the ports", ip4opt(6, []byte{1, 1, 1, 0}, tcp8), packet.Quote{Tuple: t4(6, 40001, 443), Seq: seq}},
		{"broken options", ip4opt(6, []byte{7, 0, 0, 0}, tcp8), packet.Quote{}},
		{"IHL 4", with(ip4(6, tcp8), 0, 0x44), packet.Quote{}},
		{"IHL 15", with(ip4(6, tcp8), 0, 0x4f), packet.Quote{}},
		{"total length of the whole", with(ip4(6, tcp8), 2, 5), packet.Quote{Tuple: t4(6, 40001, 443), Seq: seq}},
		{"first fragment", frag4(6, 0, true, tcp8), packet.Quote{Tuple: t4(6, 40001, 443), Seq: seq}},
		{"trailing fragment", frag4(6, 3, true, tcp8), packet.Quote{}},
		{"of the other family", ip6(6, tcp8), packet.Quote{}},
		{"nothing", nil, packet.Quote{}},
		{"header cut", ip4(6, nil)[:19], packet.Quote{}},

		{"v6 TCP", ip6(6, tcp8), packet.Quote{Tuple: t6(6, 40001, 443), Seq: seq}},
		{"v6 echo", ip6(58, icmp(128, 0, nil)), packet.Quote{Tuple: t6(58, 77, 77), ICMPType: 128}},
		{"v6 neighbour solicitation", ip6(58, icmp(135, 0, nil)), packet.Quote{}},
		{"v6 ICMPv4", ip6(1, icmp(8, 0, nil)), packet.Quote{}},
		{"v6 no next header", ip6(59), packet.Quote{Tuple: t6(59, 0, 0)}},
		{"v6 chain", ip6(0, opts(60), opts(6), tcp8), packet.Quote{Tuple: t6(6, 40001, 443), Seq: seq}},
		{"v6 chain cut", ip6(0, opts(60), opts(6)[:6]), packet.Quote{}},
		{"v6 atomic fragment", ip6(44, frag6(6, 0, false), tcp8), packet.Quote{Tuple: t6(6, 40001, 443), Seq: seq}},
		{"v6 first fragment", ip6(44, frag6(6, 0, true), tcp8), packet.Quote{Tuple: t6(6, 40001, 443), Seq: seq}},
		{"v6 trailing fragment", ip6(44, frag6(6, 3, true), tcp8), packet.Quote{}},
		{"v6 of the other family", ip4(6, tcp8), packet.Quote{}},
		{"v6 header cut", ip6(6)[:39], packet.Quote{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			outer := ip4(1, icmp(11, 0, tt.quote))
			if len(tt.name) > 3 && tt.name[:3] == "v6 " {
				outer = ip6(58, icmp(3, 0, tt.quote))
			}
			p, err := decode(t, outer)
			if err != nil || p.Inner != tt.want || !p.IsICMPError() {
				t.Fatalf("%v\n got %+v\nwant %+v", err, p.Inner, tt.want)
			}
		})
	}
}

// TestICMPKinds goes through all types of both families. Only errors may fill
// Inner, only queries the ports.
func TestICMPKinds(t *testing.T) {
	set := func(kinds ...uint8) (s [256]bool) {
		for _, k := range kinds {
			s[k] = true
		}
		return s
	}
	for _, f := range []struct {
		name            string
		packet          func(kind uint8) []byte
		errors, queries [256]bool
	}{
		{"v4", func(k uint8) []byte { return ip4(1, icmp(k, 0, ip4(17, udp(nil)))) },
			set(3, 4, 5, 11, 12), set(0, 8, 13, 14, 15, 16, 17, 18)},
		{"v6", func(k uint8) []byte { return ip6(58, icmp(k, 0, ip6(17, udp(nil)))) },
			set(1, 2, 3, 4), set(128, 129)},
	} {
		for k := range 256 {
			p, err := decode(t, f.packet(uint8(k)))
			if err != nil {
				t.Fatalf("%s type %d: %v", f.name, k, err)
			}
			if p.IsICMPError() != f.errors[k] || (p.Inner.Tuple.Family != 0) != f.errors[k] {
				t.Errorf("%s type %d: error %v, quote %+v", f.name, k, p.IsICMPError(), p.Inner)
			}
			if p.IsICMPQuery() != f.queries[k] || (p.Tuple.SrcPort == 77) != f.queries[k] {
				t.Errorf("%s type %d: query %v, tuple %v", f.name, k, p.IsICMPQuery(), p.Tuple)
			}
		}
	}
	// Type 0 is an echo reply, and also what a packet without a type shows.
	trailing, err := decode(t, frag4(1, 3, false, make([]byte, 8)))
	if err != nil || trailing.IsICMPQuery() || trailing.IsICMPError() {
		t.Errorf("%v, trailing fragment is a query or an error: %+v", err, trailing)
	}
	if p, _ := decode(t, ip4(1, icmp(0, 0, nil))[:24]); p.IsICMPQuery() {
		t.Errorf("a refused packet is a query: %+v", p)
	}
	if p, _ := decode(t, ip4(6, tcp(0, nil, nil))); p.IsICMPQuery() {
		t.Errorf("TCP is a query: %+v", p)
	}
}
