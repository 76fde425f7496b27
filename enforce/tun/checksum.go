package tun

import (
	"encoding/binary"
	"math/bits"
)

// sum adds b, as big-endian words of 16 bits, to a sum that was begun (RFC
// 1071). Only the last part of a sum may have an odd length.
func sum(b []byte, acc uint64) uint64 {
	var carry uint64
	for len(b) >= 32 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), carry)
		acc += carry
		b = b[32:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), 0)
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

// fold brings a sum down to 16 bits.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc)
}

// putChecksum writes the checksum of a sum. Of its two zeros it takes 0xffff,
// since 0 is no checksum in UDP (RFC 768); elsewhere they are the same.
func putChecksum(b []byte, acc uint64) {
	c := ^fold(acc)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b, c)
}

// pseudo is the sum of the pseudo header of an IP packet whose transport part
// has that protocol and length (RFC 9293 3.1, RFC 8200 8.1).
func pseudo(pkt []byte, proto uint8, length int) uint64 {
	acc := uint64(proto) + uint64(length)
	if pkt[0]>>4 == 4 {
		return sum(pkt[12:20], acc)
	}
	return sum(pkt[8:40], acc)
}

// headerChecksum fills in the header checksum of an IPv4 packet.
func headerChecksum(pkt []byte) {
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^fold(sum(pkt[:int(pkt[0]&0x0f)*4], 0)))
}
