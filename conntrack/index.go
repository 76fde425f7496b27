package conntrack

import (
	"math/bits"
	"sync/atomic"
)

// The index finds an entry's number by the hash of its key. A bucket is one
// cache line with room for ten; a key belongs into one of two buckets, its home
// or, where that is full, the other. Words are read without a lock and written
// with one: see index.find.
//
//	word 0, 1  eight tags of 16 bits, 0 where there is none
//	word 2     two more tags; in bits 32 to 47 how many keys of this home are in their other bucket
//	word 3..7  ten entry numbers of 32 bits
type bucket [8]uint64

const (
	bucketSlots = 10
	lanes       = 0x0001_0001_0001_0001 // a one in every 16 bits
	laneTops    = lanes << 15
	awayOne     = 1 << 32
	awayMask    = 0xffff << 32
)

// index is the index of one shard. Its size is fixed: nothing is rehashed.
type index struct {
	buckets []bucket
	moves   atomic.Uint32 // odd while a key moves: a search beside that may miss it
}

// newIndex returns an index for that many entries, at most three quarters
// full, and emptier where it is small.
func newIndex(entries int) index {
	slots := entries + entries/3 + 8*sqrt(entries) + 16*bucketSlots
	return index{buckets: make([]bucket, (slots+bucketSlots-1)/bucketSlots)}
}

// sqrt returns the root of n, rounded down to a power of two.
func sqrt(n int) int { return 1 << (bits.Len(uint(n)) / 2) }

// reduce maps h to 0..n-1.
func reduce(h uint32, n int) uint32 { return uint32(uint64(h) * uint64(n) >> 32) }

// tagOf returns the tag of a hash.
func tagOf(h uint64) uint16 {
	if t := uint16(h); t != 0 {
		return t
	}
	return 1
}

// home returns the first bucket for a hash.
func (x *index) home(h uint64) uint32 { return reduce(uint32(h>>16), len(x.buckets)) }

// other returns the other bucket for a tag that belongs into bucket b too.
func (x *index) other(b uint32, tag uint16) uint32 {
	n := uint32(len(x.buckets))
	b = reduce(uint32(tag)*0x9e3779b1, len(x.buckets)) + n - b
	if b >= n {
		b -= n
	}
	return b
}

// matches returns the top bit of every lane of w that holds tag, and perhaps of
// some above such a lane that do not.
func matches(w uint64, tag uint16) uint64 {
	w ^= uint64(tag) * lanes
	return (w - lanes) &^ w & laneTops
}

// number returns the entry number in slot i of b.
func (b *bucket) number(i int) uint32 {
	return uint32(atomic.LoadUint64(&b[3+uint(i)/2]) >> (uint(i) % 2 * 32))
}

// tag returns the tag in slot i of b, for who holds the lock.
func (b *bucket) tag(i int) uint16 { return uint16(b[i/4] >> (i % 4 * 16)) }

// set fills slot i, the number first, so that nobody finds the tag with
// a number that was never there.
func (b *bucket) set(i int, tag uint16, id uint32) {
	w, shift := &b[3+i/2], i%2*32
	atomic.StoreUint64(w, *w&^(0xffffffff<<shift)|uint64(id)<<shift)
	b.setTag(i, tag)
}

func (b *bucket) setTag(i int, tag uint16) {
	w, shift := &b[i/4], i%4*16
	atomic.StoreUint64(w, *w&^(0xffff<<shift)|uint64(tag)<<shift)
}

// away counts keys of this home that are elsewhere.
func (b *bucket) away(d uint64) { atomic.StoreUint64(&b[2], b[2]+d*awayOne) }

// vacant returns a free slot, or bucketSlots.
func (b *bucket) vacant() int {
	for w, lanes := range [3]uint64{laneTops, laneTops, laneTops & 0xffffffff} {
		if m := matches(b[w], 0) & lanes; m != 0 {
			return w*4 + bits.TrailingZeros64(m)/16
		}
	}
	return bucketSlots
}

// slot returns the slot of an entry, or bucketSlots.
func (b *bucket) slot(tag uint16, id uint32) int {
	for i := range bucketSlots {
		if b.tag(i) == tag && b.number(i) == id {
			return i
		}
	}
	return bucketSlots
}

// enter adds an entry to the index; it reports false if there is no room, which the size of
// the index all but rules out.
func (s *shard) enter(h uint64, id uint32) bool {
	x := &s.index
	tag, b := tagOf(h), x.home(h)
	if i := x.buckets[b].vacant(); i < bucketSlots {
		x.buckets[b].set(i, tag, id)
		return true
	}
	o := x.other(b, tag)
	i := x.buckets[o].vacant()
	if i == bucketSlots {
		if i = s.displace(o, b); i == bucketSlots {
			return false
		}
	}
	if o != b { // before the entry is there: a search must not stop short
		x.buckets[b].away(1)
	}
	x.buckets[o].set(i, tag, id)
	return true
}

// displace frees a slot of bucket b by moving one of its entries to its other
// bucket, which must not be not.
func (s *shard) displace(b, not uint32) int {
	x := &s.index
	from := &x.buckets[b]
	for i := range bucketSlots {
		tag := from.tag(i)
		o := x.other(b, tag)
		if o == b || o == not {
			continue
		}
		to := &x.buckets[o]
		j := to.vacant()
		if j == bucketSlots {
			continue
		}
		id := from.number(i)
		goes := x.home(s.hashOf(id)) == b // it leaves its home, or comes back
		x.moves.Add(1)
		if goes {
			from.away(1)
		}
		to.set(j, tag, id)
		from.setTag(i, 0)
		if !goes {
			to.away(^uint64(0))
		}
		x.moves.Add(1)
		return i
	}
	return bucketSlots
}

// leave takes an entry out.
func (x *index) leave(h uint64, id uint32) {
	tag, b := tagOf(h), x.home(h)
	home := &x.buckets[b]
	if i := home.slot(tag, id); i < bucketSlots {
		home.setTag(i, 0)
		return
	}
	other := &x.buckets[x.other(b, tag)]
	other.setTag(other.slot(tag, id), 0)
	home.away(^uint64(0))
}

// firstLane returns the number of the lane of m's lowest bit.
func firstLane(m uint64) int { return bits.TrailingZeros64(m) / 16 }
