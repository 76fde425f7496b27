package conntrack

import "sync/atomic"

// Shares are the most that a class of protocols may have of a table, in percent
// of MaxEntries, rounded up; at most 100, which is no bound of its own. Zero or
// less is the default named beside it. They add up to more than 100: what one
// class leaves, another may use, but none can fill the table alone.
type Shares struct {
	TCP   int // 90
	UDP   int // 50: an answered flow is assured, so it does not go for another
	ICMP  int // 10
	Other int // 25
}

func (o Shares) withDefaults() Shares {
	for _, f := range []struct {
		share *int
		usual int
	}{{&o.TCP, 90}, {&o.UDP, 50}, {&o.ICMP, 10}, {&o.Other, 25}} {
		if *f.share <= 0 {
			*f.share = f.usual
		}
		*f.share = min(*f.share, 100)
	}
	return o
}

// of returns how many entries a class may have of a table of that many.
func (o *Shares) of(c Class, entries int) int {
	share := [classes]int{o.TCP, o.UDP, o.ICMP, o.Other}[c]
	return int((int64(entries)*int64(share) + 99) / 100)
}

// Bound is one of the table's limits.
type Bound uint8

const (
	BoundTable Bound = iota // Options.MaxEntries
	BoundClass              // Options.Shares
	BoundZone               // Options.MaxPerZone, ZoneOptions.MaxEntries
)

// String returns the bound in one lower-case word, for logs and metrics.
func (b Bound) String() string {
	switch b {
	case BoundClass:
		return "class"
	case BoundZone:
		return "zone"
	}
	return "table"
}

// Pressure says that a bound has come within a tenth of its limit (High), or
// that it has fallen below four fifths of it again (not High). Between the two
// nothing is said, so a table at the edge does not chatter.
type Pressure struct {
	Bound   Bound
	Class   Class // of BoundClass
	Zone    Zone  // of BoundZone
	Entries int
	Limit   int
	High    bool
}

// watermarks returns from how many entries on a limit is near, and up to how
// many it is not.
func watermarks(limit int) (high, low int64) {
	return int64(limit) - int64(limit)/10, int64(limit) - int64(limit)/5
}

// gauge counts places against a limit: those of entries, and those that shards
// hold in advance (see purse).
type gauge struct {
	n         atomic.Int64
	limit     int64
	high, low int64
	calm      int64 // below it nothing is near, whatever shards hold
	pressed   atomic.Bool
	is        Pressure
	tell      func(Pressure) // may be nil
	_         [32]byte
}

// init sets g up; shards hold no more than held places in advance.
func (g *gauge) init(is Pressure, tell func(Pressure), held int64) {
	g.is, g.tell, g.limit = is, tell, int64(is.Limit)
	g.high, g.low = watermarks(is.Limit)
	if g.limit < 4*held {
		return // where there are few, none is held
	}
	g.calm = g.limit - held
	if tell != nil {
		g.calm = g.high - held
	}
}

// far reports whether neither the limit nor a word about it is near.
func (g *gauge) far() bool { return g.n.Load() < g.calm && !g.pressed.Load() }

func (g *gauge) full() bool { return g.n.Load() >= g.limit }

// reserve counts one more, unless that is too many. If held, shards may hold
// places, and what depends on the number of entries waits until they gave them
// back.
func (g *gauge) reserve(held bool) taken {
	for {
		n := g.n.Load()
		say := n+1 >= g.high && g.tell != nil && !g.pressed.Load()
		switch {
		case held && (say || n >= g.limit):
			return takenHeld
		case n >= g.limit:
			return takenNone
		case !g.n.CompareAndSwap(n, n+1):
			continue
		case say && g.pressed.CompareAndSwap(false, true):
			g.say(n+1, true)
		}
		return takenOne
	}
}

// release counts d less.
func (g *gauge) release(d int64) {
	if n := g.n.Add(-d); n < g.low && g.tell != nil && g.pressed.Load() && g.pressed.CompareAndSwap(true, false) {
		g.say(n, false)
	}
}

func (g *gauge) say(n int64, high bool) {
	p := g.is
	p.Entries, p.High = int(n), high
	g.tell(p)
}

// taken is what became of an attempt to take a place.
type taken uint8

const (
	takenOne taken = iota
	takenNone
	takenHeld // cannot be said as long as shards hold places in advance
)

// limit is what stands in the way of one more entry.
type limit uint8

const (
	limitNone limit = iota
	limitTable
	limitClass
	limitZone
	limitHeld // nothing, perhaps: see takenHeld
)

// place is what an entry takes of the table's limits.
type place struct {
	zone    Zone
	class   Class
	counted bool // by its zone: see zoneCounters
}

// serves reports whether who gives p to an entry need not give it back and take
// the place at.
func (p place) serves(at place) bool {
	return p.class == at.class && p.counted == at.counted && (p.zone == at.zone || !p.counted)
}

// reserve takes a place for one more entry of k, or says which it would be; the shard's lock is held. The
// narrowest limit counts first: who is at a limit of its own makes room among
// its own.
func (s *shard) reserve(k *key, c Class) (place, limit) {
	t := s.table
	at := place{k.zone, c, s.counting(k)}
	if at.counted && !t.zones.reserve(k.zone) {
		return at, limitZone
	}
	full := s.take(c)
	if full != limitNone && at.counted {
		t.zones.release(k.zone)
	}
	return at, full
}

// release gives a place back; the shard's lock is held.
func (s *shard) release(at place) {
	s.put(at.class)
	if at.counted {
		s.table.zones.release(at.zone)
	}
}
