package portmap

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestLinear: a look-up equals a scan of the rules, at every boundary.
func TestLinear(t *testing.T) {
	protocols := []sg.Protocol{sg.AnyProtocol, sg.TCP, sg.UDP, sg.ICMP, sg.SCTP, 47}
	rapid.Check(t, func(t *rapid.T) {
		var rules []Rule
		keys := []uint16{0, 1, 65534, 65535}
		for i := range rapid.IntRange(0, 12).Draw(t, "rules") {
			r := ir.Rule{Num: ir.RuleNum(i + 1), Family: sg.IPv4, Protocol: rapid.SampledFrom(protocols).Draw(t, "protocol")}
			r.Action = rapid.SampledFrom([]sg.Action{sg.Accept, sg.Accept, sg.Drop}).Draw(t, "action")
			r.Stateless = rapid.Bool().Draw(t, "stateless")
			switch {
			case r.Protocol.HasPorts():
				a, b := rapid.Uint16().Draw(t, "a"), rapid.Uint16Range(1, 65535).Draw(t, "b")
				r.Ports = sg.PortRange{First: min(a, b), Last: max(a, b)}
				if rapid.IntRange(0, 4).Draw(t, "all") == 0 {
					r.Ports = sg.AllPorts()
				}
				keys = append(keys, r.Ports.First-1, r.Ports.First, r.Ports.Last, r.Ports.Last+1)
			case r.Protocol.HasICMP():
				typ, code := rapid.Uint8Range(0, 9).Draw(t, "type"), rapid.Uint8Range(0, 2).Draw(t, "code")
				r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(typ), sg.ICMPTypeCode(typ, code)}).Draw(t, "icmp")
			}
			rules = append(rules, Rule{uint32(i), r})
		}
		m := New(rules)
		for _, p := range []uint8{1, 6, 17, 132, 47, 50} {
			for _, key := range keys {
				for _, blank := range []bool{false, true} {
					f := ir.Flow{Remote: netip.MustParseAddr("192.0.2.1"), Protocol: p, Port: key,
						ICMPType: uint8(key % 11), ICMPCode: uint8(key % 4), NoPorts: blank}
					want := Hit{Index: None}
					for _, r := range rules {
						if r.Rule.MatchesService(f) {
							want = want.plus(r)
						}
					}
					require.Equal(t, want, m.Lookup(&f), "%+v", f)
				}
			}
		}
	})
}
