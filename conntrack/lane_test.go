package conntrack

import (
	"encoding/binary"
	"slices"
	"testing"

	"example.com/secgroup/conntrack/packet"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// wire is a packet to build: see bytes.
type wire struct {
	six              bool
	src, dst         byte // last byte of the address
	sport, dport     uint16
	proto            uint8
	flags            uint8
	seq, ack         uint32
	window           uint16
	options          []byte // of TCP, a multiple of four
	payload, padding int
}

// bytes returns w as it comes from an interface. Its checksums are 0.
func (w *wire) bytes() []byte {
	be := binary.BigEndian
	d := make([]byte, headerUDP+w.payload)
	if w.proto == packet.ProtoTCP {
		d = make([]byte, headerTCP+len(w.options)+w.payload)
		be.PutUint32(d[4:], w.seq)
		be.PutUint32(d[8:], w.ack)
		d[12], d[13] = uint8((headerTCP+len(w.options))/4)<<4, w.flags
		be.PutUint16(d[14:], w.window)
		copy(d[headerTCP:], w.options)
	} else {
		be.PutUint16(d[4:], uint16(len(d)))
	}
	be.PutUint16(d, w.sport)
	be.PutUint16(d[2:], w.dport)
	var h []byte
	if w.six {
		h = make([]byte, header6)
		h[0], h[6], h[7] = 6<<4, w.proto, 64
		be.PutUint16(h[4:], uint16(len(d)))
		h[8], h[23], h[24], h[39] = 0xfd, w.src, 0xfd, w.dst
	} else {
		h = make([]byte, header4)
		h[0], h[8], h[9] = 4<<4|5, 64, w.proto
		be.PutUint16(h[2:], uint16(len(h)+len(d)))
		h[12], h[15], h[16], h[19] = 10, w.src, 10, w.dst
	}
	return append(append(h, d...), make([]byte, w.padding)...)
}

var (
	stamp = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	sacks = []byte{1, 1, 5, 10, 0, 0, 5, 0, 0, 0, 9, 0}
	offer = []byte{2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1}
)

// voice is who says something of TCP. What the tests remember of it is the number
// that it sends next.
type voice struct {
	six  bool
	host byte
	port uint16
}

// drawWire draws a packet between two hosts and the side that sends it, likely
// one that means something to what went before.
func drawWire(t *rapid.T, said map[voice]uint32) ([]byte, Side) {
	from := Side(rapid.IntRange(0, 1).Draw(t, "from"))
	port := rapid.Uint16Range(1, 2).Draw(t, "port")
	w := wire{
		six: rapid.Bool().Draw(t, "six"), src: 7, dst: 5, sport: port, dport: 443,
		proto: rapid.SampledFrom([]uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP}).Draw(t, "proto"),
	}
	if from == Local {
		w.src, w.dst, w.sport, w.dport = w.dst, w.src, w.dport, w.sport
	}
	me, other := voice{w.six, w.src, w.sport}, voice{w.six, w.dst, w.dport}
	if w.proto == packet.ProtoTCP {
		w.flags = rapid.SampledFrom([]uint8{
			packet.ACK, packet.ACK, packet.ACK, packet.ACK | packet.PSH, packet.SYN, packet.SYN | packet.ACK, packet.SYN | packet.ACK,
			packet.FIN | packet.ACK, packet.RST, packet.ACK | packet.URG, packet.SYN | packet.ECE | packet.CWR, 0,
		}).Draw(t, "flags")
		w.options = rapid.SampledFrom([][]byte{nil, nil, stamp, sacks, offer, make([]byte, 12), stamp[:8]}).Draw(t, "options")
		w.window = rapid.SampledFrom([]uint16{8192, 8192, 1000, 0, 1}).Draw(t, "window")
		w.payload = rapid.SampledFrom([]int{0, 0, 100, 1000}).Draw(t, "payload")
		off := rapid.SampledFrom([]uint32{0, 0, 0, 0, 1, 1<<32 - 1, 500, 9000, 1 << 31}).Draw(t, "off")
		w.seq, w.ack = said[me]+off, said[other]
		if rapid.IntRange(0, 9).Draw(t, "strays") == 0 {
			w.ack += off
		}
		end := w.seq + uint32(w.payload)
		if w.flags&(packet.SYN|packet.FIN) != 0 {
			end++
		}
		if off == 0 {
			said[me] = end
		}
	} else {
		w.payload = rapid.IntRange(0, 40).Draw(t, "payload")
	}
	w.padding = rapid.SampledFrom([]int{0, 0, 6}).Draw(t, "padding")
	b := w.bytes()
	switch rapid.IntRange(0, 7).Draw(t, "harm") {
	case 0: // any byte of the headers
		b[rapid.IntRange(0, min(len(b), 64)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	case 1:
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "cut")]
	}
	return b, from
}

// TestLane: a lane says what the table says of the decoded packet, or that it
// does not know and then has changed nothing. One by one and in batches.
func TestLane(t *testing.T) {
	followed := 0
	until(t, func() bool { return followed != 0 }, func(rt *rapid.T) {
		o := Options{
			MaxEntries: 256, Shards: 2, TCPLoose: rapid.Bool().Draw(rt, "loose"), TCPLiberal: rapid.Bool().Draw(rt, "liberal"),
			Timeouts: Timeouts{TCPEstablished: 100 * 1e9, UDP: 10 * 1e9, UDPStream: 20 * 1e9},
		}
		plain, lanes := NewTable(o), NewTable(o)
		now, epoch, said := Time(1), uint32(1), map[voice]uint32{}
		for range rapid.IntRange(1, 40).Draw(rt, "batches") {
			now += Time(rapid.SampledFrom([]int{0, 0, 1, 3, 15, 150}).Draw(rt, "seconds")) * second
			if rapid.IntRange(0, 15).Draw(rt, "epoch") == 0 {
				epoch++
			}
			var batch [][]byte
			b, from := drawWire(rt, said)
			batch = append(batch, b)
			for range rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(rt, "more") {
				if b, f := drawWire(rt, said); f == from {
					batch = append(batch, b)
				}
			}
			l := lanes.Lane(1, from, epoch)
			var looked Batch
			staged := rapid.Bool().Draw(rt, "staged")
			if staged {
				l.Look(now, &looked, batch)
			}
			for i, b := range batch {
				var p packet.Packet
				err := packet.Decode(b, &p)
				before := lines(lanes, now)
				var is State
				var m Mark
				if staged {
					is, m = l.TrackAt(&looked, i)
				} else {
					is, m = l.Track(now, b)
				}
				if err != nil {
					if is != Invalid {
						rt.Fatalf("%v: %v", err, is)
					}
					continue
				}
				want := plain.Track(now, 1, from, &p)
				switch {
				case is == Invalid:
					require.Equal(rt, before, lines(lanes, now))
					got := lanes.Track(now, 1, from, &p)
					if got.ref = want.ref; got != want {
						rt.Fatalf("%+v, want %+v", got, want)
					}
				case is != want.State || m != want.Mark || is == Established && (want.Epoch != epoch || p.Flags&packet.SYN != 0):
					rt.Fatalf("%v %d, want %+v", is, m, want)
				case is == Established:
					followed++
				}
				if want.State == New || want.State == Established && want.Dir == Original && opens(&p) {
					mark := Mark(rapid.IntRange(1, 9).Draw(rt, "mark"))
					a, e1 := plain.Commit(now, 1, from, &p, mark, epoch)
					b, e2 := lanes.Commit(now, 1, from, &p, mark, epoch)
					if a.ref = b.ref; a != b || e1 != e2 {
						rt.Fatalf("%+v %v, want %+v %v", b, e2, a, e1)
					}
				}
			}
			require.Equal(rt, lines(plain, now), lines(lanes, now))
			require.Equal(rt, plain.Stats(), lanes.Stats())
		}
	})
}

// until checks a property again until it has met what it is about.
func until(t *testing.T, met func() bool, property func(*rapid.T)) {
	for range 100 {
		if rapid.Check(t, property); met() {
			return
		}
	}
	t.Fatal("never met")
}

// lines returns the entries of t, and what of their windows cannot be seen
// there, in an order of their own.
func lines(t *Table, now Time) []any {
	type line struct {
		e Entry
		c tcpConn
	}
	var out []line
	for e := range t.All(now) {
		l := line{e: e}
		if e.Orig.Proto == packet.ProtoTCP {
			var k key
			k.set(e.Zone, e.OrigSide, &e.Orig, 0, 0)
			h := t.secret.hash(&k)
			at, id, w := t.shard(h).find(&k, h)
			t.shard(h).atTCP(id).load(&l.c)
			at.unlock(w)
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b line) int {
		return slices.Compare([]byte(a.e.Orig.String()), []byte(b.e.Orig.String()))
	})
	list := make([]any, len(out))
	for i := range out {
		list[i] = out[i]
	}
	return list
}

// TestHead: what a lane reads of a packet is what is read of it decoded, and what
// it does not read is not whole, not plain, not TCP or UDP, or suspect.
func TestHead(t *testing.T) {
	known := 0
	until(t, func() bool { return known != 0 }, func(rt *rapid.T) {
		b, from := drawWire(rt, map[voice]uint32{})
		known += checkHead(rt, b, from)
	})
}

// fataler is of testing and of rapid.
type fataler interface{ Fatalf(string, ...any) }

func checkHead(t fataler, b []byte, from Side) (known int) {
	table := NewTable(Options{MaxEntries: 16, Shards: 1})
	l := table.Lane(3, from, 1)
	var p packet.Packet
	var got, want head
	err := packet.Decode(b, &p)
	if !l.read(b, &got) {
		return 0
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !want.of(&l, &p) {
		t.Fatalf("no head of %+v", p)
	}
	if p.Odd != 0 {
		t.Fatalf("odd: %+v", p)
	}
	var k key
	k.set(3, from, &p.Tuple, p.ICMPType, p.ICMPCode)
	if got.hash != table.secret.hash(&k) {
		t.Fatalf("hash %x of %+v", got.hash, p)
	}
	if got.may&mayFollow == 0 { // these are not used
		got.seq, got.ack, got.data, got.window = want.seq, want.ack, want.data, want.window
		if want.may == mayFollow { // options other than timestamps
			want.may = 0
		}
	}
	if p.Tuple.Proto == packet.ProtoUDP {
		got.seq, got.ack, got.data, got.window = 0, 0, 0, 0
	}
	if got.may&^want.may != 0 {
		t.Fatalf("may %b, want %b: %+v", got.may, want.may, p)
	}
	if got.may = want.may; got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	return 1
}

// FuzzHead is TestHead for any bytes.
func FuzzHead(f *testing.F) {
	for _, w := range []wire{
		{src: 1, dst: 2, proto: packet.ProtoTCP, flags: packet.ACK, options: stamp},
		{src: 1, dst: 2, proto: packet.ProtoTCP, flags: packet.SYN, six: true, options: offer},
		{src: 1, dst: 2, proto: packet.ProtoUDP, payload: 3, padding: 9},
	} {
		f.Add(w.bytes(), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, local bool) {
		from := Remote
		if local {
			from = Local
		}
		checkHead(t, b, from)
	})
}
