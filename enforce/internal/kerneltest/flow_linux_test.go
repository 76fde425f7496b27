package kerneltest

import (
	"encoding/binary"
	"net/netip"
)

// flow is one exchange of a walk that its two ends lead as they should.
type flow struct {
	cluster int
	proto   uint8
	in      bool              // the far end begins
	ends    [2]netip.AddrPort // by who sends: 0 the far end, 1 the one behind the interface
	id      uint16            // of the last IPv4 packet

	segments []segment // of TCP, not sent yet
	tags     [2]uint32 // of SCTP, by who begins
	stage    int
	query    uint8 // of ICMP
}

// opener is who begins.
func (f *flow) opener() int {
	if f.in {
		return 0
	}
	return 1
}

func (f *flow) six() bool { return f.ends[0].Addr().Is6() }

// newFlow returns a flow that is near the edges of some rule of p.
func (g random) newFlow(n int, p rules) *flow {
	f := &flow{cluster: n + 1, in: g.oneIn(2), id: uint16(g.Uint32())}
	six := g.oneIn(2)
	peer := g.cidr(six)
	service := pick[uint16](g.Rand, 0, 1, 2, 79, 80, 81, 84, 85, 90, 91, 442, 443, 444, 445, 8000, 8001, 65534, 65535)
	proto := g.proto()
	if len(p) > 0 && !g.oneIn(12) {
		r := pick(g.Rand, p...)
		f.in, proto = r.in, r.proto
		if r.ported() && !g.oneIn(6) {
			service = pick(g.Rand, r.first-1, r.first, r.first, r.first, r.last, r.last, r.last, r.last+1)
		}
		if list := r.peers(); len(list) > 0 {
			peer = pick(g.Rand, list...)
			six = peer.Addr().Is6()
		}
	}
	for proto < 0 {
		proto = g.proto()
	}
	if proto == 17 && g.oneIn(16) {
		proto = 136
	}
	if proto == 1 && six {
		proto = 58
	} else if proto == 58 && !six {
		proto = 1
	}
	f.proto = uint8(proto)
	if proto == 132 && service == 0 {
		service = 1
	}
	far, near := g.edge(peer), local4[0]
	if six {
		near = local6[0]
	}
	other := uint16(20000 + 64*n + g.IntN(32)) // far from those of other flows
	switch {
	case proto == 1 || proto == 58:
		f.ends = [2]netip.AddrPort{netip.AddrPortFrom(far, other), netip.AddrPortFrom(near, other)}
		f.query = pick[uint8](g.Rand, 8, 8, 8, 8, 13, 15, 17)
		if six {
			f.query = 128
		}
	case f.in:
		f.ends = [2]netip.AddrPort{netip.AddrPortFrom(far, other), netip.AddrPortFrom(near, service)}
	default:
		f.ends = [2]netip.AddrPort{netip.AddrPortFrom(far, service), netip.AddrPortFrom(near, other)}
	}
	switch {
	case proto == 6:
		f.segments = newWalk(g.Rand, 6+g.IntN(24))
	case proto == 132:
		f.tags = [2]uint32{g.Uint32() | 1, g.Uint32() | 1}
	case proto != 17 && proto != 1 && proto != 58:
		f.cluster = 0 // without ports, or without ports that both judges know, the flows of a walk may be one
	}
	return f
}

// packet returns the next packet and who sends it.
func (g random) packet(f *flow) (from int, b []byte) {
	f.id++
	from = f.opener()
	if f.stage > 0 && g.oneIn(2) {
		from ^= 1
	}
	f.stage++
	src, dst := f.ends[from], f.ends[from^1]
	data := g.data(g.IntN(5) * g.IntN(12))
	switch f.proto {
	case 6:
		if len(f.segments) == 0 {
			f.segments = newWalk(g.Rand, 6+g.IntN(10))
		}
		s := f.segments[0]
		f.segments = f.segments[1:]
		from = s.from ^ f.opener()
		b = s.packet(f.ends[f.opener()], f.ends[f.opener()^1])
		if !f.six() {
			binary.BigEndian.PutUint16(b[4:], f.id)
			mend4(b)
		}
		return from, b
	case 17, 136:
		return from, udpPacket(src, dst, f.proto, f.id, data)
	case 1, 58:
		typ := f.query
		answer := from != f.opener()
		if g.oneIn(10) {
			answer = !answer
		}
		if answer && f.proto == 58 {
			typ++
		} else if answer && typ == 8 {
			typ = 0
		} else if answer {
			typ++
		}
		if g.oneIn(10) {
			typ = pick(g.Rand, uint8(g.IntN(256)), 0, 8, 9, 10, 13, 14, 17, 18, 30, 40, 42, 127, 128, 129, 130, 133, 134, 135, 136, 137, 143)
		}
		code := uint8(0)
		if g.oneIn(12) {
			code = pick(g.Rand, 1, uint8(g.IntN(256)))
		}
		b = icmpPacket(src.Addr(), dst.Addr(), typ, code, f.id, append([]byte{byte(f.ends[0].Port() >> 8), byte(f.ends[0].Port()), 0, byte(f.stage)}, data...))
		if f.proto == 58 && 133 <= typ && typ <= 137 && !g.oneIn(4) {
			b[7] = 255
		}
		return from, b
	case 132:
		return g.sctp(f)
	}
	data = append(g.data(12), data...)
	if f.proto == 47 && !g.oneIn(20) { // version 0
		copy(data, []byte{0, 0, 8, 0})
	}
	return from, ipPacket(src.Addr(), dst.Addr(), f.proto, f.id, data)
}

func (g random) data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// sctp returns the next packet of an association: INIT to COOKIE ACK, data,
// and sometimes the end (RFC 9260 5.1, 9).
func (g random) sctp(f *flow) (from int, b []byte) {
	o := f.opener()
	init := func(tag uint32) []byte {
		v := binary.BigEndian.AppendUint32(nil, tag)
		v = append(v, 0, 1, 0, 0, 0, 1, 0, 1)
		return binary.BigEndian.AppendUint32(v, tag)
	}
	tag, c := f.tags[1], []byte(nil)
	switch stage := f.stage - 1; {
	case stage == 0:
		from, tag, c = o, 0, chunk(1, init(f.tags[0])...)
	case stage == 1:
		from, tag, c = o^1, f.tags[0], chunk(2, init(f.tags[1])...)
	case stage == 2:
		from, c = o, chunk(10, g.data(8)...)
	case stage == 3:
		from, tag, c = o^1, f.tags[0], chunk(11)
	default:
		from = o
		if g.oneIn(2) {
			from, tag = o^1, f.tags[0]
		}
		c = pick(g.Rand, chunk(0, append(make([]byte, 12), g.data(4)...)...), chunk(0, append(make([]byte, 12), g.data(4)...)...),
			chunk(3, make([]byte, 12)...), chunk(4, 0, 1, 0, 8, 1, 2, 3, 4))
		if g.oneIn(16) {
			c = pick(g.Rand, chunk(7, 0, 0, 0, 0), chunk(8), chunk(14), chunk(6), chunk(9))
		}
	}
	return from, sctpPacket(f.ends[from], f.ends[from^1], tag, f.id, c)
}
