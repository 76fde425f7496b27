package enforce_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
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
