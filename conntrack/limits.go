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

// gauge counts entries against a limit.
type gauge struct {
	n         atomic.Int64
	limit     int64
	high, low int64
	pressed   atomic.Bool
	is        Pressure
	tell      func(Pressure) // may be nil
	_         [40]byte
}

func (g *gauge) init(is Pressure, tell func(Pressure)) {
	g.is, g.tell, g.limit = is, tell, int64(is.Limit)
	g.high, g.low = watermarks(is.Limit)
}

// reserve counts one more, unless that is too many.
func (g *gauge) reserve() bool {
	for {
		n := g.n.Load()
		if n >= g.limit {
			return false
		}
		if g.n.CompareAndSwap(n, n+1) {
			if n+1 >= g.high && g.tell != nil && g.pressed.CompareAndSwap(false, true) {
				g.say(n+1, true)
			}
			return true
		}
	}
}

// release counts one less.
func (g *gauge) release() {
	if n := g.n.Add(-1); n < g.low && g.tell != nil && g.pressed.Load() && g.pressed.CompareAndSwap(true, false) {
		g.say(n, false)
	}
}

func (g *gauge) say(n int64, high bool) {
	p := g.is
	p.Entries, p.High = int(n), high
	g.tell(p)
}

// limit is what stands in the way of one more entry.
type limit uint8

const (
	limitNone limit = iota
	limitTable
	limitClass
	limitZone
)

// reserve takes a place for one more entry. The narrowest limit counts first: who
// is at a limit of its own makes room among its own.
func (t *Table) reserve(z Zone, c Class) limit {
	if !t.zones.reserve(z) {
		return limitZone
	}
	if !t.class[c].reserve() {
		t.zones.release(z)
		return limitClass
	}
	if !t.count.reserve() {
		t.class[c].release()
		t.zones.release(z)
		return limitTable
	}
	return limitNone
}

// release gives the place of an entry back.
func (t *Table) release(z Zone, c Class) {
	t.count.release()
	t.class[c].release()
	t.zones.release(z)
}
