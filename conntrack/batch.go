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
	var (
		keys   [batchSize]key
		hashes [batchSize]uint64
		kinds  [batchSize]class
		guess  [batchSize]uint32
	)
	pkts = pkts[:min(len(pkts), batchSize)]
	for i := range pkts {
		p := &pkts[i]
		if p.Trailing() {
			kinds[i] = classOther
			continue
		}
		kinds[i] = keys[i].set(z, from, &p.Tuple, p.ICMPType, p.ICMPCode)
		hashes[i] = t.secret.hash(&keys[i])
	}
	// Ask for the buckets, then for what they lead to. The loads do not wait
	// for each other.
	for i := range pkts {
		t.touch(hashes[i])
	}
	for i := range pkts {
		guess[i] = t.guess(hashes[i])
	}
	for i := range pkts {
		t.touchEntry(hashes[i], guess[i])
	}
	for i := range pkts {
		p := &pkts[i]
		switch c := kinds[i]; c {
		case classOpener, classAnswer:
			out[i] = t.track(t.clock.at(now), &keys[i], hashes[i], c, from, p, guess[i])
		default:
			out[i] = t.Track(now, z, from, p)
		}
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
