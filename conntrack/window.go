package conntrack

import "example.com/secgroup/conntrack/packet"

// window is what the table remembers of the sequence numbers of a TCP
// connection, unpacked: see tcpConn.
//
// The checks are those of Guido van Rooij, "Real Stateful TCP Packet Filtering
// in IP Filter" (2000), as nf_conntrack grew them: what is checked is that a
// segment meets the window of its receiver, as far as somebody between the two
// ends can know it. All numbers wrap (RFC 9293 3.4, TCP-14).
type window struct {
	of   [2]endpoint // by the Dir in which it sends
	opts [2]options

	// The last segment that belonged to the connection or was let through.
	lastSeg  segment
	lastDir  Dir
	lastOpts options // of a SYN that was let through
	synData  uint16  // bytes in the opener's SYN (RFC 7413)
	lastWin  uint16
	lastEnd  uint32
	lastAck  uint32
}

// endpoint is one end of a connection, as its segments show it. The zero
// endpoint has sent nothing yet.
type endpoint struct {
	end    uint32 // highest sequence number that it sent, plus one
	maxEnd uint32 // highest that it may send: what the other end's window allows
	maxWin uint32 // largest window that it offered, scaled, at least 1
	maxAck uint32 // highest acknowledgement that it sent, if optAcked
}

// options is what an end offered in its SYN; the low bits are the window scale
// in force.
type options uint8

const (
	optScale     options = 0x0f
	optScaling   options = 1 << 4 // offered window scaling
	optSACK      options = 1 << 5 // permitted SACK
	optAcked     options = 1 << 6 // maxAck is set
	optChallenge options = 1 << 7 // of lastOpts: a challenge ACK may answer the SYN
)

func optionsOf(p *packet.Packet) (o options) {
	if p.HasScale {
		o = options(p.Scale)&optScale | optScaling
	}
	if p.SACKPermitted {
		o |= optSACK
	}
	return o
}

// after reports whether sequence number a comes after b. Half the numbers away
// is both before and after, as in Linux.
func after(a, b uint32) bool { return int32(b-a) < 0 }

// beyond reports whether a comes after the limit b; it errs the other way.
func beyond(a, b uint32) bool { return int32(a-b-1) >= 0 }

// endOf returns the sequence number behind p. Of a fragmented segment nobody
// knows how long it is before its last fragment, so it may be as long as any.
func endOf(p *packet.Packet) uint32 {
	end := p.Seq + p.Data
	if p.Fragment && p.MoreFrags {
		end = p.Seq + 0xffff
	}
	if p.Flags&packet.SYN != 0 {
		end++
	}
	if p.Flags&packet.FIN != 0 {
		end++
	}
	return end
}

// start sets w for the first packet of a connection.
func (w *window) start(p *packet.Packet) {
	end, win := endOf(p), max(uint32(p.Window), 1)
	*w = window{lastSeg: segmentOf(p.Flags), lastEnd: end}
	w.of[Original] = endpoint{end: end, maxEnd: end, maxWin: win}
	if p.Flags&packet.SYN != 0 {
		w.opts[Original] = optionsOf(p)
		w.synData = uint16(min(p.Data, 0xffff))
		return
	}
	// Picked up in the middle: neither the scale nor what the other end allows
	// is known, so nothing is refused (see flagLoose).
	w.of[Original].maxEnd += win
	w.opts = [2]options{optSACK, optSACK}
}

// open takes the sender of a SYN or SYN-ACK to be starting.
func (w *window) open(d Dir, p *packet.Packet, end uint32) {
	w.of[d] = endpoint{end: end, maxEnd: end, maxWin: max(uint32(p.Window), 1)}
	w.opts[d] = optionsOf(p)
	if d == Original {
		w.synData = uint16(min(p.Data, 0xffff))
	}
	if d == Reply && w.opts[Original]&w.opts[Reply]&optScaling == 0 {
		// Scaling is in force if both ends offer it (RFC 7323 2.2, TCP-16).
		w.opts[Original] &^= optScale
		w.opts[Reply] &^= optScale
	}
}

// maxAckWindow is how far an acknowledgement may lie behind: what may be on its
// way, and never less than an unscaled window, as Linux has it.
func (e *endpoint) maxAckWindow() uint32 { return max(e.maxWin, 66000) }

// fit says how a segment meets the windows.
type fit uint8

const (
	fitOutside fit = iota // no end may send it
	fitStale              // a late copy: its receiver drops or answers it
	fitOver               // somewhat more than its receiver allowed
	fitInside
)

// admit says how a segment in direction d of a connection in status st fits, and
// takes note of one that does. Linux notes down what a SYN-ACK says before it
// has checked it; here a segment that is refused changes nothing. If liberal,
// none is refused, and what one says stays.
func (w *window) admit(st Status, d Dir, p *packet.Packet, liberal bool) fit {
	next := *w
	f := next.meet(st, d, p)
	if f == fitInside || f == fitOver || liberal {
		*w = next
	}
	return f
}

// admitReset is admit for a RST that does not close its connection: it leaves
// no trace.
func (w *window) admitReset(st Status, d Dir, p *packet.Packet) fit {
	next := *w
	return next.meet(st, d, p)
}

func (w *window) meet(st Status, d Dir, p *packet.Packet) fit {
	snd, rcv := &w.of[d], &w.of[d^1]
	syn, isAck := p.Flags&packet.SYN != 0, p.Flags&packet.ACK != 0
	seq, end, ack, sack, win := p.Seq, endOf(p), p.Ack, p.Ack, uint32(p.Window)
	if w.opts[d^1]&optSACK != 0 {
		sack = p.SACK
	}
	switch {
	case snd.maxWin == 0 && syn,
		syn && after(end, snd.end) && (st == StatusSynSent || st == StatusSynRecv && isAck):
		// Its first, or it starts again with another number (TCP-19).
		first := snd.maxWin == 0
		w.open(d, p, end)
		if !isAck && (first || d == Reply) {
			return fitInside
		}
	case snd.maxWin == 0:
		// The other end of a connection that was picked up in the middle.
		snd.end = end
		snd.maxWin = max(win<<(w.opts[d]&optScale), 1)
		snd.maxEnd = end + snd.maxWin
		if rcv.maxWin == 0 {
			rcv.end, rcv.maxEnd = sack, sack
		} else if sack == rcv.end+1 {
			rcv.end++ // answers a keepalive
		}
	}
	if p.Flags&packet.RST != 0 && ack == 0 { // some stacks set ACK in a RST and no number
		isAck = false
	}
	if !isAck {
		ack, sack = rcv.end, rcv.end
	}
	if isAck && rcv.maxWin == 0 {
		return fitOutside // acknowledges an end that was never heard
	}
	if p.Flags&packet.RST != 0 && seq == 0 && st == StatusSynSent { // answers a SYN
		seq, end = snd.end, snd.end
	}

	fresh := rcv.maxWin == 0 || after(end, snd.end-rcv.maxWin-1)
	timely := after(sack, rcv.end-snd.maxAckWindow()-1)
	switch {
	case beyond(seq, snd.maxEnd):
		if rcv.maxWin != 0 && fresh && timely && end-snd.maxEnd+1 <= rcv.maxWin && !beyond(sack, rcv.end) {
			// An end that sends somewhat more than it may. If the other takes
			// it, its acknowledgement must pass too.
			snd.end = end
			return fitOver
		}
		return fitOutside // TCP-07
	case beyond(sack, rcv.end):
		return fitOutside // acknowledges what was never sent: TCP-08
	case !fresh, !timely:
		return fitStale
	}

	if !syn {
		win <<= w.opts[d] & optScale
	}
	snd.maxWin = max(snd.maxWin, win+(sack-ack))
	if after(end, snd.end) {
		snd.end = end
	}
	if isAck && (w.opts[d]&optAcked == 0 || after(ack, snd.maxAck)) {
		snd.maxAck = ack
		w.opts[d] |= optAcked
	}
	if rcv.maxWin != 0 && after(end, snd.maxEnd) {
		rcv.maxWin += end - snd.maxEnd
	}
	if after(sack+win, rcv.maxEnd-1) {
		rcv.maxEnd = sack + win
		if win == 0 {
			rcv.maxEnd++ // a probe of a closed window: TCP-17
		}
	}
	return fitInside
}

// note remembers a segment that belonged to the connection.
func (w *window) note(d Dir, seg segment, p *packet.Packet) {
	w.lastSeg, w.lastDir = seg, d
	if seg == segSyn || seg == segAck {
		w.lastEnd, w.lastAck, w.lastWin = endOf(p), p.Ack, p.Window
	}
}

// annotate remembers a segment that is let through for its receiver to judge.
// If that is a SYN and the receiver takes it, its SYN-ACK will tell, and the
// connection starts again from here (TCP-25).
func (w *window) annotate(st Status, d Dir, seg segment, p *packet.Packet) {
	w.lastSeg, w.lastDir, w.lastEnd, w.lastWin = seg, d, endOf(p), p.Window
	if seg == segSyn && d == Original {
		w.lastOpts = optionsOf(p)
		if st == StatusLastAck {
			w.lastOpts |= optChallenge
		}
	}
	if st == StatusSynSent && seg == segAck && d == Reply {
		w.lastAck = p.Ack
	}
}

// answersLast reports whether a segment in direction d acknowledges a SYN of
// the other direction that was the last segment.
func (w *window) answersLast(d Dir, p *packet.Packet) bool {
	return w.lastSeg == segSyn && w.lastDir != d && p.Ack == w.lastEnd && p.Flags&packet.ACK != 0
}

// refusesAck reports whether a RST in direction d answers an ACK of the other
// direction that was let through while the connection opened.
func (w *window) refusesAck(d Dir, p *packet.Packet) bool {
	return w.lastSeg == segAck && w.lastDir != d && p.Ack == w.lastEnd && p.Flags&packet.ACK != 0
}

// resync starts w again at the SYN that was let through.
func (w *window) resync() {
	o := w.lastDir
	w.of[o] = endpoint{end: w.lastEnd, maxEnd: w.lastEnd, maxWin: max(uint32(w.lastWin), 1)}
	w.opts[o] = w.lastOpts &^ optChallenge
	w.of[o^1], w.opts[o^1] = endpoint{}, 0
	w.synData = 0
}

// acksSyn reports whether a segment of the reply direction acknowledges the
// opener's SYN, with or without the data in it (RFC 9293 3.10.7.3).
func (w *window) acksSyn(p *packet.Packet) bool {
	behind := w.of[Original].end - p.Ack
	return p.Flags&packet.ACK != 0 && (behind <= uint32(w.synData) || w.answersLast(Reply, p))
}

// exact reports whether a RST has the sequence number that its receiver
// expects next, as RFC 5961 3.2 asks, or stands right behind a segment of its
// sender.
func (w *window) exact(d Dir, p *packet.Packet) bool {
	if w.opts[d^1]&optAcked == 0 || p.Seq == w.of[d^1].maxAck {
		return true
	}
	return w.lastDir == d && w.lastSeg == segAck && p.Seq == w.lastEnd
}

// stale reports whether a RST lies before what its receiver has acknowledged:
// no correct end sends that (TCP-09).
func (w *window) stale(d Dir, p *packet.Packet) bool {
	return w.opts[d^1]&optAcked != 0 && after(w.of[d^1].maxAck, p.Seq)
}
