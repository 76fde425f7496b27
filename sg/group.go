package sg

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// Group is a named set of rules, attachable to interfaces.
type Group struct {
	ID          GroupID
	Name        string // unique within the VPC; see Profile.NamesPerScope
	Description string
	VPC         VPCID
	Scope       Scope
	Stateless   bool      // no conntrack: replies need their own rule
	Default     bool      // the default group of its VPC: it can be edited, but not deleted
	Created     time.Time // zero if unknown
	Rules       []Rule
}

// ByDirection yields g's rules in one direction with their index in Rules.
func (g *Group) ByDirection(d Direction) iter.Seq2[int, Rule] {
	return func(yield func(int, Rule) bool) {
		for i, r := range g.Rules {
			if r.Direction == d && !yield(i, r) {
				return
			}
		}
	}
}

// Clone returns a copy that shares nothing with g.
func (g *Group) Clone() *Group {
	c := *g
	c.Rules = slices.Clone(g.Rules)
	return &c
}

// Validate checks g alone and reports every fault as Errors; cross-references
// are checked by package policy.
func (g *Group) Validate() error {
	var errs Errors
	errs.addName("id", string(g.ID))
	if g.ID == SelfGroup {
		errs.Add("id", string(g.ID), ErrInvalid, "stands for any group, in profiles")
	}
	errs.addName("name", g.Name)
	validateRules(&errs, "rules", g.Rules)
	return errs.Err()
}

// validateRules checks the rules of one group, or of a template for one.
func validateRules(errs *Errors, field string, rules []Rule) {
	ids := make(map[RuleID]int, len(rules))
	keys := make(map[Rule]int, len(rules))
	for i, r := range rules {
		path := func() string { return fmt.Sprintf("%s[%d]", field, i) } // of faults only: there are many rules
		if err := r.Validate(); err != nil {
			errs.Merge(path(), err)
		}
		if first, dup := ids[r.ID]; dup && r.ID != "" {
			errs.Add(path()+".id", string(r.ID), ErrDuplicate, fmt.Sprintf("as %s[%d]", field, first))
		} else {
			ids[r.ID] = i
		}
		key := r.Key()
		if first, dup := keys[key]; dup {
			errs.Add(path(), nil, ErrDuplicate, fmt.Sprintf("same traffic as rule %q", rules[first].ID))
		} else {
			keys[key] = i
		}
	}
}
