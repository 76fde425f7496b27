// Package compile turns a policy into an immutable matcher.
//
// Everything in which clouds differ is lowered into plain rules here (package
// ir), addresses are mapped to the selectors that contain them, and both are
// published together, so that no order of updates can open or close anything
// for a moment.
package compile

import (
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// Compile compiles s once. Use a Compiler when s will change: the matchers of
// one Compiler number their rules alike, and only what changed is compiled.
func Compile(s *policy.Snapshot) (*Matcher, error) {
	return new(Compiler).Reset(s)
}

// Compiler compiles incrementally. The zero value has no policy yet: call
// Reset first. It is not safe for concurrent use; the matchers it returns are.
type Compiler struct {
	snapshot *policy.Snapshot
	matcher  *Matcher
	state    *state
}

// Reset replaces the whole policy. What s has in common with the policy before
// keeps its numbers. On error nothing changes.
func (c *Compiler) Reset(s *policy.Snapshot) (*Matcher, error) {
	if s == nil || s.Profile() == nil {
		return nil, errNoPolicy("a snapshot")
	}
	if c.state == nil {
		rules, cidrs := 0, 0
		for g := range s.Groups() {
			rules += len(g.Rules)
			for i := range g.Rules {
				if g.Rules[i].Peer.Kind() == sg.PeerIsCIDR {
					cidrs++
				}
			}
		}
		c.state = newState(rules, cidrs)
		empty, err := policy.New(*s.Profile())
		if err != nil {
			return nil, err
		}
		c.snapshot = empty
	}
	return c.advance(s, touchedBetween(c.snapshot, s))
}

// Apply applies b and returns the next matcher; earlier matchers keep
// answering as they did. Cost is that of the change: one piece of the address
// map per member address, one policy per attached group list that a rule edit
// touches, and of it the lists that the rule is in; four bytes are copied for
// each rule of such a policy, and a group that is put as a whole is looked at as
// a whole: policy.EditGroup names the rules that change. A wide prefix costs as much
// as the narrower prefixes inside it. Now and then what the changes left behind
// is built anew, which costs as much as there is. On error, which is sg.Errors,
// nothing changes.
func (c *Compiler) Apply(b policy.Batch) (*Matcher, error) {
	if c.snapshot == nil {
		return nil, errNoPolicy("a policy: call Reset with a snapshot first")
	}
	next, done, err := c.snapshot.With(b.Changes...)
	if err != nil {
		return nil, err
	}
	return c.advance(next, touchedBy(done))
}

// Matcher returns the newest matcher, nil before the first Reset.
func (c *Compiler) Matcher() *Matcher { return c.matcher }

// advance makes next the policy, given what differs.
func (c *Compiler) advance(next *policy.Snapshot, t *touched) (*Matcher, error) {
	if err := c.state.admits(next, t); err != nil {
		return nil, err
	}
	var prev *ir.Program
	if c.matcher != nil {
		prev = c.matcher.prog
	}
	m := c.state.advance(c.snapshot, next, prev, t)
	c.snapshot, c.matcher = next, m
	return m, nil
}
