package enforce_test

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// handshake opens a TCP connection from the peer to a port of the workload.
func (b *bench) handshake(f family, port string) (client, service string) {
	b.t.Helper()
	client, service = at(f.peer, "4000"), at(f.local, port)
	require.Contains(b.t, b.in(tcp(client, service, "S")), "accept rule")
	require.Contains(b.t, b.out(tcp(service, client, "SA")), "accept established")
	require.Contains(b.t, b.in(tcp(client, service, "A")), "accept established")
	return client, service
}

func https(id sg.RuleID) []sg.Rule { return both(id, sg.Ingress, sg.TCP, 443) }

func TestAddingDisturbsNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(f, "443")
		was := b.entries()[0]
		b.change(group("web", both("first", sg.Ingress, sg.AnyProtocol, 0), https("a")))
		b.change(nic("j", "web"), group("other", https("z")))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/a-")
		is := b.entries()[0]
		require.Equal(t, was.Epoch, is.Epoch, "judged again without need")
		require.Equal(t, was.Mark, is.Mark)
	})
}

func TestRevalidate(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, c := range []struct {
			name   string
			packet func(b *bench, client, service string) string
			want   string
		}{
			{"original", func(b *bench, c, s string) string { return b.in(tcp(c, s, "A")) }, "drop empty_direction"},
			{"SYN", func(b *bench, c, s string) string { return b.in(tcp(c, s, "S")) }, "drop empty_direction"},
			{"reply", func(b *bench, c, s string) string { return b.out(tcp(s, c, "A")) }, "drop invalid_state"},
		} {
			b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a"), both("out", sg.Egress, sg.UDP, 1)), nic("i", "web"))
			client, service := b.handshake(f, "443")
			b.change(group("web", both("out", sg.Egress, sg.UDP, 1)))
			require.Equal(t, 1, b.Table().Len(), "lazily")
			require.Equal(t, c.want, c.packet(b, client, service), c.name)
			require.Zero(t, b.Table().Len())
			require.Equal(t, "opened closed denied", b.kinds())
			require.Equal(t, "drop invalid_state", b.out(tcp(service, client, "A")))
			require.Contains(t, b.in(tcp(client, service, "A")), "drop invalid_state")
			// The rule comes back: the connection does not.
			b.change(group("web", https("a")))
			require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
			b.handshake(f, "443")
		}
	})
}

func TestRevalidateUDPReplyIsJudgedOnItsOwn(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53), both("ntp", sg.Egress, sg.UDP, 4000)), nic("i", "web"))
		client, service := at(f.peer, "4000"), at(f.local, "53")
		require.Contains(t, b.in(udp(client, service, 0)), "accept rule web/dns")
		b.change(group("web", both("ntp", sg.Egress, sg.UDP, 4000)))
		require.Contains(t, b.out(udp(service, client, 0)), "accept rule web/ntp", "an egress rule allows it as a flow of its own")
		require.Equal(t, "opened closed opened", b.kinds())
		require.Equal(t, conntrack.Local, b.entries()[0].OrigSide)
	})
}

func TestRevalidateMovesTheMark(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(f, "443")
		b.change(group("web", https("b"), both("noise", sg.Ingress, sg.UDP, 1)))
		require.Contains(t, b.out(tcp(service, client, "A")), "accept established web/b-")
		b.change(group("web", both("c", sg.Ingress, sg.AnyProtocol, 0)))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/c-")
		require.Equal(t, "opened", b.kinds())
		suffix := map[string]string{"ipv4": "-4", "ipv6": "-6"}[f.name]
		packets := func(rule string) uint64 { return b.counter(rule + suffix).Packets }
		require.Equal(t, []uint64{3, 1, 1}, []uint64{packets("web/a"), packets("web/b"), packets("web/c")})
	})
}

// A rule for a member is narrowed by the member's leaving (SEM-03).
func TestRevalidateMembership(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("db", []sg.Rule{allow("sql", sg.Ingress, sg.TCP, 5432, "group:app")}), group("app"), nic("i", "db"))
	app := policy.PutInterface{Interface: &sg.Interface{ID: "app-1", Groups: []sg.GroupID{"app"}, Addrs: nic("x").Interface.Addrs[:0:0]}}
	for _, f := range families() {
		p, _ := sg.ParsePrefix(f.peer)
		app.Interface.Addrs = append(app.Interface.Addrs, p)
	}
	eachFamily(t, func(t *testing.T, f family) {
		b.t = t
		b.change(app)
		client, service := b.handshake(f, "5432")
		b.change(policy.DeleteInterface{ID: "app-1"})
		require.Equal(t, "drop no_rule", b.in(tcp(client, service, "A")))
	})
}

func TestRelatedIsJudgedAgain(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(f, "443")
		b.change(group("web", https("b")))
		require.Contains(t, b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))), "accept related web/b-")
		require.Contains(t, b.out(unreachable(f.local, f.peer, tcp(client, service, "A"))), "accept related web/b-")
		b.change(group("web"))
		require.Contains(t, b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))), "drop")
		require.Zero(t, b.Table().Len())
	})
}

// An error about a connection that only a stateless rule allows by now has no
// connection to be about.
func TestRelatedWithoutConnection(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(f, "443")
		b.change(stateless(group("web", https("a"))))
		require.Equal(t, "drop invalid_state", b.in(unreachable(f.peer, f.local, tcp(service, client, "A"))))
		require.Zero(t, b.Table().Len())
	})
}

// The code of an ICMP query counts when its reply is judged again.
func TestRevalidateICMPCode(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		ping := func(code uint8) sg.Rule {
			r := allow("ping", sg.Ingress, f.icmp, 0, map[string]string{"ipv4": "0.0.0.0/0", "ipv6": "::/0"}[f.name])
			r.ICMP = sg.ICMPTypeCode(f.echo, code)
			return r
		}
		reply := map[string]uint8{"ipv4": 0, "ipv6": 129}[f.name]
		id := []byte{0, 7, 0, 1}
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", []sg.Rule{ping(1)}, https("a")), nic("i", "web"))
		require.Equal(t, "accept rule web/ping", b.in(icmp(f.peer, f.local, f.echo, 1, id)))
		b.change(group("web", []sg.Rule{ping(1)}))
		require.Equal(t, "accept established web/ping", b.out(icmp(f.local, f.peer, reply, 1, id)), "narrowed elsewhere")
		b.change(group("web", []sg.Rule{ping(0)}))
		require.Contains(t, b.out(icmp(f.local, f.peer, reply, 1, id)), "drop", "the rule is for code 0")
	})
}

func TestKeep(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(f, "443")
		b.change(group("web"))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/a-")
		require.Contains(t, b.out(tcp(service, client, "A")), "accept established web/a-")
		// TCP-25: a SYN opens a connection and is judged by today's rules, while the old one goes on.
		require.Equal(t, "drop empty_direction", b.in(tcp(client, service, "S")))
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/a-")
		// Another lineage: it lives on without a rule's name.
		b.apply(matcher(t, profile(sg.Keep), group("web"), nic("i", "web")))
		require.Equal(t, "accept established", b.in(tcp(client, service, "A")))
		// TCP-23: the same in TIME_WAIT.
		require.Contains(t, b.in(tcp(client, service, "FA")), "accept")
		require.Contains(t, b.out(tcp(service, client, "FA")), "accept")
		require.Contains(t, b.in(tcp(client, service, "A")), "accept")
		require.Equal(t, conntrack.StatusTimeWait, b.entries()[0].Status)
		require.Equal(t, "drop empty_direction", b.in(tcp(client, service, "S")))
		// Until the timeout.
		require.Contains(t, b.in(tcp(client, service, "A")), "accept")
		b.sleep(2*time.Minute + time.Second)
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
	})
}

// Under Keep, a refused SYN must not keep a half-open connection alive.
func TestKeepRefusedSynAgain(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"))
	require.Contains(t, b.in(tcp("192.0.2.7:1", "10.0.0.5:443", "S")), "accept rule")
	b.change(group("web"))
	require.Equal(t, "drop empty_direction", b.in(tcp("192.0.2.7:1", "10.0.0.5:443", "S")))
	require.Contains(t, b.out(tcp("10.0.0.5:443", "192.0.2.7:1", "SA")), "accept established", "the answer to the first")
}

func TestCut(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a"), both("ssh", sg.Ingress, sg.TCP, 22)), nic("i", "web"))
		b.handshake(f, "443")
		client, service := b.handshake(f, "22")
		b.kinds()
		b.change(group("web", both("ssh2", sg.Ingress, sg.TCP, 22)))
		require.Len(t, b.events, 1)
		e := b.events[0]
		require.Equal(t, enforce.FlowClosed, e.Kind)
		require.Equal(t, conntrack.EndCut, e.End)
		require.Equal(t, conntrack.StatusEstablished, e.Status)
		require.EqualValues(t, 443, e.Tuple.DstPort)
		require.Equal(t, sg.InterfaceID("i"), e.Interface)
		require.EqualValues(t, 3, e.Packets)
		require.Contains(t, e.Rule.String(), "web/a-")
		require.Equal(t, 1, b.Table().Len())
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/ssh2-", "remarked at Apply")
		require.Equal(t, "drop invalid_state", b.in(tcp(client, at(f.local, "443"), "A")))
	})
}

// A matcher of another Compiler: same meaning, other numbers.
func TestOtherCompiler(t *testing.T) {
	for _, how := range []sg.Established{sg.Revalidate, sg.Cut} {
		b := newBench(t, enforce.Options{}, profile(how), group("web", https("a")), nic("i", "web"))
		client, service := b.handshake(families()[0], "443")
		for i := range 3 {
			b.apply(matcher(t, profile(how), group("a", both("noise", sg.Ingress, sg.UDP, uint16(i+1)), both("more", sg.Ingress, sg.UDP, 99)), group("web", https("a")), nic("i", "a", "web")))
			require.Equal(t, "accept established web/a-4", b.in(tcp(client, service, "A")))
			require.Equal(t, "accept established web/a-4", b.out(tcp(service, client, "A")))
			require.Equal(t, enforce.Counter{Flows: 1, Packets: uint64(5 + 2*i), Bytes: 40 * uint64(5+2*i)}, b.counter("web/a-4"))
		}
		require.Equal(t, "opened", b.kinds())
		b.apply(matcher(t, profile(how), group("web", both("noise", sg.Ingress, sg.UDP, 1)), nic("i", "web")))
		require.Contains(t, b.in(tcp(client, service, "A")), "drop")
		require.Equal(t, uint64(1), b.counter("web/a-4").Flows)
	}
}

// Numbers of another Compiler do not name the rule of a fragment.
func TestFragmentsAcrossCompilers(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
	first, rest := split(udp("192.0.2.7:1", "10.0.0.5:53", 64), 40, 9)
	require.Equal(t, "accept rule web/dns-4", b.in(first))
	b.apply(matcher(t, profile(sg.Revalidate), group("aaa", both("other", sg.Ingress, sg.TCP, 1)), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "aaa", "web")))
	require.NotContains(t, b.in(rest), "aaa/other")
	require.Zero(t, b.counter("aaa/other-4"))
}

// Rolling back to an older matcher revokes what only the newer one allowed,
// though adding it had not moved the compiler's epoch.
func TestRollback(t *testing.T) {
	for _, how := range []sg.Established{sg.Revalidate, sg.Keep, sg.Cut} {
		b := newBench(t, enforce.Options{}, profile(how), group("web", both("ssh", sg.Ingress, sg.TCP, 22)), nic("i", "web"))
		old := b.Matcher()
		b.change(group("web", both("ssh", sg.Ingress, sg.TCP, 22), https("a")))
		client, service := b.handshake(families()[0], "443")
		b.apply(old)
		switch how {
		case sg.Revalidate:
			require.Equal(t, "drop no_rule", b.in(tcp(client, service, "A")), how)
		case sg.Cut:
			require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")), how)
		case sg.Keep:
			require.Equal(t, "accept established web/a-4", b.in(tcp(client, service, "A")), how)
		}
		b.apply(old) // again: nothing happens
		b.change(group("web", both("ssh", sg.Ingress, sg.TCP, 22), https("a"), both("x", sg.Ingress, sg.TCP, 1)))
		b.handshake(families()[0], "1")
	}
}

// API-06: what comes back under the same id is another interface.
func TestInterfaceComesBack(t *testing.T) {
	for _, how := range []sg.Established{sg.Revalidate, sg.Keep, sg.Cut} {
		b := newBench(t, enforce.Options{}, profile(how), group("web", https("a"), both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
		withIt := b.Matcher()
		client, service := b.handshake(families()[0], "443")
		first, rest := split(udp(client, "10.0.0.5:53", 64), 40, 9)
		b.in(first)
		zone := b.entries()[0].Zone
		b.kinds()
		b.change(policy.DeleteInterface{ID: "i"})
		require.Zero(t, b.Table().Len(), "gone with the interface")
		require.Equal(t, "closed closed", b.kinds())
		require.Equal(t, "drop unknown_interface", b.in(tcp(client, service, "A")))
		id, ok := b.Interface(zone)
		require.True(t, ok)
		require.Equal(t, sg.InterfaceID("i"), id, "or belonged to")
		b.change(nic("i", "web"))
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
		require.Equal(t, "drop fragment", b.in(rest))
		// Rolled back to the time when it was the other one.
		b.handshake(families()[0], "443")
		b.apply(withIt)
		require.Zero(t, b.Table().Len())
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
		// Moved to another VPC and back.
		b.change(nic("i", "web"))
		b.handshake(families()[0], "443")
		moved := nic("i")
		moved.Interface.VPC = "other"
		b.apply(matcher(t, profile(how), moved))
		require.Zero(t, b.Table().Len())
		b.apply(withIt)
		require.Equal(t, "drop invalid_state", b.in(tcp(client, service, "A")))
	}
	_, ok := newBench(t, enforce.Options{}, profile(0)).Interface(0)
	require.False(t, ok)
}

// SEM-11: two tenants with the same addresses.
func TestSameAddressInTwoVPCs(t *testing.T) {
	g := group("web", https("a"), both("dns", sg.Ingress, sg.UDP, 53), []sg.Rule{allow("ping", sg.Ingress, sg.ICMP, 0, "0.0.0.0/0")})
	g.Group.VPC = "v1"
	empty := group("none")
	empty.Group.VPC = "v2"
	i, j := nic("i", "web"), nic("j", "none")
	i.Interface.VPC, j.Interface.VPC = "v1", "v2"
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), g, empty, i, j)
	f := families()[0]
	client, service := b.handshake(f, "443")
	require.Contains(t, b.in(udp(client, "10.0.0.5:53", 0)), "accept")
	require.Contains(t, b.in(ping(f.peer, f.local, false, 7)), "accept")
	other := b.Port("j")
	for _, p := range [][]byte{tcp(client, service, "A"), udp(client, "10.0.0.5:53", 0), ping(f.peer, f.local, false, 7)} {
		require.Equal(t, sg.Drop, other.Filter(sg.Ingress, p).Action)
		require.Equal(t, sg.Drop, other.Filter(sg.Egress, p).Action)
	}
	for _, p := range [][]byte{tcp(service, client, "A"), udp("10.0.0.5:53", client, 0), ping(f.local, f.peer, true, 7)} {
		require.Equal(t, sg.Drop, other.Filter(sg.Egress, p).Action)
		require.Contains(t, b.out(p), "accept established")
	}
}

// A packet between two local interfaces passes egress of one and ingress of
// the other: two entries, two verdicts.
func TestBetweenTwoLocalInterfaces(t *testing.T) {
	i, j := nic("i", "client"), nic("j", "web")
	j.Interface.Addrs[0], j.Interface.Addrs[1] = mustPrefix("10.0.0.6/32"), mustPrefix("fd00::6/128")
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("client", both("out", sg.Egress, sg.TCP, 443)), group("web", https("a")), i, j)
	syn, ack := tcp("10.0.0.5:4000", "10.0.0.6:443", "S"), tcp("10.0.0.6:443", "10.0.0.5:4000", "SA")
	require.Equal(t, "accept rule client/out-4", b.out(syn))
	require.Equal(t, "accept rule web/a-4", b.say(b.Port("j").Filter(sg.Ingress, syn)))
	require.Equal(t, "accept established web/a-4", b.say(b.Port("j").Filter(sg.Egress, ack)))
	require.Equal(t, "accept established client/out-4", b.in(ack))
	require.Equal(t, 2, b.Table().Len())
}

// A SYN that today's rules refuse leaves no trace in the connection that it would
// open once more: no number, no packet (SEM-10).
func TestRefusedSynLeavesNoTrace(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"))
		client, service := at(f.peer, "4000"), at(f.local, "443")
		require.Contains(t, b.in(tcp(client, service, "S")), "accept rule")
		b.change(group("web", both("out", sg.Egress, sg.UDP, 1)))
		was := b.entries()[0]
		b.sleep(time.Second)
		require.Equal(t, "drop empty_direction", b.in(tcp(client, service, "S")))
		require.Equal(t, was, b.entries()[0])
		b.change(group("web", https("a")))
		require.Contains(t, b.in(tcp(client, service, "S")), "accept established web/a")
		is := b.entries()[0]
		require.Equal(t, was.Packets[0]+1, is.Packets[0])
		require.NotEqual(t, was.LastSeen, is.LastSeen)
		require.Equal(t, "opened denied", b.kinds())
	})
}

// Who writes to the table himself, in a zone that no port has, disturbs neither a
// change of policy nor a snapshot.
func TestForeignZone(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
	var p packet.Packet
	require.NoError(t, packet.Decode(tcp("192.0.2.7:4000", "10.0.0.5:443", "S"), &p))
	_, err := b.Table().Commit(0, 1<<30, conntrack.Remote, &p, 1, 99)
	require.NoError(t, err)
	b.change(group("web", https("b")))
	require.Equal(t, 1, b.Table().Len())
	n, err := b.Snapshot(io.Discard)
	require.NoError(t, err)
	require.Zero(t, n)
}
