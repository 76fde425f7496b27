package policy

import (
	"slices"

	"example.com/secgroup/sg"
)

// editGroup carries out c: small groups as if they were put as a whole, others
// rule by rule.
func (e *editor) editGroup(c EditGroup) {
	h, ok := e.next.groups.Get(c.ID)
	if !ok {
		e.errs.Add(groupPath(c.ID), nil, sg.ErrNotFound, "")
		return
	}
	e.groups[c.ID] = true
	if h.size() <= e.next.plain {
		e.editPlain(h, c)
	} else {
		e.editList(h, c)
	}
}

func (e *editor) noRule(id sg.GroupID, rule sg.RuleID) {
	e.errs.Add(groupPath(id)+".rules", string(rule), sg.ErrNotFound, "no such rule")
}

// editPlain makes the rules that c leads to, and puts them.
func (e *editor) editPlain(h *held, c EditGroup) {
	e.whole[c.ID] = true
	done := EditGroup{ID: c.ID}
	g := h.group().Clone()
	find := func(id sg.RuleID) int {
		return slices.IndexFunc(g.Rules, func(r sg.Rule) bool { return r.ID == id })
	}
	for _, id := range c.Remove {
		if i := find(id); i >= 0 {
			g.Rules = slices.Delete(g.Rules, i, i+1)
			done.Remove = append(done.Remove, id)
		}
	}
	for _, r := range c.Replace {
		switch i := find(r.ID); {
		case i < 0:
			e.noRule(c.ID, r.ID)
		case g.Rules[i] != r:
			g.Rules[i] = r
			done.Replace = append(done.Replace, r)
		}
	}
	g.Rules = append(g.Rules, c.Add...)
	done.Add = slices.Clone(c.Add)
	done.Replace = lasting(done.Replace, func(r sg.Rule) bool { return slices.Contains(h.group().Rules, r) })
	if slices.Equal(h.group().Rules, g.Rules) {
		return
	}
	e.setGroup(g)
	e.done = append(e.done, done)
}

// lasting returns the replacements that count: of those of one rule the last,
// unless that makes the rule what it was.
func lasting(replaced []sg.Rule, was func(sg.Rule) bool) []sg.Rule {
	if len(replaced) < 2 {
		return replaced // it was no other
	}
	last := make(map[sg.RuleID]int, len(replaced))
	for i := range replaced {
		last[replaced[i].ID] = i
	}
	out := replaced[:0]
	for i, r := range replaced {
		if last[r.ID] == i && !was(r) {
			out = append(out, r)
		}
	}
	return out
}

// editList edits the list of rules.
func (e *editor) editList(h *held, c EditGroup) {
	done := EditGroup{ID: c.ID}
	list := h.rules().clone()
	var gone []uint64
	for _, id := range c.Remove {
		place, ok := list.find(id)
		if !ok {
			continue
		}
		e.refer(c.ID, list.get(place).Peer, -1)
		list.remove(place)
		gone = append(gone, place)
		done.Remove = append(done.Remove, id)
	}
	for i := range c.Replace {
		r := c.Replace[i] // that nobody else writes to
		place, ok := list.find(r.ID)
		if !ok {
			e.noRule(c.ID, r.ID)
			continue
		}
		if old := list.get(place); *old != r {
			e.refer(c.ID, old.Peer, -1)
			e.refer(c.ID, r.Peer, 1)
			list.remove(place)
			list.set(place, &r)
			e.places[c.ID] = append(e.places[c.ID], place)
			done.Replace = append(done.Replace, r)
		}
	}
	done.Replace = lasting(done.Replace, func(r sg.Rule) bool {
		place, ok := h.rules().find(r.ID)
		return ok && *h.rules().get(place) == r
	})
	done.Add = slices.Clone(c.Add)
	for i := range done.Add {
		r := done.Add[i]
		e.refer(c.ID, r.Peer, 1)
		e.places[c.ID] = append(e.places[c.ID], list.add(&r))
	}
	switch {
	case len(done.Remove)+len(done.Replace)+len(done.Add) == 0:
		return
	case len(done.Replace) == 0 && h.rules().endsWith(gone, done.Add):
		return // the last ones went and came back
	}
	e.next.groups.Set(c.ID, h.edited(list))
	e.done = append(e.done, done)
}

// edited judges a group that was only edited, and was sound before: what it
// is by itself, and the edited rules. It notes no fault of rules.
func (e *editor) edited(h *held) (sound bool) {
	g, p := h.header(), e.next.profile
	list := h.rules()
	e.name(groupPath(g.ID), g)
	over := func(usage, limit int) bool { return limit > 0 && usage > limit }
	if over(list.size(), p.Quota.RulesPerGroup) {
		return false
	}
	for _, families := range list.count {
		for _, n := range families {
			if over(n, p.Quota.RulesPerDirection) {
				return false
			}
		}
	}
	before := len(e.errs)
	for _, place := range e.places[g.ID] {
		r := list.get(place)
		if r == nil {
			continue // taken away after all
		}
		if r.Validate() != nil || !list.alone(place) {
			return false
		}
		if e.rule("", g, *r); len(e.errs) > before {
			return false
		}
	}
	return true
}
