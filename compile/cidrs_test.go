package compile

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
)

// TestCIDRs: after any additions and removals the table is the map of prefixes,
// and prefixes of the two families that look alike are two.
func TestCIDRs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x cidrs
		if n := rapid.IntRange(0, 40).Draw(t, "room"); n > 0 {
			x.grow(n)
		}
		model := map[netip.Prefix]cidr{}
		prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
			b := [16]byte{12: rapid.Byte().Draw(t, "a") & 1, 14: rapid.Byte().Draw(t, "b") & 3, 15: rapid.Byte().Draw(t, "c") & 3}
			a, bits := netip.AddrFrom16(b), rapid.IntRange(96, 128).Draw(t, "bits")
			if rapid.Bool().Draw(t, "four") {
				a, bits = netip.AddrFrom4([4]byte(b[12:])), bits-96
			}
			return netip.PrefixFrom(a, bits).Masked()
		})
		var last ir.SelectorNum
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			p := prefix.Draw(t, "prefix")
			k := keyOf(p)
			is, had := model[p]
			switch c := x.get(k); {
			case !had:
				require.Nil(t, c)
				last++
				c = x.add(k)
				require.Equal(t, cidr{cidrKey: k}, *c)
				c.num, c.uses = last, int32(last)%3
				model[p] = *c
			case rapid.Bool().Draw(t, "remove"):
				x.remove(k)
				delete(model, p)
			default:
				require.Equal(t, is, *c)
				require.Same(t, c, x.add(k))
			}
			require.Equal(t, len(model), x.known.Len())
			require.Equal(t, x.known.Len(), len(x.list)-len(x.free))
			for p, is := range model {
				require.Equal(t, is, *x.get(keyOf(p)), "%v", p)
			}
		}
	})
}
