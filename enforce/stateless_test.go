package enforce_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

func TestStatelessGroup(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), stateless(group("web", https("a"), both("dns", sg.Ingress, sg.UDP, 53))), nic("i", "web"))
		client, service := at(f.peer, "4000"), at(f.local, "443")
		require.Contains(t, b.in(tcp(client, service, "S")), "accept rule web/a-")
		require.Contains(t, b.in(tcp(client, service, "S")), "accept rule web/a-")
		require.Equal(t, "drop invalid_state", b.out(tcp(service, client, "SA")), "a reply needs a rule of its own")
		require.Contains(t, b.in(udp(client, at(f.local, "53"), 0)), "accept rule web/dns-")
		require.Equal(t, "drop empty_direction", b.out(udp(at(f.local, "53"), client, 0)))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept rule web/a-", "mid-stream")
		require.Contains(t, b.in(tcp(client, service, "FA")), "accept rule web/a-")
		require.Contains(t, b.in(tcp(client, service, "RA")), "accept rule web/a-")
		for _, scan := range []string{"", "F", "FPU", "SF", "SR", "SFR", "SAFRPU", "FR"} {
			require.Equal(t, "drop invalid_state", b.in(tcp(client, service, scan)), "TCP-01: %q", scan)
		}
		require.Zero(t, b.Table().Len())
		require.NotContains(t, b.kinds(), "opened")
		require.Equal(t, "drop invalid_state", b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))))

		b.change(stateless(group("web", https("a"), both("out", sg.Egress, sg.TCP, 4000))))
		require.Contains(t, b.out(tcp(service, client, "SA")), "accept rule web/out-")
		require.Zero(t, b.Table().Len())
		// An ICMP rule of a stateless group lets errors pass by itself.
		b.change(stateless(group("web", both("all", sg.Ingress, sg.AnyProtocol, 0))))
		require.Contains(t, b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))), "accept rule web/all-")
		require.Contains(t, b.in(ping(f.peer, f.local, true, 7)), "accept rule web/all-")
	})
}

// What a stateful group allows too is tracked, whichever is attached first.
func TestStatefulWins(t *testing.T) {
	for _, groups := range [][]sg.GroupID{{"less", "full"}, {"full", "less"}} {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), stateless(group("less", https("a"))), group("full", https("b")), nic("i", groups...))
		require.Contains(t, b.in(tcp("192.0.2.7:4000", "10.0.0.5:443", "S")), "accept rule "+string(groups[0]))
		require.Contains(t, b.out(tcp("10.0.0.5:443", "192.0.2.7:4000", "SA")), "accept established")
		require.Equal(t, 1, b.Table().Len())
		require.Equal(t, "drop invalid_state", b.in(tcp("192.0.2.7:4001", "10.0.0.5:443", "A")), "tracked, so mid-stream is invalid")
	}
}

// A flow that loses its stateful rule goes on without a state.
func TestBecomesStateless(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), stateless(group("less", https("a"))), group("full", https("b")), nic("i", "full", "less"))
	client, service := b.handshake(families()[0], "443")
	b.change(group("full"))
	require.Equal(t, "accept rule less/a-4", b.in(tcp(client, service, "A")))
	require.Zero(t, b.Table().Len())
	require.Equal(t, enforce.Counter{Flows: 1, Packets: 3, Bytes: 120}, b.counter("full/b-4"))
	require.Equal(t, enforce.Counter{Packets: 1, Bytes: 40}, b.counter("less/a-4"))
	require.Equal(t, "drop invalid_state", b.out(tcp(service, client, "A")))
	require.Equal(t, "opened closed denied", b.kinds())
}
