package ir_test

import (
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// lists is a Source given by tables.
type lists struct {
	groups map[sg.GroupID][]netip.Prefix
	sets   map[sg.SetID][]netip.Prefix
}

func (l lists) Group(_ sg.VPCID, id sg.GroupID) iter.Seq[netip.Prefix] {
	return slices.Values(l.groups[id])
}
func (l lists) Set(id sg.SetID) iter.Seq[netip.Prefix] { return slices.Values(l.sets[id]) }

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// small is one interface with four rules: a platform drop, one for any peer,
// one for a group, and a stateless one for a set.
func small() ir.Data {
	d := ir.NewData()
	d.Generation, d.Epoch = 1, 1
	d.Source = lists{
		map[sg.GroupID][]netip.Prefix{"app": prefixes("fd00::1/128", "10.0.0.128/25", "10.0.0.7/32", "10.0.0.0/25", "10.0.0.7/32")},
		map[sg.SetID][]netip.Prefix{"office": prefixes("198.51.100.0/24")},
	}
	d.Selectors.Set(1, ir.Selector{Num: 1, Peer: sg.PeerGroup("app")})
	d.Selectors.Set(2, ir.Selector{Num: 2, Peer: sg.PeerSet("office")})
	for n, r := range []ir.Rule{
		{Ref: ir.RuleRef{Platform: "smtp", Rule: "smtp"}, Action: sg.Drop, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(25)},
		{Ref: ir.RuleRef{Group: "web", Rule: "https"}, Action: sg.Accept, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.Port(443)},
		{Ref: ir.RuleRef{Group: "web", Rule: "app"}, Action: sg.Accept, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: 1},
		{Ref: ir.RuleRef{Group: "raw", Rule: "ssh"}, Action: sg.Accept, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.AllPorts(), Peer: 2, Stateless: true},
	} {
		r.Num = ir.RuleNum(n + 1)
		d.Rules.Set(r.Num, r)
	}
	chain := ir.Chain{Rules: []ir.RuleNum{1, 2, 3, 4}, Reason: ir.ReasonNoRule}
	d.Policies.Set(1, &ir.Policy{Num: 1, Ingress: chain, Egress: ir.Chain{Default: sg.Accept, Reason: ir.ReasonEmptyDirection}})
	d.Interfaces.Set("web-1", ir.Interface{ID: "web-1", Index: 1, Serial: 1, Policy: 1})
	return d
}

// TestEval: the verdicts of a policy small enough to judge by hand.
func TestEval(t *testing.T) {
	p := ir.New(small())
	tcp := func(from string, port uint16) ir.Flow {
		return ir.Flow{Remote: netip.MustParseAddr(from), Protocol: 6, Port: port}
	}
	blank := ir.Flow{Remote: netip.MustParseAddr("198.51.100.1"), Protocol: 6, NoPorts: true}
	for _, c := range []struct {
		d    sg.Direction
		f    ir.Flow
		want ir.Verdict
	}{
		{sg.Ingress, tcp("192.0.2.7", 443), ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: 2}},
		{sg.Ingress, tcp("192.0.2.7", 444), ir.Verdict{Reason: ir.ReasonNoRule}},
		{sg.Ingress, tcp("10.0.0.255", 1), ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: 3}},
		{sg.Ingress, tcp("10.0.1.0", 1), ir.Verdict{Reason: ir.ReasonNoRule}},
		{sg.Ingress, tcp("10.0.0.7", 25), ir.Verdict{Reason: ir.ReasonPlatform, Rule: 1}},
		{sg.Ingress, tcp("198.51.100.1", 22), ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: 4, Stateless: true}},
		{sg.Ingress, tcp("198.51.100.1", 443), ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: 2}},
		{sg.Ingress, blank, ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: 4, Stateless: true}},
		{sg.Ingress, tcp("fd00::1", 443), ir.Verdict{Reason: ir.ReasonNoRule}},         // IPv4 rules do not open IPv6
		{sg.Ingress, tcp("::ffff:10.0.0.7", 443), ir.Verdict{Reason: ir.ReasonNoRule}}, // SEM-01
		{sg.Ingress, ir.Flow{}, ir.Verdict{Reason: ir.ReasonNoRule}},
		{sg.Egress, tcp("192.0.2.7", 1), ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEmptyDirection}},
		{0, tcp("192.0.2.7", 443), ir.Verdict{Reason: ir.ReasonUnknownInterface}},
	} {
		require.Equal(t, c.want, p.Eval("web-1", c.d, c.f), "%v %+v", c.d, c.f)
	}
	require.Equal(t, ir.Verdict{Reason: ir.ReasonUnknownInterface}, p.Eval("web-2", sg.Ingress, tcp("192.0.2.7", 443)))
}

// TestMembers: the distinct prefixes as written, nested ones too, sorted, of
// one family or both.
func TestMembers(t *testing.T) {
	p := ir.New(small())
	four := prefixes("10.0.0.0/25", "10.0.0.7/32", "10.0.0.128/25")
	require.Equal(t, four, slices.Collect(p.Members(1, sg.IPv4)))
	require.Equal(t, prefixes("fd00::1/128"), slices.Collect(p.Members(1, sg.IPv6)))
	require.Equal(t, append(four, prefixes("fd00::1/128")...), slices.Collect(p.Members(1, sg.FamilyAny)), "IPv4 first, though fd00:: is in front")
	require.Empty(t, slices.Collect(p.Members(ir.Any, sg.FamilyAny)))
	require.Empty(t, slices.Collect(p.Members(99, sg.FamilyAny)))
}

// TestImmutable: a program does not see what happens to its Data later.
func TestImmutable(t *testing.T) {
	d := small()
	p := ir.New(d)
	d.Rules.Delete(2)
	d.Interfaces.Delete("web-1")
	_, ok := p.Rule(2)
	require.True(t, ok)
	_, ok = p.Interface("web-1")
	require.True(t, ok)
}

// TestReasons: texts are stable, distinct, and read back.
func TestReasons(t *testing.T) {
	want := []string{
		"none", "rule", "no_rule", "unattached", "empty_direction", "platform", "unknown_interface", "established",
		"related", "invalid_state", "malformed", "fragment", "table_full", "spoofed", "no_policy",
		"checksum", "off_link", "fragmented_discovery", "source_route", "ip_options", "routing_header", "fragment_header",
		"martian", "land", "icmp_redirect", "icmp_type", "fragment_held",
	}
	for i, r := range ir.Reasons() {
		require.Equal(t, want[i], r.String())
		b, err := json.Marshal(r)
		require.NoError(t, err)
		var back ir.Reason
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, r, back)
	}
	require.Len(t, ir.Reasons(), len(want))
	require.Equal(t, "unknown", ir.Reason(200).String())
	require.ErrorIs(t, new(ir.Reason).UnmarshalText([]byte("NO_RULE")), sg.ErrInvalid)
}

func TestRuleRef(t *testing.T) {
	require.Equal(t, "web/https", ir.RuleRef{Group: "web", Rule: "https"}.String())
	require.Equal(t, "platform smtp", ir.RuleRef{Platform: "smtp", Rule: "x"}.String())
	require.Empty(t, ir.RuleRef{}.String())
}

func ExampleProgram_Eval() {
	p := ir.New(small()) // package compile makes programs from policies
	for _, port := range []uint16{443, 444} {
		v := p.Eval("web-1", sg.Ingress, ir.Flow{Remote: netip.MustParseAddr("192.0.2.7"), Protocol: 6, Port: port})
		rule, _ := p.Rule(v.Rule)
		fmt.Println(port, v.Action, v.Reason, rule.Ref)
	}
	// Output:
	// 443 accept rule web/https
	// 444 drop no_rule
}
