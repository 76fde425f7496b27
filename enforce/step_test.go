package enforce_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/policy"
)

// web is a group that lets HTTPS and ping in and nothing out.
func web() policy.PutGroup {
	return group("web", both("https", sg.Ingress, sg.TCP, 443), both("dns", sg.Ingress, sg.UDP, 53),
		[]sg.Rule{allow("ping-4", sg.Ingress, sg.ICMP, 0, "0.0.0.0/0"), allow("ping-6", sg.Ingress, sg.ICMPv6, 0, "::/0")})
}

func TestBeforeTheFirstApply(t *testing.T) {
	var denied int
	e := enforce.NewEngine(enforce.Options{OnEvent: func(ev *enforce.Event) {
		if ev.Kind == enforce.FlowDenied && ev.Verdict.Reason == ir.ReasonNoPolicy {
			denied++
		}
	}})
	want := ir.Verdict{Reason: ir.ReasonNoPolicy}
	p := e.Port("i")
	b := tcp("192.0.2.7:4000", "10.0.0.5:443", "S")
	require.Equal(t, want, p.Filter(sg.Ingress, b))
	require.Equal(t, want, p.Filter(0, nil))
	out := make([]ir.Verdict, 3)
	require.Zero(t, p.FilterBatch(sg.Ingress, [][]byte{b, b, nil}, out))
	require.Equal(t, []ir.Verdict{want, want, want}, out)
	require.Nil(t, e.Matcher())
	require.Equal(t, 5, denied, "every refused packet is reported")
	_, ok := e.Rule(1)
	require.False(t, ok)
	for r, n := range e.Drops() {
		require.Equal(t, ir.ReasonNoPolicy, r)
		require.EqualValues(t, 5, n)
	}
	for range e.Counters() {
		t.Fatal("a counter without a policy")
	}
	require.NoError(t, e.Close())
	require.Same(t, p, e.Port("i"))
	require.Equal(t, sg.InterfaceID("i"), p.Interface())
}

// TestSteps reaches every reason by a minimal packet, and shows the order of
// the steps: each packet has the fault of its own step and of later ones.
func TestSteps(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		n := nic("i", "web")
		n.Interface.SourceGuard = true
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), n)
		last := "-4"
		if f.name == "ipv6" {
			last = "-6"
		}
		client, service := at(f.peer, "4000"), at(f.local, "443")

		// 1. Malformed comes before spoofed: both are true of a short packet from a wrong source.
		spoof := tcp(at(f.local, "4000"), service, "S")
		require.Equal(t, "drop malformed", b.in(spoof[:len(spoof)-1]))
		require.Equal(t, "drop malformed", b.in(nil))
		require.Equal(t, "drop malformed", b.in([]byte{0x50}))

		// 2. Spoofed comes before fragments, before state and before rules.
		require.Equal(t, "drop spoofed", b.in(spoof))
		_, rest := split(udp(at(f.local, "1"), service, 64), 40, 7)
		require.Equal(t, "drop spoofed", b.in(rest))
		require.Equal(t, "drop spoofed", b.out(tcp(at(f.far, "443"), client, "SA")))
		require.Equal(t, "drop spoofed", b.in(tcp(client, at(f.far, "443"), "S")))

		// 3. A fragment without its first one: whatever the rules say.
		_, rest = split(udp(client, at(f.local, "53"), 64), 40, 8)
		require.Equal(t, "drop fragment", b.in(rest))

		// 4. State comes before rules: an open port does not help.
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "SA")))
		require.Equal(t, "drop invalid_state", b.in(tcp(client, at(f.local, "22"), "")))
		require.Equal(t, "drop invalid_state", b.in(unreachable(f.peer, f.local, tcp(service, client, "SA"))))

		// 6. The rules.
		require.Equal(t, "drop no_rule", b.in(tcp(client, at(f.local, "22"), "S")))
		require.Equal(t, "drop empty_direction", b.out(tcp(service, at(f.far, "443"), "S")))
		require.Zero(t, b.Table().Len(), "what was refused left a trace")
		require.Equal(t, "accept rule web/https"+last, b.in(tcp(client, service, "S")))

		// Established, both ways, and related.
		require.Equal(t, "accept established web/https"+last, b.out(tcp(service, client, "SA")))
		require.Equal(t, "accept established web/https"+last, b.in(tcp(client, service, "A")))
		require.Equal(t, "accept related web/https"+last, b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))))
		require.Equal(t, "accept related web/https"+last, b.out(unreachable(f.local, f.peer, tcp(client, service, "A"))))
		require.Equal(t, "drop invalid_state", b.in(unreachable(f.peer, f.local, tcp(service, at(f.peer, "4001"), "A"))), "ICMP-04")
		require.Equal(t, "drop invalid_state", b.out(unreachable(f.local, f.far, tcp(client, service, "A"))), "ICMP-02")

		// Fragments inherit the verdict of the first, accept or drop.
		first, rest := split(udp(client, at(f.local, "53"), 64), 40, 9)
		require.Equal(t, "accept rule web/dns"+last, b.in(first))
		require.Equal(t, "accept fragment web/dns"+last, b.in(rest))
		first, rest = split(udp(client, at(f.local, "54"), 64), 40, 10)
		require.Equal(t, "drop no_rule", b.in(first))
		require.Equal(t, "drop fragment", b.in(rest))
		first, rest = split(udp(client, at(f.local, "53"), 64), 40, 11)
		require.Equal(t, "accept established web/dns"+last, b.in(first), "the flow is known")
		require.Equal(t, "accept fragment web/dns"+last, b.in(rest))

		// Other interface, no direction.
		v := b.Port("j").Filter(sg.Ingress, tcp(client, service, "S"))
		require.Equal(t, ir.Verdict{Reason: ir.ReasonUnknownInterface}, v)
		require.Equal(t, ir.Verdict{Reason: ir.ReasonUnknownInterface}, b.Port("i").Filter(0, tcp(client, service, "S")))
		require.Equal(t, ir.Verdict{Reason: ir.ReasonUnknownInterface}, b.Port("i").Filter(3, tcp(client, service, "S")))
	})
}

func TestDefaultsOfTheProfile(t *testing.T) {
	p := profile(sg.Revalidate)
	p.Unattached, p.EmptyDirection = sg.Accept, sg.Accept
	b := newBench(t, enforce.Options{}, p, web(), nic("i", "web"), nic("j"))
	eachFamily(t, func(t *testing.T, f family) {
		syn := tcp(at(f.local, "4000"), at(f.peer, "80"), "S")
		require.Equal(t, "accept empty_direction", b.out(syn))
		require.Equal(t, "accept established", b.in(tcp(at(f.peer, "80"), at(f.local, "4000"), "SA")))
		j := b.Port("j")
		require.Equal(t, "accept unattached", b.say(j.Filter(sg.Egress, syn)))
		require.Equal(t, "accept established", b.say(j.Filter(sg.Egress, syn)), "tracked, without a rule")
	})
	b = newBench(t, enforce.Options{}, profile(sg.Revalidate), nic("i"))
	require.Equal(t, "drop unattached", b.in(tcp("192.0.2.7:1", "10.0.0.5:443", "S")))
}

func TestPlatformRulesStandAboveTheUnion(t *testing.T) {
	p := profile(sg.Revalidate)
	smtp := allow("smtp", sg.Egress, sg.TCP, 25, "0.0.0.0/0")
	meta := allow("metadata", sg.Egress, sg.TCP, 80, "169.254.169.254/32")
	p.Platform = []sg.PlatformRule{{Name: "smtp", Action: sg.Drop, Rule: smtp}, {Name: "metadata", Action: sg.Accept, Rule: meta}}
	free := nic("j", "open")
	free.Interface.Exempt = []string{"smtp"}
	b := newBench(t, enforce.Options{}, p, group("open", both("any", sg.Egress, sg.AnyProtocol, 0)), nic("i", "open"), free)
	mail := tcp("10.0.0.5:4000", "192.0.2.7:25", "S")
	require.Equal(t, "drop platform platform smtp", b.out(mail))
	require.Equal(t, "accept rule open/any-4", b.say(b.Port("j").Filter(sg.Egress, mail)))
	require.Equal(t, "accept platform platform metadata", b.out(tcp("10.0.0.5:4000", "169.254.169.254:80", "S")))
	require.Equal(t, "accept established platform metadata", b.in(tcp("169.254.169.254:80", "10.0.0.5:4000", "SA")))
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("platform smtp"), "refused, one by one")
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 2, Bytes: 80}, b.counter("platform metadata"))
}

// Neighbour discovery is allowed and not tracked.
func TestUntrackedMessages(t *testing.T) {
	b := newBench(t, enforce.Options{}, aws.Profile(), group("none"), nic("i", "none"))
	ns := icmp("fd00::5", "ff02::1:ff00:7", 135, 0, make([]byte, 20))
	for range 2 {
		require.Equal(t, "accept platform platform neighbour-discovery", b.out(ns))
	}
	require.Zero(t, b.Table().Len())
	require.Equal(t, enforce.Counter{Packets: 2, Bytes: 128}, b.counter("platform neighbour-discovery"))
	require.Empty(t, b.kinds(), "no flow, no event")
	// EXT-10: a router advertisement of the workload.
	require.Contains(t, b.out(icmp("fe80::5", "ff02::1", 134, 0, make([]byte, 12))), "drop")
}

func TestSourceGuard(t *testing.T) {
	n := nic("i", "open")
	n.Interface.SourceGuard = true
	n.Interface.Allowed = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate),
		group("open", both("in", sg.Ingress, sg.AnyProtocol, 0), both("out", sg.Egress, sg.AnyProtocol, 0)), n)
	const ok, spoofed = "accept rule", "drop spoofed"
	for _, c := range []struct {
		d                    sg.Direction
		src, dst, want, note string
	}{
		{sg.Egress, "10.0.0.5", "192.0.2.7", ok, "its own"},
		{sg.Egress, "10.9.0.77", "192.0.2.7", ok, "allowed pair"},
		{sg.Egress, "10.0.0.6", "192.0.2.7", spoofed, "a neighbour's"},
		{sg.Egress, "0.0.0.0", "255.255.255.255", ok, "DHCP discover"},
		{sg.Egress, "fe80::1", "ff02::2", ok, "link-local"},
		{sg.Egress, "169.254.0.1", "192.0.2.7", spoofed, "IPv4 link-local is no infrastructure"},
		{sg.Egress, "::ffff:169.254.0.1", "2001:db8::7", spoofed, "IPv4-mapped is neither"},
		{sg.Egress, "::ffff:10.0.0.5", "2001:db8::7", spoofed, "SEM-01"},
		{sg.Egress, "fd00::6", "2001:db8::7", spoofed, "a neighbour's"},
		{sg.Ingress, "192.0.2.7", "10.0.0.5", ok, "to it"},
		{sg.Ingress, "192.0.2.7", "10.9.0.1", ok, "to an allowed pair"},
		{sg.Ingress, "10.9.0.2", "10.9.0.1", ok, "a virtual address may be another's today"},
		{sg.Ingress, "10.0.0.5", "10.0.0.5", spoofed, "LAND"},
		{sg.Ingress, "192.0.2.7", "10.0.0.6", spoofed, "to a neighbour"},
		{sg.Ingress, "192.0.2.7", "224.0.0.1", ok, "multicast"},
		{sg.Ingress, "0.0.0.0", "255.255.255.255", ok, "broadcast"},
		{sg.Ingress, "fe80::2", "fe80::5", ok, "link-local"},
		{sg.Ingress, "2001:db8::7", "::ffff:224.0.0.1", spoofed, "no multicast address"},
		{sg.Ingress, "2001:db8::7", "::ffff:169.254.0.1", spoofed, "no link-local address"},
	} {
		v := b.Port("i").Filter(c.d, udp(at(c.src, "68"), at(c.dst, "67"), 8))
		require.Equal(t, c.want, v.Action.String()+" "+v.Reason.String(), "%v %s > %s: %s", c.d, c.src, c.dst, c.note)
	}
	detection := icmp("::", "ff02::1:ff00:5", 135, 0, make([]byte, 20))
	require.Contains(t, b.out(detection), ok, "duplicate address detection")
	// Without the guard nothing of it is asked.
	b.change(nic("i", "open"))
	require.Equal(t, "accept rule open/out-4", b.out(udp("10.0.0.6:1", "192.0.2.7:2", 0)))
}

func TestTableFull(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1, Shards: 1, MaxFragments: 8}}, profile(sg.Revalidate), web(), nic("i", "web"))
		client, service := at(f.peer, "4000"), at(f.local, "443")
		require.Contains(t, b.in(tcp(client, service, "S")), "accept rule")
		b.out(tcp(service, client, "SA"))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
		b.kinds()
		require.Equal(t, "drop table_full", b.in(tcp(at(f.far, "1"), service, "S")), "RES-01: an assured flow is not evicted")
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
		// A first fragment that was refused for lack of room takes the rest with it.
		first, rest := split(udp(client, at(f.local, "53"), 64), 40, 9)
		require.Equal(t, "drop table_full", b.in(first))
		require.Equal(t, "drop fragment", b.in(rest))
		require.Equal(t, "denied denied denied", b.kinds())
		// Half-open ones make room.
		b = newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1, Shards: 1, MaxFragments: 8}}, profile(sg.Revalidate), web(), nic("i", "web"))
		b.in(tcp(client, service, "S"))
		require.Contains(t, b.in(tcp(at(f.far, "1"), service, "S")), "accept rule")
		require.Equal(t, "opened closed opened", b.kinds())
	})
}

// TestZeroMatcher: a matcher that no compiler made is none.
func TestZeroMatcher(t *testing.T) {
	e := enforce.NewEngine(enforce.Options{})
	require.ErrorIs(t, e.Apply(t.Context(), new(compile.Matcher)), sg.ErrRequired)
	require.ErrorIs(t, e.Apply(t.Context(), nil), sg.ErrRequired)
}

// TestShortOut: verdicts that have no room are no verdicts.
func TestShortOut(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"))
	room := make([]ir.Verdict, 3)
	require.Panics(t, func() { b.Port("i").FilterBatch(sg.Ingress, make([][]byte, 3), room[:1]) })
	require.Equal(t, make([]ir.Verdict, 3), room)
}

// TestNoDirection: what is neither ingress nor egress is of no interface, on every
// way to a verdict.
func TestNoDirection(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("in", sg.Ingress, sg.TCP, 443), both("out", sg.Egress, sg.TCP, 0)), nic("i", "web"))
		syn := tcp(at(f.peer, "4000"), at(f.local, "443"), "S")
		want := ir.Verdict{Action: sg.Drop, Reason: ir.ReasonUnknownInterface}
		for d := range 256 {
			d := sg.Direction(d)
			if d.Valid() {
				continue
			}
			out := make([]ir.Verdict, 8)
			require.Zero(t, b.Port("i").FilterBatch(d, slices.Repeat([][]byte{syn}, 8), out))
			require.Equal(t, want, out[0], d)
			require.Equal(t, want, out[7], d)
			require.Equal(t, want, b.Port("i").Filter(d, syn), d)
		}
		require.Zero(t, b.Table().Len())
		require.Equal(t, sg.Accept, b.Port("i").Filter(sg.Ingress, syn).Action)
		for d := range 256 { // nor if it is of a connection
			if d := sg.Direction(d); !d.Valid() {
				require.Equal(t, want, b.Port("i").Filter(d, syn), d)
			}
		}
	})
}
