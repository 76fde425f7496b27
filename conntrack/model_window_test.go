package conntrack

import "example.com/secgroup/conntrack/packet"

// modelEnd is one end of a connection in the model: all that it said, in
// numbers that do not wrap.
type modelEnd struct {
	opened        bool  // it has sent a SYN, or was picked up in the middle
	said          int64 // end of what it sent
	may           int64 // what the other end lets it send
	window        int64 // the largest that it offered
	acked         int64 // what it acknowledged, if hasAcked
	hasAcked      bool
	scales, sacks bool // options of its SYN
	scale         uint
	synLen        int64 // data in its SYN
}

// modelSeg is a segment in unwrapped numbers.
type modelSeg struct {
	from                   Dir
	syn, fin, rst, ack     bool
	seq, end, acks, sacks  int64
	win                    int64
	scales, permits        bool
	scale                  uint
	data                   int64
	kind                   segment
	rawSeq, rawAck, rawEnd uint32
}

// near returns the number that wraps to x and lies next to ref.
func near(x uint32, ref int64) int64 { return ref + int64(int32(x-uint32(ref))) }

// reaches reports whether x is at limit or behind it, as its receiver sees it:
// of numbers on a circle, those up to half of it ahead (RFC 1982). With windows
// of 2^30 that may be other than what lies next to what was said last.
func reaches(x, limit int64) bool { return near(uint32(x), limit) >= limit }

// seg reads p as sent in direction d.
func (h *modelTCP) seg(d Dir, p *packet.Packet) modelSeg {
	has := func(f uint8) bool { return p.Flags&f != 0 }
	s := modelSeg{from: d, syn: has(packet.SYN), fin: has(packet.FIN), rst: has(packet.RST), ack: has(packet.ACK), win: int64(p.Window)}
	s.scales, s.scale, s.permits, s.data = p.HasScale, uint(p.Scale), p.SACKPermitted, int64(p.Data)
	s.seq = near(p.Seq, h.end[d].said)
	s.end = s.seq + s.data
	if s.syn {
		s.end++
	}
	if s.fin {
		s.end++
	}
	s.acks = near(p.Ack, h.end[1-d].said)
	s.sacks = s.acks
	if h.end[1-d].sacks {
		s.sacks = s.acks + int64(p.SACK-p.Ack)
	}
	s.kind, s.rawSeq, s.rawAck, s.rawEnd = segmentOf(p.Flags), p.Seq, p.Ack, uint32(s.end)
	return s
}

func (e *modelEnd) open(s modelSeg) {
	*e = modelEnd{opened: true, said: s.end, may: s.end, window: max(s.win, 1), scales: s.scales, scale: s.scale, sacks: s.permits, synLen: s.data}
}

// judge says whether a segment fits: "in", "over" (somewhat more than it may be),
// "near" or "out"; numbers is what becomes of the ends if it passes.
func (h *modelTCP) judge(s modelSeg, st Status) (fit string, numbers [2]modelEnd) {
	n := h.end
	me, it := &n[s.from], &n[1-s.from]
	switch {
	case s.syn && !me.opened, s.syn && s.end > me.said && (st == StatusSynSent || st == StatusSynRecv && s.ack):
		first := !me.opened
		me.open(s)
		if s.from == Reply && !(me.scales && it.scales) {
			me.scale, it.scale = 0, 0
		}
		if !s.ack && (first || s.from == Reply) {
			return "in", n
		}
	case !me.opened:
		me.opened, me.said, me.window = true, s.end, max(s.win<<me.scale, 1)
		me.may = s.end + me.window
		if !it.opened {
			it.said, it.may = s.sacks, s.sacks
		} else if s.sacks == it.said+1 {
			it.said++
		}
	}
	if s.rst && s.rawAck == 0 {
		s.ack = false
	}
	if !s.ack {
		s.acks, s.sacks = it.said, it.said
	} else if !it.opened {
		return "out", n
	}
	if s.rst && s.rawSeq == 0 && st == StatusSynSent {
		s.seq, s.end = me.said, me.said
	}
	recent := !it.opened || reaches(s.end, me.said-it.window)
	timely := reaches(s.sacks, it.said-max(me.window, 66000))
	if reaches(s.seq, me.may+1) {
		if recent && it.opened && timely && int64(uint32(s.end-me.may+1)) <= it.window && !reaches(s.sacks, it.said+1) {
			me.said = s.end
			return "over", n
		}
		return "out", n
	}
	if reaches(s.sacks, it.said+1) {
		return "out", n
	}
	if !recent || !timely {
		return "near", n
	}
	win := s.win
	if !s.syn {
		win <<= me.scale
	}
	me.window = max(me.window, win+s.sacks-s.acks)
	me.said = max(me.said, s.end)
	if s.ack && (!me.hasAcked || s.acks > me.acked) {
		me.hasAcked, me.acked = true, s.acks
	}
	if it.opened && s.end > me.may {
		it.window += s.end - me.may
	}
	it.may = max(it.may, s.sacks+max(win, 1))
	if s.sacks+win == it.may-1 && win == 0 {
		it.may = max(it.may, s.sacks+1)
	}
	return "in", n
}

// answers reports whether s acknowledges a SYN from the other end that was the
// last segment.
func (h *modelTCP) answers(s modelSeg) bool {
	return s.ack && h.last.kind == segSyn && h.last.from != s.from && s.rawAck == h.last.rawEnd
}

// again restarts the connection at the SYN that was let through.
func (h *modelTCP) again() {
	o := h.last.from
	l := h.thrown
	h.end[o] = modelEnd{opened: true, said: h.last.end, may: h.last.end, window: max(h.last.win, 1), scales: l.scales, scale: l.scale, sacks: l.permits}
	h.end[1-o] = modelEnd{}
}

// reset judges a RST that the flags allow: whether it passes, and whether it
// closes the connection.
func (h *modelTCP) reset(s modelSeg, st Status, assured, liberal bool) (passes, closes bool) {
	peer := h.end[1-s.from]
	exact := !peer.hasAcked || s.rawSeq == uint32(peer.acked) || h.last.from == s.from && h.last.kind == segAck && s.rawSeq == h.last.rawEnd
	stale := peer.hasAcked && near(s.rawSeq, peer.acked) < peer.acked
	fit, n := h.judge(s, st)
	if (st == StatusSynSent && s.from == Original || st == StatusSynSent2 && s.ack) && s.ack && h.last.kind == segAck && h.last.from != s.from && s.rawAck == h.last.rawEnd {
		return true, true
	}
	switch st {
	case StatusSynSent:
		if h.last.kind == segAck && h.last.from == Reply && s.rawSeq == h.last.rawAck {
			return true, true
		}
		if s.from == Reply {
			if !h.answers(s) && (fit == "in" || fit == "over" || liberal) {
				h.end = n
			}
			return true, true
		}
	case StatusSynSent2:
		if !s.ack {
			return fit != "out", false
		}
	case StatusFinWait, StatusCloseWait, StatusLastAck, StatusTimeWait:
		return true, exact || h.answers(s)
	case StatusEstablished:
		switch {
		case h.answers(s):
			return true, true
		case stale && h.last.kind != segSyn:
			return false, false
		case assured && !exact:
			return liberal || fit != "out", false
		}
	}
	if st == StatusSynRecv && h.answers(s) {
		return true, true
	}
	if st != StatusEstablished && stale && h.last.kind != segSyn && s.rawSeq != 0 {
		return false, false
	}
	if fit == "in" || fit == "over" || liberal {
		h.end = n
	}
	return liberal || fit != "out", liberal || fit == "in"
}

// inFlight says whether the segment at seq may have been on its way from the
// end that sends in direction d: ICMP-15.
func (h *modelTCP) inFlight(d Dir, seq uint32) bool {
	me, it := h.end[d], h.end[1-d]
	acked := me.said - 1 - me.synLen
	if it.hasAcked {
		acked = it.acked
	} else if h.status() != StatusSynSent {
		acked = me.said - 65536
	}
	n := near(seq, me.said)
	thrown := h.last.kind == segSyn && h.last.from == d && seq == h.last.rawEnd-1
	return !me.opened || thrown || acked-max(it.window, 1) <= n && n <= me.said
}
