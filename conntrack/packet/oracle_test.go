package packet_test

import (
	"fmt"
	"net/netip"
	"testing"

	"example.com/secgroup/conntrack/packet"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"pgregory.net/rapid"
)

// seen is what gopacket makes of a packet: the addresses, and the first header
// behind the IP headers if it is one that both decoders know.
type seen struct {
	src, dst         netip.Addr
	hops             uint8
	length           int
	proto            uint8 // 0 if the header is of no interest or not decoded
	srcPort, dstPort uint16
	seq, ack         uint32
	flags            uint8
	window           uint16
	data             int
	kind, code       uint8
}

// oracle decodes b, which ends where the IP packet ends, with gopacket. ok is
// false where gopacket reports an error or panics, as v1.1.19 does on some
// short packets.
func oracle(b []byte) (s seen, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if len(b) == 0 {
		return s, false
	}
	first := gopacket.Decoder(layers.LayerTypeIPv4)
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.DecodeOptions{NoCopy: true, SkipDecodeRecovery: true})
	// v1.1.19 cuts off the hop-by-hop header before it applies the payload
	// length, so it calls every packet with such a header truncated.
	hopByHop := b[0]>>4 == 6 && len(b) > 6 && b[6] == 0
	if p.ErrorLayer() != nil || p.Metadata().Truncated && !hopByHop {
		return s, false
	}
	for i, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			if i != 0 {
				return s, true // a tunnel
			}
			s.src, _ = netip.AddrFromSlice(l.SrcIP)
			s.dst, _ = netip.AddrFromSlice(l.DstIP)
			s.hops, s.length = l.TTL, int(l.Length)
		case *layers.IPv6:
			if i != 0 {
				return s, true
			}
			s.src, _ = netip.AddrFromSlice(l.SrcIP)
			s.dst, _ = netip.AddrFromSlice(l.DstIP)
			s.hops, s.length = l.HopLimit, 40+int(l.Length)
		case *layers.IPv6HopByHop, *layers.IPv6Destination, *layers.IPv6Routing, *layers.IPv6Fragment:
			if b[0]>>4 != 6 {
				return s, true // gopacket follows them in IPv4 too, where they are mere protocol numbers
			}
		case *layers.TCP:
			s.proto = 6
			s.srcPort, s.dstPort = uint16(l.SrcPort), uint16(l.DstPort)
			s.seq, s.ack, s.window = l.Seq, l.Ack, l.Window
			for i, f := range []bool{l.FIN, l.SYN, l.RST, l.PSH, l.ACK, l.URG, l.ECE, l.CWR} {
				if f {
					s.flags |= 1 << i
				}
			}
			s.data = len(l.Payload)
			return s, true
		case *layers.UDP:
			s.proto = 17
			s.srcPort, s.dstPort = uint16(l.SrcPort), uint16(l.DstPort)
			s.data = len(l.Payload)
			return s, true
		case *layers.SCTP:
			s.proto = 132
			s.srcPort, s.dstPort = uint16(l.SrcPort), uint16(l.DstPort)
			s.data = len(l.Payload)
			return s, true
		case *layers.ICMPv4:
			s.proto, s.kind, s.code = 1, l.TypeCode.Type(), l.TypeCode.Code()
			if p := (packet.Packet{L4: 1, ICMPType: s.kind, Tuple: packet.Tuple{Proto: 1}}); p.IsICMPQuery() {
				s.srcPort, s.dstPort = l.Id, l.Id
			}
			return s, true
		case *layers.ICMPv6:
			s.proto, s.kind, s.code = 58, l.TypeCode.Type(), l.TypeCode.Code()
			if s.kind == 128 || s.kind == 129 {
				id := uint16(l.Payload[0])<<8 | uint16(l.Payload[1])
				s.srcPort, s.dstPort = id, id
			}
			return s, true
		default:
			return s, true
		}
	}
	return s, true
}

// compare returns what p and s disagree about, or "". It is for packets that
// are no fragments.
func compare(p packet.Packet, s seen) string {
	type pair struct {
		name      string
		got, want any
	}
	pairs := []pair{
		{"source", p.Tuple.SrcAddr(), s.src},
		{"destination", p.Tuple.DstAddr(), s.dst},
		{"hop limit", p.HopLimit, s.hops},
		{"length", int(p.Length), s.length},
	}
	if s.proto != 0 {
		pairs = append(pairs,
			pair{"protocol", p.Tuple.Proto, s.proto},
			pair{"source port", p.Tuple.SrcPort, s.srcPort},
			pair{"destination port", p.Tuple.DstPort, s.dstPort},
			pair{"sequence number", p.Seq, s.seq},
			pair{"acknowledgement", p.Ack, s.ack},
			pair{"flags", p.Flags, s.flags},
			pair{"window", p.Window, s.window},
			pair{"ICMP type", p.ICMPType, s.kind},
			pair{"ICMP code", p.ICMPCode, s.code})
	}
	if s.proto == 6 {
		pairs = append(pairs, pair{"data", int(p.Data), s.data})
	}
	for _, x := range pairs {
		if x.got != x.want {
			return fmt.Sprintf("%s is %v, gopacket has %v", x.name, x.got, x.want)
		}
	}
	return ""
}

// build draws a valid packet that is no fragment and serialises it with
// gopacket. It returns the tuple that went in, and the options of the last
// TCP header as a window scale, or -1.
func build(t *rapid.T, quote []byte) (b []byte, want packet.Tuple, scale int) {
	scale = -1
	v6 := rapid.Bool().Draw(t, "v6")
	size := 4
	if v6 {
		size = 16
	}
	src := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "src")
	dst := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "dst")
	sp, dp := rapid.Uint16().Draw(t, "sport"), rapid.Uint16().Draw(t, "dport")
	payload := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "payload")

	var transport []gopacket.SerializableLayer
	var proto layers.IPProtocol
	switch kind := rapid.SampledFrom([]string{"tcp", "udp", "sctp", "query", "error", "gre"}).Draw(t, "transport"); kind {
	case "tcp":
		proto = layers.IPProtocolTCP
		h := &layers.TCP{
			SrcPort: layers.TCPPort(sp), DstPort: layers.TCPPort(dp),
			Seq: rapid.Uint32().Draw(t, "seq"), Ack: rapid.Uint32().Draw(t, "ack"),
			SYN: rapid.Bool().Draw(t, "syn"), ACK: rapid.Bool().Draw(t, "ack flag"), FIN: rapid.Bool().Draw(t, "fin"),
			RST: rapid.Bool().Draw(t, "rst"), CWR: rapid.Bool().Draw(t, "cwr"), Window: rapid.Uint16().Draw(t, "window"),
		}
		if rapid.Bool().Draw(t, "options") {
			shift := rapid.ByteRange(0, 14).Draw(t, "shift")
			h.Options = []layers.TCPOption{
				{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}},
				{OptionType: layers.TCPOptionKindNop},
				{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{shift}},
			}
			if h.SYN {
				scale = int(shift)
			}
		}
		transport = append(transport, h)
	case "udp":
		proto = layers.IPProtocolUDP
		transport = append(transport, &layers.UDP{SrcPort: layers.UDPPort(sp), DstPort: layers.UDPPort(dp)})
	case "sctp":
		proto = layers.IPProtocolSCTP
		transport = append(transport, &layers.SCTP{SrcPort: layers.SCTPPort(sp), DstPort: layers.SCTPPort(dp)})
		payload = nil
	case "gre":
		proto = layers.IPProtocolGRE
		sp, dp = 0, 0
	case "query", "error":
		kind4, kind6 := byte(8), byte(128)
		dp = sp
		if kind == "error" {
			kind4, kind6 = 3, 1
			sp, dp = 0, 0
			payload = quote
		}
		if v6 {
			proto = layers.IPProtocolICMPv6
			transport = append(transport, &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind6, 1)})
			payload = append([]byte{byte(sp >> 8), byte(sp), 0, 1}, payload...)
		} else {
			proto = layers.IPProtocolICMPv4
			transport = append(transport, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind4, 1), Id: sp})
		}
	}
	transport = append(transport, gopacket.Payload(payload))

	var stack []gopacket.SerializableLayer
	hops := rapid.Byte().Draw(t, "hops")
	want = packet.Tuple{SrcPort: sp, DstPort: dp, Proto: uint8(proto), Family: 4}
	if v6 {
		want.Family = 6
		copy(want.Src[:], src)
		copy(want.Dst[:], dst)
		h := &layers.IPv6{Version: 6, SrcIP: src, DstIP: dst, NextHeader: proto, HopLimit: hops}
		stack = append(stack, h)
		if rapid.Bool().Draw(t, "destination options") {
			d := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 0x1e, OptionLength: 4, OptionData: []byte{1, 2, 3, 4}}}}
			d.NextHeader, h.NextHeader = proto, layers.IPProtocolIPv6Destination
			stack = append(stack, d)
		}
		if rapid.Bool().Draw(t, "hop-by-hop") {
			h.HopByHop = &layers.IPv6HopByHop{Options: []*layers.IPv6HopByHopOption{{OptionType: 0x1e, OptionLength: 4, OptionData: []byte{1, 2, 3, 4}}}}
			h.HopByHop.NextHeader, h.NextHeader = h.NextHeader, layers.IPProtocolIPv6HopByHop
		}
	} else {
		want.Src = netip.AddrFrom4([4]byte(src)).As16()
		want.Dst = netip.AddrFrom4([4]byte(dst)).As16()
		h := &layers.IPv4{Version: 4, SrcIP: src, DstIP: dst, Protocol: proto, TTL: hops, Id: 7, Flags: layers.IPv4DontFragment}
		if rapid.Bool().Draw(t, "router alert") {
			h.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		}
		stack = append(stack, h)
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true}
	if err := gopacket.SerializeLayers(buf, opts, append(stack, transport...)...); err != nil {
		t.Fatalf("gopacket does not build: %v", err)
	}
	return buf.Bytes(), want, scale
}

// TestOracle: what gopacket builds decodes to what went in, and as gopacket
// decodes it.
func TestOracle(t *testing.T) {
	decoded := 0
	rapid.Check(t, func(t *rapid.T) {
		quote, quoted, _ := build(t, nil)
		b, want, scale := build(t, quote)
		var p packet.Packet
		if err := packet.Decode(b, &p); err != nil {
			t.Fatalf("%x refused: %v", b, err)
		}
		if p.Tuple != want || int(p.Length) != len(b) || p.Fragment || p.Odd != 0 {
			t.Fatalf("%x decoded to\n%+v, want\n%+v", b, p, want)
		}
		if p.HasScale != (scale >= 0) || p.HasScale && int(p.Scale) != scale {
			t.Fatalf("window scale %v %d, want %d", p.HasScale, p.Scale, scale)
		}
		// The quote of an error: of the same family, and no error itself,
		// which here is every ICMP message with identifier 0 and type 3 or 1.
		if p.IsICMPError() {
			var q packet.Packet
			if err := packet.Decode(quote, &q); err != nil {
				t.Fatal(err)
			}
			names := quoted.Family == want.Family && !q.IsICMPError()
			if names && (p.Inner.Tuple != quoted || p.Inner.Seq != q.Seq || p.Inner.ICMPType != q.ICMPType) ||
				!names && p.Inner != (packet.Quote{}) {
				t.Fatalf("quote is %+v, want %+v (%v)", p.Inner, quoted, names)
			}
		} else if p.Inner != (packet.Quote{}) {
			t.Fatalf("quote in %+v", p)
		}
		if s, ok := oracle(b); ok {
			if s.proto != 0 {
				decoded++
			}
			if diff := compare(p, s); diff != "" {
				t.Fatalf("%x: %s", b, diff)
			}
		}
	})
	if decoded == 0 {
		t.Error("gopacket decoded no transport header: nothing was compared")
	}
}

// TestOracleFragments cuts packets into fragments and compares the fields of
// each with what it was cut from, and with gopacket.
func TestOracleFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v6 := rapid.Bool().Draw(t, "v6")
		id := rapid.Uint32Range(0, 65535).Draw(t, "id")
		body := udp(rapid.SliceOfN(rapid.Byte(), 60, 200).Draw(t, "data"))
		total := 0
		for off := 0; off < len(body); {
			size := min(8*rapid.IntRange(1, 8).Draw(t, "units"), len(body)-off)
			if off == 0 && size == len(body) {
				size = 8
			}
			more := off+size < len(body)
			part := body[off : off+size]
			ip4h := &layers.IPv4{Version: 4, IHL: 5, SrcIP: a4.AsSlice(), DstIP: b4.AsSlice(), Protocol: 17, TTL: 9, Id: uint16(id), FragOffset: uint16(off / 8)}
			if more {
				ip4h.Flags = layers.IPv4MoreFragments
			}
			buf := gopacket.NewSerializeBuffer()
			fix := gopacket.SerializeOptions{FixLengths: true}
			var b []byte
			if v6 {
				ext := frag6(17, uint16(off/8), more)
				ext[4], ext[5], ext[6], ext[7] = byte(id>>24), byte(id>>16), byte(id>>8), byte(id)
				h := &layers.IPv6{Version: 6, SrcIP: a6.AsSlice(), DstIP: b6.AsSlice(), NextHeader: 44, HopLimit: 9}
				if err := gopacket.SerializeLayers(buf, fix, h, gopacket.Payload(ext), gopacket.Payload(part)); err != nil {
					t.Fatal(err)
				}
				b = buf.Bytes()
				l, _ := gopacket.NewPacket(b, layers.LayerTypeIPv6, gopacket.Default).Layer(layers.LayerTypeIPv6Fragment).(*layers.IPv6Fragment)
				if l == nil || int(l.FragmentOffset)*8 != off || l.MoreFragments != more || l.Identification != id {
					t.Fatalf("gopacket does not agree with the test: %+v", l)
				}
			} else {
				if err := gopacket.SerializeLayers(buf, fix, ip4h, gopacket.Payload(part)); err != nil {
					t.Fatal(err)
				}
				b = buf.Bytes()
			}
			var p packet.Packet
			if err := packet.Decode(b, &p); err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			if !p.Fragment || p.MoreFrags != more || int(p.FragOffset)*8 != off || p.FragID != id || int(p.FragSize) != size || p.Tuple.Proto != 17 {
				t.Fatalf("fragment [%d,+%d) decoded to %+v", off, size, p)
			}
			if p.Trailing() != (off != 0) || p.Trailing() != (p.L4 == 0) || p.Trailing() != (p.Tuple.SrcPort == 0) {
				t.Fatalf("fragment at %d decoded to %+v", off, p)
			}
			total += int(p.FragSize)
			off += size
		}
		if total != len(body) {
			t.Fatalf("fragments of %d bytes carry %d", len(body), total)
		}
	})
}
