package conntrack

import "example.com/secgroup/conntrack/packet"

// Delete forgets the connection c and reports whether it was still there.
func (t *Table) Delete(now Time, c Conn) bool {
	if !c.Tracked() || int(c.ref.shard) >= len(t.shards) {
		return false
	}
	s := &t.shards[c.ref.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, w := s.resolve(c.ref)
	if e == nil {
		return false
	}
	return s.forget(t.clock.at(now), e, c.ref.id, w, EndDeleted)
}

// forget removes e, which is locked, for the reason why, or as expired if it
// is, and reports whether it was not.
func (s *shard) forget(now uint32, e *entry, id, w uint32, why End) bool {
	live := !due(now, s.expiry(e, id))
	if !live {
		why = e.end()
	}
	s.remove(e, id, w, why)
	return live
}

// forgetID is forget for an entry that is not locked.
func (s *shard) forgetID(now, id uint32, why End) bool {
	e := s.at(id)
	return s.forget(now, e, id, e.lock(), why)
}

// DeleteTuple forgets the connections of a zone that have the tuple tup in
// either direction, and returns how many. A tuple does not say on which side
// its source is, so there may be two. Of ICMP queries there may be more, of
// different types and codes, and finding them walks the whole table.
func (t *Table) DeleteTuple(now Time, z Zone, tup Tuple) int {
	n, at := 0, t.clock.at(now)
	var ends [2]key // tup as sent by either side
	for side := range ends {
		k := &ends[side]
		switch k.set(z, Side(side), &tup, 0, 0) {
		case classInvalid:
			return 0
		case classOpener:
			if t.deleteKey(at, k) {
				n++
			}
		default:
			k.query, k.code = 0, 0
		}
	}
	if tup.Proto != packet.ProtoICMP && tup.Proto != packet.ProtoICMPv6 {
		return n
	}
	t.walk(func(s *shard, id uint32) {
		k := s.keyOf(id)
		k.query, k.code = 0, 0
		if (k == ends[Remote] || k == ends[Local]) && s.forgetID(at, id, EndDeleted) {
			n++
		}
	})
	return n
}

// deleteKey deletes the connection k.
func (t *Table) deleteKey(now uint32, k *key) bool {
	h := t.secret.hash(k)
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, id, w := s.fresh(now, k, h)
	if e == nil {
		return false
	}
	s.remove(e, id, w, EndDeleted)
	return true
}

// Flush forgets every connection of a zone, and the zone's fragments, and
// returns how many connections there were. It walks the whole table, a stretch
// at a time: a connection committed meanwhile may stay.
func (t *Table) Flush(now Time, z Zone) int {
	t.frags.flush(z)
	n, at := 0, t.clock.at(now)
	t.walk(func(s *shard, id uint32) {
		if s.keyOf(id).zone == z && s.forgetID(at, id, EndFlushed) {
			n++
		}
	})
	return n
}
