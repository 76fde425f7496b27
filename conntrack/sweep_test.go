package conntrack

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// TestSweepKeepsUp: as many slots as a table has entries are enough to free all
// that expired, of whatever protocols, in however many calls; and no call frees
// more than it may look at.
func TestSweepKeepsUp(t *testing.T) {
	for _, shards := range []int{1, 4} {
		for _, plain := range []int{0, 1, 7, 600} {
			for _, tcp := range []int{0, 1, 9, 700} {
				for i, max := range []int{1, 3, 100, 1 << 20, 3, 1 << 20} {
					tb := NewTable(Options{MaxEntries: 4096, Shards: shards, MaxFragments: 1})
					total, live := plain+tcp, 0
					for i := range tcp {
						require.True(t, admit(tb, 0, 1, i))
					}
					late := Time(0)
					if i >= 4 { // the datagrams live on
						late, live = 190*second, plain
					}
					for i := range plain {
						out, _ := flow(i)
						_, err := tb.Commit(late, 1, Local, out, 1, 1)
						require.NoError(t, err)
					}
					// It begins where the last call stopped: at the start again.
					for looked := 0; looked < total; looked += max {
						n := min(max, total-looked)
						require.LessOrEqual(t, tb.Sweep(200*second, n), n)
					}
					require.Equal(t, live, tb.Len(), "%d shards, %d plain, %d of TCP, %d at a time", shards, plain, tcp, max)
					require.Equal(t, uint64(total-live), tb.Stats().Expired)
				}
			}
		}
	}
}

// TestSweepOften: connections that are in use, and free slots, are looked at
// again only when they may have expired, and none is forgotten.
func TestSweepOften(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 64, Shards: 1, MaxFragments: 1, Timeouts: Timeouts{UDP: 10 * time.Second}})
	out, _ := flow(1)
	for now := Time(0); now < 100*second; now += second {
		if c := tb.Track(now, 1, Local, out); c.State == New {
			_, err := tb.Commit(now, 1, Local, out, 1, 1)
			require.NoError(t, err)
		}
		require.Zero(t, tb.Sweep(now, 10))
	}
	require.Zero(t, tb.Sweep(109*second-tick, 10))
	require.Equal(t, 1, tb.Sweep(109*second+tick, 10))
	require.Zero(t, tb.Sweep(200*second, 10))
	_, err := tb.Commit(200*second, 1, Local, out, 1, 1) // in the slot of the other
	require.NoError(t, err)
	require.Zero(t, tb.Sweep(210*second-tick, 10))
	require.Equal(t, 1, tb.Sweep(210*second+tick, 10))
}

// TestFirstDue compares the steps of eight with one by one.
func TestFirstDue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := rapid.Uint32().Draw(rt, "now")
		later := rapid.OneOf(rapid.SampledFrom([]uint32{1, 2, maxTicks, 1<<31 - 1, 1 << 31}), rapid.Uint32Range(1, 1<<31))
		d := rapid.SliceOfN(rapid.Map(later, func(o uint32) uint32 { return now + o }), 0, 40).Draw(rt, "deadlines")
		for range rapid.IntRange(0, 2).Draw(rt, "due") {
			if len(d) != 0 {
				d[rapid.IntRange(0, len(d)-1).Draw(rt, "at")] = now - rapid.SampledFrom([]uint32{0, 1, 1000, 1<<31 - 1}).Draw(rt, "ago")
			}
		}
		want := slices.IndexFunc(d, func(at uint32) bool { return due(now, at) })
		if want < 0 {
			want = len(d)
		}
		if got := firstDue(now, d); got != want {
			rt.Fatalf("%d, want %d", got, want)
		}
	})
}

// TestSweepShorter: where the idle time becomes shorter by a packet, Sweep knows.
func TestSweepShorter(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoTCP} {
		tb := NewTable(Options{MaxEntries: 64, Shards: 1, MaxFragments: 1, Timeouts: Timeouts{UDP: time.Hour, UDPStream: 10 * time.Second, TCPSynRecv: time.Hour, TCPEstablished: 10 * time.Second}})
		if proto == packet.ProtoUDP {
			out, in := flow(1)
			_, err := tb.Commit(0, 1, Local, out, 1, 1)
			require.NoError(t, err)
			require.Equal(t, Established, tb.Track(second, 1, Remote, in).State)
		} else {
			require.True(t, admit(tb, 0, 1, 1))
			require.True(t, complete(tb, second, 1, 1))
		}
		require.Zero(t, tb.Sweep(11*second-tick, 10))
		require.Equal(t, 1, tb.Sweep(11*second+tick, 10))
	}
}
