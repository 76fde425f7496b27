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
	c, at := m.chain(index, d)
	if c == nil {
		return ir.Verdict{Reason: ir.ReasonUnknownInterface}
	}
	family := 1
	if f.Remote.Is4() {
		family = 0
	} else if !f.Remote.IsValid() {
		return c.Fallback()
	}
	key := services.Key(&f)
	var any services.Hit
	if c.HasAny(family) {
		var decided bool
		if any, decided = c.Any(family, key); decided {
			return c.Verdict(any, 0)
		}
	}
	if at == nil {
		return c.Verdict(any, 0)
	}
	var class ranges.Value
	if family == 0 {
		class = at.v4.Find(number(f.Remote))
	} else {
		class = at.v6.Find2(halves(f.Remote))
	}
	if class == 0 {
		return c.Verdict(any, 0)
	}
	return c.Verdict(any, c.Peer(family, class, key, m.classes[family]))
}

// MatchBatch is Match for each of flows, into out, and returns for how many:
// the length of the shorter of the two. It pays where the addresses that rules
// name are more than fit in the cache: what many flows need of memory is asked
// for at once. Batches of 16 to 64 gain the most.
func (m *Matcher) MatchBatch(index uint32, d sg.Direction, flows []ir.Flow, out []ir.Verdict) int {
	n := min(len(flows), len(out))
	c, at := m.chain(index, d)
	if c == nil {
		for i := range out[:n] {
			out[i] = ir.Verdict{Reason: ir.ReasonUnknownInterface}
		}
		return n
	}
	for i := 0; i < n; i += ranges.BatchMax {
		end := min(n, i+ranges.BatchMax)
		m.batch(c, at, flows[i:end], out[i:end])
	}
	return n
}

// lane is what a batch has of one family.
type lane struct {
	n      int
	flow   [ranges.BatchMax]uint8 // whose it is
	key    [ranges.BatchMax]uint32
	any    [ranges.BatchMax]services.Hit
	peer   [ranges.BatchMax]services.Hit
	high   [ranges.BatchMax]uint64
	low    [ranges.BatchMax]uint64
	values [ranges.BatchMax]ranges.Value
}

func (m *Matcher) batch(c *chains.Index, at *space, flows []ir.Flow, out []ir.Verdict) {
	var lanes [2]lane
	for i := range flows {
		f := &flows[i]
		family := 1
		if f.Remote.Is4() {
			family = 0
		} else if !f.Remote.IsValid() {
			out[i] = c.Fallback()
			continue
		}
		key := services.Key(f)
		var any services.Hit
		decided := at == nil
		if c.HasAny(family) {
			var sure bool
			any, sure = c.Any(family, key)
			decided = decided || sure
		}
		if decided {
			out[i] = c.Verdict(any, 0)
			continue
		}
		l := &lanes[family]
		k := l.n
		l.flow[k], l.key[k], l.any[k] = uint8(i), key, any
		if family == 0 {
			l.high[k] = number(f.Remote)
		} else {
			l.high[k], l.low[k] = halves(f.Remote)
		}
		l.n++
	}
	for family := range lanes {
		l := &lanes[family]
		n := l.n
		switch {
		case n == 0:
			continue
		case family == 0:
			at.v4.FindAll(l.high[:n], l.values[:n])
		default:
			at.v6.FindAll2(l.high[:n], l.low[:n], l.values[:n])
		}
		c.Peers(family, l.values[:n], l.key[:n], m.classes[family], l.peer[:n])
		for k, peer := range l.peer[:n] {
			out[l.flow[k]] = c.Verdict(l.any[k], peer)
		}
	}
}

// chain returns the chain of an interface in a direction, nil if there is
// none, and the addresses of its VPC, nil if rules name none.
func (m *Matcher) chain(index uint32, d sg.Direction) (*chains.Index, *space) {
	i := m.ifaces.At(index)
	p := m.policies.At(i.policy)
	if p == nil || !d.Valid() {
		return nil, nil
	}
	if d == sg.Egress {
		return p.egress, m.spaces.At(uint32(i.space))
	}
	return p.ingress, m.spaces.At(uint32(i.space))
}

// number returns an IPv4 address as a number.
func number(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// halves returns an IPv6 address as two numbers, without its zone.
func halves(a netip.Addr) (high, low uint64) {
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	// Not As16: what it returns is copied at once, before the processor has
	// both halves of it in one piece, and waits.
	var buf [16]byte
	b, _ := a.AppendBinary(buf[:0]) // it never fails
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
