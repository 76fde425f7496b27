package tun

import (
	"encoding/binary"

	"example.com/secgroup/conntrack/packet"
)

// frame is one packet and what its header asks for, checked. The zero frame is
// ready to use; parse sets every field.
type frame struct {
	h     header
	b     []byte        // header and packet
	pkt   []byte        // the packet alone, a part of b
	p     packet.Packet // what pkt says, if known
	known bool          // pkt could be decoded
	head  int           // of a super-packet: bytes before its data
	why   cause         // the frame can not be believed
}

// parse checks the frame b and reports whether its header can be believed; why
// says what is the matter if not. Afterwards the header asks for a checksum, or for that and segments, or for
// nothing; what is only a hint, or vouches for something that nobody here
// checked, is gone from it. b itself stays as it is.
//
// A packet that can not be decoded passes, if its header asks for nothing:
// whether it may go on is for the policy to say. An IPv4 packet whose header
// checksum is wrong does not (RFC 1122 3.2.1.2). No offload leaves that one
// open, and to cut the packet up would repair it.
func (f *frame) parse(b []byte) bool {
	f.why = causeHeader
	if len(b) <= HeaderLen || len(b) > FrameSize {
		return false
	}
	f.h.decode(b)
	f.b, f.pkt, f.head = b, b[HeaderLen:], 0
	f.known = packet.Decode(f.pkt, &f.p) == nil
	if f.known && f.p.Tuple.Family == 4 && !packet.ChecksumIPv4(f.pkt) {
		f.why = causeChecksum
		return false
	}
	if f.h.flags&^(needsChecksum|dataValid) != 0 {
		return false
	}
	f.h.flags &= needsChecksum
	if f.h.gso != gsoNone {
		return f.super()
	}
	if f.known && int(f.p.Length) < len(f.pkt) {
		f.pkt = f.pkt[:f.p.Length] // padding: nobody judged it, so nobody gets it
		f.b = f.b[:HeaderLen+len(f.pkt)]
	}
	if f.h.flags == 0 {
		f.h = header{}
		return true
	}
	f.h.hdrLen, f.h.size = 0, 0
	return f.checksum()
}

// checksum reports whether the place of the checksum is one that may be
// written after the verdict: the checksum of the transport header, or a place
// that no verdict looked at.
func (f *frame) checksum() bool {
	start, at := int(f.h.start), int(f.h.start)+int(f.h.csumAt)
	if !f.known || f.p.Fragment || at+2 > len(f.pkt) {
		return false
	}
	l4 := int(f.p.L4)
	own, end := -1, l4 // of the transport header: where its checksum is, where it ends
	switch f.p.Tuple.Proto {
	case packet.ProtoTCP:
		own, end = l4+16, l4+int(f.pkt[l4+12]>>4)*4
	case packet.ProtoUDP:
		own, end = l4+6, l4+8
	case packet.ProtoICMP, packet.ProtoICMPv6:
		own, end = l4+2, len(f.pkt) // the quote of an error is looked at too
	case packet.ProtoSCTP:
		end = l4 + 12 // CRC32c, which this header can not ask for
	}
	return start == l4 && at == own || start >= end
}

// super checks a super-packet.
func (f *frame) super() bool {
	if f.h.flags&needsChecksum == 0 || !f.known || f.p.Fragment || int(f.p.Length) != len(f.pkt) || int(f.h.hdrLen) > len(f.pkt) {
		return false
	}
	l4, proto, family := int(f.p.L4), f.p.Tuple.Proto, f.p.Tuple.Family
	switch f.h.gso {
	case gsoTCP4, gsoTCP4 | gsoECN, gsoTCP6, gsoTCP6 | gsoECN:
		want := uint8(4)
		if f.h.gso&^gsoECN == gsoTCP6 {
			want = 6
		}
		// No sender puts SYN or RST on more than one segment, and every
		// segment would get it.
		if proto != packet.ProtoTCP || family != want || f.p.Flags&(packet.SYN|packet.RST) != 0 || f.h.size < minTCP || f.h.csumAt != 16 {
			return false
		}
		f.head = l4 + int(f.pkt[l4+12]>>4)*4
	case gsoUDP:
		if proto != packet.ProtoUDP || f.h.size == 0 || f.h.csumAt != 6 || int(binary.BigEndian.Uint16(f.pkt[l4+4:])) != len(f.pkt)-l4 {
			return false
		}
		f.head = l4 + 8
		if (len(f.pkt)-f.head-1)/int(f.h.size) >= maxUDP {
			return false
		}
	default:
		return false
	}
	if int(f.h.start) != l4 {
		return false
	}
	// The hint says how much the kernel is to copy in one piece: a lie costs
	// it memory.
	f.h.hdrLen = uint16(f.head)
	if len(f.pkt)-f.head <= int(f.h.size) { // one segment is no super-packet
		f.h.gso, f.h.size, f.h.hdrLen, f.head = gsoNone, 0, 0, 0
	}
	return true
}

// longest is the length of the longest packet that the frame stands for.
func (f *frame) longest() int {
	if f.h.gso != gsoNone {
		return f.head + int(f.h.size)
	}
	return len(f.pkt)
}

// mayFragment reports whether a router may fragment the packet: IPv4 without
// the don't-fragment bit.
func (f *frame) mayFragment() bool { return f.known && f.p.Tuple.Family == 4 && f.pkt[6]&0x40 == 0 }

// complete fills in the checksum that the frame asks for; then it asks for
// nothing. It must not be a super-packet.
func (f *frame) complete() {
	if f.h.flags&needsChecksum != 0 {
		start, at := int(f.h.start), int(f.h.start)+int(f.h.csumAt)
		putChecksum(f.pkt[at:], packet.Sum(f.pkt[start:], 0)) // the field holds the sum of the pseudo header
	}
	f.h = header{}
}
