package packet_test

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"example.com/secgroup/conntrack/packet"
)

// Builders of raw packets, byte by byte, so that tests can lie in any field.

var (
	a4 = netip.MustParseAddr("192.0.2.7")
	b4 = netip.MustParseAddr("10.0.0.5")
	a6 = netip.MustParseAddr("2001:db8::7")
	b6 = netip.MustParseAddr("2001:db8::5")
)

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ip4 builds an IPv4 packet from a4 to b4.
func ip4(proto uint8, payload []byte) []byte { return ip4opt(proto, nil, payload) }

func ip4opt(proto uint8, options, payload []byte) []byte {
	h := make([]byte, 20)
	h[0] = 0x40 | uint8(5+len(options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(options)+len(payload)))
	binary.BigEndian.PutUint16(h[4:], 0x1234)
	h[8], h[9] = 64, proto
	copy(h[12:], a4.AsSlice())
	copy(h[16:], b4.AsSlice())
	return cat(h, options, payload)
}

// frag4 builds an IPv4 fragment; offset in 8-byte units.
func frag4(proto uint8, offset uint16, more bool, payload []byte) []byte {
	b := ip4(proto, payload)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], offset)
	return b
}

// ip6 builds an IPv6 packet from a6 to b6; payload includes extension headers.
func ip6(next uint8, payload ...[]byte) []byte {
	p := cat(payload...)
	h := make([]byte, 40)
	h[0] = 0x60
	binary.BigEndian.PutUint16(h[4:], uint16(len(p)))
	h[6], h[7] = next, 64
	copy(h[8:], a6.AsSlice())
	copy(h[24:], b6.AsSlice())
	return append(h, p...)
}

// opts builds a hop-by-hop or destination options header of 8 bytes.
func opts(next uint8) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }

// frag6 builds a fragment header; offset in 8-byte units.
func frag6(next uint8, offset uint16, more bool) []byte {
	w := offset << 3
	if more {
		w |= 1
	}
	return []byte{next, 0, byte(w >> 8), byte(w), 0, 0, 0x12, 0x34}
}

// tcp builds a segment from port 40001 to 443, padded options included.
func tcp(flags uint8, options, data []byte) []byte {
	h := make([]byte, 20)
	binary.BigEndian.PutUint16(h, 40001)
	binary.BigEndian.PutUint16(h[2:], 443)
	binary.BigEndian.PutUint32(h[4:], 0x01020304)
	binary.BigEndian.PutUint32(h[8:], 0x05060708)
	h[12], h[13] = uint8(5+len(options)/4)<<4, flags
	binary.BigEndian.PutUint16(h[14:], 64240)
	return cat(h, options, data)
}

// udp builds a datagram from port 5353 to 53.
func udp(data []byte) []byte {
	h := make([]byte, 8)
	binary.BigEndian.PutUint16(h, 5353)
	binary.BigEndian.PutUint16(h[2:], 53)
	binary.BigEndian.PutUint16(h[4:], uint16(8+len(data)))
	return append(h, data...)
}

// icmp builds an ICMP or ICMPv6 message with identifier 77.
func icmp(kind, code uint8, body []byte) []byte {
	return append([]byte{kind, code, 0, 0, 0, 77, 0, 1}, body...)
}

// with returns a copy of b with one byte set.
func with(b []byte, i int, v byte) []byte {
	b = append([]byte(nil), b...)
	b[i] = v
	return b
}

// dirty returns a Packet with no field zero.
func dirty() packet.Packet {
	t := packet.Tuple{SrcPort: 0xaaaa, DstPort: 0xaaaa, Proto: 0xaa, Family: 0xaa}
	for i := range t.Src {
		t.Src[i], t.Dst[i] = 0xaa, 0xaa
	}
	return packet.Packet{
		Tuple: t, Inner: packet.Quote{Tuple: t, Seq: 0xaaaa, ICMPType: 0xaa, ICMPCode: 0xaa},
		Length: 0xaaaa, L4: 0xaaaa, Window: 0xaaaa, Seq: 0xaaaa, Ack: 0xaaaa, Data: 0xaaaa,
		Flags: 0xaa, ICMPType: 0xaa, ICMPCode: 0xaa, HopLimit: 0xaa,
		FragID: 0xaaaa, FragOffset: 0xaaaa, FragSize: 0xaaaa, Fragment: true, MoreFrags: true,
		HasScale: true, Scale: 0xaa, SACKPermitted: true, SACK: 0xaaaa, Odd: 0xaa,
	}
}

// decode decodes b twice, into a zero and into a dirty Packet, and fails if
// that makes a difference. It gives Decode no spare capacity to read.
func decode(t testing.TB, b []byte) (packet.Packet, error) {
	t.Helper()
	b = b[:len(b):len(b)]
	var p packet.Packet
	q := dirty()
	err := packet.Decode(b, &p)
	if err2 := packet.Decode(b, &q); err2 != err || p != q {
		t.Fatalf("decode of %x depends on the previous packet:\n%+v, %v\n%+v, %v", b, p, err, q, err2)
	}
	return p, err
}

func tuple(t testing.TB, proto uint8, src, dst string) packet.Tuple {
	t.Helper()
	r := packet.TupleFrom(proto, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst))
	if r.Family == 0 {
		t.Fatalf("no tuple of %s and %s", src, dst)
	}
	return r
}
