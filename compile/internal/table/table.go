// Package table maps numbers to numbers, in a form that is cheap to publish
// after each edit.
//
// Keys come in two halves, by their highest bit: classes, and single
// selectors. A half whose keys lie close together is an array; the other is
// hashed, with the keys of both in one table.
package table

import "math/bits"

// Table is an immutable map of keys, none of them zero, to values, none of
// them zero. The zero Table is empty.
type Table struct {
	direct [2]array
	pages  [][]entry // equal in length, which is a power of two
	shift  uint8     // of a hash, to its place
	bits   uint8     // of the place in a page
}

// array holds the values of the keys from base on.
type array struct {
	base  uint32
	pages []*[arrayPage]uint32
}

type entry struct{ key, value uint32 }

const (
	pageBits  = 6
	minBits   = 2
	arrayPage = 32
	half      = 1 << 31
	// An array has a page, or a pointer to one, for at most so many places
	// per key, and some beside.
	sparse = 4
	spare  = 2 * arrayPage
)

func hash(key uint32) uint32 { return key * 0x9E3779B1 }

// Get returns the value of key, zero if there is none.
func (t *Table) Get(key uint32) uint32 {
	a := &t.direct[key>>31]
	if at := key&^half - a.base; at/arrayPage < uint32(len(a.pages)) {
		return a.pages[at/arrayPage][at%arrayPage]
	}
	if len(t.pages) == 0 {
		return 0
	}
	return t.search(key)
}

func (t *Table) search(key uint32) uint32 {
	h := hash(key) >> (t.shift & 31)
	page := t.pages[h>>(t.bits&31)]
	for at := h; ; at++ {
		switch e := page[at&uint32(len(page)-1)]; e.key {
		case key:
			return e.value
		case 0:
			return 0
		}
	}
}

// Editor makes tables, each from the one before. The zero Editor begins with
// the empty one. It is not safe for concurrent use.
type Editor struct {
	t     Table
	n     int
	used  []int     // of each page
	owned []bool    // pages that no published table has
	own   [2][]bool // the same of arrays
	count [2]int    // keys in each array
}

// Table returns the table as it is now. It costs a word for 32 places of an
// array, and three for 64 that are hashed.
func (e *Editor) Table() Table {
	clear(e.owned)
	t := e.t
	t.pages = append([][]entry(nil), t.pages...)
	for h := range t.direct {
		clear(e.own[h])
		t.direct[h].pages = append([]*[arrayPage]uint32(nil), t.direct[h].pages...)
	}
	return t
}

// Get returns the value of key as it is now.
func (e *Editor) Get(key uint32) uint32 { return e.t.Get(key) }

// Len returns the number of keys.
func (e *Editor) Len() int { return e.n + e.count[0] + e.count[1] }

func (e *Editor) page(key uint32) (page, at uint32) {
	h := hash(key) >> (e.t.shift & 31)
	return h >> e.t.bits, h & (1<<e.t.bits - 1)
}

// write returns a page that may be written to.
func (e *Editor) write(n uint32) []entry {
	if !e.owned[n] {
		e.t.pages[n] = append([]entry(nil), e.t.pages[n]...)
		e.owned[n] = true
	}
	return e.t.pages[n]
}

// place returns where key is in an array, if it has its place there. Keys
// behind an array make it longer while that leaves it dense.
func (e *Editor) place(key uint32, grow bool) (h, at uint32, ok bool) {
	h = key >> 31
	a := &e.t.direct[h]
	if at = key&^half - a.base; at/arrayPage < uint32(len(a.pages)) {
		return h, at, true
	}
	if !grow || len(a.pages) == 0 || key&^half < a.base || int(at) > sparse*e.count[h]+spare {
		return h, at, false
	}
	for at/arrayPage >= uint32(len(a.pages)) {
		first := a.base + uint32(len(a.pages))*arrayPage
		page := new([arrayPage]uint32)
		a.pages, e.own[h] = append(a.pages, page), append(e.own[h], true)
		for i := range page { // from now on the array answers for them
			k := (first + uint32(i)) | h*half
			if len(e.t.pages) > 0 {
				if v := e.t.search(k); v != 0 {
					page[i] = v
					e.remove(k)
					e.count[h]++
				}
			}
		}
	}
	return h, at, true
}

func (e *Editor) put(h, at, value uint32) {
	a := &e.t.direct[h]
	n := at / arrayPage
	was := a.pages[n][at%arrayPage]
	if was == value {
		return
	}
	if !e.own[h][n] {
		page := *a.pages[n]
		a.pages[n], e.own[h][n] = &page, true
	}
	a.pages[n][at%arrayPage] = value
	switch {
	case was == 0:
		e.count[h]++
	case value == 0:
		e.count[h]--
	}
}

// Set stores value, which is not zero, under key, which is not zero.
func (e *Editor) Set(key, value uint32) {
	if h, at, ok := e.place(key, true); ok {
		e.put(h, at, value)
		return
	}
	e.hash(key, value)
}

func (e *Editor) hash(key, value uint32) {
	if len(e.t.pages) == 0 {
		e.size(minBits)
	}
	for {
		n, at := e.page(key)
		p := e.t.pages[n]
		mask := uint32(len(p) - 1)
		for p[at].key != 0 && p[at].key != key {
			at = (at + 1) & mask
		}
		if p[at].key == key {
			if p[at].value != value {
				e.write(n)[at].value = value
			}
			return
		}
		// A page keeps a place free, so that every search ends.
		if full := len(p) - 1; 2*(e.n+1) <= len(e.t.pages)*len(p) && e.used[n]+1 <= full {
			e.write(n)[at] = entry{key, value}
			e.used[n]++
			e.n++
			return
		}
		e.size(32 - e.t.shift + 1)
	}
}

// Delete removes key, if it is there.
func (e *Editor) Delete(key uint32) {
	if h, at, ok := e.place(key, false); ok {
		e.put(h, at, 0)
	} else if len(e.t.pages) > 0 && e.t.search(key) != 0 {
		e.remove(key)
	}
}

// remove removes a key that is hashed.
func (e *Editor) remove(key uint32) {
	n, _ := e.page(key)
	old := e.t.pages[n]
	p := make([]entry, len(old))
	e.t.pages[n], e.owned[n] = p, true
	for _, o := range old {
		if o.key != 0 && o.key != key {
			insert(p, hash(o.key)>>(e.t.shift&31), o)
		}
	}
	e.used[n]--
	e.n--
}

func insert(p []entry, at uint32, o entry) {
	for mask := uint32(len(p) - 1); ; at++ {
		if p[at&mask].key == 0 {
			p[at&mask] = o
			return
		}
	}
}

// Pair is a key and its value.
type Pair struct{ Key, Value uint32 }

// Load replaces everything by list, whose keys are different.
func (e *Editor) Load(list []Pair) {
	*e = Editor{}
	var low, high, n [2]uint32
	for _, p := range list {
		h, k := p.Key>>31, p.Key&^half
		if n[h] == 0 || k < low[h] {
			low[h] = k
		}
		high[h] = max(high[h], k)
		n[h]++
	}
	hashed := uint32(0)
	for h := range n {
		if n[h] == 0 {
			continue
		}
		if !dense(low[h], high[h], int(n[h])) {
			hashed += n[h]
			continue
		}
		e.array(uint32(h), low[h], high[h])
	}
	if hashed > 0 {
		e.size(max(minBits, uint8(bits.Len32(2*hashed-1))))
	}
	for _, p := range list {
		if h, at, ok := e.place(p.Key, false); ok {
			e.put(h, at, p.Value)
		} else {
			e.hash(p.Key, p.Value)
		}
	}
}

// Pack makes arrays of the halves that are dense.
func (e *Editor) Pack() {
	if e.packed() {
		return
	}
	list := make([]Pair, 0, e.Len())
	for h, a := range e.t.direct {
		for i, page := range a.pages {
			for j, v := range page {
				if v != 0 {
					list = append(list, Pair{(a.base + uint32(i*arrayPage+j)) | uint32(h)*half, v})
				}
			}
		}
	}
	for _, page := range e.t.pages {
		for _, o := range page {
			if o.key != 0 {
				list = append(list, Pair{o.key, o.value})
			}
		}
	}
	e.Load(list)
}

// size makes a table of that many bits of places, or more, with what is
// hashed. Keys that crowd in one page, which chance does not make, get a table
// of one page.
func (e *Editor) size(b uint8) {
	for ; ; b++ {
		in := min(b, pageBits)
		if b > pageBits && 1<<b > 16*(e.n+1) {
			in = b
		}
		pages, used, owned := make([][]entry, 1<<(b-in)), make([]int, 1<<(b-in)), make([]bool, 1<<(b-in))
		all := make([]entry, 1<<b)
		for i := range pages {
			pages[i], owned[i] = all[i<<in:(i+1)<<in:(i+1)<<in], true
		}
		shift := 32 - b
		full := false
		for _, p := range e.t.pages {
			for _, o := range p {
				if o.key == 0 {
					continue
				}
				n := hash(o.key) >> shift >> in
				if used[n]++; used[n] >= 1<<in {
					full = true
					break
				}
				insert(pages[n], hash(o.key)>>shift, o)
			}
		}
		if !full {
			e.t.pages, e.used, e.owned = pages, used, owned
			e.t.shift, e.t.bits = shift, in
			return
		}
	}
}
