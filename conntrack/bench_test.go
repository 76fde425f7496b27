package conntrack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"example.com/secgroup/conntrack/packet"
)

// benchFlows returns n flows, their replies in random order.
func benchFlows(n int, six bool) (outs, ins []packet.Packet) {
	outs, ins = make([]packet.Packet, n), make([]packet.Packet, n)
	for i, j := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		out, in := flow(i)
		if six {
			out.Tuple.Family, in.Tuple.Family = 6, 6
			out.Tuple.Src[0], in.Tuple.Dst[0] = 0xfd, 0xfd
		}
		outs[i], ins[j] = *out, *in
	}
	return outs, ins
}

var benchSizes = []int{1_000, 100_000, 1_000_000}

func benchTable(n int, outs []packet.Packet) *Table {
	t := NewTable(Options{MaxEntries: 2 * n})
	for i := range outs {
		if _, err := t.Commit(0, 0, Local, &outs[i], 1, 1); err != nil {
			panic(err)
		}
	}
	return t
}

// BenchmarkTrack measures reply packets of existing flows (hit) and packets of
// none (miss).
func BenchmarkTrack(b *testing.B) {
	for _, six := range []bool{false, true} {
		for _, n := range benchSizes {
			outs, ins := benchFlows(n, six)
			t := benchTable(n, outs)
			for zone, name := range []string{"hit", "miss"} {
				b.Run(fmt.Sprintf("%s/v6=%v/flows=%d", name, six, n), func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						t.Track(1, Zone(zone), Remote, &ins[i])
						if i++; i == n {
							i = 0
						}
					}
				})
			}
		}
	}
}

// BenchmarkTrackTCP measures segments of one established connection.
func BenchmarkTrackTCP(b *testing.B) {
	g := newGate()
	const in, out = inside + ":4000", outside + ":80"
	g.out(tcp(in, out, "S"))
	g.in(tcp(out, in, "SA"))
	p := tcp(in, out, "A")
	b.ReportAllocs()
	for b.Loop() {
		g.Track(1, 0, Local, p)
	}
}

// BenchmarkTrackParallel measures hits on all cores.
func BenchmarkTrackParallel(b *testing.B) {
	const n = 10_000
	outs, ins := benchFlows(n, false)
	t := benchTable(n, outs)
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(n); pb.Next(); i++ {
			t.Track(1, 0, Remote, &ins[i%n])
		}
	})
}

// BenchmarkCommit measures inserts: into a table with n flows, and at the limit,
// where each evicts another.
func BenchmarkCommit(b *testing.B) {
	for _, n := range benchSizes {
		outs, _ := benchFlows(n, false)
		b.Run(fmt.Sprintf("insert/flows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			t := benchTable(n, outs)
			i := 0
			for b.Loop() {
				if i == n {
					b.StopTimer()
					t.Flush(0, 1)
					b.StartTimer()
					i = 0
				}
				_, _ = t.Commit(0, 1, Remote, &outs[i], 1, 1)
				i++
			}
		})
		b.Run(fmt.Sprintf("evict/flows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			t := NewTable(Options{MaxEntries: n / 2})
			i := 0
			for b.Loop() {
				_, _ = t.Commit(0, 1, Remote, &outs[i], 1, 1)
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}

// BenchmarkSweep measures a sweep over 1M flows of which none is due.
func BenchmarkSweep(b *testing.B) {
	const n = 1_000_000
	outs, _ := benchFlows(n, false)
	t := benchTable(n, outs)
	b.ReportAllocs()
	for b.Loop() {
		t.Sweep(1, n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/slot")
}
