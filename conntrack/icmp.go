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

// inFlight reports whether a segment with the sequence number seq, which an ICMP
// error quotes, may have been on its way from side from (RFC 5927 4.1, ICMP-15):
// not behind what that side has sent, and not more than a window before what
// the other has acknowledged. A blind attacker would have to know the numbers.
// Of other protocols than TCP nothing is known.
// The lock of e is held.
func (s *shard) inFlight(e *entry, id uint32, from Side, seq uint32) bool {
	if id&numberTCP == 0 || e.flags&flagLoose != 0 || s.table.liberal || s.locals.at(e.local).liberal() {
		return true
	}
	var c tcpConn
	s.atTCP(id).load(&c)
	d := e.dir(from)
	snd, rcv := &c.of[d], &c.of[d^1]
	switch {
	case snd.maxWin == 0:
		return true // its own numbers were never seen: it has not sent its SYN
	case c.lastSeg == segSyn && c.lastDir == d && seq == c.lastEnd-1:
		return true // a SYN in the middle that was let through: TCP-25
	}
	una := snd.end
	switch {
	case c.opts[d^1]&optAcked != 0:
		una = rcv.maxAck
	case c.status == StatusSynSent:
		una -= uint32(c.synData) + 1 // its SYN
	default: // nor is known how much data its SYN had
		una -= 0xffff + 1
	}
	return !after(seq, snd.end) && !after(una-max(rcv.maxWin, 1), seq)
}
