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

// tcp moves e and its window w on by a segment in direction d. Endpoints are the
// final judges: what a correct endpoint answers with a challenge ACK is passed
// on without a change of state (RFC 5961), and what none may send is refused.
// If liberal, sequence numbers refuse nothing but a stale RST.
func (e *tcpConn) tcp(w *window, d Dir, p *packet.Packet, liberal bool) outcome {
	seg := segmentOf(p.Flags)
	if e.flags&flagDead != 0 && seg != segSyn {
		return refused
	}
	liberal = liberal || e.flags&flagLoose != 0
	status, flags := e.status, e.flags
	var before window
	if seg == segSynAck { // it may start w again
		before = *w
	}
	o := e.advance(w, d, seg, p)
	if (o == passed || o == moved && status == StatusSynRecv && d == Reply) && seg == segSynAck && w.answersLast(d, p) {
		// The receiver took a SYN that was let through in the middle of a
		// connection: it is a new one, and this entry serves it (TCP-25). The
		// second SYN-ACK of a simultaneous open may be such an answer too.
		w.resync()
		e.status, e.flags = StatusSynRecv, flags&^(flagCrossed|flagAnswerReply|flagCloserReply)|flagAnswerReply
		o = moved
	}
	resynced := seg == segSynAck && w.of != before.of
	fits := true
	switch {
	case o == passed && seg != segRst:
		w.annotate(status, d, seg, p)
		return passed
	case o != moved:
		return o
	case seg == segRst:
		o = e.tcpReset(w, status, d, p, liberal)
	default:
		switch f := w.admit(status, d, p, liberal); {
		case f == fitInside:
		case liberal:
			fits = false
		case f != fitOutside:
			o = passed
		default:
			o = refused
		}
	}
	if o != moved {
		e.status, e.flags = status, flags
		if resynced {
			*w = before
		}
		return o
	}
	if !fits && seg == segAck { // as Linux has it, no RST can stand behind it
		w.lastSeg, w.lastDir = seg, d
		return moved
	}
	w.note(d, seg, p)
	return moved
}

// advance moves e on by a segment that has the right sequence numbers.
func (e *tcpConn) advance(w *window, d Dir, seg segment, p *packet.Packet) outcome {
	switch seg {
	case segSyn:
		if end, first := endOf(p), w.of[Original].end; e.status == StatusSynSent && d == Original && after(first, end) && !after(end, first) {
			// A new attempt with a lower number. The answer will tell which of
			// the two it is for (TCP-19).
			return passed
		}
		return e.tcpSyn(d)
	case segSynAck:
		if e.status == StatusSynSent && d == Reply && w.of[Original].end != w.lastEnd && w.answersLast(d, p) {
			w.resync()
		}
		return e.tcpSynAck(d)
	case segAck:
		if e.status == StatusLastAck && d == e.closer() && w.lastSeg == segSyn && w.lastDir != d && w.lastOpts&optChallenge != 0 {
			// A challenge ACK, not the one that acknowledges the FIN.
			w.lastOpts &^= optChallenge
			return passed
		}
		return e.tcpAck(d)
	case segFin:
		return e.tcpFin(d)
	case segRst:
		return e.tcpRst(w, d, p)
	}
	return refused
}

// tcpReset judges a RST, of which tcpRst has said that it would close e, by its
// numbers. It closes a connection in mid-life only if its receiver will obey it
// (RFC 5961 3.2); where that is unsure the receiver's challenge ACK brings
// another RST, which is exact (TCP-09).
func (e *tcpConn) tcpReset(w *window, status Status, d Dir, p *packet.Packet, liberal bool) outcome {
	switch status {
	case StatusSynSent:
		if w.lastSeg == segAck && w.lastDir == Reply && p.Seq == w.lastAck || w.refusesAck(d, p) {
			return moved // it answers an ACK that was let through
		}
		if d == Reply { // it acknowledges the SYN
			if !w.answersLast(d, p) {
				w.admit(status, d, p, liberal)
			}
			return moved
		}
	case StatusSynSent2:
		if w.refusesAck(d, p) {
			return moved
		}
	case StatusFinWait, StatusCloseWait, StatusLastAck, StatusTimeWait:
		if w.exact(d, p) || w.answersLast(d, p) {
			return moved
		}
		return passed
	case StatusEstablished:
		if w.answersLast(d, p) {
			return moved // refuses a SYN that was let through
		}
		// The entry may be behind the ends if a SYN was let through.
		if w.lastSeg != segSyn && w.stale(d, p) {
			return refused
		}
		if e.flags&flagAssured != 0 && !w.exact(d, p) {
			if w.admitReset(status, d, p) == fitOutside && !liberal {
				return refused
			}
			return passed
		}
	default:
		if status == StatusSynRecv && w.answersLast(d, p) {
			return moved
		}
		if w.stale(d, p) && w.lastSeg != segSyn && p.Seq != 0 {
			return refused
		}
	}
	switch f := w.admit(status, d, p, liberal); {
	case f == fitInside, liberal:
		return moved
	case f != fitOutside:
		return passed
	}
	return refused
}

func (e *tcpConn) tcpSyn(d Dir) outcome {
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
		return moved // retransmission
	}
	return refused
}

func (e *tcpConn) tcpSynAck(d Dir) outcome {
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
		} else if d == Reply {
			return passed // a retransmission
		}
		return moved
	case StatusEstablished, StatusFinWait, StatusCloseWait, StatusLastAck:
		if d == Original {
			return moved // of a simultaneous open: a retransmission, so it must fit
		}
		return passed // a retransmission, or the answer to a SYN as in TCP-25
	}
	return refused
}

func (e *tcpConn) tcpAck(d Dir) outcome {
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
	}
	return moved
}

func (e *tcpConn) tcpFin(d Dir) outcome {
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
	}
	return moved
}

func (e *tcpConn) tcpRst(w *window, d Dir, p *packet.Packet) outcome {
	switch e.status {
	case StatusSynSent:
		// The opener accepts a reset only if it acknowledges its SYN; any other
		// is a blind attack on the attempt (RFC 9293 3.10.7.3, TCP-18).
		if d == Reply && !w.acksSyn(p) {
			return refused
		}
	case StatusSynSent2:
		// The same attack behind a forged SYN. Here an endpoint may send it.
		if p.Flags&packet.ACK == 0 {
			if w.admitReset(e.status, d, p) == fitOutside {
				return refused
			}
			return passed
		}
	case StatusClose:
		return passed
	}
	if e.flags&flagSeenReply == 0 {
		e.flags |= flagDead
	}
	e.status = StatusClose
	return moved
}

func (e *tcpConn) establish() {
	e.status, e.flags = StatusEstablished, e.flags|flagAssured
}

// answerer returns the direction of the first SYN-ACK.
func (e *tcpConn) answerer() Dir {
	if e.flags&flagAnswerReply != 0 {
		return Reply
	}
	return Original
}

// closer returns the direction of the first FIN.
func (e *tcpConn) closer() Dir {
	if e.flags&flagCloserReply != 0 {
		return Reply
	}
	return Original
}
