package enforce_test

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// snapshotOf returns what the next process is given.
func (b *bench) snapshotOf() []byte {
	b.t.Helper()
	var file bytes.Buffer
	n, err := b.Snapshot(&file)
	require.NoError(b.t, err)
	require.LessOrEqual(b.t, n, b.Table().Len())
	return file.Bytes()
}

func (b *bench) restore(file []byte, elapsed time.Duration) conntrack.Restored {
	b.t.Helper()
	got, err := b.Restore(bytes.NewReader(file), elapsed)
	require.NoError(b.t, err)
	return got
}

// inVPC returns interface id in a VPC of its own.
func inVPC(id sg.InterfaceID, vpc sg.VPCID, groups ...sg.GroupID) policy.PutInterface {
	p := nic(id, groups...)
	p.Interface.VPC = vpc
	return p
}

func TestRestart(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		rule := "web/b-" + strings.TrimPrefix(f.name, "ipv") // "4" or "6"
		for name, p := range map[string]sg.Established{"revalidate": sg.Revalidate, "keep": sg.Keep, "cut": sg.Cut} {
			// Rules have other numbers in the next process, zones too.
			old := newBench(t, enforce.Options{}, profile(p), group("web", https("a")), nic("i", "web"))
			client, service := old.handshake(f, "443")
			file := old.snapshotOf()

			b := newBench(t, enforce.Options{}, profile(p),
				group("more", both("x", sg.Ingress, sg.UDP, 1), both("y", sg.Ingress, sg.TCP, 2)), group("web", https("b")),
				nic("h", "more"), nic("i", "more", "web"))
			b.sleep(300 * time.Hour)
			b.Port("h").Filter(sg.Ingress, udp(at(f.peer, "1"), at(f.local, "1"), 0))
			b.events = nil
			require.Equal(t, conntrack.Restored{Connections: 1}, b.restore(file, 0), name)
			require.Empty(t, b.events, "a restored connection is not opened once more")

			require.Equal(t, "accept established "+rule, b.out(tcp(service, client, "A")), name)
			require.Contains(t, b.in(tcp(client, service, "A")), "accept established web/b-")
			require.Equal(t, enforce.Counter{Packets: 2, Bytes: 2 * uint64(len(tcp(client, service, "A")))}, b.counter(rule), "from now on")
			require.Contains(t, b.in(tcp(client, at(f.local, "444"), "A")), "drop", "nothing else is let in")
			b.sleep(5*24*time.Hour - time.Second)
			require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
			b.sleep(5 * 24 * time.Hour)
			require.Contains(t, b.in(tcp(client, service, "A")), "drop")
		}
	})
}

// What today's rules refuse goes on by sg.Keep only.
func TestRestartNarrowed(t *testing.T) {
	for _, c := range []struct {
		e       sg.Established
		verdict string
		left    int
	}{
		{sg.Revalidate, "drop invalid_state", 1},
		{sg.Keep, "accept established", 1},
		{sg.Cut, "drop invalid_state", 0},
	} {
		eachFamily(t, func(t *testing.T, f family) {
			old := newBench(t, enforce.Options{}, profile(c.e), group("web", https("a")), nic("i", "web"))
			client, service := old.handshake(f, "443")
			b := newBench(t, enforce.Options{}, profile(c.e), group("web", both("other", sg.Egress, sg.TCP, 1), both("in", sg.Ingress, sg.TCP, 1)), nic("i", "web"))
			require.Equal(t, conntrack.Restored{Connections: 1}, b.restore(old.snapshotOf(), 0))
			require.Equal(t, c.left, b.Table().Len(), c.e)
			for _, e := range b.entries() {
				require.Zero(t, e.Mark, "no rule of this process")
			}
			require.Equal(t, c.verdict, b.out(tcp(service, client, "A")), c.e)
			if c.e == sg.Keep {
				require.Equal(t, c.verdict, b.in(tcp(client, service, "A")))
				require.Contains(t, b.in(tcp(client, service, "S")), "drop", "a SYN opens nothing that is refused")
				require.Contains(t, b.in(tcp(client, service, "A")), "accept established")
			} else {
				require.Zero(t, b.Table().Len())
			}
		})
	}
}

// Interfaces are found by id and VPC; a hostile file makes no ports.
func TestRestartInterfaces(t *testing.T) {
	f := families()[0]
	old := newBench(t, enforce.Options{}, profile(sg.Revalidate),
		group("web", https("a")), policy.PutGroup{Group: &sg.Group{ID: "web2", Name: "web2", VPC: "v2", Rules: https("a")}},
		nic("i", "web"), nic("gone", "web"), nic("moved", "web"), inVPC("there", "v2", "web2"))
	for _, id := range []sg.InterfaceID{"i", "gone", "moved", "there"} {
		v := old.Port(id).Filter(sg.Ingress, tcp(at(f.peer, "4000"), at(f.local, "443"), "S"))
		require.Equal(t, sg.Accept, v.Action, id)
	}
	file := old.snapshotOf()

	b := newBench(t, enforce.Options{}, profile(sg.Revalidate),
		group("web", https("a")), policy.PutGroup{Group: &sg.Group{ID: "web2", Name: "web2", VPC: "v2", Rules: https("a")}},
		inVPC("there", "v2", "web2"), inVPC("moved", "v2", "web2"), nic("i", "web"))
	require.Equal(t, conntrack.Restored{Connections: 2, Unwanted: 2}, b.restore(file, 0))
	var ids []sg.InterfaceID
	for _, e := range b.entries() {
		id, ok := b.Engine.Interface(e.Zone)
		require.True(t, ok)
		ids = append(ids, id)
	}
	require.ElementsMatch(t, []sg.InterfaceID{"i", "there"}, ids)

	// A zone that is no interface's is left out.
	_, err := old.Table().Commit(1, 4000, conntrack.Remote, &packet.Packet{Tuple: packet.Tuple{Family: 4, Proto: 47}}, 0, 0)
	require.NoError(t, err)
	require.Equal(t, conntrack.Restored{Present: 2, Unwanted: 2}, b.restore(old.snapshotOf(), 0))

	// A table's own snapshot names no interfaces.
	var bare bytes.Buffer
	var n int
	n, err = old.Table().Snapshot(&bare, 0, conntrack.SnapshotOptions{})
	require.NoError(t, err)
	require.Equal(t, conntrack.Restored{Unwanted: n}, b.restore(bare.Bytes(), 0))
	for _, name := range []string{"", "x", "\x00", "\xff\xffi", "\x00\x02i"} {
		var odd bytes.Buffer
		_, err := old.Table().Snapshot(&odd, 0, conntrack.SnapshotOptions{Name: func(conntrack.Zone) (string, bool) { return name, true }})
		require.NoError(t, err)
		require.Equal(t, conntrack.Restored{Unwanted: n}, b.restore(odd.Bytes(), 0), name)
	}
}

// Connections of an interface that was made anew, or moved to another VPC, are
// not saved under its name.
func TestSnapshotOfFormerInterface(t *testing.T) {
	f := families()[0]
	b := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"), nic("j", "web"))
	syn := tcp(at(f.peer, "4000"), at(f.local, "443"), "S")
	b.in(syn)
	b.Port("j").Filter(sg.Ingress, syn)
	b.change(policy.DeleteInterface{ID: "i"})
	require.Equal(t, 1, b.Table().Len())
	b.change(nic("i", "web"))
	file := b.snapshotOf()
	to := newBench(t, enforce.Options{}, profile(sg.Keep), group("web", https("a")), nic("i", "web"), nic("j", "web"))
	require.Equal(t, conntrack.Restored{Connections: 1}, to.restore(file, 0))
	id, _ := to.Engine.Interface(to.entries()[0].Zone)
	require.Equal(t, sg.InterfaceID("j"), id)
}

func TestRestoreRefuses(t *testing.T) {
	f := families()[0]
	old := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
	old.handshake(f, "443")
	file := old.snapshotOf()
	_, err := enforce.NewEngine(enforce.Options{}).Restore(bytes.NewReader(file), 0)
	require.ErrorIs(t, err, enforce.ErrNoPolicy)
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		got, err := b.Restore(bytes.NewReader(bad), 0)
		var e *conntrack.SnapshotError
		require.ErrorAs(t, err, &e)
		require.Zero(t, got)
		require.Zero(t, b.Table().Len())
	}
	require.Equal(t, conntrack.Restored{Expired: 1}, b.restore(file, 6*24*time.Hour))
	require.Equal(t, conntrack.Restored{Connections: 1}, b.restore(file, 4*24*time.Hour))
	require.Equal(t, conntrack.Restored{Present: 1}, b.restore(file, 0))
	b.sleep(23 * time.Hour)
	require.Zero(t, b.Sweep(1000))
	b.sleep(2 * time.Hour)
	require.Equal(t, 1, b.Sweep(1000))
}

// A policy applied behind the restart judges them as it judges all.
func TestRestartThenApply(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		old := newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
		old.handshake(f, "443")
		b := newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
		require.Equal(t, conntrack.Restored{Connections: 1}, b.restore(old.snapshotOf(), 0))
		require.NotZero(t, b.entries()[0].Mark, "judged at once")
		b.change(group("web"))
		require.Zero(t, b.Table().Len())
		require.Equal(t, "closed", b.kinds())
	})
}

func TestAdopt(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", https("a")), nic("i", "web"))
		client := func(port string) []byte { return tcp(at(f.peer, port), at(f.local, "443"), "A") }
		require.Equal(t, "drop invalid_state", b.in(client("1")))
		b.events = nil
		b.Adopt(10*time.Second, 2)
		require.Contains(t, b.in(client("1")), "accept rule web/a-")
		require.Equal(t, "accept established", b.out(tcp(at(f.local, "443"), at(f.peer, "1"), "A"))[:18])
		require.Contains(t, b.in(tcp(at(f.peer, "1"), at(f.local, "444"), "A")), "drop", "the rules judge it")
		require.Contains(t, b.in(tcp(at(f.peer, "7"), at(f.local, "443"), "S")), "accept rule")
		require.Contains(t, b.in(client("2")), "accept rule")
		require.Contains(t, b.in(client("3")), "drop invalid_state", "no more than two")
		require.Equal(t, uint64(2), b.Table().Stats().Adopted)
		var adopted []bool
		for _, e := range b.events {
			if e.Kind == enforce.FlowOpened {
				adopted = append(adopted, e.Adopted)
			}
		}
		require.Equal(t, []bool{true, false, true}, adopted)
		require.Contains(t, b.events[0].LogValue().String(), "adopted=true")
		require.NotContains(t, b.events[2].LogValue().String(), "adopted")

		b.Adopt(10*time.Second, 100)
		b.sleep(9 * time.Second)
		require.Contains(t, b.in(client("4")), "accept rule")
		b.sleep(2 * time.Second)
		require.Contains(t, b.in(client("5")), "drop invalid_state", "the time is over")
		b.Adopt(10*time.Second, 100)
		b.Adopt(0, 0)
		require.Contains(t, b.in(client("5")), "drop invalid_state")

		b.events = nil
		b.sleep(6 * 24 * time.Hour)
		require.Equal(t, 4, b.Sweep(1000))
		closed := map[bool]int{}
		for _, e := range b.events {
			closed[e.Adopted]++
		}
		require.Equal(t, map[bool]int{true: 3, false: 1}, closed)
	})
}

// Restoring while packets pass and policies change.
func TestRestoreUnderTraffic(t *testing.T) {
	old := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"), nic("j", "web"))
	for i := range 200 {
		p := udp(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(1000+i)).String(), "10.0.0.5:53", 0)
		old.in(p)
		old.Port("j").Filter(sg.Ingress, p)
	}
	file := old.snapshotOf()
	e := enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1000, Shards: 2}})
	ms := []policy.Change{web(), nic("i", "web"), nic("j", "web")}
	require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Cut), ms...)))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			p := udp(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(1000+i%400)).String(), "10.0.0.5:53", 0)
			if v := e.Port("i").Filter(sg.Ingress, p); v.Action != sg.Accept {
				t.Error(v)
				return
			}
			e.Port("j").Filter(sg.Ingress, p)
		}
	}()
	for i := range 20 {
		got, err := e.Restore(bytes.NewReader(file), 0)
		require.NoError(t, err)
		require.Equal(t, 400, got.Connections+got.Present+got.Full)
		if i%5 == 4 {
			require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Cut), ms...)))
		}
		_, err = e.Snapshot(new(bytes.Buffer))
		require.NoError(t, err)
	}
	stop()
	<-done
}
