package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// BatchSize is how many packets a [Batch] has room for.
const BatchSize = 64

// Batch holds what [Lane.Look] found out about packets that are tracked next.
// The zero Batch is ready to use; reuse it. It is not safe for concurrent use.
type Batch struct {
	lane  Lane // of the last Look
	now   uint32
	heads [BatchSize]head
	guess [BatchSize]uint32
	known [BatchSize]bool // heads has it
}

// Look prepares for tracking pkts, of which there are at most [BatchSize]: it
// asks the memory for the connections of all of them before anybody needs the
// first. Nothing but time depends on it: [Lane.TrackAt] says what Track would
// say, whatever happened in between.
func (l *Lane) Look(now Time, b *Batch, pkts [][]byte) {
	n := min(len(pkts), BatchSize)
	b.lane = *l
	clear(b.known[n:])
	if l.table == nil {
		clear(b.known[:n])
		return
	}
	for i, p := range pkts[:n] {
		b.known[i] = l.read(p, &b.heads[i])
	}
	l.table.ask(now, b, n)
}

// ask asks the memory for the buckets of n packets, then for what they lead to.
// The loads do not wait for each other. How many are under way at once is a
// matter of how few instructions are between them, so the passes are three and
// short: the search is apart from what it finds.
func (t *Table) ask(now Time, b *Batch, n int) {
	for i := range b.heads[:n] {
		if b.known[i] {
			h := b.heads[i].hash
			t.shard(h).index.touch(h)
		}
	}
	for i := range b.heads[:n] {
		b.guess[i] = 0
		if b.known[i] {
			h := b.heads[i].hash
			b.guess[i] = t.shard(h).index.guessOfMany(h)
		}
	}
	for i := range b.heads[:n] {
		if id := b.guess[i]; id != 0 {
			t.shard(b.heads[i].hash).touch(id)
		}
	}
	b.now = t.clock.at(now)
}

// Absent reports whether packet i of the last Look into b would have been New
// then. It may be of a connection by the time that it is its turn.
func (b *Batch) Absent(i int) bool {
	return b.known[i] && b.guess[i] == 0 && b.heads[i].may&mayOpen != 0
}

// TrackAt is [Lane.Track] of packet i of the last Look into b, at the time of
// that.
func (l *Lane) TrackAt(b *Batch, i int) (State, Mark) {
	if !b.known[i] {
		return Invalid, 0
	}
	h := &b.heads[i]
	s, id := l.table.shard(h.hash), b.guess[i]
	moves := s.index.moves.Load()
	if id == 0 {
		id = s.index.guess(h.hash)
	}
	if id != 0 && h.may&mayFollow != 0 {
		if w, m, _, _ := l.follow(b.now, h, s, id); w != 0 {
			return Established, m
		}
	} else if id == 0 && h.may&mayOpen != 0 && moves%2 == 0 && s.index.moves.Load() == moves { // as shard.find has it
		return New, 0
	}
	return Invalid, 0
}

// TrackBatch is Track for pkts, one after the other, into out: every result is as
// if Track had been called for them in that order. If out is shorter than pkts it
// panics before the first is tracked.
// It is faster where there are many connections: it asks the memory for those of
// all packets first. 16 to 64 packets at a time are enough.
func (t *Table) TrackBatch(now Time, z Zone, from Side, pkts []packet.Packet, out []Conn) {
	if len(out) < len(pkts) {
		panic("conntrack: fewer results than packets")
	}
	var b Batch
	l := Lane{table: t, zone: z, from: from & 1, any: true}
	for len(pkts) > 0 {
		n := min(len(pkts), BatchSize)
		for i := range pkts[:n] {
			b.known[i] = b.heads[i].of(&l, &pkts[i])
		}
		t.ask(now, &b, n)
		for i := range pkts[:n] {
			if b.known[i] {
				l.trackTo(b.now, &pkts[i], &b.heads[i], b.guess[i], &out[i])
			} else {
				out[i] = t.trackAny(now, z, l.from, &pkts[i])
			}
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
