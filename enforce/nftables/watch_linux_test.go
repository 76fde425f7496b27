package nftables

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
)

// TestUnheard: what the backend did without listening it knows of, what others
// did meanwhile it knows to have missed, and afterwards it listens again.
func TestUnheard(t *testing.T) {
	netlabtest.Require(t)
	h := newHost(t, Options{})
	h.apply(newSource(t, town([]string{friend}, []string{friend})...).matcher())
	h.do(func(ctx context.Context) error {
		k := h.kernel
		script := func(text string) { require.NoError(t, runNFT(ctx, "nft", []byte(text), "-f", "-")) }

		before := k.listen()
		require.NoError(t, k.fill("set99_v4_32", sg.IPv4, "", slices.Values([]netip.Addr{ip(friend), ip(guest)})))
		gen, ok := k.onlyOwn(before, 1)
		require.True(t, ok)
		require.False(t, k.onlyOthers(gen-1, gen), "the own transaction was of the table")

		before = k.listen()
		script("add table inet other\n")
		_, ok = k.onlyOwn(before, 0)
		require.True(t, ok, "another table changed while it listened")

		for _, text := range []string{"add table inet another\n", "add set inet secgroup set98_v4_32 { type ipv4_addr; }\n"} {
			before = k.listen()
			require.NoError(t, k.unheard(func() error {
				script(text)
				return nil
			}))
			_, ok = k.onlyOwn(before, 0)
			require.False(t, ok, "somebody changed something while nobody listened: %s", text)
			gen, err := k.generation()
			require.NoError(t, err)
			require.False(t, k.onlyOthers(gen-1, gen))
		}

		before = k.listen()
		script("delete set inet secgroup set98_v4_32\n")
		after := k.listen()
		require.Equal(t, 1, after.count-before.count)
		require.Equal(t, before.losses, after.losses)
		return nil
	})
}
