package ir

import (
	"cmp"
	"iter"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// RuleTable holds rules by number, in 44 bytes each and the id. Any number of
// goroutines may read and clone one while none writes to it; a clone is
// independent of its origin.
type RuleTable struct {
	m      *cow.Map[RuleNum, packedRule]
	recent [4]*ruleOrigin // of rules that were set: most have one of them
	next   int            // of recent, to be replaced
}

// packedRule is a Rule without its number, and with what many have in common
// elsewhere.
type packedRule struct {
	id       sg.RuleID
	origin   *ruleOrigin
	ports    sg.PortRange
	icmp     sg.ICMPMatch
	peer     SelectorNum
	protocol sg.Protocol
	family   sg.Family
	does     uint8 // twice the action, plus one if stateless
}

// ruleOrigin is a RuleRef without the rule.
type ruleOrigin struct {
	group    sg.GroupID
	platform string
	origin   string
}

func newRuleTable() *RuleTable {
	return &RuleTable{m: cow.New[RuleNum, packedRule](cmp.Compare[RuleNum])}
}

// Clone returns a table of the same rules, at a cost of one pointer per 128 to
// 256 of them.
func (t *RuleTable) Clone() *RuleTable { return &RuleTable{m: t.m.Clone(), recent: t.recent} }

// Len returns the number of rules.
func (t *RuleTable) Len() int { return t.m.Len() }

// Get returns rule n.
func (t *RuleTable) Get(n RuleNum) (Rule, bool) {
	p := t.m.Ref(n)
	if p == nil {
		return Rule{}, false
	}
	return p.rule(n), true
}

// All yields every rule in order of number.
func (t *RuleTable) All() iter.Seq2[RuleNum, Rule] {
	return func(yield func(RuleNum, Rule) bool) {
		for n, p := range t.m.All() {
			if !yield(n, p.rule(n)) {
				return
			}
		}
	}
}

func (p *packedRule) rule(n RuleNum) Rule {
	return Rule{
		Num:    n,
		Ref:    RuleRef{Group: p.origin.group, Rule: p.id, Platform: p.origin.platform, Origin: p.origin.origin},
		Action: sg.Action(p.does >> 1), Family: p.family, Protocol: p.protocol, Ports: p.ports, ICMP: p.icmp, Peer: p.peer,
		Stateless: p.does&1 != 0,
	}
}

// Set stores r as rule n.
func (t *RuleTable) Set(n RuleNum, r Rule) {
	p := packedRule{id: r.Ref.Rule, origin: t.origin(&r.Ref), ports: r.Ports, icmp: r.ICMP, peer: r.Peer, protocol: r.Protocol, family: r.Family}
	p.does = uint8(r.Action) << 1
	if r.Stateless {
		p.does |= 1
	}
	t.m.Set(n, p)
}

func (t *RuleTable) origin(r *RuleRef) *ruleOrigin {
	for _, o := range t.recent {
		if o != nil && o.group == r.Group && o.platform == r.Platform && o.origin == r.Origin {
			return o
		}
	}
	o := &ruleOrigin{r.Group, r.Platform, r.Origin}
	t.recent[t.next] = o
	t.next = (t.next + 1) % len(t.recent)
	return o
}

// Delete removes rule n and reports whether it was there.
func (t *RuleTable) Delete(n RuleNum) bool { return t.m.Delete(n) }
