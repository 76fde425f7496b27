package enforce_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

func TestTimeouts(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"))
	ask, answer := udp("192.0.2.7:1", "10.0.0.5:53", 0), udp("10.0.0.5:53", "192.0.2.7:1", 0)
	require.Contains(t, b.in(ask), "accept rule")
	b.sleep(29 * time.Second)
	require.Contains(t, b.in(ask), "accept established")
	b.sleep(30 * time.Second)
	require.Contains(t, b.in(ask), "accept rule", "expired, opened anew")
	require.Contains(t, b.out(answer), "accept established")
	b.sleep(119 * time.Second)
	require.Contains(t, b.out(answer), "accept established")
	b.sleep(120 * time.Second)
	require.Equal(t, "drop empty_direction", b.out(answer))
	e := b.events[0]
	require.Equal(t, start(), e.Time)
	require.Equal(t, start().Add(time.Hour), b.Wall(conntrack.Time(time.Hour)+1))
}

func TestClockStepsBack(t *testing.T) {
	for _, step := range []time.Duration{time.Second, time.Hour, 100 * 365 * 24 * time.Hour} {
		b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"))
		b.sleep(2 * time.Hour)
		client, service := b.handshake(families()[0], "443")
		b.in(udp("192.0.2.7:1", "10.0.0.5:53", 0))
		b.sleep(-step)
		require.Contains(t, b.in(tcp(client, service, "A")), "accept established", "RES-08: nothing expires by it")
		require.Equal(t, uint64(4), b.counter("web/https-4").Packets)
		require.Equal(t, 2, b.Table().Len())
		b.sleep(2 * time.Minute)
		require.Equal(t, 1, b.Sweep(1000)) // and nothing lives for ever
		b.sleep(6 * 24 * time.Hour)
		require.Equal(t, 1, b.Sweep(1000))
	}
}

func TestRun(t *testing.T) {
	// Matchers are made outside of the bubble: nothing in it may block on them.
	m := matcher(t, profile(sg.Revalidate), web(), nic("i", "web"))
	synctest.Test(t, func(t *testing.T) {
		var closed int
		e := enforce.NewEngine(enforce.Options{OnEvent: func(ev *enforce.Event) {
			if ev.Kind == enforce.FlowClosed {
				closed++
			}
		}, Conntrack: conntrack.Options{MaxEntries: 64, Shards: 1}})
		require.NoError(t, e.Apply(t.Context(), m))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait()
		ask := udp("192.0.2.7:1", "10.0.0.5:53", 0)
		require.Equal(t, sg.Accept, e.Port("i").Filter(sg.Ingress, ask).Action)
		require.Equal(t, 1, e.Table().Len())
		// The coarse clock moves with the ticks, and the sweep frees what expired.
		time.Sleep(29 * time.Second)
		synctest.Wait()
		require.Equal(t, 1, e.Table().Len())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Zero(t, e.Table().Len())
		require.Equal(t, 1, closed)
		stop()
		require.ErrorIs(t, <-done, context.Canceled)
		// Without Run the clock is read per packet again.
		e.Port("i").Filter(sg.Ingress, ask)
		time.Sleep(31 * time.Second)
		require.Equal(t, 1, e.Sweep(1000))
	})
}

func TestRunWithAClockOfItsOwn(t *testing.T) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), web(), nic("i", "web"))
	ctx, stop := context.WithCancel(context.Background())
	stop()
	b.in(udp("192.0.2.7:1", "10.0.0.5:53", 0))
	b.sleep(time.Minute)
	require.ErrorIs(t, b.Run(ctx), context.Canceled)
	require.Zero(t, b.Table().Len(), "it sweeps at least once, by the injected clock")
}
