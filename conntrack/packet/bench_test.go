package packet_test

import (
	"testing"

	"example.com/secgroup/conntrack/packet"
)

type sample struct {
	name   string
	b      []byte
	accept bool
}

// workload is what benchmarks and allocation tests decode, with size bytes of
// data, a multiple of 8.
func workload(size int) []sample {
	options := []byte{2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7}
	stamp := []byte{1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0}
	data := make([]byte, size)
	return []sample{
		{"v4/tcp", ip4(6, tcp(packet.ACK, stamp, data)), true},
		{"v4/syn", ip4(6, tcp(packet.SYN, options, nil)), true},
		{"v4/udp", ip4(17, udp(data)), true},
		{"v4/ping", ip4(1, icmp(8, 0, data)), true},
		{"v4/icmp error", ip4(1, icmp(3, 3, ip4(17, udp(data)))), true},
		{"v4/options", ip4opt(6, []byte{148, 4, 0, 0}, tcp(packet.ACK, stamp, data)), true},
		{"v4/first fragment", frag4(17, 0, true, udp(data)), true},
		{"v4/trailing fragment", frag4(17, 20, false, data), true},
		{"v4/refused length", ip4(6, tcp(packet.ACK, stamp, data))[:size], false},
		{"v4/refused tiny fragment", frag4(6, 1, false, data), false},
		{"v6/tcp", ip6(6, tcp(packet.ACK, stamp, data)), true},
		{"v6/syn", ip6(6, tcp(packet.SYN, options, nil)), true},
		{"v6/udp", ip6(17, udp(data)), true},
		{"v6/icmp error", ip6(58, icmp(1, 4, ip6(17, udp(data)))), true},
		{"v6/extension headers", ip6(0, opts(60), opts(6), tcp(packet.ACK, stamp, data)), true},
		{"v6/trailing fragment", ip6(44, frag6(17, 20, false), data), true},
		{"v6/refused length", ip6(6, tcp(packet.ACK, stamp, data))[:size], false},
		{"v6/refused chain", ip6(60, opts(0), make([]byte, 8)), false},
		{"refused version", make([]byte, 100), false},
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, s := range workload(1000) {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			var p packet.Packet
			for b.Loop() {
				if err := packet.Decode(s.b, &p); (err == nil) != s.accept {
					b.Fatal(err)
				}
			}
		})
	}
}
