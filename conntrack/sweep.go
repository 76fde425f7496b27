package conntrack

import (
	"iter"

	"example.com/secgroup/conntrack/packet"
)

// stride is how many slots are looked at under one hold of a shard's lock.
const stride = 256

// Sweep frees expired entries and returns how many it freed. It examines at
// most max slots, going on where the last call stopped, and holds a shard's
// lock for a few hundred slots at a time. A table of n entries needs n slots
// per idle timeout to keep up; every call does as much for the fragments.
//
// Without Sweep nothing wrong is matched, but the table fills up.
func (t *Table) Sweep(now Time, max int) int {
	t.frags.sweep(now, max)
	w := &t.sweeper
	w.Lock()
	defer w.Unlock()
	freed := 0
	// One shard more than there are: the first may be entered in its middle.
	for n := 0; max > 0 && n <= len(t.shards); {
		looked, gone, more := t.shards[w.shard].sweep(now, w.id, min(max, stride))
		max, freed = max-looked, freed+gone
		w.id += uint32(looked)
		if !more {
			w.id, w.shard = 0, (w.shard+1)%len(t.shards)
			n++
		}
	}
	return freed
}

// sweep examines up to max slots behind the first done ones.
func (s *shard) sweep(now Time, done uint32, max int) (looked, freed int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.clock.at(now)
	for ; looked < max && done < s.used; looked++ {
		done++
		e := s.at(done)
		if e.status != statusFree && now >= e.expiresAt {
			s.remove(done, e.end())
			freed++
		}
	}
	return looked, freed, done < s.used
}

// Delete forgets the connection c and reports whether it was still there.
func (t *Table) Delete(now Time, c Conn) bool {
	if !c.Tracked() || int(c.ref.shard) >= len(t.shards) {
		return false
	}
	s := &t.shards[c.ref.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.clock.at(now)
	e := s.resolve(c.ref)
	return e != nil && s.forget(own, c.ref.id, EndDeleted)
}

// forget removes a live entry for the reason why, or an expired one as expired,
// and reports whether it was live.
func (s *shardState) forget(own Time, id uint32, why End) bool {
	e := s.at(id)
	live := own < e.expiresAt
	if !live {
		why = e.end()
	}
	s.remove(id, why)
	return live
}

// DeleteTuple forgets the connections of a zone that have the tuple tup in
// either direction, and returns how many. A tuple does not say on which side
// its source is, so there may be two. Of ICMP queries there may be more, of
// different types and codes, and finding them walks the whole table.
func (t *Table) DeleteTuple(now Time, z Zone, tup Tuple) int {
	n := 0
	var ends [2]key // tup as sent by either side
	for side := range ends {
		k := &ends[side]
		switch k.set(z, Side(side), &tup, 0, 0) {
		case classInvalid:
			return 0
		case classOpener:
			if t.deleteKey(now, k) {
				n++
			}
		default:
			k.query, k.code = 0, 0
		}
	}
	if tup.Proto != packet.ProtoICMP && tup.Proto != packet.ProtoICMPv6 {
		return n
	}
	t.walk(now, func(s *shardState, own Time, id uint32) {
		k := s.at(id).key
		k.query, k.code = 0, 0
		if (k == ends[Remote] || k == ends[Local]) && s.forget(own, id, EndDeleted) {
			n++
		}
	})
	return n
}

// deleteKey deletes the connection k.
func (t *Table) deleteKey(now Time, k *key) bool {
	h := t.secret.hash(k)
	s := &t.shards[h>>t.shift]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, id := s.find(s.clock.at(now), k, uint32(h))
	if e == nil {
		return false
	}
	s.remove(id, EndDeleted)
	return true
}

// Flush forgets every connection of a zone, and the zone's fragments, and
// returns how many connections there were. It walks the whole table, a stretch
// at a time: a connection committed meanwhile may stay.
func (t *Table) Flush(now Time, z Zone) int {
	t.frags.flush(z)
	n := 0
	t.walk(now, func(s *shardState, own Time, id uint32) {
		if s.at(id).zone == z && s.forget(own, id, EndFlushed) {
			n++
		}
	})
	return n
}

// Update calls f for every connection and gives it the mark and epoch that f
// returns, or forgets it if keep is false. It returns how many it forgot. Use
// it to judge connections again after a change of policy.
//
// f runs with a lock held: it must not call the table and must not keep its
// argument. Update walks the table a stretch at a time: connections committed
// meanwhile may not be visited. Expired ones it frees.
func (t *Table) Update(now Time, f func(e *Entry) (m Mark, epoch uint32, keep bool)) int {
	n := 0
	t.walk(now, func(s *shardState, own Time, id uint32) {
		e := s.at(id)
		if own >= e.expiresAt {
			s.remove(id, e.end())
			return
		}
		e.export(&s.visited, &s.clock)
		m, epoch, keep := f(&s.visited)
		if !keep {
			s.remove(id, EndCut)
			n++
			return
		}
		e.mark, e.epoch = m, epoch
	})
	return n
}

// walk calls f for every entry, expired ones included, under its shard's lock.
// f may remove the entry.
func (t *Table) walk(now Time, f func(s *shardState, own Time, id uint32)) {
	for i := range t.shards {
		s := &t.shards[i]
		for id, more := uint32(0), true; more; id += stride {
			more = s.stretch(now, id, f)
		}
	}
}

// stretch is the part of walk under one hold of the lock: the slots behind the
// first done ones. It reports whether there are more.
func (s *shard) stretch(now Time, done uint32, f func(s *shardState, own Time, id uint32)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now = s.clock.at(now)
	end := min(s.used, done+stride)
	for id := done + 1; id <= end; id++ {
		if s.at(id).status != statusFree {
			f(&s.shardState, now, id)
		}
	}
	return end < s.used
}

// All yields the live entries in no order. No lock is held while the caller
// has one, so it may call the table; entries may change, come and go while it
// runs, and one that stays all the while is yielded once.
func (t *Table) All(now Time) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		batch := make([]Entry, 0, stride)
		for i := range t.shards {
			s := &t.shards[i]
			for id, more := uint32(0), true; more; id += stride {
				batch = batch[:0]
				more = s.stretch(now, id, func(s *shardState, own Time, id uint32) {
					if e := s.at(id); own < e.expiresAt {
						batch = append(batch, Entry{})
						e.export(&batch[len(batch)-1], &s.clock)
					}
				})
				for _, e := range batch {
					if !yield(e) {
						return
					}
				}
			}
		}
	}
}
