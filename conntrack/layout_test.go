package conntrack

import (
	"math/rand/v2"
	"testing"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestPacked: what an entry holds of a connection of TCP is all that the state
// machine asks for. The same segments go through one that lies unpacked and one
// that is packed and unpacked between any two.
func TestPacked(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		liberal := rapid.Bool().Draw(rt, "liberal")
		word := rapid.SampledFrom([]uint32{0, 1, 999, 1000, 1001, 1002, 5000, 5001, 1<<32 - 2, 70_000})
		draw := func() *packet.Packet {
			return &packet.Packet{
				Flags: rapid.SampledFrom(universe.flags).Draw(rt, "flags"),
				Seq:   word.Draw(rt, "seq"), Ack: word.Draw(rt, "ack"), SACK: word.Draw(rt, "sack"),
				Window: rapid.Uint16().Draw(rt, "window"), Data: rapid.Uint32Range(0, 70_000).Draw(rt, "data"),
				HasScale: rapid.Bool().Draw(rt, "scales"), Scale: rapid.Uint8Range(0, 14).Draw(rt, "scale"),
				SACKPermitted: rapid.Bool().Draw(rt, "permits"),
			}
		}
		first := draw()
		first.Flags = rapid.SampledFrom([]uint8{packet.SYN, packet.ACK}).Draw(rt, "first")
		plain := tcpConn{status: StatusSynSent}
		if first.Flags == packet.ACK {
			plain.status, plain.flags = StatusEstablished, flagLoose
		}
		plain.window.start(first)
		// An entry of a table, for the short form finds it there.
		syn := tcp(outside+":1", inside+":443", "S")
		table := NewTable(Options{MaxEntries: 16, Shards: 1})
		c, err := table.Commit(1, 0, Remote, syn, 1, 1)
		if err != nil {
			rt.Fatal(err)
		}
		s := &table.shards[0]
		e, number := s.atTCP(c.ref.id), s.atTCP(c.ref.id).local&localMask
		e.local, e.flags, e.packets = number, plain.flags, [2]uint32{5, 6}
		e.store(&plain)
		counted := [2]uint32{5, 6}
		for range rapid.IntRange(1, 12).Draw(rt, "segments") {
			d, p := Dir(rapid.IntRange(0, 1).Draw(rt, "dir")), draw()
			want := plain.tcp(&plain.window, d, p, liberal)
			if d == Reply && want != refused {
				plain.flags |= flagSeenReply
			}
			got := moved
			l, h := Lane{table: table, from: Side(d), any: true}, head{}
			p.Tuple = syn.Tuple
			if d == Reply {
				p.Tuple = reverse(syn.Tuple)
			}
			if !h.of(&l, p) {
				rt.Fatalf("no head of %+v", p)
			}
			follows := uint32(0)
			if h.may&mayFollow != 0 {
				follows, _, _, _ = l.follow(table.clock.now.Load(), &h, s, c.ref.id)
			}
			if follows != 0 {
				counted[d]++
			} else {
				var c tcpConn
				e.load(&c)
				if got = c.tcp(&c.window, d, p, liberal); got != refused && got != reopens {
					e.store(&c)
				}
			}
			if d == Reply && got != refused {
				e.flags |= flagSeenReply
			}
			if got != want || e.status() != plain.status || e.flags != plain.flags {
				rt.Fatalf("%v %+v: packed %v %v %b, unpacked %v %v %b", d, p, got, e.status(), e.flags, want, plain.status, plain.flags)
			}
		}
		if e.local&localMask != number || e.packets[0]&countMask != counted[0] || e.packets[1]&countMask != counted[1] {
			rt.Fatal("neighbours damaged")
		}
	})
}

// TestQuick: the short form is for whole packets of TCP and UDP.
func TestQuick(t *testing.T) {
	for proto := range 256 {
		for _, family := range []uint8{0, 4, 5, 6, 7} {
			for _, fragment := range []bool{false, true} {
				p := &packet.Packet{Tuple: Tuple{Proto: uint8(proto), Family: family}, Fragment: fragment}
				want := (proto == 6 || proto == 17) && (family == 4 || family == 6) && !fragment
				require.Equal(t, want, quick(p), "%d, %d, %v", proto, family, fragment)
			}
		}
	}
}

// TestShortForm: the short form takes an acknowledgement of an established
// connection that both ends have acknowledged, if its numbers fit, at every edge of
// the windows, and then does what the long one does; it does nothing otherwise.
func TestShortForm(t *testing.T) {
	check := func(rt *rapid.T) {
		u32 := rapid.SampledFrom([]uint32{0, 1, 77, 1000, 65_999, 66_000, 66_001, 1 << 20})
		c := tcpConn{status: StatusEstablished, flags: flagSeenReply | flagAssured}
		for d := range c.of {
			base := rapid.SampledFrom([]uint32{0, 5, 1 << 30, 1<<32 - 5, 1<<32 - 70_000}).Draw(rt, "base")
			c.of[d] = endpoint{end: base, maxEnd: base + u32.Draw(rt, "room"), maxWin: max(1, u32.Draw(rt, "window")), maxAck: rapid.SampledFrom([]uint32{0, 3}).Draw(rt, "acked")}
			c.opts[d] = options(rapid.SampledFrom([]uint8{0, 1, 7, 14}).Draw(rt, "scale"))
			if rapid.Bool().Draw(rt, "SACK") {
				c.opts[d] |= optSACK
			}
			if rapid.Bool().Draw(rt, "acked before") {
				c.opts[d] |= optAcked
				c.of[d].maxAck = c.of[1-d].end // corrected below for d 0
			}
		}
		c.of[0].maxAck = c.of[1].end
		syn := tcp(outside+":1", inside+":443", "S")
		table := NewTable(Options{MaxEntries: 16, Shards: 1, MaxFragments: 1})
		conn, err := table.Commit(1, 0, Remote, syn, 1, 1)
		if err != nil {
			rt.Fatal(err)
		}
		s := &table.shards[0]
		e := s.atTCP(conn.ref.id)
		e.flags, e.packets = c.flags, [2]uint32{5, 6}
		e.store(&c)
		d := Dir(rapid.IntRange(0, 1).Draw(rt, "dir"))
		snd, rcv := c.of[d], c.of[1-d]
		p := &packet.Packet{Tuple: syn.Tuple, Flags: packet.ACK, Window: rapid.SampledFrom([]uint16{0, 1, 1000, 65535}).Draw(rt, "window")}
		off := rapid.SampledFrom([]uint32{0, 0, 1, 2, 1<<32 - 1, 1<<32 - 2})
		p.Seq = off.Draw(rt, "seq off") + rapid.SampledFrom([]uint32{snd.end, snd.maxEnd, snd.end - rcv.maxWin}).Draw(rt, "seq")
		p.Ack = off.Draw(rt, "ack off") + rapid.SampledFrom([]uint32{rcv.end, rcv.end - max(snd.maxWin, 66_000)}).Draw(rt, "ack")
		p.SACK = p.Ack + rapid.SampledFrom([]uint32{0, 0, 1, 10}).Draw(rt, "sack")
		p.Data = rapid.SampledFrom([]uint32{0, 0, 1, 1000}).Draw(rt, "data")
		if d == Reply {
			p.Tuple = reverse(syn.Tuple)
		}
		want := c
		fits := want.window.meet(StatusEstablished, d, p) == fitInside && c.opts[d]&optAcked != 0 && p.SACK == p.Ack
		before := *e
		l, h := Lane{table: table, from: Side(d), any: true}, head{}
		got := h.of(&l, p) && h.may&mayFollow != 0
		if got {
			w, _, _, _ := l.follow(table.clock.now.Load(), &h, s, conn.ref.id)
			got = w != 0
		}
		switch {
		case got != fits:
			rt.Fatalf("taken: %v; it fits: %v", got, fits)
		case !got:
			if *e != before {
				rt.Fatalf("%+v, was %+v", *e, before)
			}
		default:
			want.window.note(d, segAck, p)
			want.lastAck = 0 // which an entry does not keep
			var is tcpConn
			e.load(&is)
			if is.lastAck = 0; is != want {
				rt.Fatalf("%+v, want %+v", is, want)
			}
		}
	}
	for range 50 {
		rapid.Check(t, check)
	}
}

// TestBatch: a batch says what its packets say one after the other.
func TestBatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{MaxEntries: 1024, Shards: 2, MaxFragments: 8, TCPLoose: rapid.Bool().Draw(rt, "loose")}
		single, batch := NewTable(o), NewTable(o)
		var pkts []packet.Packet
		for range rapid.IntRange(0, 150).Draw(rt, "packets") {
			i := rapid.IntRange(0, 5).Draw(rt, "flow")
			syn, synAck, ack := synFlow(i)
			u, v := flow(i)
			p := rapid.SampledFrom([]*packet.Packet{
				syn, synAck, ack, u, v, tcp(outside+":1", inside+":443", "FA"), icmp(inside, outside, 8, uint16(i)), icmp(outside, inside, 0, uint16(i)),
				icmpError(outside, inside, 3, u), {}, piece(uint32(i), 64, 70, false), icmp("fe80::1", "ff02::1", 135, 0),
			}).Draw(rt, "packet")
			pkts = append(pkts, *p)
		}
		for _, from := range []Side{Local, Remote} {
			for i := range pkts {
				if rapid.IntRange(0, 3).Draw(rt, "open") == 0 {
					a, _ := single.Commit(0, 1, from, &pkts[i], 1, 1)
					b, _ := batch.Commit(0, 1, from, &pkts[i], 1, 1)
					if a.ref = b.ref; a != b { // their secrets differ, and so do the shards
						rt.Fatalf("%+v, %+v", a, b)
					}
				}
			}
			out := make([]Conn, len(pkts))
			batch.TrackBatch(second, 1, from, pkts, out)
			for i := range pkts {
				want := single.Track(second, 1, from, &pkts[i])
				if want.Tracked() != out[i].Tracked() {
					rt.Fatalf("%d", i)
				}
				if want.ref = out[i].ref; want != out[i] {
					rt.Fatalf("%d: %+v, want %+v", i, out[i], want)
				}
			}
			if a, b := single.Stats(), batch.Stats(); a != b {
				rt.Fatalf("%+v, want %+v", b, a)
			}
		}
	})
}

// TestCountsSpill: counters beyond what an entry holds are exact.
func TestCountsSpill(t *testing.T) {
	tb := NewTable(Options{})
	out, in := flow(1)
	c, _ := tb.Commit(0, 0, Local, out, 1, 1)
	s := &tb.shards[c.ref.shard]
	e := s.at(c.ref.id)
	e.packets[Original], e.bytes[Original] = countMask, 1<<32-1
	for range 3 {
		tb.Track(0, 0, Local, out)
		in.Length = 1<<32 - 1
		tb.Track(0, 0, Remote, in)
	}
	for e := range tb.All(0) {
		require.Equal(t, [2]uint64{1<<24 + 2, 3}, e.Packets)
		require.Equal(t, [2]uint64{1<<32 - 1 + 300, 3 * (1<<32 - 1)}, e.Bytes)
	}
	require.EqualValues(t, 1<<24+4, tb.Stats().Found)
	tb.Flush(0, 0)
	require.EqualValues(t, 1<<24+4, tb.Stats().Found)
	require.Empty(t, s.spill.m)
	_, _ = tb.Commit(0, 0, Local, out, 1, 1)
	for e := range tb.All(0) {
		require.Equal(t, [2]uint64{1, 0}, e.Packets, "the slot's next has its own")
	}
}

// TestCountsOfAll: counters of any protocol are exact where those of an entry end,
// and what an entry can hold by itself costs nothing else.
func TestCountsOfAll(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoICMP, packet.ProtoSCTP, 47} {
		for _, size := range []uint32{0, 1, 100, 1<<32 - 1} {
			tb := NewTable(Options{MaxEntries: 16, Shards: 1, MaxFragments: 1})
			out, in := flow(1)
			out.Tuple.SrcPort, out.Tuple.DstPort, out.Tuple.Proto, out.ICMPType, out.Length = 0, 0, proto, icmpEcho, size
			*in = *out
			in.Tuple, in.ICMPType = reverse(out.Tuple), icmpEchoReply
			_, err := tb.Commit(0, 0, Local, out, 1, 1)
			require.NoError(t, err)
			for n := uint64(1); n < 5; n++ {
				require.Equal(t, Established, tb.Track(0, 0, Remote, in).State)
				require.Equal(t, Established, tb.Track(0, 0, Local, out).State)
				for e := range tb.All(0) {
					require.Equal(t, [2]uint64{n + 1, n}, e.Packets)
					require.Equal(t, [2]uint64{(n + 1) * uint64(size), n * uint64(size)}, e.Bytes)
				}
				require.Equal(t, size > 100, len(tb.shards[0].spill.m) > 0)
			}
		}
	}
}

// TestCountsOfTCP: what lies beside a counter stays what it was when the counter
// overflows: the options of both ends, and how long the connection lives.
func TestCountsOfTCP(t *testing.T) {
	for _, d := range []Dir{Original, Reply} {
		g := newGate()
		syn, synAck := seg(client, server, "S", 1000, 0, 0, 1000), seg(server, client, "SA", 5000, 1001, 0, 1000)
		syn.HasScale, syn.Scale, synAck.HasScale, synAck.Scale = true, 7, true, 5
		g.out(syn)
		g.in(synAck)
		c := g.Track(0, 0, Local, seg(client, server, "A", 1001, 5001, 0, 1000))
		s := &g.shards[c.ref.shard]
		e := s.at(c.ref.id)
		before := [2]options{e.options(Original), e.options(Reply)}
		require.NotEqual(t, before[0], before[1])
		e.packets[d] |= countMask
		for range 3 {
			g.now += 100 * second
			require.Equal(t, "A", g.out(seg(client, server, "A", 1001, 5001, 0, 1000)))
			require.Equal(t, "A", g.in(seg(server, client, "A", 5001, 1001, 0, 1000)))
		}
		require.Equal(t, before, [2]options{e.options(Original), e.options(Reply)})
		for e := range g.All(g.now) {
			require.Equal(t, uint64(1<<24+2), e.Packets[d])
			require.Equal(t, g.now+Time(Timeouts{}.withDefaults().TCPEstablished), e.Expires)
		}
		require.Equal(t, "D", g.in(seg(server, client, "A", 5001+1000<<8, 1001, 1, 1000)))
		require.Equal(t, "A", g.in(seg(server, client, "A", 5001+1000<<7-1, 1001, 1, 1000)), "scaled")
	}
	// A datagram's too.
	tb := NewTable(Options{})
	out, in := flow(1)
	c, _ := tb.Commit(0, 0, Local, out, 1, 1)
	tb.Track(0, 0, Remote, in)
	tb.shards[c.ref.shard].at(c.ref.id).packets = [2]uint32{countMask, countMask}
	for i := range Time(3) {
		tb.Track((i+1)*100*second, 0, Local, out)
		tb.Track((i+1)*100*second, 0, Remote, in)
	}
	for e := range tb.All(300 * second) {
		require.Equal(t, 420*second, e.Expires)
		require.Equal(t, [2]uint64{1<<24 + 2, 1<<24 + 2}, e.Packets)
	}
	require.Equal(t, 1, tb.Len())
}

// TestIndexFull fills an index to its last slots, so that entries are displaced,
// and takes them out again.
func TestIndexFull(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 200, Shards: 1, Shares: whole})
	s := &tb.shards[0]
	s.index.buckets = s.index.buckets[:11]
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		in := map[int]bool{}
		for i := range 110 {
			n := r.IntN(5000)
			if admit(tb, 0, 1, n) {
				in[n] = true
			}
			require.Equal(t, len(in), tb.Len(), i)
		}
		for n := range in {
			require.True(t, complete(tb, 0, 1, n))
		}
		require.Greater(t, len(in), 90)
		require.Equal(t, len(in), tb.Flush(0, 1))
	}
	require.NotZero(t, s.index.moves.Load())
	for _, b := range s.index.buckets {
		for i := range bucketSlots {
			require.Zero(t, b.tag(i))
		}
		require.Zero(t, b[2], "nobody is away")
	}
	require.Equal(t, uint32(1), s.locals.used)
}
