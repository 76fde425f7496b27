package enforce_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// fake is a backend that notes what it has in force: revision n of a test's
// policy has n interfaces.
type fake struct {
	mu    sync.Mutex
	force []int                                    // revisions in force, one after the other
	tried []int                                    // revisions it was given
	do    func(ctx context.Context, rev int) error // before it takes one
}

func (f *fake) Apply(ctx context.Context, m *compile.Matcher) error {
	rev := 0
	for range m.Program().Interfaces() {
		rev++
	}
	f.mu.Lock()
	f.tried = append(f.tried, rev)
	do := f.do
	f.mu.Unlock()
	if do != nil {
		if err := do(ctx, rev); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.force = append(f.force, rev)
	return nil
}

func (f *fake) Close() error { return nil }

func (f *fake) set(do func(context.Context, int) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// took returns what f had in force, one after the other.
func (f *fake) took() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.force)
}

func (f *fake) attempts() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tried)
}

// loop is a reconciler under test with its store.
type loop struct {
	t     *testing.T
	store *policy.Store
	*enforce.Reconciler

	mu     sync.Mutex
	events []enforce.ReconcilerEvent
	stop   context.CancelFunc
	ended  chan error
}

// newLoop returns a loop over backends named a, b, c …, and over the store
// itself if source is nil.
func newLoop(t *testing.T, source func(*policy.Store) enforce.Source, o enforce.ReconcilerOptions, backends ...enforce.Backend) *loop {
	store, err := policy.NewStore(strict.Profile())
	require.NoError(t, err)
	l := &loop{t: t, store: store}
	o.OnEvent = func(e enforce.ReconcilerEvent) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	}
	var targets []enforce.Target
	for i, b := range backends {
		targets = append(targets, enforce.Target{Name: string(rune('a' + i)), Backend: b})
	}
	var s enforce.Source = store
	if source != nil {
		s = source(store)
	}
	l.Reconciler, err = enforce.NewReconciler(s, o, targets...)
	require.NoError(t, err)
	return l
}

// start runs l until halt.
func (l *loop) start() *loop {
	var ctx context.Context
	ctx, l.stop = context.WithCancel(context.Background())
	l.ended = make(chan error, 1)
	go func() { l.ended <- l.Run(ctx) }()
	return l
}

func (l *loop) halt() {
	l.t.Helper()
	l.stop()
	require.ErrorIs(l.t, <-l.ended, context.Canceled)
}

// commit makes n revisions.
func (l *loop) commit(n int) {
	l.t.Helper()
	for range n {
		_, err := l.store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error {
			_, rev := l.store.Snapshot()
			return tx.Apply(policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprint("i", rev+1))}})
		})
		require.NoError(l.t, err)
	}
}

// news returns the events so far, "a applied 3", and forgets them.
func (l *loop) news() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %v %d", e.Backend, e.Kind, e.Revision)))
	}
	l.events = nil
	return out
}

// of returns the status of a backend.
func (l *loop) of(name string) enforce.BackendStatus {
	for _, b := range l.Status().Backends {
		if b.Name == name {
			return b
		}
	}
	l.t.Fatal("no backend ", name)
	return enforce.BackendStatus{}
}

var errNope = errors.New("nope")

func nope(context.Context, int) error { return errNope }

func TestReconcilerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(fake), new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{}, a, b)
		require.Equal(t, enforce.ReconcilerStatus{Backends: []enforce.BackendStatus{{Name: "a"}, {Name: "b"}}}, l.Status(), "nothing before Run")
		l.commit(3)
		l.start()
		synctest.Wait()
		for range 3 {
			l.commit(1)
			synctest.Wait()
		}
		require.Equal(t, []int{3, 4, 5, 6}, a.took())
		require.Equal(t, []int{3, 4, 5, 6}, b.took())
		s := l.Status()
		require.True(t, s.Running)
		require.EqualValues(t, 6, s.Revision)
		require.EqualValues(t, 6, s.Compiled)
		require.Equal(t, enforce.BackendStatus{Name: "b", Applied: true, Revision: 6, Last: time.Now(), Applies: 4}, s.Backends[1])
		require.ElementsMatch(t, []string{
			"a applied 3", "a applied 4", "a applied 5", "a applied 6",
			"b applied 3", "b applied 4", "b applied 5", "b applied 6",
		}, l.news())
		l.halt()
		require.False(t, l.Status().Running)
	})
}

// A backend that is busy gets the newest of what came in, and only that.
func TestReconcilerCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := make(chan struct{})
		a := &fake{do: func(context.Context, int) error { <-busy; return nil }}
		b := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{}, a, b).start()
		for range 50 {
			synctest.Wait()
			l.commit(1)
		}
		synctest.Wait()
		require.Len(t, b.took(), 51)
		require.Empty(t, a.took())
		close(busy)
		synctest.Wait()
		require.Equal(t, []int{0, 50}, a.took())
		require.Equal(t, []int{0, 50}, a.attempts())
		l.halt()
	})
}

func TestReconcilerGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{Gather: time.Second}, a).start()
		synctest.Wait()
		require.Equal(t, []int{0}, a.took(), "the first at once")
		for range 4 { // the last comes when the first has waited for a second
			l.commit(1)
			time.Sleep(300 * time.Millisecond)
		}
		require.Equal(t, []int{0, 4}, a.took())
		l.commit(1)
		time.Sleep(999 * time.Millisecond)
		require.Equal(t, []int{0, 4}, a.took())
		require.Equal(t, 999*time.Millisecond, l.of("a").Lag)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, []int{0, 4, 5}, a.took())
		l.commit(1)
		synctest.Wait()
		l.halt()
		require.Equal(t, []int{0, 4, 5}, a.took(), "what is being gathered does not hold up the end")
	})
}

func TestReconcilerBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(fake), new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{RetryMin: time.Second, RetryMax: 10 * time.Second}, a, b).start()
		defer l.halt()
		synctest.Wait()
		a.set(nope)
		l.commit(1)
		synctest.Wait()
		drawn := false
		for n, most := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
			most *= time.Second
			s := l.of("a")
			wait := time.Until(s.Retry)
			require.GreaterOrEqual(t, wait, most/2, n)
			require.LessOrEqual(t, wait, most, n)
			drawn = drawn || wait != most
			require.ErrorIs(t, s.Err, errNope)
			require.Equal(t, n+1, s.Failures)
			require.EqualValues(t, n+1, s.Failed)
			require.EqualValues(t, n+2, s.Applies)
			require.EqualValues(t, 0, s.Revision, "the last good one")
			require.EqualValues(t, 1, s.Behind)
			time.Sleep(wait)
			synctest.Wait()
		}
		require.True(t, drawn, "many hosts would retry in step")
		require.Equal(t, []int{0, 1, 1, 1, 1, 1, 1, 1, 1}, a.attempts())
		require.Equal(t, []int{0}, a.took())
		require.Equal(t, []int{0, 1}, b.took(), "the other moves on")
		require.ElementsMatch(t, append([]string{"a applied 0", "b applied 0", "b applied 1"}, slices.Repeat([]string{"a failed 1"}, 8)...), l.news())
		a.set(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"a recovered 1"}, l.news())
		s := l.of("a")
		require.Equal(t, []any{policy.Revision(1), uint64(0), time.Duration(0), error(nil), 0, time.Time{}},
			[]any{s.Revision, s.Behind, s.Lag, s.Err, s.Failures, s.Retry})
		l.commit(1)
		synctest.Wait()
		require.ElementsMatch(t, []string{"a applied 2", "b applied 2"}, l.news())
		// The next failure begins from the first delay again.
		a.set(nope)
		l.commit(1)
		synctest.Wait()
		require.LessOrEqual(t, time.Until(l.of("a").Retry), time.Second)
	})
}

// A revision that was not tried yet does not wait for what failed before it: it
// may take back a right.
func TestReconcilerNewRevisionWaitsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{RetryMin: time.Second, RetryMax: time.Hour}, a).start()
		defer l.halt()
		synctest.Wait()
		refuses := 1
		a.set(func(_ context.Context, rev int) error {
			if rev == refuses {
				return errNope
			}
			return nil
		})
		l.commit(1)
		for range 20 { // until it waits for long
			time.Sleep(max(time.Until(l.of("a").Retry), 0))
			synctest.Wait()
		}
		tried := len(a.attempts())
		require.Equal(t, slices.Repeat([]int{1}, tried-1), a.attempts()[1:])
		require.Greater(t, time.Until(l.of("a").Retry), 29*time.Minute)
		time.Sleep(time.Second)
		l.news()
		l.commit(1)
		synctest.Wait()
		require.Equal(t, []int{0, 2}, a.took(), "at once: the last failure is a second ago")
		require.Equal(t, []string{"a recovered 2"}, l.news())

		// A second after a failure otherwise, however often that happens.
		began, n := time.Now(), len(a.attempts())
		a.set(nope)
		l.commit(1)
		synctest.Wait()
		for range 40 {
			l.commit(1)
			time.Sleep(250 * time.Millisecond)
		}
		require.LessOrEqual(t, len(a.attempts())-n, 1+int(time.Since(began)/(500*time.Millisecond)))
		require.GreaterOrEqual(t, len(a.attempts())-n, int(time.Since(began)/time.Second))
		require.Equal(t, time.Since(began), l.of("a").Lag)
		a.set(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 2, 43}, a.took())

		// What comes while an Apply fails is as new.
		gate := make(chan struct{})
		a.set(func(context.Context, int) error { <-gate; return errNope })
		l.commit(1)
		synctest.Wait()
		l.commit(1)
		close(gate)
		synctest.Wait()
		a.set(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 2, 43, 45}, a.took())
	})
}

// What follows a failure gathers as everything does.
func TestReconcilerGathersAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{Gather: 10 * time.Second, RetryMin: time.Minute, RetryMax: time.Hour}, a)
		a.set(nope)
		l.start()
		defer l.halt()
		time.Sleep(24 * time.Hour)
		time.Sleep(time.Until(l.of("a").Retry))
		synctest.Wait() // the next attempt is half an hour away
		time.Sleep(time.Minute)
		a.set(nil)
		for range 9 {
			l.commit(1)
			time.Sleep(time.Second)
		}
		require.Empty(t, a.took())
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{9}, a.took())
	})
}

// TestReconcilerRunForgetsFailures: a new Run begins with the first delay.
func TestReconcilerRunForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{do: nope}
		l := newLoop(t, nil, enforce.ReconcilerOptions{RetryMin: time.Second, RetryMax: time.Hour}, a)
		for range 2 {
			l.start()
			synctest.Wait()
			s := l.of("a")
			require.Equal(t, 1, s.Failures)
			require.LessOrEqual(t, time.Until(s.Retry), time.Second)
			time.Sleep(24 * time.Hour)
			l.halt()
			require.ErrorIs(t, l.of("a").Err, errNope)
		}
	})
}

// TestReconcilerDefaults: retries begin within 100 ms and come every 30 s at
// most, and an Apply gets 30 s.
func TestReconcilerDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{do: nope}
		l := newLoop(t, nil, enforce.ReconcilerOptions{}, a).start()
		synctest.Wait()
		require.LessOrEqual(t, time.Until(l.of("a").Retry), 100*time.Millisecond)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		n := len(a.attempts())
		require.Less(t, n, 10+10*60/15+1)
		require.Greater(t, n, 10*60/30)
		var left time.Duration
		a.set(func(ctx context.Context, _ int) error {
			d, _ := ctx.Deadline()
			left = time.Until(d)
			return nil
		})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, 30*time.Second, left)
		l.halt()

		a.set(func(ctx context.Context, _ int) error {
			_, bounded := ctx.Deadline()
			require.False(t, bounded)
			return nil
		})
		l = newLoop(t, nil, enforce.ReconcilerOptions{ApplyTimeout: -1}, a).start()
		synctest.Wait()
		l.halt()
	})
}

func TestReconcilerHungBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := &fake{do: func(context.Context, int) error { <-release; return nil }}
		slow := &fake{do: func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }}
		well := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{ApplyTimeout: 5 * time.Second}, deaf, slow, well).start()
		synctest.Wait()
		began := time.Now()
		for n := range 20 {
			l.commit(1)
			synctest.Wait()
			require.EqualValues(t, n+1, l.of("c").Revision)
			time.Sleep(time.Second)
		}
		require.Equal(t, began, l.of("a").Applying)
		require.False(t, l.of("a").Applied)
		require.Equal(t, 20*time.Second, l.of("a").Lag)
		require.ErrorIs(t, l.of("b").Err, context.DeadlineExceeded)
		require.Len(t, well.took(), 21)
		// The end waits for the deaf one, whose policy counts nevertheless.
		l.stop()
		synctest.Wait()
		require.Empty(t, l.ended)
		require.True(t, l.Status().Running)
		close(release)
		require.ErrorIs(t, <-l.ended, context.Canceled)
		require.True(t, l.of("a").Applied)
	})
}

// TestReconcilerLag: the age of the oldest revision that is not in force.
func TestReconcilerLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		a := &fake{do: func(context.Context, int) error { <-gate; return nil }}
		l := newLoop(t, nil, enforce.ReconcilerOptions{ApplyTimeout: -1}, a).start()
		check := func(behind uint64, lag int) {
			t.Helper()
			synctest.Wait()
			s := l.of("a")
			require.Equal(t, behind, s.Behind)
			require.Equal(t, time.Duration(lag)*time.Second, s.Lag)
		}
		time.Sleep(time.Second)
		check(0, 1) // nothing in force at all
		gate <- struct{}{}
		check(0, 0)
		time.Sleep(time.Second)
		l.commit(1)
		time.Sleep(2 * time.Second)
		check(1, 2)
		l.commit(1)
		time.Sleep(3 * time.Second)
		check(2, 5)
		gate <- struct{}{} // the first of the two is in force, the second on its way
		check(1, 3)
		l.commit(2)
		time.Sleep(time.Second)
		check(3, 4)
		gate <- struct{}{}
		check(2, 1)
		gate <- struct{}{}
		check(0, 0)
		require.Equal(t, []int{0, 1, 2, 4}, a.took())
		l.halt()
	})
}

func TestReconcilerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := new(fake), new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{RetryMin: time.Minute, RetryMax: time.Minute}, a, b)

		// Before Run it waits for it.
		waited := make(chan error, 3)
		go func() { waited <- l.Wait(context.Background(), 0) }()
		synctest.Wait()
		require.Empty(t, waited)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err := l.Wait(ctx, 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.EqualError(t, err, "enforce: revision 0 is not in force: context deadline exceeded; a: no policy; b: no policy")
		l.start()
		require.NoError(t, <-waited)
		require.NoError(t, l.Wait(ctx, 0), "what is in force needs no time")

		// For every backend, and for that revision or a later one.
		b.set(nope)
		l.commit(2)
		go func() { waited <- l.Wait(context.Background(), 2) }()
		synctest.Wait()
		require.Empty(t, waited)
		ctx, cancel = context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = l.Wait(ctx, 1)
		var lag *enforce.LagError
		require.ErrorAs(t, err, &lag)
		require.Len(t, lag.Behind, 1)
		require.ErrorIs(t, lag.Behind[0].Err, errNope)
		require.EqualError(t, err, "enforce: revision 1 is not in force: context deadline exceeded; b: revision 0, 2 behind for 1s: nope")
		b.set(nil)
		time.Sleep(time.Minute)
		require.NoError(t, <-waited)
		require.NoError(t, l.Wait(ctx, 1), "an earlier one")

		// The end of Run ends it.
		go func() { waited <- l.Wait(context.Background(), 3) }()
		synctest.Wait()
		l.halt()
		require.ErrorIs(t, <-waited, enforce.ErrNotRunning)
		require.ErrorIs(t, l.Wait(context.Background(), 3), enforce.ErrNotRunning)
		require.NoError(t, l.Wait(context.Background(), 2), "in force as before")
	})
}

func TestReconcilerRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{}, a).start()
		synctest.Wait()
		require.ErrorIs(t, l.Run(context.Background()), enforce.ErrRunning)
		l.halt()
		l.commit(2)
		require.Equal(t, []int{0}, a.took())
		l.start()
		synctest.Wait() // until it runs, Wait sees a Reconciler that has stopped
		require.NoError(t, l.Wait(context.Background(), 2))
		l.halt()
		busy := make(chan struct{})
		a.set(func(context.Context, int) error { <-busy; return nil })
		l.start()
		time.Sleep(time.Second)
		s := l.of("a")
		s.Last = time.Time{}
		require.Equal(t, enforce.BackendStatus{Name: "a", Applied: true, Revision: 2, Applies: 3, Applying: time.Now().Add(-time.Second)}, s, "given again, not behind")
		close(busy)
		synctest.Wait()
		require.Equal(t, []int{0, 2, 2}, a.took(), "the policy may have been lost meanwhile")
		require.Zero(t, l.of("a").Lag)
		waited := make(chan error, 1)
		go func() { waited <- l.Wait(context.Background(), 3) }()
		synctest.Wait()
		require.Empty(t, waited, "as in the first Run")
		a.set(nope)
		l.commit(1)
		synctest.Wait()
		l.halt()
		require.ErrorIs(t, <-waited, enforce.ErrNotRunning)
		time.Sleep(time.Hour)
		require.Equal(t, time.Hour, l.of("a").Lag, "it lacks the revision all the while")
		require.Zero(t, l.of("a").Retry, "nobody tries")
		a.set(nil)
		l.news()
		l.start()
		synctest.Wait()
		require.Equal(t, []string{"a recovered 3"}, l.news(), "a new Run does not wait for the retry")

		// An Apply that the end of Run cuts short is no failure.
		a.set(func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() })
		l.commit(1)
		synctest.Wait()
		l.halt()
		require.Empty(t, l.news())
		require.NoError(t, l.of("a").Err)
		require.Zero(t, l.of("a").Failures)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n := len(a.attempts())
		require.ErrorIs(t, l.Run(ctx), context.Canceled)
		require.Len(t, a.attempts(), n, "there is no time for it")
	})
}

// One Compiler serves all Runs: a restart judges no connection again.
func TestReconcilerKeepsTheLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := enforce.NewEngine(enforce.Options{})
		l := newLoop(t, nil, enforce.ReconcilerOptions{}, e)
		_, err := l.store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error { return tx.Apply(web(), nic("i", "web")) })
		require.NoError(t, err)
		var first *compile.Matcher
		for range 3 {
			l.start()
			synctest.Wait()
			require.NoError(t, l.Wait(t.Context(), 1))
			if first == nil {
				first = e.Matcher()
			}
			require.True(t, e.Matcher().Program().SameLineage(first.Program()))
			require.Equal(t, first.Program().Epoch(), e.Matcher().Program().Epoch())
			l.halt()
		}
	})
}

func TestReconcilerResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, nil, enforce.ReconcilerOptions{Resync: time.Minute, RetryMin: time.Second, RetryMax: time.Second}, a).start()
		time.Sleep(150 * time.Second)
		require.Equal(t, []int{0, 0, 0}, a.took())
		l.commit(1)
		time.Sleep(59 * time.Second)
		require.Equal(t, []int{0, 0, 0, 1}, a.took(), "a minute from the last")
		time.Sleep(2 * time.Second)
		require.Equal(t, []int{0, 0, 0, 1, 1}, a.took())
		require.Equal(t, []string{"a applied 0", "a applied 1"}, l.news(), "no news")
		a.set(nope)
		time.Sleep(59500 * time.Millisecond)
		s := l.of("a")
		require.ErrorIs(t, s.Err, errNope)
		require.EqualValues(t, 1, s.Revision)
		require.Zero(t, s.Lag)
		a.set(nil)
		time.Sleep(time.Second)
		require.Equal(t, []string{"a failed 1", "a recovered 1"}, l.news())
		l.halt()
	})
}

// stub is a Source made of functions.
type stub struct {
	snapshot func() (*policy.Snapshot, policy.Revision)
	watch    func(context.Context, policy.Revision) iter.Seq2[policy.Batch, error]
}

func (s stub) Snapshot() (*policy.Snapshot, policy.Revision) { return s.snapshot() }
func (s stub) Watch(ctx context.Context, rev policy.Revision) iter.Seq2[policy.Batch, error] {
	return s.watch(ctx, rev)
}

func TestReconcilerCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		gate := make(chan struct{})
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{s.Snapshot, func(ctx context.Context, rev policy.Revision) iter.Seq2[policy.Batch, error] {
				<-gate
				return s.Watch(ctx, rev)
			}}
		}, enforce.ReconcilerOptions{}, a).start()
		synctest.Wait()
		l.commit(3000) // more than a store keeps
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, []int{0, 3000}, a.took(), "from the snapshot, without a delay")
		close(gate)
		l.commit(1)
		synctest.Wait()
		require.Equal(t, []int{0, 3000, 3001}, a.took())
		require.NoError(t, l.Status().Err)
		require.NotContains(t, l.news(), "source failed 3000")
		l.halt()
	})
}

// A revision that does not compile is passed over: all keep the one before,
// and get the next.
func TestReconcilerRefusedRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{func() (*policy.Snapshot, policy.Revision) {
				snap, rev := s.Snapshot()
				if rev == 2 {
					return nil, rev
				}
				return snap, rev
			}, func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
				return func(yield func(policy.Batch, error) bool) {
					for b, err := range s.Watch(ctx, since) {
						if b.Revision == 2 {
							b.Changes = []policy.Change{policy.DeleteGroup{ID: "none"}}
						}
						if !yield(b, err) {
							return
						}
					}
				}
			}}
		}, enforce.ReconcilerOptions{}, a).start()
		synctest.Wait()
		a.set(nope) // the retry of revision 1 begins when 2 is known, and can not be had
		l.commit(1)
		synctest.Wait()
		a.set(nil)
		l.commit(1)
		time.Sleep(time.Hour)
		require.Equal(t, []int{0, 1}, a.took())
		s := l.Status()
		require.ErrorIs(t, s.Err, sg.ErrRequired)
		require.EqualValues(t, 2, s.Revision)
		require.EqualValues(t, 1, s.Compiled)
		require.EqualValues(t, 1, s.Backends[0].Behind)
		require.Equal(t, time.Hour, s.Backends[0].Lag)
		require.Equal(t, []string{"a applied 0", "a failed 1", "refused 2", "a recovered 1"}, l.news(), "said once")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorContains(t, l.Wait(ctx, 2), "context deadline exceeded; the policy: required")
		l.commit(1)
		require.NoError(t, l.Wait(context.Background(), 2), "a later one is as good")
		require.Equal(t, []int{0, 1, 3}, a.took())
		require.NoError(t, l.Status().Err)
		l.halt()

		// From the very beginning.
		l = newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{func() (*policy.Snapshot, policy.Revision) {
				snap, rev := s.Snapshot()
				if rev == 0 {
					return nil, rev
				}
				return snap, rev
			}, s.Watch}
		}, enforce.ReconcilerOptions{}, a).start()
		synctest.Wait()
		require.ErrorIs(t, l.Status().Err, sg.ErrRequired)
		require.False(t, l.of("a").Applied)
		l.commit(1)
		require.NoError(t, l.Wait(context.Background(), 1))
		l.halt()
	})
}

// A batch that does not fit, or one too many or too few, is made up for by the
// snapshot.
func TestReconcilerBatchesWithGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{s.Snapshot, func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
				return func(yield func(policy.Batch, error) bool) {
					for b, err := range s.Watch(ctx, since) {
						switch {
						case err == nil && b.Revision%7 == 3:
							continue
						case err == nil && b.Revision%7 == 5 && !yield(b, nil):
							return
						case b.Revision%7 == 0:
							b.Changes = []policy.Change{policy.DeleteGroup{ID: "none"}}
						}
						if !yield(b, err) {
							return
						}
					}
				}
			}}
		}, enforce.ReconcilerOptions{}, a).start()
		var want []int
		for n := range 22 {
			time.Sleep(time.Second) // more than RetryMin
			if n%7 != 3 {
				want = append(want, n) // others are not heard of in time
			}
			l.commit(1)
		}
		synctest.Wait()
		require.Equal(t, append(want, 22), a.took())
		require.NotContains(t, strings.Join(l.news(), " "), "source")
		l.halt()
	})
}

// A source that fails, or ends for no reason, is asked again, ever less often.
func TestReconcilerSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []error{errNope, nil, policy.ErrCompacted} {
			var broken atomic.Bool
			var asked atomic.Int64
			a := new(fake)
			l := newLoop(t, func(s *policy.Store) enforce.Source {
				return stub{s.Snapshot, func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
					asked.Add(1)
					if !broken.Load() {
						return s.Watch(ctx, since)
					}
					return func(yield func(policy.Batch, error) bool) {
						if ends != nil {
							yield(policy.Batch{}, ends)
						}
					}
				}}
			}, enforce.ReconcilerOptions{RetryMin: time.Second, RetryMax: time.Minute}, a)
			broken.Store(true)
			l.start()
			time.Sleep(10 * time.Minute)
			require.Greater(t, asked.Load(), int64(10))
			require.Less(t, asked.Load(), int64(30))
			require.Equal(t, []int{0}, a.took(), "not again and again")
			require.Error(t, l.Status().Err)
			if ends != nil {
				require.ErrorIs(t, l.Status().Err, ends)
			}
			require.Contains(t, l.news(), "source failed 0")
			l.commit(1)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, []int{0, 1}, a.took(), "the snapshot is good")
			broken.Store(false)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.NoError(t, l.Status().Err)
			l.commit(1)
			synctest.Wait()
			require.Equal(t, []int{0, 1, 2}, a.took())
			l.halt()
		}
	})
}

// A source that worked for a while and fails again is asked soon.
func TestReconcilerSourceFailsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := make(chan struct{}, 1)
		asked := make(chan time.Time, 100)
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{s.Snapshot, func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
				asked <- time.Now()
				ctx, stop := context.WithCancel(ctx)
				return func(yield func(policy.Batch, error) bool) {
					defer stop()
					go func() {
						select {
						case <-fail:
							stop()
						case <-ctx.Done():
						}
					}()
					for b, err := range s.Watch(ctx, since) {
						if err != nil {
							yield(b, errNope)
							return
						}
						if !yield(b, nil) {
							return
						}
					}
				}
			}}
		}, enforce.ReconcilerOptions{RetryMin: time.Second, RetryMax: time.Hour}, new(fake)).start()
		<-asked
		for range 8 {
			fail <- struct{}{}
			<-asked
		}
		l.commit(1)
		synctest.Wait()
		failed := time.Now()
		fail <- struct{}{}
		require.LessOrEqual(t, (<-asked).Sub(failed), time.Second)
		l.halt()
	})
}

// A source that begins anew with lower numbers is followed.
func TestReconcilerSourceGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := new(fake)
		other, err := policy.NewStore(strict.Profile())
		require.NoError(t, err)
		back := false
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			return stub{func() (*policy.Snapshot, policy.Revision) {
				if back {
					return other.Snapshot()
				}
				return s.Snapshot()
			}, func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
				if back {
					return other.Watch(ctx, since)
				}
				return s.Watch(ctx, since)
			}}
		}, enforce.ReconcilerOptions{}, a)
		l.commit(5)
		l.start()
		synctest.Wait()
		l.halt()
		back = true
		l.start()
		synctest.Wait()
		require.Equal(t, []int{5, 0}, a.took())
		require.Zero(t, l.of("a").Revision)
		require.Zero(t, l.of("a").Lag)
		l.halt()
	})
}

// lagging is a source whose parts answer as those of a store did at some time.
type lagging struct {
	t    *testing.T
	past []*policy.Snapshot // by revision
	all  []policy.Batch

	mu       sync.Mutex
	snapshot func() int    // which revision Snapshot returns
	upTo     int           // the last revision that Watch yields
	ends     error         // then; it blocks if nil
	changed  chan struct{} // closed by set, which ends Watch
	spoil    int           // revision whose batch is spoilt
	rounds   int
}

func newLagging(t *testing.T, revisions int) *lagging {
	s := &lagging{t: t, changed: make(chan struct{})}
	l := newLoop(t, nil, enforce.ReconcilerOptions{}, new(fake))
	for n := range revisions + 1 {
		if n > 0 {
			l.commit(1)
		}
		snap, _ := l.store.Snapshot()
		s.past = append(s.past, snap)
	}
	for b, err := range l.store.Watch(t.Context(), 0) {
		require.NoError(t, err)
		if s.all = append(s.all, b); len(s.all) == revisions {
			break
		}
	}
	return s
}

// loop returns a loop over s.
func (s *lagging) loop(o enforce.ReconcilerOptions, b ...enforce.Backend) *loop {
	return newLoop(s.t, func(*policy.Store) enforce.Source { return s }, o, b...)
}

// set has Snapshot return a revision, and Watch yield up to another one.
func (s *lagging) set(rev, upTo int, ends error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot, s.upTo, s.ends = func() int { return rev }, upTo, ends
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *lagging) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rounds
}

func (s *lagging) Snapshot() (*policy.Snapshot, policy.Revision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rounds++
	rev := s.snapshot()
	return s.past[rev], policy.Revision(rev)
}

func (s *lagging) Watch(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
	return func(yield func(policy.Batch, error) bool) {
		s.mu.Lock()
		all, ends, spoil, changed := s.all[min(int(since), s.upTo):s.upTo], s.ends, s.spoil, s.changed
		s.mu.Unlock()
		for _, b := range all {
			if int(b.Revision) == spoil {
				b.Changes = []policy.Change{policy.DeleteGroup{ID: "none"}}
			}
			if !yield(b, nil) {
				return
			}
		}
		if ends == nil {
			select {
			case <-changed:
				ends = errNope
			case <-ctx.Done():
				ends = ctx.Err()
			}
		}
		yield(policy.Batch{}, ends)
	}
}

// requireForward: a had revisions up to last in force, none of them twice and
// none after a later one. It may have skipped some.
func requireForward(t *testing.T, a *fake, last int) {
	t.Helper()
	took := a.took()
	require.True(t, slices.IsSorted(took), took)
	require.Len(t, slices.Compact(slices.Clone(took)), len(took), "%v", took)
	require.Equal(t, last, took[len(took)-1])
	require.Equal(t, took, a.attempts())
}

// A source whose snapshots lag what it yields leads nobody back, and is not
// asked without end.
func TestReconcilerSnapshotLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []error{policy.ErrCompacted, errNope} {
			s, a := newLagging(t, 5), new(fake)
			s.set(1, 2, ends)
			l := s.loop(enforce.ReconcilerOptions{}, a).start()
			time.Sleep(2 * time.Second)
			require.Less(t, s.asked(), 12, ends)
			time.Sleep(time.Hour)
			synctest.Wait()
			require.Less(t, s.asked(), 300)
			require.Greater(t, s.asked(), 100)
			requireForward(t, a, 2)
			st := l.Status()
			require.ErrorIs(t, st.Err, enforce.ErrSourceBehind)
			require.ErrorIs(t, st.Err, ends)
			require.ErrorContains(t, st.Err, "the source is behind: at revision 1 after 2; ")
			require.EqualValues(t, 2, st.Revision)
			require.Zero(t, st.Backends[0].Behind)
			require.Zero(t, st.Backends[0].Lag)

			// What Watch adds counts, whatever the snapshot.
			s.set(1, 4, nil)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			requireForward(t, a, 4)
			require.NoError(t, l.Status().Err)
			n := s.asked()
			time.Sleep(time.Hour)
			require.Equal(t, n, s.asked(), "there is no need to ask")
			l.halt()
		}
	})
}

// Replicas that are not in step, each of them compacted.
func TestReconcilerReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := newLagging(t, 6), new(fake)
		s.ends = policy.ErrCompacted
		s.snapshot = func() int { return 5 + s.rounds%2 }
		l := s.loop(enforce.ReconcilerOptions{}, a).start()
		time.Sleep(time.Second)
		require.Less(t, s.asked(), 12)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Less(t, s.asked(), 300)
		requireForward(t, a, 6)
		require.ErrorIs(t, l.Status().Err, policy.ErrCompacted)
		l.halt()
	})
}

// A source that goes on and on without leading anywhere is not asked without a
// pause, though there is something new each time.
func TestReconcilerPausesBetweenRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := newLagging(t, 100), new(fake)
		s.ends = policy.ErrCompacted
		s.snapshot = func() int { return min(s.rounds, 100) }
		l := s.loop(enforce.ReconcilerOptions{RetryMin: time.Second}, a).start()
		time.Sleep(20500 * time.Millisecond)
		require.Equal(t, 22, s.asked())
		requireForward(t, a, 22)
		require.ErrorIs(t, l.Status().Err, policy.ErrCompacted)
		l.halt()
	})
}

// A source that has gone back is followed in the end, in the same Run.
func TestReconcilerSourceStaysBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ends := range []error{nil, policy.ErrCompacted} {
			s, a := newLagging(t, 6), new(fake)
			s.set(5, 5, nil)
			l := s.loop(enforce.ReconcilerOptions{}, a).start()
			synctest.Wait()
			s.set(2, 2, ends)
			time.Sleep(25 * time.Second)
			require.Equal(t, []int{5}, a.took())
			require.ErrorIs(t, l.Status().Err, enforce.ErrSourceBehind)
			require.EqualError(t, l.Status().Err, "enforce: the source is behind: at revision 2 after 5"+map[bool]string{true: "; policy: revision compacted"}[ends != nil])
			time.Sleep(45 * time.Second)
			synctest.Wait()
			require.Equal(t, []int{5, 2}, a.took())
			require.EqualValues(t, 2, l.Status().Revision)
			require.EqualValues(t, 2, l.Status().Compiled)
			require.Zero(t, l.of("a").Lag)
			require.Contains(t, l.news(), "source failed 5")
			s.set(2, 3, nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, []int{5, 2, 3}, a.took())
			require.NoError(t, l.Status().Err)
			l.halt()
		}
	})
}

// A source that begins anew and soon has higher numbers is followed then, and
// what it had before is not mixed with that.
func TestReconcilerSourceOvertakesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[policy.Store]
		gone := make(chan struct{}, 1)
		a := new(fake)
		l := newLoop(t, func(s *policy.Store) enforce.Source {
			now.Store(s)
			return stub{func() (*policy.Snapshot, policy.Revision) { return now.Load().Snapshot() },
				func(ctx context.Context, since policy.Revision) iter.Seq2[policy.Batch, error] {
					ctx, stop := context.WithCancel(ctx)
					go func() {
						defer stop()
						select {
						case <-gone:
						case <-ctx.Done():
						}
					}()
					return now.Load().Watch(ctx, since)
				}}
		}, enforce.ReconcilerOptions{}, a)
		l.commit(3)
		l.start()
		synctest.Wait()
		other, err := policy.NewStore(strict.Profile())
		require.NoError(t, err)
		now.Store(other)
		gone <- struct{}{}
		synctest.Wait()
		for n := range 4 {
			_, err := other.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error {
				var c []policy.Change
				for i := range 10 {
					c = append(c, policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("o%d-%d", n, i))}})
				}
				return tx.Apply(c...)
			})
			require.NoError(t, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []int{3, 40}, a.took(), "0, 1 and 2 are passed over, and 4 is theirs alone")
		l.halt()
	})
}

// TestReconcilerTellsTheFault: why a batch does not fit is in the status if the
// snapshot does not show it, and what was announced is not forgotten.
func TestReconcilerTellsTheFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := newLagging(t, 3), new(fake)
		s.set(1, 2, nil)
		s.spoil = 2
		l := s.loop(enforce.ReconcilerOptions{RetryMax: time.Minute}, a).start()
		for range 50 {
			time.Sleep(10 * time.Second)
			st := l.Status()
			require.ErrorIs(t, st.Err, sg.ErrNotFound)
			require.ErrorContains(t, st.Err, "a batch does not fit the policy before it: revision 2: ")
			require.ErrorIs(t, st.Err, enforce.ErrSourceBehind)
			require.EqualValues(t, 2, st.Revision, "it was announced")
			require.EqualValues(t, 1, st.Compiled)
			require.EqualValues(t, 1, st.Backends[0].Behind)
			require.Equal(t, time.Since(st.Backends[0].Last), st.Backends[0].Lag)
		}
		require.Equal(t, []int{1}, a.took())
		s.set(2, 3, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		requireForward(t, a, 3)
		require.NoError(t, l.Status().Err)
		require.Zero(t, l.of("a").Lag)
		l.halt()

		// A snapshot that lags and is spoilt as well.
		s.set(3, 3, errNope)
		l.start()
		synctest.Wait()
		s.mu.Lock()
		s.past[0] = nil
		s.snapshot = func() int { return 0 }
		s.mu.Unlock()
		time.Sleep(20 * time.Second)
		require.ErrorIs(t, l.Status().Err, sg.ErrRequired)
		require.ErrorIs(t, l.Status().Err, enforce.ErrSourceBehind)
		require.EqualValues(t, 3, l.of("a").Revision)
		l.halt()
	})
}

func TestNewReconcilerFaults(t *testing.T) {
	_, err := enforce.NewReconciler(nil, enforce.ReconcilerOptions{})
	require.EqualError(t, err, "source: required\ntargets: required: without a backend nothing is enforced")
	store, err := policy.NewStore(strict.Profile())
	require.NoError(t, err)
	_, err = enforce.NewReconciler(store, enforce.ReconcilerOptions{},
		enforce.Target{Name: "a", Backend: new(fake)}, enforce.Target{Backend: new(fake)}, enforce.Target{Name: "a"})
	require.EqualError(t, err, "targets[1].name: required\ntargets[2].backend: required\ntargets[2].name: duplicate \"a\"")
	var faults sg.Errors
	require.ErrorAs(t, err, &faults)
}

func TestReconcilerEventTexts(t *testing.T) {
	require.Equal(t, "none", enforce.ReconcilerEventKind(0).String())
	e := enforce.ReconcilerEvent{Kind: enforce.ApplyFailed, Backend: "kernel", Revision: 7, Attempt: 2, Err: errNope, Retry: time.Unix(9, 0).UTC()}
	require.Equal(t, "[kind=failed revision=7 backend=kernel attempt=2 error=nope retry=1970-01-01 00:00:09 +0000 UTC]", e.LogValue().String())
	require.Equal(t, "[kind=refused revision=7]", enforce.ReconcilerEvent{Kind: enforce.RevisionRefused, Revision: 7}.LogValue().String())
	require.Equal(t, "source failed", enforce.SourceFailed.String())
}

// TestReconcilerUnderLoad: writers, flaky backends, readers of the status and
// restarts, all at once. Nobody goes back, and all arrive.
func TestReconcilerUnderLoad(t *testing.T) {
	const writers, revisions = 4, 150
	var backends []enforce.Backend
	var fakes []*fake
	for i := range 4 {
		f := new(fake)
		n := 0
		f.do = func(context.Context, int) error {
			if n++; i > 0 && n%(i+1) == 0 {
				return errNope
			}
			return nil
		}
		fakes, backends = append(fakes, f), append(backends, f)
	}
	engine := enforce.NewEngine(enforce.Options{})
	l := newLoop(t, nil, enforce.ReconcilerOptions{RetryMin: time.Microsecond, RetryMax: time.Millisecond, Resync: time.Millisecond}, append(backends, engine)...)
	l.start()
	var write, read sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		write.Go(func() {
			for n := range revisions {
				rev, err := l.store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error {
					return tx.Apply(policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("%d-%d", w, n))}})
				})
				if err == nil && n%50 == 49 {
					err = l.Wait(t.Context(), rev)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			s := l.Status()
			for _, b := range s.Backends {
				if b.Applied && (b.Revision > s.Revision || b.Lag < 0) {
					t.Errorf("%+v of %+v", b, s)
				}
			}
		}
	})
	write.Wait()
	require.NoError(t, l.Wait(t.Context(), writers*revisions))
	close(done)
	read.Wait()
	l.halt()
	l.start()
	l.halt()
	for i, f := range fakes {
		require.True(t, slices.IsSorted(f.took()), i)
		require.True(t, slices.IsSorted(f.attempts()), i)
		require.Contains(t, f.took(), writers*revisions)
	}
	require.LessOrEqual(t, engine.Matcher().Program().Generation(), uint64(writers*revisions+2), "a revision was compiled twice")
}
