package chains

import (
	"slices"

	"example.com/secgroup/compile/ir"
)

// users tells which chains have rules for a selector. Most have one, and their
// numbers, which are not used again, are dense when a policy is compiled at
// first: those lie in an array. Further users, and what edits bring, are in a
// map.
type users struct {
	first  []*Chain // by selector
	more   map[ir.SelectorNum][]*Chain
	edited bool // first grows no more
}

// grow makes room for the selectors up to last, unless what comes is edits.
func (u *users) grow(last ir.SelectorNum) {
	if n := int(last) + 1 - len(u.first); n > 0 && !u.edited {
		u.first = append(u.first, make([]*Chain, n)...)
	}
}

// of calls do with each user of sel.
func (u *users) of(sel ir.SelectorNum, do func(*Chain)) {
	if int(sel) < len(u.first) {
		if c := u.first[sel]; c != nil {
			do(c)
		}
	}
	if len(u.more) > 0 {
		for _, c := range u.more[sel] {
			do(c)
		}
	}
}

// add notes that c has a rule for sel, and had none. Any does not count.
func (u *users) add(sel ir.SelectorNum, c *Chain) {
	switch {
	case sel == ir.Any:
	case int(sel) < len(u.first) && u.first[sel] == nil:
		u.first[sel] = c
	default:
		if u.more == nil {
			u.more = make(map[ir.SelectorNum][]*Chain)
		}
		u.more[sel] = append(u.more[sel], c)
	}
}

// remove notes that c, which had rules for sel, has none.
func (u *users) remove(sel ir.SelectorNum, c *Chain) {
	if sel == ir.Any {
		return
	}
	if int(sel) < len(u.first) && u.first[sel] == c {
		u.first[sel] = nil
		return
	}
	list := u.more[sel]
	i := slices.Index(list, c)
	last := len(list) - 1
	list[i] = list[last]
	list[last] = nil
	if list = list[:last]; last == 0 {
		delete(u.more, sel)
	} else {
		u.more[sel] = list
	}
}

// settled notes that what comes is edits.
func (u *users) settled() { u.edited = true }
