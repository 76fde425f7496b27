package enforce_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

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
