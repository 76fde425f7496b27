package bench_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// setSizes are numbers of entries of an IP set.
var setSizes = []int{100_000, 1_000_000}

var setWorlds sync.Map // by number of entries: func() *world

// setWorld returns the workload of one rule, TCP 443 from a set of n prefixes.
func setWorld(n int) *world {
	w, _ := setWorlds.LoadOrStore(n, sync.OnceValue(func() *world {
		r := rand.New(rand.NewPCG(uint64(n), 2))
		return newWorld(r, workload.Single([]sg.Rule{fromSet("ips")}, workload.Set(r, "ips", sg.IPv4, n)))
	}))
	return w.(func() *world)()
}

func fromSet(id sg.SetID) sg.Rule {
	return sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerSet(id)}
}

// BenchmarkCompile measures Compile of W10 to W10k. The metric kept-B/rule is
// the heap that the matcher and its program keep, without the policy;
// index-B/rule is the matcher's part of it: what Match reads. least-ns is the
// fastest of all.
func BenchmarkCompile(b *testing.B) {
	for _, n := range sizes {
		w := worldOf(n)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			compileAll(b, w.policy)
			reportKept(b, w.policy, n, "rule")
		})
	}
}

// BenchmarkCompileSet measures Compile of one rule with a large set.
func BenchmarkCompileSet(b *testing.B) {
	for _, n := range setSizes {
		w := setWorld(n)
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			compileAll(b, w.policy)
			reportKept(b, w.policy, n, "entry")
		})
	}
	b.Run("v6/entries=1000000", func(b *testing.B) {
		const n = 1_000_000
		s := workload.Single([]sg.Rule{fromSet("ips")}, workload.Set(rand.New(rand.NewPCG(n, 6)), "ips", sg.IPv6, n))
		compileAll(b, s)
		reportKept(b, s, n, "entry")
	})
}

// BenchmarkCompileAllPorts measures a group of one rule, for all ports but
// port 0: no port range may be taken apart into its ports.
func BenchmarkCompileAllPorts(b *testing.B) {
	peer := sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))
	s := workload.Single([]sg.Rule{{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: 1, Last: 65_535}, Peer: peer}})
	empty := workload.Single(nil)
	compileAll(b, s)
	b.ReportMetric(kept(b, s, whole)-kept(b, empty, whole), "kept-B/rule")
}

func compileAll(b *testing.B, s *policy.Snapshot) {
	b.ReportAllocs()
	var t timing
	for b.Loop() {
		start := time.Now()
		if _, err := compile.Compile(s); err != nil {
			b.Fatal(err)
		}
		t.add(time.Since(start))
	}
	b.ReportMetric(float64(t.least.Nanoseconds()), "least-ns")
}

func whole(m *compile.Matcher) any   { return m }
func program(m *compile.Matcher) any { return m.Program() }

func reportKept(b *testing.B, s *policy.Snapshot, n int, each string) {
	all, prog := kept(b, s, whole), kept(b, s, program)
	b.ReportMetric(all/float64(n), "kept-B/"+each)
	b.ReportMetric((all-prog)/float64(n), "index-B/"+each)
}

// kept returns the bytes of heap that a part of a matcher keeps.
func kept(b *testing.B, s *policy.Snapshot, part func(*compile.Matcher) any) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found only to be swept
	runtime.ReadMemStats(&before)
	m, err := compile.Compile(s)
	if err != nil {
		b.Fatal(err)
	}
	p := part(m)
	m = nil
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(p)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

// pair times a change and the one that takes it back, apart. The metrics
// least-ns/change and least-ns/back are the fastest of all: they tell the cost
// on a machine that is busy with other things too. policy-ns is the part of
// one change that is Snapshot.With, the fastest again: validating and copying
// what a compiler then only reads.
type pair struct {
	b        *testing.B
	policy   *policy.Snapshot
	c        *compile.Compiler
	to, back policy.Batch
}

type timing struct{ sum, least time.Duration }

func (t *timing) add(d time.Duration) {
	if t.sum += d; t.least == 0 || d < t.least {
		t.least = d
	}
}

func (p *pair) loop() {
	var to, back, with timing
	apply := func(batch policy.Batch, t *timing) {
		start := time.Now()
		_, err := p.c.Apply(batch)
		t.add(time.Since(start))
		if err != nil {
			p.b.Fatal(err)
		}
	}
	p.b.ReportAllocs()
	for p.b.Loop() {
		apply(p.to, &to)
		apply(p.back, &back)
	}
	for range 50 {
		start := time.Now()
		_, _, err := p.policy.With(p.to.Changes...)
		with.add(time.Since(start))
		if err != nil {
			p.b.Fatal(err)
		}
	}
	p.b.ReportMetric(float64(to.sum.Nanoseconds())/float64(p.b.N), "ns/change")
	p.b.ReportMetric(float64(back.sum.Nanoseconds())/float64(p.b.N), "ns/back")
	p.b.ReportMetric(float64(to.least.Nanoseconds()), "least-ns/change")
	p.b.ReportMetric(float64(back.least.Nanoseconds()), "least-ns/back")
	p.b.ReportMetric(float64(with.least.Nanoseconds()), "policy-ns")
}

func compiler(b *testing.B, s *policy.Snapshot) *compile.Compiler {
	c := new(compile.Compiler)
	if _, err := c.Reset(s); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkApplyMember measures one member more, and one less, among 100,000:
// an interface of a group that a rule names, and an entry of a set that a rule
// names. An op is both changes; ns/change is the addition, ns/back the removal.
func BenchmarkApplyMember(b *testing.B) {
	const n = 100_000
	b.Run("interface", func(b *testing.B) {
		members := crowd(n)
		extra := &sg.Interface{ID: "extra", VPC: "vpc", Groups: []sg.GroupID{"members"},
			Addrs: []netip.Prefix{netip.MustParsePrefix("10.200.0.1/32"), netip.MustParsePrefix("fd00:9::1/128")}}
		(&pair{
			b: b, policy: members, c: compiler(b, members),
			to:   policy.Batch{Changes: []policy.Change{policy.PutInterface{Interface: extra}}},
			back: policy.Batch{Changes: []policy.Change{policy.DeleteInterface{ID: extra.ID}}},
		}).loop()
	})
	b.Run("entry", func(b *testing.B) {
		p := netip.MustParsePrefix("240.0.0.1/32") // outside what workload.Set makes
		(&pair{
			b: b, policy: setWorld(n).policy, c: compiler(b, setWorld(n).policy),
			to:   policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "ips", Add: []ipset.Entry{{Prefix: p}}}}},
			back: policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "ips", Remove: []netip.Prefix{p}}}},
		}).loop()
	})
	b.Run("entry-in-wide", func(b *testing.B) {
		// A /8 that covers about one of 220 entries: each gets another class.
		p := netip.MustParsePrefix("77.0.0.0/8")
		(&pair{
			b: b, policy: setWorld(n).policy, c: compiler(b, setWorld(n).policy),
			to:   policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "ips", Add: []ipset.Entry{{Prefix: p}}}}},
			back: policy.Batch{Changes: []policy.Change{policy.EditSet{ID: "ips", Remove: []netip.Prefix{p}}}},
		}).loop()
	})
}

// crowd is a policy whose one rule allows a group with n members.
func crowd(n int) *policy.Snapshot {
	empty := workload.Single([]sg.Rule{})
	changes := []policy.Change{
		policy.PutGroup{Group: &sg.Group{ID: "members", Name: "members", VPC: "vpc"}},
		policy.PutGroup{Group: &sg.Group{ID: "server", Name: "server", VPC: "vpc", Rules: []sg.Rule{{
			ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerGroup("members"),
		}}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "server", VPC: "vpc", Groups: []sg.GroupID{"server"}}},
	}
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		changes = append(changes, policy.PutInterface{Interface: &sg.Interface{
			ID: sg.InterfaceID(fmt.Sprintf("if-%06d", i)), VPC: "vpc", Groups: []sg.GroupID{"members"},
			Addrs: []netip.Prefix{netip.PrefixFrom(a, 32)},
		}})
	}
	s, _, err := empty.With(changes...)
	if err != nil {
		panic(err)
	}
	return s
}

// BenchmarkApplyRule measures one rule that gets another port, and its old one
// back, among 10,000 in one group, and among 10,000 in 100 groups that are
// attached to one interface each. The change names the rule, or, in whole, has
// all of the group. In any=1000 it is one of 1,000 rules for any peer, which
// share a list, among 10,000.
func BenchmarkApplyRule(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, c := range []struct {
		name   string
		policy *policy.Snapshot
	}{
		{"groups=1", worldOf(10_000).policy},
		{"any=1000", workload.Single(someAny(workload.Rules(r, 10_000)))},
		{"groups=100", workload.Policy(r, workload.Shape{Groups: 100, RulesPerGroup: 100, Interfaces: 100, GroupsPerInterface: 1})},
	} {
		var was *sg.Group
		for g := range c.policy.Groups() {
			was = g // the last
		}
		i := slices.IndexFunc(was.Rules, func(r sg.Rule) bool { return r.Protocol.HasPorts() && r.Peer.IsAny() == (c.name == "any=1000") })
		is := was.Clone()
		is.Rules[i].Ports = sg.PortRange{First: 65_000, Last: 65_533}
		more := is.Rules[i]
		more.ID, more.Ports = "more", sg.Port(65_534)
		for _, change := range []struct {
			name     string
			to, back policy.Change
		}{
			{"replace", policy.EditGroup{ID: was.ID, Replace: is.Rules[i : i+1]}, policy.EditGroup{ID: was.ID, Replace: was.Rules[i : i+1]}},
			{"add", policy.EditGroup{ID: was.ID, Add: []sg.Rule{more}}, policy.EditGroup{ID: was.ID, Remove: []sg.RuleID{more.ID}}},
			{"whole", policy.PutGroup{Group: is}, policy.PutGroup{Group: was}},
		} {
			b.Run(c.name+"/"+change.name, func(b *testing.B) {
				(&pair{
					b: b, policy: c.policy, c: compiler(b, c.policy),
					to:   policy.Batch{Changes: []policy.Change{change.to}},
					back: policy.Batch{Changes: []policy.Change{change.back}},
				}).loop()
			})
		}
	}
}

// BenchmarkApplyFirst measures the first edit after Reset, one rule more in a
// group of 10,000: it makes what a policy that is never edited does not need.
// Reset is not part of it. first-ns is the fastest of all.
func BenchmarkApplyFirst(b *testing.B) {
	w := worldOf(10_000)
	more := sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(65_534), Peer: sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))}
	edit := policy.Batch{Changes: []policy.Change{policy.EditGroup{ID: workload.SingleGroup, Add: []sg.Rule{more}}}}
	var t timing
	for range b.N {
		c := compiler(b, w.policy)
		start := time.Now()
		if _, err := c.Apply(edit); err != nil {
			b.Fatal(err)
		}
		t.add(time.Since(start))
	}
	b.ReportMetric(0, "ns/op") // that would be with Reset
	b.ReportMetric(float64(t.sum.Nanoseconds())/float64(b.N), "ns/first")
	b.ReportMetric(float64(t.least.Nanoseconds()), "first-ns")
}

// BenchmarkStoreToMatcher measures one rule more, and one less, in a group of
// 10,000, from Store.Update, by the batch that a watcher gets, to the matcher.
// An op is one change.
func BenchmarkStoreToMatcher(b *testing.B) {
	w := worldOf(10_000)
	s, err := policy.NewStore(*w.policy.Profile())
	if err != nil {
		b.Fatal(err)
	}
	empty, _ := s.Snapshot()
	commit(b, s, applying(empty.Diff(w.policy)...))
	now, rev := s.Snapshot()
	c := compiler(b, now)
	next, stop := iter.Pull2(s.Watch(b.Context(), rev))
	defer stop()
	rule := sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(65_534), Peer: sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))}
	steps := []func(*policy.Tx) error{
		func(tx *policy.Tx) error { return tx.AddRules(workload.SingleGroup, rule) },
		func(tx *policy.Tx) error { return tx.RemoveRule(workload.SingleGroup, rule.ID) },
	}
	b.ReportAllocs()
	var t timing
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		commit(b, s, steps[n%2])
		batch, err, _ := next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Apply(batch); err != nil {
			b.Fatal(err)
		}
		t.add(time.Since(start))
	}
	b.ReportMetric(float64(t.least.Nanoseconds()), "least-ns")
}

// someAny returns rules, each tenth of them for a range of ports and any peer.
func someAny(rules []sg.Rule) []sg.Rule {
	for i := 0; i < len(rules); i += 10 {
		first := uint16(1 + 6*i)
		rules[i] = sg.Rule{ID: rules[i].ID, Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: first, Last: first + 90}, Peer: sg.PeerAny()}
	}
	return rules
}
