package kerneltest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// parts is a packet without options and extension headers, taken apart.
type parts struct {
	src, dst netip.Addr
	proto    uint8
	id       uint16
	l4       []byte
}

func apart(b []byte) (p parts) {
	var at int
	p.src, p.dst = addrs(b)
	p.proto, at = transport(b)
	if b[0]>>4 == 4 {
		p.id = binary.BigEndian.Uint16(b[4:])
	}
	p.l4 = bytes.Clone(b[at:])
	return p
}

// packet puts the parts together, their checksums right.
func (p parts) packet() []byte {
	return ipPacket(p.src, p.dst, p.proto, p.id, mend(p.src, p.dst, p.proto, p.l4))
}

// far is the part that is not behind the interface.
func (p *parts) far(from int) *netip.Addr {
	if from == 0 {
		return &p.src
	}
	return &p.dst
}

func (p *parts) near(from int) *netip.Addr { return p.far(from ^ 1) }

// stranger returns b, which from sent, as of another flow that is almost the
// same, and who sends it.
func (g random) stranger(from int, b []byte) (int, []byte) {
	p := apart(b)
	switch g.IntN(7) {
	case 0, 1: // a port, or an identifier, by one
		at := pick(g.Rand, 1, 3)
		if p.proto == 1 || p.proto == 58 {
			at = 5
		}
		if at < len(p.l4) {
			p.l4[at] += pick[byte](g.Rand, 1, 255)
		}
	case 2: // another far end
		*p.far(from) = g.edge(g.cidr(p.src.Is6()))
	case 3: // another host behind the interface
		near := p.near(from)
		*near = local4[1]
		if p.src.Is6() {
			*near = local6[1]
		}
	case 4: // another protocol
		p.proto = pick[uint8](g.Rand, 6, 17, 132, 136, 1, 58, 47)
	case 5: // another family
		six := !p.src.Is6()
		*p.far(from), *p.near(from) = g.edge(g.cidr(six)), map[bool]netip.Addr{false: local4[0], true: local6[0]}[six]
	case 6: // the other way
		from ^= 1
		p.src, p.dst = p.dst, p.src
		if len(p.l4) >= 4 && p.proto != 1 && p.proto != 58 {
			p.l4[0], p.l4[1], p.l4[2], p.l4[3] = p.l4[2], p.l4[3], p.l4[0], p.l4[1]
		}
	}
	return from, p.packet()
}

// broken returns b with something wrong in its headers.
func (g random) broken(b []byte) []byte {
	b = bytes.Clone(b)
	proto, at := transport(b)
	src, dst := addrs(b)
	four := b[0]>>4 == 4
	n := pick(g.Rand, 1, 4, 8, 20, 60)
	switch g.IntN(10) {
	case 0: // cut
		return b[:1+g.IntN(len(b))]
	case 1: // cut, and it says so
		b = b[:at+g.IntN(len(b)-at+1)]
		if four {
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		} else {
			binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		}
	case 2: // longer than it is
		if four {
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)+n))
		} else {
			binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40+n))
		}
	case 3: // shorter than it is
		if four {
			binary.BigEndian.PutUint16(b[2:], uint16(max(0, len(b)-n)))
		} else {
			binary.BigEndian.PutUint16(b[4:], uint16(max(0, len(b)-40-n)))
		}
	case 4: // length or version of the header
		if four && g.oneIn(2) {
			b[0] = 0x40 | byte(g.IntN(16))
		} else {
			b[0] = byte(g.IntN(16))<<4 | b[0]&15
		}
	case 5: // lengths of the transport header
		switch {
		case proto == 6 && len(b) > at+12:
			b[at+12] = byte(g.IntN(16)) << 4
		case (proto == 17 || proto == 136) && len(b) > at+5:
			binary.BigEndian.PutUint16(b[at+4:], pick(g.Rand, 0, 7, 8, uint16(len(b)-at-1), uint16(len(b)-at+1), uint16(g.Uint32())))
		case proto == 132 && len(b) > at+15:
			b[at+15] = byte(g.IntN(24))
		}
	case 6: // flags of TCP
		if proto == 6 && len(b) > at+13 {
			b[at+13] = byte(g.Uint32())
		}
	case 7: // bytes behind the end
		return append(b, g.data(n)...)
	case 8: // the fragment word
		if four {
			binary.BigEndian.PutUint16(b[6:], pick[uint16](g.Rand, 0x2000, 0x4000, 0x8000, 1, 0x1fff, 0x6000))
		}
	case 9: // any byte of the transport header
		if len(b) > at {
			b[at+g.IntN(min(20, len(b)-at))] ^= 1 << g.IntN(8)
		}
	}
	if four {
		mend4(b)
	}
	if len(b) > at && !g.oneIn(4) {
		mend(src, dst, proto, b[at:])
	}
	return b
}

// reported returns an ICMP error about b, which from sent, and who sends it.
func (g random) reported(from int, b []byte) (int, []byte) {
	quote := bytes.Clone(b)
	p := apart(b)
	reporter, to := p.dst, p.src
	_, at := transport(b)
	switch g.IntN(14) {
	case 0: // to another host: ICMP-02
		if from == 1 {
			to = map[bool]netip.Addr{false: local4[1], true: local6[1]}[p.src.Is6()]
		} else {
			to = g.edge(g.cidr(p.src.Is6()))
		}
	case 1: // ports off by one: ICMP-04
		quote[min(len(quote)-1, at+pick(g.Rand, 1, 3, 5))]++
	case 2: // another protocol: ICMP-05
		p.proto = pick[uint8](g.Rand, 6, 17, 132, 1, 58)
		quote = p.packet()
	case 3: // cut: ICMP-06
		quote = quote[:min(len(quote), at+g.IntN(9))]
	case 4: // never sent that way: ICMP-03
		p.src, p.dst = p.dst, p.src
		if len(p.l4) >= 4 && p.proto != 1 && p.proto != 58 {
			p.l4[0], p.l4[1], p.l4[2], p.l4[3] = p.l4[2], p.l4[3], p.l4[0], p.l4[1]
		}
		quote = p.packet()
	case 5: // from somewhere in between
		if from == 1 {
			reporter = g.edge(g.cidr(p.src.Is6()))
		} else {
			reporter = map[bool]netip.Addr{false: local4[1], true: local6[1]}[p.src.Is6()]
		}
	case 6: // garbage in the quoted header
		quote[g.IntN(min(len(quote), at+8))] ^= 1 << g.IntN(8)
	case 7: // TCP-sequence never in flight: ICMP-15
		if p.proto == 6 {
			quote[at+4] ^= 0x80
		}
	}
	quote = quote[:min(len(quote), pick(g.Rand, at+8, at+8, at+20, 500))]
	typ, code := pick[uint8](g.Rand, 3, 3, 3, 3, 11, 12, 4, 5), uint8(g.IntN(16))
	if p.src.Is6() {
		typ, code = pick[uint8](g.Rand, 1, 1, 2, 3, 4, 1), uint8(g.IntN(8))
		if g.oneIn(12) {
			typ = pick[uint8](g.Rand, 5, 100, 127)
		}
	}
	out := icmpPacket(reporter, to, typ, code, p.id+1, append(make([]byte, 4), quote...))
	if g.oneIn(30) {
		_, at := transport(out)
		out[at+2] ^= 1
	}
	return from ^ 1, out
}

// extended returns b with IPv4 options or IPv6 extension headers.
func (g random) extended(b []byte) []byte {
	if b[0]>>4 == 4 {
		o := pick(g.Rand, []byte{1, 1, 1, 1}, []byte{148, 4, 0, 0}, []byte{131, 7, 4, 192, 0, 2, 9, 0}, []byte{137, 7, 8, 192, 0, 2, 9, 0},
			[]byte{1, 148, 4, 0, 0, 0, 0, 0}, []byte{148, 9, 0, 0}, []byte{148, 0, 0, 0}, []byte{148, 1, 0, 0},
			[]byte{158, 4, 0, 0}, []byte{30, 8, 1, 2, 3, 4, 5, 6}, []byte{1, 1, 1, 148})
		out := append(append(bytes.Clone(b[:20]), o...), b[20:]...)
		out[0] = 0x45 + byte(len(o)/4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		mend4(out)
		return out
	}
	var kinds []uint8
	for range pick(g.Rand, 1, 1, 1, 2, 2, 3, 8, 9, 12) {
		kinds = append(kinds, pick[uint8](g.Rand, 60, 60, 60, 60, 43, 51, 135, 139, 140, 253, 59, 50, 44))
	}
	if g.oneIn(2) {
		for i := range kinds {
			kinds[i] = 60
		}
	}
	if g.oneIn(4) {
		kinds[0] = 0
	}
	if g.oneIn(20) {
		kinds[len(kinds)-1] = 0
	}
	out := bytes.Clone(b[:40])
	last := out[6]
	out[6] = kinds[0]
	for i, k := range kinds {
		next := last
		if i+1 < len(kinds) {
			next = kinds[i+1]
		}
		out = append(out, g.extension(k, next)...)
	}
	out = append(out, b[40:]...)
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// extension returns one extension header.
func (g random) extension(kind, next uint8) []byte {
	switch kind {
	case 43:
		h := make([]byte, 8)
		h[0], h[2], h[3] = next, pick[uint8](g.Rand, 4, 3, 0, 2, 253), pick[uint8](g.Rand, 0, 0, 0, 1)
		return h
	case 51:
		h := make([]byte, pick(g.Rand, 12, 16, 24))
		h[0], h[1] = next, uint8(len(h)/4-2)
		return h
	case 44:
		return append([]byte{next, 0, 0, 0}, g.data(4)...)
	}
	h := make([]byte, pick(g.Rand, 8, 8, 16, 24))
	h[0], h[1] = next, uint8(len(h)/8-1)
	for at := 2; at < len(h); at += 2 + int(h[at+1]) {
		h[at], h[at+1] = 1, uint8(min(len(h)-at-2, 4))
	}
	switch g.IntN(16) {
	case 0:
		h[3]++ // an option that runs past its header
	case 1:
		h[1]++ // a header that runs past its end
	case 2:
		copy(h[2:], []byte{5, 2, 0, 0, 1, 0}) // router alert
	case 3: // more than 7 bytes of padding
		h[2], h[3] = 1, uint8(len(h)-4)
	case 4:
		h[2] = pick[uint8](g.Rand, 0x1e, 0x3e, 0x80, 0xc2) // an unknown option
	}
	return h
}
