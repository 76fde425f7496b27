package conntrack

import "example.com/secgroup/conntrack/packet"

// Class groups protocols that share a part of the table: see [Shares].
type Class uint8

const (
	ClassTCP   Class = iota
	ClassUDP         // UDP alone; UDP-Lite is another protocol
	ClassICMP        // queries of ICMP and ICMPv6
	ClassOther       // every other protocol

	classes
)

// String returns the class in one lower-case word, for logs and metrics.
func (c Class) String() string {
	switch c {
	case ClassTCP:
		return "tcp"
	case ClassUDP:
		return "udp"
	case ClassICMP:
		return "icmp"
	}
	return "other"
}

// classOf returns the class of an IANA protocol number.
func classOf(proto uint8) Class {
	switch proto {
	case packet.ProtoTCP:
		return ClassTCP
	case packet.ProtoUDP:
		return ClassUDP
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return ClassICMP
	}
	return ClassOther
}
