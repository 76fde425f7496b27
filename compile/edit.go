package compile

import (
	"cmp"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// index makes the rules known by their ids, which are in was, and by their
// places.
func (g *group) index(was *sg.Group) {
	g.byID = make(map[sg.RuleID]*located, len(g.rules))
	list := make([]located, len(g.rules))
	for d := range g.lists {
		for kind := range g.lists[d] {
			l := &g.lists[d][kind]
			l.places = make([]uint64, 0, len(l.nums))
		}
	}
	for i := range list {
		r := &list[i]
		*r = located{g.rules[i], uint64(i + 1)}
		g.byID[was.Rules[i].ID] = r
		l := g.list(&r.lowered)
		for _, n := range r.nums {
			if n != 0 {
				l.places = append(l.places, r.place)
			}
		}
	}
	g.rules = nil
}

// ordered returns the rules in order.
func (g *group) ordered() []lowered {
	if g.byID == nil {
		return g.rules
	}
	list := make([]*located, 0, len(g.byID))
	for _, r := range g.byID {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *located) int { return cmp.Compare(a.place, b.place) })
	rules := make([]lowered, len(list))
	for i, r := range list {
		rules[i] = r.lowered
	}
	return rules
}

// editGroup lowers what e, an edit of what low was, changes.
func (s *state) editGroup(next *policy.Snapshot, k groupKey, low *group, e policy.EditGroup) {
	keep := map[ir.Rule]ir.RuleNum{}
	for _, id := range e.Remove {
		old := low.byID[id]
		s.offer(keep, old.nums)
		low.list(&old.lowered).replace(old.place)
		delete(low.byID, id)
	}
	for i := range e.Replace {
		r := &e.Replace[i]
		old := low.byID[r.ID]
		s.offer(keep, old.nums)
		is := &located{s.lowerRule(next, k, low, r, keep), old.place}
		if low.list(&old.lowered) != low.list(&is.lowered) {
			low.list(&old.lowered).replace(old.place)
		}
		low.list(&is.lowered).replace(is.place, is.nums[:]...)
		low.byID[r.ID] = is
	}
	for i := range e.Add {
		low.last++
		is := &located{s.lowerRule(next, k, low, &e.Add[i], keep), low.last}
		low.list(&is.lowered).add(is)
		low.byID[e.Add[i].ID] = is
	}
	for _, n := range keep {
		s.garbage = append(s.garbage, n)
	}
}

// net returns what edits of a group come to, in one edit of what is there; ok
// is false if an id stood for two rules meanwhile.
func (g *group) net(edits []policy.EditGroup) (out policy.EditGroup, ok bool) {
	if len(edits) == 1 {
		return edits[0], true // which leads to a valid group
	}
	removed := map[sg.RuleID]bool{}
	replaced := map[sg.RuleID]int{} // place in out.Replace
	added := map[sg.RuleID]int{}    // place in out.Add
	for _, e := range edits {
		for _, id := range e.Remove {
			if i, is := added[id]; is {
				out.Add[i].ID = "" // no rule has that
				delete(added, id)
				continue
			}
			if i, is := replaced[id]; is {
				out.Replace[i].ID = ""
				delete(replaced, id)
			}
			removed[id] = true
			out.Remove = append(out.Remove, id)
		}
		for _, r := range e.Replace {
			if i, is := added[r.ID]; is {
				out.Add[i] = r
			} else if i, is := replaced[r.ID]; is {
				out.Replace[i] = r
			} else {
				replaced[r.ID] = len(out.Replace)
				out.Replace = append(out.Replace, r)
			}
		}
		for _, r := range e.Add {
			_, twice := added[r.ID]
			_, there := g.byID[r.ID]
			if twice || there && !removed[r.ID] {
				return out, false
			}
			added[r.ID] = len(out.Add)
			out.Add = append(out.Add, r)
		}
	}
	none := func(r sg.Rule) bool { return r.ID == "" }
	out.Replace, out.Add = slices.DeleteFunc(out.Replace, none), slices.DeleteFunc(out.Add, none)
	return out, true
}
