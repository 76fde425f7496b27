package conntrack

// purse are places for new entries that a shard holds in advance: the table's
// gauges count them already. So a new connection need not touch what all shards
// share, and cores do not meet there. It belongs to who holds the shard's lock.
//
// Places are held only while every limit is far. Where one is near, those who
// ask for a place have the shards give back what they hold first, so a limit is
// reached, and a Pressure told, at the same entry as without.
type purse struct {
	open   uint8 // by class: it may hold some; counted in Table.purses if not 0
	places [classes]uint32
}

const (
	purseTakes = 16 // places that a shard takes at once
	purseHolds = 32 // at most, of a class
)

// mayHold returns the most that so many shards hold in advance of so many classes,
// or take at once before they see each other.
func mayHold(shards, classes int) int64 {
	return int64(shards) * (int64(classes)*purseHolds + purseTakes)
}

// take takes a place for one more entry of a class.
func (s *shard) take(c Class) limit {
	if p := &s.purse.places[c]; *p != 0 {
		*p--
		return limitNone
	}
	return s.takeMore(c)
}

func (s *shard) takeMore(c Class) limit {
	t := s.table
	if t.class[c].far() && t.count.far() {
		t.class[c].n.Add(purseTakes)
		t.count.n.Add(purseTakes)
		if s.purse.open == 0 {
			t.purses.Add(1)
		}
		s.purse.open |= 1 << c
		s.purse.places[c] = purseTakes - 1
		return limitNone
	}
	held := t.purses.Load() != 0
	if !held && t.count.full() && !t.class[c].full() { // as what follows would find
		return limitTable
	}
	switch t.class[c].reserve(held) {
	case takenNone:
		return limitClass
	case takenHeld:
		return limitHeld
	}
	switch t.count.reserve(held) {
	case takenNone:
		t.class[c].release(1)
		return limitTable
	case takenHeld:
		t.class[c].release(1)
		return limitHeld
	}
	return limitNone
}

// put gives the place of an entry of a class back.
func (s *shard) put(c Class) {
	n := uint32(1)
	if p := &s.purse.places[c]; s.purse.open>>c&1 != 0 {
		if *p++; *p < purseHolds {
			return
		}
		n = purseTakes
		*p -= n
	}
	s.table.count.release(int64(n))
	s.table.class[c].release(int64(n))
}

// empty gives back what the purse holds.
func (s *shard) empty() {
	if s.purse.open == 0 {
		return
	}
	for c, n := range s.purse.places {
		if n != 0 {
			s.table.count.release(int64(n))
			s.table.class[c].release(int64(n))
		}
	}
	s.purse = purse{}
	s.table.purses.Add(-1)
}

// recall has all shards give back what they hold in advance. The lock of s is
// held before and after, but not meanwhile.
func (t *Table) recall(s *shard) {
	s.mu.Unlock()
	defer s.mu.Lock()
	for i := range t.shards {
		o := &t.shards[i]
		o.mu.Lock()
		o.empty()
		o.mu.Unlock()
	}
}
