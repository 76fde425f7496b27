package conntrack

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMovingKeys: no search misses a connection whose key moves in the index
// meanwhile, neither way, neither in the short form nor in the long one.
func TestMovingKeys(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100, Shards: 1, Shares: whole})
	s := &tb.shards[0]
	s.index.buckets = s.index.buckets[:7]
	const stay = 45
	for i := range stay {
		out, in := flow(i)
		_, err := tb.Commit(0, 1, Local, out, Mark(i), 1)
		require.NoError(t, err)
		require.Equal(t, Established, tb.Track(0, 1, Remote, in).State)
	}
	reads := 400_000
	if testing.Short() {
		reads = 40_000
	}
	var done atomic.Bool
	var movers, readers sync.WaitGroup
	movers.Go(func() { // others come and go, and shove those that stay
		r := rand.New(rand.NewPCG(1, 1))
		var list []Conn
		for !done.Load() {
			if out, _ := flow(stay + r.IntN(5000)); len(list) < 24 {
				if c, err := tb.Commit(0, 1, Local, out, 1, 1); err == nil && c.State == New {
					list = append(list, c)
					continue
				}
			}
			if n := len(list); n > 0 {
				i := r.IntN(n)
				tb.Delete(0, list[i])
				list[i] = list[n-1]
				list = list[:n-1]
			}
		}
	})
	for w := range 4 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(w)))
			var k key
			for range reads {
				i := r.IntN(stay)
				out, in := flow(i)
				side, p := Local, out
				if i%2 != 0 {
					side, p = Remote, in
				}
				if w%2 != 0 {
					if c := tb.Track(0, 1, side, p); c.State != Established || c.Mark != Mark(i) {
						t.Errorf("%d: %+v", i, c)
						return
					}
					continue
				}
				k.set(1, side, &p.Tuple, 0, 0)
				e, _, word := s.find(&k, tb.secret.hash(&k))
				if e == nil {
					t.Errorf("%d not found", i)
					return
				}
				e.unlock(word)
			}
		})
	}
	readers.Wait()
	done.Store(true)
	movers.Wait()
	require.Greater(t, s.index.moves.Load(), uint32(100))
	audit(t, tb)
}
