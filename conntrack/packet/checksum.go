package packet

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// ChecksumIPv4 reports whether the header checksum of an IPv4 packet is right
// (RFC 1071). It is false for bytes that hold no whole IPv4 header.
func ChecksumIPv4(b []byte) bool {
	if len(b) < header4 || b[0]>>4 != 4 {
		return false
	}
	header := int(b[0]&0x0f) * 4
	if header < header4 || header > len(b) {
		return false
	}
	return Fold(Sum(b[:header], 0)) == 0xffff
}

// Checksum reports whether the checksum of the transport header in b is right,
// where p is what Decode made of b: that of TCP, UDP, ICMP and ICMPv6 (RFC 1071
// over the pseudo header of RFC 9293 3.1 and RFC 8200 8.1; ICMP has none), and
// the CRC32c of SCTP (RFC 9260 6.8). A UDP checksum of zero is none and right
// in IPv4 (RFC 768), and wrong in IPv6 (RFC 8200 8.1).
//
// It is true where there is nothing to verify: of a fragment, whose checksum is
// that of its datagram, of any other protocol, and of a source-routed packet,
// whose checksum is made with an address that only its sender and the last
// router know. UDP is summed up to the length that it says, as receivers do. It
// is false if b is shorter than the packet that p was made of.
//
// The IPv4 header is not looked at: see ChecksumIPv4. Checksum allocates
// nothing.
func (p *Packet) Checksum(b []byte) bool {
	if p.Fragment || p.L4 == 0 || p.Odd.Has(OddSourceRoute|OddRoutingType0) {
		return true
	}
	if int(p.Length) > len(b) {
		return false // not what p was made of
	}
	d := b[p.L4:p.Length]
	switch p.Tuple.Proto {
	case ProtoTCP, ProtoICMPv6:
		return Fold(Sum(d, p.pseudo(len(d)))) == 0xffff
	case ProtoUDP:
		n := int(binary.BigEndian.Uint16(d[4:]))
		if n > len(d) { // Decode refuses it
			return false
		}
		if d[6] == 0 && d[7] == 0 {
			return p.Tuple.Family == 4
		}
		return Fold(Sum(d[:n], p.pseudo(n))) == 0xffff
	case ProtoICMP:
		return Fold(Sum(d, 0)) == 0xffff
	case ProtoSCTP:
		return crc32c(d)
	}
	return true
}

// PlainChecksums reports whether the checksum of the IPv4 header and, if
// transport, that of TCP or UDP are right, as ChecksumIPv4 and Checksum do, of
// a packet that need not be decoded first. It is false of a packet that is no
// whole TCP or UDP right behind a header of IPv4 or IPv6 without options: of that
// it says nothing.
func PlainChecksums(b []byte, transport bool) bool {
	be := binary.BigEndian
	var at, end int // of the transport part
	var sum uint64  // of the addresses
	var proto uint8
	switch {
	case len(b) < header4+headerUDP:
		return false
	case b[0] == 4<<4|header4/4:
		h := (*[header4]byte)(b)
		if be.Uint16(h[6:])&0x3fff != 0 || Fold(Sum(h[:], 0)) != 0xffff {
			return false
		}
		at, end, proto = header4, int(be.Uint16(h[2:])), h[9]
		sum = uint64(be.Uint32(h[12:])) + uint64(be.Uint32(h[16:]))
	case b[0]>>4 == 6 && len(b) >= header6:
		h := (*[header6]byte)(b)
		at, end, proto = header6, header6+int(be.Uint16(h[4:])), h[6]
		for i := 8; i < header6; i += 4 {
			sum += uint64(be.Uint32(h[i:]))
		}
	default:
		return false
	}
	if end < at+headerUDP || end > len(b) || proto != ProtoTCP && proto != ProtoUDP {
		return false
	}
	if !transport {
		return true
	}
	d := b[at:end]
	if proto == ProtoUDP {
		n := int(be.Uint16(d[4:]))
		if n < headerUDP || n > len(d) {
			return false
		}
		if d[6] == 0 && d[7] == 0 {
			return at == header4
		}
		d = d[:n]
	}
	return Fold(Sum(d, sum+uint64(len(d))+uint64(proto))) == 0xffff
}

// pseudo is the sum of the pseudo header of a transport part of n bytes.
func (p *Packet) pseudo(n int) uint64 {
	be := binary.BigEndian
	s, d := &p.Tuple.Src, &p.Tuple.Dst
	acc := uint64(n) + uint64(p.Tuple.Proto)
	if p.Tuple.Family == 4 {
		return acc + uint64(be.Uint32(s[12:])) + uint64(be.Uint32(d[12:]))
	}
	// Words of 32 bits: eight of them and the rest stay far below 64.
	for i := 0; i < 16; i += 4 {
		acc += uint64(be.Uint32(s[i:])) + uint64(be.Uint32(d[i:]))
	}
	return acc
}

// Sum adds b, as big-endian words of 16 bits, to a sum that was begun with 0 or
// by Sum (RFC 1071). Only the last part of a sum may have an odd length. Fold
// makes a checksum of it.
func Sum(b []byte, acc uint64) uint64 {
	// 8 bytes at a time with the carry brought round: the order of words and
	// their width do not matter to a sum of ones' complements (RFC 1071 2).
	be := binary.BigEndian
	var carry uint64
	for len(b) >= 64 {
		w := b[:64:64]
		acc, carry = bits.Add64(acc, be.Uint64(w), 0)
		acc, carry = bits.Add64(acc, be.Uint64(w[8:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[16:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[24:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[32:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[40:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[48:]), carry)
		acc, carry = bits.Add64(acc, be.Uint64(w[56:]), carry)
		acc += carry
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, be.Uint64(b), 0)
		acc += carry
		b = b[8:]
	}
	var rest uint64
	for i := range len(b) {
		rest |= uint64(b[i]) << (56 - 8*i)
	}
	acc, carry = bits.Add64(acc, rest, 0)
	return acc + carry
}

// Fold brings a sum down to 16 bits. Its complement is the Internet checksum; over
// bytes that contain a right one it is 0xffff.
func Fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc)
}

// crc32c reports whether the checksum of an SCTP packet, which is made over
// zeros in its own place (RFC 9260 6.8), is right.
func crc32c(d []byte) bool {
	const at, behind = 8, 12
	t := crc32.MakeTable(crc32.Castagnoli) // made once, by package crc32
	c := ^crc32.Checksum(d[:at], t)
	for range behind - at { // four zeros; a slice of them would be allocated
		c = t[byte(c)] ^ c>>8
	}
	return crc32.Update(^c, t, d[behind:]) == binary.LittleEndian.Uint32(d[at:])
}
