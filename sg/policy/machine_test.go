package policy_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var (
	groupIDs = []sg.GroupID{"a", "b", "c", "d"}
	setIDs   = []sg.SetID{"a", "s4", "s6"} // "a" is a group, too: they do not share a name space here
	ifaceIDs = []sg.InterfaceID{"i", "j", "k"}
	admin    = sg.Actor{ID: "root", Admin: true}
	actors   = []sg.Actor{admin, admin, admin, {ID: "ann"}, {ID: "bob"}, {}}
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// rarely is true one time in n.
func rarely(t *rapid.T, label string, n int) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1
}

func drawProfile(t *rapid.T) sg.Profile {
	p := sg.Profile{
		Name: "test", UngroupedKinds: []string{"bare"}, RequireGroup: rarely(t, "require group", 4),
		RequireFamily: rarely(t, "require family", 8), AllowStateless: rapid.Bool().Draw(t, "stateless"),
	}
	if rapid.Bool().Draw(t, "quotas") {
		limit := func(label string, n int) int { return rapid.IntRange(0, n).Draw(t, label) }
		p.Quota = sg.Quota{
			GroupsPerInterface: limit("groups per interface", 3), RulesPerGroup: limit("rules per group", 4),
			RulesPerInterface: limit("rules per interface", 5), GroupsPerOwner: limit("groups per owner", 2),
			EntriesPerSet: limit("entries per set", 3), RulesPerDirection: limit("rules per direction", 2),
		}
	}
	return p
}

func drawScope(t *rapid.T, by sg.Actor) sg.Scope {
	if !by.Admin && !rarely(t, "foreign scope", 6) {
		return sg.User(by.ID)
	}
	return pick(t, "scope", sg.Global(), sg.Global(), sg.User("ann"), sg.User("bob"))
}

func drawVPC(t *rapid.T) sg.VPCID {
	if rarely(t, "other VPC", 6) {
		return "v2"
	}
	return "v1"
}

func drawGroup(t *rapid.T, by sg.Actor) *sg.Group {
	g := &sg.Group{
		ID: pick(t, "group", groupIDs...), VPC: drawVPC(t), Scope: drawScope(t, by),
		Description: pick(t, "description", "", "x"), Stateless: rarely(t, "stateless", 6),
	}
	g.Name = string(g.ID)
	if rarely(t, "name", 4) {
		g.Name = pick(t, "name", "a", "b", "")
	}
	for n := range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := sg.Rule{
			ID: sg.RuleID(fmt.Sprint("r", n)), Direction: pick(t, "direction", sg.Ingress, sg.Egress), Protocol: sg.TCP,
			Ports: sg.Port(uint16(rapid.IntRange(1, 4).Draw(t, "port"))),
		}
		switch rapid.IntRange(0, 4).Draw(t, "peer") {
		case 0:
			r.Peer = cidr(pick(t, "cidr", "10.0.0.0/8", "0.0.0.0/0", "::/0"))
		case 1, 2:
			r.Peer = sg.PeerGroup(pick(t, "remote", groupIDs...))
		case 3:
			r.Peer = sg.PeerSet(pick(t, "set", setIDs...))
		default:
			r.Peer = sg.PeerAny()
		}
		if rarely(t, "family", 3) {
			r.Family = pick(t, "family", sg.IPv4, sg.IPv6)
		}
		g.Rules = append(g.Rules, r)
	}
	return g
}

func drawEntries(t *rapid.T, n int) []ipset.Entry {
	pool := []string{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24", "fd00::1/128", "fd00::/64"}
	var out []ipset.Entry
	for range rapid.IntRange(0, n).Draw(t, "entries") {
		p := prefix(pick(t, "entry", pool...))
		if rarely(t, "host bits", 15) {
			p = netip.PrefixFrom(p.Addr().Next(), 8)
		}
		out = append(out, ipset.Entry{Prefix: p, Description: pick(t, "note", "", "x")})
	}
	return out
}

func drawSet(t *rapid.T, by sg.Actor) *ipset.Set {
	id := pick(t, "set", setIDs...)
	family := map[sg.SetID]sg.Family{"s4": sg.IPv4, "s6": sg.IPv6}[id]
	if rarely(t, "other family", 8) {
		family = sg.IPv6
	}
	s := ipset.New(id, family, drawScope(t, by))
	if rarely(t, "set vpc", 4) {
		s.VPC = drawVPC(t)
	}
	for _, e := range drawEntries(t, 2) {
		_ = s.Add(e)
	}
	return s
}

func drawInterface(t *rapid.T, by sg.Actor) *sg.Interface {
	i := &sg.Interface{
		ID: pick(t, "interface", ifaceIDs...), VPC: drawVPC(t), Kind: pick(t, "kind", "", "bare"),
		Owner:  pick(t, "owner", by.ID, by.ID, "", "ann", "bob"),
		Groups: rapid.SliceOfN(rapid.SampledFrom(groupIDs), 0, 3).Draw(t, "groups"),
	}
	i.Addrs = []netip.Prefix{prefix(pick(t, "addr", "10.0.0.1/32", "10.0.0.2/32"))}
	if rarely(t, "exempt", 5) {
		i.Exempt = []string{"smtp"}
	}
	i.SourceGuard = rarely(t, "guard", 5)
	return i
}

func drawChange(t *rapid.T, by sg.Actor) policy.Change {
	switch rapid.IntRange(0, 11).Draw(t, "change") {
	case 0, 1, 2, 3:
		return policy.PutGroup{Group: drawGroup(t, by)}
	case 4:
		return policy.DeleteGroup{ID: pick(t, "group", groupIDs...)}
	case 5, 6:
		return policy.PutSet{Set: drawSet(t, by)}
	case 7:
		return policy.DeleteSet{ID: pick(t, "set", setIDs...)}
	case 8:
		var remove []netip.Prefix
		for _, e := range drawEntries(t, 2) {
			remove = append(remove, e.Prefix)
		}
		return policy.EditSet{ID: pick(t, "set", setIDs...), Add: drawEntries(t, 2), Remove: remove}
	case 9, 10:
		return policy.PutInterface{Interface: drawInterface(t, by)}
	}
	return policy.DeleteInterface{ID: pick(t, "interface", ifaceIDs...)}
}

// machine runs a Store beside the model.
type machine struct {
	store     *policy.Store
	model     *model
	revision  policy.Revision
	published []*policy.Snapshot // by revision
	texts     []string           // what was in them when they were published
}

func newMachine(t *rapid.T) *machine {
	p := drawProfile(t)
	store, err := policy.NewStore(p)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := store.Snapshot()
	return &machine{store: store, model: newModel(p), published: []*policy.Snapshot{first}, texts: []string{""}}
}

var errFn = errors.New("fn says no")

// update runs a transaction of some changes; fn ends in one of three ways.
func (m *machine) update(t *rapid.T, by sg.Actor, changes []policy.Change) {
	end := pick(t, "end", "return", "return", "return", "return", "error", "panic")
	rev, err := policy.Revision(0), error(nil)
	func() {
		defer func() {
			if p := recover(); p != nil && p != errFn {
				panic(p)
			}
		}()
		rev, err = m.store.Update(by, func(tx *policy.Tx) error {
			if err := tx.Apply(changes...); err != nil {
				t.Fatal(err)
			}
			switch end {
			case "error":
				return errFn
			case "panic":
				panic(errFn)
			}
			return nil
		})
	}()
	if end != "return" {
		if end == "error" && (err != errFn || rev != m.revision) {
			t.Fatalf("Update = %d, %v", rev, err)
		}
		return
	}
	m.compare(t, by, changes, rev, err)
}

func (m *machine) compare(t *rapid.T, by sg.Actor, changes []policy.Change, rev policy.Revision, err error) {
	next, effect, want := m.model.update(by, changes)
	got := faults{}
	got.add(err)
	if fmt.Sprint(kinds(got)) != fmt.Sprint(kinds(want)) {
		t.Fatalf("%+v: the store says %v, the model %v\n%v\n%v", by, kinds(got), kinds(want), changes, err)
	}
	if err != nil {
		if rev != m.revision {
			t.Fatalf("a failed Update gives revision %d, not %d", rev, m.revision)
		}
		return
	}
	if effect {
		m.revision++
		m.model = next
		s, _ := m.store.Snapshot()
		m.published = append(m.published, s)
		m.texts = append(m.texts, content(s))
	}
	if rev != m.revision {
		t.Fatalf("revision %d, want %d (effect: %v)\n%v", rev, m.revision, effect, changes)
	}
}

func kinds(f faults) []string {
	var out []string
	for err := range f {
		if err == sg.ErrNotFound && f[sg.ErrInUse] {
			continue
		}
		out = append(out, err.Error())
	}
	return sortedIDs(out)
}

// check compares everything that can be asked with the model.
func (m *machine) check(t *rapid.T) {
	s, rev := m.store.Snapshot()
	if rev != m.revision || content(s) != m.model.String() {
		t.Fatalf("revision %d, want %d\n%s\nwant\n%s", rev, m.revision, content(s), m.model)
	}
	if err := s.Validate(); err != nil {
		t.Fatalf("published and not valid: %v", err)
	}
	want := policy.Size{Groups: len(m.model.groups), Sets: len(m.model.sets), Interfaces: len(m.model.interfaces)}
	if s.Size() != want {
		t.Fatalf("Size() = %+v, want %+v", s.Size(), want)
	}
	for _, id := range groupIDs {
		var attached []sg.InterfaceID
		for i := range s.Attached(id) {
			attached = append(attached, i.ID)
		}
		if !slices.Equal(attached, m.model.attached(id)) {
			t.Fatalf("Attached(%s) = %v, want %v", id, attached, m.model.attached(id))
		}
		m.checkReferrers(t, s, sg.PeerGroup(id))
	}
	for _, id := range setIDs {
		m.checkReferrers(t, s, sg.PeerSet(id))
	}
}

func (m *machine) checkReferrers(t *rapid.T, s *policy.Snapshot, p sg.Peer) {
	if got, want := slices.Collect(s.Referrers(p)), m.model.referrers(p); !slices.Equal(got, want) {
		t.Fatalf("Referrers(%v) = %v, want %v", p, got, want)
	}
}

// finish checks what must hold of all that was published.
func (m *machine) finish(t *rapid.T) {
	for n, s := range m.published {
		if content(s) != m.texts[n] {
			t.Fatalf("snapshot %d changed after it was published:\n%s\nwas\n%s", n, content(s), m.texts[n])
		}
		other := m.published[rapid.IntRange(0, len(m.published)-1).Draw(t, "other")]
		got, _, err := s.With(s.Diff(other)...)
		if err != nil || content(got) != content(other) {
			t.Fatalf("With(Diff) leads from\n%s\nto\n%v, not\n%s\n%v", content(s), got, content(other), err)
		}
		if again := got.Diff(other); len(again) > 0 {
			t.Fatalf("Diff of equals: %v", again)
		}
	}
	from := rapid.IntRange(0, len(m.published)-1).Draw(t, "from")
	s, at := m.published[from], policy.Revision(from)
	if at == m.revision {
		return
	}
	for b, err := range m.store.Watch(t.Context(), at) {
		at++
		if err != nil || b.Revision != at || len(b.Changes) == 0 {
			t.Fatalf("batch %d: %+v, %v", at, b, err)
		}
		next, done, err := s.With(b.Changes...)
		if err != nil || content(next) != m.texts[at] {
			t.Fatalf("batch %d leads to\n%v\nwant\n%s\n%v", at, next, m.texts[at], err)
		}
		if len(done) != len(b.Changes) {
			t.Fatalf("batch %d again is\n%v, not\n%v", at, done, b.Changes)
		}
		if s = next; at == m.revision {
			return
		}
	}
	t.Fatal("Watch ended")
}

// TestStoreIsTheModel: GR-17, GR-19 to GR-22, GR-24, API-03.
func TestStoreIsTheModel(t *testing.T) { rapid.Check(t, storeIsTheModel) }

func FuzzStoreIsTheModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(storeIsTheModel)) }

func storeIsTheModel(t *rapid.T) {
	m := newMachine(t)
	t.Repeat(map[string]func(*rapid.T){
		"update": func(t *rapid.T) {
			by := pick(t, "actor", actors...)
			var changes []policy.Change
			for range rapid.IntRange(0, 4).Draw(t, "changes") {
				changes = append(changes, drawChange(t, by))
			}
			m.update(t, by, changes)
		},
		"again": func(t *rapid.T) { // what is there already has no effect
			s, _ := m.store.Snapshot()
			var changes []policy.Change
			for g := range s.Groups() {
				changes = append(changes, policy.PutGroup{Group: g.Clone()})
			}
			for i := range s.Interfaces() {
				changes = append(changes, policy.PutInterface{Interface: i.Clone()})
			}
			for set := range s.Sets() {
				changes = append(changes, policy.PutSet{Set: copySet(set)})
			}
			m.update(t, pick(t, "actor", actors...), changes)
		},
		"groups": func(t *rapid.T) {
			by, id := pick(t, "actor", actors...), pick(t, "interface", ifaceIDs...)
			list := rapid.SliceOfNDistinct(rapid.SampledFrom(groupIDs), 0, 3, rapid.ID).Draw(t, "groups")
			var changes []policy.Change
			how := pick(t, "how", "attach", "detach", "set")
			rev, err := m.store.Update(by, func(tx *policy.Tx) error {
				i, ok := tx.Interface(id)
				if ok {
					changes = append(changes, policy.PutInterface{Interface: regrouped(i, how, list)})
				}
				switch how {
				case "attach":
					return tx.Attach(id, list...)
				case "detach":
					return tx.Detach(id, list...)
				}
				return tx.SetGroups(id, list...)
			})
			if changes == nil {
				if !errors.Is(err, sg.ErrNotFound) || rev != m.revision {
					t.Fatalf("an interface that is not there: %d, %v", rev, err)
				}
				return
			}
			m.compare(t, by, changes, rev, err)
		},
		"": m.check,
	})
	m.finish(t)
}

func regrouped(i *sg.Interface, how string, list []sg.GroupID) *sg.Interface {
	c := i.Clone()
	if how == "set" {
		c.Groups = nil
	}
	for _, g := range list {
		at := slices.Index(c.Groups, g)
		switch {
		case how == "detach" && at >= 0:
			c.Groups = slices.Delete(c.Groups, at, at+1)
		case how != "detach" && at < 0:
			c.Groups = append(c.Groups, g)
		}
	}
	return c
}
