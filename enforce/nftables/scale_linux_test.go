package nftables

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// rules counts the rules that the kernel has in the table.
func (h *host) rules() (n int) {
	h.t.Helper()
	h.do(func(context.Context) error {
		return h.kernel.dump(unix.NFT_MSG_GETRULE, unix.NFTA_RULE_TABLE, nil, func() { n = 0 }, func(iter.Seq2[int, []byte]) { n++ })
	})
	return n
}

// TestRulesDoNotGrow: the number of rules in the kernel is that of a policy,
// however many interfaces share it and however many members its peers have.
func TestRulesDoNotGrow(t *testing.T) {
	netlabtest.Require(t)
	const groups, rules = 4, 40
	// A rule for the members of group g0, which interfaces elsewhere are.
	peers := func(members int) (out []policy.Change) {
		out = append(out, policy.PutGroup{Group: &sg.Group{ID: "open", Name: "open", VPC: "a", Rules: []sg.Rule{
			{ID: "peers", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(5432), Peer: sg.PeerGroup("g0")}}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "sg2", VPC: "a", Addrs: prefixes("10.0.0.7"), Groups: []sg.GroupID{"open"}}})
		for i := range members {
			out = append(out, policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("far%d", i)), VPC: "a",
				Addrs: prefixes(fmt.Sprintf("10.2.%d.%d", i>>8, i&0xff)), Groups: []sg.GroupID{"g0"}}})
		}
		return out
	}
	h := newHost(t, Options{})
	count := func(interfaces, entries, members int) int {
		t.Helper()
		changes := append(town(many(entries), []string{friend}), country(interfaces, groups, rules)...)
		h.apply(newSource(t, append(changes, peers(members)...)...).matcher())
		return h.rules()
	}
	want := count(groups, 1, 1)
	require.Greater(t, want, rules)
	require.Equal(t, want, count(1_000, 1, 1), "by interfaces")
	require.Equal(t, want, count(groups, 100_000, 1), "by entries of a set")
	require.Equal(t, want, count(groups, 1, 2_000), "by members of a group")
	t.Logf("%d rules in the kernel", want)
}
