package conntrack

import (
	"sync"
	"testing"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestOpen: a lane opens the connection that Commit opens of the decoded packet,
// or none. One by one, in batches, and in batches that are staged.
func TestOpen(t *testing.T) {
	opened := [3]int{}
	until(t, func() bool { return opened[0] != 0 && opened[1] != 0 && opened[2] != 0 }, func(rt *rapid.T) {
		o := Options{MaxEntries: 12, MaxPerZone: rapid.SampledFrom([]int{0, 9}).Draw(rt, "zone"), Shards: 2, MaxFragments: 1, TCPLoose: rapid.Bool().Draw(rt, "loose")}
		plain, lanes := NewTable(o), NewTable(o)
		// What goes for a new connection is for chance: the same for both.
		lanes.secret = plain.secret
		for i := range plain.shards {
			lanes.shards[i].random = plain.shards[i].random
		}
		now, said := Time(1), map[voice]uint32{}
		for range rapid.IntRange(1, 30).Draw(rt, "batches") {
			now += Time(rapid.SampledFrom([]int{0, 0, 1, 150}).Draw(rt, "seconds")) * second
			b, from := drawWire(rt, said)
			batch := [][]byte{b}
			for range rapid.SampledFrom([]int{0, 3, 8}).Draw(rt, "more") {
				if b, f := drawWire(rt, said); f == from {
					batch = append(batch, b)
				}
			}
			zone, way := Zone(rapid.Uint32Range(1, 2).Draw(rt, "zone")), rapid.IntRange(0, 2).Draw(rt, "way")
			l := lanes.Lane(zone, from, 3)
			var looked Batch
			if way != 0 {
				l.Look(now, &looked, batch)
			}
			if way == 2 {
				l.Stage(&looked, rapid.Uint64().Draw(rt, "opens"))
			}
			for i, b := range batch {
				var p packet.Packet
				err := packet.Decode(b, &p)
				before := lines(lanes, now)
				got := Invalid
				if way == 0 {
					got = l.Open(now, b, Mark(i))
				} else {
					got = l.OpenAt(&looked, i, b, Mark(i))
				}
				if got == Invalid && err == nil {
					_, e1 := lanes.Commit(now, zone, from, &p, Mark(i), 3)
					_, e2 := plain.Commit(now, zone, from, &p, Mark(i), 3)
					require.Equal(rt, e2, e1)
				} else if got == Invalid {
					require.Equal(rt, before, lines(lanes, now))
				} else {
					opened[way]++
					c, err := plain.Commit(now, zone, from, &p, Mark(i), 3)
					if got != New || c.State != New || !c.Tracked() || err != nil {
						rt.Fatalf("%v, want %+v %v", got, c, err)
					}
				}
			}
			require.Equal(rt, lines(plain, now), lines(lanes, now))
			require.Equal(rt, plain.Stats(), lanes.Stats())
		}
		audit(rt, lanes)
	})
}

// TestOpenAtOther: what was looked for by another lane, or is no packet of the
// last Look, is opened by none: the index would not find it again.
func TestOpenAtOther(t *testing.T) {
	syn := (&wire{src: 7, dst: 5, sport: 1, dport: 443, proto: packet.ProtoTCP, flags: packet.SYN, options: offer}).bytes()
	first, other := NewTable(Options{Shards: 1}), NewTable(Options{Shards: 1})
	l := first.Lane(1, Remote, 3)
	_, err := first.Commit(1, 1, Remote, tcp("10.0.0.7:2", "10.0.0.5:443", "S"), 1, 3) // the local end is known
	require.NoError(t, err)
	var b Batch
	require.Equal(t, Invalid, l.OpenAt(&b, 0, syn, 1), "nothing was looked for")
	l.Look(1, &b, [][]byte{syn, syn})
	for _, o := range []Lane{{}, other.Lane(1, Remote, 3), first.Lane(2, Remote, 3), first.Lane(1, Local, 3), first.Lane(1, Remote, 4)} {
		o.Stage(&b, 1<<64-1)
		require.Equal(t, Invalid, o.OpenAt(&b, 0, syn, 1))
	}
	for n := range len(syn) {
		require.Equal(t, Invalid, l.OpenAt(&b, 0, syn[:n], 1), "not the packet: %d bytes", n)
	}
	l.Look(1, &b, [][]byte{syn})
	l.Stage(&b, 1<<64-1)
	require.Equal(t, Invalid, l.OpenAt(&b, 1, syn, 1), "of the Look before")
	require.Equal(t, New, l.OpenAt(&b, 0, syn, 1))
	require.Equal(t, Invalid, l.OpenAt(&b, 0, syn, 1), "it has one")
	require.Equal(t, 2, first.Len())
	require.Zero(t, other.Len())
	audit(t, first)
	none := Lane{}
	none.Look(1, &b, [][]byte{syn})
	require.Equal(t, Invalid, none.Open(1, syn, 1))
	require.Equal(t, Invalid, none.OpenAt(&b, 0, syn, 1))
}

// TestOffered: options of a SYN are those that packet.Decode reads.
func TestOffered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.SampledFrom([][]byte{
			{0}, {1}, {2, 4, 5, 180}, {3, 3, 7}, {3, 3, 0}, {3, 3, 200}, {3, 4, 7, 1}, {3, 2}, {4, 2}, {4, 3, 1}, {5, 10, 0, 0, 0, 1, 0, 0, 0, 9},
			{8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {9, 0}, {9, 1}, {9}, {3}, {9, 255}, {1, 1, 8, 10},
		})
		var o []byte
		for range rapid.IntRange(0, 8).Draw(rt, "parts") {
			o = append(o, part.Draw(rt, "part")...)
		}
		o = append(o, rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, "more")...)
		for o = o[:min(len(o), 40)]; len(o)%4 != 0; {
			o = append(o, 0)
		}
		flags := rapid.SampledFrom([]uint8{packet.SYN, packet.SYN | packet.ECE | packet.CWR, packet.SYN | packet.URG}).Draw(rt, "flags")
		var p packet.Packet
		if err := packet.Decode((&wire{src: 1, dst: 2, proto: packet.ProtoTCP, flags: flags, options: o}).bytes(), &p); err != nil {
			rt.Fatal(err)
		}
		if got, want := offered(o), optionsOf(&p); got != want {
			rt.Fatalf("%b, want %b, of %v", got, want, o)
		}
	})
}

// TestOpenTogether: lanes that open the same connections, and that stage, do not
// disturb each other, those who forget, nor those who follow: one of them has it, and
// nothing is lost.
func TestOpenTogether(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 4096, Shards: 2, MaxFragments: 1, Shares: whole})
	var frames [][]byte
	for i := range uint16(BatchSize) {
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			frames = append(frames, (&wire{src: 7, dst: 5, sport: i, dport: 443, proto: proto, flags: packet.SYN, options: offer}).bytes())
		}
	}
	var wg sync.WaitGroup
	var opened, deleted [4]int
	for w := range opened {
		wg.Go(func() {
			l, b := tb.Lane(1, Remote, 3), new(Batch)
			for round := range 200 {
				some := frames[(round+w)%2*BatchSize:][:BatchSize]
				l.Look(1, b, some)
				l.Stage(b, 1<<64-1)
				for i, f := range some {
					var p packet.Packet
					if err := packet.Decode(f, &p); err != nil {
						t.Error(err)
					}
					if is, _ := l.TrackAt(b, i); is == New && l.OpenAt(b, i, f, 1) == New {
						opened[w]++
						continue
					}
					c, err := tb.Commit(1, 1, Remote, &p, 1, 3)
					if err != nil {
						t.Error(err)
					} else if c.State == New {
						opened[w]++
					}
					if (i+w)%3 == 0 && tb.Delete(1, c) {
						deleted[w]++
					}
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for w := range opened {
		sum += opened[w] - deleted[w]
	}
	require.Equal(t, sum, tb.Len())
	require.NotZero(t, deleted)
	audit(t, tb)
}
