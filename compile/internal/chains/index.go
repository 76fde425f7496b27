// Package chains is the form of a policy's chains that a match reads: the
// first rule for a service, given the class of the remote address.
//
// Rules for any peer lie in one list of services (package services), found by
// the service alone. For rules with a peer there is a list for each selector
// that they name, and one for each class, that is, set of selectors, that some
// address has: the lists of its selectors, merged. So one look-up of the class
// in a table, and one search in a list, decide, however many rules and
// selectors there are. An address of one selector needs no merged list: that
// of the selector is it.
//
// Merged lists are an index, not the truth: a class without one is answered
// from the lists of its selectors, one after the other. That is what bounds
// the memory where a policy names many selectors that overlap in every way:
// the merged lists of a chain have at most piecesPerRule pieces for each of its
// rules, and piecesFree beside; a piece is eight bytes.
//
// A list refers to rules by slots, which stay while the rules do: a rule that
// is put between others changes no list that does not have it. Order among the
// rules is told by labels with gaps between them, which matter only where
// lists are merged.
package chains

import (
	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/internal/table"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Index is a chain. It is immutable.
type Index struct {
	sides     [2]side
	order     services.Order // outcomes by slot
	fallback  ir.Verdict
	firstPeer uint64 // the place of the first rule with a peer: an earlier match decides
	stateless bool   // some rule is stateless
}

// side is what a chain has for one family.
type side struct {
	words services.Words
	lists table.Table  // by class
	any   services.Ref // the rules for any peer
	walks bool         // a class without a list may have selectors with some
}

// An outcome is what the rule of a slot does, and its place among the others:
// from the highest bit, a label of 30 bits, whether it is a platform rule,
// whether it accepts, and its number.
const (
	accepts   = 1 << 32
	platform  = 1 << 33
	labelBits = 30
	labelAt   = 34
)

func verdict(outcome uint64, tracked bool) ir.Verdict {
	v := ir.Verdict{Action: sg.Drop, Reason: ir.ReasonRule, Rule: ir.RuleNum(outcome)}
	if outcome&platform != 0 {
		v.Reason = ir.ReasonPlatform
	}
	if outcome&accepts != 0 {
		v.Action, v.Stateless = sg.Accept, !tracked
	}
	return v
}

// Fallback returns what happens where no rule matches.
func (x *Index) Fallback() ir.Verdict { return x.fallback }

// Any returns what the rules for any peer make of a service.
func (x *Index) Any(family int, key uint32) services.Hit {
	s := &x.sides[family]
	if s.any == 0 {
		return 0
	}
	return s.words.FindSame(s.any, key)
}

// Decides reports whether a hit among the rules for any peer decides, whatever
// the remote address.
func (x *Index) Decides(hit services.Hit) bool {
	return hit != 0 && x.order[hit>>1] < x.firstPeer && (!x.stateless || hit&1 != 0)
}

// Peer returns what the rules for a peer make of a service from an address of
// class c, zero included. Multi has the selectors of each class, if the Set walks.
func (x *Index) Peer(family int, c classes.Class, key uint32, multi Sets) services.Hit {
	if c == 0 {
		return 0
	}
	s := &x.sides[family]
	if r := s.lists.Get(c); r != 0 {
		return s.words.Find(services.Ref(r), key)
	}
	if c&classes.Single != 0 || !s.walks {
		return 0
	}
	return x.walk(s, c, key, multi)
}

// Peers is Peer for many: hits gets what matches, and must be as long as
// classes and keys, which are BatchMax or fewer. It asks for the lists of all
// before it waits for any.
func (x *Index) Peers(family int, list []classes.Class, keys []uint32, multi Sets, hits []services.Hit) {
	var refs [BatchMax]services.Ref
	s := &x.sides[family]
	for i, c := range list {
		refs[i] = services.Ref(s.lists.Get(c))
	}
	s.touch(refs[:len(list)])
	for i, r := range refs[:len(list)] {
		switch c := list[i]; {
		case r != 0:
			hits[i] = s.words.Find(r, keys[i])
		case c == 0 || c&classes.Single != 0 || !s.walks:
			hits[i] = 0
		default:
			hits[i] = x.walk(s, c, keys[i], multi)
		}
	}
}

// BatchMax is the most that Peers takes.
const BatchMax = 64

// touch reads a key of each list. It returns something made of them all, so
// that no compiler leaves the reading out.
//
//go:noinline
func (s *side) touch(refs []services.Ref) (all uint32) {
	for _, r := range refs {
		if r != 0 {
			all |= s.words.First(r)
		}
	}
	return all
}

// Sets tells the selectors of a class that is no single one.
type Sets interface{ At(uint32) []ir.SelectorNum }

// walk asks each selector of c.
func (x *Index) walk(s *side, c classes.Class, key uint32, multi Sets) (hit services.Hit) {
	for _, sel := range multi.At(c) {
		if r := s.lists.Get(classes.Single | classes.Class(sel)); r != 0 {
			hit = x.order.Both(hit, s.words.Find(services.Ref(r), key))
		}
	}
	return hit
}

// Verdict returns the verdict on what a service hits among rules for any peer
// and among those for one.
func (x *Index) Verdict(any, peer services.Hit) ir.Verdict {
	hit := x.order.Both(any, peer)
	if hit == 0 {
		return x.fallback
	}
	return verdict(x.order[hit>>1], hit&1 != 0)
}
