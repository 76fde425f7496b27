package main

import (
	"errors"

	"example.com/secgroup/conntrack/packet"
)

// difference names the reason why a packet is judged otherwise than by Linux,
// or returns "". TCP differs in TCP-18 only.
func difference(p *packet.Packet, b []byte, broken error, stricter, answersRefused bool) string {
	neighbour := p.Tuple.Proto == packet.ProtoICMPv6 && 133 <= p.ICMPType && p.ICMPType <= 136
	switch {
	case p.Fragment:
		return "FRAG: the first fragment is judged, not the whole datagram"
	case stricter && p.Odd.Has(packet.OddRoutingType0):
		return "EXT-03: routing header of type 0"
	case stricter && errors.Is(broken, packet.ErrHeader) && p.Tuple.Proto == 51:
		return "EXT-07: impossible length of an authentication header"
	case stricter && answersRefused:
		return "answers a packet that was refused for its headers"
	case stricter && neighbour:
		return "INF-01: neighbour discovery has no allowance beside the rules under this profile"
	case !stricter && p.Tuple.Proto == packet.ProtoICMPv6 && p.ICMPType == 137:
		return "ICMP-13: redirects of ICMPv6 are judged by the rules"
	case !stricter && p.Tuple.Proto == packet.ProtoSCTP:
		return "UDP-07: chunks and checksum of SCTP are not looked at"
	case !stricter && p.Tuple.Family == 6 && b[6] == 60:
		return "decision 10: no checksum is verified (here with a home address, RFC 6275 6.3)"
	}
	return ""
}
