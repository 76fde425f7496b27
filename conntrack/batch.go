package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// BatchSize is how many packets a [Batch] has room for.
const BatchSize = 64

// Batch holds what [Table.Look] found out about packets that are tracked next.
// The zero Batch is ready to use; reuse it. It is not safe for concurrent use.
type Batch struct {
	zone   Zone
	from   Side
	hashes [BatchSize]uint64
	guess  [BatchSize]uint32
}

// Look prepares for tracking pkts, of which there are at most [BatchSize]: it
// asks the memory for the connections of all of them before anybody needs the
// first. Nothing but time depends on it: [Table.TrackAt] says what Track would
// say, whatever happened in between.
func (t *Table) Look(b *Batch, z Zone, from Side, pkts []packet.Packet) {
	b.zone, b.from = z, from&1
	n := min(len(pkts), BatchSize)
	for i := range pkts[:n] {
		if p := &pkts[i]; quick(p) {
			b.hashes[i] = t.quickHash(z, b.from, p)
		}
	}
	// Ask for the buckets, then for what they lead to. The loads do not wait
	// for each other.
	for _, h := range b.hashes[:n] {
		t.shard(h).index.touch(h)
	}
	for i, h := range b.hashes[:n] {
		s := t.shard(h)
		b.guess[i] = s.index.guess(h)
		s.touch(b.guess[i])
	}
}

// TrackAt is [Table.TrackTo] for p, which is packet i of the last Look into b.
func (t *Table) TrackAt(now Time, b *Batch, i int, p *packet.Packet, out *Conn) {
	if !quick(p) {
		*out = t.trackAny(now, b.zone, b.from, p)
		return
	}
	t.quickly(now, b.zone, b.from, p, b.hashes[i], b.guess[i], out)
}

// TrackBatch is Track for pkts, one after the other, into out, which is at least
// as long: every result is as if Track had been called for them in that order.
// It is faster where there are many connections; see Look. 16 to 64 packets at a
// time are enough.
func (t *Table) TrackBatch(now Time, z Zone, from Side, pkts []packet.Packet, out []Conn) {
	var b Batch
	for len(pkts) > 0 {
		n := min(len(pkts), BatchSize)
		t.Look(&b, z, from, pkts[:n])
		for i := range n {
			t.TrackAt(now, &b, i, &pkts[i], &out[i])
		}
		pkts, out = pkts[n:], out[n:]
	}
}

// touch reads the home bucket of a hash.
func (x *index) touch(h uint64) { atomic.LoadUint64(&x.buckets[x.home(h)][0]) }

// touch reads the entry of a number.
func (s *shard) touch(id uint32) {
	if id>>1 == 0 {
		return
	}
	slot := id>>1 - 1
	if id&numberTCP != 0 {
		e := &s.tcp[slot/chunkSize][slot%chunkSize]
		atomic.LoadUint32(&e.word)
		atomic.LoadUint32(&e.ends[Reply].maxWin) // of the second line
		return
	}
	atomic.LoadUint32(&s.plain[slot/chunkSize][slot%chunkSize].word)
}
