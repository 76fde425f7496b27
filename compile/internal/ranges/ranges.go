// Package ranges maps the numbers of a domain, such as all IPv4 addresses, to
// values that change at few places. It is the flat form of a prefix table: a
// look-up reads two or three cache lines and takes no branch that depends on
// how many places there are.
//
// A part of the domain is a piece, eight bytes. A small piece is a leaf: its
// bounds, sorted, of 16, 32 or 64 bits, whichever is enough, and the values
// between them, all in arrays that the pieces share. A leaf of 16 bits with
// two values that take turns keeps no values but those two: that is what a set
// of prefixes looks like. A large piece is a node: a window, aligned to a
// power of two, divided into equal pieces; outside of the window the values
// are two. How finely a node divides follows from how many bounds are in it,
// so few prefixes take little room, many have short leaves, and addresses that
// lie close together end in a node of their own.
//
// A number may have a low half: with it, it is of 128 bits. Where few of the
// numbers of a piece differ within their low halves, and each at few places,
// the piece is a leaf of 128-bit bounds, so that one look finds a host. The low
// halves of a number that differ at more places have a map of their own.
//
// Published maps never change. An edit replaces the pieces that it touches: it
// appends to the shared arrays, behind what older maps refer to, and copies the
// nodes on the way, a page of each and the list of its pages. When more than half of what the
// arrays hold is out of use, the map is built anew.
package ranges

import (
	"example.com/secgroup/compile/internal/rank"
)

// Value is what a number maps to. Zero is what an empty map gives. Bit 30 is
// this package's.
type Value = uint32

// Deep marks the value of a number whose low halves differ, and have a map of
// their own: Deep plus the number of that map's root.
const Deep Value = 1 << 30

// piece describes a part of the domain:
//
//	bits 0-27   where its bounds begin
//	bits 28-55  16- and 128-bit leaves: twice the place of the values, plus one
//	            if two take turns; nodes: the number
//	bits 56-61  how many bounds it has, or isNode
//	bits 62-63  width of the bounds: 16, 32, 64 or 128 bits
//
// A bound is kept as the last number before it; one of 128 bits is two words,
// the high half first. A leaf of 32 or 64 bits has its values behind its
// bounds. A leaf without bounds is of 32 bits and has its value twice, so that
// what a search without numbers finds does not matter.
type piece uint64

const (
	placeBits = 28
	placeMask = 1<<placeBits - 1
	isNode    = 63
	leafMax   = 62 // bounds in a leaf, at most
	pageBits  = 5
	pageSize  = 1 << pageBits
)

func (p piece) bounds() uint { return uint(p & placeMask) }
func (p piece) values() uint { return uint(p >> placeBits & placeMask) }
func (p piece) count() uint  { return uint(p >> (2 * placeBits) & 63) }
func (p piece) width() uint  { return uint(p >> 62) }
func (p piece) isNode() bool { return p.count() == isNode }
func nodePiece(n int) piece  { return piece(n)<<placeBits | isNode<<(2*placeBits) }

// node divides a window into equal pieces.
type node struct {
	first, span   uint64 // the window: first to first+span
	shift         uint
	below, beyond Value
	pages         []*[pageSize]piece
}

// Map is an immutable map.
type Map struct {
	b16    []uint16
	b32    []uint32
	b64    []uint64
	values []Value
	nodes  []*node
	root   piece
	deep   []piece // roots of the maps below single numbers
	steps  uint    // of a search in any leaf, but for those of 128 bits
	wide   uint    // of a search in any leaf of 128 bits
}

// piece returns the piece for a number in the window, that far into it.
func (n *node) piece(at uint64) piece {
	at >>= n.shift & 63
	return n.pages[at>>pageBits][at%pageSize]
}

// outside returns the value of a number outside of the window.
func (n *node) outside(key uint64) Value {
	if key < n.first {
		return n.below
	}
	return n.beyond
}

// Find returns the value of key. It is for maps of numbers without low halves.
func (m *Map) Find(key uint64) Value { return m.find(m.root, key) }

// Find2 returns the value of a number of two halves.
func (m *Map) Find2(high, low uint64) Value {
	v := m.find2(m.root, high, low)
	if v&Deep != 0 {
		v = m.find(m.deep[v&(Deep-1)], low)
	}
	return v
}

// find returns the value of key below p, which is no leaf of 128 bits, nor has
// any.
func (m *Map) find(p piece, key uint64) Value {
	for p.isNode() {
		n := m.nodes[p.values()]
		at := key - n.first
		if at > n.span {
			return n.outside(key)
		}
		p = n.piece(at)
	}
	at, n := p.bounds(), p.count()
	switch p.width() {
	case 1:
		return m.b32[at+n+rank.Below(m.b32, at, n, m.steps, uint32(key))]
	case 0:
		return m.value(p, rank.Below(m.b16, at, n, m.steps, uint16(key)))
	}
	return Value(m.b64[at+n+rank.Below(m.b64, at, n, m.steps, key)])
}

// find2 returns the value of a number of two halves below p, or Deep and the
// number of a map of its low halves.
func (m *Map) find2(p piece, high, low uint64) Value {
	for p.isNode() {
		n := m.nodes[p.values()]
		at := high - n.first
		if at > n.span {
			return n.outside(high)
		}
		p = n.piece(at)
	}
	if p.width() != 3 {
		return m.find(p, high)
	}
	return m.value(p, rank.BelowPair(m.b64, p.bounds(), p.count(), m.wide, high, low))
}

// value returns the value of a leaf of 16 or 128 bits behind c of its bounds.
func (m *Map) value(p piece, c uint) Value {
	// Where two values take turns the mask is one, else all ones.
	v := p.values()
	return m.values[v>>1+c&(v&1-1|1)]
}

// isConstant reports whether p is of one value.
func (p piece) isConstant() bool { return p.count() == 0 }

// Large reports whether m takes more than about 128 KiB. It looks at no more than
// some hundred nodes.
func (m *Map) Large() bool {
	const most = 128 << 10
	n := 2*len(m.b16) + 4*len(m.b32) + 8*len(m.b64) + 4*len(m.values) + 8*len(m.deep)
	for _, nd := range m.nodes {
		if n > most {
			break
		}
		n += nd.bytes()
	}
	return n > most
}

func (n *node) bytes() int { return 64 + (8+8*pageSize)*cap(n.pages) }

// Bytes returns about how much memory m takes, in bytes.
func (m *Map) Bytes() int {
	n := 2*cap(m.b16) + 4*cap(m.b32) + 8*cap(m.b64) + 4*cap(m.values) + 8*cap(m.deep) + 8*cap(m.nodes)
	for _, nd := range m.nodes {
		n += nd.bytes()
	}
	return n
}
