package conntrack

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

const year = 365 * 24 * time.Hour

// lasting is a way into one status of one protocol, and how long it lasts there
// if no packet comes.
type lasting struct {
	name   string
	status Status
	idle   time.Duration
	begin  func(g *gate)         // brings the only connection of g there
	probe  func() *packet.Packet // sent by the workload, belongs to it while it lives
}

const (
	here  = inside + ":1000"
	there = outside + ":443"
)

// lastings are all statuses of all protocols, with the timeouts of o.
func lastings(o Timeouts) []lasting {
	steps := func(s ...string) func(*gate) {
		return func(g *gate) {
			for _, s := range s {
				if s[0] == '>' {
					g.out(tcp(here, there, s[1:]))
				} else {
					g.in(tcp(there, here, s[1:]))
				}
			}
		}
	}
	open := []string{">S", "<SA", ">A"}
	with := func(more ...string) func(*gate) { return steps(append(open[:3:3], more...)...) }
	segment := func() *packet.Packet { return tcp(here, there, "A") }
	datagram := func() *packet.Packet { return udp(here, there) }
	ping := func() *packet.Packet { return icmp(inside, outside, icmpEcho, 7) }
	ping6 := func() *packet.Packet { return icmp("2001:db8::1", "2001:db8::2", icmp6Echo, 7) }
	gre := func() *packet.Packet { return &packet.Packet{Tuple: tuple(47, inside, outside), Length: 60, L4: 20} }
	sctp := func() *packet.Packet { return &packet.Packet{Tuple: tuple(132, here, there), Length: 60, L4: 20} }
	first := func(p func() *packet.Packet) func(*gate) { return func(g *gate) { g.out(p()) } }
	answered := func(p func() *packet.Packet, typ uint8) func(*gate) {
		return func(g *gate) {
			g.out(p())
			r := p()
			r.Tuple, r.ICMPType = reverse(r.Tuple), typ
			g.in(r)
		}
	}
	return []lasting{
		{"tcp", StatusSynSent, o.TCPSynSent, steps(">S"), segment},
		{"tcp", StatusSynSent2, o.TCPSynSent, steps(">S", "<S"), segment},
		{"tcp", StatusSynRecv, o.TCPSynRecv, steps(">S", "<SA"), segment},
		{"tcp", StatusEstablished, o.TCPEstablished, with(), segment},
		{"tcp", StatusFinWait, o.TCPFinWait, with(">FA"), segment},
		{"tcp", StatusCloseWait, o.TCPCloseWait, with(">FA", "<A"), segment},
		{"tcp", StatusLastAck, o.TCPLastAck, with(">FA", "<A", "<FA"), segment},
		{"tcp", StatusTimeWait, o.TCPTimeWait, with(">FA", "<A", "<FA", ">A"), segment},
		{"tcp", StatusClose, o.TCPClose, with("<RA"), segment},
		{"tcp picked up", StatusEstablished, o.TCPUnacked, func(g *gate) {
			g.Adopt(g.now, time.Second, 1)
			g.out(segment())
			g.Adopt(g.now, 0, 0)
		}, segment},
		{"udp", StatusUnreplied, o.UDP, first(datagram), datagram},
		{"udp", StatusAssured, o.UDPStream, answered(datagram, 0), datagram},
		{"icmp", StatusUnreplied, o.ICMP, first(ping), ping},
		{"icmp", StatusReplied, o.ICMP, answered(ping, icmpEchoReply), ping},
		{"icmpv6", StatusUnreplied, o.ICMP, first(ping6), ping6},
		{"icmpv6", StatusReplied, o.ICMP, answered(ping6, icmp6EchoReply), ping6},
		{"gre", StatusUnreplied, o.Generic, first(gre), gre},
		{"gre", StatusAssured, o.Generic, answered(gre, 0), gre},
		{"sctp", StatusUnreplied, o.Generic, first(sctp), sctp},
		{"sctp", StatusAssured, o.Generic, answered(sctp, 0), sctp},
	}
}

// own are timeouts that are neither the defaults nor whole ticks.
var own = Timeouts{
	TCPSynSent: 7*time.Second + 1, TCPSynRecv: 6*time.Second + 11*time.Millisecond, TCPEstablished: 777777 * time.Millisecond,
	TCPFinWait: 5 * time.Second / 3, TCPCloseWait: 17 * time.Second, TCPLastAck: 900 * time.Millisecond, TCPTimeWait: 13 * time.Second,
	TCPClose: time.Second, TCPUnacked: 59*time.Second - 1, UDP: 3 * time.Second / 7, UDPStream: 31 * time.Second, ICMP: 4 * time.Second, Generic: year,
}

// eachLasting runs f for every status of every protocol, with the defaults and
// with other timeouts, and with the packets at several places of a tick. What
// begin returns has the one connection, whose last packet came at its now.
func eachLasting(t *testing.T, f func(t *testing.T, l lasting, begin func() *gate)) {
	for name, o := range map[string]Timeouts{"linux": Timeouts{}.withDefaults(), "own": own} {
		for _, l := range lastings(o) {
			t.Run(fmt.Sprintf("%s/%s %v", name, l.name, l.status), func(t *testing.T) {
				for _, phase := range []Time{0, 1, tick / 2, tick - 1} {
					f(t, l, func() *gate {
						g := newGate()
						g.Table = NewTable(Options{Shards: 1, MaxEntries: 64, MaxFragments: 1, Timeouts: o})
						g.now = 1000 * second
						g.Sweep(g.now, 1) // a tick begins at the first reading, and the packets come somewhere in it
						g.now += phase
						l.begin(g)
						require.Equal(t, l.status, g.status())
						return g
					})
				}
			})
		}
	}
}

// TestTimeoutsToATick: every status of every protocol lasts as long as its timeout
// says, to within a tick, whoever asks: a packet, All, Sweep.
func TestTimeoutsToATick(t *testing.T) {
	eachLasting(t, func(t *testing.T, l lasting, begin func() *gate) {
		g := begin()
		last := g.now
		early, late := last+Time(l.idle)-tick, last+Time(l.idle)+tick
		require.Zero(t, g.Sweep(early, 1<<10), "Sweep, a tick early")
		require.Equal(t, 1, g.walkLive(early), "All, a tick early")
		p := l.probe()
		var k key
		k.set(0, Local, &p.Tuple, p.ICMPType, p.ICMPCode)
		e, id, w := g.shards[0].find(&k, g.secret.hash(&k))
		require.NotNil(t, e, "Track, a tick early, would find it")
		require.False(t, due(g.clock.at(early), g.shards[0].expiry(e, id)))
		e.unlock(w)
		for entry := range g.All(early) {
			require.InDelta(t, int64(last)+int64(l.idle), int64(entry.Expires), float64(tick))
		}
		if g.now%2 == 0 { // by a packet, or else by Sweep
			require.Zero(t, g.walkLive(late))
			c := g.Track(late, 0, Local, p)
			require.False(t, c.Tracked(), "Track, a tick late")
			require.Zero(t, g.Len())
		}
		g.Sweep(late, 1<<10)
		require.Zero(t, g.Len(), "Sweep, a tick late")
		require.Equal(t, uint64(1), g.Stats().Expired)
	})
}

// TestTrackATickEarly: up to a tick before the end a packet finds its
// connection.
func TestTrackATickEarly(t *testing.T) {
	eachLasting(t, func(t *testing.T, l lasting, begin func() *gate) {
		g := begin()
		before := g.Len()
		p := l.probe()
		if p.Tuple.Proto == packet.ProtoTCP {
			p = tcp(here, there, "S") // refused or let through, but never New while the connection lives, unless it is closed
		}
		c := g.Track(g.now+Time(l.idle)-tick, 0, Local, p)
		require.Equal(t, before, g.Len())
		require.Zero(t, g.Stats().Expired)
		if !l.status.closed() {
			require.True(t, c.State == Established || p.Tuple.Proto == packet.ProtoTCP && c.State == Invalid, c)
		}
	})
}

// TestClockJumps is the gate of RES-08: the clock jumps by ten years, there or
// back, at any moment of a connection's idle time. Nothing expires by it, and
// the rest of the idle time goes by as if it had not.
func TestClockJumps(t *testing.T) {
	jumps := []time.Duration{10 * year, -10 * year, 60 * year, -60 * year, year + time.Second, -2 * time.Minute}
	eachLasting(t, func(t *testing.T, l lasting, begin func() *gate) {
		for _, jump := range jumps {
			g := begin()
			half := Time(l.idle / 2)
			now := g.now + half
			require.Equal(t, 1, g.walkLive(now))
			now += Time(jump)
			require.Zero(t, g.Sweep(now, 1<<10), "%v: mass expiry", jump)
			require.Equal(t, 1, g.walkLive(now), "%v: mass expiry", jump)
			rest := Time(l.idle) - half
			require.Equal(t, 1, g.walkLive(now+rest-2*tick), "%v: expires early", jump)
			g.Sweep(now+rest+2*tick, 1<<10)
			require.Zero(t, g.Len(), "%v: immortal", jump)
		}
	})
}

// TestClockJumpsOfMany: of many connections of all ages none goes by a jump, and
// all go in their time, also if the clock jumps there and back again all the
// while.
func TestClockJumpsOfMany(t *testing.T) {
	for _, jump := range []time.Duration{10 * year, -10 * year} {
		tb := NewTable(Options{MaxEntries: 4096, Shards: 4})
		now := Time(0)
		for i := range 1000 { // one every 20 ms: the oldest is 20 s old
			p := udp(inside+":1", outside+":53")
			p.Tuple.SrcPort = uint16(i)
			_, err := tb.Commit(now, 0, Local, p, 1, 1)
			require.NoError(t, err)
			now += Time(20 * time.Millisecond)
		}
		for i := range 90 { // 9 s go by, in steps of 0.1 s, with a jump each
			now += Time(jump) * Time(1-2*(i%2))
			require.Zero(t, tb.Sweep(now, 1<<20))
			now += second / 10
			require.Zero(t, tb.Sweep(now, 1<<20))
		}
		require.Equal(t, 1000, tb.walkLive(now))
		for range 25 { // and 25 s more
			now += Time(jump)
			tb.Sweep(now, 1<<20)
			now += second
			tb.Sweep(now, 1<<20)
			now -= Time(jump)
			tb.Sweep(now, 1<<20)
		}
		require.Zero(t, tb.Len())
	}
}

// A leap that may have been a quiet period is taken for one.
func TestClockQuietPeriod(t *testing.T) {
	for _, leap := range []time.Duration{6 * 24 * time.Hour, year} {
		g := newGate()
		g.out(tcp(here, there, "S"))
		g.in(tcp(there, here, "SA"))
		g.out(tcp(here, there, "A"))
		require.Equal(t, 1, g.Sweep(Time(leap), 100))
	}
}

// Fragments too: a jump forgets none, and none stays for ever.
func TestFragmentClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{10 * year, -10 * year} {
		var c clock
		require.Equal(t, 5*second, c.at(5*second))
		require.Equal(t, 6*second, c.at(6*second))
		now := 6*second + Time(jump)
		was := c.at(now)
		require.Equal(t, 6*second, was)
		require.Equal(t, 7*second, c.at(now+second))
		require.Equal(t, now+second, c.caller(7*second))
	}
	var c clock
	require.Equal(t, Time(20*year), c.at(Time(20*year)), "the first reading is no leap")
}
