package classes

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// TestSort: a long queue comes to be sorted as a short one does.
func TestSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		half, all := width(f)
		for _, n := range []int{2, fewChanges - 1, fewChanges, 5_000} {
			s := NewSpace(f, new(Registry))
			for range n {
				p := prefix{high: uint64(r.UintN(60)) << (half - 8), bits: uint8(r.UintN(all + 1))}
				if f == sg.IPv6 {
					p.low = uint64(r.UintN(3)) << 60
				}
				p = p.truncate(uint(p.bits), f)
				s.queue = append(s.queue, change{member{p, ir.SelectorNum(r.UintN(4))}, 1})
			}
			want := slices.Clone(s.queue)
			slices.SortFunc(want, change.compare)
			s.sort()
			require.Equal(t, want, s.queue)
		}
	}
}
