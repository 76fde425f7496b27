package conntrack

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
	"unsafe"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// flow returns the i-th of many UDP flows from inside, and its reply.
func flow(i int) (out, in *packet.Packet) {
	out = udp(inside+":1", outside+":53")
	out.Tuple.SrcPort, out.Tuple.Dst[13], out.Tuple.Dst[14] = uint16(i), byte(i>>24), byte(i>>16)
	return out, &packet.Packet{Tuple: reverse(out.Tuple), Length: 100}
}

func reverse(t Tuple) Tuple {
	t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	return t
}

func TestEntrySize(t *testing.T) {
	require.Equal(t, uintptr(64), unsafe.Sizeof(entry{}))
	require.Equal(t, uintptr(96), unsafe.Sizeof(tcpEntry{}))
	require.Equal(t, uintptr(32), unsafe.Sizeof(local{}))
	require.Equal(t, uintptr(64), unsafe.Sizeof(bucket{}))
	require.Equal(t, uintptr(44), unsafe.Sizeof(key{}))
	require.LessOrEqual(t, unsafe.Sizeof(datagram{}), uintptr(600))
}

func TestEntry(t *testing.T) {
	tb := NewTable(Options{})
	q, r := icmp(inside, outside, 8, 7), icmp(outside, inside, 0, 7)
	q.ICMPCode, r.ICMPCode = 3, 3
	c, err := tb.Commit(second, 5, Local, q, 11, 12)
	require.NoError(t, err)
	require.True(t, c.Tracked())
	tb.Track(2*second, 5, Remote, r)
	for e := range tb.All(2 * second) {
		require.Equal(t, Entry{
			Zone: 5, Orig: q.Tuple, OrigSide: Local, Mark: 11, Epoch: 12, Status: StatusReplied, SeenReply: true,
			ICMPType: 8, ICMPCode: 3, Packets: [2]uint64{1, 1}, Bytes: [2]uint64{84, 84},
			Created: second, LastSeen: 2 * second, Expires: 32 * second,
		}, e)
	}
	prev, ok := tb.Remark(c, 21, 22)
	require.True(t, ok)
	require.Equal(t, Mark(11), prev.Mark)
	packets, bytes := prev.Total()
	require.Equal(t, []uint64{2, 168}, []uint64{packets, bytes})
	got := tb.Track(2*second, 5, Remote, r)
	require.Equal(t, []any{Established, Reply, Local, Mark(21), uint32(22)}, []any{got.State, got.Dir, got.Opener, got.Mark, got.Epoch})

	require.True(t, tb.Delete(2*second, c))
	require.False(t, tb.Delete(2*second, c))
	_, ok = tb.Remark(c, 1, 1)
	require.False(t, ok)
	c2, _ := tb.Commit(2*second, 5, Local, q, 1, 1) // in the same slot
	require.False(t, tb.Delete(2*second, c), "the generation tells them apart")
	require.True(t, tb.Delete(2*second, c2))
	require.False(t, tb.Delete(0, Conn{}))
}

func TestUntracked(t *testing.T) {
	tb := NewTable(Options{})
	for _, typ := range []uint8{130, 133, 134, 135, 136, 137, 143} {
		p := icmp("fe80::1", "ff02::1", typ, 0)
		require.Equal(t, New, tb.Track(0, 0, Local, p).State)
		c, err := tb.Commit(0, 0, Local, p, 1, 1)
		require.NoError(t, err)
		require.Equal(t, New, c.State)
		require.False(t, c.Tracked())
		require.Equal(t, New, tb.Track(0, 0, Local, p).State)
	}
	for _, p := range []*packet.Packet{{}, icmp(inside, outside, 0, 1), tcp(inside+":1", outside+":2", "A"), icmpError(inside, outside, 3, nil), piece(1, 8, 16, true)} {
		c, err := tb.Commit(0, 0, Local, p, 1, 1)
		require.NoError(t, err)
		require.Equal(t, Conn{}, c)
	}
	require.Zero(t, tb.Len())
}

// whole lets every class fill the table.
var whole = Shares{TCP: 100, UDP: 100, ICMP: 100, Other: 100}

// TestLimits is RES-01 and RES-02: assured connections survive a flood, and
// among half-open ones new ones still get in.
func TestLimits(t *testing.T) {
	const limit, assured = 64, 40
	left := map[End]int{}
	tb := NewTable(Options{MaxEntries: limit, Shards: 4, Shares: whole, OnEnd: func(e *Entry, why End) {
		left[why]++
		require.False(t, e.Assured)
	}})
	for i := range assured {
		out, in := flow(i)
		tb.Commit(0, 0, Local, out, 1, 1)
		require.Equal(t, Established, tb.Track(0, 0, Remote, in).State)
	}
	refused := 0
	for i := range 10_000 {
		out, _ := flow(1000 + i)
		if _, err := tb.Commit(0, 0, Remote, out, 1, 1); err != nil {
			require.ErrorIs(t, err, ErrFull)
			refused++
		}
		require.LessOrEqual(t, tb.Len(), limit)
	}
	require.Less(t, refused, 2000)
	require.Equal(t, 10_000-refused-(limit-assured), left[EndEvicted])
	for i := range assured {
		_, in := flow(i)
		require.Equal(t, Established, tb.Track(0, 0, Remote, in).State)
	}
	s := tb.Stats()
	require.Equal(t, uint64(refused), s.Drop)
	require.Equal(t, uint64(left[EndEvicted]), s.EarlyDrop)

	// Nothing but assured ones: the table is full for good, until they expire.
	full := NewTable(Options{MaxEntries: assured, Shares: whole})
	for i := range assured {
		out, in := flow(i)
		full.Commit(0, 0, Local, out, 1, 1)
		full.Track(0, 0, Remote, in)
	}
	out, _ := flow(999)
	_, err := full.Commit(0, 0, Local, out, 1, 1)
	require.ErrorIs(t, err, ErrFull)
	_, err = full.Commit(120*second, 0, Local, out, 1, 1)
	require.NoError(t, err)
	require.Equal(t, uint64(1), full.Stats().Expired)
}

// TestZoneLimit is RES-04: a noisy zone does not touch the others.
func TestZoneLimit(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 1000, MaxPerZone: 10, OnEnd: func(e *Entry, _ End) { require.Equal(t, Zone(1), e.Zone) }})
	out, _ := flow(0)
	for z := Zone(2); z < 50; z++ {
		_, err := tb.Commit(0, z, Local, out, 1, 1)
		require.NoError(t, err)
	}
	for i := range 1000 {
		out, _ := flow(i)
		tb.Commit(0, 1, Remote, out, 1, 1)
	}
	count := map[Zone]int{}
	for e := range tb.All(0) {
		count[e.Zone]++
	}
	require.Equal(t, 10, count[1])
	require.Len(t, count, 49)
	require.Equal(t, 10, tb.Flush(0, 1))
}

// TestClock is RES-08.
func TestClock(t *testing.T) {
	tb := NewTable(Options{Shards: 1})
	out, in := flow(1)
	const start = 1000 * second
	tb.Commit(start, 0, Local, out, 1, 1)
	alive := func(now Time) bool {
		return tb.Track(now, 0, Remote, &packet.Packet{}).State == Invalid && tb.walkLive(now) == 1
	}
	require.True(t, alive(start-30*second), "a small step back")
	require.True(t, alive(0), "a large one")
	require.True(t, alive(29*second), "the time before the step counts, the step does not")
	require.False(t, alive(31*second), "not immortal")
	tb.Sweep(31*second, 100)
	require.Zero(t, tb.Len())

	// Two workers whose readings differ do not make time run fast.
	tb.Commit(100*second, 0, Local, out, 1, 1)
	tb.Track(100*second, 0, Remote, in)
	for range 10_000 {
		tb.Sweep(101*second, 1)
		tb.Sweep(100*second, 1)
	}
	require.Equal(t, 1, tb.Len())
	require.Equal(t, Time(1<<63-1), Time(1<<63-2).after(time.Second))
}

func (t *Table) walkLive(now Time) (n int) {
	for range t.All(now) {
		n++
	}
	return n
}

func TestZoneCounts(t *testing.T) {
	// Zones of few homes, so that they crowd.
	var crowd []Zone
	home := zoneCounts{slots: make([]zoneCount, 64)}
	for z := Zone(0); len(crowd) < 40; z++ {
		if home.home(z)%16 < 3 {
			crowd = append(crowd, z)
		}
	}
	check := func(rt *rapid.T) {
		var c zoneCounts
		m := map[Zone]uint32{}
		for range rapid.IntRange(1, 200).Draw(rt, "ops") {
			z := rapid.SampledFrom(crowd).Draw(rt, "zone")
			if rapid.Bool().Draw(rt, "add") {
				if got, want := c.reserve(z, 3), m[z] < 3; got != want {
					rt.Fatalf("reserve %d: %v", z, got)
				} else if got {
					m[z]++
				}
			} else if m[z] > 0 {
				c.release(z)
				if m[z]--; m[z] == 0 {
					delete(m, z)
				}
			}
			if c.used != len(m) {
				rt.Fatalf("%d zones, want %d", c.used, len(m))
			}
		}
		for z, n := range m {
			if got := c.slots[c.find(z)]; got.n != n {
				rt.Fatalf("zone %d: %d, want %d", z, got.n, n)
			}
		}
	}
	for range 10 {
		rapid.Check(t, check)
	}
}

// TestSpread is RES-05 in small: neighbouring flows spread over buckets and
// shards like random ones, whatever the secret.
func TestSpread(t *testing.T) {
	const n = 1 << 14
	require.NotEqual(t, newSecret(), newSecret())
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var s secret
		for i := range s {
			s[i] = r.Uint64()
		}
		buckets, shards := map[uint32]int{}, map[uint64]int{}
		for i := range n {
			out, _ := flow(i)
			var k key
			k.set(0, Local, &out.Tuple, 0, 0)
			h := s.hash(&k)
			buckets[uint32(h)%n]++
			shards[h>>60]++
		}
		worst := 0
		for _, c := range buckets {
			worst = max(worst, c)
		}
		require.LessOrEqual(t, worst, 12)
		require.InDelta(t, n*(1-1/math.E), len(buckets), n/100)
		for _, c := range shards {
			require.InDelta(t, n/16, c, n/64)
		}
	}
}

func TestAllocs(t *testing.T) {
	ends := 0
	tb := NewTable(Options{MaxEntries: 1000, MaxPerZone: 900, OnEnd: func(*Entry, End) { ends++ }})
	for i := range 2000 { // slabs and zones have their size
		out, _ := flow(i)
		tb.Commit(0, 0, Local, out, 1, 1)
	}
	tb.Flush(0, 0)
	out, in := flow(1)
	syn := tcp(inside+":1", outside+":2", "S")
	bad := tcp(inside+":1", outside+":2", "F")
	about := icmpError(outside, inside, 3, out)
	tb.Commit(0, 0, Local, out, 1, 1)
	c := tb.Track(0, 0, Remote, in)
	var now Time
	for name, f := range map[string]func(){
		"hit":     func() { tb.Track(now, 0, Remote, in) },
		"miss":    func() { tb.Track(now, 1, Remote, in) },
		"invalid": func() { tb.Track(now, 0, Remote, bad) },
		"related": func() { tb.Track(now, 0, Remote, about) },
		"remark":  func() { tb.Remark(c, 1, 1) },
		"commit": func() {
			c, _ := tb.Commit(now, 3, Local, syn, 1, 1)
			_ = tb.CommitTo(now, 3, Local, syn, 1, 1, &c)
			tb.Delete(now, c)
		},
		"evict": func() {
			for i := range 1000 {
				out.Tuple.SrcPort = uint16(i)
				tb.Commit(now, 4, Remote, out, 1, 1)
			}
			tb.DeleteTuple(now, 4, out.Tuple)
		},
		"sweep":  func() { tb.Sweep(now, 1000) },
		"update": func() { tb.Update(now, func(e *Entry) (Mark, uint32, bool) { return e.Mark, e.Epoch, true }) },
		"fragment": func() {
			tb.CommitFragment(now, 0, Local, piece1, nil, true, 0)
			tb.TrackFragment(now, 0, Local, piece2)
		},
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
	require.NotZero(t, ends)
}

var piece1, piece2 = piece(1, 0, 64, true), piece(1, 64, 70, false)

// TestConcurrent runs every method at once; the race detector looks on. Each
// entry must end once.
func TestConcurrent(t *testing.T) {
	var mu sync.Mutex
	ended := map[string]int{}
	tb := NewTable(Options{MaxEntries: 300, MaxPerZone: 100, Shards: 4, OnEnd: func(e *Entry, why End) {
		mu.Lock()
		ended[fmt.Sprint(e.Zone, e.Mark)]++
		mu.Unlock()
	}})
	var wg sync.WaitGroup
	var clock, marks struct {
		sync.Mutex
		n int64
	}
	next := func(c *struct {
		sync.Mutex
		n int64
	}, d int64) int64 {
		c.Lock()
		defer c.Unlock()
		c.n += d
		return c.n
	}
	for w := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 4000 {
				now := Time(next(&clock, int64(time.Millisecond)*r.Int64N(20)))
				out, in := flow(r.IntN(200))
				z := Zone(r.IntN(4))
				switch r.IntN(40) {
				case 0:
					tb.Sweep(now, 100)
				case 1:
					tb.Flush(now, z)
				case 2:
					tb.Update(now, func(e *Entry) (Mark, uint32, bool) { return e.Mark, e.Epoch + 1, e.Mark%7 != 0 })
				case 3:
					for range tb.All(now) {
						tb.Len()
						tb.Stats()
					}
				case 4:
					tb.DeleteTuple(now, z, out.Tuple)
				case 6:
					tb.SetZone(z, ZoneOptions{Liberal: r.IntN(2) == 0, MaxEntries: r.IntN(100)})
				case 7:
					tb.Adopt(now, time.Second, 10)
				case 8, 9, 10, 11:
					batch := make([]packet.Packet, 40)
					for i := range batch {
						p, _ := flow(r.IntN(200))
						if i%3 == 0 {
							p = tcp(inside+":1", outside+":2", "A")
						}
						batch[i] = *p
					}
					tb.TrackBatch(now, z, Local, batch, make([]Conn, len(batch)))
				case 12:
					p := tcp(inside+":1", outside+":2", "S")
					tb.Commit(now, z, Local, p, Mark(next(&marks, 1)), 1)
				case 5:
					tb.CommitFragment(now, z, Local, piece(uint32(r.IntN(9)), 0, 64, true), nil, true, 1)
					tb.Track(now, z, Local, piece(uint32(r.IntN(9)), 64, 70, false))
				default:
					if c := tb.Track(now, z, Local, out); c.State == New {
						tb.Commit(now, z, Local, out, Mark(next(&marks, 1)), 1)
					} else if r.IntN(20) == 0 {
						tb.Delete(now, c)
					} else if r.IntN(20) == 0 {
						tb.Remark(c, c.Mark, 2)
					}
					tb.Track(now, z, Remote, in)
				}
			}
		})
	}
	wg.Wait()
	for z := range Zone(4) {
		tb.Flush(Time(clock.n), z)
	}
	require.Zero(t, tb.Len())
	s := tb.Stats()
	require.Equal(t, s.Insert, s.Expired+s.EarlyDrop+s.Delete)
	require.Len(t, ended, int(s.Insert))
	for e, n := range ended {
		require.Equal(t, 1, n, e)
	}
}

// TestCommitRace commits one flow from many goroutines: one entry, and all get
// it.
func TestCommitRace(t *testing.T) {
	for range 200 {
		tb := NewTable(Options{MaxEntries: 16})
		var wg sync.WaitGroup
		conns := make([]Conn, 4)
		for i := range conns {
			wg.Go(func() {
				out, _ := flow(1)
				conns[i], _ = tb.Commit(0, 0, Local, out, Mark(i+1), 1)
			})
		}
		wg.Wait()
		require.Equal(t, 1, tb.Len())
		require.Equal(t, uint64(3), tb.Stats().InsertFailed)
		for _, c := range conns {
			require.Equal(t, conns[0].ref, c.ref)
			require.Equal(t, conns[0].Mark, c.Mark)
		}
		for e := range tb.All(0) {
			require.Equal(t, uint64(4), e.Packets[Original])
		}
	}
}
