package dialect_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg/dialect"
)

// requirement is a row of testdata/requirements.tsv: what a source document
// states, or where the documents disagree, in our words.
type requirement struct{ id, statement string }

func requirements(t *testing.T) (list []requirement) {
	b, err := os.ReadFile("testdata/requirements.tsv")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		id, statement, ok := strings.Cut(strings.TrimSpace(line), "\t")
		require.True(t, ok, line)
		list = append(list, requirement{id, statement})
	}
	return list
}

func claims() []claim {
	return slices.Concat(evaluationClaims(), ruleClaims(), peerClaims(), groupClaims(), lifecycleClaims(), attachmentClaims(),
		setClaims(), enforcementClaims(), lintClaims(), disagreementClaims())
}

// TestConformance plays the situations of every requirement, and says for each
// whether it holds.
func TestConformance(t *testing.T) {
	byID := map[string][]claim{}
	for _, c := range claims() {
		byID[c.id] = append(byID[c.id], c)
	}
	held, list := 0, requirements(t)
	for _, r := range list {
		cases := byID[r.id]
		delete(byID, r.id)
		verdict := "FAIL"
		if t.Run(r.id, func(t *testing.T) {
			require.NotEmpty(t, cases, "no case for %s: %s", r.id, r.statement)
			for _, c := range cases {
				c.play(t)
			}
		}) {
			verdict = "ok"
			held++
		}
		fmt.Fprintf(t.Output(), "%-6s %-90s %s\n", r.id, r.statement, verdict)
	}
	fmt.Fprintf(t.Output(), "%d of %d requirements hold\n", held, len(list))
	require.Empty(t, slices.Sorted(maps.Keys(byID)), "cases of no requirement")
}

// TestConformanceProfiles: the profiles of the documents are found by the names
// that the requirements give them.
func TestConformanceProfiles(t *testing.T) {
	for _, p := range seven() {
		t.Run(p.Name, func(t *testing.T) {
			require.NoError(t, p.Validate())
			got, ok := dialect.Profile(p.Name)
			require.True(t, ok, "dialect.Profile does not know %q", p.Name)
			require.Equal(t, p, got)
		})
	}
}
