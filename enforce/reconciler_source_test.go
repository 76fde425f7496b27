package enforce_test

import (
	"context"
	"iter"
	"strings"
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
