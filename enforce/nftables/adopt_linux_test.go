package nftables

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func TestRestart(t *testing.T) {
	h := newHost(t, Options{})
	h.apply(newSource(t, town([]string{friend, guest}, []string{friend})...).matcher())
	stays, ends := h.opened(tcp(friend, 999, 22)), h.opened(tcp(guest, 999, 22))
	query := enforcetest.UDP(endpoint(friend, 999), endpoint("10.0.0.5", 53))
	answer := enforcetest.UDP(endpoint("10.0.0.5", 53), endpoint(friend, 999))
	h.pass(inward(query), outward(answer))
	epoch := h.now.layout.epoch
	require.NoError(t, h.Close())
	h.pass(append(append(goesOn(stays), goesOn(ends)...), outward(answer))...) // nobody is there, all is in force

	// Another process, whose Compiler numbers everything otherwise, and to
	// which guest is a stranger. VPC "a" has another number.
	next := h.another(Options{})
	next.do(next.Prepare)
	h.pass(append(goesOn(stays), goesOn(ends)...)...)
	other := newSource(t, append([]policy.Change{
		policy.PutGroup{Group: &sg.Group{ID: "00", Name: "00", VPC: "00"}},
		policy.PutInterface{Interface: &sg.Interface{ID: "00", VPC: "00", Addrs: prefixes("10.0.0.5"), Groups: []sg.GroupID{"00"}}},
	}, town([]string{friend}, []string{friend})...)...).matcher()
	a, _ := other.Interface("sg0")
	require.NotZero(t, a.VPCNum, "the test is about another number")
	next.apply(other)
	h.pass(append(goesOn(stays), outward(answer), inward(query))...)
	h.stop(goesOn(ends)...)
	require.Equal(t, nextEpoch(epoch), next.now.layout.epoch)
	require.Empty(t, next.verify())

	// The same without a table in between: marks of before are no licence.
	next.do(next.Remove)
	h.pass(goesOn(ends)...) // nobody filters
	third := h.another(Options{})
	third.apply(newSource(t, town([]string{friend}, []string{friend})...).matcher())
	require.Empty(t, third.verify())
	h.stop(inward(ends.FromClient(segACK)))
	h.pass(goesOn(stays)...)
	require.Greater(t, since(epoch, third.now.layout.epoch), 0)
	require.Less(t, since(epoch, third.now.layout.epoch), recent)
}

func TestRemove(t *testing.T) {
	h := newHost(t, Options{Protect: []string{"sg*"}})
	before := h.nft("list", "ruleset")
	h.script("table inet other {\n set s {\n type ipv4_addr\n elements = { 192.0.2.1 }\n }\n chain c {\n type filter hook forward priority 5; policy accept;\n counter\n }\n}")
	others := h.nft("-s", "list", "table", "inet", "other")
	h.do(h.Remove) // none is there
	h.do(h.Prepare)
	h.stop(inward(tcp(friend, 1, 443).FromClient(segSYN)))
	h.do(h.Prepare)
	s := newSource(t, town([]string{friend}, nil)...)
	h.apply(s.matcher())
	h.apply(s.change(joins("one", guest)))
	h.apply(s.change(leaves("one", guest)))
	h.apply(s.change(policy.DeleteInterface{ID: "sg1"}))
	require.Contains(t, h.nft("list", "tables"), "table inet secgroup")
	h.do(h.Remove)
	require.NotContains(t, h.nft("list", "tables"), "secgroup")
	h.do(h.Remove)
	require.Empty(t, h.verify(), "there is nothing to compare with")
	require.Equal(t, others, h.nft("-s", "list", "table", "inet", "other"))
	h.script("delete table inet other")
	require.Equal(t, before, h.nft("list", "ruleset"))
}

// TestPrepare: what has no policy yet passes nothing, and what has one keeps it.
func TestPrepare(t *testing.T) {
	h := newHost(t, Options{Protect: []string{"sg*"}})
	h.do(h.Prepare)
	hello := tcp(friend, 1, 443)
	h.stop(inward(hello.FromClient(segSYN)), outward(tcp(friend, 2, 443).FromServer(segSYN)))
	h.apply(newSource(t, town(nil, nil)...).matcher())
	h.opened(hello)

	// The next process protects other devices.
	next := h.another(Options{Protect: []string{"tap*"}})
	next.do(next.Prepare)
	h.pass(goesOn(hello)...)
	require.Contains(t, h.nft("list", "chain", "inet", "secgroup", "egress"), `"tap*"`)
	next.apply(newSource(t, town(nil, nil)...).matcher())
	require.Empty(t, next.verify())

	// What somebody flushed filters nothing: away with it.
	h.script("flush table inet secgroup")
	third := h.another(Options{Protect: []string{"sg*"}})
	third.do(third.Prepare)
	h.stop(goesOn(hello)...)
	third.apply(newSource(t, town(nil, nil)...).matcher())
	h.pass(goesOn(hello)...)
}

// TestEpochsBeginAgain: a connection that sends nothing while all epochs go by
// is not taken for one that today's policy allowed.
func TestEpochsBeginAgain(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend, guest}, []string{friend})...)
	h.apply(s.matcher())
	stays, ends := h.opened(tcp(friend, 999, 22)), h.opened(tcp(guest, 999, 22))
	first := h.now.layout.epoch
	h.apply(s.change(leaves("one", guest)))

	// Around to just before the epoch in which both were opened.
	turn := func(to uint16) {
		for h.now.layout.epoch != to {
			step := min(since(h.now.layout.epoch, to), h.fresh)
			if step == 0 {
				step = 1
				h.do(func(context.Context) error {
					_, err := h.refresh(h.now.layout.epoch)
					return err
				})
			}
			edit := &epochEdit{names: h.now.layout.epochNames(h.now.names), from: h.now.layout.epoch, to: (h.now.layout.epoch+uint16(step)-1)%maxEpoch + 1}
			h.do(func(context.Context) error { return h.kernel.edit(nil, edit) })
			h.now.layout.epoch = edit.to
			h.fresh -= step
		}
	}
	turn(first - 1 + maxEpoch*b2i(first == 1))
	require.Empty(t, h.verify()) // and look at the table as it is now
	gen := uint32(0)
	h.do(func(context.Context) (err error) {
		gen, err = h.kernel.generation()
		return err
	})
	h.now.gen = gen
	h.apply(s.change(joins("one", guest, foe)))
	h.apply(s.change(leaves("one", guest, foe)))
	require.Equal(t, first, h.now.layout.epoch)
	require.Empty(t, h.verify())
	h.stop(goesOn(ends)...)
	h.pass(goesOn(stays)...)
}

func b2i(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

func TestEndOfUse(t *testing.T) {
	for _, c := range []struct {
		used []uint16
		want uint16
	}{
		{nil, maxEpoch},
		{[]uint16{7}, 7},
		{[]uint16{7, 8, 9}, 9},
		{[]uint16{1, 2, maxEpoch}, 2},
		{[]uint16{1, 20_000}, 1},
		{[]uint16{5, 15_000, 20_000}, 5},
		{[]uint16{30_000, 32_000, 3}, 3},
	} {
		used := map[uint16]bool{}
		for _, e := range c.used {
			used[e] = true
		}
		require.Equal(t, c.want, endOfUse(used), "%v", c.used)
	}
	require.Equal(t, 1, since(maxEpoch, 1))
	require.Equal(t, uint16(3), laterEpoch(2, 3))
	require.Equal(t, uint16(1), laterEpoch(maxEpoch, 1))
	require.Equal(t, uint16(9), laterEpoch(9, 0))
}

// counts are what Counters yields, by the rule's text.
func (h *host) counts() map[string]enforce.Counter {
	out := map[string]enforce.Counter{}
	h.do(func(ctx context.Context) error {
		all, err := h.Counters(ctx)
		if err == nil {
			for ref, c := range all {
				out[ref.String()] = c
			}
		}
		return err
	})
	return out
}

func TestCounters(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	want := map[string]enforce.Counter{}
	port := uint16(1000)
	visit := func(n int) {
		for range n {
			port++
			c := h.opened(tcp(friend, port, 443))
			h.pass(goesOn(c)...)
			ssh := tcp(friend, port, 22)
			h.pass(inward(ssh.FromClient(segSYN)))
			q := enforcetest.UDP(endpoint(friend, port), endpoint("10.0.0.5", 53), 1, 2, 3)
			h.pass(inward(q), inward(q), outward(enforcetest.UDP(endpoint("10.0.0.5", 53), endpoint(friend, port))))
			h.stop(inward(tcp(foe, port, 22).FromClient(segSYN)))
			for rule, packet := range map[string][]byte{"web/https": c.FromClient(segSYN), "web/ssh": ssh.FromClient(segSYN), "web/dns": q} {
				was := want[rule]
				want[rule] = enforce.Counter{Packets: was.Packets + 1, Bytes: was.Bytes + uint64(len(packet))}
			}
		}
		require.Equal(t, want, h.counts())
	}
	visit(5)
	h.apply(s.change(joins("one", guest)))
	visit(1)
	h.apply(s.change(leaves("one", guest)))
	visit(1)
	h.apply(s.change(policy.DeleteInterface{ID: "sg1"}))
	visit(1)
	web, _ := s.snapshot.Group("web")
	more := web.Clone()
	more.Rules = append(more.Rules, sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(8080), Peer: sg.PeerSet("one")})
	h.apply(s.change(policy.PutGroup{Group: more}))
	visit(2)

	// Another process, and another Compiler.
	next := h.another(Options{})
	next.apply(newSource(t, town([]string{friend}, []string{friend})...).matcher())
	h.Backend = next.Backend
	visit(2)
	h.apply(newSource(t, append([]policy.Change{policy.PutSet{Set: swapSet("0", friend)}}, town([]string{friend}, []string{friend})...)...).matcher())
	visit(2)

	// A rule that is no more keeps its sum.
	s = newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	web, _ = s.snapshot.Group("web")
	less := web.Clone()
	less.Rules = less.Rules[1:]
	h.apply(s.change(policy.PutGroup{Group: less}))
	require.Equal(t, want, h.counts())

	// So do those of a table that somebody flushed, but for what they counted
	// since they were read.
	h.script("flush table inet secgroup")
	h.apply(s.matcher())
	require.Equal(t, want, h.counts())
}
