package enforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

func (b *bench) drops() map[ir.Reason]uint64 {
	m := map[ir.Reason]uint64{}
	for r, n := range b.Drops() {
		m[r] = n
	}
	return m
}

func TestCountersThroughTheLifeOfAFlow(t *testing.T) {
	b := newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: 2, Shards: 1, MaxFragments: 8}}, profile(sg.Revalidate), group("web", https("a"), both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
	f := families()[0]
	client, service := b.handshake(f, "443")
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 3, Bytes: 120}, b.counter("web/a-4"))

	// An error about it counts too.
	b.in(unreachable(f.peer, f.local, tcp(service, client, "A")))
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 4, Bytes: 120 + 28 + 40}, b.counter("web/a-4"))
	web := func() enforce.Counter { return b.counter("web/a-4") }
	was := web()

	// A refused packet is no packet of the rule.
	b.in(tcp(client, service, "SA"))
	require.Equal(t, was, web())

	// Evicted.
	b.in(udp("192.0.2.7:1", "10.0.0.5:53", 0))
	b.in(udp("192.0.2.7:2", "10.0.0.5:53", 0))
	require.Equal(t, enforce.Counter{Flows: 2, Packets: 2, Bytes: 56}, b.counter("web/dns-4"))
	require.EqualValues(t, 1, b.Table().Stats().EarlyDrop)

	// Expired, whether swept or not.
	b.sleep(31 * time.Second)
	require.Equal(t, enforce.Counter{Flows: 2, Packets: 2, Bytes: 56}, b.counter("web/dns-4"))
	require.Equal(t, 1, b.Table().Len(), "freed")

	// Judged again, then idle for ever: nothing is lost and nothing is below zero.
	b.change(group("web", https("b")))
	require.Contains(t, b.in(tcp(client, service, "A")), "web/b-4")
	require.Equal(t, was, web())
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("web/b-4"))
	b.sleep(6 * 24 * time.Hour)
	require.Equal(t, was, web())
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("web/b-4"))

	// Revoked: what was refused is not counted.
	client, service = b.handshake(f, "443")
	b.change(group("web"))
	b.in(tcp(client, service, "A"))
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 4, Bytes: 160}, b.counter("web/b-4"))
	require.Equal(t, was, web())
	require.Equal(t, map[ir.Reason]uint64{ir.ReasonInvalidState: 1, ir.ReasonEmptyDirection: 1}, b.drops())

	for range b.Counters() {
		break // a loop may stop early
	}
	for range b.Drops() {
		break
	}
}

func TestCountersUnderKeepAndCut(t *testing.T) {
	f := families()[0]
	b := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"))
	client, service := b.handshake(f, "443")
	b.change(group("web"))
	b.in(tcp(client, service, "S")) // refused
	b.in(tcp(client, service, "A"))
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 4, Bytes: 160}, b.counter("web/a-4"))

	b = newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
	client, service = b.handshake(f, "443")
	b.change(group("web", https("b")))
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 3, Bytes: 120}, b.counter("web/a-4"))
	b.in(tcp(client, service, "A"))
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("web/b-4"))
	b.change(group("web"))
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 3, Bytes: 120}, b.counter("web/a-4"))
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("web/b-4"))
}

// A first fragment that contradicts another (FRAG-05) is no packet of its flow.
func TestCountersOfRefusedFragments(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(0), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
	first, rest := split(udp("192.0.2.7:1", "10.0.0.5:53", 64), 40, 9)
	require.Equal(t, "accept rule web/dns-4", b.in(first))
	again, _ := split(udp("192.0.2.7:1", "10.0.0.5:53", 64), 32, 9)
	require.Equal(t, "drop fragment", b.in(again))
	require.Equal(t, "drop fragment", b.in(rest), "FRAG-03: the datagram is poisoned")
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 1, Bytes: uint64(len(first))}, b.counter("web/dns-4"))
}

// A question about a rule that never was costs nothing.
func TestRuleOfAnyNumber(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(0), web(), nic("i", "web"))
	allocated := testing.AllocsPerRun(10, func() {
		for _, n := range []ir.RuleNum{0, 1 << 20, 1 << 31, 1<<32 - 1} {
			_, ok := b.Rule(n)
			require.False(t, ok)
		}
	})
	require.Zero(t, allocated)
	for r := range b.Matcher().Program().Rules() {
		ref, ok := b.Rule(r.Num)
		require.True(t, ok)
		require.Equal(t, r.Ref, ref)
	}
}
