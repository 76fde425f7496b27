package classes

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"example.com/secgroup/sg"
)

// prefix is a prefix as numbers: an IPv4 address is high, of 32 bits; an IPv6
// address is high and low, of 64 bits each.
type prefix struct {
	high, low uint64
	bits      uint8
}

func prefixOf(p netip.Prefix) prefix {
	if a := p.Addr(); a.Is4() {
		b := a.As4()
		return prefix{high: uint64(binary.BigEndian.Uint32(b[:])), bits: uint8(p.Bits())}
	}
	var buf [16]byte
	b, _ := p.Addr().AppendBinary(buf[:0]) // it never fails; not As16, which is waited for
	return prefix{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint8(p.Bits())}
}

// compare sorts by address, then the wider first: what is inside of a prefix
// follows it at once.
func (p prefix) compare(q prefix) int {
	switch {
	case p.high != q.high:
		return cmp.Compare(p.high, q.high)
	case p.low != q.low:
		return cmp.Compare(p.low, q.low)
	}
	return cmp.Compare(p.bits, q.bits)
}

// width is the bits of the high half of a family, and of both.
func width(f sg.Family) (high, all uint) {
	if f == sg.IPv4 {
		return 32, 32
	}
	return 64, 128
}

// last returns the last address of p.
func (p prefix) last(f sg.Family) (high, low uint64) {
	half, _ := width(f)
	if uint(p.bits) > half {
		return p.high, p.low | (1<<(128-uint(p.bits)) - 1)
	}
	high = p.high | (1<<(half-uint(p.bits)) - 1)
	if half == 64 {
		low = 1<<64 - 1
	}
	return high, low
}

// contains reports whether q is inside of p, or is p.
func (p prefix) contains(q prefix, f sg.Family) bool {
	return p.bits <= q.bits && p.common(q, f) >= uint(p.bits)
}

// common returns how many bits the addresses of p and q begin with in common.
func (p prefix) common(q prefix, f sg.Family) uint {
	half, all := width(f)
	if x := p.high ^ q.high; x != 0 {
		return half - uint(bits.Len64(x))
	}
	if half == 32 {
		return 32
	}
	return all - uint(bits.Len64(p.low^q.low))
}

// truncate returns the prefix of that many bits that p is inside of.
func (p prefix) truncate(n uint, f sg.Family) prefix {
	half, _ := width(f)
	if n > half {
		return prefix{p.high, p.low &^ (1<<(128-n) - 1), uint8(n)}
	}
	return prefix{p.high &^ (1<<(half-n) - 1), 0, uint8(n)}
}
