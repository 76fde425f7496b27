package enforcetest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"

	"example.com/secgroup/conntrack/packet"
)

// TCP returns a TCP segment without data and options, its flags as in package
// packet. A kernel that tracks connections checks the sequence numbers: see
// Conn for segments that fit each other.
//
// Like all builders here, TCP fills in lengths and checksums, and panics if
// the two addresses are not of one family: it is for tests.
func TCP(src, dst netip.AddrPort, flags uint8, seq, ack uint32) []byte {
	l := make([]byte, 20)
	ports(l, src, dst)
	binary.BigEndian.PutUint32(l[4:], seq)
	binary.BigEndian.PutUint32(l[8:], ack)
	l[12], l[13] = 5<<4, flags
	binary.BigEndian.PutUint16(l[14:], 64_240)
	binary.BigEndian.PutUint16(l[16:], finish(sum(pseudo(src.Addr(), dst.Addr(), packet.ProtoTCP, len(l)), l)))
	return IP(src.Addr(), dst.Addr(), packet.ProtoTCP, l)
}

// UDP returns a UDP datagram.
func UDP(src, dst netip.AddrPort, data ...byte) []byte {
	l := append(make([]byte, 8), data...)
	ports(l, src, dst)
	binary.BigEndian.PutUint16(l[4:], uint16(len(l)))
	c := finish(sum(pseudo(src.Addr(), dst.Addr(), packet.ProtoUDP, len(l)), l))
	if c == 0 {
		c = 0xffff // zero is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(l[6:], c)
	return IP(src.Addr(), dst.Addr(), packet.ProtoUDP, l)
}

// SCTP returns the INIT chunk that opens an association (RFC 9260 3.3.2).
func SCTP(src, dst netip.AddrPort) []byte {
	l := make([]byte, 12+20)
	ports(l, src, dst)
	chunk := l[12:]
	chunk[0], chunk[3] = 1, 20
	binary.BigEndian.PutUint32(chunk[4:], 1)      // initiate tag
	binary.BigEndian.PutUint32(chunk[8:], 65_536) // receiver window
	chunk[13], chunk[15] = 1, 1                   // streams
	binary.BigEndian.PutUint32(chunk[16:], 1)     // first TSN
	binary.LittleEndian.PutUint32(l[8:], crc32.Checksum(l, crc32.MakeTable(crc32.Castagnoli)))
	return IP(src.Addr(), dst.Addr(), packet.ProtoSCTP, l)
}

// Echo returns an ICMP or ICMPv6 echo request, or the reply to one. Both carry
// the identifier.
func Echo(src, dst netip.Addr, reply bool, id uint16) []byte {
	typ := uint8(8)
	switch {
	case reply && src.Is4():
		typ = 0
	case reply:
		typ = 129
	case !src.Is4():
		typ = 128
	}
	return ICMP(src, dst, typ, 0, []byte{byte(id >> 8), byte(id), 0, 1})
}

// Unreachable returns the ICMP or ICMPv6 error by which src tells dst that the
// destination of the packet about, which dst sent, is unreachable.
func Unreachable(src, dst netip.Addr, about []byte) []byte {
	typ, code := uint8(3), uint8(1) // host unreachable (RFC 792)
	if !src.Is4() {
		typ, code = 1, 3 // address unreachable (RFC 4443)
	}
	return ICMP(src, dst, typ, code, append(make([]byte, 4), about[:min(len(about), 512)]...))
}

// ICMP returns an ICMP or ICMPv6 message, by the family of src: body stands
// behind the checksum.
func ICMP(src, dst netip.Addr, typ, code uint8, body []byte) []byte {
	l := append([]byte{typ, code, 0, 0}, body...)
	proto, s := packet.ProtoICMP, uint32(0)
	if !src.Is4() {
		proto = packet.ProtoICMPv6
		s = pseudo(src, dst, proto, len(l))
	}
	binary.BigEndian.PutUint16(l[2:], finish(sum(s, l)))
	b := IP(src, dst, proto, l)
	if proto == packet.ProtoICMPv6 && 133 <= typ && typ <= 137 {
		b[7] = 255 // neighbour discovery does not leave the link (RFC 4861)
	}
	return b
}

// IP returns a packet of any protocol. It writes no checksum but that of the
// IPv4 header. The packet may travel over 64 hops.
func IP(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if !src.IsValid() || src.BitLen() != dst.BitLen() {
		panic(fmt.Sprintf("enforcetest: no packet from %v to %v", src, dst))
	}
	if !src.Is4() {
		b := make([]byte, 40, 40+len(payload))
		b[0], b[6], b[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
		return append(b, payload...)
	}
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], finish(sum(0, b)))
	return append(b, payload...)
}

// Stamp writes n where no filter looks and routers leave it alone: into the
// identification of an IPv4 header, whose checksum it mends, or the flow label
// of an IPv6 header. A lab can stamp what it sends, and know it again where it
// comes out: hop limits change on the way.
func Stamp(b []byte, n uint16) {
	if b[0]>>4 == 6 {
		b[1] &= 0xf0
		binary.BigEndian.PutUint16(b[2:], n)
		return
	}
	binary.BigEndian.PutUint16(b[4:], n)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], finish(sum(0, b[:int(b[0]&0x0f)*4])))
}

// Stamped returns what Stamp wrote.
func Stamped(b []byte) uint16 {
	if b[0]>>4 == 6 {
		return binary.BigEndian.Uint16(b[2:])
	}
	return binary.BigEndian.Uint16(b[4:])
}

// Conn makes the segments of a TCP connection whose ends have sent nothing
// but the segments of its handshake: with these sequence numbers every one of
// them fits the others.
type Conn struct {
	Client, Server netip.AddrPort
	ISN            uint32 // of the client; the server begins a million further
}

// FromClient returns a segment of the client: a SYN as the first of all,
// anything else as what follows the handshake.
func (c Conn) FromClient(flags uint8) []byte {
	seq, ack := c.ISN+1, uint32(0)
	if flags&packet.SYN != 0 {
		seq = c.ISN
	}
	if flags&packet.ACK != 0 {
		ack = c.ISN + 1_000_001
	}
	return TCP(c.Client, c.Server, flags, seq, ack)
}

// FromServer returns a segment of the server, likewise.
func (c Conn) FromServer(flags uint8) []byte {
	seq, ack := c.ISN+1_000_001, uint32(0)
	if flags&packet.SYN != 0 {
		seq = c.ISN + 1_000_000
	}
	if flags&packet.ACK != 0 {
		ack = c.ISN + 1
	}
	return TCP(c.Server, c.Client, flags, seq, ack)
}

func ports(l []byte, src, dst netip.AddrPort) {
	binary.BigEndian.PutUint16(l, src.Port())
	binary.BigEndian.PutUint16(l[2:], dst.Port())
}

// pseudo begins the checksum of a transport header (RFC 9293 3.1, RFC 8200 8.1).
func pseudo(src, dst netip.Addr, proto uint8, n int) uint32 {
	return sum(sum(uint32(proto)+uint32(n), src.AsSlice()), dst.AsSlice())
}

// sum adds the bytes of b to an Internet checksum (RFC 1071).
func sum(s uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func finish(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
