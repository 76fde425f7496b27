package nftables

import (
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
)

var (
	mutants    = flag.Bool("mutants", false, "TestMutants tries every statement, not one of each kind, which may take hours where the machine has other work")
	mutantList = flag.Bool("mutants.list", false, "list the mutants that are not caught")
)

// equivalent are kinds of mutants that no packet can tell from the right
// ruleset, and why. That they are still not caught is tested too.
var equivalent = []struct {
	kind *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`^delete pN_(in|e)gress_connection_v4_tracked_or_not: goto pN_(in|e)gress_stateless$`),
		"what led there comes to the end of a connection that is not allowed, which is the same"},
	{regexp.MustCompile(`^delete pN_(from_tied|to): ct state related ct direction original goto `),
		"the chain of what can open no connection refuses it as well"},
	{regexp.MustCompile(`^delete pN_(in|e)gress_stateless_v4: (port N( ip [sd]addr ADDR)?|meta l4proto N) goto discard$`),
		"what is found instead looks up the rules that track before it accepts, and no rule here refuses what one before it accepts"},
	{regexp.MustCompile(`^delete pN_(in|e)gress_connection_v4: ct original ip [sd]addr ADDR goto \w+_tracked_or_not$`),
		"the rules that track are in the chain too, and its end does the rest"},
}

// TestMutants: a ruleset that lacks a statement, or whose statement says the
// opposite, is told from the right one by the packets of the tests.
func TestMutants(t *testing.T) {
	netlabtest.Require(t)
	w := newWorld(t, Options{Reject: true})
	w.mute()
	counts, kinds := map[outcome]int{}, map[string]outcome{}
	examples := map[string]mutation{}
	for _, e := range []sg.Established{sg.Revalidate, sg.Keep} {
		began := time.Now()
		b := newBattery(t, w, e)
		// The history again, as it is, of one half of the units and of the
		// other: the results must be the same.
		for half := range 2 {
			units := b.all()
			maps.DeleteFunc(units, func(unit int, _ bool) bool { return unit%2 == half })
			require.Equal(t, missed, b.try(mutation{kind: "nothing"}, units), "established %v: the history is not repeatable", e)
		}
		t.Logf("established %v: %d units, %v to record", e, len(b.all()), time.Since(began).Round(time.Second))
		byKind := b.byKind()
		for _, kind := range slices.Sorted(maps.Keys(byKind)) {
			for _, m := range byKind[kind] {
				if old, known := kinds[kind]; known && old == caught && !*mutants {
					break
				}
				o := b.try(m, b.units(m))
				counts[o]++
				if old, known := kinds[kind]; !known || o < old {
					kinds[kind], examples[kind] = o, m
				}
				if o != caught && *mutantList {
					t.Logf("established %v: %v: %v", e, o, m)
				}
			}
		}
	}
	var holes []string
	of := map[outcome]int{}
	for kind, o := range kinds {
		of[o]++
		at := slices.IndexFunc(equivalent, func(e struct {
			kind *regexp.Regexp
			why  string
		}) bool {
			return e.kind.MatchString(kind)
		})
		if at >= 0 {
			t.Logf("%v: %s: %s", o, kind, equivalent[at].why)
		}
		switch {
		case at >= 0 && o == caught:
			holes = append(holes, "caught, though it is listed as one that can not be: "+kind)
		case at < 0 && o != caught:
			holes = append(holes, fmt.Sprintf("%v: %s   e.g. %v", o, kind, examples[kind]))
		}
	}
	slices.Sort(holes)
	t.Logf("mutants: %v; kinds of statement: %v", counts, of)
	require.Empty(t, holes, "%d:\n%s", len(holes), strings.Join(holes, "\n"))
}

// byKind are the mutations of all phases by the kind of their statement, those
// that touch the most first.
func (b *battery) byKind() map[string][]mutation {
	seen := map[mutation]bool{}
	out := map[string][]mutation{}
	for _, p := range b.phases {
		for _, m := range mutations(p.rules) {
			if !seen[m] {
				seen[m] = true
				out[m.template()] = append(out[m.template()], m)
			}
		}
	}
	for _, list := range out {
		touched := map[mutation]int{}
		for _, m := range list {
			touched[m] = len(b.units(m))
		}
		slices.SortStableFunc(list, func(x, y mutation) int { return touched[y] - touched[x] })
	}
	return out
}

// units are those by which a mutation is tried.
func (b *battery) units(m mutation) map[int]bool {
	if m.wide() {
		return b.all()
	}
	return b.touched(m)
}
