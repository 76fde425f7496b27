package policy

import (
	"sync"

	"example.com/secgroup/sg"
)

// held is a group as a snapshot keeps it: as it was put, or as edits by rules
// made it. It is safe for concurrent use.
type held struct {
	put  *sg.Group // as it was put; nil after an edit
	head *sg.Group // after an edit: the group, but for its rules

	listed sync.Once
	list   *ruleList // after an edit, or of what was put, on demand

	made  sync.Once
	whole *sg.Group // after an edit, on demand
}

// group returns the group. It is made at the first call after an edit, which
// costs as much as it has rules.
func (h *held) group() *sg.Group {
	if h.put != nil {
		return h.put
	}
	h.made.Do(func() {
		g := *h.head
		g.Rules = h.list.rules()
		h.whole = &g
	})
	return h.whole
}

// header returns the group; its rules are not to be looked at.
func (h *held) header() *sg.Group {
	if h.put != nil {
		return h.put
	}
	return h.head
}

// size returns the number of rules.
func (h *held) size() int {
	if h.put != nil {
		return len(h.put.Rules)
	}
	return h.list.size()
}

// rules returns the rules in the form that edits begin with. It is made once
// for what was put.
func (h *held) rules() *ruleList {
	if h.put != nil {
		h.listed.Do(func() { h.list = newRuleList(h.put.Rules) })
	}
	return h.list
}

// edited returns the group with other rules.
func (h *held) edited(list *ruleList) *held {
	head := h.head
	if h.put != nil {
		c := *h.put
		c.Rules = nil
		head = &c
	}
	return &held{head: head, list: list}
}

// has reports whether any rule has that id. It costs as much as there are
// rules, or an index of them, which the next edit needs too.
func (h *held) has(id sg.RuleID) bool {
	if h.size() > plainMax {
		_, ok := h.rules().find(id)
		return ok
	}
	for i := range h.group().Rules {
		if h.group().Rules[i].ID == id {
			return true
		}
	}
	return false
}
