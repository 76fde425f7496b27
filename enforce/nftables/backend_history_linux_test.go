package nftables

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// cancelled is a context that is done when it was asked so many times.
type cancelled struct {
	context.Context
	left int
}

func (c *cancelled) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestFaultOfAChange: what can not be expressed of a change is refused as it is
// of a whole policy, and nothing is different afterwards.
func TestFaultOfAChange(t *testing.T) {
	o := Options{Device: func(id sg.InterfaceID) (string, bool) {
		d, ok := map[sg.InterfaceID]string{"sg0": "sg0", "sg1": "sg1", "twin": "sg0", "up": "up0", "odd": "a b"}[id]
		return d, ok
	}}
	h := newHost(t, o)
	s := newSource(t, town([]string{friend}, nil)...)
	h.apply(s.matcher())
	want, tag := h.table(), h.tag
	for _, id := range []sg.InterfaceID{"twin", "up", "odd"} {
		put := policy.PutInterface{Interface: &sg.Interface{ID: id, VPC: "a", Addrs: prefixes("10.0.0.9"), Groups: []sg.GroupID{"web"}}}
		m := s.change(put)
		_, whole := newLayout(m.Program(), h.o)
		require.Error(t, whole)
		require.Equal(t, whole, h.tryApply(m), id)
		require.Equal(t, want, h.table())
		require.Equal(t, tag, h.tag)
		require.True(t, h.sure)
		h.apply(s.change(policy.DeleteInterface{ID: id}))
		require.Empty(t, h.verify())
		want, tag = h.table(), h.tag
	}
}

// TestHistoriesWithFaults: whatever goes wrong between changes, and in the middle
// of one, the table is the one that a Backend makes that knows nothing else. An
// Apply that fails changes nothing, and the next one starts from there.
func TestHistoriesWithFaults(t *testing.T) {
	h, fresh := newHost(t, Options{}), newHost(t, Options{})
	real, err := exec.LookPath("nft")
	require.NoError(t, err)
	happened := map[string]int{}
	for seed := range uint64(4) {
		r := historian{rand.New(rand.NewPCG(seed, 3))}
		s := newSourceOf(t, []sg.Profile{stackit.Profile(), keepProfile()}[seed%2], r.putSet("s0"), r.putSet("s1"), r.putSet("s2"),
			policy.PutGroup{Group: &sg.Group{ID: "g0", Name: "g0", VPC: "a"}}, policy.PutGroup{Group: &sg.Group{ID: "g1", Name: "g1", VPC: "a"}},
			policy.PutGroup{Group: &sg.Group{ID: "g2", Name: "g2", VPC: "a"}}, r.putInterface(0), r.putInterface(2))
		h.apply(s.matcher())
		for step := range 25 {
			next, done, err := s.snapshot.With(r.change()...)
			if err != nil {
				continue // no such interface, or two rules for the same
			}
			m, err := s.c.Apply(policy.Batch{Changes: done})
			require.NoError(t, err)
			s.snapshot = next
			what := fmt.Sprintf("seed %d, step %d", seed, step)
			before, blocks := h.table(), blocksOf(h.nft("-s", "list", "table", "inet", "secgroup"))
			stays := func(err error, kind string) { // as it was, and known to be
				t.Helper()
				if err == nil {
					return // it did not come so far, or needed none of it
				}
				happened[kind]++
				require.Equal(t, before, h.table(), what)
				require.Equal(t, blocks, blocksOf(h.nft("-s", "list", "table", "inet", "secgroup")), what)
				require.True(t, h.sure, what)
			}
			switch r.IntN(8) {
			case 0:
				h.program = fakeNFT(t, "exit 1\n")
				stays(h.tryApply(m), "refused")
			case 1, 2:
				stays(h.applyWithin(&cancelled{t.Context(), r.IntN(4)}, m), "cancelled")
			case 3: // what the transaction is to change is gone when it begins
				h.program = fakeNFT(t, fmt.Sprintf("%s \"$@\" && %[1]s flush map inet secgroup %s\n", real, h.now.names.of("egress_of")))
				if h.tryApply(m) != nil {
					happened["broken in the middle"]++
				}
			case 4:
				h.script("flush chain inet secgroup " + h.now.names.of("discard"))
				happened["drift"]++
			case 5:
				require.NoError(t, h.Close())
				h.Backend = newBackend(t, Options{})
				happened["another process"]++
			}
			h.program = "nft"
			h.apply(m)
			if happened["compared"]++; happened["compared"]%3 == 0 {
				fresh.do(fresh.Remove)
				fresh.apply(m)
				if want, got := fresh.table(), h.table(); want != got {
					require.Fail(t, "another table", "%s: %s", what, diff(want, got))
				}
				require.Equal(t, blocksOf(fresh.nft("-s", "list", "table", "inet", "secgroup")), blocksOf(h.nft("-s", "list", "table", "inet", "secgroup")), what)
			}
			require.Empty(t, h.verify(), what)
		}
	}
	t.Log(happened)
	for _, kind := range []string{"refused", "cancelled", "broken in the middle", "drift", "another process", "compared"} {
		require.NotZero(t, happened[kind], kind)
	}
}
