package bench_test

import (
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

const (
	readerBatch = 64    // calls of Match that are timed together
	readerTimes = 4_000 // times of a round
)

// BenchmarkReader measures what a compiler at work costs those who match
// meanwhile: the times of 64 calls of Match, by W10k, in rounds by turns with
// nobody beside, and with a compiler that applies one change after the other
// and publishes each matcher, which the reader takes up at once. The compiler
// has another processor, if there is one, and makes garbage there: what it
// costs is the caches, the collector, and, on a busy machine, the processor.
//
// An op is one round of each. The metrics p50 and p99 are of all rounds, in
// nanoseconds for 64 calls; ratio-p99 is beside over alone; changes/s is what
// the compiler got done.
func BenchmarkReader(b *testing.B) {
	if runtime.GOMAXPROCS(0) < 2 {
		b.Skip("a reader beside a compiler takes two processors")
	}
	w := worldOf(10_000)
	var was *sg.Group
	for g := range w.policy.Groups() {
		was = g
	}
	i := slices.IndexFunc(was.Rules, func(r sg.Rule) bool { return r.Protocol.HasPorts() })
	is := was.Rules[i]
	is.Ports = sg.PortRange{First: 65_000, Last: 65_533}
	extra := &sg.Interface{ID: "extra", VPC: workload.SingleVPC, Groups: []sg.GroupID{was.ID}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.200.0.1/32")}}
	for _, c := range []struct {
		name     string
		to, back policy.Change
	}{
		{"rule", policy.EditGroup{ID: was.ID, Replace: []sg.Rule{is}}, policy.EditGroup{ID: was.ID, Replace: was.Rules[i : i+1]}},
		{"interface", policy.PutInterface{Interface: extra}, policy.DeleteInterface{ID: extra.ID}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &reading{compiler: compiler(b, w.policy), to: c.to, back: c.back, flows: w.deny[sg.IPv4]}
			r.newest.Store(r.compiler.Matcher())
			i, _ := r.compiler.Matcher().Interface(workload.SingleInterface)
			r.index = i.Index
			r.round(b, false) // for the caches
			var alone, beside []time.Duration
			var changes int
			var spent time.Duration
			for b.Loop() {
				times, _ := r.round(b, false)
				alone = append(alone, times...)
				start := time.Now()
				times, n := r.round(b, true)
				beside, changes, spent = append(beside, times...), changes+n, spent+time.Since(start)
			}
			at := func(list []time.Duration, q float64) float64 {
				slices.Sort(list)
				return float64(list[int(q*float64(len(list)-1))].Nanoseconds())
			}
			b.ReportMetric(at(alone, 0.5), "p50-alone-ns")
			b.ReportMetric(at(beside, 0.5), "p50-beside-ns")
			b.ReportMetric(at(alone, 0.99), "p99-alone-ns")
			b.ReportMetric(at(beside, 0.99), "p99-beside-ns")
			b.ReportMetric(at(beside, 0.5)/at(alone, 0.5), "ratio-p50")
			b.ReportMetric(at(beside, 0.99)/at(alone, 0.99), "ratio-p99")
			b.ReportMetric(float64(changes)/spent.Seconds(), "changes/s")
		})
	}
}

// reading is a reader and a compiler.
type reading struct {
	compiler *compile.Compiler
	to, back policy.Change
	newest   atomic.Pointer[compile.Matcher]
	index    uint32
	flows    []workload.Flow
}

// round returns the times of one round, and how many changes were made
// meanwhile.
func (r *reading) round(b *testing.B, beside bool) (times []time.Duration, changes int) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	var err error
	if beside {
		begun := make(chan struct{})
		wg.Go(func() {
			for first := true; !stop.Load() && err == nil; first = false {
				var m *compile.Matcher
				if m, err = r.compiler.Apply(policy.Batch{Changes: []policy.Change{r.to}}); err == nil {
					r.newest.Store(m)
				}
				r.to, r.back = r.back, r.to
				changes++
				if first {
					close(begun)
				}
			}
		})
		<-begun
	}
	times = make([]time.Duration, readerTimes)
	at := 0
	for i := range times {
		start := time.Now()
		m := r.newest.Load()
		for range readerBatch {
			m.Match(r.index, sg.Ingress, r.flows[at].Flow)
			if at++; at == len(r.flows) {
				at = 0
			}
		}
		times[i] = time.Since(start)
	}
	stop.Store(true)
	wg.Wait()
	if err != nil {
		b.Fatal(err)
	}
	return times, changes
}
