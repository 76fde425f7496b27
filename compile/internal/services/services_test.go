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
	often(t, 10, func(t *rapid.T) {
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
			lists = append(lists, SpanOf(&r).Append(nil, hit))
			require.Len(t, lists[i+1], SpanOf(&r).Pieces())
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
			if r != 0 {
				require.Equal(t, want, w.FindSame(r, Key(&f)), "%+v", f)
			}
			if sg.Protocol(f.Protocol).HasPorts() && !f.NoPorts {
				require.Equal(t, Key(&f), PortKey(f.Protocol, f.Port))
			}
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

// TestLengths: lists of any length are searched to their ends, wherever they lie
// among others.
func TestLengths(t *testing.T) {
	type stored struct {
		r    Ref
		list []Piece
	}
	var w Words
	var all []stored
	for _, n := range []int{1, 0, 2, 3, 30, 31, 32, 33, 4, 63, 64, 65, 200, 1, 5000, 2} {
		var list []Piece
		for i := range n {
			h := Hit(2*i + 2)
			if i%3 == 2 {
				h = 0
			}
			list = append(list, Piece{uint32(5 + 10*i), h})
		}
		r, ok := w.Append(list)
		require.True(t, ok)
		require.Equal(t, n == 0, r == 0)
		all = append(all, stored{r, list})
	}
	check := func(w *Words) {
		for _, s := range all {
			require.Equal(t, s.list, w.Read(nil, s.r))
			if s.r == 0 {
				continue
			}
			for i, p := range s.list {
				before := Hit(0)
				if i > 0 {
					before = s.list[i-1].Hit
				}
				require.Equal(t, before, w.Find(s.r, p.First-1), "%d of %d", i, len(s.list))
				require.Equal(t, before, w.FindSame(s.r, p.First-1), "%d of %d", i, len(s.list))
				require.Equal(t, p.Hit, w.Find(s.r, p.First), "%d of %d", i, len(s.list))
				require.Equal(t, p.Hit, w.FindSame(s.r, p.First), "%d of %d", i, len(s.list))
				require.Equal(t, p.Hit, w.Find(s.r, p.First+9), "%d of %d", i, len(s.list))
				require.Equal(t, p.Hit, w.FindSame(s.r, p.First+9), "%d of %d", i, len(s.list))
			}
			require.Equal(t, s.list[len(s.list)-1].Hit, w.Find(s.r, end-1))
			require.Equal(t, s.list[len(s.list)-1].Hit, w.FindSame(s.r, end-1))
		}
	}
	check(&w)
	n := w.Len()
	w.Clip()
	require.Equal(t, n, w.Len())
	require.Equal(t, n, cap(w.keys))
	require.Equal(t, n, cap(w.hits))
	check(&w)
	total := 0
	for _, s := range all {
		total += len(s.list)
	}
	require.LessOrEqual(t, n, total+len(all), "one place more for a list, at most")
}

// TestKeys: the service of a packet is its protocol and what that protocol has.
func TestKeys(t *testing.T) {
	for p := range 256 {
		f := ir.Flow{Protocol: uint8(p), Port: 0x1234, ICMPType: 0x56, ICMPCode: 0x78}
		low := uint32(0)
		switch p {
		case 6, 17, 132:
			low = 0x1234
		case 1, 58:
			low = 0x5678
		}
		require.Equal(t, uint32(p)<<16|low, Key(&f), p)
		f.NoPorts = true
		if low == 0x1234 {
			low = 1 << 24
		}
		require.Equal(t, uint32(p)<<16|low, Key(&f), p)
	}
}

// often checks a property in n times as many cases as rapid does by itself, which
// is 20 of a short run and 100 of a long one.
func often(t *testing.T, n int, property func(*rapid.T)) {
	for range n {
		rapid.Check(t, property)
	}
}
