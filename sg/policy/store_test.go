package policy_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func newStore(t *testing.T) *policy.Store {
	t.Helper()
	s, err := policy.NewStore(sg.Profile{Name: "test", NamesPerScope: true})
	require.NoError(t, err)
	return s
}

// apply is an Update function that applies c.
func apply(c ...policy.Change) func(*policy.Tx) error {
	return func(tx *policy.Tx) error { return tx.Apply(c...) }
}

// commit applies c as admin.
func commit(t testing.TB, s *policy.Store, c ...policy.Change) policy.Revision {
	t.Helper()
	rev, err := s.Update(admin, apply(c...))
	require.NoError(t, err)
	return rev
}

// number is a change that is different for each n.
func number(n int) policy.Change {
	return policy.PutGroup{Group: &sg.Group{ID: "g", Name: "g", Description: fmt.Sprint(n)}}
}

func TestUpdate(t *testing.T) {
	s := newStore(t)
	snapshot, rev := s.Snapshot()
	require.Zero(t, rev)
	require.Equal(t, policy.Size{}, snapshot.Size())
	require.Equal(t, policy.Revision(1), commit(t, s, world()...))
	require.Equal(t, policy.Revision(1), commit(t, s), "nothing")
	require.Equal(t, policy.Revision(1), commit(t, s, world()...), "nothing new")
	require.Equal(t, policy.Revision(1), commit(t, s, policy.EditSet{ID: "s4", Add: []ipset.Entry{{Prefix: prefix("198.51.100.0/24")}}}))

	boom := errors.New("boom")
	rev, err := s.Update(admin, func(tx *policy.Tx) error {
		require.NoError(t, tx.Apply(policy.DeleteInterface{ID: "i1"}))
		_, ok := tx.Interface("i1")
		require.False(t, ok, "a transaction sees its own changes")
		return boom
	})
	require.Same(t, boom, err)
	require.Equal(t, policy.Revision(1), rev)
	now, _ := s.Snapshot()
	_, ok := now.Interface("i1")
	require.True(t, ok)
}

func TestTxSeesItself(t *testing.T) {
	s := newStore(t)
	_, err := s.Update(admin, func(tx *policy.Tx) error {
		if err := tx.Apply(world()...); err != nil {
			return err
		}
		require.NoError(t, tx.Attach("i2", "web", "db", "web"))
		i, _ := tx.Interface("i2")
		require.Equal(t, []sg.GroupID{"db", "web"}, i.Groups, "behind those it has")
		require.NoError(t, tx.Detach("i2", "db", "nope"))
		i, _ = tx.Interface("i2")
		require.Equal(t, []sg.GroupID{"web"}, i.Groups)
		require.NoError(t, tx.SetGroups("i2", "db", "web")) // AT-05
		require.NoError(t, tx.Apply(policy.EditSet{ID: "s4", Add: []ipset.Entry{{Prefix: prefix("192.0.2.1/32")}}}))
		set, ok := tx.Set("s4")
		require.True(t, ok)
		require.Equal(t, 2, set.Len())
		g, ok := tx.Group("web")
		require.True(t, ok)
		require.Len(t, g.Rules, 4)
		require.ErrorIs(t, tx.Attach("nope", "web"), sg.ErrNotFound)
		return nil
	})
	require.NoError(t, err)
	now, _ := s.Snapshot()
	i, _ := now.Interface("i2")
	require.Equal(t, []sg.GroupID{"db", "web"}, i.Groups)
}

func TestTxDone(t *testing.T) {
	s := newStore(t)
	var kept *policy.Tx
	keep := func(err error) func(*policy.Tx) error {
		return func(tx *policy.Tx) error { kept = tx; return err }
	}
	for _, err := range []error{nil, errors.New("no")} {
		_, got := s.Update(admin, keep(err))
		require.Equal(t, err, got)
		require.ErrorIs(t, kept.Apply(number(1)), policy.ErrTxDone)
		require.ErrorIs(t, kept.Attach("i", "g"), policy.ErrTxDone)
		require.ErrorIs(t, kept.Detach("i", "g"), policy.ErrTxDone)
		require.ErrorIs(t, kept.SetGroups("i"), policy.ErrTxDone)
		_, ok := kept.Group("g")
		require.False(t, ok)
		_, ok = kept.Set("s")
		require.False(t, ok)
		_, ok = kept.Interface("i")
		require.False(t, ok)
	}
}

func TestPanicInUpdate(t *testing.T) {
	s := newStore(t)
	var kept *policy.Tx
	require.PanicsWithValue(t, "boom", func() {
		_, _ = s.Update(admin, func(tx *policy.Tx) error {
			kept = tx
			_ = tx.Apply(number(1))
			panic("boom")
		})
	})
	require.ErrorIs(t, kept.Apply(number(1)), policy.ErrTxDone)
	_, rev := s.Snapshot()
	require.Zero(t, rev)
	require.Equal(t, policy.Revision(1), commit(t, s, number(2)), "the store goes on")
}

// TestInterfaceRights: what the operator set stands above its owner: EV-13.
func TestInterfaceRights(t *testing.T) {
	ann := sg.Actor{ID: "ann"}
	owned := func(edit func(i *sg.Interface)) policy.PutInterface {
		i := &sg.Interface{ID: "i", VPC: "v1", Owner: "ann", Groups: []sg.GroupID{"web"}}
		edit(i)
		return policy.PutInterface{Interface: i}
	}
	asItIs := func(*sg.Interface) {}
	guarded := func(i *sg.Interface) { i.SourceGuard = true }
	exempt := func(i *sg.Interface) { i.Exempt = []string{"smtp"} }
	forbidden := func(path string) []fault { return []fault{{path, sg.ErrForbidden, ""}} }
	for name, c := range map[string]struct {
		before, after policy.Change
		want          []fault
	}{
		"attach":             {owned(asItIs), owned(func(i *sg.Interface) { i.Groups = []sg.GroupID{"db"} }), nil},
		"exempts itself":     {owned(asItIs), owned(exempt), forbidden(`interfaces["i"].exempt[0]`)},
		"comes exempt":       {number(1), owned(exempt), forbidden(`interfaces["i"].exempt[0]`)},
		"stays exempt":       {owned(exempt), owned(func(i *sg.Interface) { exempt(i); i.Groups = nil }), nil},
		"gives it up":        {owned(exempt), owned(asItIs), nil},
		"lifts the guard":    {owned(guarded), owned(asItIs), forbidden(`interfaces["i"].source_guard`)},
		"widens the guard":   {owned(guarded), owned(func(i *sg.Interface) { guarded(i); i.Allowed = append(i.Allowed, prefix("0.0.0.0/0")) }), forbidden(`interfaces["i"].source_guard`)},
		"attach under guard": {owned(guarded), owned(func(i *sg.Interface) { guarded(i); i.Groups = nil }), nil},
		"delete under guard": {owned(guarded), policy.DeleteInterface{ID: "i"}, forbidden(`interfaces["i"].source_guard`)},
		"delete":             {owned(asItIs), policy.DeleteInterface{ID: "i"}, nil},
		"gives it away":      {owned(asItIs), owned(func(i *sg.Interface) { i.Owner = "bob" }), forbidden(`interfaces["i"]`)},
		"as it is, foreign":  {owned(func(i *sg.Interface) { i.Owner = "bob" }), owned(func(i *sg.Interface) { i.Owner = "bob" }), forbidden(`interfaces["i"]`)},
		"nobody's":           {owned(func(i *sg.Interface) { i.Owner = "" }), owned(func(i *sg.Interface) { i.Owner = "" }), forbidden(`interfaces["i"]`)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			commit(t, s, append(world(), c.before)...)
			_, err := s.Update(ann, apply(c.after))
			requireFaults(t, err, c.want...)
			if err != nil {
				_, err = s.Update(admin, apply(c.after))
				require.NoError(t, err, "an admin may")
			}
		})
	}
}

// TestScopes: GR-19 to GR-22, IP-03.
func TestScopes(t *testing.T) {
	s := newStore(t)
	ann, bob := sg.Actor{ID: "ann"}, sg.Actor{ID: "bob"}
	mine := func(id sg.GroupID, who sg.OwnerID, rules ...sg.Rule) policy.PutGroup {
		return policy.PutGroup{Group: &sg.Group{ID: id, Name: "same name", VPC: "v1", Scope: sg.User(who), Rules: rules}}
	}
	commit(t, s, world()...)
	commit(t, s, policy.PutInterface{Interface: &sg.Interface{ID: "bobs", VPC: "v1", Owner: "bob"}})
	update := func(by sg.Actor, c policy.Change, want ...fault) {
		t.Helper()
		_, err := s.Update(by, apply(c))
		requireFaults(t, err, want...)
	}
	update(ann, mine("ann-1", "ann", tcp("r", sg.Ingress, 1, sg.PeerGroup("web"))))
	update(ann, mine("bob-1", "bob"), fault{`groups["bob-1"]`, sg.ErrForbidden, ""})
	update(ann, policy.PutGroup{Group: group("global", "v1")}, fault{`groups["global"]`, sg.ErrForbidden, ""})
	update(ann, policy.PutGroup{Group: group("db", "v1")}, fault{`groups["db"]`, sg.ErrForbidden, ""}) // even as it is
	update(ann, policy.DeleteSet{ID: "s6"}, fault{`sets["s6"]`, sg.ErrForbidden, ""})
	update(bob, mine("bob-1", "bob", tcp("r", sg.Ingress, 1, sg.PeerGroup("ann-1"))), fault{`groups["bob-1"].rules[0].peer`, sg.ErrForbidden, "another user"})
	update(bob, policy.PutInterface{Interface: &sg.Interface{ID: "bobs", VPC: "v1", Owner: "bob", Groups: []sg.GroupID{"ann-1"}}}, fault{`interfaces["bobs"].groups[0]`, sg.ErrForbidden, "another user"})
	update(bob, policy.PutInterface{Interface: &sg.Interface{ID: "bobs", VPC: "v1", Owner: "bob", Groups: []sg.GroupID{"web"}}})
	update(bob, policy.DeleteGroup{ID: "ann-1"}, fault{`groups["ann-1"]`, sg.ErrForbidden, ""})

	// An admin attaches ann's group to bob's interface; she deletes it all the same.
	commit(t, s, policy.PutInterface{Interface: &sg.Interface{ID: "bobs", VPC: "v1", Owner: "bob", Groups: []sg.GroupID{"web", "ann-1"}}})
	_, err := s.Update(ann, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "ann-1"}, mine("ann-1", "ann")) })
	requireFaults(t, err, fault{`interfaces["bobs"]`, sg.ErrForbidden, ""})
	update(ann, policy.DeleteGroup{ID: "ann-1"})
	now, _ := s.Snapshot()
	i, _ := now.Interface("bobs")
	require.Equal(t, []sg.GroupID{"web"}, i.Groups)
}

func TestWatchFromZero(t *testing.T) {
	s := newStore(t)
	for n := range 10 {
		commit(t, s, number(n))
	}
	for since := range policy.Revision(10) {
		want := since
		for b, err := range s.Watch(t.Context(), since) {
			require.NoError(t, err)
			want++
			require.Equal(t, policy.Batch{Revision: want, Changes: []policy.Change{b.Changes[0]}}, b)
			require.Equal(t, fmt.Sprint(want-1), b.Changes[0].(policy.PutGroup).Group.Description)
			if want == 10 {
				break
			}
		}
	}
}

func TestWatchContext(t *testing.T) {
	s := newStore(t)
	commit(t, s, number(1))
	commit(t, s, number(2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n := 0
	for b, err := range s.Watch(ctx, 0) {
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, b)
		n++
	}
	require.Equal(t, 1, n, "the error is the last element")

	ctx, cancel = context.WithCancel(t.Context())
	var errs []error
	for _, err := range s.Watch(ctx, 0) {
		errs = append(errs, err)
		cancel() // in the middle of what is kept
	}
	require.Equal(t, []error{nil, context.Canceled}, errs)

	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		for _, err := range s.Watch(ctx, 2) { // waits
			done <- err
		}
		close(done)
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	_, more := <-done
	require.False(t, more)
}

// TestWatchCompacted: a reader that is more than the history behind is told so,
// one that is less gets everything.
func TestWatchCompacted(t *testing.T) {
	s := newStore(t)
	for n := range 5000 {
		commit(t, s, number(n))
	}
	first := func(since policy.Revision) (policy.Batch, error) {
		for b, err := range s.Watch(t.Context(), since) {
			return b, err
		}
		panic("no element")
	}
	b, err := first(5000 - 1024)
	require.NoError(t, err)
	require.Equal(t, policy.Revision(5000-1023), b.Revision)
	n := 0
	for b, err := range s.Watch(t.Context(), 0) {
		require.ErrorIs(t, err, policy.ErrCompacted)
		require.Empty(t, b)
		n++
	}
	require.Equal(t, 1, n)
}

// TestWatchSlowly: the store fills its history many times over while a reader
// holds one element; afterwards it goes on where it can, or is told.
// A revision that is still to come is one of another store.
func TestWatchFuture(t *testing.T) {
	s, err := policy.NewStore(sg.Profile{Name: "p"})
	require.NoError(t, err)
	_, at := s.Snapshot()
	for _, since := range []policy.Revision{at + 1, 9999} {
		n := 0
		for b, err := range s.Watch(t.Context(), since) {
			require.Zero(t, b)
			require.ErrorIs(t, err, policy.ErrCompacted)
			n++
		}
		require.Equal(t, 1, n)
	}
}

func TestNewGroupNil(t *testing.T) {
	s, err := policy.NewStore(sg.Profile{Name: "p"})
	require.NoError(t, err)
	_, err = s.Update(admin, func(tx *policy.Tx) error { return tx.NewGroup(nil) })
	require.ErrorIs(t, err, sg.ErrRequired)
}

func TestWatchSlowly(t *testing.T) {
	s := newStore(t)
	commit(t, s, number(0))
	last, compacted := policy.Revision(0), false
	for b, err := range s.Watch(t.Context(), 0) {
		if err != nil {
			require.ErrorIs(t, err, policy.ErrCompacted)
			compacted = true
			continue
		}
		require.Equal(t, last+1, b.Revision)
		last = b.Revision
		for n := range 5000 {
			commit(t, s, number(1+n))
		}
	}
	require.True(t, compacted)
	require.Equal(t, policy.Revision(1), last)
}

// TestConcurrent: writers, readers and watchers at once; under -race.
func TestConcurrent(t *testing.T) {
	const writers, each = 4, 200
	s := newStore(t)
	commit(t, s, world()...)
	commit(t, s, policy.PutSet{Set: set("shared", "", "192.0.2.0/24")})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				id := sg.InterfaceID(fmt.Sprintf("w%d-%d", w, n%20))
				_, err := s.Update(admin, func(tx *policy.Tx) error {
					if _, ok := tx.Interface(id); ok {
						return tx.Apply(policy.DeleteInterface{ID: id})
					}
					entry := ipset.Entry{Prefix: prefix(fmt.Sprintf("10.%d.%d.0/24", w, n))}
					if err := tx.Apply(policy.EditSet{ID: "shared", Add: []ipset.Entry{entry}}); err != nil {
						return err
					}
					return tx.Apply(policy.PutInterface{Interface: iface(id, "v1", "web")})
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	end := policy.Revision(2 + writers*each)
	for range 2 {
		wg.Go(func() { // a reader
			for {
				now, rev := s.Snapshot()
				if err := now.Validate(); err != nil {
					t.Error(err)
					return
				}
				if _, _, err := now.With(policy.DeleteGroup{ID: "web"}); err != nil {
					t.Error(err)
					return
				}
				if rev == end {
					return
				}
			}
		})
		wg.Go(func() { // a replica
			mine, at := mustBuild(t), policy.Revision(0)
			for b, err := range s.Watch(t.Context(), 0) {
				next, _, with := mine.With(b.Changes...)
				if err != nil || with != nil || b.Revision != at+1 {
					t.Error(b.Revision, err, with)
					return
				}
				if mine, at = next, b.Revision; at == end {
					break
				}
			}
			if now, _ := s.Snapshot(); content(now) != content(mine) {
				t.Error("the replica differs")
			}
		})
	}
	wg.Wait()
}

func mustBuild(t *testing.T, c ...policy.Change) *policy.Snapshot {
	s, err := policy.Build(sg.Profile{Name: "test"}, c...)
	if err != nil {
		t.Error(err)
	}
	return s
}
