package enforce

import (
	"context"
	"time"

	"example.com/secgroup/sg/policy"
)

// worker leads one backend. Its fields, but for Target and wake, are guarded
// by the reconciler's lock.
type worker struct {
	Target
	wake chan struct{} // holds one token if there may be something new

	number   uint64          // of the version in force; 0 if none
	applied  bool            // a policy is in force
	revision policy.Revision // of it

	// When the oldest revision that is not in force was seen, and the same for
	// after the Apply that is under way; zero if there is none.
	since, sinceThen time.Time

	applying, retry, last time.Time // see BackendStatus
	err                   error
	failures              int
	applies, failed       uint64

	tried uint64    // the version that failed last; 0 if none did in this Run
	same  int       // how often in a row it has
	fell  time.Time // when it did
}

// saw notes that there is another revision.
func (w *worker) saw(now time.Time) {
	if w.since.IsZero() {
		w.since = now
	}
	if !w.applying.IsZero() && w.sinceThen.IsZero() {
		w.sinceThen = now
	}
}

// serve applies what is newest to w until ctx is done.
func (r *Reconciler) serve(ctx context.Context, w *worker) {
	var again <-chan time.Time // the next resync
	for first, force := true, false; ctx.Err() == nil; {
		if !force && !r.lacks(w) {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			case <-again:
				force = true
			}
			continue
		}
		if d := r.options.Gather; d > 0 && !first && !force && !pause(ctx, d) {
			return
		}
		first = false
		for !r.apply(ctx, w) {
			if !r.rest(ctx, w) {
				return
			}
		}
		force = false
		if d := r.options.Resync; d > 0 {
			again = time.After(d)
		}
	}
}

// lacks reports whether there is a version that w does not have.
func (r *Reconciler) lacks(w *worker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest.matcher != nil && r.newest.number != w.number
}

// rest waits until w is to be tried again. It reports false if ctx is done.
func (r *Reconciler) rest(ctx context.Context, w *worker) bool {
	for {
		t := time.NewTimer(time.Until(r.retryAt(w)))
		select {
		case <-ctx.Done():
		case <-w.wake:
			t.Stop()
			continue
		case <-t.C:
		}
		t.Stop()
		return ctx.Err() == nil
	}
}

// retryAt returns when w is to be tried again: what it was not given yet need
// not wait as long as what failed.
func (r *Reconciler) retryAt(w *worker) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest.number != w.tried {
		soon := w.fell.Add(r.options.RetryMin)
		if now := time.Now().Add(max(r.options.Gather, 0)); soon.Before(now) {
			soon = now
		}
		if soon.Before(w.retry) {
			w.retry = soon
			r.broadcast()
		}
	}
	return w.retry
}

// apply gives the newest version to w and reports whether it took it.
func (r *Reconciler) apply(ctx context.Context, w *worker) bool {
	r.mu.Lock()
	v := r.newest
	w.applying, w.retry, w.sinceThen = time.Now(), time.Time{}, r.staleFrom
	w.applies++
	r.broadcast()
	r.mu.Unlock()

	bounded, cancel := ctx, context.CancelFunc(func() {})
	if d := r.options.ApplyTimeout; d > 0 {
		bounded, cancel = context.WithTimeout(ctx, d)
	}
	err := w.Backend.Apply(bounded, v.matcher)
	cancel()

	r.mu.Lock()
	now := time.Now()
	e := ReconcilerEvent{Time: now, Backend: w.Name, Revision: v.revision, Attempt: w.failures + 1}
	news := v.number != w.number || w.err != nil
	w.applying = time.Time{}
	switch {
	case err == nil:
		e.Kind = PolicyApplied
		if w.err != nil {
			e.Kind = BackendRecovered
		}
		w.number, w.applied, w.revision, w.last = v.number, true, v.revision, now
		w.since, w.err, w.failures = w.sinceThen, nil, 0
		w.tried, w.same = 0, 0
	case ctx.Err() != nil:
		news = false // Run ends: neither the backend's fault nor to be retried
	default:
		w.failures++
		w.failed++
		if w.same++; v.number != w.tried {
			w.same = 1
		}
		w.tried, w.fell = v.number, now
		w.err, w.retry = err, now.Add(r.options.delay(w.same))
		e.Kind, e.Err, e.Retry, news = ApplyFailed, err, w.retry, true
	}
	r.broadcast()
	r.mu.Unlock()
	if news {
		r.options.OnEvent(e)
	}
	return err == nil
}
