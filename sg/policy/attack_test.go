package policy_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// town is where bob attacks: ann and bob have a group, a set, an instance and
// an interface each, beside global ones; what an admin did for ann lies open.
func town() []policy.Change {
	anns, bobs := sg.User("ann"), sg.User("bob")
	scoped := func(g *sg.Group, s sg.Scope) policy.Change { g.Scope = s; return policy.PutGroup{Group: g} }
	annSet, bobSet := ipset.New("ann-set", sg.IPv4, anns), ipset.New("bob-set", sg.IPv4, bobs)
	_ = annSet.Add(ipset.Entry{Prefix: prefix("192.0.2.1/32")})
	return []policy.Change{
		scoped(group("ann", "v1", tcp("home", sg.Ingress, 22, cidr("198.51.100.7/32")), tcp("bob", sg.Ingress, 80, sg.PeerGroup("bob"))), anns),
		scoped(group("bob", "v1"), bobs),
		scoped(group("all", "v1", tcp("office", sg.Ingress, 22, sg.PeerSet("ann-set"))), sg.Global()),
		scoped(group("everywhere", ""), sg.Global()),
		policy.PutSet{Set: annSet}, policy.PutSet{Set: bobSet},
		policy.PutOwner{Owner: &sg.Owner{ID: "ann", Exempt: []string{"smtp"}}},
		policy.PutInstance{Instance: &sg.Instance{ID: "ann-vm", Owner: "ann", Groups: []sg.GroupID{"ann"}}},
		policy.PutInstance{Instance: &sg.Instance{ID: "bob-vm", Owner: "bob"}},
		policy.PutInstance{Instance: &sg.Instance{ID: "lent", Owner: "bob", Groups: []sg.GroupID{"ann"}}}, // by an admin
		policy.PutInterface{Interface: &sg.Interface{ID: "ann-nic", VPC: "v1", Owner: "ann", Instance: "ann-vm", Groups: []sg.GroupID{"bob"}, Addrs: addrs("10.0.0.1/32")}},
		policy.PutInterface{Interface: bobNIC()},
		policy.PutInterface{Interface: &sg.Interface{ID: "lent-nic", VPC: "v1", Owner: "bob", Instance: "lent", Addrs: addrs("10.0.0.3/32")}},
		policy.PutInterface{Interface: &sg.Interface{ID: "guarded", VPC: "v1", Owner: "bob", SourceGuard: true, Addrs: addrs("10.0.0.4/32")}},
	}
}

func bobNIC() *sg.Interface {
	return &sg.Interface{ID: "bob-nic", VPC: "v1", Owner: "bob", Instance: "bob-vm", Addrs: addrs("10.0.0.2/32")}
}

// TestAttacks: what a user must not gain by any sequence of changes, of which
// each is a transaction of bob's. It is refused and leaves everything as it was.
func TestAttacks(t *testing.T) {
	nic := func(edit func(*sg.Interface)) func(*policy.Tx) error {
		i := bobNIC()
		edit(i)
		return apply(policy.PutInterface{Interface: i})
	}
	edited := func(id sg.InterfaceID, edit func(*sg.Interface)) func(*policy.Tx) error {
		return func(tx *policy.Tx) error {
			i, _ := tx.Interface(id)
			i = i.Clone()
			edit(i)
			return tx.Apply(policy.PutInterface{Interface: i})
		}
	}
	vm := func(n *sg.Instance) func(*policy.Tx) error { return apply(policy.PutInstance{Instance: n}) }
	mine := func(id sg.GroupID, rules ...sg.Rule) policy.Change {
		g := group(id, "v1", rules...)
		g.Scope = sg.User("bob")
		return policy.PutGroup{Group: g}
	}
	regroup := func(id sg.GroupID, edit func(*sg.Group)) func(*policy.Tx) error {
		return func(tx *policy.Tx) error {
			g, _ := tx.Group(id)
			g = g.Clone()
			edit(g)
			return tx.Apply(policy.PutGroup{Group: g})
		}
	}
	for name, attack := range map[string]func(*policy.Tx) error{
		// To become a member of somebody else's group.
		"attach it":                      nic(func(i *sg.Interface) { i.Groups = []sg.GroupID{"ann"} }),
		"attach it from its side":        func(tx *policy.Tx) error { return tx.AttachInterfaces("ann", "bob-nic") },
		"attach it to my instance":       func(tx *policy.Tx) error { return tx.AttachInstance("bob-vm", "ann") },
		"a new instance with it":         vm(&sg.Instance{ID: "new", Owner: "bob", Groups: []sg.GroupID{"ann"}}),
		"join the instance of another":   nic(func(i *sg.Interface) { i.Instance = "ann-vm" }),
		"join a lent instance":           nic(func(i *sg.Interface) { i.Instance = "lent" }),
		"a new interface there":          apply(policy.PutInterface{Interface: &sg.Interface{ID: "new", VPC: "v1", Owner: "bob", Instance: "lent", Addrs: addrs("10.0.0.9/32")}}),
		"more addresses there":           edited("lent-nic", func(i *sg.Interface) { i.Addrs = addrs("0.0.0.0/1") }),
		"another group there, keeping":   func(tx *policy.Tx) error { return tx.AttachInstance("lent", "bob") },
		"move the instance to the owner": vm(&sg.Instance{ID: "bob-vm", Owner: "ann", Groups: []sg.GroupID{"ann"}}),
		"take the instance over":         vm(&sg.Instance{ID: "ann-vm", Owner: "bob", Groups: []sg.GroupID{"bob"}}),
		"take it over by its id": apply(policy.DeleteInterface{ID: "ann-nic"}, policy.DeleteInstance{ID: "ann-vm"},
			policy.PutInstance{Instance: &sg.Instance{ID: "ann-vm", Owner: "bob"}}),
		"take the interface over":        edited("ann-nic", func(i *sg.Interface) { i.Owner = "bob" }),
		"take it over by the group's id": apply(policy.DeleteGroup{ID: "ann"}, mine("ann"), policy.PutInterface{Interface: bobNIC()}),
		"move the group into my scope":   regroup("ann", func(g *sg.Group) { g.Scope = sg.User("bob") }),
		"move the group into my VPC":     regroup("ann", func(g *sg.Group) { g.VPC = "v2" }),
		"a group in another's name":      regroup("bob", func(g *sg.Group) { g.Scope = sg.User("ann") }),
		"a global group of mine":         regroup("bob", func(g *sg.Group) { g.Scope = sg.Global() }),

		// To change what is attached elsewhere.
		"detach from another":    func(tx *policy.Tx) error { return tx.Detach("ann-nic", "bob") },
		"detach by recreation":   apply(policy.DeleteGroup{ID: "bob"}, mine("bob")),
		"give my interface away": nic(func(i *sg.Interface) { i.Owner = "ann" }),
		"a rule of another's":    func(tx *policy.Tx) error { return tx.RemoveRule("ann", "bob") },
		"more than what I deleted": func(tx *policy.Tx) error {
			_ = tx.Apply(policy.DeleteGroup{ID: "bob"})
			return regroup("ann", func(g *sg.Group) { g.Rules = nil })(tx)
		},

		// To lift a rule of the platform.
		"exempt my interface":    nic(func(i *sg.Interface) { i.Exempt = []string{"smtp"} }),
		"exempt a new interface": apply(policy.PutInterface{Interface: &sg.Interface{ID: "new", VPC: "v1", Owner: "bob", Exempt: []string{"smtp"}}}),
		"exempt by recreation": func(tx *policy.Tx) error {
			_ = tx.Apply(policy.DeleteInterface{ID: "bob-nic"})
			return nic(func(i *sg.Interface) { i.Exempt = []string{"smtp"} })(tx)
		},
		"exempt myself":              func(tx *policy.Tx) error { return tx.SetExempt("bob", "smtp") },
		"exempt myself, at length":   apply(policy.PutOwner{Owner: &sg.Owner{ID: "bob", Exempt: []string{"smtp"}}}),
		"forbid another":             func(tx *policy.Tx) error { return tx.SetExempt("ann") },
		"belong to who is exempt":    edited("bob-nic", func(i *sg.Interface) { i.Owner = "ann" }),
		"new, of who is exempt":      apply(policy.PutInterface{Interface: &sg.Interface{ID: "new", VPC: "v1", Owner: "ann"}}),
		"drop the guard":             edited("guarded", func(i *sg.Interface) { i.SourceGuard = false }),
		"drop the guard by deletion": apply(policy.DeleteInterface{ID: "guarded"}, policy.PutInterface{Interface: &sg.Interface{ID: "guarded", VPC: "v1", Owner: "bob"}}),
		"go around the guard":        edited("guarded", func(i *sg.Interface) { i.Allowed = addrs("0.0.0.0/0") }),
		"move from under the guard":  edited("guarded", func(i *sg.Interface) { i.Instance = "bob-vm" }),
		"move the guarded to a VPC":  edited("guarded", func(i *sg.Interface) { i.VPC = "v2" }),

		// To edit a global group.
		"add to a global group":    func(tx *policy.Tx) error { return tx.AddRules("all", tcp("", sg.Ingress, 1, sg.PeerAny())) },
		"remove from it":           func(tx *policy.Tx) error { return tx.RemoveRule("all", "office") },
		"own it":                   regroup("all", func(g *sg.Group) { g.Scope = sg.User("bob") }),
		"delete it":                apply(policy.DeleteGroup{ID: "all"}),
		"replace it":               apply(policy.DeleteGroup{ID: "all"}, mine("all")),
		"let it float":             regroup("all", func(g *sg.Group) { g.VPC = "" }),
		"rename it":                regroup("all", func(g *sg.Group) { g.Name = "x" }),
		"a new one":                func(tx *policy.Tx) error { return tx.NewGroup(group("new", "v1")) },
		"a copy that is global":    func(tx *policy.Tx) error { return tx.CopyGroup("bob", "new", "new", sg.Global()) },
		"a copy in another's name": func(tx *policy.Tx) error { return tx.CopyGroup("bob", "new", "new", sg.User("ann")) },

		// To have the default group away. That of v1 is global, as the first group
		// there is; that of v2 is bob's own.
		"delete the default group":   apply(policy.DeleteGroup{ID: "default-v1"}),
		"delete my default group":    apply(policy.DeleteGroup{ID: "default-v2"}),
		"replace my default group":   apply(policy.DeleteGroup{ID: "default-v2"}, mine("default-v2")),
		"my default group ordinary":  regroup("default-v2", func(g *sg.Group) { g.Default = false }),
		"my default group elsewhere": regroup("default-v2", func(g *sg.Group) { g.VPC = "v3" }),
		"my default group another's": regroup("default-v2", func(g *sg.Group) { g.Scope = sg.User("ann") }),
		"the default group mine":     regroup("default-v1", func(g *sg.Group) { g.Scope = sg.User("bob") }),
		"rules of the default group": func(tx *policy.Tx) error { return tx.AddRules("default-v1", tcp("", sg.Ingress, 1, sg.PeerAny())) },

		// To see what is another's.
		"a rule for another's set":   apply(mine("new", tcp("r", sg.Ingress, 1, sg.PeerSet("ann-set")))),
		"a rule for another's group": apply(mine("new", tcp("r", sg.Ingress, 1, sg.PeerGroup("ann")))),
		"a rule added":               func(tx *policy.Tx) error { return tx.AddRules("bob", tcp("r", sg.Ingress, 1, sg.PeerSet("ann-set"))) },
		"copy another's group":       func(tx *policy.Tx) error { return tx.CopyGroup("ann", "new", "new", sg.User("bob")) },
		"copy what names the set":    func(tx *policy.Tx) error { return tx.CopyGroup("all", "new", "new", sg.User("bob")) },
		"add to the set":             apply(policy.EditSet{ID: "ann-set", Add: []ipset.Entry{{Prefix: prefix("203.0.113.1/32")}}}),
		"nothing to the set":         apply(policy.EditSet{ID: "ann-set"}),
		"replace the set":            apply(policy.DeleteSet{ID: "ann-set"}, policy.PutSet{Set: ipset.New("ann-set", sg.IPv4, sg.User("bob"))}),
		"own the set":                apply(policy.PutSet{Set: ipset.New("ann-set", sg.IPv4, sg.User("bob"))}),
		"my set global":              apply(policy.PutSet{Set: ipset.New("bob-set", sg.IPv4, sg.Global())}),
	} {
		for _, on := range []sg.OnReferenced{sg.Restrict, sg.Cascade} {
			t.Run(fmt.Sprint(name, on), func(t *testing.T) {
				p := sg.Profile{
					Name: "test", Unit: sg.PerInstance, OnReferenced: on,
					DefaultGroup: []sg.Rule{tcp("self", sg.Ingress, 1, sg.PeerGroup(sg.SelfGroup))},
				}
				s := storeOf(t, p, town()...)
				v2 := group("bob-2", "v2")
				v2.Scope = sg.User("bob")
				require.NoError(t, do(s, sg.Actor{ID: "bob"}, apply(policy.PutGroup{Group: v2})))
				before, rev := s.Snapshot()
				now, err := s.Update(sg.Actor{ID: "bob"}, attack)
				require.ErrorIs(t, err, sg.ErrForbidden)
				require.Equal(t, rev, now)
				after, _ := s.Snapshot()
				require.Equal(t, content(before), content(after))
			})
		}
	}
}

// TestNothingIsTold: who may not see a group or set learns nothing from calls
// that fail: neither rules, nor rule ids, nor entries.
func TestNothingIsTold(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "test", Unit: sg.PerInstance}, town()...)
	_ = do(s, sg.Actor{ID: "bob"}, func(tx *policy.Tx) error {
		require.EqualError(t, tx.RemoveRule("ann", "home"), tx.RemoveRule("ann", "none").Error())
		report, err := tx.AddLines("ann-set", "192.0.2.1\nfd00::1")
		require.ErrorIs(t, err, sg.ErrForbidden)
		require.Empty(t, report)
		require.ErrorIs(t, tx.CopyGroup("ann", "new", "new", sg.User("bob")), sg.ErrForbidden)
		_, ok := tx.Group("new")
		require.False(t, ok)
		return nil
	})
}

// TestOwnGroupBesideAnother: a user may delete a group of theirs though one
// that they may not see is attached beside it, and only that.
func TestOwnGroupBesideAnother(t *testing.T) {
	both := []sg.GroupID{"ann", "bob"}
	bob := sg.Actor{ID: "bob"}
	s := storeOf(t, sg.Profile{Name: "test", Unit: sg.PerInstance, OnReferenced: sg.Cascade}, append(town(),
		policy.PutInstance{Instance: &sg.Instance{ID: "lent", Owner: "bob", Groups: both}},
		policy.PutInterface{Interface: &sg.Interface{ID: "bob-nic", VPC: "v1", Owner: "bob", Groups: both}})...)
	require.ErrorIs(t, do(s, bob, func(tx *policy.Tx) error { return tx.Attach("bob-nic", "all") }), sg.ErrForbidden)
	require.NoError(t, do(s, bob, apply(policy.DeleteGroup{ID: "bob"})))
	require.Equal(t, []sg.GroupID{"ann"}, groupsOf(t, s, "bob-nic"))
	require.Equal(t, []sg.GroupID{"ann"}, groupsOf(t, s, "lent-nic"))
	require.NoError(t, do(s, bob, func(tx *policy.Tx) error { return tx.Detach("bob-nic", "ann") }), "whatever is attached can be detached")
	require.NoError(t, do(s, bob, func(tx *policy.Tx) error { return tx.DetachInstance("lent", "ann") }))
}

// TestFirstInVPC: a VPC has no owner, so its default group is of whom the first
// object there is. That gives no right over those who come later.
func TestFirstInVPC(t *testing.T) {
	p := sg.Profile{Name: "test", DefaultGroup: []sg.Rule{tcp("self", sg.Ingress, 1, sg.PeerGroup(sg.SelfGroup))}}
	s := storeOf(t, p)
	ann, bob := sg.Actor{ID: "ann"}, sg.Actor{ID: "bob"}
	nic := func(id sg.InterfaceID, who sg.OwnerID) func(*policy.Tx) error {
		return apply(policy.PutInterface{Interface: &sg.Interface{ID: id, VPC: "v1", Owner: who}})
	}
	require.NoError(t, do(s, bob, nic("bob-nic", "bob")))
	require.NoError(t, do(s, ann, nic("ann-nic", "ann")))
	require.Empty(t, groupsOf(t, s, "ann-nic"), "attaching is left to who has the right")
	require.ErrorIs(t, do(s, ann, func(tx *policy.Tx) error { return tx.Attach("ann-nic", "default-v1") }), sg.ErrForbidden)
	require.ErrorIs(t, do(s, bob, func(tx *policy.Tx) error { return tx.Attach("ann-nic", "default-v1") }), sg.ErrForbidden)
}

// TestDefaultReplaced: the outcome is judged and not the order: a default group
// may go when another one, put before that, stands in its place.
func TestDefaultReplaced(t *testing.T) {
	p := sg.Profile{Name: "test", DefaultGroup: []sg.Rule{tcp("self", sg.Ingress, 1, sg.PeerGroup(sg.SelfGroup))}}
	first, second := group("z", "v1"), group("a", "v1")
	first.Default, second.Default = true, true
	s, err := policy.Build(p, policy.PutGroup{Group: first})
	require.NoError(t, err)
	for _, c := range [][]policy.Change{
		{policy.PutGroup{Group: second}, policy.DeleteGroup{ID: "z"}},
		{policy.DeleteGroup{ID: "z"}, policy.PutGroup{Group: second}},
		{policy.PutGroup{Group: second}, policy.PutGroup{Group: group("z", "v1")}},
	} {
		next, _, err := s.With(c...)
		require.NoError(t, err)
		g, ok := next.DefaultGroup("v1")
		require.True(t, ok)
		require.Equal(t, sg.GroupID("a"), g.ID)
		require.NoError(t, next.Validate())
	}
}

// TestComesBack: an entry that is removed and added again in one change is
// none.
func TestComesBack(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "test"}, world()...)
	_, rev := s.Snapshot()
	p := prefix("198.51.100.0/24")
	edit := func(note string) policy.Revision {
		now, err := s.Update(admin, apply(policy.EditSet{ID: "s4", Remove: addrs(p.String()), Add: []ipset.Entry{{Prefix: p, Description: note}}}))
		require.NoError(t, err)
		return now
	}
	require.Equal(t, rev, edit(""))
	require.Equal(t, rev+1, edit("another note"))
}

func addrs(cidrs ...string) (out []netip.Prefix) {
	for _, c := range cidrs {
		out = append(out, prefix(c))
	}
	return out
}
