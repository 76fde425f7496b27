package services

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestLinear: a search equals a scan of the rules in their order, at every
// boundary, however the lists of the rules were merged.
func TestLinear(t *testing.T) {
	protocols := []sg.Protocol{sg.AnyProtocol, sg.TCP, sg.UDP, sg.ICMP, sg.SCTP, 47, 255}
	rapid.Check(t, func(t *rapid.T) {
		var rules []ir.Rule
		order := Order{0}
		lists := [][]Piece{{}}
		for i := range rapid.IntRange(0, 40).Draw(t, "rules") {
			r := ir.Rule{Family: sg.IPv4, Protocol: rapid.SampledFrom(protocols).Draw(t, "protocol")}
			r.Stateless = rapid.Bool().Draw(t, "stateless")
			r.Action = rapid.SampledFrom([]sg.Action{sg.Accept, sg.Accept, sg.Drop}).Draw(t, "action")
			switch {
			case r.Protocol.HasPorts():
				ports := rapid.SampledFrom([]uint16{0, 1, 79, 80, 81, 443, 65534, 65535})
				a, b := ports.Draw(t, "a"), ports.Draw(t, "b")
				r.Ports = sg.PortRange{First: min(a, b), Last: max(a, b)}
			case r.Protocol.HasICMP():
				typ := rapid.SampledFrom([]uint8{0, 8, 255}).Draw(t, "type")
				r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(typ), sg.ICMPTypeCode(typ, 1), sg.ICMPTypeCode(typ, 255)}).Draw(t, "icmp")
			}
			rules, order = append(rules, r), append(order, uint64(i))
			hit := Hit(i+1) << 1
			if r.Action == sg.Accept && !r.Stateless {
				hit |= 1
			}
			lists = append(lists, Append(nil, &r, hit))
		}
		for len(lists) > 1 {
			i := rapid.IntRange(0, len(lists)-2).Draw(t, "merge")
			j := rapid.IntRange(i+1, len(lists)-1).Draw(t, "with")
			lists[i] = order.Merge(nil, lists[i], lists[j])
			lists = append(lists[:j], lists[j+1:]...)
		}
		var w Words
		_, ok := w.Append([]Piece{{0, 9}})
		require.True(t, ok)
		r, ok := w.Append(lists[0])
		require.True(t, ok)
		_, ok = w.Append([]Piece{{0, 9}})
		require.True(t, ok)

		check := func(f ir.Flow) {
			f.Remote = netip.IPv4Unspecified()
			want := Hit(0)
			for i, rule := range rules {
				if rule.MatchesService(f) {
					if want == 0 {
						want = Hit(i+1) << 1
					}
					if rule.Action == sg.Accept && !rule.Stateless {
						want |= 1
					}
				}
			}
			require.Equal(t, want, w.Find(r, Key(&f)), "%+v", f)
		}
		for _, p := range []uint8{0, 1, 6, 17, 47, 50, 132, 254, 255} {
			for _, port := range []uint16{0, 1, 2, 78, 79, 80, 81, 82, 443, 444, 65533, 65534, 65535} {
				// What a protocol does not have does not count.
				check(ir.Flow{Protocol: p, Port: port, ICMPType: 8, ICMPCode: 1})
			}
			check(ir.Flow{Protocol: p, Port: 80, NoPorts: true})
			for _, typ := range []uint8{0, 7, 8, 9, 254, 255} {
				for _, code := range []uint8{0, 1, 2, 254, 255} {
					check(ir.Flow{Protocol: p, ICMPType: typ, ICMPCode: code, NoPorts: code == 1})
				}
			}
		}
	})
}
