package conntrack

import (
	"sync"
	"sync/atomic"
	"time"
)

// Adopt lets plain ACKs start connections, as Options.TCPLoose does, for the
// time d from now on, and no more than max of them. It is for a cold start: the
// table is empty while connections live that were opened before. Whether the
// rules allow such a segment is for the caller to judge, as ever. What it took
// in has Entry.Adopted, and Stats.Adopted counts it. A call while an earlier one
// is in force takes its place; d or max of 0 ends it.
func (t *Table) Adopt(now Time, d time.Duration, max int) {
	a := &t.adopt
	a.mu.Lock()
	defer a.mu.Unlock()
	a.until.Store(0)
	if d <= 0 || max <= 0 {
		return
	}
	a.left.Store(int64(max))
	// The lowest bit keeps it from being 0.
	a.until.Store(uint64(t.clock.at(now)+ticksOf(d))<<1 | 1)
}

// adoption is the state of Adopt.
type adoption struct {
	mu    sync.Mutex    // serialises Adopt
	until atomic.Uint64 // its tick, shifted left by one, and 1; 0 if it is off
	left  atomic.Int64  // how many more
}

// on reports whether a connection may be adopted at now.
func (a *adoption) on(now uint32) bool {
	u := a.until.Load()
	if u == 0 {
		return false
	}
	if due(now, uint32(u>>1)) {
		a.until.CompareAndSwap(u, 0) // for good: ticks come round
		return false
	}
	return a.left.Load() > 0
}

// take counts one that is to be adopted, unless that is too many.
func (a *adoption) take() bool {
	for {
		n := a.left.Load()
		if n <= 0 {
			return false
		}
		if a.left.CompareAndSwap(n, n-1) {
			return true
		}
	}
}
