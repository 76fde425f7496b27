package packet_test

import (
	"net/netip"
	"testing"

	"example.com/secgroup/conntrack/packet"

	"pgregory.net/rapid"
)

func TestTupleString(t *testing.T) {
	for want, tu := range map[string]packet.Tuple{
		"tcp 192.0.2.7:40001 > 10.0.0.5:443":             tuple(t, 6, "192.0.2.7:40001", "10.0.0.5:443"),
		"udp [2001:db8::7]:53 > [2001:db8::5]:0":         tuple(t, 17, "[2001:db8::7]:53", "[2001:db8::5]:0"),
		"sctp 192.0.2.7:1 > 10.0.0.5:2":                  tuple(t, 132, "192.0.2.7:1", "10.0.0.5:2"),
		"tcp [::ffff:192.0.2.7]:1 > [::ffff:10.0.0.5]:2": tuple(t, 6, "[::ffff:192.0.2.7]:1", "[::ffff:10.0.0.5]:2"),
		"icmp 192.0.2.7 > 10.0.0.5 id 7":                 tuple(t, 1, "192.0.2.7:7", "10.0.0.5:7"),
		"icmp 192.0.2.7 > 10.0.0.5":                      tuple(t, 1, "192.0.2.7:0", "10.0.0.5:0"),
		"icmpv6 2001:db8::7 > 2001:db8::5 id 65535":      tuple(t, 58, "[2001:db8::7]:65535", "[2001:db8::5]:65535"),
		"gre 192.0.2.7 > 10.0.0.5":                       tuple(t, 47, "192.0.2.7:0", "10.0.0.5:0"),
		"proto 253 2001:db8::7 > 2001:db8::5":            tuple(t, 253, "[2001:db8::7]:0", "[2001:db8::5]:0"),
		"none":                                           {},
	} {
		if got := tu.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestTupleNames: every name stands for one protocol, so logs are unambiguous.
func TestTupleNames(t *testing.T) {
	seen := map[string]int{}
	for proto := range 256 {
		s := tuple(t, uint8(proto), "192.0.2.7:0", "10.0.0.5:0").String()
		if other, ok := seen[s]; ok {
			t.Errorf("protocols %d and %d are both %q", other, proto, s)
		}
		seen[s] = proto
	}
}

func TestTupleFrom(t *testing.T) {
	for _, tt := range []struct{ src, dst netip.AddrPort }{
		{},
		{src: netip.MustParseAddrPort("192.0.2.7:1")},
		{dst: netip.MustParseAddrPort("192.0.2.7:1")},
		{netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("[2001:db8::5]:2")},
		{netip.MustParseAddrPort("[::ffff:192.0.2.7]:1"), netip.MustParseAddrPort("192.0.2.7:1")},
	} {
		if got := packet.TupleFrom(6, tt.src, tt.dst); got != (packet.Tuple{}) {
			t.Errorf("%v > %v: %v", tt.src, tt.dst, got)
		}
	}
	zoned := tuple(t, 17, "[fe80::1%eth0]:546", "[ff02::1:2]:547")
	if got := zoned.SrcAddr(); got != netip.MustParseAddr("fe80::1") {
		t.Errorf("zone stays: %v", got)
	}
}

// TestTupleRoundTrip: tuples and netip values are the same thing, an
// IPv4-mapped IPv6 address stays one (SEM-01), and two reverses are none.
func TestTupleRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{4, 16}).Draw(t, "size")
		addr := func(name string) netip.AddrPort {
			b := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, name)
			if size == 16 && rapid.Bool().Draw(t, name+" mapped") {
				copy(b, append(make([]byte, 10), 0xff, 0xff))
			}
			a, _ := netip.AddrFromSlice(b)
			return netip.AddrPortFrom(a, rapid.Uint16().Draw(t, name+" port"))
		}
		src, dst := addr("src"), addr("dst")
		tu := packet.TupleFrom(rapid.Byte().Draw(t, "proto"), src, dst)
		if tu.SrcAddrPort() != src || tu.DstAddrPort() != dst || tu.SrcAddr() != src.Addr() || tu.DstAddr() != dst.Addr() {
			t.Fatalf("%v > %v became %v", src, dst, tu)
		}
		r := tu.Reverse()
		if r.SrcAddrPort() != dst || r.DstAddrPort() != src || r.Proto != tu.Proto || r.Reverse() != tu {
			t.Fatalf("%v reversed is %v", tu, r)
		}
	})
}
