// Package lint finds what the clouds advise against: rules and attachments
// that are valid, and yet probably not what was meant.
//
// Every finding has a stable code; the codes are those of the requirements of
// this project, and each says which document gives the advice. A finding that
// the profile makes impossible is never made.
package lint

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// Severity says how much a finding matters.
type Severity uint8

const (
	Info     Severity = iota + 1 // worth knowing
	Warning                      // against the documents' advice
	Critical                     // opens something to everybody
)

// String is "info", "warning" or "critical".
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "none"
}

// MarshalText writes what String returns.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one piece of advice at one place.
type Finding struct {
	Code     string   `json:"code"` // stable: "LI-05"
	Severity Severity `json:"severity"`

	// Path is the place, as in sg.FieldError: groups["sg-web"].rules[3]. The
	// number counts the rules of sg.Group.Rules, of both directions. Documents
	// that have a list for each count otherwise: Rule says which one it is.
	Path string    `json:"path"`
	Rule sg.RuleID `json:"rule,omitempty"` // empty if it is about no single rule

	Message    string `json:"message"`
	Suggestion string `json:"suggestion"`
}

// String is one line: LI-05 critical groups["sg-web"].rules[3] "ssh": what is
// the matter; what to do.
func (f Finding) String() string {
	rule := ""
	if f.Rule != "" {
		rule = " " + strconv.Quote(string(f.Rule))
	}
	return f.Code + " " + f.Severity.String() + " " + f.Path + rule + ": " + f.Message + "; " + f.Suggestion
}

// Check returns every finding about s, in order of path and code.
func Check(s *policy.Snapshot) []Finding {
	c := &checker{s: s, profile: s.Profile()}
	c.index()
	for g := range s.Groups() {
		c.group(g)
	}
	c.twins()
	for i := range c.interfaces() {
		c.iface(i)
	}
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Code, b.Code))
	})
	return c.found
}

type checker struct {
	s       *policy.Snapshot
	profile *sg.Profile
	members map[member][]sg.GroupID // groups of whoever has an address
	found   []Finding
}

type member struct {
	vpc    sg.VPCID
	prefix string
}

func (c *checker) index() {
	c.members = map[member][]sg.GroupID{}
	for i := range c.interfaces() {
		for _, p := range i.Addrs {
			m := member{i.VPC, p.String()}
			c.members[m] = append(c.members[m], i.Groups...)
		}
	}
}

// interfaces yields every interface as it is judged: with the groups of its
// instance.
func (c *checker) interfaces() iter.Seq[*sg.Interface] {
	return func(yield func(*sg.Interface) bool) {
		for i := range c.s.Interfaces() {
			if e, ok := c.s.Effective(i.ID); ok && !yield(e) {
				return
			}
		}
	}
}

func (c *checker) add(code string, s Severity, path, message, suggestion string) {
	c.found = append(c.found, Finding{Code: code, Severity: s, Path: path, Message: message, Suggestion: suggestion})
}

func groupPath(id sg.GroupID) string { return "groups[" + strconv.Quote(string(id)) + "]" }

func interfacePath(id sg.InterfaceID) string { return "interfaces[" + strconv.Quote(string(id)) + "]" }
