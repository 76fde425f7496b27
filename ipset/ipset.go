// Package ipset holds named collections of addresses and prefixes that rules
// refer to by id.
package ipset

import (
	"fmt"
	"iter"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// Entry is one prefix with a note.
type Entry struct {
	Prefix      netip.Prefix // masked; bare addresses are /32 or /128
	Description string
}

// Set is a named collection of entries of one family. The zero value is an
// empty set whose family is fixed by its first entry. A Set is not safe for
// concurrent use, nor to be copied by value; a *Set handed to package policy must not change any more:
// change a Clone, which shares its contents and is cheap.
type Set struct {
	ID          sg.SetID
	Name        string
	Description string
	VPC         sg.VPCID // where it may be used; empty is everywhere
	Scope       sg.Scope
	family      sg.Family
	entries     *cow.Map[netip.Prefix, string]
}

// New returns an empty set of the given family, FamilyAny leaving it to the
// first entry.
func New(id sg.SetID, f sg.Family, scope sg.Scope) *Set {
	return &Set{ID: id, Name: string(id), Scope: scope, family: f}
}

// ParseEntry parses "192.0.2.1", "192.0.2.0/24" or an IPv6 equivalent. A
// bare address becomes /32 or /128; host bits, zones and IPv4-mapped IPv6 are
// refused.
func ParseEntry(s string) (netip.Prefix, error) { return sg.ParsePrefix(s) }

// Family returns the family of the entries.
func (s *Set) Family() sg.Family { return s.family }

// Len returns the number of entries.
func (s *Set) Len() int {
	if s.entries == nil {
		return 0
	}
	return s.entries.Len()
}

// All yields the entries sorted by prefix: by address, then the wider first.
func (s *Set) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if s.entries == nil {
			return
		}
		for p, d := range s.entries.All() {
			if !yield(Entry{p, d}) {
				return
			}
		}
	}
}

// Has reports whether exactly p is an entry.
func (s *Set) Has(p netip.Prefix) bool {
	if s.entries == nil {
		return false
	}
	_, ok := s.entries.Get(p)
	return ok
}

// Note returns the description of entry p; ok is false if p is none.
func (s *Set) Note(p netip.Prefix) (note string, ok bool) {
	if s.entries == nil {
		return "", false
	}
	return s.entries.Get(p)
}

// HasEntry reports whether e is an entry, with that description.
func (s *Set) HasEntry(e Entry) bool {
	note, ok := s.Note(e.Prefix)
	return ok && note == e.Description
}

// Contains reports whether any entry covers a. It costs one look-up per
// prefix length; compile a policy to match packets.
func (s *Set) Contains(a netip.Addr) bool {
	if s.entries == nil || !a.IsValid() || a.Zone() != "" {
		return false
	}
	for bits := a.BitLen(); bits >= 0; bits-- {
		if p, err := a.Prefix(bits); err == nil && s.Has(p) {
			return true
		}
	}
	return false
}

// Merged yields the addresses of s as the fewest disjoint prefixes, sorted:
// nested ones are absorbed and neighbours joined.
func (s *Set) Merged() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		list := make([]netip.Prefix, 0, s.Len())
		for e := range s.All() {
			list = append(list, e.Prefix)
		}
		for _, p := range sg.MergePrefixes(list) {
			if !yield(p) {
				return
			}
		}
	}
}

// Clone returns an independent copy that shares its contents until one of the
// two is changed.
func (s *Set) Clone() *Set {
	c := *s
	if s.entries != nil {
		c.entries = s.entries.Clone()
	}
	return &c
}

// SetFamily changes the family of an empty set. It fails with sg.ErrInUse
// once entries exist.
func (s *Set) SetFamily(f sg.Family) error {
	switch {
	case !f.Valid():
		return &sg.FieldError{Path: "ip_version", Value: uint8(f), Err: sg.ErrInvalid}
	case f != s.family && s.Len() > 0:
		return &sg.FieldError{Path: "ip_version", Value: f, Err: sg.ErrInUse, Detail: "the set has entries"}
	}
	s.family = f
	return nil
}

// Add adds e. It fails with sg.ErrInvalid for a prefix with host bits,
// sg.ErrFamily for the other family and sg.ErrDuplicate for a prefix that is
// an entry already, whatever its description.
func (s *Set) Add(e Entry) error {
	if why := sg.CheckPrefix(e.Prefix); why != "" {
		return &sg.FieldError{Value: e.Prefix, Err: sg.ErrInvalid, Detail: why}
	}
	f := sg.FamilyOf(e.Prefix.Addr())
	switch {
	case !s.family.Matches(f):
		return &sg.FieldError{Value: e.Prefix, Err: sg.ErrFamily, Detail: "the set is for " + s.family.String()}
	case s.Has(e.Prefix):
		return &sg.FieldError{Value: e.Prefix, Err: sg.ErrDuplicate}
	}
	if s.entries == nil {
		s.entries = cow.New[netip.Prefix, string](netip.Prefix.Compare)
	}
	s.family = f
	s.entries.Set(e.Prefix, e.Description)
	return nil
}

// Remove removes exactly p and reports whether it was an entry.
func (s *Set) Remove(p netip.Prefix) bool { return s.entries != nil && s.entries.Delete(p) }

// Validate checks the set's own fields; entries are checked as they come in.
func (s *Set) Validate() error {
	var errs sg.Errors
	addName(&errs, "id", string(s.ID))
	addName(&errs, "name", s.Name)
	if !s.family.Valid() {
		errs.Add("ip_version", uint8(s.family), sg.ErrInvalid, fmt.Sprint("want ", sg.IPv4, " or ", sg.IPv6))
	}
	return errs.Err()
}

func addName(errs *sg.Errors, path, s string) {
	switch why := sg.CheckName(s); {
	case why == "":
	case s == "":
		errs.Add(path, nil, sg.ErrRequired, why)
	default:
		errs.Add(path, s, sg.ErrInvalid, why)
	}
}
