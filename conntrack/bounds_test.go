package conntrack

import (
	"math/rand/v2"
	"testing"
	"time"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
)

// synFlow returns the segments of a handshake of the i-th of many connections to
// a service inside.
func synFlow(i int) (syn, synAck, ack *packet.Packet) {
	client, server := outside+":1", inside+":443"
	syn = seg(client, server, "S", 1000, 0, 0, 8192)
	synAck = seg(server, client, "SA", 5000, 1001, 0, 8192)
	ack = seg(client, server, "A", 1001, 5001, 0, 8192)
	for _, p := range []*packet.Packet{syn, ack} {
		p.Tuple.SrcPort, p.Tuple.Src[12], p.Tuple.Src[13] = uint16(i), byte(i>>24), byte(i>>16)
	}
	synAck.Tuple = reverse(syn.Tuple)
	return syn, synAck, ack
}

// admit opens the i-th connection from outside and reports whether it got in.
func admit(tb *Table, now Time, z Zone, i int) bool {
	syn, _, _ := synFlow(i)
	c := tb.Track(now, z, Remote, syn)
	if c.State == New {
		_, err := tb.Commit(now, z, Remote, syn, 1, 1)
		return err == nil
	}
	return c.State == Established
}

// complete answers the i-th connection and reports whether it is established.
func complete(tb *Table, now Time, z Zone, i int) bool {
	_, synAck, ack := synFlow(i)
	return tb.Track(now, z, Local, synAck).State == Established && tb.Track(now, z, Remote, ack).State == Established
}

// TestSYNFlood is RES-01: 25 forged SYNs come for every genuine one, whose
// answer comes only after as many packets as the half-open ones have places.
// Nothing established goes, and a genuine connection gets in as often as chance
// allows: it lives through n evictions among n with probability 1/e.
func TestSYNFlood(t *testing.T) {
	const limit, established, overload, rounds = 4096, 1000, 25, 4000
	pressure := 0
	tb := NewTable(Options{MaxEntries: limit, OnPressure: func(Pressure) { pressure++ }})
	for i := range established {
		require.True(t, admit(tb, 0, 1, i))
		require.True(t, complete(tb, 0, 1, i))
	}
	delay := (limit*90/100 - established) * 3 / 4 / (overload + 1)
	forged, genuine, in := 1_000_000, 2_000_000, 0
	for r := range rounds {
		for range overload {
			forged++
			admit(tb, 0, 1, forged)
		}
		admit(tb, 0, 1, genuine+r)
		if back := r - delay; back >= 0 && complete(tb, 0, 1, genuine+back) {
			in++
			_, synAck, _ := synFlow(genuine + back)
			rst := seg(outside+":1", inside+":443", "R", 1001, 0, 0, 0) // it is short
			rst.Tuple = reverse(synAck.Tuple)
			require.Equal(t, Established, tb.Track(0, 1, Remote, rst).State)
		}
		require.LessOrEqual(t, tb.Len(), limit)
	}
	for i := range established {
		_, _, ack := synFlow(i)
		require.Equal(t, Established, tb.Track(0, 1, Remote, ack).State, "established flow lost")
	}
	tried := rounds - delay
	share := 100 * in / tried
	t.Logf("%d of %d genuine connections (%d %%) at %d times as many forged SYNs", in, tried, share, overload)
	require.GreaterOrEqual(t, share, 35)
	require.Equal(t, 2, pressure, "of the class and of the table, once each, though both stay full")
}

// TestNoisyNeighbour is RES-04 under flood: a zone never has more than its cap,
// and the others get every new connection.
func TestNoisyNeighbour(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 2000, MaxPerZone: 500, Shares: whole, OnEnd: func(e *Entry, _ End) { require.Equal(t, Zone(1), e.Zone) }})
	tb.SetZone(1, ZoneOptions{MaxEntries: 300})
	for i := range 20_000 {
		require.True(t, admit(tb, 0, 1, i), "the newest gets in")
		if i%20 == 0 {
			require.True(t, admit(tb, 0, 2+Zone(i/20%3), 1_000_000+i/60))
		}
	}
	count := map[Zone]int{}
	for e := range tb.All(0) {
		count[e.Zone]++
	}
	require.Equal(t, map[Zone]int{1: 300, 2: 334, 3: 333, 4: 333}, count)

	// A lower limit: new ones take old ones with them until the zone is down to it.
	tb.SetZone(1, ZoneOptions{MaxEntries: 100})
	require.Equal(t, 1300, tb.Len())
	for i := range 200 {
		admit(tb, 0, 1, 100_000+i)
	}
	require.Equal(t, 1100, tb.Len())
	tb.SetZone(1, ZoneOptions{})
	require.True(t, admit(tb, 0, 1, 99_998))
	require.Equal(t, 1101, tb.Len())
}

// TestShares is RES-02: answered UDP, which never goes for another connection,
// cannot fill the table.
func TestShares(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 1000})
	refused := 0
	for i := range 2000 {
		out, in := flow(i)
		if _, err := tb.Commit(0, 1, Local, out, 1, 1); err != nil {
			refused++
			continue
		}
		tb.Track(0, 1, Remote, in)
	}
	require.Equal(t, 500, tb.Len())
	require.Equal(t, 1500, refused)
	for i := range 500 {
		require.True(t, admit(tb, 0, 1, i))
		require.True(t, complete(tb, 0, 1, i))
	}
	require.Equal(t, 1000, tb.Len())
	require.Equal(t, []string{"tcp", "udp", "icmp", "other"}, []string{ClassTCP.String(), ClassUDP.String(), ClassICMP.String(), ClassOther.String()})
	require.Equal(t, Shares{TCP: 90, UDP: 50, ICMP: 10, Other: 100}, Shares{Other: 200}.withDefaults())
}

func TestPressure(t *testing.T) {
	var said []Pressure
	tb := NewTable(Options{MaxEntries: 100, MaxPerZone: 50, OnPressure: func(p Pressure) { said = append(said, p) }})
	fill := func(z Zone, from, to int) {
		for i := from; i < to; i++ {
			require.True(t, admit(tb, 0, z, i))
		}
	}
	fill(1, 0, 44)
	require.Empty(t, said)
	fill(1, 44, 46)
	zone := Pressure{Bound: BoundZone, Zone: 1, Entries: 45, Limit: 50, High: true}
	require.Equal(t, []Pressure{zone}, said)
	fill(2, 0, 40)
	class := Pressure{Bound: BoundClass, Entries: 81, Limit: 90, High: true}
	require.Equal(t, []Pressure{zone, class}, said)
	for i := range 5 {
		out, _ := flow(i)
		tb.Commit(0, 3, Local, out, 1, 1)
	}
	table := Pressure{Entries: 90, Limit: 100, High: true}
	require.Equal(t, []Pressure{zone, class, table}, said)

	// Room again, but each only below four fifths.
	said = nil
	tb.Flush(0, 1)
	require.ElementsMatch(t, []Pressure{
		{Bound: BoundZone, Zone: 1, Entries: 39, Limit: 50},
		{Bound: BoundClass, Entries: 71, Limit: 90},
		{Entries: 79, Limit: 100},
	}, said)
	require.Equal(t, []string{"table", "class", "zone"}, []string{BoundTable.String(), BoundClass.String(), BoundZone.String()})
}

// TestZoneLiberal: numbers refuse nothing in a zone that is liberal, for
// connections that exist too.
func TestZoneLiberal(t *testing.T) {
	tb := NewTable(Options{})
	_, _, far := synFlow(1)
	far.Seq = 900_000
	for _, z := range []Zone{1, 2} {
		require.True(t, admit(tb, 0, z, 1))
		require.True(t, complete(tb, 0, z, 1))
		require.Equal(t, Invalid, tb.Track(0, z, Remote, far).State)
	}
	tb.SetZone(1, ZoneOptions{Liberal: true})
	require.Equal(t, Established, tb.Track(0, 1, Remote, far).State)
	require.Equal(t, Invalid, tb.Track(0, 2, Remote, far).State)
	far.Tuple.SrcPort = 2 // opened after
	require.True(t, admit(tb, 0, 1, 2))
	require.True(t, complete(tb, 0, 1, 2))
	require.Equal(t, Established, tb.Track(0, 1, Remote, far).State)
	tb.SetZone(1, ZoneOptions{})
	require.Equal(t, Invalid, tb.Track(0, 1, Remote, far).State)
}

func TestAdopt(t *testing.T) {
	tb := NewTable(Options{})
	middle := func(now Time, i int) State {
		_, _, ack := synFlow(i)
		c := tb.Track(now, 1, Remote, ack)
		if c.State == New {
			c, _ = tb.Commit(now, 1, Remote, ack, 1, 1)
		}
		return c.State
	}
	require.Equal(t, Invalid, middle(0, 1), "off by default")
	tb.Adopt(second, 10*time.Second, 3)
	for i := range 3 {
		require.Equal(t, New, middle(2*second, i))
		require.Equal(t, Established, middle(2*second, i))
	}
	require.Equal(t, Invalid, middle(2*second, 9), "no more than that")
	require.EqualValues(t, 3, tb.Stats().Adopted)
	for e := range tb.All(2 * second) {
		require.True(t, e.Adopted)
		require.False(t, e.Assured)
	}
	require.True(t, admit(tb, 2*second, 1, 20))
	tb.Adopt(3*second, 10*time.Second, 100)
	require.Equal(t, New, middle(12*second, 4))
	require.Equal(t, Invalid, middle(13*second, 5), "no longer than that")
	tb.Adopt(20*second, time.Hour, 100)
	tb.Adopt(20*second, 0, 0)
	require.Equal(t, Invalid, middle(20*second, 6))
	require.EqualValues(t, 4, tb.Stats().Adopted)
}

// TestAdoptNoRoom: who finds no room takes nothing of what Adopt allows, and gives
// nothing back that it has not taken.
func TestAdoptNoRoom(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 2, Shards: 1, Shares: whole})
	for i := range 2 {
		require.True(t, admit(tb, 0, 1, i))
		require.True(t, complete(tb, 0, 1, i))
	}
	adopt := func(i int) error {
		_, _, ack := synFlow(i)
		_, err := tb.Commit(0, 1, Remote, ack, 1, 1)
		return err
	}
	tb.Adopt(0, time.Minute, 1)
	for i := range 5 {
		require.ErrorIs(t, adopt(10+i), ErrFull)
		require.False(t, admit(tb, 0, 1, 20+i), "nor is there room for others")
	}
	require.Equal(t, 2, tb.Flush(0, 1))
	require.NoError(t, adopt(10))
	require.Equal(t, 1, tb.Len())
	require.NoError(t, adopt(11))
	require.Equal(t, 1, tb.Len(), "one was allowed")
	require.Equal(t, uint64(1), tb.Stats().Adopted)
}

// TestHashFlood is RES-05, by counting what a search looks at: tuples that an
// attacker chose against the index, without its secret, cost no more than random
// ones.
func TestHashFlood(t *testing.T) {
	const n = 20_000
	var unseeded secret
	mine := NewTable(Options{MaxEntries: 2 * n, Shards: 1})
	cost := func(keys []key) (p99, most int) {
		tb := NewTable(Options{MaxEntries: 2 * n, Shards: 1, Shares: whole})
		s := &tb.shards[0]
		for i := range keys {
			s.mu.Lock()
			_, ok := s.insert(1, &keys[i], tb.secret.hash(&keys[i]), place{}, StatusUnreplied, Remote, &packet.Packet{}, 0, 0)
			s.mu.Unlock()
			require.True(t, ok)
		}
		hist := map[int]int{}
		for i := range keys {
			c := s.index.looks(tb.secret.hash(&keys[i]))
			hist[c]++
			most = max(most, c)
		}
		for left := n / 100; left > 0; p99-- {
			if p99 == 0 {
				p99 = most + 1
			}
			left -= hist[p99-1]
		}
		return p99, most
	}
	r := rand.New(rand.NewPCG(3, 4))
	random := make([]key, 0, n)
	chosen := make([]key, 0, n)
	for len(chosen) < n || len(random) < n {
		var k key
		k.proto, k.family = packet.ProtoUDP, 4
		for i := range 4 {
			k.remote[12+i] = byte(r.Uint32())
		}
		k.rport, k.lport = uint16(r.Uint32()), 53
		if len(random) < n {
			random = append(random, k)
			continue
		}
		// One of 64 buckets, if the hash had no secret.
		if mine.shards[0].index.home(unseeded.hash(&k))%64 == 0 {
			chosen = append(chosen, k)
		}
	}
	p99, most := cost(random)
	q99, worst := cost(chosen)
	t.Logf("lines and entries looked at: random p99 %d, most %d; chosen p99 %d, most %d", p99, most, q99, worst)
	require.LessOrEqual(t, q99, 2*p99)
	require.LessOrEqual(t, worst, 2*most)
}

// TestEvictionIsFair: of connections that are alike, those go as often as there are
// of them, whatever their protocol.
func TestEvictionIsFair(t *testing.T) {
	for _, tcp := range []int{100, 500, 900} {
		gone := map[uint8]int{}
		tb := NewTable(Options{MaxEntries: 1000, Shards: 1, Shares: whole, OnEnd: func(e *Entry, why End) {
			require.Equal(t, EndEvicted, why)
			gone[e.Orig.Proto]++
		}})
		for i := range 1000 {
			if i < tcp {
				require.True(t, admit(tb, 0, 1, i))
				continue
			}
			out, _ := flow(i)
			_, err := tb.Commit(0, 1, Local, out, 1, 1)
			require.NoError(t, err)
		}
		for i := range 400 { // what goes is replaced by its like
			before := gone[packet.ProtoTCP]
			out, _ := flow(10_000 + i)
			c, err := tb.Commit(0, 1, Local, out, 1, 1)
			require.NoError(t, err)
			if gone[packet.ProtoTCP] != before {
				tb.onEnd = nil
				require.True(t, tb.Delete(0, c))
				tb.onEnd = func(e *Entry, _ End) { gone[e.Orig.Proto]++ }
				require.True(t, admit(tb, 0, 1, 10_000+i))
			}
		}
		require.InDelta(t, 400*tcp/1000, gone[packet.ProtoTCP], 80, "%d of 1000", tcp)
	}
}

// TestChance: where eviction looks is chosen anew every time, in each shard and
// each table otherwise.
func TestChance(t *testing.T) {
	seen := map[uint64]bool{}
	for range 3 {
		tb := NewTable(Options{MaxEntries: 100, Shards: 4, MaxFragments: 1})
		for range 50 {
			for i := range tb.shards {
				n := tb.shards[i].chance()
				require.False(t, seen[n])
				seen[n] = true
			}
		}
	}
	high := 0 // halves of the range, from which places are reduced
	for n := range seen {
		if n>>63 == 1 {
			high++
		}
	}
	require.InDelta(t, 300, high, 100)
}

// looks counts the buckets and entries that a search for a hash looks at, if it
// finds nothing.
func (x *index) looks(h uint64) (n int) {
	b, tag := x.home(h), tagOf(h)
	for range 2 {
		n++
		for i := range bucketSlots {
			if x.buckets[b].tag(i) == tag {
				n++
			}
		}
		if x.buckets[b][2]&awayMask == 0 {
			break
		}
		b = x.other(b, tag)
	}
	return n
}
