// Package classes maps addresses to classes: the sets of selectors that
// contain them. Rules name selectors, so who is a member of what changes here
// and nowhere else.
package classes

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/ir"
)

// Class numbers a set of selectors. Zero is the empty set.
type Class = uint32

// Registry holds every class in use once. The zero Registry is ready to use;
// it is not safe for concurrent use.
type Registry struct {
	sets  pages.Array[[]ir.SelectorNum] // by class, ascending
	byKey map[string]Class
	uses  []int // prefixes that have the class
	free  []Class
}

// Sets returns the selectors of each class, as they are now.
func (r *Registry) Sets() *pages.Array[[]ir.SelectorNum] { return r.sets.Frozen() }

func key(set []ir.SelectorNum) string {
	b := make([]byte, 0, 4*len(set))
	for _, s := range set {
		b = binary.BigEndian.AppendUint32(b, uint32(s))
	}
	return string(b)
}

// acquire returns the class of set, which must be ascending, and counts a use.
func (r *Registry) acquire(set []ir.SelectorNum) Class {
	if len(set) == 0 {
		return 0
	}
	k := key(set)
	c, ok := r.byKey[k]
	if !ok {
		if r.byKey == nil {
			r.byKey = make(map[string]Class)
			r.uses = make([]int, 1) // class 0 is the empty one
		}
		if n := len(r.free); n > 0 {
			c, r.free = r.free[n-1], r.free[:n-1]
		} else {
			c = Class(len(r.uses))
			r.uses = append(r.uses, 0)
		}
		r.byKey[k] = c
		r.sets.Set(c, slices.Clone(set))
	}
	r.uses[c]++
	return c
}

func (r *Registry) release(c Class) {
	if c == 0 {
		return
	}
	if r.uses[c]--; r.uses[c] == 0 {
		delete(r.byKey, key(r.sets.At(c)))
		r.sets.Set(c, nil)
		r.free = append(r.free, c)
	}
}

// Space is the addresses of one VPC. It is not safe for concurrent use, but
// the tables it publishes are.
type Space struct {
	reg    *Registry
	direct map[netip.Prefix]map[ir.SelectorNum]int // how often a selector has exactly that prefix
	table  *bart.Table[Class]
	owned  bool // table was not published yet: write in place
}

// NewSpace returns an empty space whose classes are in r.
func NewSpace(r *Registry) *Space {
	return &Space{reg: r, direct: make(map[netip.Prefix]map[ir.SelectorNum]int), table: new(bart.Table[Class]), owned: true}
}

// Table returns the class of each address as it is now: that of the longest
// prefix that contains it. It never changes.
func (s *Space) Table() *bart.Table[Class] {
	s.owned = false
	return s.table
}

// Expect prepares for about n writes: many of them are cheaper on a copy of
// the whole table than one copied path each.
func (s *Space) Expect(n int) {
	if !s.owned && n > 64 && n > s.table.Size()/8 {
		s.table, s.owned = s.table.Clone(), true
	}
}

// Empty reports whether no selector has any prefix.
func (s *Space) Empty() bool { return len(s.direct) == 0 }

func (s *Space) put(p netip.Prefix, set []ir.SelectorNum) {
	old, had := s.table.Get(p)
	c := s.reg.acquire(set)
	if had {
		s.reg.release(old)
	}
	switch {
	case had && old == c:
	case s.owned:
		s.table.Insert(p, c)
	default:
		s.table = s.table.InsertPersist(p, c)
	}
}

func (s *Space) drop(p netip.Prefix) {
	if old, had := s.table.Get(p); had {
		s.reg.release(old)
	}
	if s.owned {
		s.table.Delete(p)
	} else {
		s.table = s.table.DeletePersist(p)
	}
}

// inherited returns the class of the longest stored prefix that strictly
// contains p.
func (s *Space) inherited(p netip.Prefix) []ir.SelectorNum {
	if p.Bits() == 0 {
		return nil
	}
	up := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked()
	_, c, ok := s.table.LookupPrefixLPM(up)
	if !ok {
		return nil
	}
	return s.reg.sets.At(c)
}

// set returns the class that p must have.
func (s *Space) set(p netip.Prefix) []ir.SelectorNum {
	set := slices.Clone(s.inherited(p))
	for sel := range s.direct[p] {
		if i, found := slices.BinarySearch(set, sel); !found {
			set = slices.Insert(set, i, sel)
		}
	}
	return set
}

// Add notes that sel has prefix p, once more if it has it already, and reports
// whether this is the first time.
func (s *Space) Add(p netip.Prefix, sel ir.SelectorNum) bool {
	d := s.direct[p]
	if d == nil {
		d = make(map[ir.SelectorNum]int, 1)
		s.direct[p] = d
	}
	d[sel]++
	if d[sel] > 1 {
		return false
	}
	s.put(p, s.set(p))
	s.inherit(p)
	return true
}

// Remove takes one Add back and reports whether it was the last one.
func (s *Space) Remove(p netip.Prefix, sel ir.SelectorNum) bool {
	d := s.direct[p]
	if d[sel]--; d[sel] > 0 {
		return false
	}
	delete(d, sel)
	if len(d) == 0 {
		delete(s.direct, p)
		s.drop(p)
	} else {
		s.put(p, s.set(p))
	}
	s.inherit(p)
	return true
}

// inherit renews the classes of the stored prefixes inside p, the wider first.
func (s *Space) inherit(p netip.Prefix) {
	var inside []netip.Prefix
	for q := range s.table.Subnets(p) {
		if q != p {
			inside = append(inside, q)
		}
	}
	slices.SortFunc(inside, netip.Prefix.Compare)
	for _, q := range inside {
		s.put(q, s.set(q))
	}
}
