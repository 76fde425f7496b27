package conntrack

import "example.com/secgroup/conntrack/packet"

// segment is what the flags of a TCP segment make of it.
type segment uint8

const (
	segBad    segment = iota // no host sends this
	segSyn                   // opens
	segSynAck                // answers
	segAck                   // anything in between, with or without data
	segFin                   // closes, and acknowledges
	segRst                   // aborts
)

// segmentOf classifies flags. PSH and the ECN bits mean nothing to the state
// (RFC 3168, RFC 9768), so a SYN with them is a SYN (TCP-04). The rest follows
// RFC 9293 3.10.7: only a SYN or a RST comes without ACK, and SYN, FIN and RST
// exclude each other; scanners send the other combinations (TCP-01).
func segmentOf(flags uint8) segment {
	const urg = packet.URG
	switch flags & (packet.FIN | packet.SYN | packet.RST | packet.ACK | urg) {
	case packet.SYN, packet.SYN | urg:
		return segSyn
	case packet.SYN | packet.ACK:
		return segSynAck
	case packet.ACK, packet.ACK | urg:
		return segAck
	case packet.FIN | packet.ACK, packet.FIN | packet.ACK | urg:
		return segFin
	case packet.RST, packet.RST | packet.ACK:
		return segRst
	}
	return segBad
}

// tcpStart returns the status of the connection that a segment without one
// starts; ok is false if it starts none.
func tcpStart(flags uint8, loose bool) (s Status, ok bool) {
	switch segmentOf(flags) {
	case segSyn:
		return StatusSynSent, true
	case segAck:
		return StatusEstablished, loose
	}
	return statusFree, false
}

// outcome is what a segment does to its connection.
type outcome uint8

const (
	refused outcome = iota // not part of it: changes nothing
	passed                 // let through for the endpoint to judge; state and timeout stay
	moved                  // part of it: the state may have moved, the idle time starts again
	reopens                // opens a new connection over this closed one
)

// tcp moves e on by a segment in direction d. Endpoints are the final judges:
// what a correct endpoint answers with a challenge ACK is passed on without a
// change of state (RFC 5961), and what none may send is refused.
//
// Sequence numbers will be checked here, between the flags and the state.
func (e *entry) tcp(d Dir, flags uint8) outcome {
	switch segmentOf(flags) {
	case segSyn:
		return e.tcpSyn(d)
	case segSynAck:
		return e.tcpSynAck(d)
	case segAck:
		return e.tcpAck(d)
	case segFin:
		return e.tcpFin(d)
	case segRst:
		return e.tcpRst(d, flags&packet.ACK != 0)
	}
	return refused
}

func (e *entry) tcpSyn(d Dir) outcome {
	switch {
	case e.status.closed():
		return reopens // from either side: TCP-22, TCP-24
	case e.status == StatusSynSent && d == Reply:
		// Simultaneous open, RFC 9293 3.5 (TCP-12).
		e.status, e.flags = StatusSynSent2, e.flags|flagCrossed
		return moved
	case e.status == StatusSynSent, e.status == StatusSynSent2:
		return moved // again, perhaps with another sequence number (TCP-19)
	case d == Original:
		// A retransmission, or a host that forgot this connection and starts
		// anew: the other endpoint sorts it out (TCP-11, TCP-25).
		return passed
	case e.status == StatusSynRecv && e.flags&flagCrossed != 0:
		return passed // retransmission
	}
	return refused
}

func (e *entry) tcpSynAck(d Dir) outcome {
	crossed := e.flags&flagCrossed != 0
	if d == Original && !crossed {
		return refused
	}
	switch e.status {
	case StatusSynSent, StatusSynSent2:
		e.status = StatusSynRecv
		if d == Reply {
			e.flags |= flagAnswerReply
		}
		return moved
	case StatusSynRecv:
		if d != e.answerer() {
			e.establish() // both sides have acknowledged the other's SYN
		}
		return moved
	case StatusEstablished, StatusFinWait, StatusCloseWait, StatusLastAck:
		return passed // a retransmission, or the answer to a SYN as in TCP-25
	}
	return refused
}

func (e *entry) tcpAck(d Dir) outcome {
	switch e.status {
	case StatusSynSent, StatusSynSent2:
		if d == Original {
			return refused // acknowledges nothing that was sent
		}
		// A host that still has an old connection open answers a SYN by an
		// ACK, upon which the opener resets it (RFC 9293 3.5.1); the first
		// step of a split handshake looks the same (TCP-21).
		return passed
	case StatusSynRecv:
		if d != e.answerer() {
			e.establish()
		}
	case StatusEstablished:
		if d == Reply || e.flags&flagSeenReply != 0 {
			e.flags |= flagAssured // a connection picked up by TCPLoose, answered
		}
	case StatusFinWait:
		if d != e.closer() {
			e.status = StatusCloseWait
		}
	case StatusLastAck:
		if d == e.closer() { // acknowledges the second FIN
			e.status = StatusTimeWait
		}
	case StatusClose:
		return passed
	}
	return moved
}

func (e *entry) tcpFin(d Dir) outcome {
	switch e.status {
	case StatusSynSent, StatusSynSent2:
		return refused // TCP-20
	case StatusSynRecv, StatusEstablished:
		// In SYN_RECV the FIN acknowledges the handshake as an ACK would; a
		// server with TCP Fast Open may even be done before it (RFC 7413).
		e.status = StatusFinWait
		if d == Reply {
			e.flags |= flagCloserReply
		}
	case StatusFinWait, StatusCloseWait:
		if d != e.closer() {
			e.status = StatusLastAck
		}
	case StatusClose:
		return passed
	}
	return moved
}

func (e *entry) tcpRst(d Dir, ack bool) outcome {
	switch e.status {
	case StatusSynSent:
		// The opener accepts a reset only if it acknowledges its SYN; without
		// ACK it is a blind attack on the attempt (RFC 9293 3.10.7.3, TCP-18).
		if d == Reply && !ack {
			return refused
		}
	case StatusSynSent2:
		// The same attack behind a forged SYN. Here an endpoint may send it.
		if !ack {
			return passed
		}
	case StatusClose:
		return passed
	}
	e.status = StatusClose
	return moved
}

func (e *entry) establish() {
	e.status, e.flags = StatusEstablished, e.flags|flagAssured
}

// answerer returns the direction of the first SYN-ACK.
func (e *entry) answerer() Dir {
	if e.flags&flagAnswerReply != 0 {
		return Reply
	}
	return Original
}

// closer returns the direction of the first FIN.
func (e *entry) closer() Dir {
	if e.flags&flagCloserReply != 0 {
		return Reply
	}
	return Original
}
