package policy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// edited is the obvious form of an EditGroup: the rules that it leads to, and
// those to replace that are not there.
func edited(rules []sg.Rule, c policy.EditGroup) (out []sg.Rule, missing []sg.RuleID) {
	out = slices.Clone(rules)
	find := func(id sg.RuleID) int {
		return slices.IndexFunc(out, func(r sg.Rule) bool { return r.ID == id })
	}
	for _, id := range c.Remove {
		if i := find(id); i >= 0 {
			out = slices.Delete(out, i, i+1)
		}
	}
	for _, r := range c.Replace {
		if i := find(r.ID); i >= 0 {
			out[i] = r
		} else {
			missing = append(missing, r.ID)
		}
	}
	return append(out, c.Add...), missing
}

// drawEdit draws an edit of group id, whose rules have those ids, and some
// beside.
func drawEdit(t *rapid.T, id sg.GroupID, ids ...sg.RuleID) policy.EditGroup {
	ids = append(ids, "r0", "r1", "r7")
	rule := func(r sg.Rule) sg.Rule {
		if rarely(t, "odd id", 3) {
			r.ID = pick(t, "id", ids...)
		}
		switch rapid.IntRange(0, 30).Draw(t, "odd") {
		case 0:
			r.Ports = sg.PortRange{}
		case 1:
			r.Direction = 0
		case 2:
			r.ID = ""
		case 3:
			r.Peer = sg.Peer{}
		}
		return r
	}
	c := policy.EditGroup{ID: id, Remove: rapid.SliceOfN(rapid.SampledFrom(ids), 0, 2).Draw(t, "remove")}
	if rarely(t, "replace", 2) {
		for _, r := range drawRules(t) {
			r.ID = pick(t, "id", ids...)
			c.Replace = append(c.Replace, rule(r))
		}
	}
	if rarely(t, "add", 2) {
		for _, r := range drawRules(t) {
			c.Add = append(c.Add, rule(r))
		}
	}
	return c
}

// whole is c as the change that puts the whole group.
func whole(tx *policy.Tx, c policy.EditGroup) (policy.Change, bool) {
	g, ok := tx.Group(c.ID)
	if !ok {
		return policy.DeleteGroup{ID: c.ID}, true // not found, either
	}
	g = g.Clone()
	rules, missing := edited(g.Rules, c)
	g.Rules = rules
	return policy.PutGroup{Group: g}, len(missing) == 0
}

func errorsOf(err error) (out []sg.FieldError) {
	var all sg.Errors
	if errors.As(err, &all) {
		for _, f := range all {
			out = append(out, *f)
		}
	}
	return out
}

// TestEditIsPut: an edit of a group by rules has the outcome of a change that
// puts the whole group: the same snapshot, or every fault the same.
func TestEditIsPut(t *testing.T) { rapid.Check(t, editIsPut) }

func FuzzEditIsPut(f *testing.F) { f.Fuzz(rapid.MakeFuzz(editIsPut)) }

func editIsPut(t *rapid.T) {
	p := drawProfile(t)
	var stores [2]*policy.Store
	for i := range stores {
		stores[i], _ = policy.NewStore(p)
	}
	start := furniture(p)
	if rapid.Bool().Draw(t, "large") {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		g := &sg.Group{ID: "d", Name: "d", VPC: "v1", Scope: pick(t, "scope", sg.Global(), sg.User("ann"))}
		for n := range 600 {
			g.Rules = append(g.Rules, sg.Rule{ID: sg.RuleID(fmt.Sprint("r", n)), Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.UDP,
				Ports: sg.Port(uint16(n + 1)), Peer: sg.PeerCIDR(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.UintN(256))}), 8))})
		}
		start = append(start, policy.PutGroup{Group: g})
	}
	for i, s := range stores {
		if i == 0 {
			empty, _ := s.Snapshot()
			policy.EditBeyond(empty, pick(t, "beyond", -1, -1, 2, 48))
		}
		if _, err := s.Update(admin, func(tx *policy.Tx) error { return tx.Apply(start...) }); err != nil {
			t.SkipNow() // the quotas are too narrow for anything
		}
	}
	var seen []*policy.Snapshot
	for range rapid.IntRange(1, 20).Draw(t, "transactions") {
		by := pick(t, "actor", actors...)
		var steps []func(tx *policy.Tx) (a, b policy.Change)
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			if !rarely(t, "edit", 3) {
				c := drawChange(t, by)
				steps = append(steps, func(*policy.Tx) (a, b policy.Change) { return c, c })
				continue
			}
			c := drawEdit(t, pick(t, "group", groupIDs...), "r2", "r300", "r599")
			steps = append(steps, func(tx *policy.Tx) (a, b policy.Change) {
				if g, ok := tx.Group(c.ID); ok { // none that is missing: that is a fault of its own
					rules, _ := edited(g.Rules, policy.EditGroup{Remove: c.Remove})
					c.Replace = slices.DeleteFunc(slices.Clone(c.Replace), func(r sg.Rule) bool {
						return !slices.ContainsFunc(rules, func(have sg.Rule) bool { return have.ID == r.ID })
					})
				}
				b, _ = whole(tx, c)
				return c, b
			})
		}
		var errs [2]error
		var revs [2]policy.Revision
		for i, s := range stores {
			revs[i], errs[i] = s.Update(by, func(tx *policy.Tx) error {
				for _, step := range steps {
					a, b := step(tx)
					if i == 1 {
						a = b
					}
					if err := tx.Apply(a); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if !reflect.DeepEqual(errorsOf(errs[0]), errorsOf(errs[1])) {
			t.Fatalf("%v\nThe edit fails with\n%v\nand the whole with\n%v", steps, errs[0], errs[1])
		}
		a, _ := stores[0].Snapshot()
		b, _ := stores[1].Snapshot()
		if content(a) != content(b) || revs[0] != revs[1] {
			t.Fatalf("%v\nThe edit leads to\n%v\nand the whole to\n%v", steps, content(a), content(b))
		}
		if d := a.Diff(b); len(d) > 0 {
			t.Fatalf("differ by %v", d)
		}
		seen = append(seen, a)
		for _, id := range groupIDs {
			ra, rb := slices.Collect(a.Referrers(sg.PeerGroup(id))), slices.Collect(b.Referrers(sg.PeerGroup(id)))
			if !slices.Equal(ra, rb) {
				t.Fatalf("%v refer to %s, not %v", ra, id, rb)
			}
		}
	}
	for i, s := range seen {
		if err := s.Validate(); err != nil {
			t.Fatalf("snapshot %d: %v", i, err)
		}
	}
	// What a watcher is told leads there, too.
	now, at := stores[0].Snapshot()
	s, _ := policy.New(p)
	policy.EditBeyond(s, pick(t, "beyond", -1, 48))
	for b, err := range stores[0].Watch(t.Context(), 0) {
		next, done, err2 := s.With(b.Changes...)
		if err != nil || err2 != nil || len(done) != len(b.Changes) {
			t.Fatalf("batch %d: %v, %v, %v", b.Revision, err, err2, done)
		}
		if s = next; b.Revision == at {
			break
		}
	}
	if content(now) != content(s) {
		t.Fatalf("the batches lead to\n%v\nnot\n%v", content(s), content(now))
	}
}

// TestEditGroup: what is removed, replaced and added, and where it stands.
func TestEditGroup(t *testing.T) {
	for _, beyond := range []int{-1, 48} {
		rule := func(id sg.RuleID, port uint16) sg.Rule { return tcp(id, sg.Ingress, port, sg.PeerAny()) }
		s := mustBuild(t)
		policy.EditBeyond(s, beyond)
		s, _, err := s.With(policy.PutGroup{Group: group("g", "v", rule("a", 1), rule("b", 2), rule("c", 3))})
		require.NoError(t, err)
		before, _ := s.Group("g")
		edit := policy.EditGroup{
			ID: "g", Remove: []sg.RuleID{"a", "none"}, Replace: []sg.Rule{rule("b", 5), rule("c", 3)}, Add: []sg.Rule{rule("d", 1)},
		}
		next, done, err := s.With(edit)
		require.NoError(t, err)
		g, _ := next.Group("g")
		require.Equal(t, []sg.Rule{rule("b", 5), rule("c", 3), rule("d", 1)}, g.Rules)
		require.Equal(t, "g", g.Name)
		again, _ := next.Group("g")
		require.Same(t, g, again)
		old, _ := s.Group("g")
		require.Same(t, before, old)
		require.Equal(t, []policy.Change{policy.EditGroup{ // what had no effect is not in it
			ID: "g", Remove: []sg.RuleID{"a"}, Replace: []sg.Rule{rule("b", 5)}, Add: []sg.Rule{rule("d", 1)},
		}}, done)
		_, done, err = next.With(policy.EditGroup{ID: "g", Remove: []sg.RuleID{"d"}, Add: []sg.Rule{rule("d", 1)}})
		require.NoError(t, err)
		require.Empty(t, done, "it went and came back")
		b, c, d := rule("b", 5), rule("c", 3), rule("d", 1)
		_, done, err = next.With(policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("b", 9), b}})
		require.NoError(t, err)
		require.Empty(t, done, "it changed and changed back")
		_, done, err = next.With(policy.EditGroup{ID: "g", Remove: []sg.RuleID{"d"}, Replace: []sg.Rule{rule("b", 9), rule("c", 8), b, c}, Add: []sg.Rule{d}})
		require.NoError(t, err)
		require.Empty(t, done, "all at once")
		_, done, err = next.With(policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("b", 9), rule("c", 8), b, rule("c", 7)}})
		require.NoError(t, err)
		require.Equal(t, []policy.Change{policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("c", 7)}}}, done)

		for _, c := range []struct {
			edit policy.EditGroup
			want fault
		}{
			{policy.EditGroup{ID: "x", Add: []sg.Rule{rule("d", 1)}}, fault{`groups["x"]`, sg.ErrNotFound, ""}},
			{policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("x", 9)}}, fault{`groups["g"].rules`, sg.ErrNotFound, ""}},
			{policy.EditGroup{ID: "g", Remove: []sg.RuleID{"a"}, Replace: []sg.Rule{rule("a", 9)}}, fault{`groups["g"].rules`, sg.ErrNotFound, ""}},
			{policy.EditGroup{ID: "g", Add: []sg.Rule{rule("a", 9)}}, fault{`groups["g"].rules[3].id`, sg.ErrDuplicate, ""}},
			{policy.EditGroup{ID: "g", Add: []sg.Rule{rule("z", 2)}}, fault{`groups["g"].rules[3]`, sg.ErrDuplicate, ""}},
			{policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("c", 2)}}, fault{`groups["g"].rules[2]`, sg.ErrDuplicate, ""}},
			{policy.EditGroup{ID: "g", Add: []sg.Rule{rule("z", 0)}}, fault{`groups["g"].rules[3].ports`, sg.ErrRequired, "range"}},
		} {
			_, _, err := s.With(c.edit)
			requireFaults(t, err, c.want)
		}
		text := content(s)
		_, _, err = s.With(policy.EditGroup{ID: "g", Add: []sg.Rule{rule("a", 9)}})
		require.Error(t, err)
		require.Equal(t, text, content(s))
	}
}

// TestEditAround: what an edit of some rules breaks, or something else in the
// same transaction, in rules that it does not name, or beside the group.
func TestEditAround(t *testing.T) {
	rule := func(id sg.RuleID, port uint16, p sg.Peer) sg.Rule { return tcp(id, sg.Ingress, port, p) }
	p := sg.Profile{Name: "narrow", Quota: sg.Quota{RulesPerGroup: 4, RulesPerInterface: 5, RulesPerDirection: 3}}
	base, err := policy.New(p)
	require.NoError(t, err)
	policy.EditBeyond(base, -1)
	base, _, err = base.With(
		policy.PutSet{Set: set("s", "v")},
		policy.PutGroup{Group: group("far", "v")},
		policy.PutGroup{Group: group("g", "v", rule("a", 1, sg.PeerSet("s")), rule("b", 2, sg.PeerGroup("far")), rule("c", 3, sg.PeerAny()))},
		policy.PutGroup{Group: group("h", "v", rule("a", 1, sg.PeerAny()), rule("b", 2, sg.PeerAny()))},
		policy.PutInterface{Interface: iface("i", "v", "g", "h")},
	)
	require.NoError(t, err)
	port := func(n int) sg.Rule { return tcp(sg.RuleID(fmt.Sprint("n", n)), sg.Egress, uint16(100+n), sg.PeerAny()) }
	in := func(n int) sg.Rule { return rule(sg.RuleID(fmt.Sprint("n", n)), uint16(100+n), sg.PeerAny()) }
	harmless := policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("c", 4, sg.PeerAny())}}
	six := set("s", "w")
	for name, changes := range map[string][]policy.Change{
		"fits":                {harmless},
		"rules of interface":  {policy.EditGroup{ID: "g", Add: []sg.Rule{port(1)}}},
		"rules of group":      {policy.DeleteInterface{ID: "i"}, policy.EditGroup{ID: "g", Add: []sg.Rule{port(1), port(2)}}},
		"rules of direction":  {policy.DeleteInterface{ID: "i"}, policy.EditGroup{ID: "h", Add: []sg.Rule{in(1), in(2)}}},
		"fewer here for more": {policy.EditGroup{ID: "g", Remove: []sg.RuleID{"a"}}, policy.EditGroup{ID: "h", Add: []sg.Rule{port(1)}}},
		"more than fewer":     {policy.EditGroup{ID: "g", Remove: []sg.RuleID{"a"}}, policy.EditGroup{ID: "h", Add: []sg.Rule{port(1), port(2)}}},
		"set moves":           {harmless, policy.PutSet{Set: six}},
		"set goes":            {harmless, policy.DeleteSet{ID: "s"}},
		"group moves":         {harmless, policy.PutGroup{Group: group("far", "w")}},
		"group goes":          {harmless, policy.DeleteGroup{ID: "far"}},
		"name is taken":       {harmless, policy.PutGroup{Group: &sg.Group{ID: "f", Name: "g", VPC: "v"}}},
		"no such group":       {policy.EditGroup{ID: "g", Replace: []sg.Rule{rule("c", 4, sg.PeerGroup("none"))}}},
		"added and removed":   {policy.EditGroup{ID: "g", Add: []sg.Rule{rule("x", 0, sg.PeerAny())}}, policy.EditGroup{ID: "g", Remove: []sg.RuleID{"x"}}},
		"whole and edited":    {policy.PutGroup{Group: group("g", "v", rule("a", 0, sg.PeerAny()), rule("b", 2, sg.PeerAny()))}, policy.EditGroup{ID: "g", Remove: []sg.RuleID{"b"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var puts []policy.Change
			now := map[sg.GroupID][]sg.Rule{}
			for _, c := range changes {
				switch c := c.(type) {
				case policy.PutGroup:
					now[c.Group.ID] = c.Group.Rules
					puts = append(puts, c)
				case policy.EditGroup:
					g, _ := base.Group(c.ID)
					rules, put := now[c.ID]
					if !put {
						rules = g.Rules
					}
					now[c.ID], _ = edited(rules, c)
					g = g.Clone()
					g.Rules = now[c.ID]
					puts = append(puts, policy.PutGroup{Group: g})
				default:
					puts = append(puts, c)
				}
			}
			a, _, errA := base.With(changes...)
			b, _, errB := base.With(puts...)
			require.Equal(t, errorsOf(errB), errorsOf(errA))
			if errA == nil {
				require.Equal(t, content(b), content(a))
			}
			require.Equal(t, slices.Contains([]string{"fits", "fewer here for more", "added and removed"}, name), errA == nil, "%v", errA)
		})
	}
}

// TestEditShared: who reads a group that was edited, and who edits it further,
// do not disturb each other.
func TestEditShared(t *testing.T) {
	g := group("g", "v")
	for n := range 300 {
		g.Rules = append(g.Rules, tcp(sg.RuleID(fmt.Sprint("r", n)), sg.Ingress, uint16(n+1), sg.PeerAny()))
	}
	put := mustBuild(t, policy.PutGroup{Group: g})
	edited, _, err := put.With(policy.EditGroup{ID: "g", Remove: []sg.RuleID{"r7"}})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for _, s := range []*policy.Snapshot{put, edited} {
				next, _, err := s.With(policy.EditGroup{ID: "g", Remove: []sg.RuleID{"r9"}, Add: []sg.Rule{tcp("new", sg.Egress, uint16(n+1), sg.PeerAny())}})
				assert.NoError(t, err)
				is, _ := next.Group("g")
				was, _ := s.Group("g")
				assert.Len(t, is.Rules, len(was.Rules))
				assert.Equal(t, uint16(n+1), is.Rules[len(is.Rules)-1].Ports.First)
			}
		})
	}
	wg.Wait()
	was, _ := edited.Group("g")
	require.Len(t, was.Rules, 299)
}
