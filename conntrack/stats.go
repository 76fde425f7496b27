package conntrack

// Stats counts since the table was made; the names are those of
// /proc/net/stat/nf_conntrack. Insert - Expired - EarlyDrop - Delete is Len.
type Stats struct {
	Found        uint64 // packets that matched an entry, an ICMP error's quote included
	Invalid      uint64 // packets judged Invalid
	Insert       uint64 // entries created
	InsertFailed uint64 // commits that found the connection already there
	Drop         uint64 // commits refused with ErrFull
	EarlyDrop    uint64 // entries evicted to make room
	Expired      uint64 // entries that timed out
	Delete       uint64 // entries deleted, flushed, cut by Update or replaced
	Adopted      uint64 // of Insert: connections picked up in the middle, by TCPLoose or by Adopt
	Restored     uint64 // of Insert: connections that Restore put in
}

func (s *Stats) add(o *Stats) {
	s.Found += o.Found
	s.Invalid += o.Invalid
	s.Insert += o.Insert
	s.InsertFailed += o.InsertFailed
	s.Drop += o.Drop
	s.EarlyDrop += o.EarlyDrop
	s.Expired += o.Expired
	s.Delete += o.Delete
	s.Adopted += o.Adopted
	s.Restored += o.Restored
}

// Stats returns the counters. Packets are counted in their entries, so it walks
// the table, a stretch at a time: some 10 ns per entry. Under traffic the
// counters are not of one instant.
func (t *Table) Stats() Stats {
	var sum Stats
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		sum.add(&s.stats)
		s.mu.Unlock()
		sum.Found += s.found.Load()
		sum.Invalid += s.invalid.Load()
	}
	t.walk(func(s *shard, id uint32) {
		e := s.at(id)
		w := e.lock()
		packets, _ := s.counts(e, id)
		e.unlock(w)
		sum.Found += packets[Original] + packets[Reply] - 1
	})
	sum.Invalid += t.invalid.Load()
	return sum
}

// Len returns the number of entries, those expired but not yet swept included.
// It looks at one shard after the other, so under traffic it is of no one
// instant, but never above MaxEntries.
func (t *Table) Len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += s.live()
		s.mu.Unlock()
	}
	return min(n, int(t.count.n.Load()))
}

// live returns the number of entries; the shard's lock is held.
func (s *shard) live() int {
	return int(s.stats.Insert - s.stats.Expired - s.stats.EarlyDrop - s.stats.Delete)
}
