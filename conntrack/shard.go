package conntrack

import (
	"sync"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// shard is a part of the table with its own lock, slabs and index. Shards share
// nothing but the table's counts and its clock.
//
// The lock is for what changes the index or who has a slot. A packet of a
// known connection finds it without and takes the lock of the entry alone, so
// packets of different connections do not meet. Lock order: a goroutine holds
// at most one shard's lock; under it at most one entry's, and under that the
// spill's, the clock's or a zone stripe's.
type shard struct {
	// Read by every packet, written hardly ever.
	table  *Table
	tcp    []*[chunkSize]tcpEntry // chunks of slabs[1]; their number is fixed
	plain  []*[chunkSize]entry    // of slabs[0]
	index  index
	slabs  [2]slab // by the lowest bit of an entry number
	locals locals
	n      uint32 // number of this shard

	_       [64]byte
	found   atomic.Uint64 // packets that matched an entry and are not counted there
	invalid atomic.Uint64
	_       [112]byte

	mu      sync.Mutex
	purse   purse
	random  uint64 // where eviction looks next
	stats   Stats
	ended   Entry // handed to OnEnd; kept here so that no call allocates
	visited Entry // handed to Update's callback
	spill   spill
	_       [64]byte
}

func (s *shard) init(t *Table, n int, entries, limit int) {
	s.table, s.n = t, uint32(n)
	s.random = t.secret[0] ^ uint64(n)<<32 | 1
	chunks := chunksFor(limit)
	s.tcp, s.plain = make([]*[chunkSize]tcpEntry, chunks), make([]*[chunkSize]entry, chunks)
	s.index = newIndex(entries)
	for i := range s.slabs {
		s.slabs[i].init(limit)
	}
	s.slabs[numberTCP].created = make([]*[chunkSize]uint32, chunks)
	s.locals.init(2*uint32(limit), uint32(len(s.index.buckets)))
}

// search finds the live entry of k and returns it locked, with its word; or
// nil, which only holds if no key moved meanwhile, or under the shard's lock.
func (s *shard) search(k *key, h uint64) (e *entry, id, word uint32) {
	x, tag := &s.index, tagOf(h)
	b := x.home(h)
	for range 2 {
		at := &x.buckets[b]
		last := uint64(0)
		for i := range 3 {
			last = atomic.LoadUint64(&at[i])
			m := matches(last, tag)
			if i == 2 {
				m &= laneTops & 0xffffffff
			}
			for ; m != 0; m &= m - 1 {
				id := at.number(i*4 + firstLane(m))
				if e, id, w := s.match(id, k); e != nil {
					return e, id, w
				}
			}
		}
		if last&awayMask == 0 {
			break
		}
		b = x.other(b, tag)
	}
	return nil, 0, 0
}

// match returns the entry of a number, locked, if it is that of k, and nil if
// not.
func (s *shard) match(id uint32, k *key) (*entry, uint32, uint32) {
	kind := uint32(0)
	if k.proto == packet.ProtoTCP {
		kind = numberTCP
	}
	if id>>1 == 0 || id&1 != kind {
		return nil, 0, 0
	}
	e := s.at(id)
	w, ok := e.lockIf(wordProto, uint32(k.proto))
	if !ok {
		return nil, 0, 0
	}
	ports, aux := k.half()
	if e.ports == ports && e.remote == k.remote && e.live() {
		l := s.locals.at(e.local)
		if l.addr == k.local && l.zone == k.zone && l.family() == k.family && (e.aux == aux || classOf(k.proto) != ClassICMP) {
			return e, id, w
		}
	}
	e.unlock(w)
	return nil, 0, 0
}

// find is search for who does not hold the shard's lock.
func (s *shard) find(k *key, h uint64) (e *entry, id, word uint32) {
	moves := s.index.moves.Load()
	if e, id, word = s.search(k, h); e != nil {
		return e, id, word
	}
	if moves%2 == 0 && s.index.moves.Load() == moves {
		return nil, 0, 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.search(k, h)
}

// fresh is search for who holds the shard's lock. It frees an entry that has
// expired.
func (s *shard) fresh(now uint32, k *key, h uint64) (e *entry, id, word uint32) {
	e, id, word = s.search(k, h)
	if e == nil || !due(now, s.expiry(e, id)) {
		return e, id, word
	}
	s.remove(e, id, word, e.end())
	return nil, 0, 0
}

// reap frees the entry of k if it has expired. The shard's lock is not held.
func (s *shard) reap(now uint32, k *key, h uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, _, w := s.fresh(now, k, h); e != nil {
		e.unlock(w)
	}
}

// resolve returns the entry that r names, locked, or nil. The shard's lock is
// held.
func (s *shard) resolve(r ref) (e *entry, word uint32) {
	if r.gen == 0 || !s.exists(r.id) {
		return nil, 0
	}
	e = s.at(r.id)
	if word = e.lock(); word&wordGen == r.gen && e.live() {
		return e, word
	}
	e.unlock(word)
	return nil, 0
}

// insert makes a new entry of k; the shard's lock is held and its place
// reserved. ok is false if the shard has no room.
func (s *shard) insert(now uint32, k *key, h uint64, at place, st Status, from Side, p *packet.Packet, m Mark, epoch uint32) (c Conn, ok bool) {
	kind := uint32(0)
	if k.proto == packet.ProtoTCP {
		kind = numberTCP
	}
	id := s.allocate(kind)
	if id == 0 {
		return Conn{}, false
	}
	e := s.at(id)
	if !s.enter(h, id) {
		s.slab(id).free.give(id >> 1)
		return Conn{}, false
	}
	t := s.table
	w := e.lock()
	gen := w & wordGen
	if gen == 0 {
		gen = 1 << wordShift
	}
	e.unlock(wordLocked | gen | uint32(k.proto)) // not yet
	ports, aux := k.half()
	e.body = body{
		ports: ports, remote: k.remote, local: s.locals.acquire(&t.secret, k, t.localOptsAt(at)),
		seen: now, mark: m, epoch: epoch, flags: entryFlags(from), aux: aux,
		packets: [2]uint32{1, 0}, bytes: [2]uint32{p.Length, 0}, extra: now,
	}
	e.setStatus(st)
	if kind == numberTCP {
		slot := id>>1 - 1
		s.slabs[numberTCP].created[slot/chunkSize][slot%chunkSize] = now
		c := tcpConn{status: st, flags: e.flags}
		c.window.start(p)
		if st != StatusSynSent {
			c.flags |= flagLoose
			s.stats.Adopted++
		}
		s.atTCP(id).store(&c)
	}
	s.firstDeadline(id, e.seen+t.idle.of(e))
	c = Conn{State: New, Dir: Original, Opener: from, Mark: m, Epoch: epoch, ref: ref{s.n, id, gen}}
	e.unlock(gen | uint32(k.proto))
	s.stats.Insert++
	return c, true
}

// remove takes e out, gives its place back and tells OnEnd. The shard's lock is
// held, as is the entry's, whose word is w: so e is still what it was when the
// caller found that it may go. remove unlocks it.
func (s *shard) remove(e *entry, id, w uint32, why End) {
	s.release(s.unlink(e, id, w, why))
}

// unlink is remove without giving the place back: a new connection takes it.
func (s *shard) unlink(e *entry, id, w uint32, why End) place {
	l := s.locals.at(e.local)
	k := e.key(l)
	at := place{k.zone, classOf(k.proto), l.counted()}
	switch why {
	case EndExpired, EndClosed:
		s.stats.Expired++
	case EndEvicted:
		s.stats.EarlyDrop++
	default:
		s.stats.Delete++
	}
	packets, _ := s.counts(e, id)
	s.stats.Found += packets[Original] + packets[Reply] - 1
	if f := s.table.onEnd; f != nil {
		s.copy(e, id, s.table.clock.view(), &s.ended)
	}
	number := e.local
	e.state, e.flags = 0, 0
	gen := w&wordGen + 1<<wordShift
	if gen &= wordGen; gen == 0 {
		gen = 1 << wordShift
	}
	if e.packets[Reply]&spilledBit != 0 {
		s.spill.drop(id)
	}
	s.slab(id).free.give(id >> 1)
	e.unlock(gen)
	s.index.leave(s.table.secret.hash(&k), id)
	s.locals.release(&s.table.secret, &k, number)
	if f := s.table.onEnd; f != nil {
		f(&s.ended, why)
	}
	return at
}
