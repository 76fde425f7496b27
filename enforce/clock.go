package enforce

import (
	"context"
	"time"

	"example.com/secgroup/conntrack"
)

const (
	tick       = 10 * time.Millisecond // how old the clock of a packet may be while Run runs
	sweepSlots = 8192                  // table slots looked at per tick
)

// now reads the clock: nanoseconds since the engine was made, from 1.
func (e *Engine) now() conntrack.Time {
	if c := e.coarse.Load(); c != 0 {
		return conntrack.Time(c)
	}
	return e.read()
}

func (e *Engine) read() conntrack.Time {
	if e.opts.Now != nil {
		return conntrack.Time(e.opts.Now().Sub(e.start)) + 1
	}
	return conntrack.Time(time.Since(e.start)) + 1
}

// Wall returns the wall-clock time of t, a time of the engine's table.
func (e *Engine) Wall(t conntrack.Time) time.Time { return e.start.Add(time.Duration(t) - 1) }

// Sweep frees expired connections, looking at no more than max table slots,
// and returns how many it freed. Run does it; without Run, call it now and then.
func (e *Engine) Sweep(max int) int { return e.table.Sweep(e.now(), max) }

// Run does the engine's background work until ctx is done, whose error it
// returns: it frees expired connections and keeps a clock that packets read at
// next to no cost. It is optional, and one Run at a time is enough.
func (e *Engine) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	defer e.coarse.Store(0)
	for {
		now := e.read()
		if e.opts.Now == nil {
			e.coarse.Store(int64(now))
		}
		e.table.Sweep(now, sweepSlots)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
