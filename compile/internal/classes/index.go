package classes

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/ir"
)

// index finds the class of a set. It is a hash table whose function nobody
// outside can know, so that no choice of rules makes it slow. The zero index is
// empty.
type index struct {
	places []pigeonhole // a power of two, of which three in four are taken at most
	n      int
	seed   [2]uint64
}

// pigeonhole is a place that is taken, if class is not zero.
type pigeonhole struct {
	hash  uint32
	class Class
}

func (x *index) hash(set []ir.SelectorNum) uint32 {
	h := x.seed[0]
	for _, s := range set {
		high, low := bits.Mul64(h^uint64(s), x.seed[1])
		h = high ^ low
	}
	return uint32(h >> 32)
}

// find returns the class of set, given the sets of all classes.
func (x *index) find(set []ir.SelectorNum, sets *pages.Array[[]ir.SelectorNum]) (Class, bool) {
	if x.n == 0 {
		return 0, false
	}
	h := x.hash(set)
	mask := uint32(len(x.places) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		switch p := x.places[at]; {
		case p.class == 0:
			return 0, false
		case p.hash == h && slices.Equal(sets.At(p.class), set):
			return p.class, true
		}
	}
}

// add notes the class of a set that has none.
func (x *index) add(set []ir.SelectorNum, c Class) {
	if 4*(x.n+1) > 3*len(x.places) {
		x.grow(max(32, 2*x.n))
	}
	x.n++
	x.put(pigeonhole{x.hash(set), c})
}

// grow makes room for n sets in all.
func (x *index) grow(n int) {
	if x.seed[1] == 0 {
		x.seed = [2]uint64{rand.Uint64(), rand.Uint64() | 1}
	}
	old := x.places
	x.places = make([]pigeonhole, 1<<bits.Len(uint(n+n/3)))
	for _, p := range old {
		if p.class != 0 {
			x.put(p)
		}
	}
}

func (x *index) put(p pigeonhole) {
	mask := uint32(len(x.places) - 1)
	at := p.hash & mask
	for x.places[at].class != 0 {
		at = (at + 1) & mask
	}
	x.places[at] = p
}

// remove forgets c, the class of set.
func (x *index) remove(set []ir.SelectorNum, c Class) {
	mask := uint32(len(x.places) - 1)
	at := x.hash(set) & mask
	for x.places[at].class != c {
		at = (at + 1) & mask
	}
	x.places[at] = pigeonhole{}
	x.n--
	for { // what came to lie behind because of it
		at = (at + 1) & mask
		p := x.places[at]
		if p.class == 0 {
			return
		}
		x.places[at] = pigeonhole{}
		x.put(p)
	}
}
