// Package packet decodes IP headers for connection tracking, without
// allocating and without reading past the bytes it was given.
package packet

// Tuple is the 5-tuple of a packet. It has no pointers and no padding, so it
// compares and hashes as raw bytes. IPv4 addresses are held IPv4-mapped;
// Family tells them from IPv6 packets that carry IPv4-mapped addresses. For
// an ICMP query (echo, timestamp …) the identifier stands in both ports. The
// ports of other protocols, and of trailing fragments, are zero.
type Tuple struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8 // IANA protocol number
	Family           uint8 // 4 or 6; 0 is no tuple
}

// Packet is the decoded header of one packet. Reuse it across Decode calls.
type Packet struct {
	Tuple  Tuple
	Inner  Quote  // what an ICMP error quotes; its Tuple.Family is 0 for every other packet
	Length uint32 // bytes of the IP packet, header included; what the IP header says

	L4     uint16 // offset of the transport header, bytes; 0 in a trailing fragment
	Window uint16 // TCP only, unscaled
	Seq    uint32 // TCP only
	Ack    uint32 // TCP only
	Data   uint32 // bytes after the transport header

	Flags    uint8 // TCP only
	ICMPType uint8 // ICMP and ICMPv6 only
	ICMPCode uint8 // ICMP and ICMPv6 only
	HopLimit uint8 // TTL of IPv4

	FragID     uint32 // valid if Fragment
	FragOffset uint16 // in 8-byte units
	Fragment   bool   // a true fragment; an atomic fragment (RFC 6946) is a whole packet
	MoreFrags  bool   // valid if Fragment
}

// Quote is the packet that an ICMP error quotes. Sizes are not checked: an
// error may quote as little as the first 8 bytes behind the IP header.
type Quote struct {
	Tuple    Tuple
	Seq      uint32 // TCP only
	ICMPType uint8  // of a quoted ICMP query
	ICMPCode uint8
}

// TCP flags, as they stand in Packet.Flags.
const (
	FIN uint8 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
)

// Trailing reports whether p is a fragment other than the first: it has no
// transport header, so no ports.
func (p *Packet) Trailing() bool { return p.Fragment && p.FragOffset != 0 }
