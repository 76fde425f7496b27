// Package seeded has a hash table of numbers whose hash function nobody outside
// can know, so that no choice of rules makes it slow. It has no pointers in it.
package seeded

import (
	"math/bits"
	"math/rand/v2"
)

// Table finds numbers by the hash of what they stand for, which its owner keeps
// and compares. The zero Table is empty; it is for one goroutine at a time.
type Table struct {
	places []place // a power of two, of which three in four are taken at most
	n      int
	seed   [2]uint64
}

// place is taken if its number is not zero.
type place struct{ hash, number uint32 }

// Len returns how many numbers there are.
func (t *Table) Len() int { return t.n }

// Grow makes room for n numbers in all.
func (t *Table) Grow(n int) {
	old := t.places
	t.places = make([]place, 1<<bits.Len(uint(n+n/3)))
	for _, p := range old {
		if p.number != 0 {
			t.put(p)
		}
	}
}

// Seed is what a hash of several words begins with.
func (t *Table) Seed() uint64 {
	if t.seed[1] == 0 {
		t.choose()
	}
	return t.seed[0]
}

func (t *Table) choose() { t.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1} }

// Mix takes one more word into a hash.
func (t *Table) Mix(h, word uint64) uint64 {
	high, low := bits.Mul64(h^word, t.seed[1])
	return high ^ low
}

// Hash ends a hash.
func Hash(h uint64) uint32 { return uint32(h >> 32) }

// Next returns the next number with that hash, 0 if there are no more. At is the
// hash for the first one, and then what Next returned last.
func (t *Table) Next(hash, at uint32) (number, next uint32) {
	if t.n == 0 {
		return 0, at
	}
	places := t.places
	mask := uint32(len(places) - 1)
	for {
		p := places[at&mask]
		at++
		if p.number == 0 || p.hash == hash {
			return p.number, at
		}
	}
}

// Add notes a number, which is not zero, under a hash.
func (t *Table) Add(hash, number uint32) {
	if 4*(t.n+1) > 3*len(t.places) {
		t.Grow(max(16, 2*t.n))
	}
	t.n++
	t.put(place{hash, number})
}

func (t *Table) put(p place) {
	mask := uint32(len(t.places) - 1)
	at := p.hash & mask
	for t.places[at].number != 0 {
		at = (at + 1) & mask
	}
	t.places[at] = p
}

// Remove forgets a number, which is there under that hash.
func (t *Table) Remove(hash, number uint32) {
	mask := uint32(len(t.places) - 1)
	at := hash & mask
	for t.places[at].number != number {
		at = (at + 1) & mask
	}
	t.places[at] = place{}
	t.n--
	for { // what came to lie behind because of it
		at = (at + 1) & mask
		p := t.places[at]
		if p.number == 0 {
			return
		}
		t.places[at] = place{}
		t.put(p)
	}
}
