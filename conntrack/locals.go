package conntrack

import "sync/atomic"

// local is the protected end of connections: an address of a zone. Many
// connections share one, so an entry holds its number instead of 21 bytes. It
// does not change while an entry refers to it.
type local struct {
	addr [16]byte
	zone Zone
	next uint32 // number of the next in the bucket, or of the next free one
	refs uint32 // entries
	opts uint32 // atomic: family, and options of its zone
}

// Options of local.opts.
const (
	localLiberal = 1 << 8 // ZoneOptions.Liberal
	localCounted = 1 << 9 // its zone counts entries
)

func (l *local) liberal() bool { return atomic.LoadUint32(&l.opts)&localLiberal != 0 }
func (l *local) counted() bool { return atomic.LoadUint32(&l.opts)&localCounted != 0 }
func (l *local) family() uint8 { return uint8(atomic.LoadUint32(&l.opts)) }

// localChunk is by how many the slab of local ends grows.
const localChunk = 128

// locals are the local ends of one shard. All but at belongs to who holds the
// shard's lock. Numbers count from 1.
type locals struct {
	chunks []*[localChunk]local // its length is fixed
	heads  []uint32             // by bucket, the number of the first; its size is fixed: nothing is rehashed
	used   uint32
	free   uint32
}

func (l *locals) init(entries, buckets uint32) {
	l.chunks = make([]*[localChunk]local, entries/localChunk+1)
	l.heads = make([]uint32, buckets)
}

// at returns a local end that an entry refers to; the entry's lock is held.
func (l *locals) at(n uint32) *local {
	n = n&localMask - 1
	return &l.chunks[n/localChunk][n%localChunk]
}

// head returns the bucket of k's local end.
func (l *locals) head(s *secret, k *key) *uint32 {
	return &l.heads[reduce(uint32(s.local(k)), len(l.heads))]
}

// find returns the number of k's local end in its bucket, 0 if it has none.
func (l *locals) find(head uint32, k *key) uint32 {
	for n := head; n != 0; n = l.at(n).next {
		if p := l.at(n); p.addr == k.local && p.zone == k.zone && p.family() == k.family {
			return n
		}
	}
	return 0
}

// acquire returns the number of k's local end, which has one more entry then; a
// new one gets the options opts. As there are as many places as entries, it
// always finds one.
func (l *locals) acquire(s *secret, k *key, opts uint32) uint32 {
	head := l.head(s, k)
	if n := l.find(*head, k); n != 0 {
		l.at(n).refs++
		return n
	}
	n := l.free
	if n != 0 {
		l.free = l.at(n).next
	} else {
		l.used++
		n = l.used
		if c := &l.chunks[(n-1)/localChunk]; *c == nil {
			*c = new([localChunk]local)
		}
	}
	*l.at(n) = local{addr: k.local, zone: k.zone, refs: 1, next: *head, opts: uint32(k.family) | opts}
	*head = n
	return n
}

// release says that k's local end, which has the number n, has one entry less.
func (l *locals) release(s *secret, k *key, n uint32) {
	n &= localMask
	p := l.at(n)
	if p.refs--; p.refs != 0 {
		return
	}
	at := l.head(s, k)
	for *at != n {
		at = &l.at(*at).next
	}
	*at = p.next
	p.next = l.free
	l.free = n
}

// setOpts sets the options of a zone's local ends. It returns how many entries
// are counted by their zone thereafter and were not before, or the other way
// round, then less than 0.
func (l *locals) setOpts(z Zone, opts uint32) (counted int) {
	for n := uint32(1); n <= l.used; n++ {
		p := l.at(n)
		if p.refs == 0 || p.zone != z {
			continue
		}
		switch was, is := p.counted(), opts&localCounted != 0; {
		case is && !was:
			counted += int(p.refs)
		case was && !is:
			counted -= int(p.refs)
		}
		atomic.StoreUint32(&p.opts, uint32(p.family())|opts)
	}
	return counted
}

// counting reports whether the zone of k counts its entries, here and now.
func (s *shard) counting(k *key) bool {
	l := &s.locals
	if n := l.find(*l.head(&s.table.secret, k), k); n != 0 {
		return l.at(n).counted()
	}
	return s.table.zones.counted(k.zone)
}
