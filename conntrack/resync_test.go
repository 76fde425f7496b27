package conntrack

import (
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// ends of the connections below: a client inside, a server outside.
const client, server = inside + ":4000", outside + ":80"

// TestRefusedAttempt: an attempt that a RST ended before an answer is forgotten,
// so no ICMP error is about it; one that was answered before is remembered.
func TestRefusedAttempt(t *testing.T) {
	for _, answered := range []bool{false, true} {
		g := newGate()
		syn := seg(client, server, "S", 1000, 0, 0, 8192)
		require.Equal(t, "A", g.out(syn))
		if answered { // an old connection of the server's
			require.Equal(t, "A", g.in(seg(server, client, "A", 5000, 77, 0, 8192)))
		}
		require.Equal(t, "A", g.in(icmpError(stranger, inside, 3, syn)))
		require.Equal(t, "A", g.in(seg(server, client, "RA", 0, 1001, 0, 1)))
		require.Equal(t, map[bool]string{false: "D", true: "A"}[answered], g.in(icmpError(stranger, inside, 3, syn)))
	}
}

// TestResetWindow: the RST that refuses an attempt is the first that is known of
// its sender, and what comes after it must fit.
func TestResetWindow(t *testing.T) {
	g := newGate()
	require.Equal(t, "A", g.out(seg(client, server, "S", 0, 0, 0, 1000)))
	require.Equal(t, "A", g.in(seg(server, client, "A", 2147481049, 1, 1, 100)))
	require.Equal(t, "A", g.in(seg(server, client, "RA", 4294964698, 1, 0, 100)))
	require.Equal(t, StatusClose, g.status())
	require.Equal(t, "D", g.in(seg(server, client, "A", 2147481050, 1, 0, 100)))
	require.Equal(t, "A", g.in(seg(server, client, "A", 4294964698, 1, 0, 100)))
}

// TestCrossedAgain: in a simultaneous open too, a SYN-ACK may answer a SYN that
// was let through, and the connection begins there.
func TestCrossedAgain(t *testing.T) {
	g := newGate()
	require.Equal(t, "A", g.out(seg(client, server, "S", 991934209, 0, 0, 100)))
	require.Equal(t, "A", g.in(seg(server, client, "S", 0, 0, 0, 1)))
	require.Equal(t, "A", g.out(seg(client, server, "SA", 991934209, 1, 0, 1)))
	require.Equal(t, "A", g.out(seg(client, server, "S", 0, 0, 0, 1)))
	require.Equal(t, StatusSynRecv, g.status())
	require.Equal(t, "A", g.in(seg(server, client, "SA", 2147481755, 1, 0, 0)))
	require.Equal(t, StatusSynRecv, g.status())
	require.Equal(t, "D", g.out(seg(client, server, "A", 1, 2148530332, 0, 0)), "acknowledges what was not sent")
	require.Equal(t, "A", g.out(seg(client, server, "A", 1, 2147481756, 0, 0)))
	require.Equal(t, StatusEstablished, g.status())
}

// TestLiberalTrace: without window checks, what a segment outside them says
// stays all the same, and a RST is judged by it.
func TestLiberalTrace(t *testing.T) {
	g := &gate{Table: NewTable(Options{TCPLiberal: true})}
	scaled := func(p *packet.Packet, shift uint8) *packet.Packet {
		p.HasScale, p.Scale = true, shift
		return p
	}
	require.Equal(t, "A", g.out(scaled(seg(client, server, "S", 2147482043, 0, 0, 100), 7)))
	require.Equal(t, "A", g.in(scaled(seg(server, client, "SA", 4294965547, 788013762, 500, 1), 2)))
	require.Equal(t, "A", g.out(seg(client, server, "A", 2147482044, 4294965548, 0, 8192)))
	require.Equal(t, "D", g.in(seg(server, client, "RA", 4294964548, 2147482044, 0, 8192)))
	require.Equal(t, StatusEstablished, g.status())
}

// TestHeldSyn: Track leaves a SYN that opens a connection once more to the
// caller. Refused, it has left no trace; allowed, Commit moves the connection on.
func TestHeldSyn(t *testing.T) {
	entry := func(g *gate) (out Entry) {
		for e := range g.All(g.now) {
			out = e
		}
		return out
	}
	for _, allowed := range []bool{false, true} {
		g := newGate()
		require.Equal(t, "A", g.out(seg(client, server, "S", 2001104061, 0, 0, 8192)))
		before := entry(g)
		g.now += second
		again := seg(client, server, "S", 927362237, 0, 0, 8192)
		c := g.Track(g.now, 0, Local, again)
		require.Equal(t, Established, c.State)
		require.Equal(t, Original, c.Dir)
		require.Equal(t, before, entry(g))
		if allowed {
			c, err := g.Commit(g.now, 0, Local, again, 9, 9)
			require.NoError(t, err)
			require.Equal(t, Established, c.State)
			require.Equal(t, Mark(1), c.Mark, "that of who opened it")
			require.Equal(t, before.Packets[0]+1, entry(g).Packets[0])
			require.Zero(t, g.Stats().InsertFailed)
		}
		verdict := map[bool]string{false: "D", true: "A"}[allowed]
		g.in(seg(server, client, "SA", 4294965034, 927362238, 0, 1000))
		require.Equal(t, map[bool]Status{false: StatusSynSent, true: StatusSynRecv}[allowed], g.status())
		require.Equal(t, verdict, g.out(seg(client, server, "A", 927362238, 4294965035, 0, 8192)))
	}
}

// TestGivenUp: a server that still has an old connection answers the attempt by
// an ACK, and the opener's RST that answers this one, and no other, ends it.
func TestGivenUp(t *testing.T) {
	for _, c := range []struct {
		name string
		rst  *packet.Packet
		want string
	}{
		{"as RFC 9293 says", seg(client, server, "R", 70_000_077, 0, 0, 0), "A"},
		{"beside it", seg(client, server, "R", 70_000_078, 0, 0, 0), "D"},
		{"before it", seg(client, server, "R", 70_000_076, 0, 0, 0), "D"},
		{"with an acknowledgement", seg(client, server, "RA", 9, 5000, 0, 0), "A"},
		{"with another", seg(client, server, "RA", 70_000_076, 5001, 0, 0), "D"},
	} {
		for _, answered := range []bool{true, false} {
			g := newGate()
			require.Equal(t, "A", g.out(seg(client, server, "S", 1000, 0, 0, 100)))
			want, status := c.want, map[string]Status{"A": StatusClose, "D": StatusSynSent}[c.want]
			if answered {
				require.Equal(t, "A", g.in(seg(server, client, "A", 5000, 70_000_077, 0, 100)))
			} else {
				want, status = "D", StatusSynSent
			}
			require.Equal(t, want, g.out(c.rst), "%s, %v", c.name, answered)
			require.Equal(t, status, g.status(), "%s, %v", c.name, answered)
		}
	}
}

// TestResyncOptions: a connection that begins again takes the options of the SYN
// that was let through and of its answer, and nothing of those before: TCP-25.
func TestResyncOptions(t *testing.T) {
	const no = 15 // does not offer scaling
	for _, before := range []uint8{no, 3} {
		for _, c := range []struct{ syn, answer, up, down uint8 }{{no, no, 0, 0}, {7, 5, 7, 5}, {7, no, 0, 0}, {no, 5, 0, 0}, {0, 5, 0, 5}} {
			scale := func(p *packet.Packet, shift uint8) *packet.Packet {
				p.HasScale, p.Scale = shift != no, shift%no
				return p
			}
			g := newGate()
			require.Equal(t, "A", g.out(scale(seg(client, server, "S", 1000, 0, 0, 100), before)))
			require.Equal(t, "A", g.in(scale(seg(server, client, "SA", 5000, 1001, 0, 100), before)))
			require.Equal(t, "A", g.out(seg(client, server, "A", 1001, 5001, 0, 100)))
			require.Equal(t, "A", g.out(scale(seg(client, server, "S", 3_000_000, 0, 0, 100), c.syn)))
			require.Equal(t, "A", g.in(scale(seg(server, client, "SA", 9_000_000, 3_000_001, 0, 100), c.answer)))
			require.Equal(t, "A", g.out(seg(client, server, "A", 3_000_001, 9_000_001, 0, 100)))
			require.Equal(t, "A", g.in(seg(server, client, "A", 9_000_001, 3_000_001, 0, 100)))
			require.Equal(t, StatusEstablished, g.status())
			// How far each may send is what the other's window says, scaled.
			up, down := uint32(100)<<c.down, uint32(100)<<c.up
			require.Equal(t, "D", g.out(seg(client, server, "A", 3_000_001+2*up+1, 9_000_001, 0, 100)), "%+v", c)
			require.Equal(t, "A", g.out(seg(client, server, "A", 3_000_001+up-1, 9_000_001, 1, 100)), "%+v", c)
			require.Equal(t, "D", g.in(seg(server, client, "A", 9_000_001+2*down+1, 3_000_001+up, 0, 100)), "%+v", c)
			require.Equal(t, "A", g.in(seg(server, client, "A", 9_000_001+down-1, 3_000_001+up, 1, 100)), "%+v", c)
		}
	}
}

// TestHalfCircle: numbers are compared as on a circle (RFC 1982, TCP-14). Where
// windows of 2^30 let an end send up to nearly 2^31 more than what lies far
// behind it, that lies ahead of all that it may send, and is refused as such.
func TestHalfCircle(t *testing.T) {
	const first, most = 1<<31 + 1, 65535 << 14
	g := newGate()
	syn, synAck := seg(client, server, "S", first-1, 0, 0, 0), seg(server, client, "SA", 1, first, 0, 0)
	syn.HasScale, syn.Scale, synAck.HasScale, synAck.Scale = true, 7, true, 14
	require.Equal(t, "A", g.out(syn))
	require.Equal(t, "A", g.in(synAck))
	require.Equal(t, "A", g.in(seg(server, client, "A", 2, first, 0, 65535)))
	require.Equal(t, "A", g.out(seg(client, server, "A", first+most, 2, 0, 0)))
	require.Equal(t, "A", g.in(seg(server, client, "A", 2, first+most, 1, 65535)))
	require.Equal(t, "A", g.out(seg(client, server, "A", first+2*most+1-1<<31, 3, 0, 0)), "behind")
	require.Equal(t, "D", g.out(seg(client, server, "A", first+2*most-1<<31, 3, 0, 0)), "half the circle away, and so ahead")
}
