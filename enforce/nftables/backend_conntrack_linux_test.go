package nftables

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// tracked counts the connections of the zones of VPCs by the two ends.
func (h *host) tracked() map[string]int {
	out := map[string]int{}
	h.do(func(context.Context) error {
		k, err := dial(h.o.Table, h.seed)
		if err != nil {
			return err
		}
		defer k.close()
		return k.connections(func(e *entry) { out[fmt.Sprintf("%d %s %s", e.zone, e.src, e.dst)]++ })
	})
	return out
}

// cutProfile ends what a change refuses at once.
func cutProfile() sg.Profile {
	p := stackit.Profile()
	p.Established = sg.Cut
	return p
}

// TestForgetsOnly: of many connections go those that must, and no others.
func TestForgetsOnly(t *testing.T) {
	const each = 4_000
	lab := netlabtest.Start(t, netlabtest.Config{
		Ports: []netlabtest.Port{
			{Device: "sg0", VPC: 0, Addrs: prefixes("10.0.0.5")}, {Device: "sg1", VPC: 0, Addrs: prefixes("10.0.0.6")},
			{Device: "sg2", VPC: 1, Addrs: prefixes("10.0.0.5")},
		},
		Uplinks: []netlabtest.Uplink{{Device: "up0", VPC: 0}, {Device: "up1", VPC: 1}},
	})
	h := &host{t, lab, newBackend(t, Options{Uplinks: map[string]sg.VPCID{"up0": "a", "up1": "b"}})}
	serve := func(id sg.GroupID, vpc sg.VPCID) policy.Change {
		return policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: vpc, Rules: []sg.Rule{
			{ID: "in", Direction: sg.Ingress, Protocol: sg.UDP, Ports: sg.Port(53), Peer: sg.PeerSet("one")},
			{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
		}}}
	}
	put := func(id sg.InterfaceID, vpc sg.VPCID, addr string, g sg.GroupID) policy.Change {
		return policy.PutInterface{Interface: &sg.Interface{ID: id, VPC: vpc, Addrs: prefixes(addr), Groups: []sg.GroupID{g}}}
	}
	s := newSourceOf(t, cutProfile(), policy.PutSet{Set: swapSet("one", friend, guest)}, serve("ga", "a"), serve("gb", "b"),
		put("sg0", "a", "10.0.0.5", "ga"), put("sg1", "a", "10.0.0.6", "ga"), put("sg2", "b", "10.0.0.5", "gb"))
	h.apply(s.matcher())
	opening := func(from, to, up, dev string, n int) (steps []netlabtest.Step) {
		for port := range n {
			steps = append(steps, netlabtest.Step{From: up, To: dev, Packet: enforcetest.UDP(endpoint(from, uint16(1024+port)), endpoint(to, 53))})
		}
		return steps
	}
	h.pass(opening(friend, "10.0.0.5", "up0", "sg0", each)...)
	h.pass(opening(guest, "10.0.0.5", "up0", "sg0", each)...)
	h.pass(opening(friend, "10.0.0.6", "up0", "sg1", each)...)
	h.pass(opening(friend, "10.0.0.5", "up1", "sg2", each)...)
	zone := func(vpc sg.VPCID) int { return h.now.layout.zonesByVPC()[string(vpc)] }
	key := func(vpc sg.VPCID, from, to string) string { return fmt.Sprintf("%d %s %s", zone(vpc), from, to) }
	want := map[string]int{
		key("a", friend, "10.0.0.5"): each, key("a", guest, "10.0.0.5"): each,
		key("a", friend, "10.0.0.6"): each, key("b", friend, "10.0.0.5"): each,
	}
	require.Equal(t, want, h.tracked())

	// A member leaves, and its connections are cut at once.
	h.apply(s.change(leaves("one", guest)))
	delete(want, key("a", guest, "10.0.0.5"))
	require.Equal(t, want, h.tracked())

	// What widens cuts nothing, nor what changes elsewhere.
	h.apply(s.change(joins("one", guest)))
	h.apply(s.change(policy.PutInterface{Interface: &sg.Interface{ID: "far", VPC: "a", Addrs: prefixes("10.9.9.9"), Groups: []sg.GroupID{"ga"}}}))
	require.Equal(t, want, h.tracked())

	// The interface of VPC a goes and comes again: another one. That of VPC b
	// has its address, and nothing to do with it.
	h.apply(s.change(policy.DeleteInterface{ID: "sg0"}, put("sg0", "a", "10.0.0.5", "ga")))
	delete(want, key("a", friend, "10.0.0.5"))
	require.Equal(t, want, h.tracked())

	// It goes for good.
	h.pass(opening(friend, "10.0.0.5", "up0", "sg0", 10)...)
	h.apply(s.change(policy.DeleteInterface{ID: "sg0"}))
	require.Equal(t, want, h.tracked())

	// A restart after which less is allowed.
	require.NoError(t, h.Close())
	h = h.another(Options{Uplinks: h.o.Uplinks})
	h.apply(newSourceOf(t, cutProfile(), policy.PutSet{Set: swapSet("one", friend)}, serve("ga", "a"), serve("gb", "b"),
		policy.PutGroup{Group: &sg.Group{ID: "shut", Name: "shut", VPC: "a"}}, put("sg1", "a", "10.0.0.6", "shut"), put("sg2", "b", "10.0.0.5", "gb")).matcher())
	delete(want, fmt.Sprintf("%d %s %s", zone("a"), friend, "10.0.0.6"))
	require.Equal(t, want, h.tracked())
	h.do(h.Remove)
}

// TestForgettingFails: what could not be ended is ended by the next Apply.
func TestForgettingFails(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, nil)...)
	h.apply(s.matcher())
	h.opened(tcp(friend, 999, 443))
	m := s.change(policy.DeleteInterface{ID: "sg0"})
	h.apply(m)
	require.Empty(t, h.tracked())
	h.due = due{gone: []place{{1, prefixes("10.0.0.6")}}}
	h.apply(m)
	require.True(t, h.due.nothing())
}

// TestRemarkedInPlace: marks are written half by half, and of nobody else.
func TestRemarkedInPlace(t *testing.T) {
	h := newHost(t, Options{})
	h.apply(newSource(t, town([]string{friend}, nil)...).matcher())
	kept := h.opened(tcp(friend, 999, 443))
	h.do(func(context.Context) error {
		n, err := h.kernel.remark(func(mark uint32) uint32 { return mark ^ 0x1234_0000 })
		require.Equal(t, 1, n)
		return err
	})
	var marks []uint32
	h.do(func(context.Context) error {
		return h.kernel.connections(func(e *entry) { marks = append(marks, e.mark) })
	})
	require.Equal(t, []uint32{0x1235_0000}, marks)
	h.pass(goesOn(kept)...) // judged again
}
