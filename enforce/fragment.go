package enforce

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// trailing gives a fragment the verdict of its datagram's first one. b is the
// packet.
func (p *Port) trailing(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte) ir.Verdict {
	got, mark := p.engine.table.TrackFragment(now, st.frags, side(d), pkt)
	if h := p.held.Load(); h != nil && got == conntrack.FragUnknown {
		var kept bool
		if got, mark, kept = p.keep(h, st, now, d, pkt, b); kept {
			return ir.Verdict{Reason: ir.ReasonFragmentHeld}
		}
	}
	v := inherited(got, mark)
	if v.Action == sg.Drop {
		return p.drop(st, now, d, pkt, v)
	}
	p.bookFragment(st, pkt, v)
	return v
}

// inherited is the verdict on a trailing fragment.
func inherited(got conntrack.FragVerdict, mark conntrack.Mark) ir.Verdict {
	if got != conntrack.FragAccept {
		return ir.Verdict{Reason: ir.ReasonFragment}
	}
	return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonFragment, Rule: ir.RuleNum(mark)}
}

func (p *Port) bookFragment(st *portState, pkt *packet.Packet, v ir.Verdict) {
	if v.Rule != 0 {
		st.gen.book.add(st.gen.matcher.Program(), v.Rule, 0, 1, uint64(pkt.Length))
	}
}

// keep keeps a fragment whose first one is not known, if there is room. It asks
// the table once more, with the lock held and after it has said that it waits: a
// first fragment that passes meanwhile either is known then, or sees that
// somebody waits, and finds what is kept once it has the lock.
func (p *Port) keep(h *hold, st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte) (conntrack.FragVerdict, conntrack.Mark, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p.expireHeld(h, now)
	h.waiting.Add(1)
	got, mark := p.engine.table.TrackFragment(now, st.frags, side(d), pkt)
	if got == conntrack.FragUnknown && h.add(now, st.frags, side(d), pkt, b) {
		return got, mark, true
	}
	h.waiting.Add(-1)
	return got, mark, false
}

// waiting returns what keeps fragments back, or nil if none waits there.
func (p *Port) waiting() *hold {
	if h := p.held.Load(); h != nil && h.waiting.Load() != 0 {
		return h
	}
	return nil
}

// reserveFirst makes room for the datagram of a first fragment, those that are
// kept of it included. It is false if the fragment must be dropped whatever the
// verdict is: its datagram contradicts itself, was refused before, or there is
// no room to know it again.
func (p *Port) reserveFirst(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte) bool {
	t := p.engine.table
	if !t.ReserveFragment(now, st.frags, side(d), pkt, b) {
		return false
	}
	h := p.waiting()
	if h == nil {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.expireHeld(h, now)
	for _, id := range h.order {
		k := &h.kept[id]
		if !k.placed && k.of(st.frags, side(d), pkt) && !t.ReserveFragment(now, st.frags, k.side, &k.pkt, nil) {
			return false
		}
	}
	return true
}

// commitFirst records the verdict on a first fragment for the others, those that
// are kept included. It is false if the fragment must be dropped whatever the
// verdict is: its datagram contradicts itself, or there is no room to know it
// again.
func (p *Port) commitFirst(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte, v ir.Verdict) bool {
	accept := v.Action == sg.Accept
	mark := conntrack.Mark(0)
	if accept {
		mark = conntrack.Mark(v.Rule)
	}
	ok := p.engine.table.CommitFragment(now, st.frags, side(d), pkt, b, accept, mark) == conntrack.FragAccept
	h := p.waiting()
	if h == nil || !ok {
		return ok
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.expireHeld(h, now)
	for _, id := range h.order {
		k := &h.kept[id]
		if k.placed || !k.of(st.frags, side(d), pkt) {
			continue
		}
		got, mark := p.engine.table.TrackFragment(now, st.frags, k.side, &k.pkt)
		if got == conntrack.FragOverlap {
			return false
		}
		k.verdict, k.placed = inherited(got, mark), true
	}
	return true
}

// settle releases what is kept of the datagram of a first fragment whose verdict
// is final, or drops it.
func (p *Port) settle(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, v ir.Verdict) {
	h := p.waiting()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 0; i < len(h.order); {
		k := &h.kept[h.order[i]]
		switch {
		case k.released || !k.of(st.frags, side(d), pkt):
			i++
		case v.Action == sg.Accept && k.placed && k.verdict.Action == sg.Accept:
			k.released = true
			h.ready[k.side].Add(1)
			p.bookFragment(st, &k.pkt, k.verdict)
			i++
		default:
			p.dropHeld(h, i, now)
		}
	}
}
