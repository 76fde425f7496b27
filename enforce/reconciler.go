package enforce

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

// Source is where the revisions of a policy come from. A policy.Store is one.
type Source interface {
	// Snapshot returns the current policy and its revision.
	Snapshot() (*policy.Snapshot, policy.Revision)

	// Watch yields every batch after since, in order, until ctx is done. It
	// ends with policy.ErrCompacted if it can not, and with any other error if
	// the source is out of order for now: either way the Reconciler goes on
	// from Snapshot.
	Watch(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error]
}

var _ Source = (*policy.Store)(nil)

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
	// backends of many hosts do not retry in step.
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
// has, as Backend promises, and is tried again after a growing delay, with what
// is newest by then. A revision that does not compile leaves every backend with
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
	from, failures := policy.Revision(0), 0
	for first := true; ctx.Err() == nil; first = false {
		began, reached, err := r.follow(ctx)
		if ctx.Err() != nil {
			break
		}
		if first || began != from || reached != began { // it leads somewhere
			from, failures = began, 0
			if errors.Is(err, errBehind) || errors.Is(err, policy.ErrCompacted) {
				continue
			}
		}
		failures++
		r.sourceFailed(err)
		pause(ctx, r.options.delay(failures))
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

// errBehind ends follow where the batches do not lead on from what compiled.
var errBehind = errors.New("enforce: batches do not follow upon the snapshot")

// follow compiles the current policy, of revision began, and the batches after
// it, up to reached. It returns why it can not go on.
func (r *Reconciler) follow(ctx context.Context) (began, reached policy.Revision, err error) {
	snapshot, began := r.source.Snapshot()
	whole := r.saw(began)
	if !whole {
		m, err := r.compiler.Reset(snapshot)
		r.compiled(began, m, err)
		whole = err == nil
	}
	reached = began
	for b, err := range r.source.Watch(ctx, began) {
		switch {
		case err != nil:
			return began, reached, err
		case b.Revision <= reached:
			continue // again
		}
		r.saw(b.Revision)
		if !whole || b.Revision != reached+1 {
			return began, reached, errBehind
		}
		m, err := r.compiler.Apply(b)
		if err != nil {
			return began, reached, errBehind // the snapshot has the same fault, or does better
		}
		reached = b.Revision
		r.compiled(reached, m, nil)
	}
	return began, reached, errors.New("enforce: the source ended without a reason")
}

// saw notes that there is a revision, and reports whether it is compiled.
func (r *Reconciler) saw(rev policy.Revision) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.broadcast()
	r.seen = rev
	if r.newest.matcher != nil && rev == r.newest.revision {
		r.err = nil
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
		r.staleFrom = time.Time{}
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
	r.mu.Lock()
	r.err = err
	seen := r.seen
	r.broadcast()
	r.mu.Unlock()
	r.options.OnEvent(ReconcilerEvent{Time: time.Now(), Kind: SourceFailed, Revision: seen, Err: err})
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
