package compile

import (
	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Matcher decides new flows. It is immutable and safe for concurrent use, and
// Match does not allocate. It comes from a Compiler: the zero Matcher is none, and
// what takes a Matcher refuses it.
type Matcher struct {
	prog     *ir.Program
	ifaces   *pages.Array[hotInterface]
	policies *pages.Array[*policyIndex]
	spaces   *pages.Array[*space]
	classes  [2]*pages.Array[[]ir.SelectorNum] // nil where no chain walks
}

// hotInterface is what Match needs of an interface; policy 0 is none.
type hotInterface struct {
	policy uint32
	space  uint16
}

// policyIndex is a policy in the form that Match reads.
type policyIndex struct{ ingress, egress *chains.Index }

// space tells the class of each address of a VPC.
type space struct{ v4, v6 *ranges.Map }

func familyIndex(f sg.Family) int {
	if f == sg.IPv6 {
		return 1
	}
	return 0
}

// Program returns what m was compiled from.
func (m *Matcher) Program() *ir.Program { return m.prog }

// Interface returns an interface by id; its Index is the handle that Match
// wants: resolve it once, not per packet.
func (m *Matcher) Interface(id sg.InterfaceID) (ir.Interface, bool) { return m.prog.Interface(id) }

// Match returns the verdict for a new flow on the interface with that index.
// When several rules match, Verdict names the first in chain order. It is
// Program.Eval, fast.
func (m *Matcher) Match(index uint32, d sg.Direction, f ir.Flow) ir.Verdict {
	x, at := m.chain(index, d)
	if at == nil {
		return match(x, nil, nil, &m.classes, &f)
	}
	return match(x, at.v4, at.v6, &m.classes, &f)
}
