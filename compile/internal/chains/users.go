package chains

import (
	"slices"

	"example.com/secgroup/compile/ir"
)

// users tells which chains have rules for a selector. Numbers of selectors are
// dense when a policy is compiled at first, and not used again: those come to
// lie in an array, and what edits bring in a map.
type users struct {
	first  [][]*Chain
	later  map[ir.SelectorNum][]*Chain
	edited bool // first grows no more
	ones   []*Chain
}

// of returns the users of sel. They must not be changed.
func (u *users) of(sel ir.SelectorNum) []*Chain {
	if int(sel) < len(u.first) {
		return u.first[sel]
	}
	return u.later[sel]
}

func (u *users) put(sel ir.SelectorNum, list []*Chain) {
	switch {
	case int(sel) < len(u.first):
		u.first[sel] = list
	case len(list) == 0:
		delete(u.later, sel)
	default:
		if u.later == nil {
			u.later = make(map[ir.SelectorNum][]*Chain)
		}
		u.later[sel] = list
	}
}

// add notes that c has a rule for sel, and had none. Any does not count.
func (u *users) add(sel ir.SelectorNum, c *Chain) {
	if sel == ir.Any {
		return
	}
	if !u.edited && int(sel) >= len(u.first) {
		n := int(sel) + 1 - len(u.first)
		u.first = slices.Grow(u.first, n)[:len(u.first)+n]
	}
	list := u.of(sel)
	if len(list) == 0 {
		if len(u.ones) == 0 {
			u.ones = make([]*Chain, min(1024, 1+len(u.first)))
		}
		list, u.ones = u.ones[:0:1], u.ones[1:]
	}
	u.put(sel, append(list, c))
}

// remove notes that c, which had rules for sel, has none.
func (u *users) remove(sel ir.SelectorNum, c *Chain) {
	if sel == ir.Any {
		return
	}
	list := u.of(sel)
	i := slices.Index(list, c)
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	if list = list[:last]; last == 0 {
		list = nil
	}
	u.put(sel, list)
}

// settled notes that what comes is edits.
func (u *users) settled() { u.edited, u.ones = true, nil }
