package workload

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Flow is a flow at an interface, in the direction of the packet that opens
// it.
type Flow struct {
	Interface sg.InterfaceID
	Direction sg.Direction
	ir.Flow
}

// Flows makes n flows at the interfaces of p, of which a share of about hit
// (0 to 1) is accepted by p. Accepted flows are made from rules, so that all
// rules are used alike. Half of the refused ones are random; the others come
// from an address that some rule names, with a service that none allows from
// there. No flow comes from a martian or from the interface itself, which a
// filter refuses before it asks the rules. Where p accepts nothing, or refuses nothing, the share is what p
// gives. There are no flows if p has no interfaces. It panics if n is
// negative.
func Flows(r *rand.Rand, p *ir.Program, n int, hit float64) []Flow {
	if n < 0 {
		panic(fmt.Sprintf("workload: %d flows", n))
	}
	j := newJudge(p)
	if len(j.places) == 0 {
		return nil
	}
	out := make([]Flow, n)
	for i := range out {
		want := sg.Drop
		if r.Float64() < hit {
			want = sg.Accept
		}
		out[i] = j.flow(r, want)
	}
	return out
}

// judge knows what a program accepts, without the cost of Program.Eval: that
// scans all members of all selectors for every flow.
type judge struct {
	prog    *ir.Program
	places  []place
	able    []int // places that may accept something
	chains  map[*ir.Chain]*chain
	members map[ir.SelectorNum][]netip.Prefix // sorted and disjoint
}

type place struct {
	iface sg.InterfaceID
	dir   sg.Direction
	chain *chain
}

type chain struct {
	rules []ir.Rule
	allow []int // the rules that accept
	rest  sg.Action
}

func newJudge(p *ir.Program) *judge {
	j := &judge{prog: p, chains: make(map[*ir.Chain]*chain), members: make(map[ir.SelectorNum][]netip.Prefix)}
	for i := range p.Interfaces() {
		pol, _ := p.Policy(i.Policy)
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			c := j.chain(pol.Chain(d))
			if len(c.allow) > 0 || c.rest == sg.Accept {
				j.able = append(j.able, len(j.places))
			}
			j.places = append(j.places, place{i.ID, d, c})
		}
	}
	return j
}

func (j *judge) chain(from *ir.Chain) *chain {
	c := j.chains[from]
	if c == nil {
		c = &chain{rest: from.Default}
		for i, n := range from.Rules {
			rule, _ := j.prog.Rule(n)
			c.rules = append(c.rules, rule)
			if rule.Action == sg.Accept {
				c.allow = append(c.allow, i)
			}
		}
		j.chains[from] = c
	}
	return c
}

// list returns the disjoint prefixes of s, sorted.
func (j *judge) list(s ir.SelectorNum) []netip.Prefix {
	list, ok := j.members[s]
	if !ok {
		list = sg.MergePrefixes(slices.Collect(j.prog.Members(s, sg.FamilyAny)))
		j.members[s] = list
	}
	return list
}

func (j *judge) selects(s ir.SelectorNum, a netip.Addr) bool {
	if s == ir.Any {
		return true
	}
	list := j.list(s)
	i, found := slices.BinarySearchFunc(list, a, func(p netip.Prefix, a netip.Addr) int { return p.Addr().Compare(a) })
	return found || i > 0 && list[i-1].Contains(a)
}

// action returns what c does with f.
func (j *judge) action(c *chain, f ir.Flow) sg.Action {
	for i := range c.rules {
		if rule := &c.rules[i]; rule.MatchesService(f) && j.selects(rule.Peer, f.Remote) {
			return rule.Action
		}
	}
	return c.rest
}

// flow returns a flow with that outcome, if some tries find one.
func (j *judge) flow(r *rand.Rand, want sg.Action) (f Flow) {
	var other Flow // an honest one with the other outcome
	for range 64 {
		k := r.IntN(len(j.places))
		if want == sg.Accept && len(j.able) > 0 {
			k = j.able[r.IntN(len(j.able))]
		}
		at := &j.places[k]
		f = Flow{at.iface, at.dir, ir.Flow{}}
		switch {
		case want == sg.Accept && len(at.chain.allow) > 0:
			f.Flow = j.matching(r, &at.chain.rules[at.chain.allow[r.IntN(len(at.chain.allow))]])
		case len(at.chain.rules) > 0 && r.IntN(2) == 0:
			rule := &at.chain.rules[r.IntN(len(at.chain.rules))]
			f.Flow = randomFlow(r, rule.Family)
			f.Remote = j.remote(r, rule)
		default:
			f.Flow = randomFlow(r, familyOf(r))
		}
		switch {
		case !j.honest(f):
		case j.action(at.chain, f.Flow) == want:
			return f
		default:
			other = f
		}
	}
	if other.Remote.IsValid() {
		return other
	}
	for !j.honest(f) { // all rules name martians alone
		f.Flow = randomFlow(r, familyOf(r))
	}
	return f
}

// honest reports whether f may come from its remote end: neither a martian nor
// an address of the interface (LAND).
func (j *judge) honest(f Flow) bool {
	a := f.Remote
	switch first := a.As16()[12]; {
	case a.Is4() && (first == 0 || first == 127 || first >= 224),
		a.Is6() && (a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.Is4In6()):
		return false
	}
	return a != f.Local(j.prog)
}

// matching returns a flow that rule matches. A rule whose selector has no
// members matches none; then the flow is random.
func (j *judge) matching(r *rand.Rand, rule *ir.Rule) ir.Flow {
	f := randomFlow(r, rule.Family)
	f.Remote = j.remote(r, rule)
	switch {
	case rule.Protocol.HasPorts():
		f.ICMPType, f.ICMPCode = 0, 0
		f.Port = rule.Ports.First + uint16(r.IntN(int(rule.Ports.Last-rule.Ports.First)+1))
	case rule.Protocol.HasICMP():
		f.Port = 0
		f.ICMPType, f.ICMPCode = echo(rule.Family), 0
		if t, ok := rule.ICMP.Type(); ok {
			f.ICMPType = t
		}
		f.ICMPCode, _ = rule.ICMP.Code()
	case rule.Protocol != sg.AnyProtocol:
		f.Port, f.ICMPType, f.ICMPCode = 0, 0, 0
	}
	if rule.Protocol != sg.AnyProtocol {
		f.Protocol = uint8(rule.Protocol)
	}
	return f
}

// remote returns an address that rule names, if it names any.
func (j *judge) remote(r *rand.Rand, rule *ir.Rule) netip.Addr {
	if rule.Peer != ir.Any {
		list := j.list(rule.Peer)
		six, _ := slices.BinarySearchFunc(list, true, func(p netip.Prefix, _ bool) int {
			if p.Addr().Is4() {
				return -1
			}
			return 0
		})
		if rule.Family == sg.IPv4 {
			list = list[:six]
		} else {
			list = list[six:]
		}
		if len(list) > 0 {
			return Within(r, list[r.IntN(len(list))])
		}
	}
	return address(r, rule.Family)
}

// Within returns a random address of p.
func Within(r *rand.Rand, p netip.Prefix) netip.Addr {
	a, noise, skip := p.Addr().As16(), address16(r), 0
	if p.Addr().Is4() {
		skip = 96
	}
	for i := skip + p.Bits(); i < 128; i++ {
		if bit := byte(0x80) >> (i % 8); noise[i/8]&bit != 0 {
			a[i/8] |= bit
		}
	}
	if p.Addr().Is4() {
		return netip.AddrFrom4([4]byte(a[12:]))
	}
	return netip.AddrFrom16(a)
}

// randomFlow returns a flow from anywhere, with the protocols of Rules.
func randomFlow(r *rand.Rand, f sg.Family) ir.Flow {
	flow := ir.Flow{Remote: address(r, f)}
	switch k := r.IntN(100); {
	case k < 65:
		flow.Protocol, flow.Port = uint8(sg.TCP), port(r)
	case k < 90:
		flow.Protocol, flow.Port = uint8(sg.UDP), port(r)
	case f == sg.IPv4:
		flow.Protocol, flow.ICMPType = uint8(sg.ICMP), echo(f)
	default:
		flow.Protocol, flow.ICMPType = uint8(sg.ICMPv6), echo(f)
	}
	return flow
}

func echo(f sg.Family) uint8 {
	if f == sg.IPv4 {
		return 8
	}
	return 128
}
