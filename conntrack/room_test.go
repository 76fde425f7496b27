package conntrack

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

// TestRoom: a table has room for as many connections as it says, however chance
// spreads them over its shards, and for no more.
func TestRoom(t *testing.T) {
	for _, c := range []struct{ entries, shards int }{{1, 1}, {1, 8}, {5, 4}, {100, 1}, {513, 2}, {5000, 16}, {60_000, 1}, {60_000, 8}} {
		tb := NewTable(Options{MaxEntries: c.entries, Shards: c.shards, Shares: whole, MaxFragments: 1})
		for i := range c.entries {
			out, in := flow(i)
			if i%2 == 1 {
				out.Tuple.Proto, in.Tuple.Proto = 47, 47
			}
			_, err := tb.Commit(0, 1, Local, out, 1, 1)
			require.NoError(t, err, "%d of %+v", i, c)
			tb.Track(0, 1, Remote, in) // assured
		}
		out, _ := flow(c.entries)
		_, err := tb.Commit(0, 1, Local, out, 1, 1)
		require.ErrorIs(t, err, ErrFull, "%+v", c)
		require.Equal(t, Stats{Insert: uint64(c.entries), Found: uint64(c.entries), Drop: 1}, tb.Stats(), "%+v", c)
		for i := range c.entries {
			_, in := flow(i)
			if i%2 == 1 {
				in.Tuple.Proto = 47
			}
			if tb.Track(0, 1, Remote, in).State != Established {
				t.Fatalf("%d of %+v", i, c)
			}
		}
		require.Equal(t, c.entries, tb.Flush(0, 1))
		_, err = tb.Commit(0, 1, Local, out, 1, 1)
		require.NoError(t, err, "%+v", c)
	}
}

// TestRoomTCP is TestRoom for connections of TCP, which have slots of their own.
func TestRoomTCP(t *testing.T) {
	for _, n := range []int{1, 512, 513, 3000} {
		tb := NewTable(Options{MaxEntries: n, Shards: 1, Shares: whole, MaxFragments: 1})
		for i := range n {
			require.True(t, admit(tb, 0, 1, i))
			require.True(t, complete(tb, 0, 1, i))
		}
		require.False(t, admit(tb, 0, 1, n))
		require.Equal(t, n, tb.Len())
		require.Equal(t, n, tb.Flush(0, 1))
		require.True(t, admit(tb, 0, 1, n))
		audit(t, tb)
	}
}

// TestIndexSize: the index takes about nine bytes for an entry, as Table says.
func TestIndexSize(t *testing.T) {
	for _, n := range []int{1 << 16, 1 << 20} {
		x := newIndex(n)
		require.InDelta(t, 8.7, float64(64*len(x.buckets))/float64(n), 0.5, "%d", n)
	}
}

// TestEntryLock: who has the lock of an entry has it alone, and its word is the
// same for all.
func TestEntryLock(t *testing.T) {
	const word = 5<<wordShift | uint32(packet.ProtoTCP)
	e := entry{word: word}
	inside, turns := 0, 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5000 {
				w := e.lock()
				inside++
				if w != word || inside != 1 {
					t.Errorf("word %#x, %d inside", w, inside)
				}
				if i%4 == 0 {
					runtime.Gosched() // so that others wait
				}
				turns++
				inside--
				e.unlock(w)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 20_000, turns)
	require.Equal(t, uint32(word), e.word)
}
