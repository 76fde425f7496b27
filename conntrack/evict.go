package conntrack

// wanted says among which entries room is to be made.
type wanted struct {
	limit limit
	zone  Zone
	class Class
}

// budget is how much one attempt at eviction looks at, over all shards.
type budget struct {
	candidates int // live entries
	willing    int // of those, ones that may go
	slots      int // where candidates are rare
}

// newBudget returns the budget for a table of so many entries: a small one is
// looked at as a whole.
func newBudget(entries int64) budget {
	b := budget{candidates: 16, willing: 4, slots: 256}
	if entries <= 64 {
		b.willing = b.candidates
	}
	return b
}

// evict takes out one entry to make room, if it finds one, and returns the place
// that it had, which is not given back yet. It looks at the next few entries behind
// a spot chosen by chance, so that nobody can tell whose turn it is, and a new
// connection is as safe as any other until it is answered. Expired ones go
// first, then closed connections, then those never answered, then those not
// assured. The shard's lock is held.
func (s *shard) evict(now uint32, want wanted, b *budget) (at place, ok bool) {
	r := s.chance()
	first := uint32(0) // which slab is looked at first, by its part
	if n := s.slabs[0].used; reduce(uint32(r>>32), int(n+s.slabs[1].used)) >= n {
		first = 1
	}
	var best uint32
	rank := 0
	for i := range uint32(2) {
		kind := first ^ i
		if want.limit == limitClass && (want.class == ClassTCP) != (kind == numberTCP) {
			continue
		}
		if id, r := s.worst(now, kind, uint32(r), want, b); r > rank {
			best, rank = id, r
		}
	}
	if best == 0 {
		return place{}, false
	}
	return s.oust(now, best, rank)
}

// oust takes out the entry of a number, unless a packet since it was looked at
// has made it worth more than rank: a connection that was answered meanwhile
// stays.
func (s *shard) oust(now, id uint32, rank int) (at place, ok bool) {
	e := s.at(id)
	w := e.lock()
	expired := due(now, s.expiry(e, id))
	if e.rank(expired) < rank {
		e.unlock(w)
		return place{}, false
	}
	why := EndEvicted
	if expired {
		why = e.end()
	}
	return s.unlink(e, id, w, why), true
}

// worst returns the entry of the highest rank, and the rank, among some of a
// slab from a place that r chooses.
func (s *shard) worst(now, kind, r uint32, want wanted, b *budget) (best uint32, rank int) {
	used := s.slabs[kind].used
	if used == 0 {
		return 0, 0
	}
	for at := reduce(r, int(used)); used > 0 && b.slots > 0 && b.candidates > 0 && b.willing > 0; used-- {
		if at++; at > s.slabs[kind].used {
			at = 1
		}
		b.slots--
		id := at<<1 | kind
		e := s.at(id)
		w := e.lock()
		if e.live() && want.meets(e, uint8(w), &s.locals) {
			b.candidates--
			r := e.rank(due(now, s.expiry(e, id)))
			if r > 0 {
				b.willing--
			}
			if r > rank {
				best, rank = id, r
			}
		}
		e.unlock(w)
		if rank == rankExpired {
			break
		}
	}
	return best, rank
}

// meets reports whether e is among the entries of which one is to go.
func (w *wanted) meets(e *entry, proto uint8, l *locals) bool {
	switch w.limit {
	case limitZone:
		return l.at(e.local).zone == w.zone
	case limitClass:
		return classOf(proto) == w.class
	}
	return true
}

// chance returns a number that who sends packets cannot foresee (xorshift64).
func (s *shard) chance() uint64 {
	s.random ^= s.random << 13
	s.random ^= s.random >> 7
	s.random ^= s.random << 17
	return s.random * 0x9e3779b97f4a7c15
}

// evictElsewhere is evict in the shards behind s, whose lock is held before and
// after but not meanwhile.
func (t *Table) evictElsewhere(now uint32, s *shard, want wanted, b *budget) bool {
	s.mu.Unlock()
	defer s.mu.Lock()
	for i := 1; i < len(t.shards) && b.candidates > 0 && b.slots > 0; i++ {
		o := &t.shards[(int(s.n)+i)%len(t.shards)]
		o.mu.Lock()
		at, ok := o.evict(now, want, b)
		if ok {
			o.release(at)
		}
		o.mu.Unlock()
		if ok {
			return true
		}
	}
	return false
}
