package enforce

import (
	"encoding/binary"
	"strconv"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// Checksums says which checksums of a packet its source vouches for. One that
// is wrong then drops the packet, with ir.ReasonChecksum and without a trace in
// the connection table: its receiver would discard it, so it must not move a
// connection on (TCP-06).
//
// A capture taken where offload is in force, or a TUN device with a virtio
// header that says so, carries checksums that are still to be filled in.
type Checksums uint8

const (
	ChecksumsUnknown Checksums = iota // none: nothing is verified
	ChecksumsHeader                   // that of the IPv4 header; the others are left open by offload
	ChecksumsAll                      // TCP, UDP, ICMP, ICMPv6 and SCTP too; see packet.Packet.Checksum
)

// String is "unknown", "header" or "all".
func (c Checksums) String() string {
	switch c {
	case ChecksumsUnknown:
		return "unknown"
	case ChecksumsHeader:
		return "header"
	case ChecksumsAll:
		return "all"
	}
	return "checksums " + strconv.Itoa(int(c))
}

// Hygiene lets packets through to the rules that an Engine refuses otherwise,
// each with a reason of its own. The zero value refuses them all.
//
// Some things have no switch. Neighbour discovery (RFC 4861), inverse discovery
// (RFC 3122) and SEND (RFC 3971) with a hop limit other than 255 did not start
// on this link, and every receiver must discard them: ir.ReasonOffLink. So it
// is with headers that nobody can vouch for: ir.ReasonMalformed.
type Hygiene struct {
	// AllowSourceRoute: IPv4 packets with a loose or strict source route option
	// (RFC 7126 4.3, 4.4), and IPv6 packets whose routing header has segments
	// left. They go on where the policy did not look. Else ir.ReasonSourceRoute.
	AllowSourceRoute bool

	// AllowBrokenOptions: IPv4 options whose length is below 2 or runs past the
	// header (RFC 791). Else ir.ReasonIPOptions.
	AllowBrokenOptions bool

	// AllowRoutingType0: an IPv6 routing header of type 0, which RFC 5095 did
	// away with; segments left or not. Else ir.ReasonRoutingHeader.
	AllowRoutingType0 bool

	// AllowFragmentHeaders: a second IPv6 fragment header, one of the two being
	// atomic (RFC 6946) or in the middle of what is fragmented. Two that both
	// cut are malformed, switch or not. Else ir.ReasonFragmentHeader.
	AllowFragmentHeaders bool

	// AllowMartians: source addresses that nobody may send from (RFC 1122
	// 3.2.1.3, RFC 6890), and destinations that are not on any network, in
	// either direction. Of IPv4: 0.0.0.0/8, 127.0.0.0/8, 240.0.0.0/4, and as a
	// source 224.0.0.0/4; 255.255.255.255 is a destination. Of IPv6: ::, ::1,
	// IPv4-mapped addresses (RFC 4942 2.2), and as a source ff00::/8.
	//
	// The unspecified address stays possible where a host has no other yet: to
	// a DHCP server (RFC 2131), in IGMP (RFC 3376 4.2.13), and to a multicast
	// group in neighbour discovery and MLD (RFC 4861, RFC 3590). Else
	// ir.ReasonMartian.
	AllowMartians bool

	// AllowLand: packets whose source and destination address are the same
	// (CVE-1999-0016). Else ir.ReasonLand.
	AllowLand bool

	// AllowFragmentedDiscovery: neighbour discovery in fragments, which RFC 6980
	// has receivers ignore. Else ir.ReasonFragmentedDiscovery.
	AllowFragmentedDiscovery bool

	// AllowRedirects: an ICMP redirect (RFC 792) that is not about a tracked
	// flow, and every ICMPv6 redirect (RFC 4861 4.5), which need not say what
	// it is about, may pass if a rule allows it. Else ir.ReasonICMPRedirect;
	// a redirect that the rules refuse keeps their reason in IPv6.
	AllowRedirects bool

	// AllowUnknownICMP: ICMP types that nobody has defined, which a host that
	// gets one discards (RFC 1122 3.2.2; RFC 4443 2.4). Defined are, of ICMP,
	// those of RFC 792, 950, 1256 and 8335; of ICMPv6 all that IANA lists but
	// those for private experiments. Else ir.ReasonICMPType. An unknown ICMPv6
	// error fits no flow and is ir.ReasonInvalidState if it gets that far.
	AllowUnknownICMP bool
}

// hygiene is Hygiene in the form that the packet path reads.
type hygiene struct {
	odd                                        packet.Oddity
	martians, land, discovery, redirects, icmp bool
}

func newHygiene(o Hygiene) hygiene {
	h := hygiene{
		martians: !o.AllowMartians, land: !o.AllowLand, discovery: !o.AllowFragmentedDiscovery,
		redirects: !o.AllowRedirects, icmp: !o.AllowUnknownICMP,
	}
	for odd, allow := range map[packet.Oddity]bool{
		packet.OddSourceRoute: o.AllowSourceRoute, packet.OddOptions: o.AllowBrokenOptions,
		packet.OddRoutingType0: o.AllowRoutingType0, packet.OddFragmentHeaders: o.AllowFragmentHeaders,
	} {
		if !allow {
			h.odd |= odd
		}
	}
	return h
}

// reason returns why p is refused, or ReasonNone. Nearly all packets are
// honest, which the first look says in a few comparisons.
func (h *hygiene) reason(p *packet.Packet) ir.Reason {
	t := &p.Tuple
	if p.Odd == 0 && (t.Proto == packet.ProtoTCP || t.Proto == packet.ProtoUDP) && !suspects(t) {
		return ir.ReasonNone
	}
	return h.look(p)
}

// look is reason, in full.
func (h *hygiene) look(p *packet.Packet) ir.Reason {
	if odd := p.Odd & h.odd; odd != 0 {
		return oddReason(odd)
	}
	t := &p.Tuple
	if t.Src == t.Dst && h.land {
		return ir.ReasonLand
	}
	if h.martians && suspects(t) && martian(p) {
		return ir.ReasonMartian
	}
	if t.Proto == packet.ProtoICMPv6 || t.Proto == packet.ProtoICMP {
		return h.icmpReason(p)
	}
	return ir.ReasonNone
}

// suspects reports whether the addresses of t may be those of a LAND attack or
// martians. It is true of all that are, and of few others.
func suspects(t *packet.Tuple) bool {
	le := binary.LittleEndian
	if t.Family == 4 {
		s, d := le.Uint32(t.Src[12:]), le.Uint32(t.Dst[12:])
		return s == d || packet.Suspect4(s) || packet.Suspect4(d)
	}
	s, d := le.Uint64(t.Src[:8]), le.Uint64(t.Dst[:8])
	return s == d && le.Uint64(t.Src[8:]) == le.Uint64(t.Dst[8:]) || packet.Suspect6(s) || packet.Suspect6(d)
}

func oddReason(o packet.Oddity) ir.Reason {
	switch {
	case o.Has(packet.OddSourceRoute):
		return ir.ReasonSourceRoute
	case o.Has(packet.OddOptions):
		return ir.ReasonIPOptions
	case o.Has(packet.OddRoutingType0):
		return ir.ReasonRoutingHeader
	}
	return ir.ReasonFragmentHeader
}

// martian reports whether p has an address that Hygiene.AllowMartians lists.
func martian(p *packet.Packet) bool {
	src, dst := p.Tuple.SrcAddr(), p.Tuple.DstAddr()
	if p.Tuple.Family == 4 {
		s, d := p.Tuple.Src[12], p.Tuple.Dst[12]
		broadcast := binary.BigEndian.Uint32(p.Tuple.Dst[12:]) == 1<<32-1
		switch {
		case s == 127 || s >= 224, d == 0, d == 127, d >= 240 && !broadcast:
			return true
		case s != 0:
			return false
		}
		return !src.IsUnspecified() || !hasNoAddress4(p, broadcast)
	}
	switch {
	case src.IsMulticast(), src.IsLoopback(), src.Is4In6(), dst.IsUnspecified(), dst.IsLoopback(), dst.Is4In6():
		return true
	}
	return src.IsUnspecified() && !(dst.IsMulticast() && hasNoAddress6(p))
}

// hasNoAddress4 reports whether p is sent by hosts that have no IPv4 address:
// to a DHCP server, or IGMP.
func hasNoAddress4(p *packet.Packet, broadcast bool) bool {
	const igmp, server = 2, 67
	return broadcast && sg.Protocol(p.Tuple.Proto) == sg.UDP && p.Tuple.DstPort == server || p.Tuple.Proto == igmp
}

// hasNoAddress6 likewise: router and neighbour solicitation, and what a host
// says of multicast groups.
func hasNoAddress6(p *packet.Packet) bool {
	if p.Tuple.Proto != packet.ProtoICMPv6 || p.Trailing() {
		return false
	}
	switch p.ICMPType {
	case 131, 132, 143, 133, 135:
		return true
	}
	return false
}

// icmpReason is reason for ICMP and ICMPv6.
func (h *hygiene) icmpReason(p *packet.Packet) ir.Reason {
	if p.Trailing() { // it has no type: the first fragment had
		return ir.ReasonNone
	}
	if p.Tuple.Proto == packet.ProtoICMP {
		if h.icmp && !defined4(p.ICMPType) {
			return ir.ReasonICMPType
		}
		return ir.ReasonNone
	}
	switch t := p.ICMPType; {
	case 133 <= t && t <= 137, t == 148:
		if p.HopLimit != 255 {
			return ir.ReasonOffLink
		}
		if p.Fragment && h.discovery {
			return ir.ReasonFragmentedDiscovery
		}
	case t == 141, t == 142, t == 149:
		if p.HopLimit != 255 {
			return ir.ReasonOffLink
		}
	case h.icmp && !defined6(t):
		return ir.ReasonICMPType
	}
	return ir.ReasonNone
}

// defined4 reports whether an ICMP type means something: RFC 792, 950, 1256
// and 8335.
func defined4(typ uint8) bool {
	const types = 1<<0 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<18 | 1<<42 | 1<<43
	return typ < 64 && uint64(types)>>typ&1 != 0
}

// defined6 likewise of ICMPv6: errors 1 to 4 (RFC 4443), and of the others
// what IANA lists, from echo (128) to extended echo (161).
func defined6(typ uint8) bool { return 1 <= typ && typ <= 4 || 128 <= typ && typ <= 161 }

// redirects reports an ICMP or ICMPv6 redirect.
func redirects(p *packet.Packet) bool {
	return p.L4 != 0 && (p.Tuple.Proto == packet.ProtoICMP && p.ICMPType == 5 || p.Tuple.Proto == packet.ProtoICMPv6 && p.ICMPType == 137)
}
