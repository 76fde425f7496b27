package nftables

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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
				Ports: sg.Port(uint16(1000 + r)), Peer: sg.PeerCIDR(prefix(fmt.Sprintf("%d.%d.%d.%d/32", 20+g>>8, g&0xff, r>>8, r&0xff)))})
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
		{2, 1, 10, 1}, {1_000, 20, 1_000, 1}, {1_000, 20, 10_000, 1}, {1_000, 20, 10_000, 100_000}, {2, 1, 10, 100_000}, {2, 1, 10, 1_000_000},
	} {
		b.Run(fmt.Sprintf("interfaces=%d/rules=%d/members=%d", c.interfaces, c.rules, c.members), func(b *testing.B) {
			h := newHost(b, Options{})
			changes := append(town(many(c.members), []string{friend}), country(c.interfaces, c.groups, c.rules)...)
			list := []*compile.Matcher{newSource(b, changes...).matcher(), newSource(b, changes...).matcher()}
			h.apply(list[1])
			for n := 0; b.Loop(); n++ {
				h.apply(list[n%2])
			}
			b.ReportMetric(float64(h.rules()), "kernel-rules")
		})
	}
}

// BenchmarkRule adds and removes a rule of one group among many: of a small one
// of its own, which two interfaces have, and of one of those that have all the
// rules there are.
func BenchmarkRule(b *testing.B) {
	for _, c := range []struct {
		group         sg.GroupID
		groups, rules int
	}{{"web", 20, 100}, {"web", 20, 1_000}, {"web", 20, 10_000}, {"g0", 20, 10_000}, {"g0", 1_000, 10_000}} {
		b.Run(fmt.Sprintf("of=%s/groups=%d/rules=%d", c.group, c.groups, c.rules), func(b *testing.B) {
			benchmarkChange(b, country(1_000, c.groups, c.rules), func(s *source) [2]policy.Change { return oneRule(s, c.group) })
		})
	}
}

// oneRule is a rule more in a group, and one less.
func oneRule(s *source, id sg.GroupID) [2]policy.Change {
	more := sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(8080), Peer: sg.PeerSet("one")}
	return [2]policy.Change{policy.EditGroup{ID: id, Add: []sg.Rule{more}}, policy.EditGroup{ID: id, Remove: []sg.RuleID{more.ID}}}
}

// BenchmarkInterface adds and removes an interface among many, of a group that
// others have.
func BenchmarkInterface(b *testing.B) {
	more := &sg.Interface{ID: "sgx1000", VPC: "a", Addrs: prefixes("10.1.200.1"), Groups: []sg.GroupID{"g0"}}
	for _, rules := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprint("rules=", rules), func(b *testing.B) {
			benchmarkChange(b, country(1_000, 20, rules), func(*source) [2]policy.Change {
				return [2]policy.Change{policy.PutInterface{Interface: more}, policy.DeleteInterface{ID: more.ID}}
			})
		})
	}
}

// benchmarkChange makes a change and undoes it, beside others, and tells whose
// CPU an Apply takes: this process's, in its own code and in the kernel, and that
// of nft.
func benchmarkChange(b *testing.B, beside []policy.Change, changes func(*source) [2]policy.Change) {
	h := newHost(b, Options{})
	s := newSource(b, append(town([]string{friend}, nil), beside...)...)
	h.apply(s.matcher())
	two := changes(s)
	var spent [4]time.Duration
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		m := s.change(two[n%2])
		before := cpu(b)
		b.StartTimer()
		h.apply(m)
		b.StopTimer()
		for i, d := range cpu(b) {
			spent[i] += d - before[i]
		}
		b.StartTimer()
	}
	for i, what := range []string{"own-µs", "own-kernel-µs", "nft-µs", "nft-kernel-µs"} {
		b.ReportMetric(float64(spent[i].Microseconds())/float64(b.N), what)
	}
}

// cpu is the CPU time of this process, in its own code and in the kernel, and
// that of its children.
func cpu(b *testing.B) (out [4]time.Duration) {
	for i, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		require.NoError(b, unix.Getrusage(who, &u))
		out[2*i], out[2*i+1] = time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
	}
	return out
}

// textSets loads a table of another name in which sets hold a list: a plain
// set, and one of intervals, which is what holds prefixes in nft's language.
func textSets(list []string, kinds ...string) string {
	all := strings.Join(list, ", ")
	var out strings.Builder
	out.WriteString("table inet text\ndelete table inet text\ntable inet text {\n")
	for _, kind := range kinds {
		flags := ""
		if kind == "ranges" {
			flags = "flags interval\n"
		}
		fmt.Fprintf(&out, "set %s {\ntype ipv4_addr\n%selements = { %s }\n}\n", kind, flags, all)
	}
	out.WriteString("}\n")
	return out.String()
}

// rivals take turns, so that what else the machine does meets all of them. What
// is told of them are medians.
type rivals struct {
	b    *testing.B
	took [3][]time.Duration
}

func (r *rivals) clock(i int, f func() error) {
	start := time.Now()
	require.NoError(r.b, f())
	r.took[i] = append(r.took[i], time.Since(start))
}

func (r *rivals) median(i int) time.Duration {
	list := slices.Sorted(slices.Values(r.took[i]))
	return list[len(list)/2]
}

// times returns how many times as long as the first one another one takes.
func (r *rivals) times(i int) float64 { return float64(r.median(i)) / float64(r.median(0)) }

// BenchmarkMember adds and removes one member of a large set, beside a policy
// of 1,000 rules: through Apply, and by nft to a plain set and to one of
// intervals of the same size. The three take turns; the ratios are those of
// their medians.
func BenchmarkMember(b *testing.B) {
	for _, members := range []int{60_000, 100_000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) { benchmarkMember(b, members) })
	}
}

func benchmarkMember(b *testing.B, members int) {
	h := newHost(b, Options{})
	s := newSource(b, append(town(many(members), []string{friend}), country(100, 10, 1_000)...)...)
	h.apply(s.matcher())
	h.script(textSets(many(members), "plain", "ranges"))
	h.apply(s.change(joins("one", guest))) // the script was much to hear of
	h.apply(s.change(leaves("one", guest)))
	took := [2]rivals{{b: b}, {b: b}}
	h.do(func(ctx context.Context) error { // to enter the namespace takes as long as an Apply
		for b.Loop() {
			for k, verb := range []string{"add", "delete"} {
				m := s.change([]policy.Change{joins("one", guest), leaves("one", guest)}[k])
				took[k].clock(0, func() error { return h.Apply(ctx, m) })
				for i, set := range []string{"plain", "ranges"} {
					text := fmt.Sprintf("%s element inet text %s { %s }\n", verb, set, guest)
					took[k].clock(1+i, func() error { return runNFT(ctx, "nft", []byte(text), "-f", "-") })
				}
			}
		}
		return nil
	})
	for k, what := range []string{"add", "remove"} {
		b.ReportMetric(float64(took[k].median(0).Microseconds()), what+"-µs")
		b.ReportMetric(took[k].times(1), what+"-of-plain-x")
		b.ReportMetric(took[k].times(2), what+"-of-ranges-x")
	}
}

// nets are n disjoint networks, by turns of 28 and of 32 bits.
func nets(n int) (out []string) {
	for i := range n {
		a := 100<<24 | 64<<16 | i<<4
		out = append(out, fmt.Sprintf("%d.%d.%d.%d/%d", a>>24, a>>16&0xff, a>>8&0xff, a&0xff, 28+4*(i%2)))
	}
	return out
}

// BenchmarkLoad makes a policy whose set has 100,000 prefixes the policy in
// force, instead of another one, and has nft load a set of the same prefixes
// from a script, and one of as many addresses. The three take turns.
func BenchmarkLoad(b *testing.B) {
	const members = 100_000
	h := newHost(b, Options{})
	list := []*compile.Matcher{newSource(b, town(nets(members), nil)...).matcher(), newSource(b, town(nets(members), nil)...).matcher()}
	ranges, plain := []byte(textSets(nets(members), "ranges")), []byte(textSets(many(members), "plain"))
	h.apply(list[1])
	took := rivals{b: b}
	n := 0
	h.do(func(ctx context.Context) error {
		for ; b.Loop(); n++ {
			took.clock(0, func() error { return h.Apply(ctx, list[n%2]) })
			took.clock(1, func() error { return runNFT(ctx, "nft", ranges, "-f", "-") })
			took.clock(2, func() error { return runNFT(ctx, "nft", plain, "-f", "-") })
		}
		return nil
	})
	b.ReportMetric(float64(took.median(0).Milliseconds()), "apply-ms")
	b.ReportMetric(took.times(1), "of-ranges-x")
	b.ReportMetric(took.times(2), "of-plain-x")
}
