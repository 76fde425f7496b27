package classes

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/gaissmai/bart"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/ir"
)

// TestModel: the class of an address is the set of selectors with a prefix
// that contains it, whatever came and went before, and published tables stay
// as they were.
func TestModel(t *testing.T) {
	prefixes := rapid.Custom(func(t *rapid.T) netip.Prefix {
		if rapid.Bool().Draw(t, "v6") {
			bits := rapid.SampledFrom([]int{0, 1, 8, 64, 65, 127, 128}).Draw(t, "bits")
			a := [16]byte{0: rapid.Byte().Draw(t, "a0") & 0x81, 7: rapid.Byte().Draw(t, "a7") & 1, 15: rapid.Byte().Draw(t, "a15") & 3}
			return netip.PrefixFrom(netip.AddrFrom16(a), bits).Masked()
		}
		bits := rapid.SampledFrom([]int{0, 1, 7, 8, 9, 16, 24, 30, 31, 32}).Draw(t, "bits")
		a := [4]byte{rapid.Byte().Draw(t, "a0") & 0x81, 0, rapid.Byte().Draw(t, "a2") & 1, rapid.Byte().Draw(t, "a3") & 3}
		return netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
	})
	type member struct {
		p netip.Prefix
		s ir.SelectorNum
	}
	rapid.Check(t, func(t *rapid.T) {
		var reg Registry
		space := NewSpace(&reg)
		var have []member
		check := func(t *rapid.T) {
			sets, table := reg.Sets(), space.Table()
			for _, m := range have {
				for _, a := range []netip.Addr{m.p.Addr(), m.p.Addr().Prev(), m.p.Addr().Next(), last(m.p), last(m.p).Next()} {
					if !a.IsValid() {
						continue
					}
					var want []ir.SelectorNum
					for _, o := range have {
						if o.p.Contains(a) && !slices.Contains(want, o.s) {
							want = append(want, o.s)
						}
					}
					slices.Sort(want)
					c, _ := table.Lookup(a)
					require.Equal(t, want, append([]ir.SelectorNum(nil), sets.At(c)...), "%v in %v", a, have)
				}
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 6 || len(have) == 0:
				m := member{prefixes.Draw(t, "p"), ir.SelectorNum(rapid.IntRange(1, 4).Draw(t, "s"))}
				have = append(have, m)
				space.Add(m.p, m.s)
			case op < 9:
				i := rapid.IntRange(0, len(have)-1).Draw(t, "i")
				space.Remove(have[i].p, have[i].s)
				have = slices.Delete(have, i, i+1)
			default:
				table, sets := space.Table(), reg.Sets()
				before := dump(table, sets)
				for range 3 {
					p := prefixes.Draw(t, "p")
					space.Add(p, 9)
					space.Remove(p, 9)
				}
				require.Equal(t, before, dump(table, sets))
			}
			check(t)
		}
		for _, m := range have {
			space.Remove(m.p, m.s)
		}
		require.True(t, space.Empty())
		require.Zero(t, space.Table().Size())
		for _, n := range reg.uses {
			require.Zero(t, n)
		}
	})
}

func dump(table *bart.Table[Class], sets *pages.Array[[]ir.SelectorNum]) map[netip.Prefix][]ir.SelectorNum {
	out := map[netip.Prefix][]ir.SelectorNum{}
	for p, c := range table.All() {
		out[p] = slices.Clone(sets.At(c))
	}
	return out
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
