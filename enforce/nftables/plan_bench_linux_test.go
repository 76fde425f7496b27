package nftables

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// parish is a policy of so many groups and rules in all, with 1,000 interfaces,
// and one group more, of one rule, that one interface has.
func parish(t testing.TB, groups, rules int) *source {
	small := &sg.Group{ID: "small", Name: "small", VPC: "a", Rules: []sg.Rule{{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerAny()}}}
	return newSource(t, append(country(1_000, groups, rules), policy.PutSet{Set: swapSet("one", friend)}, policy.PutGroup{Group: small},
		policy.PutInterface{Interface: &sg.Interface{ID: "sg0", VPC: "a", Addrs: prefixes("10.0.0.5"), Groups: []sg.GroupID{"small"}}})...)
}

// BenchmarkPlan plans a rule more of a group: by what differs, as Apply does, and
// by laying out and comparing everything, as it once did. No kernel takes part.
func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct {
		group         sg.GroupID
		groups, rules int
	}{{"small", 20, 100}, {"small", 20, 10_000}, {"g0", 20, 10_000}, {"g0", 1_000, 10_000}} {
		s := parish(b, c.groups, c.rules)
		p := newPlanner(b, s.matcher(), Options{Device: deviceOf})
		m := s.change(oneRule(s, c.group)[0])
		for what, plan := range map[string]func(*compile.Matcher) *steps{"delta": p.plan, "everything": p.slow} {
			b.Run(fmt.Sprintf("of=%s/groups=%d/rules=%d/%s", c.group, c.groups, c.rules, what), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					plan(m)
				}
			})
		}
	}
}

// TestPlanDoesNotGrow: what it takes to plan a rule more of a small group does
// not depend on how much there is beside it.
func TestPlanDoesNotGrow(t *testing.T) {
	cost := func(groups, rules int) float64 {
		s := parish(t, groups, rules)
		p := newPlanner(t, s.matcher(), Options{Device: deviceOf})
		m := s.change(oneRule(s, "small")[0])
		return testing.AllocsPerRun(5, func() { p.plan(m) })
	}
	few := cost(2, 20)
	require.InDelta(t, few, cost(20, 1_000), few/50)
	require.InDelta(t, few, cost(500, 4_000), few/50)
}
