package conntrack

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
)

var stressRounds = flag.Int("conntrack.stress", 2, "rounds of TestStress")

// stress is a tiny table that many hammer, and what they know of it.
type stress struct {
	*Table
	now     atomic.Int64
	marks   atomic.Uint32
	counted atomic.Uint64 // packets that an entry must have counted
	file    []byte        // a snapshot of which every connection has two packets
	pinned  []*packet.Packet
	mu      sync.Mutex
	ended   map[Mark]int
	sum     uint64 // packets of those that ended
	over    atomic.Bool
}

const pinnedZone = 1<<31 + 7 // what nobody deletes

// TestStress hammers few keys of a table whose index is so full that its keys
// move all the time.
func TestStress(t *testing.T) {
	for round := range *stressRounds {
		for _, shards := range []int{1, 2} {
			t.Run(fmt.Sprint(shards, round), func(t *testing.T) { newStress(t, shards).run(t, uint64(round)) })
		}
	}
}

func newStress(t *testing.T, shards int) *stress {
	s := &stress{ended: map[Mark]int{}}
	s.Table = NewTable(Options{
		MaxEntries: 64, MaxPerZone: 24, Shards: shards, Shares: Shares{TCP: 50, UDP: 75, ICMP: 20, Other: 20},
		Timeouts: Timeouts{UDP: time.Second, UDPStream: time.Hour, TCPSynSent: time.Second, TCPClose: time.Second},
		OnEnd: func(e *Entry, _ End) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended[e.Mark]++
			s.sum += e.Packets[Original] + e.Packets[Reply]
		},
		OnPressure: func(p Pressure) {
			if p.Entries > p.Limit {
				s.over.Store(true)
			}
		},
	})
	for i := range s.shards {
		s.shards[i].index.buckets = s.shards[i].index.buckets[:8-2*shards]
	}
	other := NewTable(Options{MaxEntries: 64, Shards: 1})
	for i := range 8 {
		out, in := flow(i)
		_, err := other.Commit(0, Zone(i%3), Local, out, 1, 1)
		require.NoError(t, err)
		require.Equal(t, Established, other.Track(0, Zone(i%3), Remote, in).State)
	}
	s.file = saved(t, other, 0, SnapshotOptions{})
	for i := range 6 {
		out, in := flow(1000 + i)
		c, err := s.Commit(0, pinnedZone, Local, out, Mark(s.marks.Add(1)), 1)
		require.NoError(t, err)
		require.Equal(t, Mark(i+1), c.Mark)
		require.Equal(t, Established, s.Track(0, pinnedZone, Remote, in).State)
		s.counted.Add(2)
		s.pinned = append(s.pinned, out)
	}
	return s
}

// open tracks p and commits it if it is New; it returns the connection.
func (s *stress) open(now Time, z Zone, from Side, p *packet.Packet) Conn {
	c := s.Track(now, z, from, p)
	held := c.Dir == Original && opens(p)
	if c.State == Established && !held {
		s.counted.Add(1)
	}
	if c.State != New && !(c.State == Established && held) {
		return c
	}
	c, err := s.Commit(now, z, from, p, Mark(s.marks.Add(1)), 1)
	if err != nil {
		return Conn{}
	}
	if c.Tracked() {
		s.counted.Add(1)
	}
	return c
}

func (s *stress) run(t *testing.T, seed uint64) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() { s.work(t, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	wg.Wait()
	require.False(t, s.over.Load(), "above a limit")
	audit(t, s.Table)
	stats, seen, packets := s.Stats(), map[Mark]bool{}, s.sum
	moves := uint32(0)
	for i := range s.shards {
		moves += s.shards[i].index.moves.Load()
	}
	require.NotZero(t, moves, "nothing moved")
	for e := range s.All(0) {
		seen[e.Mark] = true
	}
	s.walk(func(sh *shard, id uint32) {
		n, _ := sh.counts(sh.at(id), id)
		packets += n[Original] + n[Reply]
	})
	for m, n := range s.ended {
		require.Equal(t, 1, n, "ends of %d", m)
		require.False(t, seen[m], "%d ended and is there", m)
	}
	require.Equal(t, int(stats.Insert), len(s.ended)+s.Len())
	require.Equal(t, s.counted.Load(), packets)
	for z := range Zone(3) {
		s.Flush(Time(s.now.Load()), z)
	}
	require.Equal(t, len(s.pinned), s.Flush(Time(s.now.Load()), pinnedZone))
	require.Zero(t, s.Len())
	audit(t, s.Table)
}

// work is one of those who hammer.
func (s *stress) work(t *testing.T, r *rand.Rand) {
	type held struct {
		c   Conn
		tup Tuple
		z   Zone
	}
	hold := make([]held, 16)
	for range 8000 {
		now := Time(s.now.Add(int64(r.IntN(int(time.Millisecond)))))
		z := Zone(r.IntN(3))
		i := r.IntN(len(s.pinned))
		if c := s.Track(now, pinnedZone, Local, s.pinned[i]); c.State != Established || c.Mark != Mark(i+1) {
			t.Errorf("pinned %d: %+v", i, c)
			return
		}
		s.counted.Add(1)
		out, in := flow(r.IntN(30))
		h := &hold[r.IntN(len(hold))]
		switch r.IntN(24) {
		case 0:
			s.Sweep(now, 64)
		case 1:
			s.Flush(now, z)
		case 2:
			s.Update(now, func(e *Entry) (Mark, uint32, bool) {
				return e.Mark, e.Epoch + 1, e.Zone == pinnedZone || e.Mark%5 != 0
			})
		case 3:
			s.SetZone(z, ZoneOptions{Liberal: r.IntN(2) == 0, MaxEntries: r.IntN(30)})
		case 4:
			sum, err := s.Restore(bytes.NewReader(s.file), now, RestoreOptions{
				Mark: func(Mark, uint32) (Mark, uint32) { return Mark(s.marks.Add(1)), 1 },
			})
			if err != nil {
				t.Error(err)
			}
			s.counted.Add(2 * uint64(sum.Connections))
		case 5, 6:
			s.Delete(now, h.c)
		case 7, 8:
			if prev, ok := s.Remark(h.c, h.c.Mark, 9); ok && (prev.Orig != h.tup || prev.Zone != h.z || prev.Mark != h.c.Mark) {
				t.Errorf("%+v is now %+v", h, prev)
			}
		case 9:
			s.DeleteTuple(now, z, out.Tuple)
		case 10:
			had := map[string]bool{}
			for e := range s.All(now) {
				k := fmt.Sprint(e.Zone, e.Orig, e.OrigSide)
				if had[k] {
					t.Error("two entries", k)
				}
				had[k] = true
			}
			if n := s.Len(); n > 64 || len(had) > 64 {
				t.Error(n, "entries")
			}
		case 11:
			s.Adopt(now, time.Second, 5)
		case 12, 13, 14:
			p := tcp(inside+":1", outside+":80", []string{"S", "A", "R", "FA"}[r.IntN(4)])
			p.Tuple.SrcPort = uint16(r.IntN(8))
			p.Seq, p.Window = 1000, 500
			if c := s.open(now, z, Local, p); c.State == New {
				*h = held{c, p.Tuple, z}
			}
		case 15:
			s.open(now, z, Local, icmp(inside, outside, 8, uint16(r.IntN(20))))
		default:
			if c := s.open(now, z, Local, out); c.State == New {
				*h = held{c, out.Tuple, z}
			}
			if r.IntN(3) == 0 && s.Track(now, z, Remote, in).State == Established {
				s.counted.Add(1)
			}
		}
	}
}
