package ir

import (
	"net/netip"

	"example.com/secgroup/sg"
)

// What a program remembers of the way to it. Steps refer to no program, so
// that none is kept alive by a later one.
const (
	maxSteps   = 64
	maxTouched = 1<<16 - 1 // entries of all steps together
)

// Step notes what one generation touches, as the program is made, so that
// Program.Since need not look for it. What is noted twice, or turns out to be
// the same as before, does no harm; what is not noted does. The zero Step is
// ready to use. A step that touches too much notes nothing: to compare whole
// programs is no dearer then. A nil Step notes nothing.
type Step struct {
	selectors  []SelectorNum
	rules      []RuleNum
	policies   []uint32
	interfaces []sg.InterfaceID
	members    []joint
	n          int // entries, even those for which there was no room
}

// joint is a prefix that joined a selector or left it.
type joint struct {
	selector SelectorNum
	joined   bool
	prefix   netip.Prefix
}

// room counts an entry and reports whether it may be noted.
func (s *Step) room() bool {
	if s == nil {
		return false
	}
	if s.n++; s.n == maxTouched+1 {
		*s = Step{n: s.n}
	}
	return s.n <= maxTouched
}

// Selector notes that selector n was made or dropped.
func (s *Step) Selector(n SelectorNum) {
	if s.room() {
		s.selectors = append(s.selectors, n)
	}
}

// Rule notes that rule n was made or dropped.
func (s *Step) Rule(n RuleNum) {
	if s.room() {
		s.rules = append(s.rules, n)
	}
}

// Policy notes that policy n was made, built again or dropped.
func (s *Step) Policy(n uint32) {
	if s.room() {
		s.policies = append(s.policies, n)
	}
}

// Interface notes that an interface was bound, bound anew or dropped.
func (s *Step) Interface(id sg.InterfaceID) {
	if s.room() {
		s.interfaces = append(s.interfaces, id)
	}
}

// Member notes that p became a member of n, or is none any more: unlike the
// rest, of each prefix just what is so, and once. Members of selectors that
// are made or dropped in the same step may be left out.
func (s *Step) Member(n SelectorNum, p netip.Prefix, joined bool) {
	if s.room() {
		s.members = append(s.members, joint{n, joined, p})
	}
}

// remember returns the steps that a program keeps: before, those of the
// program that it follows, and s.
func remember(before []*Step, s *Step) []*Step {
	if s.n > maxTouched {
		return nil
	}
	from := len(before)
	for n := s.n; from > 0 && len(before)-from < maxSteps-1; from-- {
		if n += before[from-1].n; n > maxTouched {
			break
		}
	}
	return append(append(make([]*Step, 0, len(before)-from+1), before[from:]...), s)
}

// stepsSince returns the steps that lead from prev to p, if p remembers them.
func (p *Program) stepsSince(prev *Program) ([]*Step, bool) {
	if p == prev {
		return nil, true
	}
	if prev.d.Generation >= p.d.Generation {
		return nil, false
	}
	n := p.d.Generation - prev.d.Generation
	if n > uint64(len(p.steps)) {
		return nil, false
	}
	return p.steps[uint64(len(p.steps))-n:], true
}
