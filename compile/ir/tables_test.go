package ir

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// TestTables: what was set is what is got, and a clone does not see what comes
// after it.
func TestTables(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"})
	rule := rapid.Custom(func(t *rapid.T) Rule {
		return Rule{
			Ref: RuleRef{
				Group: sg.GroupID(text.Draw(t, "group")), Rule: sg.RuleID(text.Draw(t, "rule")),
				Platform: text.Draw(t, "platform"), Origin: text.Draw(t, "origin"),
			},
			Action: rapid.SampledFrom([]sg.Action{sg.Drop, sg.Accept}).Draw(t, "action"), Family: rapid.SampledFrom([]sg.Family{0, 4, 6}).Draw(t, "family"),
			Protocol: rapid.SampledFrom([]sg.Protocol{0, sg.TCP, 255, sg.AnyProtocol}).Draw(t, "protocol"),
			Ports:    sg.PortRange{First: rapid.Uint16().Draw(t, "first"), Last: rapid.Uint16().Draw(t, "last")},
			ICMP:     rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(0), sg.ICMPTypeCode(255, 255)}).Draw(t, "icmp"),
			Peer:     SelectorNum(rapid.Uint32().Draw(t, "peer")), Stateless: rapid.Bool().Draw(t, "stateless"),
		}
	})
	peers := []sg.Peer{{}, sg.PeerAny(), sg.PeerGroup("g"), sg.PeerSet("s"), sg.PeerCIDR(netip.Prefix{})}
	for _, p := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.0.0.1/32", "::/0", "::ffff:10.0.0.0/104", "fd00::/8", "::1/128", "::/96"} {
		peers = append(peers, sg.PeerCIDR(netip.MustParsePrefix(p)))
	}
	peers = append(peers, sg.PeerCIDR(netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 40)))
	rapid.Check(t, func(t *rapid.T) {
		d := NewData()
		rules, selectors := map[RuleNum]Rule{}, map[SelectorNum]Selector{}
		var before *Program
		var wasRules map[RuleNum]Rule
		var wasSelectors map[SelectorNum]Selector
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			n := rapid.Uint32Range(1, 9).Draw(t, "number")
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				r := rule.Draw(t, "rule")
				r.Num = RuleNum(n)
				d.Rules.Set(r.Num, r)
				rules[r.Num] = r
			case 2:
				s := Selector{SelectorNum(n), sg.VPCID(text.Draw(t, "vpc")), rapid.SampledFrom(peers).Draw(t, "peer")}
				d.Selectors.Set(s.Num, s)
				selectors[s.Num] = s
			case 3:
				_, had := rules[RuleNum(n)]
				require.Equal(t, had, d.Rules.Delete(RuleNum(n)))
				delete(rules, RuleNum(n))
				_, had = selectors[SelectorNum(n)]
				require.Equal(t, had, d.Selectors.Delete(SelectorNum(n)))
				delete(selectors, SelectorNum(n))
			default:
				before, wasRules, wasSelectors = New(d), maps.Clone(rules), maps.Clone(selectors)
			}
		}
		check := func(p *Program, rules map[RuleNum]Rule, selectors map[SelectorNum]Selector) {
			require.Equal(t, len(rules), p.d.Rules.Len())
			require.Equal(t, len(selectors), p.d.Selectors.Len())
			last := RuleNum(0)
			for r := range p.Rules() {
				require.Equal(t, rules[r.Num], r)
				require.Less(t, last, r.Num)
				last = r.Num
			}
			for n := range RuleNum(10) {
				want, had := rules[n]
				got, has := p.Rule(n)
				require.Equal(t, had, has)
				require.Equal(t, want, got)
			}
			for s := range p.Selectors() {
				require.Equal(t, selectors[s.Num], s)
			}
			for n := range SelectorNum(10) {
				want, had := selectors[n]
				got, has := p.Selector(n)
				require.Equal(t, had, has)
				require.Equal(t, want, got)
			}
		}
		check(New(d), rules, selectors)
		if before != nil {
			check(before, wasRules, wasSelectors)
		}
	})
}
