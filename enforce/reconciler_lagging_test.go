package enforce_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

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
