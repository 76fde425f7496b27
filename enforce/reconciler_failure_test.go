package enforce_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg/policy"
)

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
