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
	readerBatch = 64     // calls of Match that are timed together
	readerTimes = 16_000 // times of a round
)

// BenchmarkReader measures what a compiler at work costs those who match
// meanwhile: the times of 64 calls of Match, by W10k, in rounds by turns with
// nobody beside, and with a compiler that applies one change after the other,
// or, in paced, one each 10 ms, and publishes each matcher, which the reader
// takes up at once. The compiler
// has another processor, if there is one, and makes garbage there: what it
// costs is the caches, the collector, and, on a busy machine, the processor.
//
// An op is one round of each. The metrics p50 and p99 are the medians of those
// of the rounds, in nanoseconds for 64 calls; ratio is beside over alone, and
// ratio-least that of the fastest rounds, which tells what the compiler does
// on a machine that is busy with other things too; changes/s is what the
// compiler got done.
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
	rule := [2]policy.Change{
		policy.EditGroup{ID: was.ID, Replace: []sg.Rule{is}}, policy.EditGroup{ID: was.ID, Replace: was.Rules[i : i+1]},
	}
	for _, c := range []struct {
		name  string
		turns [2]policy.Change
		pause time.Duration
	}{
		{"rule", rule, 0},
		{"rule-paced", rule, 10 * time.Millisecond},
		{"interface", [2]policy.Change{policy.PutInterface{Interface: extra}, policy.DeleteInterface{ID: extra.ID}}, 0},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := &reading{compiler: compiler(b, w.policy), turns: c.turns, pause: c.pause, flows: w.deny[sg.IPv4]}
			r.newest.Store(r.compiler.Matcher())
			i, _ := r.compiler.Matcher().Interface(workload.SingleInterface)
			r.index = i.Index
			r.round(b, false) // for the caches
			var alone, beside quantiles
			var changes int
			var spent time.Duration
			for b.Loop() {
				times, _ := r.round(b, false)
				alone.add(times)
				start := time.Now()
				times, n := r.round(b, true)
				beside.add(times)
				changes, spent = changes+n, spent+time.Since(start)
			}
			for name, list := range map[string][2][]float64{"p50": {alone.p50, beside.p50}, "p99": {alone.p99, beside.p99}} {
				for i, who := range []string{"alone", "beside"} {
					slices.Sort(list[i])
					b.ReportMetric(list[i][len(list[i])/2], name+"-"+who+"-ns")
				}
				b.ReportMetric(list[1][len(list[1])/2]/list[0][len(list[0])/2], "ratio-"+name)
				b.ReportMetric(list[1][0]/list[0][0], "ratio-least-"+name)
			}
			b.ReportMetric(float64(changes)/spent.Seconds(), "changes/s")
		})
	}
}

// quantiles are of rounds, one each, in nanoseconds.
type quantiles struct{ p50, p99 []float64 }

func (q *quantiles) add(times []time.Duration) {
	slices.Sort(times)
	at := func(share float64) float64 { return float64(times[int(share*float64(len(times)-1))].Nanoseconds()) }
	q.p50, q.p99 = append(q.p50, at(0.5)), append(q.p99, at(0.99))
}

// reading is a reader and a compiler.
type reading struct {
	compiler *compile.Compiler
	turns    [2]policy.Change
	pause    time.Duration // between two changes
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
			var tick <-chan time.Time
			if r.pause > 0 {
				t := time.NewTicker(r.pause)
				defer t.Stop()
				tick = t.C
			}
			for first := true; !stop.Load() && err == nil; first = false {
				var m *compile.Matcher
				if m, err = r.compiler.Apply(policy.Batch{Changes: []policy.Change{r.turns[0]}}); err == nil {
					r.newest.Store(m)
				}
				r.turns[0], r.turns[1] = r.turns[1], r.turns[0]
				changes++
				if first {
					close(begun)
				}
				if tick != nil {
					<-tick
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
