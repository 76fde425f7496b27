package bench_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// tableSizes are powers of two, so that ctFlows.next visits every flow once
// before it comes round.
var tableSizes = []int{1 << 10, 1 << 17, 1 << 20, 1 << 22}

// ctFlows makes the packets of n flows out of their numbers: an array of
// packets would be larger than the table. Flows have one local address and
// remote addresses and ports of their own.
type ctFlows struct {
	n     uint32
	out   packet.Packet // from the local end
	in    packet.Packet // from the remote end
	proto uint8
}

func newCTFlows(n int, family sg.Family, proto uint8) *ctFlows {
	f := &ctFlows{n: uint32(n), proto: proto}
	for _, p := range []*packet.Packet{&f.out, &f.in} {
		p.Tuple.Proto, p.Tuple.Family, p.Length, p.L4 = proto, uint8(family), 60, 20
		for _, a := range []*[16]byte{&p.Tuple.Src, &p.Tuple.Dst} {
			a[10], a[11] = 0xff, 0xff
			if family == sg.IPv6 {
				*a = [16]byte{0x20, 0x01, 0x0d, 0xb8}
			}
			a[12], a[15] = 10, 1
		}
	}
	return f
}

// next returns the number after i in an order that no prefetcher guesses.
func (f *ctFlows) next(i uint32) uint32 { return (i*1664525 + 1013904223) & (f.n - 1) }

// set makes p, a copy of f.out or f.in, the packet of flow i.
func (f *ctFlows) set(p *packet.Packet, from conntrack.Side, i uint32) {
	t, port := &p.Tuple, uint16(1024+i&0x3ff)
	if from == conntrack.Remote {
		binary.BigEndian.PutUint32(t.Src[12:], 0x2000_0000+i>>10)
		t.SrcPort, t.DstPort = port, 443
		return
	}
	binary.BigEndian.PutUint32(t.Dst[12:], 0x2000_0000+i>>10)
	t.SrcPort, t.DstPort = 443, port
}

// ctSegment sets what p says of TCP.
func ctSegment(p *packet.Packet, flags uint8, seq, ack uint32) {
	p.Flags, p.Seq, p.Ack, p.SACK, p.Window = flags, seq, ack, ack, 8192
}

// open opens all flows in zone z; those of TCP with a handshake, so that they
// are established.
func (f *ctFlows) open(tb testing.TB, t *conntrack.Table, z conntrack.Zone) {
	tb.Helper()
	out, in := f.out, f.in
	for i := range f.n {
		f.set(&out, conntrack.Local, i)
		ctSegment(&out, packet.SYN, 1000, 0)
		if _, err := t.Commit(1, z, conntrack.Local, &out, 1, 1); err != nil {
			tb.Fatal(err)
		}
		f.set(&in, conntrack.Remote, i)
		ctSegment(&in, packet.SYN|packet.ACK, 5000, 1001)
		if t.Track(1, z, conntrack.Remote, &in).State != conntrack.Established {
			tb.Fatal("no reply")
		}
		if f.proto == packet.ProtoTCP {
			ctSegment(&out, packet.ACK, 1001, 5001)
			t.Track(1, z, conntrack.Local, &out)
		}
	}
	ctSegment(&f.in, packet.ACK|packet.PSH, 5001, 1001)
	f.in.Data = 0
}

// ctTable returns a table that is nearly full of n flows of TCP.
func ctTable(tb testing.TB, n int, family sg.Family) (*conntrack.Table, *ctFlows) {
	t := conntrack.NewTable(conntrack.Options{MaxEntries: n + n/8, Shares: conntrack.Shares{TCP: 100, UDP: 100}})
	f := newCTFlows(n, family, packet.ProtoTCP)
	f.open(tb, t, 1)
	return t, f
}

// cpuTime is the time that this process has run: on a busy machine it says more
// than the clock on the wall.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perPacket reports the processor time per packet since cpu.
func perPacket(b *testing.B, cpu time.Duration, packets int) {
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N*packets), "cpu-ns/packet")
}

var ctFamilies = []sg.Family{sg.IPv4, sg.IPv6}

// BenchmarkConntrackHit measures the next segment of established TCP
// connections, in an order that finds them in no cache: one by one, and in
// batches.
func BenchmarkConntrackHit(b *testing.B) {
	for _, n := range tableSizes {
		for _, family := range ctFamilies {
			t, f := ctTable(b, n, family)
			b.Run(fmt.Sprintf("flows=%d/v%d/single", n, family), func(b *testing.B) {
				p, i, cpu := f.in, uint32(0), cpuTime(b)
				for b.Loop() {
					i = f.next(i)
					f.set(&p, conntrack.Remote, i)
					if t.Track(1, 1, conntrack.Remote, &p).State != conntrack.Established {
						b.Fatal("lost")
					}
				}
				perPacket(b, cpu, 1)
			})
			for _, size := range []int{16, 32, 64} {
				b.Run(fmt.Sprintf("flows=%d/v%d/batch=%d", n, family, size), func(b *testing.B) {
					pkts, out := make([]packet.Packet, size), make([]conntrack.Conn, size)
					for j := range pkts {
						pkts[j] = f.in
					}
					i, cpu := uint32(0), cpuTime(b)
					for b.Loop() {
						for j := range pkts {
							i = f.next(i)
							f.set(&pkts[j], conntrack.Remote, i)
						}
						t.TrackBatch(1, 1, conntrack.Remote, pkts, out)
						for j := range out {
							if out[j].State != conntrack.Established {
								b.Fatal("lost")
							}
						}
					}
					perPacket(b, cpu, size)
				})
			}
		}
	}
}

// BenchmarkConntrackFrame measures what a Hit benchmark spends on making its
// packets.
func BenchmarkConntrackFrame(b *testing.B) {
	f := newCTFlows(1<<20, sg.IPv4, packet.ProtoTCP)
	p, i, cpu := f.in, uint32(0), cpuTime(b)
	for b.Loop() {
		i = f.next(i)
		f.set(&p, conntrack.Remote, i)
	}
	perPacket(b, cpu, 1)
}

// BenchmarkConntrackHot measures segments of one connection.
func BenchmarkConntrackHot(b *testing.B) {
	t, f := ctTable(b, 1<<10, sg.IPv4)
	p := f.in
	f.set(&p, conntrack.Remote, 7)
	cpu := cpuTime(b)
	for b.Loop() {
		t.Track(1, 1, conntrack.Remote, &p)
	}
	perPacket(b, cpu, 1)
}

// BenchmarkConntrackInsert measures new connections while a table of twice n
// fills from n to 2n: Commit alone, Track and then CommitTo, batches in which
// TrackBatch has said New of all, and batches of a lane, which gets bytes. They
// are staged in the last two: once what was forgotten before lies in a row, and
// once it was forgotten in no order. The table is emptied outside the time.
func BenchmarkConntrackInsert(b *testing.B) {
	for _, n := range tableSizes {
		for _, family := range ctFamilies {
			b.Run(fmt.Sprintf("flows=%d/v%d", n, family), func(b *testing.B) { ctInserts(b, n, family) })
		}
	}
}

func ctInserts(b *testing.B, n int, family sg.Family) {
	const z = 2
	t := conntrack.NewTable(conntrack.Options{MaxEntries: 2*n + n/4, Shares: conntrack.Shares{TCP: 100}})
	f := newCTFlows(n, family, packet.ProtoTCP)
	f.open(b, t, 1)
	ctSegment(&f.out, packet.SYN, 1000, 0)
	flush := func() { t.Flush(1, z) }
	run := func(name string, size int, forget func(), insert func(pkts []packet.Packet)) {
		b.Run(name, func(b *testing.B) {
			pkts := make([]packet.Packet, size)
			for j := range pkts {
				pkts[j] = f.out
			}
			b.ReportAllocs()
			i, done, cpu := uint32(0), 0, cpuTime(b)
			for b.Loop() {
				if done += size; done > n {
					b.StopTimer()
					was := cpuTime(b)
					forget()
					done, cpu = size, cpu+cpuTime(b)-was
					b.StartTimer()
				}
				for j := range pkts {
					i = f.next(i)
					f.set(&pkts[j], conntrack.Local, i)
				}
				insert(pkts)
			}
			perPacket(b, cpu, size)
			b.StopTimer()
			t.Flush(1, z)
		})
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	run("track=false", 1, flush, func(pkts []packet.Packet) {
		_, err := t.Commit(1, z, conntrack.Local, &pkts[0], 1, 1)
		must(err)
	})
	run("track=true", 1, flush, func(pkts []packet.Packet) {
		c := t.Track(1, z, conntrack.Local, &pkts[0])
		if c.State != conntrack.New {
			b.Fatal("known")
		}
		must(t.CommitTo(1, z, conntrack.Local, &pkts[0], 1, 1, &c))
	})
	out := make([]conntrack.Conn, conntrack.BatchSize)
	run("batch=64", conntrack.BatchSize, flush, func(pkts []packet.Packet) {
		t.TrackBatch(1, z, conntrack.Local, pkts, out)
		for j := range pkts {
			must(t.CommitTo(1, z, conntrack.Local, &pkts[j], 1, 1, &out[j]))
		}
	})
	if family == sg.IPv6 {
		return // what follows makes frames of IPv4
	}
	var looked conntrack.Batch
	var frames [conntrack.BatchSize][]byte
	for j := range frames {
		frames[j] = append([]byte{4<<4 | 5, 3: 40, 8: 64, 9: packet.ProtoTCP}, make([]byte, 30)...)
		frames[j][32], frames[j][33] = 5<<4, packet.SYN
	}
	lane := t.Lane(z, conntrack.Local, 1)
	of := func(opens uint64) func(pkts []packet.Packet) {
		return func(pkts []packet.Packet) {
			for j, b := range frames {
				p := &pkts[j].Tuple
				copy(b[12:], p.Src[12:])
				copy(b[16:], p.Dst[12:])
				binary.BigEndian.PutUint16(b[20:], p.SrcPort)
				binary.BigEndian.PutUint16(b[22:], p.DstPort)
			}
			lane.Look(1, &looked, frames[:])
			lane.Stage(&looked, opens)
			for j, b := range frames {
				if is, _ := lane.TrackAt(&looked, j); is == conntrack.New && lane.OpenAt(&looked, j, b, 1) == conntrack.New {
					continue
				}
				// A tag that another entry has too, or the first one of a local end.
				_, err := t.Commit(1, z, conntrack.Local, &pkts[j], 1, 1)
				must(err)
			}
		}
	}
	run("lane=64/staged=false", conntrack.BatchSize, flush, of(0))
	run("lane=64/staged=true", conntrack.BatchSize, flush, of(1<<conntrack.BatchSize-1))
	strew := func() {
		t.Flush(1, z)
		p := f.out
		for i := range uint32(n) {
			f.set(&p, conntrack.Local, f.next(i))
			_, err := t.Commit(1, z, conntrack.Local, &p, 1, 1)
			must(err)
		}
		for i := range uint32(n) {
			f.set(&p, conntrack.Local, i)
			t.DeleteTuple(1, z, p.Tuple)
		}
	}
	strew()
	run("strewn/lane=64/staged=false", conntrack.BatchSize, strew, of(0))
	strew()
	run("strewn/lane=64/staged=true", conntrack.BatchSize, strew, of(1<<conntrack.BatchSize-1))
}

// BenchmarkConntrackEvict measures new connections at the limit, where each
// takes the place of another one that nobody has answered.
func BenchmarkConntrackEvict(b *testing.B) {
	for _, n := range tableSizes[:3] {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			t := conntrack.NewTable(conntrack.Options{MaxEntries: n, Shares: conntrack.Shares{TCP: 100}})
			f := newCTFlows(1<<22, sg.IPv4, packet.ProtoTCP)
			p, i := f.out, uint32(0)
			ctSegment(&p, packet.SYN, 1000, 0)
			insert := func() {
				i = f.next(i)
				f.set(&p, conntrack.Local, i)
				if _, err := t.Commit(1, 1, conntrack.Local, &p, 1, 1); err != nil {
					b.Fatal(err)
				}
			}
			for range n {
				insert()
			}
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				insert()
			}
			perPacket(b, cpu, 1)
		})
	}
}

// BenchmarkConntrackCores measures hits of 8,192 flows by cores that have flows
// of their own; run it with -cpu 1,2. An op is one packet of one core. Where
// cores do not meet, the processor time per packet is the same with both.
func BenchmarkConntrackCores(b *testing.B) {
	t, f := ctTable(b, 1<<13, sg.IPv4)
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			var worker atomic.Uint32
			cpu := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				w := worker.Add(1) - 1
				pkts, out := make([]packet.Packet, size), make([]conntrack.Conn, size)
				for j := range pkts {
					pkts[j] = f.in
				}
				i := uint32(0)
				for {
					for j := range pkts {
						if !pb.Next() {
							return
						}
						i = f.next(i)
						f.set(&pkts[j], conntrack.Remote, i&^7|w&7)
					}
					if size == 1 {
						t.Track(1, 1, conntrack.Remote, &pkts[0])
					} else {
						t.TrackBatch(1, 1, conntrack.Remote, pkts, out)
					}
				}
			})
			perPacket(b, cpu, 1)
		})
	}
}

// BenchmarkConntrackAge measures a sweep of the whole table in which nothing is
// due, and the longest of its parts as Engine.Run has them.
func BenchmarkConntrackAge(b *testing.B) {
	t, _ := ctTable(b, 1<<20, sg.IPv4)
	b.Run("all", func(b *testing.B) {
		cpu := cpuTime(b)
		for b.Loop() {
			t.Sweep(1, 1<<20)
		}
		perPacket(b, cpu, 1<<20)
	})
	b.Run("slots=4096", func(b *testing.B) {
		var longest time.Duration
		for b.Loop() {
			from := time.Now()
			t.Sweep(1, 4096)
			longest = max(longest, time.Since(from))
		}
		b.ReportMetric(float64(longest.Nanoseconds()), "ns-longest")
	})
}

// BenchmarkConntrackGC measures a cycle of Go's garbage collector beside a full
// table: cpu-ms is what the collector itself says that it used.
func BenchmarkConntrackGC(b *testing.B) {
	for _, n := range tableSizes[2:] {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			t, _ := ctTable(b, n, sg.IPv4)
			runtime.GC()
			used := func() float64 {
				s := []metrics.Sample{{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"}, {Name: "/cpu/classes/gc/pause:cpu-seconds"}}
				metrics.Read(s)
				return s[0].Value.Float64() + s[1].Value.Float64() + s[2].Value.Float64()
			}
			before := used()
			for b.Loop() {
				runtime.GC()
			}
			b.ReportMetric(1000*(used()-before)/float64(b.N), "cpu-ms/cycle")
			runtime.KeepAlive(t)
		})
	}
}

// BenchmarkConntrackGrow reports the heap per flow of a full table, and the
// longest 8,192 inserts on the way there, the collector's work included.
func BenchmarkConntrackGrow(b *testing.B) {
	for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
		for _, family := range ctFamilies {
			b.Run(fmt.Sprintf("proto=%d/v%d/flows=%d", proto, family, 1<<20), func(b *testing.B) {
				var longest time.Duration
				var bytes float64
				for b.Loop() {
					const n = 1 << 20
					f := newCTFlows(n, family, proto)
					before := heap()
					t := conntrack.NewTable(conntrack.Options{MaxEntries: n, Shares: conntrack.Shares{TCP: 100, UDP: 100}, MaxFragments: 1})
					p := f.out
					ctSegment(&p, packet.SYN, 1000, 0)
					for i := uint32(0); i < n; {
						from := cpuTime(b)
						for range 8192 {
							f.set(&p, conntrack.Local, i)
							if _, err := t.Commit(1, 1, conntrack.Local, &p, 1, 1); err != nil {
								b.Fatal(err)
							}
							i++
						}
						longest = max(longest, cpuTime(b)-from)
					}
					bytes = float64(heap()-before) / n
					runtime.KeepAlive(t)
				}
				b.ReportMetric(bytes, "B/flow")
				b.ReportMetric(float64(longest.Nanoseconds())/1e6, "cpu-ms-longest")
			})
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
