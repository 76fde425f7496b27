package enforce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// ErrRunning is returned by Reconciler.Run while another Run is under way.
var ErrRunning = errors.New("enforce: the reconciler is running")

// ErrNotRunning is wrapped by what Reconciler.Wait returns once Run has ended.
var ErrNotRunning = errors.New("enforce: the reconciler has stopped")

// Target is a backend of a Reconciler.
type Target struct {
	Name    string // for status and events; unique
	Backend Backend
}

// ReconcilerOptions configure a Reconciler. The zero value is ready to use.
type ReconcilerOptions struct {
	// Gather is how long the first revision of a burst waits for others before
	// it is applied; that with which Run begins does not wait. By default none
	// does: what comes in while a backend is busy is applied together anyway.
	Gather time.Duration

	// ApplyTimeout bounds one Apply, by its context; default 30s, negative:
	// none. It is for the backend to heed.
	ApplyTimeout time.Duration

	// RetryMin is the delay before the first retry of what failed, an Apply or
	// the source; default 100ms. It doubles up to RetryMax, default 30s but not
	// below RetryMin. Each delay is drawn from the upper half, so that the
	// backends of many hosts do not retry in step. A revision that a backend was
	// not given yet does not wait so long for one that failed: only until
	// RetryMin has passed since.
	RetryMin, RetryMax time.Duration

	// Resync is how often a backend is given the policy that it has in force
	// once more, so that one which detects drift repairs it; default never.
	Resync time.Duration

	// OnEvent, if set, hears what becomes of every revision. It is called from
	// the goroutines of Run, several at a time, whose work waits for it: it must
	// not block, and must not call Run.
	OnEvent func(ReconcilerEvent)
}

// withDefaults returns o with its zero fields filled in.
func (o ReconcilerOptions) withDefaults() ReconcilerOptions {
	if o.ApplyTimeout == 0 {
		o.ApplyTimeout = 30 * time.Second
	}
	if o.RetryMin <= 0 {
		o.RetryMin = 100 * time.Millisecond
	}
	if o.RetryMax <= 0 {
		o.RetryMax = 30 * time.Second
	}
	o.RetryMax = max(o.RetryMax, o.RetryMin)
	if o.OnEvent == nil {
		o.OnEvent = func(ReconcilerEvent) {}
	}
	return o
}

// delay returns how long to wait after that many failures in a row.
func (o *ReconcilerOptions) delay(failures int) time.Duration {
	d := o.RetryMin
	for range failures - 1 {
		if d >= o.RetryMax/2 {
			d = o.RetryMax
			break
		}
		d *= 2
	}
	return d - time.Duration(rand.Int64N(int64(d/2)+1))
}

// Reconciler keeps backends in step with a source of revisions. It is safe for
// concurrent use, and does nothing until Run.
//
// Each revision is compiled once, in order, by one compiler, whatever the
// backends do. Each backend is given the newest matcher there is as soon as it
// is done with the one before, so that it skips what was superseded meanwhile
// and never goes back; one that is slow, hung or failing delays neither the
// others nor the compiler. A backend whose Apply fails keeps the policy that it
// has, as Backend promises, and is tried again after a growing delay, or soon with
// a newer one. A revision that does not compile leaves every backend with
// the one before; the next revision is tried afresh.
//
// A Reconciler does not close backends, and does not run the background work
// that some have (Engine.Run): that is for who made them. It does not catch
// their panics.
type Reconciler struct {
	source   Source
	options  ReconcilerOptions
	workers  []*worker
	compiler compile.Compiler // of the goroutine in Run

	mu        sync.Mutex // guards what follows, and the workers
	running   bool
	ended     bool          // Run has ended, and not begun again
	changed   chan struct{} // closed, and replaced, on every change below
	seen      policy.Revision
	newest    version   // the newest that compiled
	staleFrom time.Time // when the oldest revision beyond newest was seen; zero if there is none
	err       error     // why there is one, or why the source can not be read
}

// version is a compiled revision.
type version struct {
	number   uint64 // from 1
	revision policy.Revision
	matcher  *compile.Matcher
}

// NewReconciler returns a reconciler that leads s to the targets. Its error is
// sg.Errors with every fault of its arguments.
func NewReconciler(s Source, o ReconcilerOptions, t ...Target) (*Reconciler, error) {
	var errs sg.Errors
	if s == nil {
		errs.Add("source", nil, sg.ErrRequired, "")
	}
	if len(t) == 0 {
		errs.Add("targets", nil, sg.ErrRequired, "without a backend nothing is enforced")
	}
	r := &Reconciler{source: s, options: o.withDefaults(), changed: make(chan struct{})}
	names := make(map[string]bool)
	for i, target := range t {
		path := fmt.Sprintf("targets[%d]", i)
		switch {
		case target.Name == "":
			errs.Add(path+".name", nil, sg.ErrRequired, "")
		case names[target.Name]:
			errs.Add(path+".name", target.Name, sg.ErrDuplicate, "")
		}
		names[target.Name] = true
		if target.Backend == nil {
			errs.Add(path+".backend", nil, sg.ErrRequired, "")
		}
		r.workers = append(r.workers, &worker{Target: target, wake: make(chan struct{}, 1)})
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return r, nil
}

// Run compiles and applies every revision until ctx is done, whose error it
// returns. It begins by applying the current revision to every backend, also
// to one that had it before. It returns when the last Apply has, and may then
// be called again; a second Run at the same time fails with ErrRunning.
func (r *Reconciler) Run(ctx context.Context) error {
	if !r.begin() {
		return ErrRunning
	}
	defer r.end()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for _, w := range r.workers {
		wg.Go(func() { r.serve(ctx, w) })
	}
	var p pursuit
	failures := 0
	var free time.Time // when a round may begin without a pause
	for ctx.Err() == nil {
		p.patience = r.options.delay(failures + 1)
		news, err := r.follow(ctx, &p)
		if ctx.Err() != nil {
			break
		}
		if news {
			failures = 0
			if errors.Is(err, errGap) || errors.Is(err, errMisfit) || errors.Is(err, policy.ErrCompacted) {
				if d := time.Until(free); d > 0 {
					r.trouble(err)
					pause(ctx, d)
				}
				free = time.Now().Add(r.options.RetryMin)
				continue
			}
			p.patience = r.options.delay(1)
		}
		failures++
		r.sourceFailed(err)
		if p.due.IsZero() {
			p.due = time.Now().Add(p.patience)
		}
		pause(ctx, time.Until(p.due))
	}
	return ctx.Err()
}

func (r *Reconciler) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return false
	}
	r.running, r.ended = true, false
	r.newest.matcher = nil // so that all are given what this Run compiles
	for _, w := range r.workers {
		w.failures, w.tried, w.same = 0, 0, 0
	}
	r.broadcast()
	return true
}

func (r *Reconciler) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.ended = false, true
	for _, w := range r.workers {
		w.retry = time.Time{}
	}
	r.broadcast()
}

// broadcast wakes who waits for a change. The lock is held.
func (r *Reconciler) broadcast() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// pause waits for d; it reports false if ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}
