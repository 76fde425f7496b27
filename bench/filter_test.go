package bench_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// gate is an engine with one port, as a server has it: Run keeps the clock.
type gate struct {
	*enforce.Engine
	port  *enforce.Port
	start time.Time
}

func newGate(tb testing.TB, w *world) *gate {
	g := &gate{start: time.Now()}
	g.Engine = enforce.NewEngine(enforce.Options{})
	if err := g.Apply(context.Background(), w.matcher); err != nil {
		tb.Fatal(err)
	}
	g.port = g.Port(workload.SingleInterface)
	return g
}

// run does what a server does in the background, until the benchmark is over.
func (g *gate) run(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Run(ctx)
	}()
	b.Cleanup(func() { cancel(); <-done })
}

// now is the engine's clock, to within microseconds.
func (g *gate) now() conntrack.Time { return conntrack.Time(time.Since(g.start)) + 1 }

// must sends a packet that has to be accepted for that reason.
func (g *gate) must(tb testing.TB, why ir.Reason, d sg.Direction, b []byte) {
	if v := g.port.Filter(d, b); v.Action != sg.Accept || v.Reason != why {
		tb.Fatalf("%v %v: %+v", d, why, v)
	}
}

// connect opens n TCP connections of a family to the interface, each with a
// handshake, and returns a data segment of each, in random order. The
// segments lie in one array, as in a ring of buffers.
func (g *gate) connect(tb testing.TB, w *world, family sg.Family, n int) [][]byte {
	w.verify(tb, sg.Accept, w.allow[family])
	flows, prog := distinct(tcpOnly(w.allow[family])), w.matcher.Program()
	ring := make([]byte, 0, n*(40+20+16))
	out := make([][]byte, n)
	order := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for i := range n {
		f := flows[i%len(flows)]
		t := f.Tuple(f.Local(prog), uint16(1_024+i/len(flows)))
		g.must(tb, ir.ReasonRule, sg.Ingress, workload.AppendPacket(nil, t, workload.Header{Flags: packet.SYN, Seq: 1}))
		g.must(tb, ir.ReasonEstablished, sg.Egress,
			workload.AppendPacket(nil, t.Reverse(), workload.Header{Flags: packet.SYN | packet.ACK, Seq: 1, Ack: 2}))
		from := len(ring)
		ring = workload.AppendPacket(ring, t, workload.Header{Flags: packet.ACK, Seq: 2, Ack: 2, Data: 16})
		out[order[i]] = ring[from:len(ring):len(ring)]
		g.must(tb, ir.ReasonEstablished, sg.Ingress, out[order[i]])
	}
	return out
}

// distinct returns flows without those that differ in nothing that a tuple
// shows: two of them would open one connection.
func distinct(flows []workload.Flow) []workload.Flow {
	seen := make(map[string]bool)
	var out []workload.Flow
	for _, f := range flows {
		if k := fmt.Sprint(f.Remote, f.Port); !seen[k] {
			seen[k] = true
			out = append(out, f)
		}
	}
	return out
}

// flowCounts are numbers of tracked connections: in the cache, and not.
var flowCounts = []int{1_000, 100_000}

// BenchmarkFilterEstablished measures segments of established TCP
// connections, one by one and in batches of 64.
func BenchmarkFilterEstablished(b *testing.B) {
	w := worldOf(1_000)
	for _, family := range families {
		for _, n := range flowCounts {
			g := newGate(b, w)
			packets := g.connect(b, w, family, n)
			b.Run(fmt.Sprintf("v%d/flows=%d", family, n), func(b *testing.B) {
				g.run(b)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if v := g.port.Filter(sg.Ingress, packets[i]); v.Reason != ir.ReasonEstablished {
						b.Fatal(v)
					}
					if i++; i == n {
						i = 0
					}
				}
			})
			b.Run(fmt.Sprintf("batch/v%d/flows=%d", family, n), func(b *testing.B) {
				g.run(b)
				const batch = 64
				out := make([]ir.Verdict, batch)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if got := g.port.FilterBatch(sg.Ingress, packets[i:i+batch], out); got != batch {
						b.Fatal(got)
					}
					if i += batch; i+batch > n {
						i = 0
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/packet")
			})
		}
	}
}

// BenchmarkFilterClock measures what reading the clock for every packet costs:
// the same as FilterEstablished/v4/flows=1000, but nobody calls Run.
func BenchmarkFilterClock(b *testing.B) {
	w := worldOf(1_000)
	g := newGate(b, w)
	packets := g.connect(b, w, sg.IPv4, 1_000)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		g.port.Filter(sg.Ingress, packets[i])
		if i++; i == len(packets) {
			i = 0
		}
	}
}

// BenchmarkFilterParallel measures established segments on all cores at one
// port; run it with -cpu 1,2.
func BenchmarkFilterParallel(b *testing.B) {
	const n = 10_000
	w := worldOf(1_000)
	g := newGate(b, w)
	packets := g.connect(b, w, sg.IPv4, n)
	g.run(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(n); pb.Next(); i++ {
			g.port.Filter(sg.Ingress, packets[i%n])
		}
	})
}

// BenchmarkFilterNew measures SYNs that open a connection each: decode, miss,
// match, and the entry. The table is emptied, outside the time, whenever it
// holds 64k of them.
func BenchmarkFilterNew(b *testing.B) {
	const n = 1 << 16
	for _, family := range families {
		for _, rules := range sizes {
			b.Run(fmt.Sprintf("v%d/rules=%d", family, rules), func(b *testing.B) {
				w := worldOf(rules)
				w.verify(b, sg.Accept, w.allow[family])
				g := newGate(b, w)
				packets := newSYNs(w, family, n)
				g.run(b)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if v := g.port.Filter(sg.Ingress, packets[i]); v.Reason != ir.ReasonRule {
						b.Fatal(v)
					}
					if i++; i == n {
						b.StopTimer()
						g.Table().Flush(g.now(), 1)
						i = 0
						b.StartTimer()
					}
				}
				if i > 0 && g.Table().Len() != i {
					b.Fatalf("%d packets opened %d connections", i, g.Table().Len())
				}
			})
		}
	}
}

// BenchmarkFilterDenied measures packets that no rule allows: decode, miss,
// match, and a counter. They leave no entry. The metric least-ns is the fastest
// round of all packets, per packet, one by one; batch-ns likewise in batches.
func BenchmarkFilterDenied(b *testing.B) {
	for _, family := range families {
		for _, rules := range sizes {
			b.Run(fmt.Sprintf("v%d/rules=%d", family, rules), func(b *testing.B) {
				w := worldOf(rules)
				w.verify(b, sg.Drop, w.deny[family])
				g := newGate(b, w)
				packets := denied(w, family)
				g.run(b)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					if v := g.port.Filter(sg.Ingress, packets[i%flowsPerCase]); v.Reason != ir.ReasonNoRule {
						b.Fatal(v)
					}
					i++
				}
				b.ReportMetric(least(func() {
					for _, p := range packets {
						g.port.Filter(sg.Ingress, p)
					}
				}, len(packets)), "least-ns")
				out := make([]ir.Verdict, batchSize)
				b.ReportMetric(least(func() {
					for i := 0; i < len(packets); i += batchSize {
						if g.port.FilterBatch(sg.Ingress, packets[i:i+batchSize], out) != 0 {
							b.Fatal(out)
						}
					}
				}, len(packets)), "batch-ns")
				if g.Table().Len() != 0 {
					b.Fatal("refused packets left entries")
				}
			})
		}
	}
}

// denied returns the packets of the refused flows of a family.
func denied(w *world, family sg.Family) [][]byte {
	out := make([][]byte, flowsPerCase)
	for i, f := range w.deny[family] {
		out[i] = f.Packet(f.Local(w.matcher.Program()), 40_000)
	}
	return out
}

// TestFilterAllocates nothing, on any path that is timed above.
func TestFilterAllocates(t *testing.T) {
	w := worldOf(100)
	for _, family := range families {
		g := newGate(t, w)
		established := g.connect(t, w, family, 1_000)
		refused := denied(w, family)
		i := 0
		for name, f := range map[string]func(){
			"established": func() { g.port.Filter(sg.Ingress, established[i%1_000]); i++ },
			"denied":      func() { g.port.Filter(sg.Ingress, refused[i%flowsPerCase]); i++ },
		} {
			if n := testing.AllocsPerRun(2_000, f); n != 0 {
				t.Errorf("%s, v%d: %v allocations per packet", name, family, n)
			}
		}
		// A new flow may find its slab full: 256 of them get a new one.
		syn := newSYNs(w, family, 4_000)
		if n := testing.AllocsPerRun(3_000, func() { g.port.Filter(sg.Ingress, syn[i%4_000]); i++ }); n >= 1 {
			t.Errorf("new, v%d: %v allocations per packet", family, n)
		}
	}
}

// newSYNs returns n packets that open a connection each.
func newSYNs(w *world, family sg.Family, n int) [][]byte {
	flows := distinct(tcpOnly(w.allow[family]))
	ring := make([]byte, 0, n*60)
	out := make([][]byte, n)
	for i := range out {
		f, from := flows[i%len(flows)], len(ring)
		t := f.Tuple(f.Local(w.matcher.Program()), uint16(1_024+i/len(flows)))
		ring = workload.AppendPacket(ring, t, workload.Header{Flags: packet.SYN})
		out[i] = ring[from:len(ring):len(ring)]
	}
	return out
}
