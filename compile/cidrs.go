package compile

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/compile/internal/seeded"
	"example.com/secgroup/compile/ir"
)

// cidrs is the selectors of the prefixes that rules of a VPC name. It has no
// pointers in it. The zero cidrs is empty.
type cidrs struct {
	known seeded.Table // one more than the place in list
	list  []cidr
	free  []uint32 // places in list that are out of use
}

// cidr is the selector of a prefix.
type cidr struct {
	cidrKey
	num  ir.SelectorNum
	uses int32 // rules
}

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
	t := &x.known
	return seeded.Hash(t.Mix(t.Mix(t.Mix(t.Seed(), k.high), k.low), uint64(k.bits)))
}

// get returns the selector of k, nil if there is none. It is valid until the
// next one is added.
func (x *cidrs) get(k cidrKey) *cidr { return x.find(k, x.hash(k)) }

func (x *cidrs) find(k cidrKey, h uint32) *cidr {
	for n, at := x.known.Next(h, h); n != 0; n, at = x.known.Next(h, at) {
		if c := &x.list[n-1]; c.cidrKey == k {
			return c
		}
	}
	return nil
}

// grow makes room for n selectors in all.
func (x *cidrs) grow(n int) {
	x.known.Grow(n)
	x.list = append(make([]cidr, 0, n), x.list...)
}

// add returns the selector of k. If there was none it has the number zero, and
// is to get one.
func (x *cidrs) add(k cidrKey) *cidr {
	h := x.hash(k)
	if c := x.find(k, h); c != nil {
		return c
	}
	at := uint32(len(x.list))
	if n := len(x.free); n > 0 {
		at, x.free = x.free[n-1], x.free[:n-1]
	} else {
		x.list = append(x.list, cidr{})
	}
	c := &x.list[at]
	*c = cidr{cidrKey: k}
	x.known.Add(h, at+1)
	return c
}

// remove forgets the selector of k, which has one.
func (x *cidrs) remove(k cidrKey) {
	h := x.hash(k)
	n, at := x.known.Next(h, h)
	for x.list[n-1].cidrKey != k {
		n, at = x.known.Next(h, at)
	}
	x.free = append(x.free, n-1)
	x.list[n-1] = cidr{}
	x.known.Remove(h, n)
}
