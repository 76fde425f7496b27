package enforce_test

import (
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
