package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// batchSize is how many packets TrackBatch looks up side by side.
const batchSize = 64

// TrackBatch is Track for pkts, one after the other, into out, which is at least
// as long: every result is as if Track had been called for them in that order.
// It is faster where there are many connections, since it asks the memory for
// all of them before it needs the first. 16 to 64 packets at a time are enough.
func (t *Table) TrackBatch(now Time, z Zone, from Side, pkts []packet.Packet, out []Conn) {
	out = out[:len(pkts)]
	for len(pkts) > batchSize {
		t.trackSome(now, z, from&1, pkts[:batchSize], out)
		pkts, out = pkts[batchSize:], out[batchSize:]
	}
	t.trackSome(now, z, from&1, pkts, out)
}

// trackSome is TrackBatch for up to batchSize packets.
func (t *Table) trackSome(now Time, z Zone, from Side, pkts []packet.Packet, out []Conn) {
	var hashes [batchSize]uint64
	var guess [batchSize]uint32
	n := min(len(pkts), batchSize)
	pkts, out = pkts[:n], out[:n]
	for i := range pkts {
		if p := &pkts[i]; quick(p) {
			hashes[i] = t.quickHash(z, from, p)
		}
	}
	// Ask for the buckets, then for what they lead to. The loads do not wait
	// for each other.
	for _, h := range hashes[:n] {
		t.shard(h).index.touch(h)
	}
	for i, h := range hashes[:n] {
		s := t.shard(h)
		guess[i] = s.index.guess(h)
		s.touch(guess[i])
	}
	for i := range pkts {
		p := &pkts[i]
		if quick(p) && t.hot(t.clock.at(now), z, from, p, t.shard(hashes[i]), guess[i], &out[i]) {
			continue
		}
		out[i] = t.trackAny(now, z, from, p)
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
