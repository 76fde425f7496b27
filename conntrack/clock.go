package conntrack

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// maxStall is how far the caller's clock may fall behind the latest reading
// before the table takes it for a step and follows. Below it a reading is taken
// for a late one: workers that share a table read their clocks in no order, and
// following each of them would make time run fast.
const maxStall = Time(time.Minute)

// clock turns the caller's readings into a time that never runs backwards. It
// is guarded by the lock of what it belongs to.
type clock struct {
	started bool
	last    Time // the latest time, on the table's own scale
	offset  Time // own scale minus the caller's
}

// maxLeap is how far a clock may go forward from one reading to the next: a
// table must be swept more often. What is more is a step of the clock.
const maxLeap = maxTicks * tick

// at returns the time of the reading now.
func (c *clock) at(now Time) Time {
	own := now + c.offset
	if !c.started {
		c.started, c.last = true, own
	}
	if leap := own - c.last; leap > maxLeap {
		c.offset -= leap
		return c.last
	}
	if own > c.last {
		c.last = own
		return own
	}
	if c.last-own > maxStall {
		c.offset += c.last - own
	}
	return c.last
}

// caller returns own in the caller's scale.
func (c *clock) caller(own Time) Time { return own - c.offset }

// after returns t plus d, at most the largest Time.
func (t Time) after(d time.Duration) Time {
	if sum := t + Time(d); sum >= t {
		return sum
	}
	return math.MaxInt64
}

// The table counts time in ticks of 1/16 second, 32 bits of them, which wrap
// after 8 years and are compared by their difference.
const (
	tick     = Time(time.Second / 16)
	maxTicks = 365 * 24 * 3600 * 16 // the longest timeout: so differences stay far below half of 32 bits
)

// ticksOf returns d in ticks, rounded up.
func ticksOf(d time.Duration) uint32 {
	return uint32(min((uint64(d)+uint64(tick)-1)/uint64(tick), maxTicks))
}

// due reports whether the tick at has come at now.
func due(now, at uint32) bool { return int32(now-at) >= 0 }

// ticker is a clock in ticks. Readings of the tick in force take no lock and
// write nothing, so that workers do not meet here.
type ticker struct {
	from   atomic.Int64  // the reading with which the tick in force began
	now    atomic.Uint32 // the tick in force
	longer Time          // than any timeout: of a leap forward no more is taken

	mu    sync.Mutex // guards what follows, and writing what is above
	clock clock
	zero  Time // own time of tick 0
}

// at returns the tick of the reading now.
func (t *ticker) at(now Time) uint32 {
	if n, ok := t.current(now); ok {
		return n
	}
	return t.move(now)
}

// current returns the tick in force if that is the one of the reading now.
func (t *ticker) current(now Time) (n uint32, ok bool) {
	// The reading first: if another one moves the clock meanwhile, the tick is
	// the newer one.
	d := now - Time(t.from.Load())
	n = t.now.Load()
	// One comparison for d < tick and d > -maxStall.
	return n, uint64(d+maxStall-1) < uint64(tick+maxStall-1) && n != 0
}

// move is at for a reading that may begin another tick.
func (t *ticker) move(now Time) uint32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.clock
	if !c.started {
		c.started = true
		c.last, t.zero = now, now-tick // the first tick is 1
	}
	// Leaps that add up to years would come round to where they began. Nothing
	// outlives the longest timeout, so that much of each will do.
	if leap := now + c.offset - c.last; leap > t.longer && leap <= maxLeap {
		c.offset -= leap - t.longer
	}
	own := c.at(now)
	n := (own - t.zero) / tick
	// The tick first: who reads the old one with the new from would be late.
	t.now.Store(wrap(n))
	t.from.Store(int64(c.caller(t.zero + n*tick)))
	return wrap(n)
}

// wrap cuts a tick to 32 bits, of which 0 stands for a clock never read.
func wrap(n Time) uint32 { return max(1, uint32(n)) }

// view relates ticks to the caller's clock, as it stands.
type view struct {
	now  uint32
	from Time
}

// view returns the clock as it stands.
func (t *ticker) view() view {
	t.mu.Lock()
	defer t.mu.Unlock()
	return view{t.now.Load(), Time(t.from.Load())}
}

// caller returns a tick in the caller's scale.
func (v view) caller(at uint32) Time { return v.from + Time(int32(at-v.now))*tick }
