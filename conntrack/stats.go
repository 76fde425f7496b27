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
}

// Stats returns the counters. It locks one shard after the other, so under
// traffic they are not of one instant.
func (t *Table) Stats() Stats {
	var sum Stats
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		sum.add(&s.stats)
		s.mu.Unlock()
	}
	sum.Invalid += t.invalid.Load()
	return sum
}

// Len returns the number of entries, those expired but not yet swept included.
func (t *Table) Len() int { return int(t.count.Load()) }
