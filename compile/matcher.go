package compile

import (
	"github.com/gaissmai/bart"

	"example.com/secgroup/compile/internal/classes"
	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/portmap"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Matcher decides new flows. It is immutable and safe for concurrent use, and
// Match does not allocate.
type Matcher struct {
	prog     *ir.Program
	ifaces   *pages.Array[hotInterface]
	policies *pages.Array[*policyIndex]
	spaces   *pages.Array[*bart.Table[classes.Class]]
	classes  *pages.Array[[]ir.SelectorNum]
}

// hotInterface is what Match needs of an interface; policy 0 is none.
type hotInterface struct {
	policy uint32
	space  uint16
}

// policyIndex is a policy in the form that Match reads.
type policyIndex struct{ ingress, egress chainIndex }

// chainIndex is a chain: rules for any peer are found by service alone, the
// rest by the selectors that contain the remote address.
type chainIndex struct {
	verdicts  []ir.Verdict // by index in the chain
	fallback  ir.Verdict
	any       families
	peers     map[ir.SelectorNum]families
	firstPeer uint32 // index of the first rule with a peer: an earlier match decides
	stateless bool   // some rule is stateless
}

// families holds the rules of IPv4 and IPv6; nil where there are none.
type families [2]*portmap.Map

func newPolicyIndex(d *ir.Data, p *ir.Policy) *policyIndex {
	return &policyIndex{newChainIndex(d, &p.Ingress), newChainIndex(d, &p.Egress)}
}

func newChainIndex(d *ir.Data, c *ir.Chain) chainIndex {
	x := chainIndex{
		fallback:  ir.Verdict{Action: c.Default, Reason: c.Reason},
		verdicts:  make([]ir.Verdict, len(c.Rules)),
		firstPeer: portmap.None,
	}
	var anyRules [2][]portmap.Rule
	peers := map[ir.SelectorNum]*[2][]portmap.Rule{}
	for i, n := range c.Rules {
		r, _ := d.Rules.Get(n)
		v := ir.Verdict{Action: r.Action, Reason: ir.ReasonRule, Rule: n}
		if r.Ref.Platform != "" {
			v.Reason = ir.ReasonPlatform
		}
		x.verdicts[i] = v
		x.stateless = x.stateless || r.Stateless
		f := familyIndex(r.Family)
		if r.Peer == ir.Any {
			anyRules[f] = append(anyRules[f], portmap.Rule{Index: uint32(i), Rule: r})
			continue
		}
		x.firstPeer = min(x.firstPeer, uint32(i))
		if peers[r.Peer] == nil {
			peers[r.Peer] = new([2][]portmap.Rule)
		}
		peers[r.Peer][f] = append(peers[r.Peer][f], portmap.Rule{Index: uint32(i), Rule: r})
	}
	x.any = newFamilies(anyRules)
	if len(peers) > 0 {
		x.peers = make(map[ir.SelectorNum]families, len(peers))
		for s, rules := range peers {
			x.peers[s] = newFamilies(*rules)
		}
	}
	return x
}

func newFamilies(rules [2][]portmap.Rule) (f families) {
	for i := range rules {
		if len(rules[i]) > 0 {
			f[i] = portmap.New(rules[i])
		}
	}
	return f
}

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
	i := m.ifaces.At(index)
	p := m.policies.At(i.policy)
	if p == nil || !d.Valid() {
		return ir.Verdict{Reason: ir.ReasonUnknownInterface}
	}
	c := &p.ingress
	if d == sg.Egress {
		c = &p.egress
	}
	family := 1
	if f.Remote.Is4() {
		family = 0
	} else if !f.Remote.IsValid() {
		return c.fallback
	}
	hit := portmap.Hit{Index: portmap.None}
	if a := c.any[family]; a != nil {
		hit = a.Lookup(&f)
	}
	if hit.Index > c.firstPeer || c.stateless && !hit.Tracked {
		hit = m.matchPeers(c, i.space, family, &f, hit)
	}
	if hit.Index == portmap.None {
		return c.fallback
	}
	v := c.verdicts[hit.Index]
	v.Stateless = v.Action == sg.Accept && !hit.Tracked
	return v
}

// matchPeers adds to hit what the rules with a peer say.
func (m *Matcher) matchPeers(c *chainIndex, space uint16, family int, f *ir.Flow, hit portmap.Hit) portmap.Hit {
	t := m.spaces.At(uint32(space))
	if t == nil {
		return hit
	}
	remote := f.Remote
	if remote.Zone() != "" {
		remote = remote.WithZone("")
	}
	class, ok := t.Lookup(remote)
	if !ok {
		return hit
	}
	for _, s := range m.classes.At(class) {
		if r := c.peers[s][family]; r != nil {
			h := r.Lookup(f)
			hit.Index = min(hit.Index, h.Index)
			hit.Tracked = hit.Tracked || h.Tracked
		}
	}
	return hit
}
