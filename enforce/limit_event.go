package enforce

import (
	"sync"
	"sync/atomic"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// EventLimits say how many events of refused packets an EventLimiter lets pass.
// Zero or less is the default.
type EventLimits struct {
	PerSecond int // of one interface and one reason; default 10, at most 1e9
	Burst     int // of those at once, after a quiet time; default 5 times PerSecond, at most 1<<20
	Total     int // per second, of all interfaces and reasons together, and as many at once; default 1000, at most 1e9
}

// EventLimiter keeps a flood of refused packets from becoming a flood of log
// lines (RES-09): it hands on only so many FlowDenied events, and with each the
// number of those like it that it kept back since the last (Event.Suppressed).
// Events of flows that open or close all pass: limits of the connection table
// bound these. Drops counts all that is refused, as ever.
//
// Every interface has limits of its own, so one that is flooded does not hide
// the others, and every reason on it, so a scan does not hide a spoofed packet;
// that costs some 100 bytes for each pair that ever was. It reads no clock but
// Event.Time; a clock that steps back silences an interface for a minute at
// most. It allocates nothing per event and is safe for concurrent use. It must
// be made by NewEventLimiter and not be copied.
type EventLimiter struct {
	next        func(*Event)
	each, all   bucketRate
	total       bucket
	suppressed  atomic.Uint64
	mu          sync.RWMutex
	byInterface map[limited]*bucket // the buckets are used without the lock
}

// limited is what has a limit of its own.
type limited struct {
	id     sg.InterfaceID
	reason ir.Reason
}

// NewEventLimiter returns a limiter in front of next, which is as
// Options.OnEvent has to be. Its OnEvent is what to set there.
func NewEventLimiter(o EventLimits, next func(*Event)) *EventLimiter {
	if o.PerSecond <= 0 {
		o.PerSecond = 10
	}
	o.PerSecond = min(o.PerSecond, 1e9)
	if o.Burst <= 0 {
		o.Burst = 5 * o.PerSecond
	}
	if o.Total <= 0 {
		o.Total = 1000
	}
	o.Total = min(o.Total, 1e9)
	return &EventLimiter{
		next: next, byInterface: make(map[limited]*bucket),
		each: newBucketRate(o.PerSecond, min(o.Burst, 1<<20)),
		all:  newBucketRate(o.Total, o.Total),
	}
}

// OnEvent hands e on, or counts it. It does not keep e.
func (l *EventLimiter) OnEvent(e *Event) {
	if e.Kind != FlowDenied {
		l.next(e)
		return
	}
	b, now := l.bucket(limited{e.Interface, e.Verdict.Reason}), e.Time.UnixNano()
	if !b.take(now, &l.each) || !l.total.take(now, &l.all) {
		b.suppressed.Add(1)
		l.suppressed.Add(1)
		return
	}
	e.Suppressed = b.suppressed.Swap(0)
	l.next(e)
}

// Suppressed returns how many events were kept back since the limiter was made.
func (l *EventLimiter) Suppressed() uint64 { return l.suppressed.Load() }

// bucket returns the bucket of k, made on first use.
func (l *EventLimiter) bucket(k limited) *bucket {
	l.mu.RLock()
	b := l.byInterface[k]
	l.mu.RUnlock()
	if b != nil {
		return b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.byInterface[k]; b == nil {
		b = new(bucket)
		l.byInterface[k] = b
	}
	return b
}

// bucketRate is the size of a token bucket, in nanoseconds: a token is an
// interval of time.
type bucketRate struct{ interval, window int64 }

func newBucketRate(perSecond, burst int) bucketRate {
	interval := int64(time.Second) / int64(perSecond)
	return bucketRate{interval, interval * int64(burst)}
}

// bucket is a token bucket as one number, the time at which it is full again
// (the generic cell rate algorithm of ITU-T I.371).
type bucket struct {
	full       atomic.Int64
	suppressed atomic.Uint64
}

// lateness is how far a reading of the clock may lie behind others: beyond it,
// the clock has stepped back.
const lateness = int64(time.Minute)

// take takes a token, unless there is none.
func (b *bucket) take(now int64, r *bucketRate) bool {
	for {
		was := b.full.Load()
		from := was
		switch missing := was - now; {
		case missing < 0 || missing > r.window+lateness:
			from = now
		case missing > r.window-r.interval:
			return false
		}
		if b.full.CompareAndSwap(was, from+r.interval) {
			return true
		}
	}
}
