package chains

import (
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Rule is what a chain has to know of a rule, in 24 bytes.
type Rule struct {
	does uint64 // an outcome, and in place of the label what follows
	peer ir.SelectorNum
	span services.Span
}

const (
	stateless = 1 << labelAt
	six       = 1 << (labelAt + 1) // of IPv6
)

// RuleOf returns what a chain has to know of r.
func RuleOf(r *ir.Rule) Rule {
	out := Rule{does: uint64(r.Num), peer: r.Peer, span: services.SpanOf(r)}
	if r.Ref.Platform != "" {
		out.does |= platform
	}
	if r.Action == sg.Accept {
		out.does |= accepts
	}
	if r.Stateless {
		out.does |= stateless
	}
	if r.Family == sg.IPv6 {
		out.does |= six
	}
	return out
}

// outcome returns what r does, without a label.
func (r *Rule) outcome() uint64 { return r.does & (1<<labelAt - 1) }

// stateless returns 1 if r is, else 0.
func (r *Rule) stateless() int { return int(r.does / stateless & 1) }

// side returns 0 for IPv4, 1 for IPv6.
func (r *Rule) side() int { return int(r.does / six & 1) }

// placed is a rule that is in the chain, in that slot.
type placed struct {
	Rule
	slot uint32
}

// hit is what r has in its list.
func (r *placed) hit() services.Hit {
	h := r.slot << 1
	if r.does&(accepts|stateless) == accepts {
		h |= 1
	}
	return h
}
