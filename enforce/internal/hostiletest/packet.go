package hostiletest

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
	"slices"
	"strings"

	"example.com/secgroup/conntrack/packet"
)

// Protocols and extension headers by number (IANA).
const (
	hopByHop = 0
	igmpType = 2
	routing  = 43
	fragHead = 44
	esp      = 50
	auth     = 51
	nothing  = 59
	destOpts = 60
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// ip returns a packet of any protocol; of IPv4 with a header checksum.
func ip(src, dst string, proto uint8, payload ...byte) []byte {
	s, d := addr(src), addr(dst)
	if s.Is4() {
		b := make([]byte, 20, 20+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		copy(b[12:], s.AsSlice())
		copy(b[16:], d.AsSlice())
		return header(append(b, payload...))
	}
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], s.AsSlice())
	copy(b[24:], d.AsSlice())
	return append(b, payload...)
}

// header fills the header checksum of an IPv4 packet in, as far as its length
// can be believed, and leaves IPv6 alone.
func header(b []byte) []byte {
	if len(b) < 20 || b[0]>>4 != 4 {
		return b
	}
	n := min(max(int(b[0]&15)*4, 20), len(b)) &^ 1
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^onesSum(b[:n]))
	return b
}

// onesSum is RFC 1071, word by word.
func onesSum(b []byte) uint16 {
	s := uint32(0)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if s += w; s > 0xffff {
			s -= 0xffff
		}
	}
	return uint16(s)
}

// sealed returns the transport part with its checksum filled in at a place.
func sealed(src, dst string, proto uint8, d []byte, at int) []byte {
	pseudo := append(addr(src).AsSlice(), addr(dst).AsSlice()...)
	pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(d))), 0, 0, 0, proto)
	if proto == packet.ProtoICMP {
		pseudo = nil
	}
	d[at], d[at+1] = 0, 0
	c := ^onesSum(append(pseudo, d...))
	if c == 0 && proto == packet.ProtoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(d[at:], c)
	return d
}

// ends are the addresses and ports of a packet, as "10.0.0.5:80".
func ends(src, dst string) (s, d netip.AddrPort) {
	return netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
}

// at joins an address and a port.
func at(a string, port string) string {
	if strings.Contains(a, ":") {
		return "[" + a + "]:" + port
	}
	return a + ":" + port
}

// segment is a TCP segment.
type segment struct {
	flags    uint8
	seq, ack uint32
	win      uint16
	options  []byte
	data     int
}

func tcpFlags(s string) (f uint8) {
	for _, c := range s {
		if c != '-' {
			f |= 1 << strings.IndexRune("FSRPAUEC", c)
		}
	}
	return f
}

// tcpPart is the transport part of a segment.
func tcpPart(src, dst string, g segment) []byte {
	s, d := ends(src, dst)
	b := make([]byte, 20, 20+len(g.options)+g.data)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint32(b[4:], g.seq)
	binary.BigEndian.PutUint32(b[8:], g.ack)
	b[12], b[13] = uint8(5+len(g.options)/4)<<4, g.flags
	binary.BigEndian.PutUint16(b[14:], g.win)
	b = append(append(b, g.options...), make([]byte, g.data)...)
	return sealed(s.Addr().String(), d.Addr().String(), packet.ProtoTCP, b, 16)
}

// tcp returns a segment.
func tcp(src, dst string, g segment) []byte {
	s, d := ends(src, dst)
	return ip(s.Addr().String(), d.Addr().String(), packet.ProtoTCP, tcpPart(src, dst, g)...)
}

// syn returns a segment that opens a connection.
func syn(src, dst string) []byte {
	return tcp(src, dst, segment{flags: packet.SYN, seq: 1000, win: 8192})
}

// udpPart is the transport part of a datagram.
func udpPart(src, dst string, data ...byte) []byte {
	s, d := ends(src, dst)
	b := append(make([]byte, 8), data...)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return sealed(s.Addr().String(), d.Addr().String(), packet.ProtoUDP, b, 6)
}

// udp returns a datagram.
func udp(src, dst string, data ...byte) []byte {
	s, d := ends(src, dst)
	return ip(s.Addr().String(), d.Addr().String(), packet.ProtoUDP, udpPart(src, dst, data...)...)
}

// sctp returns an SCTP packet with one chunk.
func sctp(src, dst string, tag uint32, chunk ...byte) []byte {
	s, d := ends(src, dst)
	b := append(make([]byte, 12), chunk...)
	binary.BigEndian.PutUint16(b, s.Port())
	binary.BigEndian.PutUint16(b[2:], d.Port())
	binary.BigEndian.PutUint32(b[4:], tag)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return ip(s.Addr().String(), d.Addr().String(), packet.ProtoSCTP, b...)
}

// initChunk opens an association (RFC 9260 3.3.2).
func initChunk() []byte {
	return []byte{1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1}
}

// dataChunk carries 4 bytes (RFC 9260 3.3.1).
func dataChunk() []byte {
	return []byte{0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 'd', 'a', 't', 'a'}
}

// icmpPart is an ICMP or ICMPv6 message: body stands behind the checksum.
func icmpPart(src, dst string, typ, code uint8, body ...byte) []byte {
	proto := packet.ProtoICMP
	if strings.Contains(src, ":") {
		proto = packet.ProtoICMPv6
	}
	return sealed(src, dst, proto, append([]byte{typ, code, 0, 0}, body...), 2)
}

// icmp returns an ICMP or ICMPv6 message, by the family of src.
func icmp(src, dst string, typ, code uint8, body ...byte) []byte {
	proto := packet.ProtoICMP
	if strings.Contains(src, ":") {
		proto = packet.ProtoICMPv6
	}
	return ip(src, dst, proto, icmpPart(src, dst, typ, code, body...)...)
}

// echo returns an echo request, or the reply to one.
func echo(src, dst string, reply bool, id uint16) []byte {
	typ := uint8(8)
	switch six := strings.Contains(src, ":"); {
	case six && reply:
		typ = 129
	case six:
		typ = 128
	case reply:
		typ = 0
	}
	return icmp(src, dst, typ, 0, byte(id>>8), byte(id), 0, 1)
}

// unreachable returns the error by which src tells dst that what dst sent can
// not be delivered.
func unreachable(src, dst string, about []byte) []byte {
	typ, code := uint8(3), uint8(3)
	if strings.Contains(src, ":") {
		typ, code = 1, 4
	}
	return icmp(src, dst, typ, code, append(make([]byte, 4), about...)...)
}

// discovery returns a neighbour discovery message with a hop limit.
func discovery(src, dst string, typ, hops uint8) []byte {
	b := icmp(src, dst, typ, 0, make([]byte, 20)...)
	b[7] = hops
	return b
}

// with returns a copy of b with bytes set from a place on, and the header
// checksum of IPv4 mended.
func with(b []byte, at int, v ...byte) []byte {
	b = slices.Clone(b)
	copy(b[at:], v)
	return header(b)
}

// spoiled returns a copy of b with one bit of a byte turned, and nothing mended.
func spoiled(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// optioned returns b with options in its IPv4 header.
func optioned(b []byte, options ...byte) []byte {
	out := slices.Concat(b[:20], options, b[20:])
	out[0] = 0x40 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	return header(out)
}

// extended returns b with an extension header of a type behind its IPv6 header.
// The first byte of the header is set to what was there.
func extended(b []byte, typ byte, head ...byte) []byte {
	out := slices.Concat(b[:40], head, b[40:])
	out[40], out[6] = b[6], typ
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// padding is an options header of nothing but padding.
func padding() []byte { return []byte{0, 0, 1, 4, 0, 0, 0, 0} }

// l4 is where the transport part of a plain packet begins.
func l4(b []byte) int {
	if b[0]>>4 == 6 {
		return 40
	}
	return 20
}

// cut returns the fragment of a plain packet that carries bytes from..to of its
// payload. to is not beyond the end.
func cut(b []byte, id uint16, from, to int, more bool) []byte {
	n := l4(b)
	return fragment(b, id, from, more, b[n+from:n+to]...)
}

// fragment returns a fragment with the addresses and protocol of a plain packet
// that carries data from an offset on.
func fragment(b []byte, id uint16, from int, more bool, data ...byte) []byte {
	flag := uint16(0)
	if more {
		flag = 1
	}
	if b[0]>>4 == 4 {
		f := slices.Concat(b[:20], data)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[4:], id)
		binary.BigEndian.PutUint16(f[6:], flag<<13|uint16(from/8))
		return header(f)
	}
	head := []byte{b[6], 0, byte(from >> 8), byte(from)&^7 | byte(flag), 0, 0, byte(id >> 8), byte(id)}
	f := slices.Concat(b[:40], head, data)
	f[6] = fragHead
	binary.BigEndian.PutUint16(f[4:], uint16(len(f)-40))
	return f
}
