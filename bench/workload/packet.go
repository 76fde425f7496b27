package workload

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// Local returns the first address that the interface of f has in p, of the
// family of f.Remote; the zero Addr if there is none.
func (f Flow) Local(p *ir.Program) netip.Addr {
	i, _ := p.Interface(f.Interface)
	for _, a := range i.Addrs {
		if a.Addr().BitLen() == f.Remote.BitLen() {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

// Tuple returns the tuple of the packet that opens f between its remote end
// and the address local, which is of the same family. port is the opener's
// own port; for an ICMP query it is the identifier, and other protocols have
// none.
func (f Flow) Tuple(local netip.Addr, port uint16) packet.Tuple {
	src, dst := port, f.Port
	if p := sg.Protocol(f.Protocol); !p.HasPorts() {
		if q := (packet.Packet{Tuple: packet.Tuple{Proto: f.Protocol}, L4: 1, ICMPType: f.ICMPType}); !q.IsICMPQuery() {
			port = 0
		}
		src, dst = port, port
	}
	from, to := f.Remote, local
	if f.Direction == sg.Egress {
		from, to = local, f.Remote
	}
	return packet.TupleFrom(f.Protocol, netip.AddrPortFrom(from, src), netip.AddrPortFrom(to, dst))
}

// Packet returns the packet that opens f, as Tuple describes it: a SYN for
// TCP, the message of the flow for ICMP, 32 bytes of data for others.
// enforce.FlowOf finds the same flow in it. It panics if local is not an
// address of the family of f.Remote.
func (f Flow) Packet(local netip.Addr, port uint16) []byte {
	h := Header{ICMPType: f.ICMPType, ICMPCode: f.ICMPCode, Data: 32}
	if sg.Protocol(f.Protocol) == sg.TCP {
		h.Flags, h.Data = packet.SYN, 0
	}
	return AppendPacket(nil, f.Tuple(local, port), h)
}

// Header is what a packet has beside its tuple. The zero Header is that of a
// packet without data, of TCP one without flags.
type Header struct {
	Flags              uint8  // TCP only
	Seq, Ack           uint32 // TCP only
	ICMPType, ICMPCode uint8  // ICMP and ICMPv6 only
	Data               int    // zero bytes behind the transport header
}

// AppendPacket appends a whole IP packet with right lengths and checksums to
// b. Tuple t says which protocol it is; those other than TCP, UDP, SCTP, ICMP
// and ICMPv6 have no transport header. SrcPort of t is the identifier of an
// ICMP query; an ICMP error quotes nothing but data. It panics if t is no tuple
// or if the packet has more than 65,535 bytes.
func AppendPacket(b []byte, t packet.Tuple, h Header) []byte {
	l4 := 0
	switch t.Proto {
	case packet.ProtoTCP:
		l4 = 20
	case packet.ProtoUDP, packet.ProtoICMP, packet.ProtoICMPv6:
		l4 = 8
	case packet.ProtoSCTP:
		l4 = 12
	}
	l3 := 20
	if t.Family == 6 {
		l3 = 40
	}
	n := l4 + h.Data
	if t.Family != 4 && t.Family != 6 || h.Data < 0 || l3+n > 65_535 {
		panic(fmt.Sprintf("workload: no packet of %d bytes for the tuple %v of family %d", l3+n, t, t.Family))
	}
	start := len(b)
	b = append(b, make([]byte, l3+n)...)
	ip, l := b[start:start+l3], b[start+l3:]
	if t.Family == 4 {
		ip[0], ip[8], ip[9] = 0x45, 64, t.Proto
		binary.BigEndian.PutUint16(ip[2:], uint16(l3+n))
		copy(ip[12:], t.Src[12:])
		copy(ip[16:], t.Dst[12:])
		binary.BigEndian.PutUint16(ip[10:], finish(sum(0, ip)))
	} else {
		ip[0], ip[6], ip[7] = 0x60, t.Proto, 255 // hops: neighbour discovery wants 255
		binary.BigEndian.PutUint16(ip[4:], uint16(n))
		copy(ip[8:], t.Src[:])
		copy(ip[24:], t.Dst[:])
	}
	transport(l, &t, h)
	return b
}

// transport writes the transport header of a packet whose data is zero.
func transport(l []byte, t *packet.Tuple, h Header) {
	pseudo := uint32(t.Proto) + uint32(len(l)) // RFC 9293 3.1, RFC 8200 8.1
	skip := 0
	if t.Family == 4 {
		skip = 12 // behind the IPv4-mapped prefix
	}
	pseudo = sum(sum(pseudo, t.Src[skip:]), t.Dst[skip:])
	ports := func() {
		binary.BigEndian.PutUint16(l, t.SrcPort)
		binary.BigEndian.PutUint16(l[2:], t.DstPort)
	}
	switch t.Proto {
	case packet.ProtoTCP:
		ports()
		binary.BigEndian.PutUint32(l[4:], h.Seq)
		binary.BigEndian.PutUint32(l[8:], h.Ack)
		l[12], l[13] = 5<<4, h.Flags
		binary.BigEndian.PutUint16(l[14:], 64_240)
		binary.BigEndian.PutUint16(l[16:], finish(sum(pseudo, l)))
	case packet.ProtoUDP:
		ports()
		binary.BigEndian.PutUint16(l[4:], uint16(len(l)))
		c := finish(sum(pseudo, l))
		if c == 0 {
			c = 0xffff // zero is no checksum (RFC 768)
		}
		binary.BigEndian.PutUint16(l[6:], c)
	case packet.ProtoSCTP:
		ports()
		if h.Data > 0 {
			binary.BigEndian.PutUint32(l[4:], 1) // a verification tag: what follows is no INIT (RFC 9260 8.5.1)
		}
		binary.LittleEndian.PutUint32(l[8:], crc32.Checksum(l, crc32.MakeTable(crc32.Castagnoli))) // RFC 9260 A
	case packet.ProtoICMP, packet.ProtoICMPv6:
		l[0], l[1] = h.ICMPType, h.ICMPCode
		binary.BigEndian.PutUint16(l[4:], t.SrcPort)
		if t.Proto == packet.ProtoICMP {
			pseudo = 0
		}
		binary.BigEndian.PutUint16(l[2:], finish(sum(pseudo, l)))
	}
}

// sum adds the bytes of b, an even number but for the last call, to an
// Internet checksum (RFC 1071).
func sum(s uint32, b []byte) uint32 {
	for len(b) >= 2 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
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
