package policy_test

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var (
	groupIDs = []sg.GroupID{"a", "b", "c", "d", "default", "default-v1"} // the last two are those of default groups
	setIDs   = []sg.SetID{"a", "s4", "s6"}                               // "a" is a group, too: they do not share a name space here
	ifaceIDs = []sg.InterfaceID{"i", "j", "k"}
	instIDs  = []sg.InstanceID{"m", "n"}
	ownerIDs = []sg.OwnerID{"ann", "bob"}
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
	self := sg.PeerGroup(sg.SelfGroup)
	if rapid.Bool().Draw(t, "default group") {
		p.DefaultGroup = []sg.Rule{{ID: "members", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: self}}
	}
	if rapid.Bool().Draw(t, "new group") { // against the order that they come to stand in
		p.NewGroup = []sg.Rule{
			{ID: "out", Direction: sg.Egress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
			{ID: "in", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: self},
		}
	}
	p.NamesPerScope = rapid.Bool().Draw(t, "names per scope")
	p.Unit = pick(t, "unit", sg.PerInterface, sg.PerInstance)
	p.OnReferenced = pick(t, "on referenced", sg.Restrict, sg.Cascade)
	if rarely(t, "quotas", 3) {
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
	return pick(t, "VPC", sg.VPCID("v1"), "v1", "v1", "v1", "", "v2")
}

func drawGroup(t *rapid.T, by sg.Actor) *sg.Group {
	g := &sg.Group{
		ID: pick(t, "group", groupIDs...), VPC: drawVPC(t), Scope: drawScope(t, by),
		Description: pick(t, "description", "", "x"), Stateless: rarely(t, "stateless", 6),
	}
	g.Name = string(g.ID)
	if rarely(t, "name", 4) {
		g.Name = pick(t, "name", "a", "b", "default", "")
	}
	g.Default = (g.ID == "default" || g.ID == "default-v1") != rarely(t, "default", 8)
	g.Rules = drawRules(t)
	return g
}

func drawRules(t *rapid.T) (out []sg.Rule) {
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
		out = append(out, r)
	}
	return out
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
	if rarely(t, "instance", 2) {
		i.Instance = pick(t, "instance", instIDs...)
	}
	i.SourceGuard = rarely(t, "guard", 5)
	return i
}

func drawChange(t *rapid.T, by sg.Actor) policy.Change {
	switch rapid.IntRange(0, 18).Draw(t, "change") {
	case 17, 18:
		return drawEdit(t, pick(t, "group", groupIDs...))
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
	case 11:
		return policy.DeleteInterface{ID: pick(t, "interface", ifaceIDs...)}
	case 12, 13:
		return policy.PutInstance{Instance: drawInstance(t, by)}
	case 14:
		return policy.DeleteInstance{ID: pick(t, "instance", instIDs...)}
	case 15:
		o := &sg.Owner{ID: pick(t, "owner", ownerIDs...), Exempt: drawExempt(t)}
		return policy.PutOwner{Owner: o}
	}
	return policy.DeleteOwner{ID: pick(t, "owner", ownerIDs...)}
}

func drawInstance(t *rapid.T, by sg.Actor) *sg.Instance {
	n := &sg.Instance{
		ID: pick(t, "instance", instIDs...), Owner: pick(t, "owner", by.ID, by.ID, "", "ann", "bob"),
		Kind: pick(t, "kind", "", "vm"),
	}
	if rarely(t, "instance groups", 2) {
		n.Groups = rapid.SliceOfN(rapid.SampledFrom(groupIDs), 0, 2).Draw(t, "groups")
	}
	return n
}

func drawExempt(t *rapid.T) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"smtp", "dhcp"}), 0, 2, rapid.ID).Draw(t, "exempt")
}

func drawGroups(t *rapid.T) []sg.GroupID {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(groupIDs), 0, 3, rapid.ID).Draw(t, "groups")
}

// furniture is where much can be done and much is forbidden: users have groups,
// instances and interfaces, and some are attached to those of each other.
func furniture(p sg.Profile) []policy.Change {
	rule := func(id sg.RuleID, p sg.Peer) sg.Rule { return tcp(id, sg.Ingress, 1, p) }
	grouped := func(id sg.GroupID, vpc sg.VPCID, s sg.Scope, rules ...sg.Rule) policy.Change {
		return policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: vpc, Scope: s, Rules: rules}}
	}
	ofBoth := []sg.GroupID{"a", "b"}
	m, n := &sg.Instance{ID: "m", Owner: "ann"}, &sg.Instance{ID: "n", Owner: "bob"}
	if p.Unit == sg.PerInstance {
		m.Groups = ofBoth
	}
	return []policy.Change{
		grouped("a", "v1", sg.User("ann"), rule("r0", sg.PeerGroup("b")), rule("r1", sg.PeerSet("a"))),
		grouped("b", "v1", sg.User("bob"), rule("r0", sg.PeerGroup("b"))),
		grouped("c", "v1", sg.Global(), rule("r0", sg.PeerGroup("a")), rule("r1", sg.PeerAny())),
		grouped("d", "", sg.Global()),
		policy.PutSet{Set: ipset.New("a", sg.FamilyAny, sg.User("ann"))},
		policy.PutInstance{Instance: m}, policy.PutInstance{Instance: n},
		policy.PutInterface{Interface: &sg.Interface{ID: "i", VPC: "v1", Owner: "ann", Instance: "m", Groups: []sg.GroupID{"a", "c"}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "j", VPC: "v1", Owner: "bob", Instance: "n", Groups: ofBoth, Exempt: []string{"smtp"}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "k", VPC: "v1", Owner: "ann", Groups: ofBoth, SourceGuard: true}},
	}
}

// drawStep draws a call of a Tx.
func drawStep(t *rapid.T, by sg.Actor) step {
	if rapid.Bool().Draw(t, "plain") {
		return put(drawChange(t, by))
	}
	g := pick(t, "group", groupIDs...)
	switch rapid.IntRange(0, 8).Draw(t, "call") {
	case 0:
		return newGroup(drawGroup(t, by))
	case 1:
		return copyGroup(g, pick(t, "copy", groupIDs...), pick(t, "name", "a", "b", "x"), drawScope(t, by))
	case 2:
		rules := drawRules(t)
		for n := range rules {
			if rarely(t, "no id", 2) {
				rules[n].ID = ""
			}
		}
		return addRules(g, rules)
	case 3:
		return removeRule(g, pick(t, "rule", sg.RuleID("r0"), "r1", "in", "out", "members"))
	case 4:
		return addLines(pick(t, "set", setIDs...), rapid.SliceOfN(rapid.SampledFrom(lines), 0, 3).Draw(t, "lines"))
	case 5:
		return regroup(pick(t, "interface", ifaceIDs...), pick(t, "how", hows...), drawGroups(t))
	case 6:
		return regroupMany(g, pick(t, "how", "attach", "detach"), rapid.SliceOfN(rapid.SampledFrom(ifaceIDs), 0, 3).Draw(t, "interfaces"))
	case 7:
		return regroupInstance(pick(t, "instance", instIDs...), pick(t, "how", hows...), drawGroups(t))
	}
	return setExempt(pick(t, "owner", ownerIDs...), drawExempt(t))
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
	policy.EditBeyond(first, pick(t, "beyond", -1, 1, 48))
	return &machine{store: store, model: newModel(p), published: []*policy.Snapshot{first}, texts: []string{""}}
}

var errFn = errors.New("fn says no")

// update runs a transaction of some steps; fn ends in one of three ways, and
// sometimes passes over steps that fail.
func (m *machine) update(t *rapid.T, by sg.Actor, steps ...step) {
	end := pick(t, "end", "return", "return", "return", "return", "error", "panic")
	ignore := rarely(t, "ignore", 4)
	call := m.store.Update
	switch pick(t, "call", "Update", "Update", "UpdateAt", "conflict") {
	case "UpdateAt":
		call = func(by sg.Actor, fn func(*policy.Tx) error) (policy.Revision, error) {
			return m.store.UpdateAt(by, m.revision, fn)
		}
	case "conflict":
		m.conflict(t, by)
	}
	rev, err := policy.Revision(0), error(nil)
	failed := false // a step did, which ended fn
	func() {
		defer func() {
			if p := recover(); p != nil && p != errFn {
				panic(p)
			}
		}()
		rev, err = call(by, func(tx *policy.Tx) error {
			for _, s := range steps {
				if err := s.store(tx); err != nil && !ignore {
					failed = true
					return err
				}
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
	if end != "return" && !failed {
		if end == "error" && (err != errFn || rev != m.revision) {
			t.Fatalf("Update = %d, %v", rev, err)
		}
		return
	}
	m.compare(t, by, steps, ignore, rev, err)
}

// conflict builds on a revision that is not the newest.
func (m *machine) conflict(t *rapid.T, by sg.Actor) {
	at := policy.Revision(rapid.Uint64Range(0, uint64(m.revision)+1).Draw(t, "at"))
	if at == m.revision {
		return
	}
	rev, err := m.store.UpdateAt(by, at, func(*policy.Tx) error { panic("called") })
	if !errors.Is(err, sg.ErrConflict) || rev != m.revision {
		t.Fatalf("UpdateAt(%d) = %d, %v; the store is at %d", at, rev, err, m.revision)
	}
}

func (m *machine) compare(t *rapid.T, by sg.Actor, steps []step, ignore bool, rev policy.Revision, err error) {
	next, effect, want := m.model.update(by, steps, ignore)
	got := faults{}
	got.add(err)
	if fmt.Sprint(kinds(got)) != fmt.Sprint(kinds(want)) {
		t.Fatalf("%+v: the store says %v, the model %v\n%v\n%v\nbefore:\n%v", by, kinds(got), kinds(want), steps, err, m.model)
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
		t.Fatalf("revision %d, want %d (effect: %v)\n%v", rev, m.revision, effect, steps)
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
	for _, i := range m.model.interfaces {
		got, ok := s.Effective(i.ID)
		if want := m.model.effective(i); !ok || text(got) != text(want) {
			t.Fatalf("Effective = %s, want %s", text(got), text(want))
		}
	}
	for _, id := range instIDs {
		m.checkMembers(t, s.InterfacesOf(id), func(i *sg.Interface) bool { return i.Instance == id })
	}
	for _, id := range ownerIDs {
		m.checkMembers(t, s.OwnedBy(id), func(i *sg.Interface) bool { return i.Owner == id })
	}
	for _, vpc := range []sg.VPCID{"", "v1", "v2"} {
		var got []sg.GroupID
		if g, ok := s.DefaultGroup(vpc); ok {
			got = append(got, g.ID)
		}
		if !slices.Equal(got, m.model.defaults(vpc)) {
			t.Fatalf("DefaultGroup(%s) = %v, want %v", vpc, got, m.model.defaults(vpc))
		}
	}
	for _, id := range setIDs {
		m.checkReferrers(t, s, sg.PeerSet(id))
	}
}

// checkMembers compares interfaces, which come in order, with those of the
// model that belong there.
func (m *machine) checkMembers(t *rapid.T, got iter.Seq[*sg.Interface], belongs func(*sg.Interface) bool) {
	var ids, want []sg.InterfaceID
	for i := range got {
		ids = append(ids, i.ID)
	}
	for _, i := range m.model.interfaces {
		if belongs(i) {
			want = append(want, i.ID)
		}
	}
	if !slices.Equal(ids, sortedIDs(want)) {
		t.Fatalf("members are %v, want %v", ids, want)
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
		if err := s.Validate(); err != nil {
			t.Fatalf("snapshot %d is not valid any more: %v", n, err)
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

// TestStoreIsTheModel: GR-13, GR-16 to GR-24, AT-02, AT-05, AT-06, AT-08,
// IP-06, IP-07, IP-09, RU-30, RU-31, API-03.
func TestStoreIsTheModel(t *testing.T) { rapid.Check(t, storeIsTheModel) }

func FuzzStoreIsTheModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(storeIsTheModel)) }

func storeIsTheModel(t *rapid.T) {
	m := newMachine(t)
	if rapid.Bool().Draw(t, "furnished") {
		m.update(t, admin, put(furniture(m.model.profile)...))
	}
	t.Repeat(map[string]func(*rapid.T){
		"update": func(t *rapid.T) {
			by := pick(t, "actor", actors...)
			var steps []step
			for range rapid.IntRange(0, 4).Draw(t, "steps") {
				steps = append(steps, drawStep(t, by))
			}
			m.update(t, by, steps...)
		},
		"one": func(t *rapid.T) { // which succeeds more often
			by := pick(t, "actor", actors...)
			m.update(t, by, drawStep(t, by))
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
			for n := range s.Instances() {
				changes = append(changes, policy.PutInstance{Instance: n.Clone()})
			}
			for o := range s.Owners() {
				changes = append(changes, policy.PutOwner{Owner: o.Clone()})
			}
			m.update(t, pick(t, "actor", actors...), put(changes...))
		},
		"": m.check,
	})
	m.finish(t)
}
