package compile

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Matcher decides new flows. It is immutable and safe for concurrent use, and
// Match does not allocate.
type Matcher struct {
	prog     *ir.Program
	ifaces   *pages.Array[hotInterface]
	policies *pages.Array[*policyIndex]
	spaces   *pages.Array[*space]
	classes  [2]*pages.Array[[]ir.SelectorNum]
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
	return m.match(m.ifaces.At(index), d, &f)
}

func (m *Matcher) match(i hotInterface, d sg.Direction, f *ir.Flow) ir.Verdict {
	p := m.policies.At(i.policy)
	if p == nil || !d.Valid() {
		return ir.Verdict{Reason: ir.ReasonUnknownInterface}
	}
	c := p.ingress
	if d == sg.Egress {
		c = p.egress
	}
	family := 1
	if f.Remote.Is4() {
		family = 0
	} else if !f.Remote.IsValid() {
		return c.Fallback()
	}
	key := services.Key(f)
	var any services.Hit
	if c.HasAny(family) {
		var decided bool
		if any, decided = c.Any(family, key); decided {
			return c.Verdict(any, 0)
		}
	}
	at := m.spaces.At(uint32(i.space))
	if at == nil {
		return c.Verdict(any, 0)
	}
	var class ranges.Value
	if family == 0 {
		a := f.Remote.As4()
		class = at.v4.Find(uint64(binary.BigEndian.Uint32(a[:])))
	} else {
		class = at.v6.Find2(halves(f.Remote))
	}
	if class == 0 {
		return c.Verdict(any, 0)
	}
	return c.Verdict(any, c.Peer(family, class, key, m.classes[family]))
}

// halves returns an IPv6 address as two numbers, without its zone.
func halves(a netip.Addr) (high, low uint64) {
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	// Not As16: what it returns is copied at once, before the processor has
	// both halves of it in one piece, and waits.
	var buf [16]byte
	b, _ := a.AppendBinary(buf[:0]) // it fails never
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
