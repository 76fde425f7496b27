// Package ranges maps the numbers of a domain, such as all IPv4 addresses, to
// values that change at few places. It is the flat form of a prefix table: a
// look-up reads two or three cache lines and takes no branch that depends on
// how many places there are.
//
// A part of the domain is a piece, eight bytes. A small piece is a leaf: its
// bounds, sorted, of 16, 32 or 64 bits, whichever is enough, and the values
// between them, both in arrays that all pieces share. A leaf with two values
// that take turns keeps those two only: that is what a set of prefixes looks
// like. A large piece is a node: a window, aligned to a power of two, divided
// into equal pieces; outside of the window the values are two. How finely a
// node divides follows from how many bounds are in it, so few prefixes take
// little room, many have short leaves, and addresses that lie close together
// end in a node of their own.
//
// Published maps never change. An edit replaces the pieces that it touches: it
// appends to the shared arrays, behind what older maps refer to, and copies a
// page of pieces for each node on the way. When more than half of what the
// arrays hold is out of use, the map is built anew.
package ranges

import (
	"example.com/secgroup/compile/internal/rank"
)

// Value is what a number maps to. Zero is what an empty map gives. Bit 30 is
// this package's.
type Value = uint32

// Deep marks the value of a number that has a map of its own: Deep plus the
// number of that map's root.
const Deep Value = 1 << 30

// piece describes a part of the domain:
//
//	bits 0-27   where its bounds begin
//	bits 28-55  where its values begin; the number of a node
//	bits 56-61  how many bounds it has, or isNode
//	bits 62-63  width of the bounds: 16, 32 or 64 bits
//
// Values of a leaf lie at v+count, or, if the two take turns, which is marked
// by the lowest bit of the values' place, at v+count%2.
type piece uint64

const (
	placeBits = 28
	placeMask = 1<<placeBits - 1
	isNode    = 63
	leafMax   = 48 // bounds in a leaf
	pageBits  = 8
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
	pages         [][]piece
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
	step   uint    // of every leaf
}

// Find returns the value of key.
func (m *Map) Find(key uint64) Value { return m.find(m.root, key) }

// Find2 returns the value of a number of two halves: that of high, or, where
// it is deep, that of low in its map.
func (m *Map) Find2(high, low uint64) Value {
	v := m.find(m.root, high)
	if v&Deep != 0 {
		v = m.find(m.deep[v&(Deep-1)], low)
	}
	return v
}

// find returns the value of key below p.
func (m *Map) find(p piece, key uint64) Value {
	for p.isNode() {
		n := m.nodes[p.values()]
		at := key - n.first
		if at > n.span {
			if key < n.first {
				return n.below
			}
			return n.beyond
		}
		at >>= n.shift
		p = n.pages[at>>pageBits][at%(1<<pageBits)]
	}
	var c uint
	switch p.width() {
	case 0:
		c = rank.Of(m.b16, p.bounds(), p.count(), m.step, uint16(key))
	case 1:
		c = rank.Of(m.b32, p.bounds(), p.count(), m.step, uint32(key))
	default:
		c = rank.Of(m.b64, p.bounds(), p.count(), m.step, key)
	}
	v := p.values()
	// The lowest bit is set where two values take turns: then the mask leaves
	// the lowest bit of the count.
	turns := v & 1
	return m.values[v>>1+c&(turns-1|1)]
}

// Bytes returns about how much memory m takes, in bytes.
func (m *Map) Bytes() int {
	n := 2*cap(m.b16) + 4*cap(m.b32) + 8*cap(m.b64) + 4*cap(m.values) + 8*cap(m.deep) + 8*cap(m.nodes)
	for _, nd := range m.nodes {
		n += 80 + 24*cap(nd.pages)
		for _, p := range nd.pages {
			n += 8 * cap(p)
		}
	}
	return n
}
