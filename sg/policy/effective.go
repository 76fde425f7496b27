package policy

import (
	"iter"
	"slices"

	"example.com/secgroup/sg"
)

// Effective returns an interface as it is judged: with the groups of its
// instance before its own, and the exemptions of its owner beside its own.
func (s *Snapshot) Effective(id sg.InterfaceID) (*sg.Interface, bool) {
	i, ok := s.interfaces.Get(id)
	if !ok {
		return nil, false
	}
	return s.effective(i), true
}

func (s *Snapshot) effective(i *sg.Interface) *sg.Interface {
	var groups []sg.GroupID
	if n, ok := s.instances.Get(i.Instance); ok && i.Instance != "" {
		groups = n.Groups
	}
	var exempt []string
	if o, ok := s.owners.Get(i.Owner); ok && i.Owner != "" {
		exempt = o.Exempt
	}
	if len(groups)+len(exempt) == 0 {
		return i
	}
	c := i.Clone()
	c.Groups = union(groups, i.Groups)
	c.Exempt = union(i.Exempt, exempt)
	return c
}

// union returns a and what b has beside it.
func union[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// InterfacesOf yields the interfaces of an instance, in order of id.
func (s *Snapshot) InterfacesOf(id sg.InstanceID) iter.Seq[*sg.Interface] {
	return s.membersOf(membership{instance: id})
}

// OwnedBy yields the interfaces of an owner, in order of id.
func (s *Snapshot) OwnedBy(id sg.OwnerID) iter.Seq[*sg.Interface] {
	return s.membersOf(membership{owner: id})
}

func (s *Snapshot) membersOf(of membership) iter.Seq[*sg.Interface] {
	return func(yield func(*sg.Interface) bool) {
		if of.instance == "" && of.owner == "" {
			return
		}
		for m := range s.members.From(of) {
			if m.instance != of.instance || m.owner != of.owner {
				return
			}
			if i, ok := s.interfaces.Get(m.iface); ok && !yield(i) {
				return
			}
		}
	}
}

// floats reports whether g is of no VPC in particular: where groups attach to
// instances, a group without VPC applies to their interfaces in every VPC.
func (s *Snapshot) floats(g *sg.Group) bool {
	return g.VPC == "" && s.profile.Unit == sg.PerInstance
}
