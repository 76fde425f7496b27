package conntrack

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTick: every timeout is kept to within one tick, wherever in a tick the
// packet came, and never before it is due less one tick.
func TestTick(t *testing.T) {
	for _, idle := range []time.Duration{time.Millisecond, 62500 * time.Microsecond, time.Second, 30*time.Second + 7*time.Millisecond, 5 * 24 * time.Hour} {
		for at := Time(0); at < 3*tick; at += tick/7 + 1 {
			tb := NewTable(Options{Shards: 1, MaxFragments: 8, Timeouts: Timeouts{UDP: idle}})
			out, _ := flow(1)
			tb.Track(0, 0, Local, out) // the first tick begins here
			tb.Commit(at, 0, Local, out, 1, 1)
			due := at + Time(idle)
			require.Equal(t, 1, tb.walkLive(max(at, due-tick)), "%v at %v", idle, at)
			require.Equal(t, 0, tb.walkLive(due+tick), "%v at %v", idle, at)
			require.Equal(t, 1, tb.Sweep(due+tick, 10))
		}
	}
}

// TestYears is RES-08: a clock that leaps by ten years, either way and again and
// again, lets nothing live for ever and makes nothing expire that was in use.
func TestYears(t *testing.T) {
	const year = Time(365*24) * Time(time.Hour)
	for _, leap := range []Time{10 * year, -10 * year, 1<<32*tick - second, 1 << 32 * tick, 1<<31*tick + second, 4 * year} {
		tb := NewTable(Options{MaxFragments: 8})
		now := 20 * year
		for i := range 20 {
			require.True(t, admit(tb, now, 0, i))
			require.True(t, complete(tb, now, 0, i))
			_, _, ack := synFlow(i)
			now += leap
			c := tb.Track(now, 0, Remote, ack)
			if leap < 0 {
				require.Equal(t, Established, c.State, "a step back makes nothing expire")
				now += 5*24*Time(time.Hour) + second
				require.Equal(t, Invalid, tb.Track(now, 0, Remote, ack).State, "and nothing immortal")
			} else {
				require.Equal(t, Invalid, c.State, "leap %d by %v: idle for longer than anything may be", i, time.Duration(leap))
			}
			for e := range tb.All(now) {
				t.Fatalf("%+v", e)
			}
			if i%3 == 2 {
				tb.Sweep(now, 1000)
				require.Zero(t, tb.Len())
			}
		}
	}
}

// TestReadings: late readings of other workers move nothing back, and a stall of
// less than a minute nothing on.
func TestReadings(t *testing.T) {
	var c ticker
	c.longer = Time(time.Hour)
	start := c.at(1000 * second)
	require.Equal(t, start+16, c.at(1001*second))
	require.Equal(t, start+16, c.at(1000*second))
	require.Equal(t, start+16, c.at(942*second))
	require.Equal(t, start+16, c.at(1001*second+tick-1))
	require.Equal(t, start+17, c.at(1001*second+tick))
	require.Equal(t, start+17, c.at(100*second), "it stepped back")
	require.Equal(t, start+17+16, c.at(101*second))
	require.Equal(t, 101*second, c.view().caller(start+17+16))
	require.Equal(t, 100*second, c.view().caller(start+17))
	require.Equal(t, start+17+16+3600*16, c.at(101*second+100*Time(time.Hour)), "of a leap no more than the longest timeout")
}
