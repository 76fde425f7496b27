// Package classes maps addresses to classes: the sets of selectors that
// contain them. Rules name selectors, so who is a member of what changes here
// and nowhere else.
//
// A Space knows which prefixes the selectors of one VPC have, in one family.
// It keeps them sorted, each with the class of its addresses, and publishes
// them in the flat form of package ranges, of which a change replaces the
// touched pieces only.
package classes

import (
	"slices"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/ir"
)

// Class stands for a set of selectors: Single plus the number of the only one,
// or what a Registry numbered. Zero is the empty set. Bit 30 is never set.
type Class = uint32

// Single marks the class of one selector.
const Single Class = 1 << 31

// Limit is the number that selectors and classes stay below.
const Limit = 1 << 30

// Registry numbers the sets of two and more selectors of one family. The zero
// Registry is ready to use; it is not safe for concurrent use. A set keeps its
// number while it is in use; numbers out of use are handed out again only
// after Flush.
type Registry struct {
	sets  pages.Array[[]ir.SelectorNum] // by class, ascending
	known index
	uses  []int32 // by class
	free  []Class
	with  map[ir.SelectorNum][]Class // the classes that have a selector; nil until somebody asks
	made  []Class                    // since Flush
	idle  []Class                    // out of use at some time since Flush
	memo  []joined                   // by hash; what was joined since Flush
	parts [][2]Class                 // by class: what it was joined from, until the next Flush but one
	young []Class                    // made before the last Flush
	rest  []ir.SelectorNum           // room for sets
	room  int                        // how many classes the first one makes room for
}

// joined is the outcome of a join.
type joined struct{ a, b, both Class }

const memoBits = 10

// Sets returns the selectors of each class that is no single one, as they are
// now.
func (r *Registry) Sets() *pages.Array[[]ir.SelectorNum] { return r.sets.Frozen() }

// Set returns the selectors of c, ascending.
func (r *Registry) Set(c Class) []ir.SelectorNum {
	switch {
	case c == 0:
		return nil
	case c&Single != 0:
		return []ir.SelectorNum{ir.SelectorNum(c &^ Single)}
	}
	return r.sets.At(c)
}

// With returns the classes that have selector s, but for the single one. They
// are valid until the next change of a space.
func (r *Registry) With(s ir.SelectorNum) []Class {
	if r.with == nil && r.known.Len() > 0 {
		r.with = make(map[ir.SelectorNum][]Class)
		for c := range uint32(len(r.uses)) {
			for _, s := range r.sets.At(c) {
				r.with[s] = append(r.with[s], c)
			}
		}
	}
	return r.with[s]
}

// Dropped is a class that is no more.
type Dropped struct {
	Class Class
	Set   []ir.SelectorNum
}

// Flush forgets the classes that are out of use, and returns them, with those
// that were made since the last Flush and are in use.
func (r *Registry) Flush() (made []Class, dropped []Dropped) {
	made = slices.DeleteFunc(r.made, func(c Class) bool { return r.uses[c] == 0 })
	slices.Sort(r.idle)
	for _, c := range slices.Compact(r.idle) {
		set := r.sets.At(c)
		if r.uses[c] > 0 || set == nil {
			continue
		}
		r.sets.Set(c, nil)
		r.known.remove(set, c)
		for _, s := range set {
			if r.with == nil {
				break
			}
			list := r.with[s]
			i := slices.Index(list, c)
			list[i] = list[len(list)-1]
			if list = list[:len(list)-1]; len(list) > 0 {
				r.with[s] = list
			} else {
				delete(r.with, s)
			}
		}
		r.free = append(r.free, c)
		dropped = append(dropped, Dropped{c, set})
	}
	for _, c := range r.young {
		r.parts[c] = [2]Class{}
	}
	r.young, r.made, r.idle = made, nil, r.idle[:0]
	r.memo, r.rest = nil, nil
	return made, dropped
}

// Parts returns two classes whose selectors together are those of c, both zero if
// none are known: they are of most classes that the last Flush returned. It is
// to be asked before the next change of a space.
func (r *Registry) Parts(c Class) (a, b Class) {
	p := r.parts[c]
	for _, of := range p {
		if of&Single == 0 && r.uses[of] == 0 {
			return 0, 0
		}
	}
	return p[0], p[1]
}

// expect makes room, if there was none yet, for the classes that list may bring.
func (r *Registry) expect(list []entry) {
	if len(r.uses) > 0 {
		return
	}
	last := Class(0)
	for i := range list { // those of one set alone are alike, however many they are
		if own := list[i].own; own != last {
			r.room++
			last = own
		}
	}
}

// acquire returns the class of set, which must be ascending, and counts a use.
func (r *Registry) acquire(set []ir.SelectorNum) Class {
	switch len(set) {
	case 0:
		return 0
	case 1:
		return Single | Class(set[0])
	}
	c, ok := r.known.find(set, &r.sets)
	if !ok {
		if len(r.uses) == 0 { // class 0 is the empty one
			n := max(64, r.room) + 1
			r.uses, r.parts, r.made = make([]int32, 1, n), make([][2]Class, 1, n), make([]Class, 0, n)
			r.known.Grow(n)
		}
		if n := len(r.free); n > 0 {
			c, r.free = r.free[n-1], r.free[:n-1]
			r.parts[c] = [2]Class{}
		} else {
			c = Class(len(r.uses))
			r.uses, r.parts = append(r.uses, 0), append(r.parts, [2]Class{})
		}
		r.known.add(set, c)
		r.sets.Set(c, r.keep(set))
		for _, s := range set {
			if r.with == nil {
				break
			}
			r.with[s] = append(r.with[s], c)
		}
		r.made = append(r.made, c)
	}
	r.uses[c]++
	return c
}

// keep returns a copy of set.
func (r *Registry) keep(set []ir.SelectorNum) []ir.SelectorNum {
	n := len(set)
	if n > 32 || len(r.made) < 16 { // few: each by itself, so that none keeps others
		return slices.Clone(set)
	}
	if n > len(r.rest) {
		r.rest = make([]ir.SelectorNum, 256)
	}
	kept := r.rest[:n:n]
	r.rest = r.rest[n:]
	copy(kept, set)
	return kept
}

func (r *Registry) retain(c Class) Class {
	if c != 0 && c&Single == 0 {
		r.uses[c]++
	}
	return c
}

func (r *Registry) release(c Class) {
	if c == 0 || c&Single != 0 {
		return
	}
	if r.uses[c]--; r.uses[c] == 0 {
		r.idle = append(r.idle, c)
	}
}

// join returns the class of what is in a or b, and counts a use.
func (r *Registry) join(a, b Class) Class {
	if a == 0 || a == b {
		return r.retain(b)
	}
	if b == 0 {
		return r.retain(a)
	}
	// No number changes its meaning before Flush.
	if r.memo == nil {
		r.memo = make([]joined, 1<<memoBits)
	}
	m := &r.memo[(a*0x9E3779B1^b*0x85EBCA6B)>>(32-memoBits)]
	if m.both != 0 && m.a == a && m.b == b {
		return r.retain(m.both)
	}
	var buf [32]ir.SelectorNum
	set := buf[:0]
	x, y := r.view(a, new([1]ir.SelectorNum)), r.view(b, new([1]ir.SelectorNum))
	for len(x) > 0 && len(y) > 0 {
		switch {
		case x[0] < y[0]:
			set, x = append(set, x[0]), x[1:]
		case x[0] > y[0]:
			set, y = append(set, y[0]), y[1:]
		default:
			x = x[1:]
		}
	}
	set = append(append(set, x...), y...)
	n := len(r.made)
	c := r.acquire(set)
	if len(r.made) > n {
		r.parts[c] = [2]Class{a, b}
	}
	m.a, m.b, m.both = a, b, c
	return c
}

func (r *Registry) view(c Class, one *[1]ir.SelectorNum) []ir.SelectorNum {
	if c&Single != 0 {
		one[0] = ir.SelectorNum(c &^ Single)
		return one[:]
	}
	return r.sets.At(c)
}

// without returns the class of a less s, and counts a use.
func (r *Registry) without(a Class, s ir.SelectorNum) Class {
	set := slices.Clone(r.Set(a))
	if i, found := slices.BinarySearch(set, s); found {
		set = slices.Delete(set, i, i+1)
	}
	return r.acquire(set)
}

// has reports whether s is in a.
func (r *Registry) has(a Class, s ir.SelectorNum) bool {
	if a == Single|Class(s) {
		return true
	}
	if a == 0 || a&Single != 0 {
		return false
	}
	_, found := slices.BinarySearch(r.sets.At(a), s)
	return found
}
