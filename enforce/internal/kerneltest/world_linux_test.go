package kerneltest

import (
	"bytes"
	"net/netip"
	"slices"

	"example.com/secgroup/conntrack/packet"
)

// clusters is how many clusters a walk has at most: one for all that has no
// ports, and one for every other flow.
const clusters = 1 + maxFlows

const maxFlows = 4

// step is one packet of a walk.
type step struct {
	in      bool   // it comes from the far side
	cluster int    // of the packets that its judgement hangs together with
	b       []byte // its local addresses those of the first place
}

// world is a walk under way.
type world struct {
	random
	flows []*flow
	sent  map[*flow][]sent
	steps []step
}

// sent is a packet that an end of a flow sent, as it should be.
type sent struct {
	from int
	b    []byte
}

// newWorld returns about n packets of a few flows and of hands that meddle. Most
// flows are for the first policy.
func (g random) newWorld(n int, p [2]rules) []step {
	w := &world{random: g, sent: map[*flow][]sent{}}
	for i := range 1 + g.IntN(maxFlows) {
		w.flows = append(w.flows, g.newFlow(i, p[btoi(g.oneIn(4))]))
	}
	for len(w.steps) < n {
		w.step(pick(g.Rand, w.flows...))
	}
	return w.steps
}

// put adds a packet if it travels between the two sides.
func (w *world) put(f *flow, from int, b []byte) {
	if len(b) < 1 || len(b) > 1400+120 {
		return
	}
	if len(b) >= 40 || len(b) >= 20 && b[0]>>4 == 4 {
		if src, dst := addrs(b); b[0]>>4 == 4 || b[0]>>4 == 6 {
			if near(src) != (from == 1) || near(dst) != (from == 0) || !near(src) && !remote(src) || !near(dst) && !remote(dst) {
				return
			}
		}
	}
	cluster := f.cluster
	var p packet.Packet
	if packet.Decode(b, &p) == nil && !p.Tuple.HasPorts() && p.Tuple.Proto != packet.ProtoICMP && p.Tuple.Proto != packet.ProtoICMPv6 {
		cluster = 0 // see newFlow
	}
	w.steps = append(w.steps, step{from == 0, cluster, bytes.Clone(b)})
}

// near reports whether an address is routed to the interface.
func near(a netip.Addr) bool {
	return slices.Contains(local4[:], a) || slices.Contains(local6[:], a)
}

func (w *world) step(f *flow) {
	old := w.sent[f]
	if len(old) > 0 {
		s := pick(w.Rand, old[max(0, len(old)-4):]...)
		switch w.IntN(24) {
		case 0, 1:
			from, b := w.reported(s.from, s.b)
			w.put(f, from, b)
			return
		case 2, 3:
			from, b := w.stranger(s.from, s.b)
			w.put(f, from, b)
			return
		case 4:
			w.put(f, s.from, w.broken(s.b))
			return
		case 5: // again
			w.put(f, s.from, s.b)
			return
		}
	}
	from, b := w.packet(f)
	switch w.IntN(24) {
	case 0:
		w.put(f, from, w.broken(b))
		return
	case 1:
		from, b := w.stranger(from, b)
		w.put(f, from, b)
		return
	case 2:
		for _, piece := range w.fragments(b) {
			w.put(f, from, piece)
		}
	case 3:
		w.put(f, from, w.extended(b))
	case 4:
		from, b := w.reported(from, b)
		w.put(f, from, b)
	default:
		w.put(f, from, b)
	}
	w.sent[f] = append(w.sent[f], sent{from, b})
}
