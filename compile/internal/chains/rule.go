package chains

import (
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Rule is what a chain has to know of a rule.
type Rule struct {
	outcome   uint64 // without a label
	peer      ir.SelectorNum
	span      services.Span
	side      uint8 // 0 for IPv4, 1 for IPv6
	stateless bool
}

// RuleOf returns what a chain has to know of r.
func RuleOf(r *ir.Rule) Rule {
	out := Rule{outcome: uint64(r.Num), peer: r.Peer, span: services.SpanOf(r), stateless: r.Stateless}
	if r.Ref.Platform != "" {
		out.outcome |= platform
	}
	if r.Action == sg.Accept {
		out.outcome |= accepts
	}
	if r.Family == sg.IPv6 {
		out.side = 1
	}
	return out
}

// placed is a rule that is in the chain, in that slot.
type placed struct {
	Rule
	slot uint32
}

// hit is what r has in its list.
func (r *placed) hit() services.Hit {
	h := r.slot << 1
	if r.outcome&accepts != 0 && !r.stateless {
		h |= 1
	}
	return h
}
