package conntrack

import (
	"testing"
	"time"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// piece returns a fragment of a UDP datagram: bytes from..to, more to come.
func piece(id uint32, from, to int, more bool) *packet.Packet {
	p := udp(inside+":4000", outside+":80")
	p.Fragment, p.FragID, p.FragOffset, p.FragSize, p.MoreFrags = true, id, uint16(from/8), uint16(to-from), more
	p.Length = uint32(20 + to - from)
	if from != 0 {
		p.L4, p.Tuple.SrcPort, p.Tuple.DstPort = 0, 0, 0
	}
	return p
}

func TestFragments(t *testing.T) {
	const zone, mark = 3, 42
	type frag struct {
		from, to int
		more     bool
		want     FragVerdict
	}
	const u, a, d, o = FragUnknown, FragAccept, FragDrop, FragOverlap
	for _, tc := range []struct {
		name   string
		accept bool
		pieces []frag
	}{
		{"in order", true, []frag{{0, 64, true, a}, {64, 128, true, a}, {128, 130, false, a}}},
		{"out of order", true, []frag{{0, 64, true, a}, {128, 130, false, a}, {64, 128, true, a}}},
		{"refused", false, []frag{{0, 64, true, d}, {64, 128, true, d}, {0, 64, true, d}, {128, 130, false, d}}},
		{"FRAG-02", true, []frag{{0, 64, true, a}, {8, 64, false, o}, {64, 128, false, o}, {0, 64, true, o}}},
		{"FRAG-03", true, []frag{{0, 64, true, a}, {64, 128, true, a}, {120, 136, false, o}, {136, 140, false, o}}},
		{"FRAG-04", true, []frag{{0, 64, true, a}, {0, 64, true, a}, {64, 70, false, a}, {64, 70, false, a}}},
		{"FRAG-06", true, []frag{{64, 128, true, u}, {128, 130, false, u}}},
		{"FRAG-06/late first", true, []frag{{64, 128, false, u}, {0, 64, true, a}, {64, 128, false, a}}},
		{"FRAG-07", true, []frag{{0, 64, true, a}, {65528, 65540, false, d}, {64, 70, false, a}}},
		{"FRAG-07/the last byte", true, []frag{{0, 64, true, a}, {65528, 65536, false, d}, {65528, 65535, false, a}}},
		{"FRAG-08", true, []frag{{0, 64, true, a}, {64, 128, false, a}, {128, 136, false, o}, {64, 128, false, o}}},
		{"FRAG-08/shorter", true, []frag{{0, 64, true, a}, {128, 136, false, a}, {64, 72, false, o}, {72, 128, true, o}}},
		{"FRAG-08/more at the end", true, []frag{{0, 64, true, a}, {64, 72, false, a}, {64, 72, true, o}}},
		{"FRAG-08/more past the last", true, []frag{{0, 64, true, a}, {64, 72, true, a}, {64, 72, false, o}}},
		{"FRAG-10", true, []frag{{0, 64, true, a}, {64, 64, false, d}, {64, 70, false, a}}},
		{"inside another", true, []frag{{0, 64, true, a}, {64, 128, true, a}, {72, 80, true, o}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tb := NewTable(Options{})
			for i, f := range tc.pieces {
				p := piece(1, f.from, f.to, f.more)
				if f.from == 0 {
					require.Equal(t, f.want, tb.CommitFragment(0, zone, Local, p, nil, tc.accept, mark), "piece %d", i)
					continue
				}
				got, m := tb.TrackFragment(0, zone, Local, p)
				require.Equal(t, f.want, got, "piece %d", i)
				require.Equal(t, f.want == a, m == mark)

				// Track says the same; a duplicate of what passed does not hurt.
				c := tb.Track(0, zone, Local, p)
				require.Equal(t, f.want == a, c == Conn{State: Established, Opener: Local, Mark: mark}, "%+v", c)

				// FRAG-16 and its like: nobody else's fragments.
				for _, g := range []struct {
					z    Zone
					side Side
					id   uint32
				}{{4, Local, 1}, {zone, Remote, 1}, {zone, Local, 2}} {
					q := *p
					q.FragID = g.id
					got, _ := tb.TrackFragment(0, g.z, g.side, &q)
					require.Equal(t, u, got)
				}
			}
		})
	}
}

// TestFragmentTwoFirsts is FRAG-05: the copy that is judged is the copy that is
// delivered.
func TestFragmentTwoFirsts(t *testing.T) {
	tb := NewTable(Options{})
	good, evil := piece(1, 0, 64, true), piece(1, 0, 64, true)
	evil.Tuple.DstPort = 22
	require.Equal(t, FragDrop, tb.CommitFragment(0, 0, Local, evil, nil, false, 0))
	require.Equal(t, FragOverlap, tb.CommitFragment(0, 0, Local, good, nil, true, 0))
	v, _ := tb.TrackFragment(0, 0, Local, piece(1, 64, 70, false))
	require.Equal(t, FragOverlap, v)

	good.FragID, evil.FragID = 2, 2
	require.Equal(t, FragAccept, tb.CommitFragment(0, 0, Local, good, nil, true, 0))
	require.Equal(t, FragOverlap, tb.CommitFragment(0, 0, Local, evil, nil, false, 0))

	// The number of a complete datagram may be used again.
	good.FragID, evil.FragID = 3, 3
	require.Equal(t, FragAccept, tb.CommitFragment(0, 0, Local, good, nil, true, 5))
	v, _ = tb.TrackFragment(0, 0, Local, piece(3, 64, 70, false))
	require.Equal(t, FragAccept, v)
	require.Equal(t, FragDrop, tb.CommitFragment(0, 0, Local, evil, nil, false, 6))
	v, _ = tb.TrackFragment(0, 0, Local, piece(3, 64, 70, false))
	require.Equal(t, FragDrop, v)
}

// TestFragmentIPv6 shows that the next header field of trailing fragments does
// not matter for IPv6 and does for IPv4.
func TestFragmentIPv6(t *testing.T) {
	for _, family := range []uint8{4, 6} {
		tb := NewTable(Options{})
		first, rest := piece(1, 0, 64, true), piece(1, 64, 70, false)
		first.Tuple.Family, rest.Tuple.Family = family, family
		rest.Tuple.Proto = 60
		tb.CommitFragment(0, 0, Local, first, nil, true, 0)
		v, _ := tb.TrackFragment(0, 0, Local, rest)
		require.Equal(t, family == 6, v == FragAccept)
	}
}

func TestFragmentTime(t *testing.T) {
	tb := NewTable(Options{Timeouts: Timeouts{Fragment: time.Minute}})
	require.Equal(t, FragAccept, tb.CommitFragment(0, 0, Local, piece(1, 0, 64, true), nil, true, 0))
	v, _ := tb.TrackFragment(59*second, 0, Local, piece(1, 64, 128, true))
	require.Equal(t, FragAccept, v)
	v, _ = tb.TrackFragment(60*second, 0, Local, piece(1, 128, 130, false)) // not extended
	require.Equal(t, FragUnknown, v)

	tb.CommitFragment(60*second, 7, Local, piece(1, 0, 64, true), nil, true, 0)
	tb.Flush(60*second, 7)
	v, _ = tb.TrackFragment(60*second, 7, Local, piece(1, 64, 128, true))
	require.Equal(t, FragUnknown, v)
}

// TestFragmentFlood is RES-03: first fragments without end are bounded, per
// zone too, and fail closed, until their time is up.
func TestFragmentFlood(t *testing.T) {
	tb := NewTable(Options{MaxFragments: 32, MaxFragmentsPerZone: 8})
	accepted := 0
	for id := range uint32(100) {
		switch tb.CommitFragment(0, 1, Remote, piece(id, 0, 64, true), nil, true, 0) {
		case FragAccept:
			accepted++
		case FragUnknown:
		default:
			t.Fatal("neither")
		}
	}
	require.Equal(t, 8, accepted)
	require.Equal(t, FragAccept, tb.CommitFragment(0, 2, Remote, piece(1, 0, 64, true), nil, true, 0), "another zone")
	for z := range Zone(40) {
		for id := range uint32(20) {
			tb.CommitFragment(0, z+10, Remote, piece(id, 0, 64, true), nil, true, 0)
		}
	}
	require.Equal(t, FragUnknown, tb.CommitFragment(0, 99, Remote, piece(1, 0, 64, true), nil, true, 0))
	require.Equal(t, FragDrop, tb.CommitFragment(0, 99, Remote, piece(1, 0, 64, true), nil, false, 0))
	v, _ := tb.TrackFragment(0, 1, Remote, piece(0, 64, 70, false)) // complete: may go
	require.Equal(t, FragAccept, v)
	require.Equal(t, FragAccept, tb.CommitFragment(0, 1, Remote, piece(200, 0, 64, true), nil, true, 0))
	require.Equal(t, FragAccept, tb.CommitFragment(30*second, 99, Remote, piece(1, 0, 64, true), nil, true, 0))
	tb.Sweep(60*second, 1000)
	require.Zero(t, tb.frags.zones.used)

	many := NewTable(Options{})
	require.Equal(t, FragAccept, many.CommitFragment(0, 0, Local, piece(1, 0, 8, true), nil, true, 0))
	for i := 1; i < maxSpans; i++ {
		v, _ := many.TrackFragment(0, 0, Local, piece(1, 8*i, 8*i+8, true))
		require.Equal(t, FragAccept, v)
	}
	v, _ = many.TrackFragment(0, 0, Local, piece(1, 8*maxSpans, 8*maxSpans+8, true))
	require.Equal(t, FragOverlap, v)
}

// TestFragmentBytes compares the cache with a byte map: every byte is delivered
// once, or several times by equal pieces, and the length is fixed by the first
// last fragment that comes.
func TestFragmentBytes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tb := NewTable(Options{MaxFragments: 1})
		type span struct {
			from, to int
			more     bool
		}
		owner := map[int]span{}
		length := -1
		poisoned := false
		tb.CommitFragment(0, 0, Local, piece(1, 0, 16, true), nil, true, 0)
		for i := range 16 {
			owner[i] = span{0, 16, true}
		}
		for range rapid.IntRange(1, 12).Draw(rt, "pieces") {
			s := span{from: 8 * rapid.IntRange(1, 8).Draw(rt, "from")}
			s.to = s.from + 8*rapid.IntRange(1, 3).Draw(rt, "size")
			s.more = rapid.IntRange(0, 3).Draw(rt, "last") != 0
			bad := poisoned || length >= 0 && (s.to > length || !s.more && s.to != length)
			for i := range 100 {
				if o, ok := owner[i]; ok && i >= s.from && i < s.to && o != s || ok && !s.more && i >= s.to {
					bad = true
				}
			}
			if s.more && s.to == length {
				bad = true
			}
			got, _ := tb.TrackFragment(0, 0, Local, piece(1, s.from, s.to, s.more))
			if want := map[bool]FragVerdict{true: FragOverlap, false: FragAccept}[bad]; got != want {
				rt.Fatalf("%+v: %v, want %v (%v, length %d)", s, got, want, owner, length)
			}
			poisoned = poisoned || bad
			for i := s.from; i < s.to && !bad; i++ {
				owner[i] = s
			}
			if !bad && !s.more {
				length = s.to
			}
		}
	})
}

// TestFragmentContent is FRAG-05: a second first fragment must carry the same, byte
// for byte, even where no rule and no state looked.
func TestFragmentContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := 8 * rapid.IntRange(1, 20).Draw(t, "size")
		header := rapid.SampledFrom([]int{20, 24, 60, 40, 0}).Draw(t, "header") // whatever stands before it, and if nothing does
		b := rapid.SliceOfN(rapid.Byte(), header+size, header+size).Draw(t, "packet")
		p := piece(1, 0, size, true)
		p.Length = uint32(len(b))
		tb := NewTable(Options{})
		if v := tb.CommitFragment(0, 0, Remote, p, b, true, 1); v != FragAccept {
			t.Fatal(v)
		}
		again := append([]byte(nil), b...)
		if header > 8 {
			again[8]-- // the time to live differs on another path
		}
		if v := tb.CommitFragment(0, 0, Remote, p, append(again, 1, 2), true, 1); v != FragAccept {
			t.Fatal("duplicate", v)
		}
		again[rapid.IntRange(header, len(b)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if v := tb.CommitFragment(0, 0, Remote, p, again, true, 1); v != FragOverlap {
			t.Fatal("other bytes", v)
		}
		if v, _ := tb.TrackFragment(0, 0, Remote, piece(1, size, size+8, false)); v != FragOverlap {
			t.Fatal("the rest", v)
		}
	})
}

// A first fragment that was reserved gets the verdict that it would have got
// without, and nothing of its datagram has one before.
func TestReserveFragment(t *testing.T) {
	t.Run("order", func(t *testing.T) {
		for _, accept := range []bool{false, true} {
			tb := NewTable(Options{})
			first, rest := piece(1, 0, 64, true), piece(1, 64, 70, false)
			require.False(t, tb.ReserveFragment(0, 0, Local, rest, nil), "nothing is reserved")
			require.True(t, tb.ReserveFragment(0, 0, Local, first, nil))
			require.True(t, tb.ReserveFragment(0, 0, Local, first, nil), "twice")
			v, _ := tb.TrackFragment(0, 0, Local, rest)
			require.Equal(t, FragUnknown, v)
			want := map[bool]FragVerdict{false: FragDrop, true: FragAccept}[accept]
			require.Equal(t, want, tb.CommitFragment(0, 0, Local, first, nil, accept, 3))
			v, m := tb.TrackFragment(0, 0, Local, rest)
			require.Equal(t, want, v)
			require.Equal(t, map[bool]Mark{true: 3}[accept], m)
			require.Equal(t, accept, tb.ReserveFragment(0, 0, Local, first, nil), "a duplicate")
		}
	})
	t.Run("kept", func(t *testing.T) {
		tb := NewTable(Options{})
		require.True(t, tb.ReserveFragment(0, 0, Local, piece(1, 0, 64, true), nil))
		require.True(t, tb.ReserveFragment(0, 0, Local, piece(1, 64, 128, true), nil))
		require.True(t, tb.ReserveFragment(0, 0, Local, piece(1, 64, 128, true), nil), "a duplicate")
		require.False(t, tb.ReserveFragment(0, 0, Local, piece(1, 120, 136, true), nil))
		require.Equal(t, FragOverlap, tb.CommitFragment(0, 0, Local, piece(1, 0, 64, true), nil, true, 0))
	})
	t.Run("no room", func(t *testing.T) {
		tb := NewTable(Options{MaxFragments: 1})
		require.True(t, tb.ReserveFragment(0, 0, Local, piece(1, 0, 64, true), nil))
		require.False(t, tb.ReserveFragment(0, 0, Local, piece(2, 0, 64, true), nil), "what waits for its verdict stays")
		require.Equal(t, FragAccept, tb.CommitFragment(0, 0, Local, piece(1, 0, 64, true), nil, true, 0))
	})
	t.Run("whole", func(t *testing.T) {
		require.True(t, NewTable(Options{}).ReserveFragment(0, 0, Local, &packet.Packet{}, nil))
	})
	rapid.Check(t, func(t *rapid.T) {
		plain, reserved := NewTable(Options{MaxFragments: 3}), NewTable(Options{MaxFragments: 3})
		now := Time(0)
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			now += Time(rapid.SampledFrom([]int64{0, 0, 0, 1, 70}).Draw(t, "pause")) * second
			from := 8 * rapid.IntRange(0, 3).Draw(t, "from")
			p := piece(uint32(rapid.IntRange(1, 4).Draw(t, "id")), from, from+8*rapid.IntRange(1, 3).Draw(t, "size"), true)
			p.MoreFrags = from == 0 || rapid.Bool().Draw(t, "more")
			p.Tuple.DstPort = uint16(rapid.IntRange(1, 2).Draw(t, "port"))
			if p.Trailing() {
				p.Tuple.DstPort = 0
				v, m := plain.TrackFragment(now, 0, Local, p)
				if w, n := reserved.TrackFragment(now, 0, Local, p); v != w || m != n {
					t.Fatalf("%v %v, not %v %v", w, n, v, m)
				}
				continue
			}
			accept := rapid.Bool().Draw(t, "accept")
			takes := reserved.ReserveFragment(now, 0, Local, p, nil)
			v, w := plain.CommitFragment(now, 0, Local, p, nil, accept, 1), reserved.CommitFragment(now, 0, Local, p, nil, accept, 1)
			if v != w {
				t.Fatalf("%v, not %v", w, v)
			}
			if accept && takes != (w == FragAccept) {
				t.Fatalf("reserved: %v, then %v", takes, w)
			}
		}
	})
}

// TestFragmentHeader is FRAG-05 for what the table has of a packet without its
// bytes: a second first fragment that differs in one bit of one field is another,
// and so is one with two fields exchanged.
func TestFragmentHeader(t *testing.T) {
	tb := NewTable(Options{MaxEntries: 16, MaxFragments: 1 << 12, MaxFragmentsPerZone: 1 << 12})
	id := uint32(0)
	var first packet.Packet
	begin := func(proto uint8) {
		id++
		first = *piece(id, 0, 64, true)
		first.Tuple.Proto = proto
		first.Seq, first.Ack, first.Data, first.Window, first.Flags = 0x01020304, 0x15161718, 56, 0x4142, packet.ACK
		first.Inner.Tuple, first.Inner.Seq = tuple(packet.ProtoTCP, outside+":80", inside+":9"), 77
	}
	accept := true
	commit := func(p packet.Packet) FragVerdict { return tb.CommitFragment(0, 0, Local, &p, nil, accept, 1) }
	type field struct {
		name string
		bits int
		flip func(p *packet.Packet, bit int)
	}
	fields := []field{
		{"Seq", 32, func(p *packet.Packet, bit int) { p.Seq ^= 1 << bit }},
		{"Ack", 32, func(p *packet.Packet, bit int) { p.Ack ^= 1 << bit }},
		{"Length", 32, func(p *packet.Packet, bit int) { p.Length ^= 1 << bit }},
		{"Data", 32, func(p *packet.Packet, bit int) { p.Data ^= 1 << bit }},
		{"Flags", 8, func(p *packet.Packet, bit int) { p.Flags ^= 1 << bit }},
		{"ICMPType", 8, func(p *packet.Packet, bit int) { p.ICMPType ^= 1 << bit }},
		{"ICMPCode", 8, func(p *packet.Packet, bit int) { p.ICMPCode ^= 1 << bit }},
		{"L4", 16, func(p *packet.Packet, bit int) { p.L4 ^= 1 << bit }},
		{"Window", 16, func(p *packet.Packet, bit int) { p.Window ^= 1 << bit }},
		{"FragSize", 3, func(p *packet.Packet, bit int) { p.FragSize ^= 1 << (bit + 3) }},
		{"SrcPort", 16, func(p *packet.Packet, bit int) { p.Tuple.SrcPort ^= 1 << bit }},
		{"DstPort", 16, func(p *packet.Packet, bit int) { p.Tuple.DstPort ^= 1 << bit }},
		{"Inner.Seq", 32, func(p *packet.Packet, bit int) { p.Inner.Seq ^= 1 << bit }},
		{"Inner.SrcPort", 16, func(p *packet.Packet, bit int) { p.Inner.Tuple.SrcPort ^= 1 << bit }},
		{"Inner.DstPort", 16, func(p *packet.Packet, bit int) { p.Inner.Tuple.DstPort ^= 1 << bit }},
		{"Inner.Src", 128, func(p *packet.Packet, bit int) { p.Inner.Tuple.Src[bit/8] ^= 1 << (bit % 8) }},
		{"Inner.Dst", 128, func(p *packet.Packet, bit int) { p.Inner.Tuple.Dst[bit/8] ^= 1 << (bit % 8) }},
	}
	for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoICMP} {
		for _, f := range fields {
			for bit := range f.bits {
				accept = bit%2 == 0
				want := map[bool]FragVerdict{false: FragDrop, true: FragAccept}[accept]
				begin(proto)
				require.Equal(t, want, commit(first))
				require.Equal(t, want, commit(first), "a duplicate")
				other := first
				f.flip(&other, bit)
				require.Equal(t, FragOverlap, commit(other), "%s, bit %d", f.name, bit)
			}
		}
	}
	accept = true
	for name, swap := range map[string]func(p *packet.Packet){
		"numbers": func(p *packet.Packet) { p.Seq, p.Ack = p.Ack, p.Seq },
		"lengths": func(p *packet.Packet) { p.Length, p.Data = p.Data, p.Length },
		"ports":   func(p *packet.Packet) { p.Tuple.SrcPort, p.Tuple.DstPort = p.Tuple.DstPort, p.Tuple.SrcPort },
		"windows": func(p *packet.Packet) { p.L4, p.Window = p.Window, p.L4 },
		"inner":   func(p *packet.Packet) { p.Inner.Tuple = reverse(p.Inner.Tuple) },
		"flags":   func(p *packet.Packet) { p.Flags, p.ICMPType = p.ICMPType, p.Flags },
		"types":   func(p *packet.Packet) { p.Flags, p.ICMPCode = p.ICMPCode, p.Flags },
		"sizes":   func(p *packet.Packet) { p.Inner.Seq, p.FragSize = uint32(p.FragSize)<<8, 8 },
	} {
		begin(packet.ProtoTCP)
		require.Equal(t, FragAccept, commit(first))
		swap(&first)
		require.Equal(t, FragOverlap, commit(first), name)
	}
}
