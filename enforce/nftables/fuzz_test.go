package nftables

import (
	"bytes"
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// drawName draws a name that would do harm if it were not quoted: the ends of
// strings, comments and blocks, newlines, no UTF-8, ten kilobytes.
func drawName(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			`"; } chain evil { type filter hook input priority 0; accept; } #`, "a\"\n}\ntable inet evil {\n}\n", `\"; flush ruleset; #`, `\`, `"`,
			"$x", "# comment", "{ }", "a;b", "include \"/etc/passwd\"", "\xff\xfe\"", "é\"ü", "\x00", "\r\n", "@set", "/* ", strings.Repeat("x", 10_240), strings.Repeat(`"`, 300),
			strings.Repeat("é", 119) + `"`, "goto discard", "accept", "elements = { evil }",
		}),
		rapid.String(),
		rapid.StringOfN(rapid.SampledFrom([]rune("\"\\{}\n;#$'`, \t\u2028a")), 0, 200, -1),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) }),
	).Draw(t, label)
}

// named makes a program whose names all come from name. It is built by hand:
// package policy refuses most names of drawName.
func named(name func(what string) string) *ir.Program {
	d := ir.NewData()
	vpc := sg.VPCID(name("vpc"))
	group := sg.GroupID(name("group"))
	d.Source = fewMembers{}
	d.Selectors.Set(1, ir.Selector{Num: 1, VPC: vpc, Peer: sg.PeerGroup(group)})
	d.Selectors.Set(2, ir.Selector{Num: 2, VPC: vpc, Peer: sg.PeerSet(sg.SetID(name("set")))})
	d.Selectors.Set(3, ir.Selector{Num: 3, VPC: vpc, Peer: sg.PeerCIDR(prefix("10.0.0.0/8"))})
	var nums []ir.RuleNum
	for i, r := range []ir.Rule{
		{Peer: 1, Protocol: sg.TCP, Ports: sg.Port(80)}, {Peer: 2, Protocol: sg.UDP, Ports: sg.AllPorts()}, {Peer: 3, Protocol: sg.AnyProtocol, Stateless: true}, {Protocol: sg.ICMP},
	} {
		r.Num, r.Family, r.Action = ir.RuleNum(i+1), sg.IPv4, sg.Accept
		r.Ref = ir.RuleRef{Group: group, Rule: sg.RuleID(name("rule")), Origin: name("origin")}
		if i == 3 {
			r.Ref = ir.RuleRef{Platform: name("platform")}
		}
		d.Rules.Set(r.Num, r)
		nums = append(nums, r.Num)
	}
	chain := ir.Chain{Rules: nums, Reason: ir.ReasonNoRule}
	d.Policies.Set(1, &ir.Policy{Num: 1, Ingress: chain, Egress: chain})
	id := sg.InterfaceID(name("interface"))
	d.Interfaces.Set(id, ir.Interface{ID: id, VPC: vpc, Policy: 1, Guard: true, Addrs: prefixes("10.0.0.5")})
	return ir.New(d)
}

type fewMembers struct{}

func (fewMembers) Group(sg.VPCID, sg.GroupID) iter.Seq[netip.Prefix] {
	return slices.Values(prefixes("10.0.0.5", "10.0.1.0/24"))
}

func (fewMembers) Set(sg.SetID) iter.Seq[netip.Prefix] {
	return slices.Values(prefixes("192.0.2.0/24"))
}

// onlyDevice puts every interface on one device.
func onlyDevice(sg.InterfaceID) (string, bool) { return "sg0", true }

var quoted = regexp.MustCompile(`"[^"]*"`)

// renderHostile draws names and renders a program that has them.
func renderHostile(t *rapid.T) string {
	p := named(func(what string) string { return drawName(t, what) + "!" })
	var b bytes.Buffer
	require.NoError(t, Render(&b, p, Options{Device: onlyDevice}))
	return b.String()
}

// injectionProperty: whatever names there are, nothing but what stands between
// quotes depends on them, and there stands nothing that could end them.
func injectionProperty(t *rapid.T) {
	var b bytes.Buffer
	require.NoError(t, Render(&b, named(func(string) string { return "x" }), Options{Device: onlyDevice}))
	got := renderHostile(t)
	require.Equal(t, quoted.ReplaceAllString(b.String(), "Q"), quoted.ReplaceAllString(got, "Q"))
	for _, q := range quoted.FindAllString(got, -1) {
		requireQuoted(t, q)
	}
}

func requireQuoted(t require.TestingT, q string) {
	require.LessOrEqual(t, len(q), maxComment+2)
	require.True(t, strings.HasPrefix(q, `"`) && strings.HasSuffix(q, `"`) && len(q) >= 2)
	for _, c := range []byte(q[1 : len(q)-1]) {
		require.True(t, ' ' <= c && c <= '~' && c != '"' && c != '\\', "%q", q)
	}
}

// API-04: no name makes another ruleset than a harmless name does.
func TestAPI04Injection(t *testing.T) { rapid.Check(t, injectionProperty) }

func FuzzInjection(f *testing.F) { f.Fuzz(rapid.MakeFuzz(injectionProperty)) }

// quoteProperty: a name ends up as one string, wherever it is cut.
func quoteProperty(t *rapid.T) {
	name := drawName(t, "name")
	for i := range min(len(name), 200) + 1 {
		requireQuoted(t, quote(name[:i]))
		requireQuoted(t, quote(name[i:]))
	}
}

func TestQuote(t *testing.T) {
	rapid.Check(t, quoteProperty)
	for in, want := range map[string]string{
		"": `""`, "web/https": `"web/https"`, "a\"b\\c\nd": `"a?b?c?d"`, "é": `"?"`, strings.Repeat("a", maxComment-3): `"` + strings.Repeat("a", maxComment-3) + `"`,
		strings.Repeat("a", 300): `"` + strings.Repeat("a", maxComment-3) + `..."`,
	} {
		require.Equal(t, want, quote(in))
	}
}
