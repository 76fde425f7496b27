package conntrack

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// Zones are numbers of 32 bits, also where an int has no more.
func TestZoneNumbers(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100})
	out, _ := flow(1)
	for _, z := range []Zone{0, 1<<31 - 1, 1 << 31, 1<<31 + 5, 1<<32 - 1} {
		_, err := tb.Commit(0, z, Local, out, 1, 1)
		require.NoError(t, err)
		audit(t, tb)
		require.Equal(t, 1, tb.Flush(0, z))
	}
}

// A limit that no number of 32 bits holds is one all the same.
func TestZoneLimitLarge(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100, MaxPerZone: 1})
	most := int(uint64(^uint(0)>>1) &^ (1<<32 - 1)) // its low 32 bits are 0
	tb.SetZone(1, ZoneOptions{MaxEntries: max(most, 100)})
	for i := range 10 {
		out, _ := flow(i)
		_, err := tb.Commit(0, 1, Local, out, 1, 1)
		require.NoError(t, err)
	}
	require.Equal(t, 10, tb.Len())
	require.Equal(t, 966367642, (&Shares{TCP: 90}).of(ClassTCP, maxEntries))
}

// Update's callback keeps nobody from passing packets: not while it runs, and
// not by a panic.
func TestUpdateLocksNoEntry(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100, Shards: 1})
	out, _ := flow(1)
	_, err := tb.Commit(0, 1, Local, out, 7, 1)
	require.NoError(t, err)
	locked := func() bool { return atomic.LoadUint32(&tb.shards[0].at(1<<1).word)&wordLocked != 0 }
	require.PanicsWithValue(t, "f", func() {
		tb.Update(0, func(e *Entry) (Mark, uint32, bool) {
			require.False(t, locked())
			require.Equal(t, Established, tb.Track(0, 1, Local, out).State)
			panic("f")
		})
	})
	require.False(t, locked())
	require.Equal(t, Mark(7), tb.Track(0, 1, Local, out).Mark)
	require.Equal(t, 1, tb.Update(0, func(*Entry) (Mark, uint32, bool) { return 0, 0, false }))
	audit(t, tb)
}

// What Update writes waits for a packet that has the connection at that time.
func TestUpdateWaits(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100, Shards: 1})
	out, _ := flow(1)
	_, err := tb.Commit(0, 1, Local, out, 7, 1)
	require.NoError(t, err)
	e := tb.shards[0].at(1 << 1)
	for _, keep := range []bool{true, false} {
		var done atomic.Bool
		tb.Update(0, func(*Entry) (Mark, uint32, bool) {
			w := e.lock()
			go func() {
				for range 1000 {
					runtime.Gosched()
				}
				done.Store(true)
				e.unlock(w)
			}()
			return 8, 2, keep
		})
		require.True(t, done.Load())
	}
	require.Zero(t, tb.Len())
	audit(t, tb)
}

// A connection that is answered between the look at it and its eviction stays.
func TestOustAnswered(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 100, Shards: 1})
	out, in := flow(1)
	_, err := tb.Commit(0, 1, Local, out, 7, 1)
	require.NoError(t, err)
	s, b := &tb.shards[0], newBudget(1)
	at := tb.clock.at(0)
	id, rank := s.worst(at, 0, 0, wanted{limit: limitTable}, &b)
	require.Equal(t, rankUnreplied, rank)
	require.Equal(t, Established, tb.Track(0, 1, Remote, in).State)
	_, ok := s.oust(at, id, rank)
	require.False(t, ok)
	require.Equal(t, 1, tb.Len())
	late := Time(time.Hour)
	place, ok := s.oust(tb.clock.at(late), id, rank)
	require.True(t, ok, "expired it goes")
	s.release(place)
	require.Equal(t, uint64(1), tb.Stats().Expired)
	audit(t, tb)
}

// Room for an adopted connection that is made in another shard does not cost
// the adoption, although it was the last.
func TestAdoptElsewhere(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 4, Shards: 2, Shares: whole})
	p := tcp(inside+":1", outside+":2", "A")
	where := func(tup *Tuple) *shard {
		var k key
		k.set(1, Local, tup, 0, 0)
		return tb.shard(tb.secret.hash(&k))
	}
	room := map[bool]int{true: 2, false: 2}
	for i := 0; room[true]+room[false] > 0; i++ {
		out, in := flow(i)
		here := where(&out.Tuple) == where(&p.Tuple)
		if room[here] == 0 {
			continue
		}
		room[here]--
		_, err := tb.Commit(0, 1, Local, out, 1, 1)
		require.NoError(t, err)
		if here { // assured: it stays
			require.Equal(t, Established, tb.Track(0, 1, Remote, in).State)
		}
	}
	tb.Adopt(0, time.Minute, 1)
	c, err := tb.Commit(0, 1, Local, p, 1, 1)
	require.NoError(t, err)
	require.Equal(t, New, c.State)
	require.True(t, c.Tracked())
	require.Zero(t, tb.adopt.left.Load())
	require.Equal(t, uint64(1), tb.Stats().EarlyDrop)
	audit(t, tb)
}

// A Conn of another table, with more shards or more slots, names nothing here.
func TestForeignConn(t *testing.T) {
	small := NewTable(Options{MaxEntries: 100, Shards: 1})
	out, _ := flow(1)
	mine, err := small.Commit(0, 1, Local, out, 7, 1)
	require.NoError(t, err)
	large := NewTable(Options{MaxEntries: 1000, Shards: 4})
	shards := map[uint32]bool{}
	for i := range 600 {
		p, _ := flow(i)
		if i%2 == 0 {
			p.Tuple.Proto = packet.ProtoTCP
			p.Flags = packet.SYN
		}
		c, err := large.Commit(0, 1, Local, p, 1, 1)
		require.NoError(t, err)
		shards[c.ref.shard] = true
		if c.ref == mine.ref {
			continue // the slot and the generation are the same
		}
		require.False(t, small.Delete(0, c))
		_, ok := small.Remark(c, 9, 9)
		require.False(t, ok)
	}
	require.Len(t, shards, 4)
	require.Equal(t, Mark(7), small.Track(0, 1, Local, out).Mark)
	require.True(t, small.Delete(0, mine))
}
