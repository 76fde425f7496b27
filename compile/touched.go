package compile

import (
	"iter"
	"net/netip"
	"reflect"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// maxVPCs is the number of VPCs a program can number: ct zones have 16 bits.
const maxVPCs = 1 << 16

func errNoPolicy(why string) error { return &sg.FieldError{Err: sg.ErrRequired, Detail: why} }

// touched is what differs between two snapshots, in order of first mention so
// that equal inputs give equal numbers.
type touched struct {
	groups     list[sg.GroupID]
	rules      map[sg.GroupID][]policy.EditGroup // of groups that saw nothing but edits
	sets       list[sg.SetID]
	edits      map[sg.SetID][]policy.EditSet // of sets that saw nothing but edits
	interfaces list[sg.InterfaceID]
	reborn     map[sg.InterfaceID]bool // deleted, and perhaps put again: another interface
	profile    bool
}

// list is an ordered set.
type list[T comparable] struct {
	order []T
	has   map[T]bool
}

func (l *list[T]) add(v T) {
	if !l.has[v] {
		if l.has == nil {
			l.has = make(map[T]bool)
		}
		l.has[v] = true
		l.order = append(l.order, v)
	}
}

// touchedBy returns what done, as Snapshot.With spelled it out, touches.
func touchedBy(done []policy.Change) *touched {
	t := &touched{
		rules: map[sg.GroupID][]policy.EditGroup{}, edits: map[sg.SetID][]policy.EditSet{}, reborn: map[sg.InterfaceID]bool{},
	}
	whole := map[sg.SetID]bool{}
	wholeGroups := map[sg.GroupID]bool{}
	for _, c := range done {
		switch c := c.(type) {
		case policy.PutGroup:
			wholeGroups[c.Group.ID] = true
			t.groups.add(c.Group.ID)
		case policy.EditGroup:
			t.rules[c.ID] = append(t.rules[c.ID], c)
			t.groups.add(c.ID)
		case policy.DeleteGroup:
			wholeGroups[c.ID] = true
			t.groups.add(c.ID)
		case policy.PutSet:
			whole[c.Set.ID] = true
			t.sets.add(c.Set.ID)
		case policy.DeleteSet:
			whole[c.ID] = true
			t.sets.add(c.ID)
		case policy.EditSet:
			t.edits[c.ID] = append(t.edits[c.ID], c)
			t.sets.add(c.ID)
		case policy.PutInterface:
			t.interfaces.add(c.Interface.ID)
		case policy.DeleteInterface:
			t.interfaces.add(c.ID)
			t.reborn[c.ID] = true
		}
	}
	for id := range whole {
		delete(t.edits, id)
	}
	for id := range wholeGroups {
		delete(t.rules, id)
	}
	return t
}

func (t *touched) all(interfaces iter.Seq[*sg.Interface]) {
	for i := range interfaces {
		t.interfaces.add(i.ID)
	}
}

// touchedBetween compares two whole snapshots.
func touchedBetween(a, b *policy.Snapshot) *touched {
	diff := a.Diff(b)
	t := touchedBy(diff)
	for _, c := range diff { // what Snapshot.With would have spelled out
		for _, s := range []*policy.Snapshot{a, b} {
			switch c := c.(type) {
			case policy.PutInstance:
				t.all(s.InterfacesOf(c.Instance.ID))
			case policy.DeleteInstance:
				t.all(s.InterfacesOf(c.ID))
			case policy.PutOwner:
				t.all(s.OwnedBy(c.Owner.ID))
			case policy.DeleteOwner:
				t.all(s.OwnedBy(c.ID))
			}
		}
	}
	if reflect.DeepEqual(a.Profile(), b.Profile()) {
		return t
	}
	t.profile = true
	for _, s := range []*policy.Snapshot{a, b} {
		for g := range s.Groups() {
			t.groups.add(g.ID) // lowering asks the profile
		}
		for i := range s.Interfaces() {
			t.interfaces.add(i.ID)
		}
	}
	return t
}

// admits reports whether next fits the numbers that a program has.
func (s *state) admits(next *policy.Snapshot, t *touched) error {
	vpcs := map[sg.VPCID]bool{}
	for _, id := range t.groups.order {
		if len(t.rules[id]) > 0 && !t.profile {
			continue // it is where it was
		}
		if g, ok := next.Group(id); ok && s.vpcs[g.VPC] == nil {
			vpcs[g.VPC] = true
		}
	}
	for _, id := range t.interfaces.order {
		if i, ok := next.Interface(id); ok && s.vpcs[i.VPC] == nil {
			vpcs[i.VPC] = true
		}
	}
	if n := len(s.vpcs) + len(vpcs); n > maxVPCs {
		return &sg.FieldError{Path: "interfaces", Value: n, Err: sg.ErrQuota, Detail: "a program numbers at most 65,536 VPCs"}
	}
	if s.lastRule > 1<<32-1<<24 || s.lastSelector > classes.Limit-1<<24 {
		return &sg.FieldError{Err: sg.ErrQuota, Detail: "rule numbers are used up; make a new Compiler"}
	}
	return nil
}

// source answers ir.Source from a snapshot.
type source struct{ s *policy.Snapshot }

func (s source) Group(vpc sg.VPCID, id sg.GroupID) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for i := range s.s.Attached(id) {
			if i.VPC != vpc {
				continue
			}
			for _, p := range i.Addrs {
				if !yield(p) {
					return
				}
			}
		}
	}
}

func (s source) Set(id sg.SetID) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		set, ok := s.s.Set(id)
		if !ok {
			return
		}
		for e := range set.All() {
			if !yield(e.Prefix) {
				return
			}
		}
	}
}

var _ ir.Source = source{}
