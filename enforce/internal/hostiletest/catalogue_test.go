package hostiletest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestComplete: every id of the catalogue has a case with its verdicts, no case
// has another id, and no two have one name.
func TestComplete(t *testing.T) {
	list := Catalogue()
	require.Len(t, list, 19+16+10+12+25+7+11+4)
	seen, names := map[string]bool{}, map[string]bool{}
	for _, c := range Cases() {
		require.False(t, names[c.Name()], c.Name())
		names[c.Name()] = true
		require.NotEmpty(t, c.Steps, c.Name())
		swaps := 0
		for _, s := range c.Steps {
			if s.Swap {
				swaps++
			}
		}
		require.Equal(t, len(c.Policies)-1, swaps, "%s: policies that are never in force", c.Name())
		line, ok := list[c.ID]
		switch {
		case strings.HasPrefix(c.ID, "API-"):
			continue
		case !ok:
			t.Errorf("%s is no id of the catalogue", c.ID)
		case Fits(c.Want(), line):
			seen[c.ID] = true
		case strings.ToLower(c.Want()) != c.Want() && c.Variant != "good first":
			t.Errorf("%s: verdicts %s, the catalogue says %s", c.Name(), c.Want(), line)
		}
	}
	for id := range list {
		if !seen[id] {
			t.Errorf("%s has no case with the verdicts of the catalogue", id)
		}
	}
}

func TestFits(t *testing.T) {
	for want, ok := range map[string]bool{"ADD": true, "aADdD": true, "AD": false, "ADDD": false, "DDD": true, "DDA": false, "": false} {
		require.Equal(t, ok, Fits(want, "A/D D×2"), want)
	}
}
