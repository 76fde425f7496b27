package enforce

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// A lane of the connection table takes nearly all packets as they come: see
// conntrack.Lane. What is here is what else is decided of such packets without
// decoding them.

// newcomer decides a packet of which a lane says that it is New: fresh, but for a
// refused one without more than the words that the rules ask for.
func (p *Port) newcomer(st *portState, now conntrack.Time, d sg.Direction, b []byte) ir.Verdict {
	v := st.plain(d, b)
	if v.Action == sg.Drop && v.Rule == 0 && p.engine.opts.OnEvent == nil {
		p.drops[v.Reason].Add(1)
		return v
	}
	return p.admitted(st, now, d, b, v)
}

// plain is match for a packet that a lane knows.
func (st *portState) plain(d sg.Direction, b []byte) ir.Verdict {
	be, c := binary.BigEndian, &st.chains[d&3]
	if b[0]>>4 == 4 {
		h := (*[24]byte)(b)
		addr := be.Uint32(h[12:])
		if d == sg.Egress {
			addr = be.Uint32(h[16:])
		}
		return c.Match4(addr, h[9], be.Uint16(h[22:]))
	}
	h := (*[44]byte)(b)
	high, low := be.Uint64(h[8:]), be.Uint64(h[16:])
	if d == sg.Egress {
		high, low = be.Uint64(h[24:]), be.Uint64(h[32:])
	}
	return c.Match6(high, low, h[6], be.Uint16(h[42:]))
}

// admitted is newcomer, of which the rules say v: no drop without a rule that
// nobody hears of.
func (p *Port) admitted(st *portState, now conntrack.Time, d sg.Direction, b []byte, v ir.Verdict) ir.Verdict {
	if v.Action == sg.Drop && p.engine.opts.OnEvent == nil {
		p.drops[v.Reason].Add(1)
		st.gen.book.add(st.gen.matcher.Program(), v.Rule, 0, 1, plainLength(b))
		return v
	}
	said := conntrack.New
	if p.engine.opts.OnEvent == nil && opens(&v) {
		if st.lanes[d&3].Open(now, b, conntrack.Mark(v.Rule)) == conntrack.New {
			st.opened(v.Rule)
			return v
		}
		said = conntrack.Invalid
	}
	return p.decoded(st, now, d, b, v, said)
}

// decoded is admitted for what no lane opens.
func (p *Port) decoded(st *portState, now conntrack.Time, d sg.Direction, b []byte, v ir.Verdict, said conntrack.State) ir.Verdict {
	var pkt packet.Packet
	_ = packet.Decode(b, &pkt) // the lane vouches for it
	return p.begin(st, now, d, &pkt, b, v, said)
}

// opens reports whether a new flow of which the rules say v is tracked.
func opens(v *ir.Verdict) bool { return v.Action == sg.Accept && !v.Stateless }

// opened counts a flow that that rule allowed, if any did.
func (st *portState) opened(rule ir.RuleNum) {
	if rule != 0 {
		st.gen.book.add(st.gen.matcher.Program(), rule, 1, 0, 0)
	}
}

// plainWords is FlowOf, in words, for a packet that a lane knows.
func plainWords(b []byte, d sg.Direction) (w compile.Words) {
	be := binary.BigEndian
	if b[0]>>4 == 4 {
		h := (*[24]byte)(b)
		w.Family, w.Protocol, w.Port = sg.IPv4, h[9], be.Uint16(h[22:])
		if w.Low = uint64(be.Uint32(h[12:])); d == sg.Egress {
			w.Low = uint64(be.Uint32(h[16:]))
		}
		return w
	}
	h := (*[44]byte)(b)
	w.Family, w.Protocol, w.Port = sg.IPv6, h[6], be.Uint16(h[42:])
	if w.High, w.Low = be.Uint64(h[8:]), be.Uint64(h[16:]); d == sg.Egress {
		w.High, w.Low = be.Uint64(h[24:]), be.Uint64(h[32:])
	}
	return w
}

// plainLength is packet.Packet.Length of a packet that a lane knows.
func plainLength(b []byte) uint64 {
	if b[0]>>4 == 4 {
		return uint64(binary.BigEndian.Uint16(b[2:]))
	}
	return 40 + uint64(binary.BigEndian.Uint16(b[4:]))
}

// surely reports whether a packet that a lane knows has the checksums that c asks
// for, and addresses that pass the source guard. It is false of others, and may be
// false of some that pass by an exception.
func (st *portState) surely(c Checksums, d sg.Direction, b []byte) bool {
	return (c == ChecksumsUnknown || packet.PlainChecksums(b, c == ChecksumsAll)) && (!st.guarded || st.guard.passes(d, b))
}

// guard is the source guard of an interface in words.
type guard struct {
	addrs []span // its own addresses
	all   []span // and those that it may use beside
}

// span is a prefix. IPv4 has only the low half.
type span struct {
	family            uint8
	high, low         uint64
	maskHigh, maskLow uint64
}

func newGuard(i *ir.Interface) (g guard) {
	for _, p := range i.Addrs {
		g.addrs = append(g.addrs, newSpan(p))
	}
	g.all = append(g.all, g.addrs...)
	for _, p := range i.Allow {
		g.all = append(g.all, newSpan(p))
	}
	return g
}

func newSpan(p netip.Prefix) (s span) {
	s.family = 6
	a, n := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		s.family, n = 4, n+96
		a = [16]byte{12: a[12], a[13], a[14], a[15]}
	}
	s.maskHigh, s.maskLow = ^uint64(0)<<max(0, 64-n), ^uint64(0)<<min(64, 128-n)
	s.high, s.low = binary.BigEndian.Uint64(a[:8])&s.maskHigh, binary.BigEndian.Uint64(a[8:])&s.maskLow
	return s
}

func within(list []span, family uint8, high, low uint64) bool {
	for i := range list {
		if s := &list[i]; s.family == family && (high^s.high)&s.maskHigh|(low^s.low)&s.maskLow == 0 {
			return true
		}
	}
	return false
}

// passes reports whether spoofed is false of a packet that a lane knows, by an
// address that the interface has or may use.
func (g *guard) passes(d sg.Direction, b []byte) bool {
	be := binary.BigEndian
	var family uint8
	var sh, sl, dh, dl uint64
	switch {
	case len(b) < 20:
		return false
	case b[0]>>4 == 4:
		family, sl, dl = 4, uint64(be.Uint32(b[12:])), uint64(be.Uint32(b[16:]))
	case len(b) < 40:
		return false
	default:
		family, sh, sl, dh, dl = 6, be.Uint64(b[8:]), be.Uint64(b[16:]), be.Uint64(b[24:]), be.Uint64(b[32:])
	}
	if d == sg.Egress {
		return within(g.all, family, sh, sl)
	}
	return !within(g.addrs, family, sh, sl) && within(g.all, family, dh, dl)
}
