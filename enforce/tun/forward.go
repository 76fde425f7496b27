package tun

import (
	"errors"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// forwarder forwards from one link to another. It belongs to one goroutine,
// but for the counters.
type forwarder struct {
	from, to        Link
	egress, ingress *enforce.Port // nil: not policed
	answers         *answerer

	buf     []byte // the frame
	scratch []byte // a frame made of it: segment, fragment, answer
	second  []byte // a fragment of a segment
	held    []byte // a frame of what was kept back; nil: nothing is
	sums    enforce.Checksums
	frame   frame
	rest    segments
	pieces  fragments
	streak  [4]int // EINVAL in a row, by kind of frame: see kind

	in, out, super             traffic
	split, fragmented, refused atomic.Uint64
	drops                      drops
}

func newForwarder(from, to Link, egress, ingress *enforce.Port, a *answerer, o GatewayOptions) *forwarder {
	w := &forwarder{
		from: from, to: to, egress: egress, ingress: ingress, answers: a,
		buf: make([]byte, FrameSize), scratch: make([]byte, FrameSize), second: make([]byte, FrameSize),
		sums: enforce.ChecksumsAll,
	}
	if o.NoChecksums {
		w.sums = enforce.ChecksumsHeader
	}
	if o.Hold.Fragments > 0 {
		w.held = make([]byte, FrameSize)
	}
	return w
}

// run forwards until stop is set or a link fails.
func (w *forwarder) run(stop *atomic.Bool) error {
	failures := 0
	for !stop.Load() {
		n, err := w.from.ReadFrame(w.buf)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, ErrInterrupted):
			continue
		case gone(err):
			return err
		default:
			w.drops.add(causeDevice)
			if failures++; failures == failuresInARow {
				return err
			}
			continue
		}
		if err := w.forward(w.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// forward deals with one frame, which it may change. An error is the end of
// the link.
func (w *forwarder) forward(b []byte) error {
	f := &w.frame
	ok := f.parse(b)
	w.in.add(1, max(0, len(b)-HeaderLen))
	if !ok {
		w.drops.add(f.why)
		return nil
	}
	sums := w.sums
	if f.h.flags&needsChecksum != 0 {
		sums = enforce.ChecksumsHeader
	}
	if w.egress != nil {
		if v := w.egress.FilterWith(sums, sg.Egress, f.pkt); v.Action != sg.Accept {
			return w.refuse(v.Reason)
		}
		sums = enforce.ChecksumsHeader // once is enough
	}
	if err := w.enter(sums); err != nil || w.held == nil {
		return err
	}
	return w.release()
}

// enter sends the frame on if the interface that it goes to takes it.
func (w *forwarder) enter(sums enforce.Checksums) error {
	if w.ingress != nil {
		if v := w.ingress.FilterWith(sums, sg.Ingress, w.frame.pkt); v.Action != sg.Accept {
			return w.refuse(v.Reason)
		}
	}
	return w.send()
}

// release sends on what the ports kept back until now.
func (w *forwarder) release() error {
	for w.egress != nil && w.unhold(w.egress, sg.Egress) {
		if err := w.enter(enforce.ChecksumsHeader); err != nil {
			return err
		}
	}
	for w.ingress != nil && w.unhold(w.ingress, sg.Ingress) {
		if err := w.send(); err != nil {
			return err
		}
	}
	return nil
}

// unhold makes a frame of the next fragment that a port releases, if there is
// one.
func (w *forwarder) unhold(p *enforce.Port, d sg.Direction) bool {
	clear(w.held[:HeaderLen])
	n, _ := p.Release(d, w.held[HeaderLen:])
	return n > 0 && w.frame.parse(w.held[:HeaderLen+n])
}

// send sends the frame.
func (w *forwarder) send() error {
	f := &w.frame
	mtu := w.to.MTU()
	if mtu > 0 && f.longest() > mtu {
		return w.tooBig(mtu)
	}
	if f.h.gso != gsoNone {
		return w.superPacket()
	}
	return w.plain()
}

// refuse drops a packet and answers it, unless it is only kept back.
func (w *forwarder) refuse(why ir.Reason) error {
	if why == ir.ReasonFragmentHeld {
		return nil
	}
	w.drops.add(causeOf(why))
	return w.answer(w.answers.refusal(w.scratch[HeaderLen:], w.frame.pkt, why))
}

// answer sends n bytes of scratch back.
func (w *forwarder) answer(n int) error {
	if n == 0 {
		return nil
	}
	clear(w.scratch[:HeaderLen])
	err := w.from.WriteFrame(w.scratch[:HeaderLen+n])
	w.answers.done(err)
	if gone(err) {
		return err
	}
	return nil
}

// tooBig deals with packets above the MTU of the way out.
func (w *forwarder) tooBig(mtu int) error {
	f := &w.frame
	if !f.mayFragment() {
		w.drops.add(causeTooBig)
		if !f.known {
			return nil
		}
		return w.answer(w.answers.tooBig(w.scratch[HeaderLen:], f.pkt, &f.p, mtu))
	}
	if f.h.gso == gsoNone {
		f.complete()
		return w.fragment(f.pkt, mtu)
	}
	return w.cut(mtu)
}

// fragment sends an IPv4 packet, as fragments if it is above the MTU.
func (w *forwarder) fragment(pkt []byte, mtu int) error {
	if !w.pieces.cut(pkt, mtu) {
		w.drops.add(causeTooBig)
		return nil
	}
	w.fragmented.Add(1)
	clear(w.second[:HeaderLen])
	for w.pieces.rest() {
		n := w.pieces.write(w.second[HeaderLen:])
		if err := w.wrote(w.to.WriteFrame(w.second[:HeaderLen+n]), n); err != nil {
			return err
		}
	}
	return nil
}

// cut sends a super-packet as what it stands for, in fragments where a segment
// is above the MTU; 0 is none.
func (w *forwarder) cut(mtu int) error {
	w.split.Add(1)
	clear(w.scratch[:HeaderLen])
	for w.rest.cut(&w.frame); w.rest.rest(); {
		n := w.rest.write(w.scratch[HeaderLen:])
		var err error
		if mtu > 0 && n > mtu {
			err = w.fragment(w.scratch[HeaderLen:HeaderLen+n], mtu)
		} else {
			err = w.wrote(w.to.WriteFrame(w.scratch[:HeaderLen+n]), n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// superPacket sends a super-packet whole if the way out takes it.
func (w *forwarder) superPacket() error {
	done, err := w.offloaded()
	if done || err != nil {
		return err
	}
	return w.cut(0)
}

// plain sends a packet, with its checksum open if the way out takes it.
func (w *forwarder) plain() error {
	f := &w.frame
	if f.h.flags&needsChecksum != 0 {
		done, err := w.offloaded()
		if done || err != nil {
			return err
		}
		f.complete()
	}
	f.h.encode(f.b)
	return w.wrote(w.to.WriteFrame(f.b), len(f.pkt))
}

// enough is how many frames of a kind a kernel refuses in a row before they
// are no longer tried.
const enough = 8

// kind sorts frames by what a kernel may refuse: checksums, TCP and UDP
// super-packets, and those with ECN.
func kind(o Offload) int {
	switch {
	case o.Has(OffloadECN):
		return 3
	case o.Has(OffloadUSO):
		return 2
	case o.Has(OffloadTSO):
		return 1
	}
	return 0
}

// offloaded sends the frame with what it asks for. It is false if the way out
// does not take that.
func (w *forwarder) offloaded() (bool, error) {
	f := &w.frame
	needs := f.h.needs()
	streak := &w.streak[kind(needs)]
	if !w.to.Offload().Has(needs) || *streak >= enough {
		return false, nil
	}
	f.h.encode(f.b)
	err := w.to.WriteFrame(f.b)
	if refused(err) {
		*streak++
		w.refused.Add(1)
		return false, nil
	}
	if err == nil {
		*streak = 0
		if f.h.gso != gsoNone {
			w.super.add(1, len(f.pkt))
		}
	}
	return true, w.wrote(err, len(f.pkt))
}

// wrote counts a packet of n bytes. It returns only errors that are the end.
func (w *forwarder) wrote(err error, n int) error {
	if err == nil {
		w.out.add(1, n)
		return nil
	}
	w.drops.add(causeDevice)
	if gone(err) {
		return err
	}
	return nil
}
