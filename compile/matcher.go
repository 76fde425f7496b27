package compile

import (
	"maps"
	"slices"

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
	firstPeer uint32           // index of the first rule with a peer: an earlier match decides
	stateless bool             // some rule is stateless
	byPeer    []ir.SelectorNum // the peer of each rule; for the next index, not for Match
}

// families holds the rules of IPv4 and IPv6; nil where there are none.
type families [2]*portmap.Map

// newPolicyIndex returns the index of p. What it has in common with old, the
// index of was, is shared; both may be nil.
func newPolicyIndex(d *ir.Data, p *ir.Policy, was *ir.Policy, old *policyIndex) *policyIndex {
	x := new(policyIndex)
	if was == nil || old == nil || !x.ingress.follow(d, &was.Ingress, &p.Ingress, &old.ingress) {
		x.ingress = newChainIndex(d, &p.Ingress)
	}
	if was == nil || old == nil || !x.egress.follow(d, &was.Egress, &p.Egress, &old.egress) {
		x.egress = newChainIndex(d, &p.Egress)
	}
	return x
}

func newChainIndex(d *ir.Data, c *ir.Chain) chainIndex {
	x := chainIndex{
		fallback: ir.Verdict{Action: c.Default, Reason: c.Reason},
		verdicts: make([]ir.Verdict, len(c.Rules)),
		byPeer:   make([]ir.SelectorNum, len(c.Rules)),
	}
	rules := map[ir.SelectorNum]*[2][]portmap.Rule{}
	for i := range c.Rules {
		x.note(d, c, i, rules)
	}
	x.index(rules)
	return x
}

// follow makes x the index of is from old, that of was, where few rules differ
// and the others keep their place. It reports whether it did.
func (x *chainIndex) follow(d *ir.Data, was, is *ir.Chain, old *chainIndex) bool {
	head, tail := ends(was.Rules, is.Rules)
	if old.stateless || tail > 0 && len(was.Rules) != len(is.Rules) || head+tail < len(is.Rules)/2 {
		return false
	}
	*x = chainIndex{
		fallback: ir.Verdict{Action: is.Default, Reason: is.Reason},
		verdicts: make([]ir.Verdict, len(is.Rules)),
		byPeer:   make([]ir.SelectorNum, len(is.Rules)),
		any:      old.any,
		peers:    maps.Clone(old.peers),
	}
	copy(x.verdicts, old.verdicts[:head])
	copy(x.byPeer, old.byPeer[:head])
	copy(x.verdicts[len(is.Rules)-tail:], old.verdicts[len(was.Rules)-tail:])
	copy(x.byPeer[len(is.Rules)-tail:], old.byPeer[len(was.Rules)-tail:])
	rules := map[ir.SelectorNum]*[2][]portmap.Rule{} // of the peers that some rule in between has or had
	for _, s := range old.byPeer[head : len(was.Rules)-tail] {
		rules[s] = new([2][]portmap.Rule)
	}
	for _, n := range is.Rules[head : len(is.Rules)-tail] {
		r, _ := d.Rules.Get(n)
		rules[r.Peer] = new([2][]portmap.Rule)
	}
	for i, s := range x.byPeer {
		if i >= head && i < len(is.Rules)-tail || rules[s] != nil {
			x.note(d, is, i, rules)
		}
	}
	x.index(rules)
	return true
}

// note adds rule i of c to x, and to the rules of its peer.
func (x *chainIndex) note(d *ir.Data, c *ir.Chain, i int, rules map[ir.SelectorNum]*[2][]portmap.Rule) {
	r, _ := d.Rules.Get(c.Rules[i])
	v := ir.Verdict{Action: r.Action, Reason: ir.ReasonRule, Rule: r.Num}
	if r.Ref.Platform != "" {
		v.Reason = ir.ReasonPlatform
	}
	x.verdicts[i], x.byPeer[i] = v, r.Peer
	x.stateless = x.stateless || r.Stateless
	if rules[r.Peer] == nil {
		rules[r.Peer] = new([2][]portmap.Rule)
	}
	f := familyIndex(r.Family)
	rules[r.Peer][f] = append(rules[r.Peer][f], portmap.Rule{Index: uint32(i), Rule: r})
}

// index gives x the maps of the peers in rules, and takes those away that have
// no rule.
func (x *chainIndex) index(rules map[ir.SelectorNum]*[2][]portmap.Rule) {
	for s, list := range rules {
		switch f := newFamilies(*list); {
		case s == ir.Any:
			x.any = f
		case f == families{}:
			delete(x.peers, s)
		default:
			if x.peers == nil {
				x.peers = map[ir.SelectorNum]families{}
			}
			x.peers[s] = f
		}
	}
	x.firstPeer = portmap.None
	if i := slices.IndexFunc(x.byPeer, func(s ir.SelectorNum) bool { return s != ir.Any }); i >= 0 {
		x.firstPeer = uint32(i)
	}
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
