package nftables

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// country is a policy of many groups, with rules of which each names another
// CIDR, and interfaces spread over them.
func country(interfaces, groups, rules int) []policy.Change {
	var out []policy.Change
	for g := range groups {
		group := &sg.Group{ID: sg.GroupID(fmt.Sprintf("g%d", g)), Name: fmt.Sprintf("g%d", g), VPC: "a"}
		for r := range rules / groups {
			group.Rules = append(group.Rules, sg.Rule{ID: sg.RuleID(fmt.Sprintf("r%d", r)), Direction: sg.Ingress, Protocol: sg.TCP,
				Ports: sg.Port(uint16(1000 + r)), Peer: sg.PeerCIDR(prefix(fmt.Sprintf("20.%d.%d.%d/32", g, r>>8, r&0xff)))})
		}
		out = append(out, policy.PutGroup{Group: group})
	}
	for i := range interfaces {
		out = append(out, policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("sgx%d", i)), VPC: "a",
			Addrs: prefixes(fmt.Sprintf("10.1.%d.%d", i>>8, i&0xff)), Groups: []sg.GroupID{sg.GroupID(fmt.Sprintf("g%d", i%groups))}}})
	}
	return out
}

// BenchmarkApply replaces a whole policy: the ways to grow.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ interfaces, groups, rules, members int }{
		{2, 1, 10, 1}, {1_000, 20, 1_000, 1}, {1_000, 20, 10_000, 1}, {2, 1, 10, 100_000}, {2, 1, 10, 1_000_000},
	} {
		b.Run(fmt.Sprintf("interfaces=%d/rules=%d/members=%d", c.interfaces, c.rules, c.members), func(b *testing.B) {
			h := newHost(b, Options{})
			changes := append(town(many(c.members), []string{friend}), country(c.interfaces, c.groups, c.rules)...)
			list := []*compile.Matcher{newSource(b, changes...).matcher(), newSource(b, changes...).matcher()}
			h.apply(list[1])
			for n := 0; b.Loop(); n++ {
				h.apply(list[n%2])
			}
		})
	}
}

// BenchmarkRule adds and removes a rule of one group among many.
func BenchmarkRule(b *testing.B) {
	for _, rules := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint("rules=", rules), func(b *testing.B) {
			h := newHost(b, Options{})
			s := newSource(b, append(town([]string{friend}, nil), country(1_000, 20, rules)...)...)
			h.apply(s.matcher())
			web, _ := s.snapshot.Group("web")
			more := web.Clone()
			more.Rules = append(more.Rules, sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(8080), Peer: sg.PeerSet("one")})
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				m := s.change(policy.PutGroup{Group: []*sg.Group{more, web}[n%2]})
				b.StartTimer()
				h.apply(m)
			}
		})
	}
}

// BenchmarkMember adds and removes one member of a set of 60,000, beside a
// policy of 1,000 rules: through Apply, and by nft to a plain set and to one of
// intervals, which is what holds prefixes in its language. The three take
// turns; the ratios are those of their times.
func BenchmarkMember(b *testing.B) {
	const members = 60_000
	h := newHost(b, Options{})
	s := newSource(b, append(town(many(members), []string{friend}), country(100, 10, 1_000)...)...)
	h.apply(s.matcher())
	all := strings.Join(many(members), ", ")
	h.script("table inet text {\n set plain {\n type ipv4_addr\n elements = { " + all + " }\n }\n set ranges {\n type ipv4_addr\n flags interval\n elements = { " + all + " }\n }\n}")
	var took [2][3]time.Duration
	clock := func(at *time.Duration, f func() error) {
		start := time.Now()
		require.NoError(b, f())
		*at += time.Since(start)
	}
	h.apply(s.change(joins("one", guest))) // the script was much to hear of
	h.apply(s.change(leaves("one", guest)))
	n := 0
	h.do(func(ctx context.Context) error { // to enter the namespace takes as long as an Apply
		for ; b.Loop(); n++ {
			for k, verb := range []string{"add", "delete"} {
				m := s.change([]policy.Change{joins("one", guest), leaves("one", guest)}[k])
				clock(&took[k][0], func() error { return h.Apply(ctx, m) })
				for i, set := range []string{"plain", "ranges"} {
					text := fmt.Sprintf("%s element inet text %s { %s }\n", verb, set, guest)
					clock(&took[k][1+i], func() error { return runNFT(ctx, "nft", []byte(text), "-f", "-") })
				}
			}
		}
		return nil
	})
	for k, what := range []string{"add", "remove"} {
		b.ReportMetric(float64(took[k][0].Microseconds())/float64(n), what+"-µs")
		b.ReportMetric(float64(took[k][1])/float64(took[k][0]), what+"-of-plain-x")
		b.ReportMetric(float64(took[k][2])/float64(took[k][0]), what+"-of-ranges-x")
	}
}
