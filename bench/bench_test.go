package bench_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gaissmai/bart"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// sizes are those of the workloads W10 to W10k.
var sizes = []int{10, 100, 1_000, 10_000}

// flowsPerCase is a power of two, so that a benchmark goes round its flows
// with a mask.
const flowsPerCase = 1 << 9

// world is one workload: a policy, its matcher, and flows that it accepts and
// refuses, by family. It is made once and only read.
type world struct {
	policy  *policy.Snapshot
	matcher *compile.Matcher
	index   uint32 // of the one interface
	allow   map[sg.Family][]workload.Flow
	deny    map[sg.Family][]workload.Flow
}

var worlds sync.Map // by number of rules: func() *world

// worldOf returns the workload of n rules.
func worldOf(n int) *world {
	w, _ := worlds.LoadOrStore(n, sync.OnceValue(func() *world {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		return newWorld(r, workload.Single(workload.Rules(r, n)))
	}))
	return w.(func() *world)()
}

func newWorld(r *rand.Rand, s *policy.Snapshot) *world {
	m, err := compile.Compile(s)
	if err != nil {
		panic(err)
	}
	i, _ := m.Interface(workload.SingleInterface)
	return &world{
		policy: s, matcher: m, index: i.Index,
		allow: sorted(workload.Flows(r, m.Program(), 8*flowsPerCase, 1)),
		deny:  sorted(workload.Flows(r, m.Program(), 8*flowsPerCase, 0)),
	}
}

// sorted returns the ingress flows of each family, as many as fit a case: the
// rules of W10 to W10k are for ingress.
func sorted(flows []workload.Flow) map[sg.Family][]workload.Flow {
	out := make(map[sg.Family][]workload.Flow)
	for _, f := range flows {
		if k := sg.FamilyOf(f.Remote); f.Direction == sg.Ingress && len(out[k]) < flowsPerCase {
			out[k] = append(out[k], f)
		}
	}
	return out
}

// verify compares the matcher with the reference interpreter on every flow
// that is going to be timed. It is here, and not in a test only, so that no
// figure is ever that of a wrong answer.
func (w *world) verify(tb testing.TB, want sg.Action, flows []workload.Flow) {
	tb.Helper()
	if len(flows) != flowsPerCase {
		tb.Fatalf("%d flows instead of %d", len(flows), flowsPerCase)
	}
	w.verifySome(tb, want, flows, len(flows))
}

// verifySome compares all flows with the outcome that they were made for, and
// the first n with the interpreter too: it scans every entry of a set.
func (w *world) verifySome(tb testing.TB, want sg.Action, flows []workload.Flow, n int) {
	tb.Helper()
	prog := w.matcher.Program()
	for i, f := range flows {
		got := w.matcher.Match(w.index, f.Direction, f.Flow)
		if got.Action != want {
			tb.Fatalf("%+v: Match gives %+v, the workload wants %v", f, got, want)
		}
		if i < n {
			if v := prog.Eval(f.Interface, f.Direction, f.Flow); got != v {
				tb.Fatalf("%+v: Match gives %+v, Eval %+v", f, got, v)
			}
		}
	}
}

// tcpOnly returns the flows of TCP, the first ones again where there are not
// enough.
func tcpOnly(flows []workload.Flow) []workload.Flow {
	var tcp []workload.Flow
	for _, f := range flows {
		if sg.Protocol(f.Protocol) == sg.TCP {
			tcp = append(tcp, f)
		}
	}
	for i := 0; len(tcp) < flowsPerCase; i++ {
		tcp = append(tcp, tcp[i])
	}
	return tcp[:flowsPerCase]
}

// families are the cases of a benchmark that has both.
var families = []sg.Family{sg.IPv4, sg.IPv6}

// TestWorlds: the flows that are timed have the verdict that Program.Eval
// gives. Benchmarks check it again, W10k included.
func TestWorlds(t *testing.T) {
	for _, n := range sizes {
		if n > 1_000 {
			continue // the interpreter takes a millisecond per flow
		}
		w := worldOf(n)
		for _, f := range families {
			w.verify(t, sg.Accept, w.allow[f])
			w.verify(t, sg.Drop, w.deny[f])
		}
	}
}

// BenchmarkDecode measures packet.Decode alone: a mix of TCP, UDP and ICMP
// packets that open flows.
func BenchmarkDecode(b *testing.B) {
	w := worldOf(1_000)
	for _, family := range families {
		b.Run("v"+fmt.Sprint(uint8(family)), func(b *testing.B) {
			var packets [flowsPerCase][]byte
			for i, f := range w.allow[family] {
				packets[i] = f.Packet(f.Local(w.matcher.Program()), 40_000)
			}
			var p packet.Packet
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := packet.Decode(packets[i%flowsPerCase], &p); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkMatch measures Matcher.Match alone, and MatchBatch, against the
// number of rules. The metric least-ns is the fastest round of all flows, per
// flow: it tells the cost on a machine that is busy with other things too.
func BenchmarkMatch(b *testing.B) {
	for _, n := range sizes {
		for _, family := range families {
			w := worldOf(n)
			for _, c := range []struct {
				name   string
				action sg.Action
				flows  []workload.Flow
			}{
				{"allow", sg.Accept, w.allow[family]},
				{"deny", sg.Drop, w.deny[family]},
			} {
				b.Run(fmt.Sprintf("%s/v%d/rules=%d", c.name, family, n), func(b *testing.B) {
					w.verify(b, c.action, c.flows)
					timeMatch(b, w, c.flows)
				})
				b.Run(fmt.Sprintf("batch/%s/v%d/rules=%d", c.name, family, n), func(b *testing.B) {
					w.verify(b, c.action, c.flows)
					timeBatch(b, w, bare(c.flows))
				})
			}
		}
	}
}

func timeMatch(b *testing.B, w *world, flows []workload.Flow) {
	b.ReportAllocs()
	var v ir.Verdict
	i := 0
	for b.Loop() {
		f := &flows[i%flowsPerCase]
		v = w.matcher.Match(w.index, f.Direction, f.Flow)
		i++
	}
	b.ReportMetric(least(func() {
		for i := range flows {
			f := &flows[i]
			v = w.matcher.Match(w.index, f.Direction, f.Flow)
		}
	}, len(flows)), "least-ns")
	_ = v
}

// batchSize is how many flows a batch has in all benchmarks.
const batchSize = 64

// timeBatch measures MatchBatch of ingress flows; an op is one flow.
func timeBatch(b *testing.B, w *world, flows []ir.Flow) {
	out := make([]ir.Verdict, batchSize)
	b.ReportAllocs()
	i := 0
	for n := 0; b.Loop(); n++ {
		if n%batchSize != 0 {
			continue
		}
		w.matcher.MatchBatch(w.index, sg.Ingress, flows[i:i+batchSize], out)
		if i += batchSize; i == len(flows) {
			i = 0
		}
	}
	if len(flows) == flowsPerCase {
		b.ReportMetric(least(func() {
			for i := 0; i < len(flows); i += batchSize {
				w.matcher.MatchBatch(w.index, sg.Ingress, flows[i:i+batchSize], out)
			}
		}, len(flows)), "least-ns")
	}
}

// least returns the time of the fastest of many rounds, in ns per each of n.
func least(round func(), n int) float64 {
	best := time.Hour
	for range 2_000 {
		start := time.Now()
		round()
		best = min(best, time.Since(start))
	}
	return float64(best.Nanoseconds()) / float64(n)
}

// bare returns what a matcher is asked, without where.
func bare(flows []workload.Flow) []ir.Flow {
	out := make([]ir.Flow, len(flows))
	for i, f := range flows {
		out[i] = f.Flow
	}
	return out
}

// TestMatchAllocates nothing, one by one and in batches.
func TestMatchAllocates(t *testing.T) {
	w := worldOf(1_000)
	out := make([]ir.Verdict, batchSize)
	for _, family := range families {
		for _, list := range [][]workload.Flow{w.allow[family], w.deny[family]} {
			flows, i := bare(list), 0
			if n := testing.AllocsPerRun(1_000, func() { w.matcher.Match(w.index, sg.Ingress, flows[i%flowsPerCase]); i++ }); n != 0 {
				t.Errorf("v%d: %v allocations per match", family, n)
			}
			if n := testing.AllocsPerRun(100, func() { w.matcher.MatchBatch(w.index, sg.Ingress, flows[:batchSize], out) }); n != 0 {
				t.Errorf("v%d: %v allocations per batch", family, n)
			}
		}
	}
}

// coldFlows is more flows than the cache holds the way to.
const coldFlows = 1 << 20

// BenchmarkMatchSetCold measures hits of random addresses in a set of a
// million prefixes, one by one and in batches, and those of bart.Lite, which
// has the same prefixes and tells no more than whether there is one.
func BenchmarkMatchSetCold(b *testing.B) {
	const n = 1_000_000
	for _, family := range families {
		r := rand.New(rand.NewPCG(uint64(family), 5))
		set := workload.Set(r, "ips", family, n)
		w := newWorld(r, workload.Single([]sg.Rule{fromSet("ips")}, set))
		lite := new(bart.Lite)
		prefixes := make([]netip.Prefix, 0, n)
		for e := range set.All() {
			lite.Insert(e.Prefix)
			prefixes = append(prefixes, e.Prefix)
		}
		flows := make([]ir.Flow, coldFlows)
		for i := range flows {
			flows[i] = ir.Flow{Remote: workload.Within(r, prefixes[r.IntN(n)]), Protocol: uint8(sg.TCP), Port: 443}
			if !lite.Contains(flows[i].Remote) || w.matcher.Match(w.index, sg.Ingress, flows[i]).Action != sg.Accept {
				b.Fatalf("%v is not in the set", flows[i].Remote)
			}
		}
		out := make([]ir.Verdict, batchSize)
		for _, c := range []struct {
			name string
			part func([]ir.Flow)
		}{
			{"match", func(flows []ir.Flow) {
				for i := range flows {
					w.matcher.Match(w.index, sg.Ingress, flows[i])
				}
			}},
			{"batch", func(flows []ir.Flow) {
				for i := 0; i < len(flows); i += batchSize {
					w.matcher.MatchBatch(w.index, sg.Ingress, flows[i:i+batchSize], out)
				}
			}},
			{"bart.Lite", func(flows []ir.Flow) {
				for i := range flows {
					lite.Contains(flows[i].Remote)
				}
			}},
		} {
			b.Run(fmt.Sprintf("v%d/%s", family, c.name), func(b *testing.B) { timeCold(b, flows, c.part) })
		}
	}
}

// timeCold measures parts of the flows, in order, so that what one needs is
// out of the cache when it comes again. An op is one part of 1,024 flows;
// ns/flow is the mean, tenth-ns the tenth percentile of the parts, which tells
// the cost on a machine that is busy with other things too.
func timeCold(b *testing.B, flows []ir.Flow, part func([]ir.Flow)) {
	const size = 1_024
	var times []time.Duration
	i := 0
	for b.Loop() {
		start := time.Now()
		part(flows[i : i+size])
		times = append(times, time.Since(start))
		if i += size; i == len(flows) {
			i = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/flow")
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/10].Nanoseconds())/size, "tenth-ns")
}

// BenchmarkMatchOverlap measures 10,000 rules over 100 sets that overlap in
// every way: 100,000 prefixes, of which every address is in about half of the
// sets. There is no room for a merged list of each class, so that a match asks
// each of some fifty selectors.
func BenchmarkMatchOverlap(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 6))
	var rules []sg.Rule
	var sets []*ipset.Set
	for i := range 100 {
		set := ipset.New(sg.SetID(fmt.Sprintf("ips-%02d", i)), sg.IPv4, sg.Global())
		for set.Len() < 1_000 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.UintN(8)), byte(r.UintN(256)), 0}), 24)
			if !set.Has(p) {
				if err := set.Add(ipset.Entry{Prefix: p}); err != nil {
					b.Fatal(err)
				}
			}
		}
		sets = append(sets, set)
		for j := range 100 {
			rule := fromSet(set.ID)
			rule.ID, rule.Ports = sg.RuleID(fmt.Sprintf("r-%02d-%02d", i, j)), sg.Port(uint16(1+600*j+6*i))
			rules = append(rules, rule)
		}
	}
	w := newWorld(r, workload.Single(rules, sets...))
	flows := make([]workload.Flow, flowsPerCase)
	for i := range flows {
		flows[i] = workload.Flow{Interface: workload.SingleInterface, Direction: sg.Ingress, Flow: ir.Flow{
			Remote:   netip.AddrFrom4([4]byte{10, byte(r.UintN(8)), byte(r.UintN(256)), byte(r.UintN(256))}),
			Protocol: uint8(sg.TCP), Port: uint16(3 + 6*r.UintN(10_000)),
		}}
	}
	w.verifySome(b, sg.Drop, flows, 16)
	timeMatch(b, w, flows)
}

// BenchmarkMatchSet measures a rule whose peer is an IP set, against the size
// of the set. Flows are few, so what they need of the table is in the cache.
func BenchmarkMatchSet(b *testing.B) {
	for _, n := range setSizes {
		w := setWorld(n)
		for _, c := range []struct {
			name   string
			action sg.Action
			flows  []workload.Flow
		}{
			{"allow", sg.Accept, w.allow[sg.IPv4]},
			{"deny", sg.Drop, w.deny[sg.IPv4]},
		} {
			b.Run(fmt.Sprintf("%s/v4/entries=%d", c.name, n), func(b *testing.B) {
				w.verifySome(b, c.action, c.flows, 16)
				timeMatch(b, w, c.flows)
			})
		}
	}
}
