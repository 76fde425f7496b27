package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
	"unicode/utf8"

	"example.com/secgroup/sg"
)

// Has says what a format has a place for.
type Has struct {
	VPC, Owner, Stateless, Default, Created, RuleIDs bool
}

// Writer collects the faults and warnings of writing groups. It is not safe
// for concurrent use.
type Writer struct {
	errs     sg.Errors
	warnings warnings
}

// Check returns a Writer that knows what a format can not say of groups apart
// from their rules, and the faults of groups that are no valid ones.
func Check(groups []*sg.Group, has Has) *Writer {
	w := &Writer{}
	seen := make(map[sg.GroupID]bool, len(groups))
	for n, g := range groups {
		if g == nil {
			w.errs.Add(fmt.Sprintf("groups[%d]", n), nil, sg.ErrRequired, "no group")
			continue
		}
		w.errs.Merge(Path(g), g.Validate())
		if seen[g.ID] {
			w.errs.Add(Path(g)+".id", string(g.ID), sg.ErrDuplicate, "two groups have it")
		}
		seen[g.ID] = true
		w.group(g, has)
	}
	return w
}

// Path is the path of a group in errors.
func Path(g *sg.Group) string { return fmt.Sprintf("groups[%q]", g.ID) }

// RulePath is the path of a field of a rule in errors.
func RulePath(g *sg.Group, n int, field string) string {
	return sg.JoinPath(fmt.Sprintf("%s.rules[%d]", Path(g), n), field)
}

func (w *Writer) group(g *sg.Group, has Has) {
	at := Path(g)
	if owner, ok := g.Scope.Owner(); ok && !has.Owner {
		w.Warn(at+".scope", fmt.Sprintf("the format has no owner; %q is lost", owner))
	} else if ok {
		w.text(at+".scope", string(owner))
	}
	w.text(at+".description", g.Description)
	w.text(at+".vpc", string(g.VPC))
	if g.VPC != "" && !has.VPC {
		w.Refuse(at+".vpc", string(g.VPC), "the format has no VPC: the group would stand in another one")
	}
	if g.Stateless && !has.Stateless {
		w.Refuse(at+".stateless", true, "groups are stateful here")
	}
	if g.Default && !has.Default {
		w.Warn(at+".default", "the format does not tell the default group from others")
	}
	switch {
	case g.Created.IsZero():
	case !has.Created:
		w.Warn(at+".created", "the format has no time of creation")
	case Time(g.Created) == "":
		w.Refuse(at+".created", g.Created.String(), "the year does not have four digits")
	}
	for n, r := range g.Rules {
		w.text(RulePath(g, n, "description"), r.Description)
		if id, ok := r.Peer.Group(); ok && id == sg.SelfGroup {
			w.Refuse(RulePath(g, n, "peer"), r.Peer.String(), "stands for any group, in profiles")
		}
	}
	if !has.RuleIDs {
		w.lostIDs(g)
	}
}

// lostIDs lists the rule ids that do not come back, since they are not those
// that the rule gets by what it says.
func (w *Writer) lostIDs(g *sg.Group) {
	var again []sg.Rule
	var places []int
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		for n, r := range g.ByDirection(d) {
			r.ID = ""
			if p := CIDR(r); p.IsValid() {
				r.Peer = sg.PeerCIDR(p)
			}
			r.Family = sg.FamilyAny // the CIDR says it
			again, places = append(again, r), append(places, n)
		}
	}
	sg.AssignIDs(again)
	for i, n := range places {
		if id := g.Rules[n].ID; id != again[i].ID {
			w.Warn(RulePath(g, n, "id"), fmt.Sprintf("the format has no rule ids; %q is lost", id))
		}
	}
}

// CIDR returns the peer of r as a prefix: its own, or that of every address of
// the family it is for. It is not valid if r names neither.
func CIDR(r sg.Rule) netip.Prefix {
	if p, ok := r.Peer.CIDR(); ok {
		return p
	}
	if r.Peer.IsAny() {
		switch r.EffectiveFamily() {
		case sg.IPv4:
			return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		case sg.IPv6:
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return netip.Prefix{}
}

// Time writes t as RFC 3339 has it, in UTC; "" if it can not, or t is zero.
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	b, err := t.UTC().MarshalText()
	if err != nil {
		return ""
	}
	return string(b)
}

func (w *Writer) text(path, s string) {
	if !utf8.ValidString(s) {
		w.Refuse(path, s, "not valid UTF-8")
	}
}

// Refuse notes what the format can not say.
func (w *Writer) Refuse(path string, value any, why string) {
	w.errs.Add(path, value, sg.ErrUnsupported, why)
}

// Warn lists what the format has no place for, but changes no verdict.
func (w *Writer) Warn(path, detail string) { w.warnings.add(path, detail) }

// Result is what Encode returns: v as JSON and the warnings, or every fault.
func (w *Writer) Result(v any) ([]byte, []sg.Warning, error) {
	if err := w.errs.Err(); err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		w.errs.Merge("", err)
		return nil, nil, w.errs
	}
	return b.Bytes(), w.warnings.list(), nil
}
