package conntrack

import "example.com/secgroup/conntrack/packet"

// ICMP types with a meaning to the table: RFC 792, 950, 4443.
const (
	icmpEchoReply      = 0
	icmpUnreachable    = 3
	icmpSourceQuench   = 4
	icmpRedirect       = 5
	icmpEcho           = 8
	icmpTimeExceeded   = 11
	icmpParamProblem   = 12
	icmpTimestamp      = 13
	icmpTimestampReply = 14
	icmpInfo           = 15
	icmpInfoReply      = 16
	icmpMask           = 17
	icmpMaskReply      = 18

	icmp6Informational = 128 // lower types are errors
	icmp6Echo          = 128
	icmp6EchoReply     = 129
)

// setQuery completes the key of an ICMP message and returns its class. An
// answer has the key of the query that the other side sent.
func (k *key) setQuery(from Side, icmpType, code uint8) class {
	c, query := classifyICMP(k.proto, k.family, icmpType)
	switch c {
	case classOpener:
		k.query, k.code = query<<1|uint8(from), code
	case classAnswer:
		k.query, k.code = query<<1|uint8(from.other()), code
	}
	return c
}

// classifyICMP returns the class of an ICMP type and, for queries and their
// replies, the type of the query.
func classifyICMP(proto, family, icmpType uint8) (c class, query uint8) {
	if proto == packet.ProtoICMP && family != 4 || proto == packet.ProtoICMPv6 && family != 6 {
		return classInvalid, 0 // ICMP-18
	}
	if proto == packet.ProtoICMPv6 {
		switch {
		case icmpType < icmp6Informational:
			return classError, 0
		case icmpType == icmp6Echo:
			return classOpener, icmp6Echo
		case icmpType == icmp6EchoReply:
			return classAnswer, icmp6Echo
		}
		return classOther, 0
	}
	switch icmpType {
	case icmpEcho, icmpTimestamp, icmpInfo, icmpMask:
		return classOpener, icmpType
	case icmpEchoReply:
		return classAnswer, icmpEcho
	case icmpTimestampReply, icmpInfoReply, icmpMaskReply:
		return classAnswer, icmpType - 1
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParamProblem:
		return classError, 0
	}
	return classOther, 0
}
