package nftables

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

var planned = flag.Int("plan.histories", 24, "random histories of a policy of which every step is planned in two ways")

// planner is a Backend without a kernel: it plans, and takes it that what it
// planned is done.
type planner struct {
	t     testing.TB
	o     Options
	now   *state
	tag   uint64
	widen int // how often a change concerned more policies than it was about
}

func newPlanner(t testing.TB, m *compile.Matcher, o Options) *planner {
	l, err := newLayout(m.Program(), o)
	require.NoError(t, err)
	l.zones = assignZones(nil, l)
	p := &planner{t: t, o: o, tag: 1, now: &state{matcher: m, layout: l, names: newNames()}}
	p.now.names.all(l.ruleset(), tag(p.tag))
	return p
}

// delta returns what leads to m.
func (p *planner) delta(m *compile.Matcher) ir.Delta {
	d, ok := m.Program().Since(p.now.layout.prog)
	require.True(p.t, ok)
	return d
}

func (p *planner) epoch(m *compile.Matcher) uint16 {
	if narrowed(p.now.layout.prog, m.Program()) {
		return nextEpoch(p.now.layout.epoch)
	}
	return p.now.layout.epoch
}

// plan is the way to m that Apply takes: of what differs.
func (p *planner) plan(m *compile.Matcher) *steps {
	d := p.delta(m)
	next, t, err := p.now.after(m, d)
	require.NoError(p.t, err)
	next.layout.epoch = p.epoch(m)
	n := len(t.policies)
	s := stepsTo(p.now, next, t, d, tag(p.tag+1))
	if len(t.policies) > n {
		p.widen++
	}
	return s
}

// slow is the oracle: it lays everything out, and compares all with all.
func (p *planner) slow(m *compile.Matcher) *steps {
	l, err := newLayout(m.Program(), p.o)
	require.NoError(p.t, err)
	l.zones = assignZones(p.now.layout.zonesByVPC(), l)
	l.epoch = p.epoch(m)
	d := p.delta(m)
	return newPlan(p.now, &state{matcher: m, layout: l}, p.now.layout, l, d, tag(p.tag+1)).steps(d)
}

// check compares both ways, and returns one.
func (p *planner) check(m *compile.Matcher, what string) *steps {
	p.t.Helper()
	fast, slow := p.plan(m), p.slow(m)
	require.Equal(p.t, string(slow.beside), string(fast.beside), what)
	require.Equal(p.t, contentsOf(slow.next), contentsOf(fast.next), what)
	for _, s := range []*steps{slow, fast} {
		s.next, s.beside = nil, nil
	}
	require.Equal(p.t, slow, fast, what)
	return p.plan(m)
}

// take makes a plan what is in force.
func (p *planner) take(s *steps) {
	p.now = s.next
	p.tag++
}

// contentsOf is all that there is in a state.
func contentsOf(s *state) map[string]any {
	l := s.layout
	parts := map[uint32]policyPart{}
	for num, part := range l.policies.All() {
		parts[num] = *part
	}
	counts := map[ir.SelectorNum]memberLengths{}
	for num, m := range l.selectors.All() {
		counts[num] = *m
	}
	r := s.names.rename(l.ruleset(), nil)
	elements := map[string][]string{}
	for i := range r.sets {
		elements[r.sets[i].name] = slices.Collect(r.sets[i].elements)
		r.sets[i].elements = nil
	}
	return map[string]any{
		"epoch": l.epoch, "zones": l.zones, "ends": l.ends, "devices": everything(l.devices), "named": everything(l.named), "vpcs": everything(l.vpcs), "policies": parts,
		"users": everything(l.users), "selectors": counts, "readers": everything(l.readers), "uses": everything(l.uses), "ports": everything(l.ports),
		"names": everything(s.names.m), "ruleset": r, "elements": elements,
	}
}

func everything[K comparable, V any](m *cow.Map[K, V]) map[K]V { return maps.Collect(m.All()) }

// TestPlan: what Apply plans by what differs is what it would plan by comparing
// everything, to the byte, and so is the state that it comes to; and a plan that
// fails leaves no trace in the state from which the next one starts.
func TestPlan(t *testing.T) {
	how := map[string]int{}
	for n := range uint64(*planned) {
		planHistory(t, n, how)
	}
	t.Log(how)
	for _, what := range []string{"failed", "back", "devices", "another profile", "nothing", "widened", "epochs", "joins", "leaves", "departed"} {
		require.NotZero(t, how[what], what)
	}
}

func planHistory(t *testing.T, seed uint64, how map[string]int) {
	r := newRandom(9, seed)
	d := r.draft()
	h := historian{rand.New(rand.NewPCG(seed, 2))}
	missing := map[sg.InterfaceID]bool{}
	o := Options{Uplinks: map[string]sg.VPCID{"up0": "red", "up1": "blue", "up2": "red"}, Protect: []string{"sg*"}, Device: func(id sg.InterfaceID) (string, bool) {
		if missing[id] {
			return "", false
		}
		if dev, ok := deviceOfSite(id); ok {
			return dev, true
		}
		return "x" + string(id), len(id) == 3 // the historian's sg0
	}}
	profile, changes := d.profile, d.all()
	change := d.edit
	if seed%2 == 1 { // members that come and go, and interfaces too
		profile, change = stackit.Profile(), h.change
		changes = []policy.Change{h.putSet("s0"), h.putSet("s1"), h.putSet("s2")}
		for _, id := range []sg.GroupID{"g0", "g1", "g2"} {
			changes = append(changes, policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: "a"}})
		}
		changes = append(changes, h.putInterface(0), h.putInterface(2))
	}
	s := newSourceOf(t, profile, changes...)
	past := []*compile.Matcher{s.matcher()}
	p := newPlanner(t, s.matcher(), o)
	for step := range 25 {
		what := fmt.Sprintf("history %d, step %d", seed, step)
		var m *compile.Matcher
		switch {
		case r.oneIn(20):
			how["another profile"]++
			profile.Established = pick(r, sg.Keep, sg.Keep, sg.Revalidate, sg.Cut)
			next := build(t, profile, build(t, profile).Diff(s.snapshot)...)
			var err error
			m, err = s.c.Reset(next)
			require.NoError(t, err)
			s.snapshot = next
		case r.oneIn(10):
			how["back"]++
			m = pick(r, past...)
		default:
			next, done, err := s.snapshot.With(change()...)
			if err != nil {
				continue // no such interface, or two rules for the same
			}
			s.snapshot = next
			m, err = s.c.Apply(policy.Batch{Changes: done})
			require.NoError(t, err)
		}
		past = append(past, m)
		before := contentsOf(p.now)
		plan := p.check(m, what)
		require.Equal(t, before, contentsOf(p.now), "%s: what is in force", what)
		if r.oneIn(4) {
			how["failed"]++ // the next step is one from the state of before
			continue
		}
		p.take(plan)
		for kind, is := range map[string]bool{
			"nothing": plan.nothing, "epochs": plan.turns.epoch != nil, "joins": len(plan.join) > 0, "leaves": len(plan.turns.leave) > 0, "departed": len(plan.departed) > 0,
		} {
			if is {
				how[kind]++
			}
		}
		if r.oneIn(6) { // the same policy, and another device
			how["devices"]++
			id := pick[sg.InterfaceID](r, sites()[0].id, sites()[1].id, "sg0", "sg2")
			missing[id] = !missing[id]
			p.take(p.check(m, what+", devices"))
		}
	}
	how["widened"] += p.widen
}
