package conntrack

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPurse: with places held in advance a table is full at its last entry and
// not before, and says that it fills at the very entry.
func TestPurse(t *testing.T) {
	var said []Pressure
	tb := NewTable(Options{MaxEntries: 4000, Shards: 4, Shares: whole, OnPressure: func(p Pressure) { said = append(said, p) }})
	next, most := 0, int32(0)
	fill := func(n int) {
		for range n {
			out, in := flow(next)
			_, err := tb.Commit(0, 1, Local, out, 1, 1)
			require.NoError(t, err)
			require.Equal(t, Established, tb.Track(0, 1, Remote, in).State) // it stays
			next++
			most = max(most, tb.purses.Load())
		}
	}
	fill(3599)
	require.Empty(t, said)
	require.Equal(t, int32(4), most, "every shard held some")
	fill(1)
	high := []Pressure{{Bound: BoundClass, Class: ClassUDP, Entries: 3600, Limit: 4000, High: true}, {Entries: 3600, Limit: 4000, High: true}}
	require.Equal(t, high, said)
	fill(400)
	require.Equal(t, 4000, tb.Len())
	require.Zero(t, tb.purses.Load())
	out, _ := flow(next)
	_, err := tb.Commit(0, 1, Local, out, 1, 1)
	require.ErrorIs(t, err, ErrFull)
	said = nil
	for i := range 801 {
		out, _ := flow(i)
		require.Equal(t, 1, tb.DeleteTuple(0, 1, out.Tuple))
	}
	require.ElementsMatch(t, []Pressure{{Bound: BoundClass, Class: ClassUDP, Entries: 3199, Limit: 4000}, {Entries: 3199, Limit: 4000}}, said)
	audit(t, tb)
}

// TestPurseConcurrent: the books are right after many have opened and closed
// connections around every bound, while a zone got a limit and lost it.
func TestPurseConcurrent(t *testing.T) {
	var over, called atomic.Bool
	tb := NewTable(Options{MaxEntries: 1200, Shards: 2, OnPressure: func(p Pressure) {
		called.Store(true)
		if p.Entries > p.Limit {
			over.Store(true)
		}
	}})
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for range rounds {
				var open []Conn
				for range 400 {
					z, i := Zone(r.IntN(3)), r.IntN(2000)
					out, _ := flow(i)
					from := Local
					if i%2 == 0 {
						out, _, _ = synFlow(i)
						from = Remote
					}
					if c, err := tb.Commit(0, z, from, out, 1, 1); err == nil {
						open = append(open, c)
					}
				}
				switch r.IntN(4) {
				case 0:
					tb.SetZone(1, ZoneOptions{MaxEntries: r.IntN(3) * 100})
				case 1:
					tb.SetZone(2, ZoneOptions{MaxEntries: r.IntN(2000), Liberal: true})
				}
				if n := tb.Len(); n > 1200 {
					t.Error(n)
				}
				for _, c := range open {
					if r.IntN(8) != 0 {
						tb.Delete(0, c)
					}
				}
				if r.IntN(4) == 0 {
					tb.Flush(0, Zone(r.IntN(3)))
				}
			}
		})
	}
	wg.Wait()
	require.False(t, over.Load(), "above a limit")
	require.True(t, called.Load())
	audit(t, tb)
	for z := range Zone(3) {
		tb.SetZone(z, ZoneOptions{})
		tb.Flush(0, z)
	}
	require.Zero(t, tb.Len())
	audit(t, tb)
}
