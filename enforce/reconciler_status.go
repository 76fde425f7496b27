package enforce

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/secgroup/sg/policy"
)

// ReconcilerStatus is where a Reconciler stands.
type ReconcilerStatus struct {
	Running  bool
	Revision policy.Revision // the newest that was read from the source
	Compiled policy.Revision // the newest that compiled
	Err      error           // why Revision did not compile, or why the source can not be read; else nil
	Backends []BackendStatus // in the order of the targets
}

// BackendStatus is where one backend stands. Counts are since the Reconciler
// was made.
type BackendStatus struct {
	Name     string
	Applied  bool            // a policy is in force
	Revision policy.Revision // of it; valid if Applied
	Behind   uint64          // revisions read from the source since; valid if Applied
	Lag      time.Duration   // since the oldest revision that is not in force was read; 0 if none is lacking

	Err      error     // of the last Apply; nil if it succeeded
	Failures int       // in a row
	Retry    time.Time // when the next attempt is due; zero if none is
	Applying time.Time // since when an Apply is under way; zero if none is
	Last     time.Time // of the last Apply that succeeded; zero if none did

	Applies, Failed uint64 // attempts, and those among them that failed
}

// String is one line: "kernel: revision 7, 2 behind for 3s: exit status 1".
func (s BackendStatus) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	if s.Applied {
		fmt.Fprintf(&b, ": revision %d", s.Revision)
	} else {
		b.WriteString(": no policy")
	}
	if s.Behind > 0 || s.Lag > 0 {
		fmt.Fprintf(&b, ", %d behind for %v", s.Behind, s.Lag)
	}
	if s.Err != nil {
		fmt.Fprintf(&b, ": %v", s.Err)
	}
	return b.String()
}

// Status returns where the backends stand. It does not wait for them.
func (r *Reconciler) Status() ReconcilerStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	s := ReconcilerStatus{Running: r.running, Revision: r.seen, Compiled: r.newest.revision, Err: r.err}
	for _, w := range r.workers {
		b := BackendStatus{
			Name: w.Name, Applied: w.applied, Revision: w.revision,
			Err: w.err, Failures: w.failures, Retry: w.retry, Applying: w.applying, Last: w.last,
			Applies: w.applies, Failed: w.failed,
		}
		if w.applied && r.seen > w.revision {
			b.Behind = uint64(r.seen - w.revision)
		}
		if !w.since.IsZero() && (!w.applied || r.seen != w.revision) {
			b.Lag = now.Sub(w.since)
		}
		s.Backends = append(s.Backends, b)
	}
	return s
}

// Wait blocks until every backend has rev, or a later revision, in force. What
// is in force already counts, whether Run is under way or not.
//
// Before the first Run it waits for it. Once Run has ended, before or during
// the call, it fails with ErrNotRunning, until Run begins again; when ctx is
// done, with the error of ctx. Either comes as a *LagError, which says who lags and why. A revision
// that does not compile is waited for until a later one is in force.
func (r *Reconciler) Wait(ctx context.Context, rev policy.Revision) error {
	for {
		r.mu.Lock()
		changed, ended, there := r.changed, r.ended, true
		for _, w := range r.workers {
			there = there && w.applied && w.revision >= rev
		}
		r.mu.Unlock()
		switch {
		case there:
			return nil
		case ended:
			return r.lagging(rev, ErrNotRunning)
		case ctx.Err() != nil:
			return r.lagging(rev, ctx.Err())
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func (r *Reconciler) lagging(rev policy.Revision, err error) error {
	s := r.Status()
	e := &LagError{Revision: rev, Policy: s.Err, Err: err}
	for _, b := range s.Backends {
		if !b.Applied || b.Revision < rev {
			e.Behind = append(e.Behind, b)
		}
	}
	return e
}

// LagError says why a revision is not in force everywhere.
type LagError struct {
	Revision policy.Revision // that was waited for
	Behind   []BackendStatus // the backends that lack it
	Policy   error           // ReconcilerStatus.Err
	Err      error           // of the context, or ErrNotRunning
}

// Error is one line.
func (e *LagError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "enforce: revision %d is not in force: %v", e.Revision, e.Err)
	if e.Policy != nil {
		fmt.Fprintf(&b, "; the policy: %v", e.Policy)
	}
	for _, s := range e.Behind {
		fmt.Fprintf(&b, "; %v", s)
	}
	return strings.ReplaceAll(b.String(), "\n", ", ")
}

// Unwrap returns the error of the context, or ErrNotRunning.
func (e *LagError) Unwrap() error { return e.Err }

// ReconcilerEvent is what became of a revision.
type ReconcilerEvent struct {
	Time     time.Time
	Kind     ReconcilerEventKind
	Backend  string // its name; empty of RevisionRefused and SourceFailed
	Revision policy.Revision
	Attempt  int       // which attempt in a row it was, from 1; 0 if Backend is empty
	Err      error     // of what failed
	Retry    time.Time // of ApplyFailed: when the next attempt is due
}

// ReconcilerEventKind is a kind of ReconcilerEvent.
type ReconcilerEventKind uint8

const (
	PolicyApplied    ReconcilerEventKind = iota + 1 // a backend has a revision in force
	ApplyFailed                                     // a backend keeps the one before
	BackendRecovered                                // a backend that had failed has a revision in force
	RevisionRefused                                 // a revision does not compile: all keep the one before
	SourceFailed                                    // the source can not be read
)

// String is "applied", "failed", "recovered", "refused" or "source failed".
func (k ReconcilerEventKind) String() string {
	switch k {
	case PolicyApplied:
		return "applied"
	case ApplyFailed:
		return "failed"
	case BackendRecovered:
		return "recovered"
	case RevisionRefused:
		return "refused"
	case SourceFailed:
		return "source failed"
	}
	return "none"
}

// LogValue lets a ReconcilerEvent be logged as a group.
func (e ReconcilerEvent) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String()), slog.Uint64("revision", uint64(e.Revision))}
	if e.Backend != "" {
		attrs = append(attrs, slog.String("backend", e.Backend), slog.Int("attempt", e.Attempt))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	if !e.Retry.IsZero() {
		attrs = append(attrs, slog.Time("retry", e.Retry))
	}
	return slog.GroupValue(attrs...)
}
