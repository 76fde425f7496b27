package tun

import (
	"encoding/binary"

	"example.com/secgroup/conntrack/packet"
)

// putChecksum writes the checksum of a sum. Of its two zeros it takes 0xffff,
// since 0 is no checksum in UDP (RFC 768); elsewhere they are the same.
func putChecksum(b []byte, acc uint64) {
	c := ^packet.Fold(acc)
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
		return packet.Sum(pkt[12:20], acc)
	}
	return packet.Sum(pkt[8:40], acc)
}

// headerChecksum fills in the header checksum of an IPv4 packet.
func headerChecksum(pkt []byte) {
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^packet.Fold(packet.Sum(pkt[:int(pkt[0]&0x0f)*4], 0)))
}
