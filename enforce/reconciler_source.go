package enforce

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// ErrSourceBehind is wrapped by ReconcilerStatus.Err while the snapshots of a
// source are older than what was read from it before.
var ErrSourceBehind = errors.New("enforce: the source is behind")

// Source is where the revisions of a policy come from. A policy.Store is one.
//
// A number names one policy for as long as a Run lasts. Snapshot may lag what
// Watch yielded, and one answer what another one said, as those of caches and
// replicas do: a Reconciler keeps the highest revision that it has compiled,
// and hands on nothing before what the source offers leads further. It follows
// a source to a lower revision if its snapshots were lower for RetryMax, five
// in a row at least, and Watch did not lead up to what was known either; or
// when Run is called again.
type Source interface {
	// Snapshot returns the current policy and its revision.
	Snapshot() (*policy.Snapshot, policy.Revision)

	// Watch yields every batch after since, in order, until ctx is done. It
	// ends with policy.ErrCompacted if it can not, and with any other error if
	// the source is out of order for now: either way the Reconciler goes on
	// from Snapshot. After ErrCompacted it does so at once if there was
	// something new since the last time, but only once in RetryMin; otherwise
	// after a delay, as ReconcilerOptions say.
	Watch(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error]
}

var _ Source = (*policy.Store)(nil)

// Why follow asks for another snapshot.
var (
	errGap    = errors.New("enforce: the batches do not follow upon the snapshot")
	errMisfit = errors.New("enforce: a batch does not fit the policy before it")
)

// pursuit is what one Run knows of its source.
type pursuit struct {
	began bool
	seen  policy.Revision // the highest that was read
	best  policy.Revision // the highest that compiled

	low   int       // snapshots in a row that were lower than seen, without more from Watch
	since time.Time // the first of them

	patience time.Duration // how long to wait for the next round if this one leads nowhere
	due      time.Time     // until when to do so, where it began before the end of the round
}

// read notes the revision of a snapshot. If the snapshots have been lower for
// that long, the source has gone back, rather than that it lags: what was known
// before is void.
func (p *pursuit) read(rev policy.Revision, now time.Time, long time.Duration) {
	const several = 5
	p.began, p.due = true, time.Time{}
	if rev >= p.seen {
		p.reads(rev)
		return
	}
	if p.low == 0 {
		p.since = now
	}
	if p.low++; p.low < several || now.Sub(p.since) < long {
		p.due = now.Add(p.patience)
		return
	}
	p.reads(rev)
	p.best = min(p.best, rev)
}

// reads notes that the source is as far as it ever was.
func (p *pursuit) reads(rev policy.Revision) { p.seen, p.low, p.due = rev, 0, time.Time{} }

// follow is a round: it compiles the current policy and the batches after it.
// It reports whether there was anything new, and why it can not go on.
func (r *Reconciler) follow(ctx context.Context, p *pursuit) (news bool, err error) {
	before := *p
	err = r.round(ctx, p)
	return !before.began || p.seen != before.seen || p.best > before.best, err
}

// round does the work of follow.
//
// Where the snapshot is older than what compiled before, nothing older is
// handed on: batches are added to it until they lead to something newer, which
// is the policy of the source then, whatever came before. Where it is older
// than what is known, it is asked again after p.patience, unless Watch leads
// there.
func (r *Reconciler) round(ctx context.Context, p *pursuit) error {
	snapshot, reached := r.source.Snapshot()
	p.read(reached, time.Now(), r.options.RetryMax)
	low, held := reached < p.seen, reached < p.best
	lags := low // and has led no further yet
	behind := fmt.Errorf("%w: at revision %d after %d", ErrSourceBehind, reached, p.seen)
	var refused error // the snapshot
	switch {
	case held && (snapshot == nil || snapshot.Profile() == nil):
		refused = &sg.FieldError{Path: "snapshot", Err: sg.ErrRequired}
	case !held && !r.saw(reached, p.seen):
		var m *compile.Matcher
		m, refused = r.compiler.Reset(snapshot)
		r.compiled(reached, m, refused)
		if refused == nil {
			p.best = reached
		}
	}

	watch, stop := context.WithCancel(ctx)
	defer stop()
	var patience *time.Timer // set if low
	if low {
		if refused == nil {
			r.trouble(behind)
		}
		patience = time.AfterFunc(p.patience, stop)
		defer patience.Stop()
	}
	// fails says why the round ends, beside that the source lags.
	fails := func(err error) error {
		switch {
		case watch.Err() != nil:
			return behind // there was no more to hear
		case lags:
			return fmt.Errorf("%w; %w", behind, err)
		}
		return err
	}
	for b, err := range r.source.Watch(watch, reached) {
		if err != nil {
			return fails(err)
		}
		if b.Revision <= reached {
			continue // again
		}
		if b.Revision >= p.seen {
			if low {
				patience.Stop()
				low = false
			}
			p.reads(b.Revision)
			r.saw(b.Revision, p.seen)
		}
		switch {
		case refused != nil:
			return fails(fmt.Errorf("%w: %w", errGap, refused))
		case b.Revision != reached+1:
			return fails(fmt.Errorf("%w: revision %d after %d", errGap, b.Revision, reached))
		}
		var m *compile.Matcher
		if held {
			snapshot, _, err = snapshot.With(b.Changes...)
			if err == nil && b.Revision > p.best {
				m, err = r.compiler.Reset(snapshot)
			}
		} else {
			m, err = r.compiler.Apply(b)
		}
		if err != nil {
			return fails(fmt.Errorf("%w: revision %d: %w", errMisfit, b.Revision, err))
		}
		reached = b.Revision
		if m != nil {
			held, lags, p.best = false, false, reached
			r.compiled(reached, m, nil)
		}
	}
	return fails(errors.New("enforce: the source ended without a reason"))
}

// saw notes that the source has a revision, and one that is the highest so far.
// It reports whether the former is compiled.
func (r *Reconciler) saw(rev, highest policy.Revision) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.broadcast()
	r.seen = highest
	if r.newest.matcher != nil && rev == r.newest.revision {
		if rev == highest {
			r.err, r.staleFrom = nil, time.Time{}
		}
		return true
	}
	now := time.Now()
	if r.staleFrom.IsZero() {
		r.staleFrom = now
	}
	for _, w := range r.workers {
		w.saw(now)
	}
	return false
}

// compiled hands a matcher on, or tells why there is none.
func (r *Reconciler) compiled(rev policy.Revision, m *compile.Matcher, err error) {
	r.mu.Lock()
	r.err = err
	if err == nil {
		r.newest = version{r.newest.number + 1, rev, m}
		if rev >= r.seen {
			r.staleFrom = time.Time{}
		}
		for _, w := range r.workers {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
	r.broadcast()
	r.mu.Unlock()
	if err != nil {
		r.options.OnEvent(ReconcilerEvent{Time: time.Now(), Kind: RevisionRefused, Revision: rev, Err: err})
	}
}

func (r *Reconciler) sourceFailed(err error) {
	seen := r.trouble(err)
	r.options.OnEvent(ReconcilerEvent{Time: time.Now(), Kind: SourceFailed, Revision: seen, Err: err})
}

// trouble notes why the source leads no further, for now.
func (r *Reconciler) trouble(err error) (seen policy.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.broadcast()
	r.err = err
	return r.seen
}
