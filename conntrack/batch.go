package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// BatchSize is how many packets a [Batch] has room for.
const BatchSize = 64

// Batch holds what [Table.Look] found out about packets that are tracked next.
// The zero Batch is ready to use; reuse it, it is large. It is not safe for
// concurrent use.
type Batch struct {
	zone   Zone
	from   Side
	keys   [BatchSize]key
	hashes [BatchSize]uint64
	kinds  [BatchSize]class
	guess  [BatchSize]uint32
}

// Look prepares for tracking pkts, of which there are at most [BatchSize]: it
// asks the memory for the connections of all of them before anybody needs the
// first. Nothing depends on it but time: TrackAt gives the same results as
// Track, whatever happened in between.
func (t *Table) Look(b *Batch, z Zone, from Side, pkts []packet.Packet) {
	b.zone, b.from = z, from&1
	pkts = pkts[:min(len(pkts), BatchSize)]
	for i := range pkts {
		p := &pkts[i]
		if p.Trailing() {
			b.kinds[i] = classOther
			continue
		}
		b.kinds[i] = b.keys[i].set(z, b.from, &p.Tuple, p.ICMPType, p.ICMPCode)
		b.hashes[i] = t.secret.hash(&b.keys[i])
	}
	// Ask for the buckets, then for what they lead to. The loads do not wait
	// for each other.
	for i := range pkts {
		t.touch(b.hashes[i])
	}
	for i := range pkts {
		b.guess[i] = t.guess(b.hashes[i])
	}
	for i := range pkts {
		t.touchEntry(b.hashes[i], b.guess[i])
	}
}

// TrackAt is [Table.Track] for p, the packet i of the last Look into b.
func (t *Table) TrackAt(now Time, b *Batch, i int, p *packet.Packet) Conn {
	if c := b.kinds[i]; c == classOpener || c == classAnswer {
		return t.track(t.clock.at(now), &b.keys[i], b.hashes[i], c, b.from, p, b.guess[i])
	}
	return t.Track(now, b.zone, b.from, p)
}

// TrackBatch is Track for pkts, one after the other, into out, which is at least
// as long: every result is as if Track had been called for them in that order.
// It is faster where there are many connections; see Look. 16 to 64 packets at a
// time are enough.
func (t *Table) TrackBatch(now Time, z Zone, from Side, pkts []packet.Packet, out []Conn) {
	out = out[:len(pkts)]
	var b Batch
	for len(pkts) > 0 {
		n := min(len(pkts), BatchSize)
		t.Look(&b, z, from, pkts[:n])
		for i := range n {
			out[i] = t.TrackAt(now, &b, i, &pkts[i])
		}
		pkts, out = pkts[n:], out[n:]
	}
}

// touch reads the home bucket of a hash.
func (t *Table) touch(h uint64) {
	x := &t.shards[h>>t.shift].index
	atomic.LoadUint64(&x.buckets[x.home(h)][0])
}

// guess returns a number in the home bucket of a hash that has its tag, 0 if
// there is none.
func (t *Table) guess(h uint64) uint32 {
	x, tag := &t.shards[h>>t.shift].index, tagOf(h)
	at := &x.buckets[x.home(h)]
	for i := range 3 {
		if m := matches(atomic.LoadUint64(&at[i]), tag); m != 0 && i*4+firstLane(m) < bucketSlots {
			return at.number(i*4 + firstLane(m))
		}
	}
	return 0
}

// touchEntry reads the entry of a number.
func (t *Table) touchEntry(h uint64, id uint32) {
	if id>>1 == 0 {
		return
	}
	s := &t.shards[h>>t.shift]
	e := s.at(id)
	atomic.LoadUint32(&e.word)
	if id&numberTCP != 0 {
		s.atTCP(id).touch()
	}
}
