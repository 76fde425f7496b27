package conntrack

import (
	"maps"
	"sync"
	"sync/atomic"
)

// ZoneOptions are what one zone has otherwise than the table.
type ZoneOptions struct {
	// Liberal is Options.TCPLiberal for connections of this zone: the escape
	// for an interface with asymmetric routing.
	Liberal bool

	MaxEntries int // connections; 0 or less: Options.MaxPerZone
}

// SetZone sets the options of a zone, at once and for connections that exist
// too. A limit below the number of entries removes none by itself: attempts at new
// connections take old ones with them until the zone is down to it. The zero ZoneOptions is
// what every zone begins with, and makes the table forget it.
func (t *Table) SetZone(z Zone, o ZoneOptions) {
	t.zones.mu.Lock()
	defer t.zones.mu.Unlock()
	var next map[Zone]ZoneOptions
	if old := t.zones.options.Load(); old != nil {
		next = maps.Clone(*old)
	}
	if next == nil {
		next = make(map[Zone]ZoneOptions)
	}
	was, counted := next[z].Liberal, t.zones.counted(z)
	if next[z] = o; o == (ZoneOptions{}) {
		delete(next, z)
	}
	t.zones.options.Store(&next)
	opts := t.localOpts(z)
	if was == o.Liberal && counted == (opts&localCounted != 0) {
		return
	}
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		t.zones.move(z, s.locals.setOpts(z, opts))
		s.mu.Unlock()
	}
}

// localOpts returns the options of a zone as its local ends have them.
func (t *Table) localOpts(z Zone) (opts uint32) {
	if m := t.zones.options.Load(); m != nil && (*m)[z].Liberal {
		opts = localLiberal
	}
	if t.zones.counted(z) {
		opts |= localCounted
	}
	return opts
}

// localOptsAt is localOpts for an entry that has its place: counted or not.
func (t *Table) localOptsAt(at place) uint32 {
	opts := t.localOpts(at.zone) &^ localCounted
	if at.counted {
		opts |= localCounted
	}
	return opts
}

// zoneCounters bounds the entries of every zone that has a limit below that of
// the table; the others are not counted here. Whether a zone's entries are
// counted stands in its local ends in every shard (localCounted), so that the
// two change together: what they refer to is counted or not, whenever it came.
// Zones share a few locks.
type zoneCounters struct {
	mu      sync.Mutex // serialises SetZone
	options atomic.Pointer[map[Zone]ZoneOptions]
	usual   int // limit of a zone without one of its own
	table   int // Options.MaxEntries: of that limit nothing is said twice
	tell    func(Pressure)
	stripes [16]struct {
		sync.Mutex
		counts zoneCounts
		_      [24]byte
	}
}

func (l *zoneCounters) init(o Options) {
	l.usual, l.table, l.tell = o.MaxPerZone, o.MaxEntries, o.OnPressure
}

// limit returns how many entries z may have.
func (l *zoneCounters) limit(z Zone) int {
	if m := l.options.Load(); m != nil {
		if n := (*m)[z].MaxEntries; n > 0 {
			return min(n, l.table)
		}
	}
	return l.usual
}

// counted reports whether z has a limit of its own.
func (l *zoneCounters) counted(z Zone) bool { return l.limit(z) < l.table }

// move counts so many entries more of z, or less, whatever its limit.
func (l *zoneCounters) move(z Zone, n int) {
	s := &l.stripes[z%Zone(len(l.stripes))]
	s.Lock()
	defer s.Unlock()
	switch {
	case n > 0:
		s.counts.add(s.counts.slot(z), z, uint32(n))
	case n < 0:
		s.counts.remove(z, uint32(-n))
	}
}

// reserve counts one more entry of z, unless that is too many.
func (l *zoneCounters) reserve(z Zone) bool {
	limit := l.limit(z)
	s := &l.stripes[z%Zone(len(l.stripes))]
	s.Lock()
	ok := s.counts.reserve(z, uint32(limit))
	say := false
	n := 0
	if ok && l.tell != nil && limit < l.table {
		c := &s.counts.slots[s.counts.find(z)]
		high, _ := watermarks(limit)
		if n = int(c.n); int64(n) >= high && !c.pressed {
			c.pressed, say = true, true
		}
	}
	s.Unlock()
	if say {
		l.tell(Pressure{Bound: BoundZone, Zone: z, Entries: n, Limit: limit, High: true})
	}
	return ok
}

// release counts one entry of z less.
func (l *zoneCounters) release(z Zone) {
	s := &l.stripes[z%Zone(len(l.stripes))]
	s.Lock()
	say, n, limit := false, 0, 0
	if l.tell != nil {
		limit = l.limit(z)
		c := &s.counts.slots[s.counts.find(z)]
		_, low := watermarks(limit)
		if n = int(c.n) - 1; c.pressed && int64(n) < low {
			c.pressed, say = false, true
		}
	}
	s.counts.release(z)
	s.Unlock()
	if say {
		l.tell(Pressure{Bound: BoundZone, Zone: z, Entries: n, Limit: limit})
	}
}
