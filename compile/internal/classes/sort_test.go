package classes

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// TestSort: a long list comes to be sorted as a short one does.
func TestSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		half, all := width(f)
		for _, n := range []int{0, 1, 2, few - 1, few, 5_000} {
			for _, spread := range []uint{1, 60, 1 << 20, 1<<20 + 1} {
				var list []entry
				for range n {
					p := prefix{high: r.Uint64() >> (64 - half), bits: uint8(r.UintN(all + 1))}
					switch spread {
					case 1 << 20:
					case 1<<20 + 1: // far apart, and close together
						p.high = p.high&3 | p.high>>(half-1)<<(half-1)
						p.bits = uint8(all) - p.bits%16
					default:
						p.high = uint64(r.UintN(spread)) << (half - 8)
					}
					if f == sg.IPv6 {
						p.low = r.Uint64() >> 3 << uint(r.UintN(64))
					}
					p = p.truncate(uint(p.bits), f)
					list = append(list, entry{prefix: p, own: Single | Class(r.UintN(4))})
				}
				want := slices.Clone(list)
				slices.SortFunc(want, func(a, b entry) int { return cmp.Or(a.compare(b.prefix), cmp.Compare(a.own, b.own)) })
				sortEntries(list, f)
				require.Equal(t, want, list)
			}
		}
	}
}
