package nftables

import (
	"bytes"
	"flag"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var histories = flag.Int("script.histories", 12, "random histories of a policy of which every step is loaded")

// nftLab is a namespace to load scripts in.
func nftLab(t testing.TB) *netlabtest.Lab {
	netlabtest.Require(t)
	return netlabtest.Start(t, netlabtest.Config{Ports: []netlabtest.Port{{Device: "sg0"}}})
}

// listing returns the table as nft lists it.
func listing(t testing.TB, lab *netlabtest.Lab) string {
	t.Helper()
	out, err := lab.Run(t.Context(), "", "nft", "-s", "list", "table", "inet", "secgroup")
	require.NoError(t, err)
	return out
}

// objects takes a listing apart: what is in each object, by its kind and name,
// elements in order.
func objects(t testing.TB, text string) map[string]string {
	out := map[string]string{}
	var name string
	var body []string
	elements := "" // begun, and not yet at its end
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case elements != "":
			elements += " " + strings.TrimSpace(line)
		case strings.HasPrefix(line, "\t\telements = {"):
			elements = strings.TrimSpace(line)
		case strings.HasPrefix(line, "\t\t"):
			body = append(body, anonymous.ReplaceAllStringFunc(strings.TrimSpace(line), func(set string) string {
				return strings.Join(inOrder(strings.Trim(set, "{} ")), ", ")
			}))
		case strings.HasPrefix(line, "\t") && strings.HasSuffix(line, " {"):
			name, body = strings.TrimSuffix(strings.TrimSpace(line), " {"), nil
		case line == "\t}":
			require.NotContains(t, out, name, "twice")
			out[name] = strings.Join(body, "\n")
			name = ""
		}
		if strings.HasSuffix(elements, "}") {
			body = append(body, inOrder(strings.TrimSuffix(strings.TrimPrefix(elements, "elements = {"), "}"))...)
			elements = ""
		}
	}
	return out
}

var anonymous = regexp.MustCompile(`\{ [^{}]* \}`)

// inOrder takes a list apart.
func inOrder(text string) []string {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.Join(strings.Fields(list[i]), " ")
	}
	slices.Sort(list)
	return list
}

// requireSame compares listings in all but the order of things.
func requireSame(t testing.TB, want, got string, what string) {
	t.Helper()
	a, b := objects(t, want), objects(t, got)
	require.NotEmpty(t, a)
	for _, name := range slices.Sorted(maps.Keys(a)) {
		require.Contains(t, b, name, what)
		require.Equal(t, a[name], b[name], "%s: %s", what, name)
	}
	for name := range b {
		require.Contains(t, a, name, what)
	}
}

func delta(t testing.TB, prev, next *ir.Program, o Options) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, RenderDelta(&b, prev, next, o))
	return b.String()
}

// TestRenderDelta: from any program of a history, RenderDelta leads to what
// Render writes of any other, older ones too.
func TestRenderDelta(t *testing.T) {
	lab := nftLab(t)
	o := Options{Device: deviceOfSite}
	n := 0
	for h := range *histories {
		d := newRandom(3, uint64(h)).draft()
		s, err := policy.Build(d.profile, d.all()...)
		require.NoError(t, err)
		var c compile.Compiler
		m, err := c.Reset(s)
		require.NoError(t, err)
		past := []*ir.Program{m.Program()}
		require.NoError(t, lab.Ruleset(t.Context(), render(t, m.Program(), o)))
		at := m.Program()
		for range 8 {
			var changes []policy.Change
			for range 1 + d.IntN(3) {
				changes = append(changes, d.edit()...)
			}
			m, err := c.Apply(policy.Batch{Changes: changes})
			require.NoError(t, err)
			past = append(past, m.Program())
			next := m.Program()
			if d.oneIn(4) {
				next = pick(d.random, past...)
			}
			require.NoError(t, lab.Ruleset(t.Context(), delta(t, at, next, o)), "history %d", h)
			got := listing(t, lab)
			require.NoError(t, lab.Ruleset(t.Context(), render(t, next, o)))
			requireSame(t, listing(t, lab), got, "history "+strconv.Itoa(h))
			at = next
			n++
		}
	}
	t.Logf("%d histories, %d steps", *histories, n)
}

// TestListingReloads: nft reads what it lists.
func TestListingReloads(t *testing.T) {
	lab := nftLab(t)
	o := Options{Device: deviceOfSite, Reject: true}
	for n := range *histories {
		d := newRandom(4, uint64(n)).draft()
		s, err := policy.Build(d.profile, d.all()...)
		require.NoError(t, err)
		require.NoError(t, lab.Ruleset(t.Context(), render(t, compiled(t, s).Program(), o)))
		list := listing(t, lab)
		require.NoError(t, lab.Ruleset(t.Context(), "delete table inet secgroup\n"+list), "policy %d", n)
		requireSame(t, list, listing(t, lab), "the listing of a listing")
	}
}

// TestRenderDeltaOverlap: elements that overlap come and go in one step, which
// sets of intervals take in one order only.
func TestRenderDeltaOverlap(t *testing.T) {
	lab := nftLab(t)
	o := Options{Device: deviceOf}
	var c compile.Compiler
	s, err := policy.Build(sg.Profile{Name: "x"}, policy.PutGroup{Group: &sg.Group{ID: "g", Name: "g", VPC: "v"}})
	require.NoError(t, err)
	m, err := c.Reset(s)
	require.NoError(t, err)
	at := m.Program()
	require.NoError(t, lab.Ruleset(t.Context(), render(t, at, o)))
	for _, step := range []struct {
		id    sg.InterfaceID
		vpc   sg.VPCID
		guard bool
		addrs string
	}{
		{"sg0", "v", true, "10.0.0.5 fd00::5"},
		{"sg0", "v", true, "10.0.0.0/24 fd00::/64"},
		{"sg1", "v", false, "10.0.0.7 10.0.0.9"},
		{"sg0", "v", true, "10.0.0.6 10.0.0.5 fd00::/65"},
		{"sg1", "v", true, "10.0.0.4/31 10.0.0.7"},
		{"sg1", "w", false, "10.0.0.0/8"},
		{"sg0", "w", false, "10.0.0.0/16 8000::/1"},
		{"sg1", "w", true, "10.0.0.1"},
		{"sg0", "v", true, "10.0.0.1"},
	} {
		i := &sg.Interface{ID: step.id, VPC: step.vpc, SourceGuard: step.guard, Addrs: prefixes(strings.Fields(step.addrs)...)}
		m, err := c.Apply(policy.Batch{Changes: []policy.Change{policy.PutInterface{Interface: i}}})
		require.NoError(t, err)
		require.NoError(t, lab.Ruleset(t.Context(), delta(t, at, m.Program(), o)), "%+v", step)
		at = m.Program()
		got := listing(t, lab)
		require.NoError(t, lab.Ruleset(t.Context(), render(t, at, o)))
		requireSame(t, listing(t, lab), got, step.addrs)
	}
}

// TestAPI04InjectionLoads: nft reads rulesets with hostile names, and makes of them
// one table with the objects that harmless names give.
func TestAPI04InjectionLoads(t *testing.T) {
	lab := nftLab(t)
	var b bytes.Buffer
	require.NoError(t, Render(&b, named(func(string) string { return "x" }), Options{Device: onlyDevice}))
	require.NoError(t, lab.Ruleset(t.Context(), b.String()))
	want := quoted.ReplaceAllString(listing(t, lab), "Q")
	rapid.Check(t, func(rt *rapid.T) {
		require.NoError(rt, lab.Ruleset(t.Context(), renderHostile(rt)))
		require.Equal(rt, want, quoted.ReplaceAllString(listing(t, lab), "Q"))
		tables, err := lab.Run(t.Context(), "", "nft", "list", "tables")
		require.NoError(rt, err)
		require.Equal(rt, "table inet secgroup\n", tables)
	})
}
