package classes

import (
	"slices"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/seeded"
	"example.com/secgroup/compile/ir"
)

// index finds the class of a set. The zero index is empty.
type index struct{ seeded.Table }

func (x *index) hash(set []ir.SelectorNum) uint32 {
	h := x.Seed()
	for _, s := range set {
		h = x.Mix(h, uint64(s))
	}
	return seeded.Hash(h)
}

// find returns the class of set, given the sets of all classes.
func (x *index) find(set []ir.SelectorNum, sets *pages.Array[[]ir.SelectorNum]) (Class, bool) {
	h := x.hash(set)
	for c, at := x.Next(h, h); c != 0; c, at = x.Next(h, at) {
		if slices.Equal(sets.At(c), set) {
			return c, true
		}
	}
	return 0, false
}

// add notes the class of a set that has none.
func (x *index) add(set []ir.SelectorNum, c Class) { x.Add(x.hash(set), c) }

// remove forgets c, the class of set.
func (x *index) remove(set []ir.SelectorNum, c Class) { x.Remove(x.hash(set), c) }
