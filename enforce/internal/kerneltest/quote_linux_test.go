package kerneltest

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
)

// unrelated reports whether the engine alone refuses an ICMP error because it
// is about nothing that it knows.
func (l *look) unrelated() bool {
	return l.stricter && l.p.IsICMPError() &&
		(l.engine.Reason == ir.ReasonInvalidState || l.engine.Reason == ir.ReasonICMPRedirect && l.p.Tuple.Proto == packet.ProtoICMP)
}

// quote is what an ICMP error quotes of a connection of TCP.
type quote int

const (
	quotesNothing quote = iota // a number that nobody sent, or that was acknowledged
	quotesPassed               // that of a segment that was let through while the windows stayed
	quotesBefore               // that of a segment before a SYN with another number
	quotesSegment              // that of a segment in flight
)

// quotes says what the number is that an ICMP error quotes. It knows less than
// the engine, which scales windows: what it calls stale is for sure.
func (l *look) quotes() quote {
	of, seq := quotesNothing, l.p.Inner.Seq
	var end [2]uint32 // of what was sent: by the other side, by the sender of the quote
	var heard [2]bool
	window := uint32(1) // of the other side
	var edge uint32     // of its window, or beyond: it may be scaled
	var open bool       // there is one
	for _, i := range l.flow() {
		q, st := &l.decoded[i], conntrack.Status(0)
		if e := l.entries[i]; e != nil {
			st = e.Status
		}
		flags := q.Flags & (packet.SYN | packet.ACK | packet.RST)
		if i == l.k || !l.passed(i) {
			continue
		}
		who := btoi(l.tr.steps[i].in != l.in)
		stale := heard[1] && int32(end[1]-q.Seq-window) > 0 || heard[0] && flags&packet.ACK != 0 && int32(end[0]-q.Ack-66000) > 0
		if next := q.Seq + q.Data + uint32(q.Flags&packet.SYN/packet.SYN+q.Flags&packet.FIN/packet.FIN); !heard[who] || int32(end[who]-next) < 0 {
			// Half the circle away is behind, too: as in Linux.
			end[who], heard[who] = next, true
		}
		if who == 0 {
			window = max(window, uint32(q.Window))
			if at := q.Ack + uint32(q.Window)<<14 + 1; flags&packet.ACK != 0 && (!open || int32(at-edge) > 0) {
				edge, open = at, true
			}
			switch {
			case flags&packet.ACK != 0 && int32(q.Ack-seq) > 0:
				of = quotesNothing
			case flags == packet.SYN && st >= conntrack.StatusSynRecv && of == quotesSegment:
				of = quotesBefore
			}
			continue
		}
		switch {
		case q.Seq != seq && flags == packet.SYN && of == quotesSegment:
			of = quotesBefore
		case q.Seq != seq && open && int32(q.Seq-edge) > 0 && int32(seq-q.Seq-q.Data) > 0 && of == quotesSegment:
			// Beyond the window. As Linux has it, what is sent ends there now
			// (tcp_in_window), before the segment that is quoted.
			of = quotesPassed
		case q.Seq != seq:
		case stale, flags&packet.RST != 0, flags == packet.ACK && opening(st), flags&packet.SYN != 0 && st >= conntrack.StatusSynRecv:
			of = max(of, quotesPassed)
		default:
			of = quotesSegment
		}
	}
	return of
}
