package compile

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// edited is the obvious form of an edit: the rules that it leads to, and the
// edit less what has no effect.
func edited(rules []sg.Rule, c policy.EditGroup) (out []sg.Rule, done policy.EditGroup) {
	out = slices.Clone(rules)
	find := func(id sg.RuleID) int {
		return slices.IndexFunc(out, func(r sg.Rule) bool { return r.ID == id })
	}
	for _, id := range c.Remove {
		if i := find(id); i >= 0 {
			out = slices.Delete(out, i, i+1)
			done.Remove = append(done.Remove, id)
		}
	}
	for _, r := range c.Replace {
		if i := find(r.ID); i >= 0 && out[i] != r {
			out[i] = r
			done.Replace = append(done.Replace, r)
		}
	}
	done.Add = c.Add
	return append(out, c.Add...), done
}

// TestNet: what edits come to, as one, is what they lead to one after the
// other, unless an id stood for two rules meanwhile.
func TestNet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Custom(func(t *rapid.T) sg.RuleID { return sg.RuleID(fmt.Sprint("r", rapid.IntRange(0, 5).Draw(t, "id"))) })
		rule := rapid.Custom(func(t *rapid.T) sg.Rule {
			return sg.Rule{ID: id.Draw(t, "id"), Description: rapid.StringN(0, 2, -1).Draw(t, "text")}
		})
		var start []sg.Rule
		low := &group{byID: map[sg.RuleID]*located{}}
		for _, r := range rapid.SliceOfNDistinct(rule, 0, 5, func(r sg.Rule) sg.RuleID { return r.ID }).Draw(t, "rules") {
			start = append(start, r)
			low.byID[r.ID] = new(located)
		}
		rules, double := start, false
		var edits []policy.EditGroup
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			var done policy.EditGroup
			rules, done = edited(rules, policy.EditGroup{
				Remove: rapid.SliceOfN(id, 0, 2).Draw(t, "remove"), Replace: rapid.SliceOfN(rule, 0, 2).Draw(t, "replace"),
				Add: rapid.SliceOfN(rule, 0, 2).Draw(t, "add"),
			})
			edits = append(edits, done)
			seen := map[sg.RuleID]bool{}
			for _, r := range rules {
				double = double || seen[r.ID]
				seen[r.ID] = true
			}
		}
		net, ok := low.net(edits)
		if len(edits) == 1 {
			require.True(t, ok)
			return
		}
		require.Equal(t, !double, ok)
		if !ok {
			return
		}
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(net.Remove))), len(net.Remove), "removed twice")
		for _, r := range net.Replace {
			require.NotContains(t, net.Remove, r.ID)
		}
		got, done := edited(start, net)
		require.Equal(t, len(net.Remove), len(done.Remove), "all of them are there")
		require.True(t, slices.Equal(rules, got), "%v, not %v", got, rules)
	})
}
