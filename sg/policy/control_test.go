package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var root = sg.Actor{ID: "root", Admin: true}

// storeOf is a store with some state in it.
func storeOf(t *testing.T, p sg.Profile, changes ...policy.Change) *policy.Store {
	t.Helper()
	s, err := policy.NewStore(p)
	require.NoError(t, err)
	_, err = s.Update(root, func(tx *policy.Tx) error { return tx.Apply(changes...) })
	require.NoError(t, err)
	return s
}

func do(s *policy.Store, by sg.Actor, fn func(*policy.Tx) error) error {
	_, err := s.Update(by, fn)
	return err
}

func ruled(id sg.GroupID, rules ...sg.Rule) *sg.Group {
	return &sg.Group{ID: id, Name: string(id), Rules: rules}
}

func from(id sg.RuleID, p sg.Peer) sg.Rule {
	return sg.Rule{ID: id, Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: p}
}

func groupsOf(t *testing.T, s *policy.Store, id sg.InterfaceID) []sg.GroupID {
	t.Helper()
	now, _ := s.Snapshot()
	i, ok := now.Effective(id)
	require.True(t, ok)
	return i.Groups
}

// TestInstances: AT-02, AT-08. The groups of an instance apply to all its
// interfaces, public and VPC alike, and count on the instance.
func TestInstances(t *testing.T) {
	p := sg.Profile{Name: "panel", Unit: sg.PerInstance, Quota: sg.Quota{GroupsPerInterface: 2}}
	s := storeOf(t, p,
		policy.PutGroup{Group: ruled("a", from("members", sg.PeerGroup("a")))}, policy.PutGroup{Group: ruled("b")}, policy.PutGroup{Group: ruled("c")},
		policy.PutInstance{Instance: &sg.Instance{ID: "vm", Owner: "alice"}},
		policy.PutInterface{Interface: &sg.Interface{ID: "public", Owner: "alice", Instance: "vm"}},
		policy.PutInterface{Interface: &sg.Interface{ID: "private", Owner: "alice", Instance: "vm", VPC: "v1", Groups: []sg.GroupID{"b"}}},
	)
	alice := sg.Actor{ID: "alice"}
	require.NoError(t, do(s, alice, func(tx *policy.Tx) error { return tx.AttachInstance("vm", "a") }))
	require.Equal(t, []sg.GroupID{"a"}, groupsOf(t, s, "public"))
	require.Equal(t, []sg.GroupID{"a", "b"}, groupsOf(t, s, "private"))
	now, _ := s.Snapshot()
	require.Len(t, slices.Collect(now.Attached("a")), 2)
	require.Len(t, slices.Collect(now.InterfacesOf("vm")), 2)
	require.NoError(t, now.Validate())

	require.ErrorIs(t, do(s, alice, func(tx *policy.Tx) error { return tx.SetInstanceGroups("vm", "a", "b", "c") }), sg.ErrQuota)
	require.ErrorIs(t, do(s, sg.Actor{ID: "bob"}, func(tx *policy.Tx) error { return tx.DetachInstance("vm", "a") }), sg.ErrForbidden)
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.AttachInstance("vm", "none") }), sg.ErrNotFound)
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.AttachInstance("none", "a") }), sg.ErrNotFound)
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteInstance{ID: "vm"}) }), sg.ErrInUse)
	require.ErrorIs(t, do(s, sg.Actor{ID: "bob"}, func(tx *policy.Tx) error {
		return tx.Apply(policy.PutInterface{Interface: &sg.Interface{ID: "mole", Owner: "bob", Instance: "vm"}})
	}), sg.ErrForbidden, "who joins an instance becomes a member of its groups")

	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "a"}) }))
	require.Empty(t, groupsOf(t, s, "public"))
	now, _ = s.Snapshot()
	n, _ := now.Instance("vm")
	require.Empty(t, n.Groups)
	require.NoError(t, do(s, root, func(tx *policy.Tx) error {
		return tx.Apply(policy.DeleteInstance{ID: "vm"}, policy.DeleteInterface{ID: "public"}, policy.DeleteInterface{ID: "private"})
	}))

	perInterface := storeOf(t, sg.Profile{Name: "nic"}, policy.PutGroup{Group: ruled("a")})
	require.ErrorIs(t, do(perInterface, root, func(tx *policy.Tx) error {
		return tx.Apply(policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"a"}}})
	}), sg.ErrUnsupported)
}

// TestOwners: the exemption belongs to the owner and is inherited by the
// owner's interfaces; only an admin switches it.
func TestOwners(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "p"}, policy.PutInterface{Interface: &sg.Interface{ID: "nic", Owner: "alice", Exempt: []string{"dhcp"}}})
	exempt := func() []string {
		now, _ := s.Snapshot()
		i, _ := now.Effective("nic")
		return i.Exempt
	}
	require.ErrorIs(t, do(s, sg.Actor{ID: "alice"}, func(tx *policy.Tx) error { return tx.SetExempt("alice", "smtp") }), sg.ErrForbidden)
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.SetExempt("alice", "smtp") }))
	require.Equal(t, []string{"dhcp", "smtp"}, exempt())
	_, rev := s.Snapshot()
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.SetExempt("alice", "smtp") }))
	_, same := s.Snapshot()
	require.Equal(t, rev, same, "nothing changed")
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.SetExempt("alice") }))
	require.Equal(t, []string{"dhcp"}, exempt())
}

// TestDefaultGroup: GR-13, C5. Every VPC has one, made by itself, which can be
// edited but not deleted.
func TestDefaultGroup(t *testing.T) {
	p := sg.Profile{Name: "p", DefaultGroup: []sg.Rule{from("self", sg.PeerGroup(sg.SelfGroup))}}
	s := storeOf(t, p, policy.PutInterface{Interface: &sg.Interface{ID: "nic", VPC: "v1", Owner: "alice"}}, policy.PutGroup{Group: ruled("default")})
	now, _ := s.Snapshot()
	g, ok := now.DefaultGroup("v1")
	require.True(t, ok)
	require.Equal(t, sg.GroupID("default-v1"), g.ID)
	require.Equal(t, sg.PeerGroup("default-v1"), g.Rules[0].Peer)
	require.Equal(t, sg.User("alice"), g.Scope)
	g, ok = now.DefaultGroup("")
	require.True(t, ok)
	require.Equal(t, sg.GroupID("default-2"), g.ID, "the id was taken")

	alice := sg.Actor{ID: "alice"}
	require.NoError(t, do(s, alice, func(tx *policy.Tx) error { return tx.RemoveRule("default-v1", "self") }))
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "default-v1"}) }), sg.ErrForbidden)
	ordinary := ruled("default-v1")
	ordinary.VPC = "v1"
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: ordinary}) }), sg.ErrForbidden)
	second := ruled("second")
	second.Default = true
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: second}) }), sg.ErrDuplicate)
	none := storeOf(t, sg.Profile{Name: "none"})
	require.ErrorIs(t, do(none, root, func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: second}) }), sg.ErrUnsupported)
}

// TestCopyGroup: GR-16.
func TestCopyGroup(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "p"}, policy.PutGroup{Group: ruled("a", from("self", sg.PeerGroup("a")), from("web", sg.PeerAny()))})
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.CopyGroup("a", "b", "copy", sg.User("alice")) }))
	now, _ := s.Snapshot()
	b, _ := now.Group("b")
	require.Equal(t, []sg.Rule{from("self", sg.PeerGroup("b")), from("web", sg.PeerAny())}, b.Rules)
	require.Equal(t, sg.User("alice"), b.Scope)
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.CopyGroup("a", "b", "again", sg.Global()) }), sg.ErrDuplicate)
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.CopyGroup("none", "c", "c", sg.Global()) }), sg.ErrNotFound)
}

// TestRules: RU-30, RU-31, GR-23. Rules are added and removed one by one.
func TestRules(t *testing.T) {
	p := sg.Profile{Name: "p", NewGroup: []sg.Rule{{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny(), Origin: "p: new group"}}}
	s := storeOf(t, p)
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.NewGroup(ruled("a")) }))
	unnamed := from("", sg.PeerAny())
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.AddRules("a", unnamed) }))
	now, _ := s.Snapshot()
	a, _ := now.Group("a")
	require.Equal(t, []sg.RuleID{"out", "in-tcp-443-from-any"}, []sg.RuleID{a.Rules[0].ID, a.Rules[1].ID})
	again := unnamed
	again.Description = "the same traffic, described"
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.AddRules("a", again) }), sg.ErrDuplicate)
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.RemoveRule("a", "out") }))
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.RemoveRule("a", "out") }), sg.ErrNotFound)
}

// TestReferenced: GR-18, C19. What deletion does to rules of others is the
// profile's answer, and who refers is told.
func TestReferenced(t *testing.T) {
	theirs := ruled("b", from("a", sg.PeerGroup("a")), from("web", sg.PeerAny()))
	theirs.Scope = sg.User("bob")
	ours := ruled("a", from("self", sg.PeerGroup("a")))
	ours.Scope = sg.User("alice")
	changes := []policy.Change{policy.PutGroup{Group: ours}, policy.PutGroup{Group: theirs}}
	alice := sg.Actor{ID: "alice"}
	remove := func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "a"}) }

	s := storeOf(t, sg.Profile{Name: "restrict"}, changes...)
	err := do(s, alice, remove)
	require.ErrorIs(t, err, sg.ErrInUse)
	require.ErrorContains(t, err, "b")
	now, _ := s.Snapshot()
	require.Equal(t, []sg.GroupID{"a", "b"}, slices.Collect(now.Referrers(sg.PeerGroup("a"))))

	s = storeOf(t, sg.Profile{Name: "cascade", OnReferenced: sg.Cascade}, changes...)
	require.NoError(t, do(s, alice, remove))
	now, _ = s.Snapshot()
	b, _ := now.Group("b")
	require.Equal(t, []sg.Rule{from("web", sg.PeerAny())}, b.Rules)
}

// TestConflict: who builds on an old revision is told, and loses nothing of
// others.
func TestConflict(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "p"}, policy.PutGroup{Group: ruled("a")})
	_, rev := s.Snapshot()
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.AddRules("a", from("mine", sg.PeerAny())) }))
	called := false
	now, err := s.UpdateAt(root, rev, func(*policy.Tx) error { called = true; return nil })
	require.ErrorIs(t, err, sg.ErrConflict)
	require.False(t, called)
	_, err = s.UpdateAt(root, now, func(tx *policy.Tx) error { return tx.AddRules("a", from("more", sg.PeerGroup("a"))) })
	require.NoError(t, err)
}

// TestBulk: IP-06, IP-07. Good lines are kept, the rest is reported.
func TestBulk(t *testing.T) {
	set := ipset.New("office", sg.IPv4, sg.User("alice"))
	s := storeOf(t, sg.Profile{Name: "p", Quota: sg.Quota{EntriesPerSet: 2}}, policy.PutSet{Set: set})
	alice := sg.Actor{ID: "alice"}
	var report ipset.Report
	require.NoError(t, do(s, alice, func(tx *policy.Tx) (err error) {
		report, err = tx.AddLines("office", "192.0.2.1 # one\n192.0.2.1\noops\n198.51.100.0/24")
		return err
	}))
	require.Len(t, report.Added, 2)
	require.Len(t, report.Duplicates, 1)
	require.Len(t, report.Invalid, 1)
	now, _ := s.Snapshot()
	stored, _ := now.Set("office")
	require.Equal(t, 2, stored.Len())
	note, _ := stored.Note(report.Added[0])
	require.Equal(t, "one", note)
	err := do(s, alice, func(tx *policy.Tx) error { _, err := tx.AddLines("office", "203.0.113.1"); return err })
	require.ErrorIs(t, err, sg.ErrQuota)
	require.ErrorContains(t, err, "entries per set: limit 2, usage 3")
	require.ErrorIs(t, do(s, alice, func(tx *policy.Tx) error {
		return tx.Apply(policy.PutSet{Set: ipset.New("office", sg.IPv6, sg.User("alice"))})
	}), sg.ErrInUse, "IP-09")
}

// TestEitherSide: AT-05, AT-06.
func TestEitherSide(t *testing.T) {
	s := storeOf(t, sg.Profile{Name: "p"}, policy.PutGroup{Group: ruled("a")}, policy.PutGroup{Group: ruled("b")},
		policy.PutInterface{Interface: &sg.Interface{ID: "x"}}, policy.PutInterface{Interface: &sg.Interface{ID: "y"}})
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.AttachInterfaces("a", "x", "y") }))
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.Attach("x", "b") }))
	require.Equal(t, []sg.GroupID{"a", "b"}, groupsOf(t, s, "x"))
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.DetachInterfaces("a", "x", "y") }))
	require.Equal(t, []sg.GroupID{"b"}, groupsOf(t, s, "x"))
	require.NoError(t, do(s, root, func(tx *policy.Tx) error { return tx.SetGroups("x", "a") }))
	require.Equal(t, []sg.GroupID{"a"}, groupsOf(t, s, "x"))
	require.ErrorIs(t, do(s, root, func(tx *policy.Tx) error { return tx.AttachInterfaces("a", "none") }), sg.ErrNotFound)
}
