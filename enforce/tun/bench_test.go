package tun

import (
	"fmt"
	"testing"

	"example.com/secgroup/conntrack/packet"
)

// BenchmarkFilterRead is a Read of a batch through a Filter, on a device that
// costs a copy: new flows at first, established ones then.
func BenchmarkFilterRead(b *testing.B) {
	for _, n := range []int{1, 16, 128} {
		for _, f := range []family{{"v4", local4, remote4}, {"v6", local6, remote6}} {
			for _, c := range []struct {
				name string
				port uint16
			}{{"accept", 53}, {"drop", 54}} {
				if n == 1 && c.port != 53 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%s/batch=%d", f.name, c.name, n), func(b *testing.B) {
					var batch [][]byte
					for i := range n {
						pkt := udp(f.local, f.remote, 53, 64)
						if c.port != 53 && i != n-1 { // the last keeps Read from reading on
							pkt = udp(f.local, f.remote, c.port, 64)
						}
						batch = append(batch, pkt)
					}
					x := New(&loopDevice{batch: batch}, port(b, web()), FilterOptions{})
					bufs, sizes := buffers(n, 16)
					b.ReportAllocs()
					for b.Loop() {
						if _, err := x.Read(bufs, sizes, 16); err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/packet")
				})
			}
		}
	}
}

// BenchmarkForward is one frame through a Gateway between devices that cost
// nothing.
func BenchmarkForward(b *testing.B) {
	for _, f := range []family{{"v4", local4, remote4}, {"v6", local6, remote6}} {
		small := udp(f.local, f.remote, 53, 64)
		big := udp(f.local, f.remote, 53, 60000)
		for _, c := range []struct {
			name    string
			offload Offload
			frame   []byte
			police  bool
		}{
			{"small/no filter", allOffloads, framed(header{}, small), false},
			{"small", allOffloads, framed(header{}, small), true},
			{"small/denied", allOffloads, framed(header{}, udp(f.local, f.remote, 54, 64)), true},
			{"super/no filter", allOffloads, super(clone(big), 1400), false},
			{"super", allOffloads, super(clone(big), 1400), true},
			{"super/cut", 0, super(clone(big), 1400), true},
		} {
			b.Run(f.name+"/"+c.name, func(b *testing.B) {
				from, to := &nullLink{offload: c.offload}, &nullLink{offload: c.offload}
				w := newForwarder(from, to, nil, nil, newAnswerer(Answers{}), GatewayOptions{})
				if c.police {
					w.egress = port(b, web())
				}
				b.SetBytes(int64(len(c.frame) - HeaderLen))
				b.ReportAllocs()
				for b.Loop() {
					if err := w.forward(c.frame); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkChecksum is the sum of a packet.
func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 1500, 60000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data := pattern(n)
			b.SetBytes(int64(n))
			for b.Loop() {
				_ = packet.Fold(packet.Sum(data, 0))
			}
		})
	}
}
