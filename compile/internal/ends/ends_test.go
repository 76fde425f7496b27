package ends

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
)

// TestCommon: what is said to be in common is, and no more is.
func TestCommon(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := make([]ir.RuleNum, rapid.IntRange(0, 150).Draw(t, "n"))
		for i := range a {
			a[i] = ir.RuleNum(rapid.IntRange(0, 1).Draw(t, "rule"))
			if i%2 == 0 {
				a[i] = ir.RuleNum(i)
			}
		}
		b := slices.Clone(a)
		for range rapid.IntRange(0, 2).Draw(t, "edits") {
			at := rapid.IntRange(0, len(b)).Draw(t, "at")
			if rapid.Bool().Draw(t, "insert") {
				b = slices.Insert(b, at, 7)
			} else if at < len(b) {
				b = slices.Delete(b, at, at+1)
			}
		}
		head, tail := 0, 0
		n := min(len(a), len(b))
		for head < n && a[head] == b[head] {
			head++
		}
		for tail < n-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
			tail++
		}
		gotHead, gotTail := Common(a, b)
		require.Equal(t, []int{head, tail}, []int{gotHead, gotTail}, "%v %v", a, b)
	})
}
