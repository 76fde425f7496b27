package kerneltest

import (
	"math/rand/v2"
	"net/netip"
	"strings"
)

// random makes policies and walks, the same for the same seed.
type random struct{ *rand.Rand }

func (g random) oneIn(n int) bool { return g.IntN(n) == 0 }

// cidr returns a peer: they are nested and adjacent.
func (g random) cidr(six bool) netip.Prefix {
	list := "0.0.0.0/0 0.0.0.0/1 128.0.0.0/1 10.0.0.0/8 10.0.0.0/9 10.128.0.0/9 192.0.2.0/24 192.0.2.0/25 192.0.2.128/25 192.0.2.64/26 192.0.2.7/32 192.0.2.8/31 192.0.2.255/32 198.51.100.0/24 198.51.100.9/32 198.51.100.128/29 203.0.113.1/32"
	if six {
		list = "::/0 ::/1 8000::/1 2000::/3 2001:db8:a::/48 2001:db8:a:8000::/49 2001:db8:a::/64 2001:db8:a::7/128 2001:db8:a::8/127 2001:db8:b::/48 2001:db8:b::9/128 2001:db8:b::80/121 fd01:a::/64 fd01:a::1/128"
	}
	return netip.MustParsePrefix(pick(g.Rand, strings.Fields(list)...))
}

// remote reports whether a is one that a router takes packets from, passes them
// on to, and that is not behind the interface.
func remote(a netip.Addr) bool {
	switch {
	case !a.IsValid(), a.IsMulticast(), a.IsLoopback(), a.IsUnspecified(), a.IsLinkLocalUnicast(), a.Is4In6():
		return false
	case a.Is4():
		first := a.As4()[0]
		return first != 0 && first < 224 && first>>6 != 1
	}
	return a.As16()[0]>>5 == 1 || a.As16()[0]&0xfe == 0xfc && a.As16()[1] != 0
}

// edge returns an address at an edge of p, now and then just outside.
func (g random) edge(p netip.Prefix) netip.Addr {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	for range 6 {
		if a := pick(g.Rand, first, first, first.Next(), last, last, last.Prev(), last.Next(), first.Prev()); remote(a) {
			return a
		}
	}
	return map[bool]netip.Addr{true: netip.MustParseAddr("203.0.113.77"), false: netip.MustParseAddr("fd01:b::77")}[first.Is4()]
}

func (g random) proto() int {
	return pick(g.Rand, 6, 6, 6, 17, 17, 17, 132, -1, 1, 58, 47, 50, 253)
}

func (g random) rule() rule {
	r := rule{in: g.oneIn(2), proto: g.proto(), typ: -1, code: -1}
	six := r.proto == 58 || r.proto != 1 && g.oneIn(2)
	switch {
	case r.ported() && g.oneIn(8):
		a, b := uint16(g.Uint32()), uint16(g.Uint32())
		r.first, r.last = min(a, b), max(a, b)
	case r.ported():
		p := pick(g.Rand, [2]uint16{0, 65535}, [2]uint16{80, 80}, [2]uint16{443, 443}, [2]uint16{1, 1}, [2]uint16{65535, 65535}, [2]uint16{0, 79},
			[2]uint16{80, 90}, [2]uint16{85, 8000}, [2]uint16{443, 444}, [2]uint16{8001, 65535})
		r.first, r.last = p[0], p[1]
	case r.proto == 1:
		r.typ = pick(g.Rand, -1, -1, 8, 8, 0, 3, 11, 13)
	case r.proto == 58:
		r.typ = pick(g.Rand, -1, -1, 128, 128, 129, 1, 2, 135)
	}
	if r.typ >= 0 {
		r.code = pick(g.Rand, -1, -1, 0, 1)
	}
	switch {
	case g.oneIn(4):
	case g.oneIn(5):
		r.set = 1 + g.IntN(2) + 2*btoi(six)
	default:
		r.peer = g.cidr(six)
	}
	return r
}

// policy returns up to a dozen rules.
func (g random) policy() (p rules) {
	for range 1 + g.IntN(pick(g.Rand, 3, 6, 12)) {
		p = append(p, g.rule())
	}
	return p
}

// next returns what p is replaced by: some rules less, some more, or another
// policy.
func (g random) next(p rules) (n rules) {
	if g.oneIn(4) {
		return g.policy()
	}
	more := g.oneIn(4) // and none less
	for _, r := range p {
		if more || !g.oneIn(3) {
			n = append(n, r)
		}
	}
	for range g.IntN(3) {
		n = append(n, g.rule())
	}
	return n
}
