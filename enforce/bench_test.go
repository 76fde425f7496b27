package enforce_test

import (
	"context"
	"encoding/binary"
	"strconv"
	"testing"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// benchEngine returns a port whose clock the benchmark turns: the price of
// reading a clock is not what is measured.
func benchEngine(b *testing.B, now *time.Time) *enforce.Port {
	e := enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 1 << 16}, Now: func() time.Time { return *now },
	})
	if err := e.Apply(b.Context(), matcher(b, profile(sg.Revalidate), web(), nic("i", "web"))); err != nil {
		b.Fatal(err)
	}
	return e.Port("i")
}

func BenchmarkFilter(b *testing.B) {
	for _, f := range families() {
		client, service := at(f.peer, "4000"), at(f.local, "443")
		handshake := func(p *enforce.Port) {
			p.Filter(sg.Ingress, tcp(client, service, "S"))
			p.Filter(sg.Egress, tcp(service, client, "SA"))
			p.Filter(sg.Ingress, tcp(client, service, "A"))
		}
		run := func(name string, want ir.Reason, pkt []byte, step time.Duration) {
			b.Run(name+"/"+f.name, func(b *testing.B) {
				var now time.Time
				p := benchEngine(b, &now)
				handshake(p)
				b.ReportAllocs()
				var v ir.Verdict
				for b.Loop() {
					now = now.Add(step)
					v = p.Filter(sg.Ingress, pkt)
				}
				if v.Reason != want {
					b.Fatal(v)
				}
			})
		}
		run("established", ir.ReasonEstablished, tcp(client, service, "A"), 0)
		run("new", ir.ReasonRule, udp(client, at(f.local, "53"), 0), time.Minute) // the last one has expired
		run("denied", ir.ReasonNoRule, tcp(client, at(f.local, "22"), "S"), 0)
		run("invalid", ir.ReasonInvalidState, tcp(client, at(f.local, "444"), "A"), 0)
		run("malformed", ir.ReasonMalformed, tcp(client, service, "A")[:30], 0)
		b.Run("batch of 32 established/"+f.name, func(b *testing.B) {
			var now time.Time
			p := benchEngine(b, &now)
			var pkts [][]byte
			for i := range 32 {
				client := at(f.peer, strconv.Itoa(4000+i))
				p.Filter(sg.Ingress, tcp(client, service, "S"))
				p.Filter(sg.Egress, tcp(service, client, "SA"))
				pkts = append(pkts, tcp(client, service, "A"))
			}
			out := make([]ir.Verdict, len(pkts))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = p.FilterBatch(sg.Ingress, pkts, out)
			}
			if n != len(pkts) || out[31].Reason != ir.ReasonEstablished {
				b.Fatal(n, out[31])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(pkts)), "ns/packet")
		})
	}
}

// servedPort is the port of an engine as a server has it: Run keeps the clock,
// so that a packet does not pay for one, not even for a false one.
func servedPort(b *testing.B) *enforce.Port {
	e := enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1 << 20}})
	if err := e.Apply(b.Context(), matcher(b, profile(sg.Revalidate), web(), nic("i", "web"))); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	b.Cleanup(func() { cancel(); <-done })
	return e.Port("i")
}

// BenchmarkServed is one packet through a port whose engine runs: the price of
// the packet path and nothing else. Its instructions can be counted: see
// bench/hotpath.md.
func BenchmarkServed(b *testing.B) {
	for _, f := range families() {
		client, service, dns := at(f.peer, "4000"), at(f.local, "443"), at(f.local, "53")
		run := func(name string, want ir.Reason, pkt []byte, before ...[]byte) {
			b.Run(name+"/"+f.name, func(b *testing.B) {
				p := servedPort(b)
				for i, pkt := range before {
					p.Filter([...]sg.Direction{sg.Ingress, sg.Egress}[i%2], pkt)
				}
				b.ReportAllocs()
				var v ir.Verdict
				for b.Loop() {
					v = p.Filter(sg.Ingress, pkt)
				}
				if v.Reason != want {
					b.Fatal(v)
				}
			})
		}
		run("tcp", ir.ReasonEstablished, tcp(client, service, "A"),
			tcp(client, service, "S"), tcp(service, client, "SA"), tcp(client, service, "A"))
		b.Run("tcp of 512 flows/"+f.name, func(b *testing.B) {
			p := servedPort(b)
			var pkts [][]byte
			for i := range 512 {
				client := at(f.peer, strconv.Itoa(4000+i))
				p.Filter(sg.Ingress, tcp(client, service, "S"))
				p.Filter(sg.Egress, tcp(service, client, "SA"))
				pkts = append(pkts, tcp(client, service, "A"))
				p.Filter(sg.Ingress, pkts[i])
			}
			b.ReportAllocs()
			i := 0
			var v ir.Verdict
			for b.Loop() {
				v = p.Filter(sg.Ingress, pkts[i%512])
				i++
			}
			if v.Reason != ir.ReasonEstablished {
				b.Fatal(v)
			}
		})
		run("syn again", ir.ReasonEstablished, tcp(client, service, "S"), tcp(client, service, "S"))
		run("udp", ir.ReasonEstablished, udp(client, dns, 64), udp(client, dns, 64), udp(dns, client, 64))
		run("denied", ir.ReasonNoRule, tcp(client, at(f.local, "22"), "S"))
		b.Run("denied in batches of 64/"+f.name, func(b *testing.B) {
			p := servedPort(b)
			var pkts [][]byte
			for i := range 64 {
				pkts = append(pkts, tcp(at(f.peer, strconv.Itoa(4000+i)), at(f.local, "22"), "S"))
			}
			out := make([]ir.Verdict, len(pkts))
			b.ReportAllocs()
			for b.Loop() {
				if p.FilterBatch(sg.Ingress, pkts, out) != 0 {
					b.Fatal(out)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(pkts)), "ns/packet")
		})
		b.Run("new/"+f.name, func(b *testing.B) {
			p := servedPort(b)
			pkt := tcp(client, service, "S")
			src, port := pkt[12:16], pkt[20:22]
			if f.name == "ipv6" {
				src, port = pkt[20:24], pkt[40:42] // the last word of it
			}
			b.ReportAllocs()
			n, accepted := uint32(0), 0
			from := binary.BigEndian.Uint32(src)
			for b.Loop() {
				n++
				binary.BigEndian.PutUint16(port, uint16(n))
				binary.BigEndian.PutUint32(src, from+n>>16)
				if p.Filter(sg.Ingress, pkt).Action == sg.Accept {
					accepted++
				}
			}
			if accepted == 0 {
				b.Fatal("nothing was accepted")
			}
		})
	}
}

// BenchmarkParallel is established traffic of many flows from all processors.
func BenchmarkParallel(b *testing.B) {
	var now time.Time
	p := benchEngine(b, &now)
	var pkts [][]byte
	for i := range 256 {
		client := "192.0.2.7:" + strconv.Itoa(4000+i)
		p.Filter(sg.Ingress, tcp(client, "10.0.0.5:443", "S"))
		p.Filter(sg.Egress, tcp("10.0.0.5:443", client, "SA"))
		pkts = append(pkts, tcp(client, "10.0.0.5:443", "A"))
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			p.Filter(sg.Ingress, pkts[i*7%256])
		}
	})
}
