// Package packet decodes IP headers for connection tracking, without
// allocating and without reading past the bytes it was given.
//
// [Decode] reads one IPv4 or IPv6 packet into a [Packet] that the caller
// reuses. It either vouches for what it read or returns an [Error]; it never
// guesses at a header that is cut off or that contradicts itself. A [Tuple]
// names a flow and serves as a map key.
//
// Caveats: Decode verifies no checksum, because captures and TUN devices
// carry packets whose checksums are still to be filled in by hardware; who has
// a source that vouches for them asks [ChecksumIPv4] and [Packet.Checksum]. It reassembles no
// fragments. It looks into no tunnel: the outer protocol is the protocol.
package packet

import (
	"strconv"
	"strings"
)

// Tuple is the 5-tuple of a packet. It has no pointers and no padding, so it
// compares and hashes as raw bytes. IPv4 addresses are held IPv4-mapped;
// Family tells them from IPv6 packets that carry IPv4-mapped addresses. For
// an ICMP query (echo, timestamp …) the identifier stands in both ports. The
// ports of other protocols, and of trailing fragments, are zero.
//
// TCP, UDP and SCTP have ports. UDP-Lite and DCCP have none here: they are
// other protocols, and a rule about UDP ports must not match them
// (CVE-2014-8160).
//
// The zero Tuple is no tuple. A Tuple is a plain value: copying is cheap and
// all its methods are safe for concurrent use.
type Tuple struct {
	Src, Dst         [16]byte
	SrcPort, DstPort uint16
	Proto            uint8 // IANA protocol number; of an IPv6 fragment see Packet.FragID
	Family           uint8 // 4 or 6; 0 is no tuple
}

// Oddity is a set of things in IP headers that Decode can vouch for but that
// routers and filters drop as a rule. The zero Oddity is none.
type Oddity uint8

const (
	// OddSourceRoute: the destination may not be where the packet ends. A loose
	// or strict source route option (RFC 7126 4.3, 4.4), or an IPv6 routing
	// header of another type than 0 with segments left.
	OddSourceRoute Oddity = 1 << iota

	// OddOptions: IPv4 options whose lengths run past the header, or below 2
	// (RFC 791 3.1). What stands behind the broken one was not looked at.
	OddOptions

	// OddRoutingType0: an IPv6 routing header of type 0 (RFC 5095), segments
	// left or not.
	OddRoutingType0

	// OddFragmentHeaders: a second IPv6 fragment header (CVE-2023-4809). No more
	// than one of the two is of a true fragment; the other is atomic (RFC 6946),
	// or is at the head of what a trailing fragment carries.
	OddFragmentHeaders
)

// Has reports whether o has any of what.
func (o Oddity) Has(what Oddity) bool { return o&what != 0 }

// String names what o has, "none" if nothing: "source_route|options".
func (o Oddity) String() string {
	var has []string
	for i, name := range []string{"source_route", "options", "routing_type_0", "fragment_headers"} {
		if o.Has(1 << i) {
			has = append(has, name)
		}
	}
	if rest := o &^ (1<<4 - 1); rest != 0 {
		has = append(has, strconv.Itoa(int(rest)))
	}
	if has == nil {
		return "none"
	}
	return strings.Join(has, "|")
}

// Packet is the decoded header of one packet. Reuse it across Decode calls:
// every call sets every field. The zero Packet is ready to use. A Packet has
// no pointers into the decoded bytes. Methods only read it; Decode into it
// must not run beside them.
type Packet struct {
	Tuple Tuple

	// Odd is what stands in the IP headers that no honest packet of today has.
	Odd Oddity

	// SACKPermitted is that option of a TCP segment with SYN (RFC 2018 2).
	SACKPermitted bool

	Inner  Quote  // what an ICMP error quotes; its Tuple.Family is 0 for every other packet
	Length uint32 // bytes of the IP packet, header included; what the IP header says

	L4     uint16 // offset of the transport header, bytes; 0 in a trailing fragment
	Window uint16 // TCP only, unscaled
	Seq    uint32 // TCP only
	Ack    uint32 // TCP only

	// Data is the number of bytes after the transport header, up to Length.
	// In a trailing fragment, and in a protocol whose header Decode does not
	// know, it is all that follows the IP headers.
	Data uint32

	Flags    uint8 // TCP only
	ICMPType uint8 // ICMP and ICMPv6 only
	ICMPCode uint8 // ICMP and ICMPv6 only
	HopLimit uint8 // TTL of IPv4

	// FragID, with both addresses, names the datagram of a fragment; valid if
	// Fragment. IPv4 adds Tuple.Proto to the name (RFC 791 3.2), IPv6 must not
	// (RFC 8200 4.5): there the Proto of a trailing fragment is the next header
	// field of the fragment header, which is an extension header where the
	// first fragment begins with one.
	FragID     uint32
	FragOffset uint16 // in 8-byte units; valid if Fragment
	FragSize   uint16 // bytes of the datagram that this fragment carries from FragOffset on; valid if Fragment
	Fragment   bool   // a true fragment; an atomic fragment (RFC 6946) is a whole packet
	MoreFrags  bool   // valid if Fragment

	// HasScale and Scale are the window scale option of a TCP segment with
	// SYN (RFC 7323 2). Scale is the shift, cut to 14 as RFC 7323 2.3 asks;
	// a shift of 0 is an offer too.
	HasScale bool
	Scale    uint8

	// SACK is the highest sequence number that a TCP segment acknowledges:
	// Ack, or the right edge of a SACK block beyond it (RFC 2018 3).
	SACK uint32
}

// Quote is the packet that an ICMP error quotes. Sizes are not checked: an
// error may quote as little as the first 8 bytes behind the IP header.
//
// Tuple.Family is 0, and so is everything else, if the quote names no flow:
// cut short of those 8 bytes, broken, of the other address family, a
// trailing fragment, or an ICMP message that is no query (so no ICMP error
// about an ICMP error, RFC 1122 3.2.2).
type Quote struct {
	Tuple    Tuple
	Seq      uint32 // TCP only
	ICMPType uint8  // of a quoted ICMP query
	ICMPCode uint8
}

// TCP flags, as they stand in Packet.Flags (RFC 9293 3.1, RFC 3168).
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

// Protocol numbers that Decode knows the header of, as they stand in
// Tuple.Proto (IANA).
const (
	ProtoICMP   uint8 = 1
	ProtoTCP    uint8 = 6
	ProtoUDP    uint8 = 17
	ProtoICMPv6 uint8 = 58
	ProtoSCTP   uint8 = 132
)

// Trailing reports whether p is a fragment other than the first: it has no
// transport header, so no ports.
func (p *Packet) Trailing() bool { return p.Fragment && p.FragOffset != 0 }

// IsICMPError reports whether p is an ICMP error, that is a message that
// quotes the packet it is about: of ICMP destination unreachable, source
// quench, redirect, time exceeded and parameter problem (RFC 792); of ICMPv6
// types 1 to 4 (RFC 4443). The redirect of ICMPv6 (type 137) is neighbour
// discovery and carries no flow. It is false for a trailing fragment.
func (p *Packet) IsICMPError() bool { return p.L4 != 0 && icmpError(p.Tuple.Proto, p.ICMPType) }

// IsICMPQuery reports whether p is an ICMP request or reply with an
// identifier, which then stands in both ports: of ICMP echo, timestamp,
// information and address mask (RFC 792, RFC 950); of ICMPv6 echo (RFC 4443).
// It is false for a trailing fragment.
func (p *Packet) IsICMPQuery() bool { return p.L4 != 0 && icmpQuery(p.Tuple.Proto, p.ICMPType) }
