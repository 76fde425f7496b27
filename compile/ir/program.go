package ir

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// Program is a complete lowered policy. It is immutable and safe for
// concurrent use; programs of one Compiler share structure.
type Program struct {
	d     Data
	steps []*Step // that led here, the last one to this generation
}

// Data is what a Program is made of. Package compile fills it; the maps must
// not change any more once a Program is made.
type Data struct {
	Lineage     *Lineage // the compiler's; nil is a lineage of its own
	Generation  uint64   // no two programs of a lineage share one
	Epoch       uint32
	Established sg.Established
	Rules       *RuleTable
	Policies    *cow.Map[uint32, *Policy]
	Interfaces  *cow.Map[sg.InterfaceID, Interface]
	Selectors   *SelectorTable
	Source      Source
}

// Lineage identifies a Compiler: numbers of rules, selectors, policies and
// interfaces mean the same in programs of one lineage, and nothing across.
type Lineage struct{ _ byte }

// Source says which prefixes a group or an IP set stands for, masked, in any
// order and as often as they are named.
type Source interface {
	Group(sg.VPCID, sg.GroupID) iter.Seq[netip.Prefix] // addresses of the member interfaces in a VPC
	Set(sg.SetID) iter.Seq[netip.Prefix]
}

// NewData returns Data with empty maps.
func NewData() Data {
	return Data{
		Lineage:    new(Lineage),
		Rules:      newRuleTable(),
		Policies:   cow.New[uint32, *Policy](cmp.Compare[uint32]),
		Interfaces: cow.New[sg.InterfaceID, Interface](cmp.Compare[sg.InterfaceID]),
		Selectors:  newSelectorTable(),
	}
}

// New returns the program made of d. The maps of d may be written to
// afterwards: New clones them.
func New(d Data) *Program {
	d.Rules = d.Rules.Clone()
	d.Policies = d.Policies.Clone()
	d.Interfaces = d.Interfaces.Clone()
	d.Selectors = d.Selectors.Clone()
	return &Program{d: d}
}

// Next is New for the program that follows prev, whose generation is one
// below: s has noted all that differs, and is not noted into any more.
func Next(prev *Program, d Data, s *Step) *Program {
	p := New(d)
	p.steps = remember(prev.steps, s)
	return p
}

// Generation numbers programs of one Compiler, from 1.
func (p *Program) Generation() uint64 { return p.d.Generation }

// Epoch changes only when something that was accepted may no longer be, so
// that adding a member or a rule never makes connections be judged again.
func (p *Program) Epoch() uint32 { return p.d.Epoch }

// Established says what becomes of tracked connections when Epoch changes.
func (p *Program) Established() sg.Established { return p.d.Established }

// SameLineage reports whether p and q come from one Compiler, so that their
// numbers mean the same.
func (p *Program) SameLineage(q *Program) bool { return q != nil && p.d.Lineage == q.d.Lineage }

// Rule returns a rule of this program by number.
func (p *Program) Rule(n RuleNum) (Rule, bool) { return p.d.Rules.Get(n) }

// Policy returns a policy by number.
func (p *Program) Policy(n uint32) (*Policy, bool) { return p.d.Policies.Get(n) }

// Interface returns an interface by id.
func (p *Program) Interface(id sg.InterfaceID) (Interface, bool) { return p.d.Interfaces.Get(id) }

// Selector returns a selector by number.
func (p *Program) Selector(n SelectorNum) (Selector, bool) { return p.d.Selectors.Get(n) }

// Rules yields every rule in order of number.
func (p *Program) Rules() iter.Seq[Rule] { return values(p.d.Rules) }

// Policies yields every policy in order of number. They must not be modified.
func (p *Program) Policies() iter.Seq[*Policy] { return values(p.d.Policies) }

// Interfaces yields every interface in order of id.
func (p *Program) Interfaces() iter.Seq[Interface] { return values(p.d.Interfaces) }

// Selectors yields every selector in order of number.
func (p *Program) Selectors() iter.Seq[Selector] { return values(p.d.Selectors) }

// Members yields the distinct prefixes of selector s in family f, masked and
// sorted by netip.Prefix.Compare: IPv4 before IPv6, then by address, then the
// wider first. They are as written: a prefix that several interfaces have comes
// once, and one inside another stays. Use sg.MergePrefixes where they must be
// disjoint. Selector Any has no members: it needs no list.
func (p *Program) Members(s SelectorNum, f sg.Family) iter.Seq[netip.Prefix] {
	return slices.Values(p.members(s, f))
}

func (p *Program) members(s SelectorNum, f sg.Family) []netip.Prefix {
	list := slices.Collect(p.prefixes(s, f))
	slices.SortFunc(list, netip.Prefix.Compare)
	return slices.Compact(list)
}

// prefixes yields the prefixes of selector s in family f as they are written,
// in any order.
func (p *Program) prefixes(s SelectorNum, f sg.Family) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		sel, ok := p.d.Selectors.Get(s)
		if !ok {
			return
		}
		if c, ok := sel.Peer.CIDR(); ok && f.Matches(sg.FamilyOf(c.Addr())) {
			yield(c)
		}
		var from iter.Seq[netip.Prefix]
		if id, ok := sel.Peer.Group(); ok {
			from = p.d.Source.Group(sel.VPC, id)
		} else if id, ok := sel.Peer.Set(); ok {
			from = p.d.Source.Set(id)
		} else {
			return
		}
		for c := range from {
			if f.Matches(sg.FamilyOf(c.Addr())) && !yield(c) {
				return
			}
		}
	}
}

func values[K, V any](m interface{ All() iter.Seq2[K, V] }) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range m.All() {
			if !yield(v) {
				return
			}
		}
	}
}
