package compile

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Explanation lists every rule considered and what each lacked. It comes from
// Explain.
type Explanation struct {
	Verdict   ir.Verdict
	Matches   []ir.Rule     // all that match, the first decides
	Misses    []Miss        // near misses: all but one condition held; the nearest first
	Selectors []ir.Selector // that contain the remote address

	prog      *ir.Program
	direction sg.Direction
	flow      ir.Flow
}

// Miss is a rule and the one condition it failed.
type Miss struct {
	Rule ir.Rule
	On   string // "peer", "icmp", "ports", "family" or "protocol"
	by   int    // how far off, in ports
}

// Explain says how Match decides, for people and tests; it is slow.
func (m *Matcher) Explain(id sg.InterfaceID, d sg.Direction, f ir.Flow) Explanation {
	e := Explanation{Verdict: m.prog.Eval(id, d, f), prog: m.prog, direction: d, flow: f}
	i, ok := m.prog.Interface(id)
	if !ok || !d.Valid() {
		return e
	}
	for s := range m.prog.Selectors() {
		if s.VPC == i.VPC && m.prog.Selects(s.Num, f) {
			e.Selectors = append(e.Selectors, s)
		}
	}
	p, _ := m.prog.Policy(i.Policy)
	for _, n := range p.Chain(d).Rules {
		r, _ := m.prog.Rule(n)
		on, by := missed(m.prog, r, f)
		switch len(on) {
		case 0:
			e.Matches = append(e.Matches, r)
		case 1:
			e.Misses = append(e.Misses, Miss{r, on[0], by})
		}
	}
	rank := []string{"peer", "icmp", "ports", "family", "protocol"}
	slices.SortStableFunc(e.Misses, func(a, b Miss) int {
		return cmp.Or(cmp.Compare(slices.Index(rank, a.On), slices.Index(rank, b.On)), cmp.Compare(a.by, b.by))
	})
	return e
}

// missed returns every condition of r that f fails.
func missed(p *ir.Program, r ir.Rule, f ir.Flow) (on []string, by int) {
	family := f.Remote.IsValid() && r.Family == sg.FamilyOf(f.Remote)
	if !family {
		on = append(on, "family")
	}
	if family && !p.Selects(r.Peer, f) || !family && r.Peer != ir.Any {
		on = append(on, "peer")
	}
	service := f
	if r.Protocol != sg.AnyProtocol && r.Protocol != sg.Protocol(f.Protocol) {
		on = append(on, "protocol")
		if !r.Protocol.HasPorts() || !sg.Protocol(f.Protocol).HasPorts() {
			return append(on, "service"), 0 // nothing to compare
		}
	}
	if r.Protocol.HasPorts() && !r.Ports.IsAll() && (f.NoPorts || !r.Ports.Contains(service.Port)) {
		on = append(on, "ports")
		by = max(int(r.Ports.First)-int(f.Port), int(f.Port)-int(r.Ports.Last))
	}
	if r.Protocol.HasICMP() && !r.ICMP.Matches(f.ICMPType, f.ICMPCode) {
		on = append(on, "icmp")
	}
	return on, by
}

// Nearest returns the rule of a group that came closest, if any did.
func (e Explanation) Nearest() (Miss, bool) {
	for _, m := range e.Misses {
		if m.Rule.Ref.Platform == "" {
			return m, true
		}
	}
	return Miss{}, false
}

// Why says in one line why the verdict is what it is.
func (e Explanation) Why() string {
	switch e.Verdict.Reason {
	case ir.ReasonRule, ir.ReasonPlatform:
		return e.Describe(e.Matches[0])
	case ir.ReasonUnattached:
		return "the interface has no group"
	case ir.ReasonEmptyDirection:
		return "no group of the interface has any " + e.direction.String() + " rule"
	case ir.ReasonNoRule:
		s := "no rule for " + e.service()
		if n, ok := e.Nearest(); ok {
			s += "; nearest: " + e.Describe(n.Rule) + " (" + e.lacked(n) + ")"
		}
		return s
	case ir.ReasonUnknownInterface:
		return "the policy has no such interface"
	}
	return e.Verdict.Reason.String()
}

func (e Explanation) service() string {
	f, p := e.flow, sg.Protocol(e.flow.Protocol)
	s := p.String()
	switch {
	case p.HasPorts() && f.NoPorts:
		s += " without ports"
	case p.HasPorts():
		s += fmt.Sprintf(" %d", f.Port)
	case p.HasICMP():
		s += fmt.Sprintf(" type %d code %d", f.ICMPType, f.ICMPCode)
	}
	return s + e.preposition() + f.Remote.String()
}

func (e Explanation) preposition() string {
	if e.direction == sg.Egress {
		return " to "
	}
	return " from "
}

func (e Explanation) lacked(m Miss) string {
	f := e.flow
	switch m.On {
	case "peer":
		return f.Remote.String() + " is not in its peer"
	case "ports":
		if f.NoPorts {
			return "the packet has no ports"
		}
		return fmt.Sprintf("port %d is outside", f.Port)
	case "icmp":
		return fmt.Sprintf("type %d code %d is another message", f.ICMPType, f.ICMPCode)
	case "family":
		return "the packet is " + sg.FamilyOf(f.Remote).String()
	}
	return "the packet is " + sg.Protocol(f.Protocol).String()
}

// Describe says what a rule of the explained program lets through, in a line.
func (e Explanation) Describe(r ir.Rule) string {
	s := r.Ref.String() + " "
	if r.Action == sg.Drop {
		s += "drops "
	} else {
		s += "allows "
	}
	s += r.Protocol.String()
	if r.Protocol.HasPorts() && r.Ports.IsAll() {
		s += " all ports"
	} else if r.Protocol.HasPorts() {
		s += " " + r.Ports.String()
	}
	if !r.ICMP.IsAny() {
		s += " type " + r.ICMP.String()
	}
	s += e.preposition()
	if sel, ok := e.prog.Selector(r.Peer); ok {
		s += sel.Peer.String()
	} else {
		s += "any " + r.Family.String()
	}
	if r.Ref.Origin != "" {
		s += " [" + r.Ref.Origin + "]"
	}
	return s
}

// All yields e's verdict, matches and misses as text, one line each.
func (e Explanation) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(fmt.Sprintf("%s (%s): %s", e.Verdict.Action, e.Verdict.Reason, e.Why())) {
			return
		}
		for _, r := range e.Matches {
			if !yield("match: " + e.Describe(r)) {
				return
			}
		}
		for _, m := range e.Misses {
			if !yield("miss on " + m.On + ": " + e.Describe(m.Rule)) {
				return
			}
		}
		for _, s := range e.Selectors {
			if !yield("member of: " + s.Peer.String()) {
				return
			}
		}
	}
}
