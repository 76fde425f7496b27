package compile

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/compile/ir"
)

// cidrs is the selectors of the prefixes that rules of a VPC name. It is a hash
// table whose function nobody outside can know, so that no choice of rules
// makes it slow, and has no pointers in it. The zero cidrs is empty.
type cidrs struct {
	places []cidrPlace // a power of two, of which three in four are taken at most
	list   []cidr
	free   []uint32 // places in list that are out of use
	n      int
	seed   [2]uint64
}

// cidr is the selector of a prefix.
type cidr struct {
	cidrKey
	num  ir.SelectorNum
	uses int32 // rules
}

// cidrPlace is one more than a place in the list; zero is none.
type cidrPlace struct{ hash, at uint32 }

// cidrKey is a prefix that a rule names.
type cidrKey struct {
	high, low uint64
	bits      uint16
}

func keyOf(p netip.Prefix) cidrKey {
	a := p.Addr()
	if a.Is4() {
		b := a.As4()
		return cidrKey{0, uint64(binary.BigEndian.Uint32(b[:])), uint16(p.Bits()) | 1<<8} // no prefix of IPv6 is as long
	}
	var buf [16]byte
	b, _ := a.AppendBinary(buf[:0]) // it never fails; not As16, which is waited for
	return cidrKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), uint16(p.Bits())}
}

func (x *cidrs) hash(k cidrKey) uint32 {
	high, low := bits.Mul64(k.high^x.seed[0], x.seed[1])
	high, low = bits.Mul64(high^low^k.low, x.seed[1])
	high, low = bits.Mul64(high^low^uint64(k.bits), x.seed[1])
	return uint32((high ^ low) >> 32)
}

// get returns the selector of k, nil if there is none. It is valid until the
// next one is added.
func (x *cidrs) get(k cidrKey) *cidr {
	if x.n == 0 {
		return nil
	}
	return x.find(k, x.hash(k))
}

func (x *cidrs) find(k cidrKey, h uint32) *cidr {
	mask := uint32(len(x.places) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		p := x.places[at]
		if p.at == 0 {
			return nil
		}
		if p.hash == h {
			if c := &x.list[p.at-1]; c.cidrKey == k {
				return c
			}
		}
	}
}

// grow makes room for n selectors in all.
func (x *cidrs) grow(n int) {
	if x.seed[1] == 0 {
		x.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1}
	}
	old := x.places
	x.places = make([]cidrPlace, 1<<bits.Len(uint(n+n/3)))
	for _, p := range old {
		if p.at != 0 {
			x.put(p)
		}
	}
	x.list = append(make([]cidr, 0, n), x.list...)
}

// add returns the selector of k. If there was none it has the number zero, and
// is to get one.
func (x *cidrs) add(k cidrKey) *cidr {
	if len(x.places) == 0 {
		x.grow(16)
	}
	h := x.hash(k)
	if c := x.find(k, h); c != nil {
		return c
	}
	if 4*(x.n+1) > 3*len(x.places) {
		x.grow(2 * x.n)
	}
	at := uint32(len(x.list))
	if n := len(x.free); n > 0 {
		at, x.free = x.free[n-1], x.free[:n-1]
	} else {
		x.list = append(x.list, cidr{})
	}
	c := &x.list[at]
	*c = cidr{cidrKey: k}
	x.n++
	x.put(cidrPlace{h, at + 1})
	return c
}

func (x *cidrs) put(p cidrPlace) {
	mask := uint32(len(x.places) - 1)
	at := p.hash & mask
	for x.places[at].at != 0 {
		at = (at + 1) & mask
	}
	x.places[at] = p
}

// remove forgets the selector of k, which has one.
func (x *cidrs) remove(k cidrKey) {
	mask := uint32(len(x.places) - 1)
	at := x.hash(k) & mask
	for x.places[at].at == 0 || x.list[x.places[at].at-1].cidrKey != k {
		at = (at + 1) & mask
	}
	x.free = append(x.free, x.places[at].at-1)
	x.list[x.places[at].at-1] = cidr{}
	x.places[at] = cidrPlace{}
	x.n--
	for { // what came to lie behind because of it
		at = (at + 1) & mask
		p := x.places[at]
		if p.at == 0 {
			return
		}
		x.places[at] = cidrPlace{}
		x.put(p)
	}
}
