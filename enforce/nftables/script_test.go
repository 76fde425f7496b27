package nftables

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// maxDepth is the longest way from a base chain that the kernel takes:
// NFT_JUMP_STACK_SIZE of include/net/netfilter/nf_tables.h. It counts gotos too.
const maxDepth = 16

var jump = regexp.MustCompile(`(?:goto|jump) (\w+)`)

// longestWay returns the longest way through the chains of a ruleset.
func longestWay(t require.TestingT, r *ruleset) []string {
	next := map[string][]string{}
	maps := map[string][]string{}
	for _, s := range r.sets {
		if s.verdicts {
			for e := range s.elements {
				maps[s.name] = append(maps[s.name], jump.FindStringSubmatch(e)[1])
			}
		}
	}
	vmap := regexp.MustCompile(`vmap @(\w+)`)
	for _, c := range r.chains {
		for _, rule := range c.rules {
			rule, _, _ = strings.Cut(rule, " comment ")
			for _, m := range jump.FindAllStringSubmatch(rule, -1) {
				next[c.name] = append(next[c.name], m[1])
			}
			for _, m := range vmap.FindAllStringSubmatch(rule, -1) {
				next[c.name] = append(next[c.name], maps[m[1]]...)
			}
		}
	}
	known := map[string][]string{}
	var walk func(string) []string
	walk = func(name string) []string {
		if way, ok := known[name]; ok {
			require.NotNil(t, way, "a loop at %s", name)
			return way
		}
		known[name] = nil
		var longest []string
		for _, n := range next[name] {
			if way := walk(n); len(way) > len(longest) {
				longest = way
			}
		}
		known[name] = append([]string{name}, longest...)
		return known[name]
	}
	var longest []string
	for _, c := range r.chains {
		if c.hook == "" {
			continue
		}
		if way := walk(c.name); len(way) > len(longest) {
			longest = way
		}
	}
	return longest
}

// TestDepth: no ruleset is deeper than the kernel takes.
func TestDepth(t *testing.T) {
	var deepest []string
	for n := range 300 {
		d := newRandom(7, uint64(n)).draft()
		s, err := policy.Build(d.profile, d.all()...)
		require.NoError(t, err)
		m, err := compile.Compile(s)
		require.NoError(t, err)
		l, err := newLayout(m.Program(), Options{Device: deviceOfSite})
		require.NoError(t, err)
		if way := longestWay(t, l.ruleset()); len(way) > len(deepest) {
			deepest = way
		}
	}
	require.LessOrEqual(t, len(deepest), maxDepth, "%s", strings.Join(deepest, " > "))
	t.Log(strings.Join(deepest, " > "))
}

// TestCompareElements: what is removed and added leads from one set to the
// other, and is no more than it takes.
func TestCompareElements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		elements := rapid.SliceOfDistinct(rapid.SampledFrom(strings.Split("abcdefgh", "")), rapid.ID[string])
		old, next := elements.Draw(t, "old"), elements.Draw(t, "next")
		d := compareElements(slices.Values(old), slices.Values(next))
		got := slices.DeleteFunc(slices.Clone(old), func(e string) bool { return slices.Contains(d.remove, e) })
		require.ElementsMatch(t, next, append(got, d.add...))
		for _, e := range d.add {
			require.NotContains(t, old, e)
		}
		for _, e := range d.remove {
			require.Contains(t, old, e)
			require.NotContains(t, next, e)
		}
	})
}

// TestChangeOrder: in the commands of a change nothing is named before it is
// made, or deleted while it is named.
func TestChangeOrder(t *testing.T) {
	prev := &ruleset{
		table:    "t",
		counters: []counter{{"old", "o"}, {"both", ""}},
		sets: []set{
			{name: "m", decl: "type ifname : verdict", verdicts: true, elements: slices.Values([]string{`"a" : goto c1`, `"b" : goto c1`})},
			{name: "s", decl: "type ipv4_addr", elements: slices.Values([]string{"1.2.3.4"})},
			{name: "gone", decl: "type ipv4_addr", elements: slices.Values([]string{"1.2.3.4"})},
		},
		chains: []chain{{name: "c1", rules: []string{"counter name old accept", "ip saddr @gone drop"}}, {name: "c2", rules: []string{"drop"}}},
	}
	next := &ruleset{
		table:    "t",
		counters: []counter{{"both", ""}, {"new", "n"}},
		sets: []set{
			{name: "m", decl: "type ifname : verdict", verdicts: true, elements: slices.Values([]string{`"a" : goto c3`})},
			{name: "s", decl: "type ipv4_addr", elements: slices.Values([]string{"1.2.3.0"})},
			{name: "come", decl: "type ipv4_addr; flags interval", comment: "c", elements: slices.Values([]string{"5.6.7.8"})},
		},
		chains: []chain{{name: "c2", rules: []string{"drop"}}, {name: "c3", comment: "third", rules: []string{"counter name new accept", "ip saddr @come drop"}}},
	}
	var b bytes.Buffer
	w := newWriter(&b)
	prev.change(w, next, nil)
	require.NoError(t, w.flush())
	require.Equal(t, `add counter inet t new { comment "n"; }
add chain inet t c3 { comment "third"; }
delete element inet t m { "a", "b" }
add element inet t m { "a" : goto c3 }
delete element inet t s { 1.2.3.4 }
add element inet t s { 1.2.3.0 }
add set inet t come { type ipv4_addr; flags interval; comment "c"; }
add element inet t come { 5.6.7.8 }
add rule inet t c3 counter name new accept
add rule inet t c3 ip saddr @come drop
flush chain inet t c1
delete chain inet t c1
delete set inet t gone
delete counter inet t old
`, b.String())
	b.Reset()
	next.change(w, next, nil)
	require.NoError(t, w.flush())
	require.Empty(t, b.String())
}

// TestRenderIsPure: equal programs give equal bytes, and rendering leaves them
// as they are.
func TestRenderIsPure(t *testing.T) {
	for n := range 40 {
		d := newRandom(8, uint64(n)).draft()
		changes := d.all()
		s := build(t, d.profile, changes...)
		o := Options{Device: deviceOfSite, Uplinks: map[string]sg.VPCID{"up0": "red", "up1": "blue", "up2": "red"}, Protect: []string{"sg*", "tap*"}, Reject: d.oneIn(2)}
		m := compiled(t, s)
		first := render(t, m.Program(), o)
		require.Equal(t, first, render(t, m.Program(), o))
		require.Equal(t, first, render(t, compiled(t, build(t, d.profile, changes...)).Program(), o))
	}
}
