package classes

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestSweepForgets: what ends with its high half is over in the next one.
func TestSweepForgets(t *testing.T) {
	for _, ends := range []string{"2001:db8::ffff:ffff:ffff:ffff/128", "2001:db8::8000:0:0:0/65", "2001:db8::ffff:ffff:0:0/96"} {
		s := NewSpace(sg.IPv6, new(Registry))
		for i, p := range []string{ends, "2001:db8:0:1::5/128", "2001:db8:0:1::9/128", "2001:db8:0:2::/65"} {
			s.Change(netip.MustParsePrefix(p), ir.SelectorNum(1+i), 1)
		}
		s.Settle()
		for _, high := range []uint64{0x20010db800000001, 0x20010db800000002, 0x20010db800000003} {
			for _, low := range []uint64{4, 6, 10, 1 << 63, 1<<64 - 1} {
				if high == 0x20010db800000002 && low < 1<<63 {
					continue
				}
				require.Zero(t, s.Map().Find2(high, low), "%x %x is in no prefix", high, low)
			}
		}
	}
}
