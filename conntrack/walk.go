package conntrack

import "iter"

// Update calls f for every connection and gives it the mark and epoch that f
// returns, or forgets it if keep is false. It returns how many it forgot. Use
// it to judge connections again after a change of policy.
//
// f runs with a lock held: it must not call the table and must not keep its
// argument. Update walks the table a stretch at a time: connections committed
// meanwhile may not be visited. Expired ones it frees.
func (t *Table) Update(now Time, f func(e *Entry) (m Mark, epoch uint32, keep bool)) int {
	n, at := 0, t.clock.at(now)
	v := t.clock.view()
	t.walk(func(s *shard, id uint32) {
		e := s.at(id)
		w := e.lock()
		if due(at, s.expiry(e, id)) {
			s.forget(at, e, id, w, EndExpired)
			return
		}
		s.copy(e, id, v, &s.visited)
		// Packets need not wait for f, however long it takes: the entry stays
		// without its own lock.
		e.unlock(w)
		m, epoch, keep := f(&s.visited)
		w = e.lock()
		if !keep {
			s.remove(e, id, w, EndCut)
			n++
			return
		}
		e.mark, e.epoch = m, epoch
		e.unlock(w)
	})
	return n
}

// walk calls f for every entry, expired ones included, under its shard's lock.
// f may remove the entry.
func (t *Table) walk(f func(s *shard, id uint32)) {
	for i := range t.shards {
		s := &t.shards[i]
		for kind := range uint32(len(s.slabs)) {
			for done, more := uint32(0), true; more; done += stride {
				more = s.stretch(kind, done, f)
			}
		}
	}
}

// stretch is the part of walk under one hold of the lock: the slots of a slab
// behind the first done ones. It reports whether there are more.
func (s *shard) stretch(kind, done uint32, f func(s *shard, id uint32)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := s.slabs[kind].used
	end := min(used, done+stride)
	for i := done + 1; i <= end; i++ {
		id := i<<1 | kind
		e := s.at(id)
		w := e.lock()
		live := e.live()
		e.unlock(w)
		if live { // it stays: the lock is held
			f(s, id)
		}
	}
	return end < used
}

// keyOf returns the key of a live entry; the shard's lock is held.
func (s *shard) keyOf(id uint32) key {
	e := s.at(id)
	w := e.lock()
	defer e.unlock(w)
	return e.key(s.locals.at(e.local))
}

// copy makes out a copy of e, whose lock is held, as is the shard's.
func (s *shard) copy(e *entry, id uint32, v view, out *Entry) {
	k := e.key(s.locals.at(e.local))
	packets, bytes := s.counts(e, id)
	orig := Tuple{Src: k.remote, Dst: k.local, SrcPort: k.rport, DstPort: k.lport, Proto: k.proto, Family: k.family}
	if e.opener() == Local {
		orig.Src, orig.Dst = orig.Dst, orig.Src
		orig.SrcPort, orig.DstPort = orig.DstPort, orig.SrcPort
	}
	*out = Entry{
		Zone: k.zone, Orig: orig, OrigSide: e.opener(), Mark: e.mark, Epoch: e.epoch,
		Status: e.status(), SeenReply: e.flags&flagSeenReply != 0, Assured: e.flags&flagAssured != 0, Adopted: e.flags&flagLoose != 0,
		ICMPType: k.queryType(), ICMPCode: k.code,
		Packets: packets, Bytes: bytes,
		Created: v.caller(s.created(e, id)), LastSeen: v.caller(e.seen), Expires: v.caller(s.expiry(e, id)),
	}
}

// All yields the live entries in no order. No lock is held while the caller
// has one, so it may call the table; entries may change, come and go while it
// runs, and one that stays all the while is yielded once.
func (t *Table) All(now Time) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		batch := make([]Entry, 0, stride)
		at := t.clock.at(now)
		for i := range t.shards {
			s := &t.shards[i]
			for kind := range uint32(len(s.slabs)) {
				for done, more := uint32(0), true; more; done += stride {
					batch = batch[:0]
					v := t.clock.view()
					more = s.stretch(kind, done, func(s *shard, id uint32) {
						e := s.at(id)
						w := e.lock()
						if !due(at, s.expiry(e, id)) {
							batch = append(batch, Entry{})
							s.copy(e, id, v, &batch[len(batch)-1])
						}
						e.unlock(w)
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
}
