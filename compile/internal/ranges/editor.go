package ranges

import (
	"math/bits"

	"example.com/secgroup/compile/internal/rank"
)

// Editor makes maps of one domain, each from the one before. It is not safe
// for concurrent use.
type Editor struct {
	m       Map
	last    uint64 // of the domain
	grown   int    // entries appended since the map was built whole
	size    int    // entries when it was
	owned   bool   // no published map has the list of nodes
	leaf    int    // bounds in a leaf, at most
	per     int    // and about, below a new node
	lows    []Run  // low halves that no leaf has yet: see brief
	scratch []Run
	palette [256]struct{ place, a, b uint32 }
	single  [256]struct{ place, a uint32 }
}

// NewEditor returns an editor of the empty map of the numbers 0 to last, which
// is a power of two minus one.
func NewEditor(last uint64) *Editor {
	e := &Editor{last: last}
	e.Build([]Run{{}})
	return e
}

// Map returns the map as it is now.
func (e *Editor) Map() *Map {
	e.owned = false
	m := e.m
	return &m
}

// Stale reports whether so much was replaced that the map should be built
// whole.
func (e *Editor) Stale() bool { return e.grown > 2*e.size+1024 }

// Build replaces everything: runs covers the domain from 0. Values that are
// Deep are those that Nested returned since Reset.
func (e *Editor) Build(runs []Run) {
	if e.m.b16 == nil {
		e.Reset(0)
	}
	e.leaf, e.per = 7, 2
	if len(runs) > 1<<16 { // more than the cache holds: a node less is worth some steps
		e.leaf, e.per = 31, 12
		if e.last >= 1<<32 { // a cache line has fewer
			e.leaf, e.per = 15, 4
		}
	}
	e.m.root = e.piece(0, e.last, runs)
	e.size, e.grown = e.grown, 0
	e.lows = nil
}

// Reset empties the arrays, before all of the map is built anew, and makes room
// for about what n prefixes take, spread evenly. Maps that were published keep
// theirs.
func (e *Editor) Reset(n int) {
	var n16, n32 int
	if n >= 1<<16 {
		n16 = 2 * n
	} else {
		n32 = 5 * n
	}
	// Searches look at the place, or pair, before a list, and at the first of none.
	e.m = Map{values: make([]Value, 1)}
	if e.last >= 1<<32 {
		e.m.b16, e.m.b32, e.m.b64 = make([]uint16, 1), make([]uint32, 1), make([]uint64, 2, 2+5*n)
	} else {
		e.m.b16, e.m.b32 = make([]uint16, 1, 1+n16), make([]uint32, 1, 1+n32)
	}
	e.grown = 0
	clear(e.palette[:])
	clear(e.single[:])
}

// Clip gives back the room that the arrays have to grow.
func (e *Editor) Clip() {
	e.m.b16, e.m.b32, e.m.b64 = clip(e.m.b16), clip(e.m.b32), clip(e.m.b64)
	e.m.values, e.m.deep = clip(e.m.values), clip(e.m.deep)
}

func clip[T any](list []T) []T { return append(make([]T, 0, len(list)), list...) }

// Replace gives first to last what runs says, which begins at first and stays
// within. First to last is an aligned part: its size is a power of two. Values
// that are Deep are those that Nested returned since the last change.
func (e *Editor) Replace(first, last uint64, runs []Run) {
	e.m.root = e.replace(e.m.root, 0, e.last, first, last, runs)
	e.lows = e.lows[:0]
}

// replace returns the piece for lo to hi, of which first to last becomes runs.
func (e *Editor) replace(p piece, lo, hi, first, last uint64, runs []Run) piece {
	if first <= lo && hi <= last {
		return e.piece(lo, hi, runs)
	}
	if !p.isNode() {
		return e.piece(lo, hi, splice(e.runs(nil, p, lo, hi), first, last, hi, runs))
	}
	was := e.m.nodes[p.values()]
	end := was.first + was.span
	switch {
	case last < was.first || first > end:
		return e.widen(p, was, first, last, runs)
	case first < was.first || last > end:
		return e.piece(lo, hi, splice(e.runs(nil, p, lo, hi), first, last, hi, runs))
	}
	n := *was
	n.pages = append(make([]*[pageSize]piece, 0, len(was.pages)), was.pages...)
	copied := -1
	for at := (first - n.first) >> n.shift; at <= (last-n.first)>>n.shift; at++ {
		page, i := int(at>>pageBits), at%pageSize
		if page != copied {
			fresh := *n.pages[page]
			n.pages[page] = &fresh
			copied = page
		}
		from := n.first + at<<n.shift
		to := from + (1<<n.shift - 1)
		for len(runs) > 1 && runs[1].Start <= from {
			runs = runs[1:]
		}
		k := 1
		for k < len(runs) && runs[k].Start <= to {
			k++
		}
		n.pages[page][i] = e.replace(n.pages[page][i], from, to, max(first, from), min(last, to), runs[:k])
	}
	e.own()
	e.m.nodes[p.values()] = &n
	return p
}

// own makes the list of nodes one that may be written to.
func (e *Editor) own() {
	if !e.owned {
		e.m.nodes = append(make([]*node, 0, len(e.m.nodes)+1), e.m.nodes...)
		e.owned = true
	}
}

// widen returns a node around one whose window does not have first to last.
func (e *Editor) widen(p piece, was *node, first, last uint64, runs []Run) piece {
	// The window is the smallest that has both: they differ in its top bit.
	width := uint(bits.Len64((was.first ^ first) | (was.first ^ last)))
	n := node{shift: max(uint(bits.Len64(was.span)), width-min(width, 4)), below: was.below, beyond: was.beyond}
	n.span = 1<<width - 1
	n.first = was.first &^ n.span
	list := new([pageSize]piece)
	n.pages = []*[pageSize]piece{list}
	below, beyond := e.constant(was.below), e.constant(was.beyond)
	for i := range n.span>>n.shift + 1 {
		from := n.first + i<<n.shift
		to := from + (1<<n.shift - 1)
		switch {
		case to < was.first:
			list[i] = below
		case from > was.first+was.span:
			list[i] = beyond
		default:
			list[i] = p
		}
	}
	p = e.node(n)
	return e.replace(p, n.first, n.first+n.span, first, last, runs)
}

func (e *Editor) node(n node) piece {
	e.own()
	e.m.nodes = append(e.m.nodes, &n)
	e.grown += 64
	return nodePiece(len(e.m.nodes) - 1)
}

// piece returns a piece for lo to hi: the first of runs is taken to start at
// lo, and all others lie within. Neighbours differ.
func (e *Editor) piece(lo, hi uint64, runs []Run) piece {
	k := len(runs) - 1
	if most := e.leaf; k <= most || k <= 15 && hi-lo == e.last {
		if e.anyBrief(runs) {
			return e.wide(runs)
		}
		if k == 0 {
			return e.constant(runs[0].Value)
		}
		width := uint(0)
		if size := bits.Len64(hi - lo); size > 32 {
			width = 2
		} else if size > 16 {
			width = 1
		}
		return e.small(width, runs)
	}
	window := uint(bits.Len64(runs[1].Start ^ runs[k].Start))
	shift := window - min(window, max(1, uint(bits.Len(uint(k/e.per)))))
	if e.leaf == 31 && (shift == 17 || shift == 18) {
		shift = 16 // finer pieces cost less than longer bounds
	}
	n := node{span: 1<<window - 1, shift: shift, below: runs[0].Value, beyond: runs[k].Value}
	n.first = runs[1].Start &^ n.span
	list := make([][pageSize]piece, n.span>>shift>>pageBits+1)
	for i := range n.span>>shift + 1 {
		from := n.first + i<<shift
		to := from + (1<<shift - 1)
		j := 1
		for j < len(runs) && runs[j].Start <= to {
			if runs[j].Start == from { // no bound: the piece begins with it
				runs, j = runs[1:], 0
			}
			j++
		}
		list[i>>pageBits][i%pageSize] = e.piece(from, to, runs[:j])
		runs = runs[j-1:]
	}
	for i := range list {
		n.pages = append(n.pages, &list[i])
	}
	e.grown += 2 << (window - shift)
	return e.node(n)
}

// constant returns a piece of one value.
func (e *Editor) constant(v Value) piece {
	one := &e.single[v*0x9E3779B1>>24]
	if one.place == 0 || one.a != v {
		one.place, one.a = uint32(len(e.m.b32)), v
		e.m.b32 = append(e.m.b32, v, v)
	}
	e.grown++
	return piece(one.place) | 1<<62
}

// small returns a leaf with one bound or more.
func (e *Editor) small(width uint, runs []Run) piece {
	k := len(runs) - 1
	e.m.steps = max(e.m.steps, rank.Steps(uint(k)))
	e.grown += 2*k + 1
	p := piece(k)<<(2*placeBits) | piece(width)<<62
	switch width {
	case 0:
		p |= piece(len(e.m.b16)) | piece(e.place(runs))<<placeBits
		for _, r := range runs[1:] {
			e.m.b16 = append(e.m.b16, uint16(r.Start-1))
		}
	case 1:
		p |= piece(len(e.m.b32))
		for _, r := range runs[1:] {
			e.m.b32 = append(e.m.b32, uint32(r.Start-1))
		}
		for _, r := range runs {
			e.m.b32 = append(e.m.b32, r.Value)
		}
	default:
		p |= piece(len(e.m.b64))
		for _, r := range runs[1:] {
			e.m.b64 = append(e.m.b64, r.Start-1)
		}
		for _, r := range runs {
			e.m.b64 = append(e.m.b64, uint64(r.Value))
		}
	}
	return p
}

// place returns where the values of a leaf of 16 bits lie.
func (e *Editor) place(runs []Run) uint32 {
	a, b := runs[0].Value, runs[1].Value
	for i, r := range runs {
		if i%2 == 0 && r.Value != a || i%2 == 1 && r.Value != b {
			at := uint32(len(e.m.values)) << 1
			for _, r := range runs {
				e.m.values = append(e.m.values, r.Value)
			}
			return at
		}
	}
	pal := &e.palette[(a*0x9E3779B1^b*0x85EBCA6B)>>24]
	if pal.place == 0 || pal.a != a || pal.b != b {
		pal.place, pal.a, pal.b = uint32(len(e.m.values))<<1|1, a, b
		e.m.values = append(e.m.values, a, b)
	}
	return pal.place
}
