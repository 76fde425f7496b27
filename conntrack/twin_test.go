package conntrack

import (
	"math/rand/v2"
	"slices"
	"testing"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// twins are two tables that do the same for the same calls, chance included: the
// plain one counts every place when it is taken and has no short forms.
type twins struct {
	rt          *rapid.T
	fast, plain *Table
	said        [2][]any // what callbacks were told
	now         Time
	opened      []twin
}

// twin is what both said of a packet that was committed.
type twin struct {
	zone        Zone
	side        Side
	p           packet.Packet
	fast, plain Conn
}

func newTwins(rt *rapid.T, o Options) *twins {
	w := &twins{rt: rt}
	make := func(i int) *Table {
		o.OnPressure = func(p Pressure) { w.said[i] = append(w.said[i], p) }
		o.OnEnd = func(e *Entry, why End) { w.said[i] = append(w.said[i], *e, why) }
		return NewTable(o)
	}
	w.fast, w.plain = make(0), make(1)
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "chance"), 1)) // so that a failure comes again
	for i := range w.fast.secret {
		w.fast.secret[i] = r.Uint64()
	}
	w.plain.secret = w.fast.secret
	w.plain.count.calm = 0
	for i := range w.plain.shards {
		w.fast.shards[i].random = r.Uint64() | 1
		w.plain.shards[i].random = w.fast.shards[i].random
	}
	return w
}

// commit commits p, after a look at it if track is set.
func (w *twins) commit(z Zone, from Side, p *packet.Packet, m Mark, track bool) {
	var fast, plain Conn
	if track {
		fast, plain = w.fast.Track(w.now, z, from, p), w.plain.trackAny(w.now, z, from, p)
		w.same(fast, plain)
		if fast.State == Invalid {
			return
		}
	}
	errs := [2]error{w.fast.CommitTo(w.now, z, from, p, m, uint32(m)+1, &fast)}
	plain, errs[1] = w.plain.commitAny(w.now, z, from, p, m, uint32(m)+1)
	if errs[0] != errs[1] {
		w.rt.Fatalf("%v, want %v", errs[0], errs[1])
	}
	w.same(fast, plain)
	w.opened = append(w.opened, twin{z, from, *p, fast, plain})
}

func (w *twins) same(fast, plain Conn) {
	if fast != plain {
		w.rt.Fatalf("%+v, want %+v", fast, plain)
	}
}

func (w *twins) check(t *testing.T) {
	if !slices.Equal(w.said[0], w.said[1]) {
		i := 0
		for i < min(len(w.said[0]), len(w.said[1])) && w.said[0][i] == w.said[1][i] {
			i++
		}
		w.rt.Fatalf("after %d told %+v, want %+v", i, w.said[0][i:min(i+1, len(w.said[0]))], w.said[1][i:min(i+1, len(w.said[1]))])
	}
	w.said = [2][]any{}
	if a, b := w.fast.Stats(), w.plain.Stats(); a != b {
		w.rt.Fatalf("%+v, want %+v", a, b)
	}
	if a, b := slices.Collect(w.fast.All(w.now)), slices.Collect(w.plain.All(w.now)); !slices.Equal(a, b) {
		w.rt.Fatalf("%v, want %v", a, b)
	}
	for i := range w.fast.shards {
		a, b := &w.fast.shards[i], &w.plain.shards[i]
		require.Equal(t, b.index.buckets, a.index.buckets)
		require.Equal(t, b.random, a.random)
		for kind := range a.slabs {
			for at, n := uint32(0), a.slabs[kind].used; at < n; at++ {
				id := (at+1)<<1 | uint32(kind)
				if a.at(id).live() {
					require.Equal(t, b.deadline(id), a.deadline(id))
					if kind == numberTCP {
						require.Equal(t, *b.atTCP(id), *a.atTCP(id))
					}
				}
			}
		}
	}
	audit(t, w.fast)
	audit(t, w.plain)
}

// TestCommitTwins: the short forms of Commit, and places that are held in
// advance, change nothing that anybody sees.
func TestCommitTwins(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{
			MaxEntries:   rapid.SampledFrom([]int{20, 600, 800, 1500, 1 << 16}).Draw(rt, "max"),
			MaxPerZone:   rapid.SampledFrom([]int{0, 0, 150, 400}).Draw(rt, "perZone"),
			Shards:       rapid.SampledFrom([]int{1, 2}).Draw(rt, "shards"),
			Shares:       rapid.SampledFrom([]Shares{{}, whole, {TCP: 60, UDP: 60, ICMP: 1, Other: 1}}).Draw(rt, "shares"),
			TCPLoose:     rapid.Bool().Draw(rt, "loose"),
			MaxFragments: 1,
		}
		w := newTwins(rt, o)
		if rapid.Bool().Draw(rt, "tight") { // keys move
			n := rapid.IntRange(2, 60).Draw(rt, "buckets")
			for i := range w.fast.shards {
				for _, x := range []*index{&w.fast.shards[i].index, &w.plain.shards[i].index} {
					x.buckets = x.buckets[:min(len(x.buckets), n)]
				}
			}
		}
		packetOf := func(i int) (Side, *packet.Packet) {
			out, in := flow(i)
			syn, synAck, ack := synFlow(i)
			syn.HasScale, syn.Scale, syn.SACKPermitted = i%2 == 0, uint8(i%15), i%3 == 0
			out.Tuple.Src[15] = uint8(1 + i%3) // three addresses inside
			in.Tuple.Dst[15] = out.Tuple.Src[15]
			switch rapid.IntRange(0, 11).Draw(rt, "packet") {
			case 0:
				return Local, out
			case 1:
				return Remote, in
			case 2:
				return Local, synAck
			case 3:
				return Remote, ack
			case 4:
				syn.Data, syn.Seq = 1<<16+7, 1<<32-3
			case 5:
				return Local, icmp(inside, outside, 8, uint16(i))
			case 6:
				return Remote, piece(uint32(i), 0, 64, true)
			case 7:
				r := seg(outside+":1", inside+":443", "R", 1001, 0, 0, 0)
				r.Tuple = syn.Tuple
				return Remote, r
			case 8: // both open
				return Local, seg(inside+":443", outside+":1", "S", 5000, 0, 0, 100)
			case 10:
				return Remote, tcp(outside+":1", inside+":443", "SF")
			case 9:
				syn.Tuple.Family, syn.Tuple.Src[0] = 6, 0xfd
			}
			return Remote, syn
		}
		for range rapid.IntRange(1, 40).Draw(rt, "ops") {
			z := Zone(rapid.IntRange(1, 2).Draw(rt, "zone"))
			switch rapid.IntRange(0, 14).Draw(rt, "op") {
			case 0, 13, 14: // many at once, of both kinds
				from, n := rapid.IntRange(0, 500).Draw(rt, "from"), rapid.IntRange(1, 700).Draw(rt, "n")
				tcp, answered := rapid.Bool().Draw(rt, "tcp"), rapid.IntRange(0, 2).Draw(rt, "answered") == 0
				for i := from; i < from+n; i++ {
					p, in := flow(i)
					side := Local
					if tcp {
						p, in, _ = synFlow(i)
						side = Remote
					}
					w.commit(z, side, p, Mark(i), i%2 == 0)
					if answered {
						w.same(w.fast.Track(w.now, z, side.other(), in), w.plain.trackAny(w.now, z, side.other(), in))
					}
				}
			case 1:
				w.now += second * Time(rapid.IntRange(0, 60).Draw(rt, "seconds"))
			case 2:
				n := rapid.IntRange(0, 1000).Draw(rt, "sweep")
				if a, b := w.fast.Sweep(w.now, n), w.plain.Sweep(w.now, n); a != b {
					rt.Fatalf("%d, want %d", a, b)
				}
			case 3:
				o := ZoneOptions{Liberal: rapid.Bool().Draw(rt, "liberal"), MaxEntries: rapid.SampledFrom([]int{0, 10, 300, 1 << 20}).Draw(rt, "limit")}
				w.fast.SetZone(z, o)
				w.plain.SetZone(z, o)
			case 4:
				if rapid.Bool().Draw(rt, "flush") {
					w.fast.Flush(w.now, z)
					w.plain.Flush(w.now, z)
				}
			case 5:
				if len(w.opened) != 0 {
					c := w.opened[rapid.IntRange(0, len(w.opened)-1).Draw(rt, "conn")]
					w.fast.Delete(w.now, c.fast)
					w.plain.Delete(w.now, c.plain)
				}
			case 6, 7: // a Conn of earlier, or one of another packet
				if len(w.opened) != 0 {
					c := w.opened[rapid.IntRange(0, len(w.opened)-1).Draw(rt, "conn")]
					if rapid.IntRange(0, 3).Draw(rt, "other") == 0 {
						side, p := packetOf(rapid.IntRange(0, 5).Draw(rt, "flow"))
						c.zone, c.side, c.p = z, side, *p
					}
					err := w.fast.CommitTo(w.now, c.zone, c.side, &c.p, 7, 8, &c.fast)
					plain, want := w.plain.commitAny(w.now, c.zone, c.side, &c.p, 7, 8)
					if err != want {
						rt.Fatalf("%v, want %v", err, want)
					}
					w.same(c.fast, plain)
				}
			case 8: // a life, or a part of it, and a SYN
				i := rapid.IntRange(10, 20).Draw(rt, "life")
				syn, synAck, ack := synFlow(i)
				fin, back, last := *ack, *synAck, *ack
				fin.Flags, back.Flags, last.Seq = packet.FIN|packet.ACK, packet.FIN|packet.ACK, 1002
				back.Seq, back.Ack, back.SACK = 5001, 1002, 1002
				last.Ack, last.SACK = 5002, 5002
				if rapid.Bool().Draw(rt, "acked") {
					back.Flags = packet.ACK
				}
				w.commit(z, Remote, syn, 1, true)
				steps := []*packet.Packet{synAck, ack, &fin, &back, &last}
				for _, p := range steps[:rapid.IntRange(0, len(steps)).Draw(rt, "steps")] {
					side := Remote
					if p.Tuple != syn.Tuple {
						side = Local
					}
					w.same(w.fast.Track(w.now, z, side, p), w.plain.trackAny(w.now, z, side, p))
				}
				w.now += second * Time(rapid.IntRange(0, 40).Draw(rt, "later"))
				again := *syn
				again.Seq, again.Window = rapid.SampledFrom([]uint32{1000, 900, 70_000}).Draw(rt, "seq"), 77
				again.Data, again.Length = rapid.SampledFrom([]uint32{0, 10}).Draw(rt, "data"), 50
				again.HasScale, again.Scale = true, 3
				for range rapid.IntRange(1, 3).Draw(rt, "times") {
					w.commit(z, Remote, &again, 2, true)
				}
				if rapid.Bool().Draw(rt, "answer") {
					back := *synAck
					back.Seq, back.Ack = 9000, endOf(&again)
					w.same(w.fast.Track(w.now, z, Local, &back), w.plain.trackAny(w.now, z, Local, &back))
				}
			default:
				side, p := packetOf(rapid.IntRange(0, 5).Draw(rt, "flow"))
				w.commit(z, side, p, Mark(rapid.IntRange(0, 9).Draw(rt, "mark")), rapid.Bool().Draw(rt, "track"))
			}
		}
		w.check(t)
	})
}

// TestCommitForeign: a Conn of another table is no more than none.
func TestCommitForeign(t *testing.T) {
	big, tb := NewTable(Options{Shards: 64}), NewTable(Options{MaxEntries: 10, Shards: 1})
	for i := range 1000 {
		syn, _, _ := synFlow(i)
		c, err := big.Commit(0, 1, Remote, syn, 1, 1)
		require.NoError(t, err)
		require.NoError(t, tb.CommitTo(0, 1, Remote, syn, 2, 2, &c))
		require.Equal(t, New, c.State)
		require.Equal(t, Mark(2), c.Mark)
	}
	audit(t, tb)
}

// TestCommitKnown: a connection is found wherever its key lies.
func TestCommitKnown(t *testing.T) {
	away := 0
	for range 20 { // every one with a secret of its own
		tb := NewTable(Options{MaxEntries: 100, Shards: 1, Shares: whole})
		s := &tb.shards[0]
		s.index.buckets = s.index.buckets[:7]
		for i := range 45 {
			syn, _, _ := synFlow(i)
			_, err := tb.Commit(0, 1, Remote, syn, 1, 1)
			require.NoError(t, err)
		}
		for i := range s.index.buckets {
			away += int(s.index.buckets[i][2] >> 32)
		}
		for i := range 45 {
			syn, _, _ := synFlow(i)
			c, err := tb.Commit(0, 1, Remote, syn, 2, 2)
			require.NoError(t, err)
			require.Equal(t, Established, c.State)
			require.Equal(t, Mark(1), c.Mark)
		}
		audit(t, tb)
	}
	require.NotZero(t, away)
}
