package policy

import (
	"slices"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

func equalInterfaces(a, b *sg.Interface) bool {
	return a == b || a.ID == b.ID && a.VPC == b.VPC && a.Owner == b.Owner && a.Kind == b.Kind && a.Instance == b.Instance &&
		a.SourceGuard == b.SourceGuard && slices.Equal(a.Addrs, b.Addrs) && slices.Equal(a.Groups, b.Groups) &&
		slices.Equal(a.Exempt, b.Exempt) && slices.Equal(a.Allowed, b.Allowed)
}

func equalInstances(a, b *sg.Instance) bool {
	return a == b || a.ID == b.ID && a.Owner == b.Owner && a.Kind == b.Kind && slices.Equal(a.Groups, b.Groups)
}

func equalGroups(a, b *sg.Group) bool {
	return a == b || a.ID == b.ID && a.Name == b.Name && a.Description == b.Description && a.VPC == b.VPC &&
		a.Scope == b.Scope && a.Stateless == b.Stateless && a.Default == b.Default && a.Created.Equal(b.Created) &&
		slices.Equal(a.Rules, b.Rules)
}

func equalSets(a, b *ipset.Set) bool {
	if a == b {
		return true
	}
	if a.ID != b.ID || a.Name != b.Name || a.Description != b.Description || a.VPC != b.VPC ||
		a.Scope != b.Scope || a.Family() != b.Family() || a.Len() != b.Len() {
		return false
	}
	for e := range a.All() {
		if !b.HasEntry(e) {
			return false
		}
	}
	return true
}

// Diff returns changes that lead from s to next, a policy of the same profile:
// With(Diff…) equals next.
// Objects that are the same pointer cost nothing.
func (s *Snapshot) Diff(next *Snapshot) []Change {
	var out []Change
	for i := range s.Interfaces() {
		if _, ok := next.Interface(i.ID); !ok {
			out = append(out, DeleteInterface{i.ID})
		}
	}
	for id, h := range next.groups.All() {
		if old, ok := s.groups.Get(id); !ok || old != h && !equalGroups(old.group(), h.group()) {
			out = append(out, PutGroup{h.group()})
		}
	}
	for set := range next.Sets() {
		if old, ok := s.Set(set.ID); !ok || !equalSets(old, set) {
			out = append(out, PutSet{set})
		}
	}
	for o := range next.Owners() {
		if old, ok := s.Owner(o.ID); !ok || !slices.Equal(old.Exempt, o.Exempt) {
			out = append(out, PutOwner{o})
		}
	}
	for n := range next.Instances() {
		if old, ok := s.Instance(n.ID); !ok || !equalInstances(old, n) {
			out = append(out, PutInstance{n})
		}
	}
	for i := range next.Interfaces() {
		if old, ok := s.Interface(i.ID); !ok || !equalInterfaces(old, i) {
			out = append(out, PutInterface{i})
		}
	}
	for n := range s.Instances() {
		if _, ok := next.Instance(n.ID); !ok {
			out = append(out, DeleteInstance{n.ID})
		}
	}
	for o := range s.Owners() {
		if _, ok := next.Owner(o.ID); !ok {
			out = append(out, DeleteOwner{o.ID})
		}
	}
	for id := range s.groups.All() {
		if _, ok := next.groups.Get(id); !ok {
			out = append(out, DeleteGroup{id})
		}
	}
	for set := range s.Sets() {
		if _, ok := next.Set(set.ID); !ok {
			out = append(out, DeleteSet{set.ID})
		}
	}
	return out
}
