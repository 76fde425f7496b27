// Package policy holds whole policies: an immutable Snapshot, the Changes
// that lead from one to the next, and a transactional Store.
package policy

import (
	"cmp"
	"iter"
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// Snapshot is a complete and valid policy. It is immutable and safe for
// concurrent use; With returns the next one, which shares what did not
// change. What a Snapshot returns must not be modified: change a Clone. The
// first is made by New or Build, or comes out of a Store; the zero Snapshot is no
// policy.
type Snapshot struct {
	profile    *sg.Profile
	groups     *cow.Map[sg.GroupID, *held]
	sets       *cow.Map[sg.SetID, *ipset.Set]
	interfaces *cow.Map[sg.InterfaceID, *sg.Interface]
	instances  *cow.Map[sg.InstanceID, *sg.Instance]
	owners     *cow.Map[sg.OwnerID, *sg.Owner]

	attached *cow.Map[attachment, struct{}] // which interfaces a group has, by itself or by their instance
	members  *cow.Map[membership, struct{}] // which interfaces an instance or owner has
	bound    *cow.Map[binding, struct{}]    // which instances a group is attached to
	defaults *cow.Map[sg.VPCID, sg.GroupID] // the default group of a VPC
	refs     *cow.Map[reference, int]       // how many rules of a group name a peer
	names    *cow.Map[groupName, struct{}]
	owned    *cow.Map[sg.OwnerID, int] // how many groups an owner has

	plain int // a group of more rules than that is edited rule by rule
}

// plainMax is the most rules that an edit copies and judges as a whole: that
// is faster than to find out what it need not look at.
const plainMax = 48

type attachment struct {
	group sg.GroupID
	iface sg.InterfaceID
}

// membership is an interface of an instance or, with instance empty, of an
// owner.
type membership struct {
	instance sg.InstanceID
	owner    sg.OwnerID
	iface    sg.InterfaceID
}

type binding struct {
	group    sg.GroupID
	instance sg.InstanceID
}

type reference struct {
	kind   sg.PeerKind
	target string
	from   sg.GroupID
}

func compareReferences(a, b reference) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.target, b.target), cmp.Compare(a.from, b.from))
}

type groupName struct {
	vpc   sg.VPCID
	scope string
	name  string
	group sg.GroupID
}

// New returns the empty policy governed by p. It fails if p is not valid.
func New(p sg.Profile) (*Snapshot, error) {
	if err := p.Validate(); err != nil {
		var errs sg.Errors
		errs.Merge("profile", err)
		return nil, errs.Err()
	}
	p.UngroupedKinds, p.Platform = slices.Clone(p.UngroupedKinds), slices.Clone(p.Platform)
	p.NewGroup, p.DefaultGroup, p.BeyondAny = slices.Clone(p.NewGroup), slices.Clone(p.DefaultGroup), slices.Clone(p.BeyondAny)
	return &Snapshot{
		profile:    &p,
		plain:      plainMax,
		groups:     cow.New[sg.GroupID, *held](cmp.Compare[sg.GroupID]),
		sets:       cow.New[sg.SetID, *ipset.Set](cmp.Compare[sg.SetID]),
		interfaces: cow.New[sg.InterfaceID, *sg.Interface](cmp.Compare[sg.InterfaceID]),
		instances:  cow.New[sg.InstanceID, *sg.Instance](cmp.Compare[sg.InstanceID]),
		owners:     cow.New[sg.OwnerID, *sg.Owner](cmp.Compare[sg.OwnerID]),
		defaults:   cow.New[sg.VPCID, sg.GroupID](cmp.Compare[sg.VPCID]),
		members: cow.New[membership, struct{}](func(a, b membership) int {
			return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.owner, b.owner), cmp.Compare(a.iface, b.iface))
		}),
		bound: cow.New[binding, struct{}](func(a, b binding) int {
			return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.instance, b.instance))
		}),
		attached: cow.New[attachment, struct{}](func(a, b attachment) int {
			return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.iface, b.iface))
		}),
		refs: cow.New[reference, int](compareReferences),
		names: cow.New[groupName, struct{}](func(a, b groupName) int {
			return cmp.Or(cmp.Compare(a.vpc, b.vpc), cmp.Compare(a.scope, b.scope), cmp.Compare(a.name, b.name),
				cmp.Compare(a.group, b.group))
		}),
		owned: cow.New[sg.OwnerID, int](cmp.Compare[sg.OwnerID]),
	}, nil
}

// Build returns the policy of p that c leads to from nothing. Its error is
// sg.Errors with every fault.
func Build(p sg.Profile, c ...Change) (*Snapshot, error) {
	s, err := New(p)
	if err != nil {
		return nil, err
	}
	next, _, err := s.With(c...)
	return next, err
}

// Profile returns the profile, which must not be modified.
func (s *Snapshot) Profile() *sg.Profile { return s.profile }

// Group returns a group by id. The first call for a group that an EditGroup
// led to costs as much as it has rules.
func (s *Snapshot) Group(id sg.GroupID) (*sg.Group, bool) {
	h, ok := s.groups.Get(id)
	if !ok {
		return nil, false
	}
	return h.group(), true
}

// header returns a group by id, whose rules are not to be looked at.
func (s *Snapshot) header(id sg.GroupID) (*sg.Group, bool) {
	h, ok := s.groups.Get(id)
	if !ok {
		return nil, false
	}
	return h.header(), true
}

// Set returns an IP set by id.
func (s *Snapshot) Set(id sg.SetID) (*ipset.Set, bool) { return s.sets.Get(id) }

// Interface returns an interface by id.
func (s *Snapshot) Interface(id sg.InterfaceID) (*sg.Interface, bool) { return s.interfaces.Get(id) }

// Groups yields every group in order of id.
func (s *Snapshot) Groups() iter.Seq[*sg.Group] {
	return func(yield func(*sg.Group) bool) {
		for _, h := range s.groups.All() {
			if !yield(h.group()) {
				return
			}
		}
	}
}

// Sets yields every IP set in order of id.
func (s *Snapshot) Sets() iter.Seq[*ipset.Set] { return values(s.sets) }

// Interfaces yields every interface in order of id.
func (s *Snapshot) Interfaces() iter.Seq[*sg.Interface] { return values(s.interfaces) }

// Instance returns an instance by id.
func (s *Snapshot) Instance(id sg.InstanceID) (*sg.Instance, bool) { return s.instances.Get(id) }

// Instances yields every instance in order of id.
func (s *Snapshot) Instances() iter.Seq[*sg.Instance] { return values(s.instances) }

// Owner returns what is special about an owner.
func (s *Snapshot) Owner(id sg.OwnerID) (*sg.Owner, bool) { return s.owners.Get(id) }

// Owners yields every owner that something is special about, in order of id.
func (s *Snapshot) Owners() iter.Seq[*sg.Owner] { return values(s.owners) }

// DefaultGroup returns the default group of a VPC, if it has one.
func (s *Snapshot) DefaultGroup(id sg.VPCID) (*sg.Group, bool) {
	g, ok := s.defaults.Get(id)
	if !ok {
		return nil, false
	}
	return s.Group(g)
}

// Size is the number of objects in a Snapshot.
type Size struct{ Groups, Sets, Interfaces int }

// Size returns how many groups, IP sets and interfaces there are.
func (s *Snapshot) Size() Size { return Size{s.groups.Len(), s.sets.Len(), s.interfaces.Len()} }

// Attached yields the interfaces that group id is attached to, by themselves
// or by their instance, in order of id.
func (s *Snapshot) Attached(id sg.GroupID) iter.Seq[*sg.Interface] {
	return func(yield func(*sg.Interface) bool) {
		for a := range s.attached.From(attachment{group: id}) {
			if a.group != id {
				return
			}
			if i, ok := s.interfaces.Get(a.iface); ok && !yield(i) {
				return
			}
		}
	}
}

// Referrers yields the groups with a rule whose peer is p, a group or an IP
// set, in order of id. A group that refers to itself is one of them.
func (s *Snapshot) Referrers(p sg.Peer) iter.Seq[sg.GroupID] {
	return func(yield func(sg.GroupID) bool) {
		want, ok := target(p)
		if !ok {
			return
		}
		for r := range s.refs.From(want) {
			if r.kind != want.kind || r.target != want.target || !yield(r.from) {
				return
			}
		}
	}
}

// target is the reference that rules with peer p make, without its origin.
func target(p sg.Peer) (reference, bool) {
	if id, ok := p.Group(); ok {
		return reference{kind: sg.PeerIsGroup, target: string(id)}, true
	}
	if id, ok := p.Set(); ok {
		return reference{kind: sg.PeerIsSet, target: string(id)}, true
	}
	return reference{}, false
}

func values[K, V any](m *cow.Map[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range m.All() {
			if !yield(v) {
				return
			}
		}
	}
}

// clone returns a snapshot that may be edited until it is published.
func (s *Snapshot) clone() *Snapshot {
	return &Snapshot{
		profile:    s.profile,
		plain:      s.plain,
		groups:     s.groups.Clone(),
		sets:       s.sets.Clone(),
		interfaces: s.interfaces.Clone(),
		instances:  s.instances.Clone(),
		owners:     s.owners.Clone(),
		members:    s.members.Clone(),
		bound:      s.bound.Clone(),
		defaults:   s.defaults.Clone(),
		attached:   s.attached.Clone(),
		refs:       s.refs.Clone(),
		names:      s.names.Clone(),
		owned:      s.owned.Clone(),
	}
}
