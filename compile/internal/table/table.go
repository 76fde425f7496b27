// Package table maps numbers to numbers, in a form that is cheap to publish
// after each edit.
package table

import "math/bits"

// Table is an immutable map of keys, none of them zero, to values. The zero
// Table is empty.
type Table struct {
	pages [][]entry // equal in length, which is a power of two
	shift uint8     // of a hash, to its place
	bits  uint8     // of the place in a page
}

type entry struct{ key, value uint32 }

const (
	pageBits = 6
	minBits  = 2
)

func hash(key uint32) uint32 { return key * 0x9E3779B1 }

// Get returns the value of key.
func (t *Table) Get(key uint32) (value uint32, ok bool) {
	if len(t.pages) == 0 {
		return 0, false
	}
	h := hash(key) >> (t.shift & 31)
	page := t.pages[h>>(t.bits&31)]
	for at := h; ; at++ {
		switch e := page[at&uint32(len(page)-1)]; e.key {
		case key:
			return e.value, true
		case 0:
			return 0, false
		}
	}
}

// Editor makes tables, each from the one before. The zero Editor begins with
// the empty one. It is not safe for concurrent use.
type Editor struct {
	t     Table
	n     int
	used  []int  // of each page
	owned []bool // pages that no published table has
}

// Table returns the table as it is now. It costs three words per 64 places.
func (e *Editor) Table() Table {
	clear(e.owned)
	t := e.t
	t.pages = append([][]entry(nil), t.pages...)
	return t
}

// Len returns the number of keys.
func (e *Editor) Len() int { return e.n }

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

// Set stores value under key, which is not zero.
func (e *Editor) Set(key, value uint32) {
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
		e.size(e.bits() + 1)
	}
}

// Delete removes key, if it is there.
func (e *Editor) Delete(key uint32) {
	if len(e.t.pages) == 0 {
		return
	}
	if _, ok := e.t.Get(key); !ok {
		return
	}
	n, _ := e.page(key)
	old := e.t.pages[n]
	p := make([]entry, len(old))
	e.t.pages[n], e.owned[n] = p, true
	for _, o := range old {
		if o.key != 0 && o.key != key {
			put(p, hash(o.key)>>(e.t.shift&31), o)
		}
	}
	e.used[n]--
	e.n--
}

func put(p []entry, at uint32, o entry) {
	for mask := uint32(len(p) - 1); ; at++ {
		if p[at&mask].key == 0 {
			p[at&mask] = o
			return
		}
	}
}

// Reset empties the table and makes room for n keys.
func (e *Editor) Reset(n int) {
	*e = Editor{}
	if n > 0 {
		e.size(max(minBits, uint8(bits.Len(uint(2*n-1)))))
	}
}

func (e *Editor) bits() uint8 { return 32 - e.t.shift }

// size makes a table of that many bits of places, or more, with what is there.
// Keys that crowd in one page, which chance does not make, get a table of one
// page.
func (e *Editor) size(b uint8) {
	for ; ; b++ {
		old := e.t.pages
		in := min(b, pageBits)
		if b > pageBits && 1<<b > 16*(e.n+1) {
			in = b
		}
		next := Editor{n: e.n, used: make([]int, 1<<(b-in)), owned: make([]bool, 1<<(b-in))}
		next.t = Table{pages: make([][]entry, 1<<(b-in)), shift: 32 - b, bits: in}
		all := make([]entry, 1<<b)
		for i := range next.t.pages {
			next.t.pages[i], next.owned[i] = all[i<<in:(i+1)<<in:(i+1)<<in], true
		}
		full := false
		for _, p := range old {
			for _, o := range p {
				if o.key == 0 {
					continue
				}
				n, _ := next.page(o.key)
				if next.used[n]++; next.used[n] >= 1<<in {
					full = true
					break
				}
				put(next.t.pages[n], hash(o.key)>>next.t.shift, o)
			}
		}
		if !full {
			*e = next
			return
		}
	}
}

// Get returns the value of key as it is now.
func (e *Editor) Get(key uint32) (value uint32, ok bool) { return e.t.Get(key) }
