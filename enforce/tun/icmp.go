package tun

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/conntrack/packet"
)

// Longest answers in bytes, IP header included: what every host must be able
// to receive, so that nobody can be made to send more than was sent to it by
// more than a header.
const (
	maxAnswer4 = 576  // RFC 1812 4.3.2.3
	maxAnswer  = 1280 // RFC 4443 2.4 (c)
)

// answerable reports whether an error may be sent in answer to a packet (RFC
// 1122 3.2.2, RFC 4443 2.4 (e)): not to an ICMP error, not to a fragment other
// than the first, not from or to anything but a single host. Packet too big is
// the one error that may answer a packet to a multicast address.
func answerable(p *packet.Packet, multicast bool) bool {
	if p.Trailing() || p.IsICMPError() || !single(p.Tuple.SrcAddr()) {
		return false
	}
	if dst := p.Tuple.DstAddr(); !single(dst) && !(multicast && dst.IsMulticast()) {
		return false
	}
	switch p.Tuple.Proto {
	case packet.ProtoICMP:
		return p.IsICMPQuery() // what is unknown may be an error
	case packet.ProtoICMPv6:
		// 0 to 127 are errors; 133 to 137 are neighbour discovery, redirect
		// (2.4 (e.2)) among them.
		return p.ICMPType >= 128 && !(133 <= p.ICMPType && p.ICMPType <= 137)
	}
	return true
}

// single reports whether an address may be that of one host elsewhere: not
// unspecified, loopback, multicast, broadcast or reserved. The broadcast
// address of a subnet looks like any other.
func single(a netip.Addr) bool {
	if a.Is4() {
		b := a.As4()
		return b[0] != 0 && b[0] != 127 && b[0] < 224
	}
	return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

// back writes the IP header of an answer to pkt: from its destination to its
// source, n bytes long, header included.
func back(dst, pkt []byte, proto, tos uint8, n int) []byte {
	const hops, dontFragment = 64, 0x40
	dst = dst[:n]
	if pkt[0]>>4 == 4 {
		clear(dst[:20])
		dst[0], dst[1] = 0x45, tos
		binary.BigEndian.PutUint16(dst[2:], uint16(n))
		dst[6], dst[8], dst[9] = dontFragment, hops, proto // so that the identifier may be 0 (RFC 6864 4.1)
		copy(dst[12:], pkt[16:20])
		copy(dst[16:], pkt[12:16])
		headerChecksum(dst)
		return dst
	}
	clear(dst[:8])
	dst[0], dst[1] = 0x60|tos>>4, tos<<4
	binary.BigEndian.PutUint16(dst[4:], uint16(n-40))
	dst[6], dst[7] = proto, hops
	copy(dst[8:], pkt[24:40])
	copy(dst[24:], pkt[8:24])
	return dst
}

// reset writes the answer of a closed port to a segment (RFC 9293 3.10.7.1).
func reset(dst, pkt []byte, p *packet.Packet) int {
	l4 := 20
	if p.Tuple.Family == 6 {
		l4 = 40
	}
	dst = back(dst, pkt, packet.ProtoTCP, 0, l4+20)
	t := dst[l4:]
	clear(t)
	binary.BigEndian.PutUint16(t, p.Tuple.DstPort)
	binary.BigEndian.PutUint16(t[2:], p.Tuple.SrcPort)
	t[12], t[13] = 5<<4, packet.RST
	if p.Flags&packet.ACK != 0 {
		binary.BigEndian.PutUint32(t[4:], p.Ack)
	} else {
		length := p.Data // SEG.LEN counts SYN and FIN (3.4)
		if p.Flags&packet.SYN != 0 {
			length++
		}
		if p.Flags&packet.FIN != 0 {
			length++
		}
		binary.BigEndian.PutUint32(t[8:], p.Seq+length)
		t[13] |= packet.ACK
	}
	putChecksum(t[16:], packet.Sum(t, pseudo(dst, packet.ProtoTCP, len(t))))
	return len(dst)
}

// icmp4 writes the ICMP error "destination unreachable" about pkt; mtu is for
// the code that has one (RFC 1191 4).
func icmp4(dst, pkt []byte, code uint8, mtu uint16) int {
	const unreachable, internetControl = 3, 0xc0 // RFC 1812 4.3.2.5
	n := min(len(pkt), maxAnswer4-28)
	dst = back(dst, pkt, packet.ProtoICMP, internetControl, 28+n)
	m := dst[20:]
	clear(m[:8])
	m[0], m[1] = unreachable, code
	binary.BigEndian.PutUint16(m[6:], mtu)
	copy(m[8:], pkt)
	putChecksum(m[2:], packet.Sum(m, 0))
	return len(dst)
}

// icmp6 writes an ICMPv6 error about pkt; mtu is for the type that has one.
func icmp6(dst, pkt []byte, typ, code uint8, mtu uint32) int {
	n := min(len(pkt), maxAnswer-48)
	dst = back(dst, pkt, packet.ProtoICMPv6, 0, 48+n)
	m := dst[40:]
	m[0], m[1], m[2], m[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], mtu)
	copy(m[8:], pkt)
	putChecksum(m[2:], packet.Sum(m, pseudo(dst, packet.ProtoICMPv6, len(m))))
	return len(dst)
}
