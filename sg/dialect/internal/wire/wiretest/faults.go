package wiretest

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// Faults returns the faults of err as "path: kind".
func Faults(t require.TestingT, err error) []string {
	var all sg.Errors
	require.ErrorAs(t, err, &all)
	require.NotEmpty(t, all)
	var out []string
	for _, f := range all {
		require.NotNil(t, f.Err)
		out = append(out, f.Path+": "+f.Err.Error())
	}
	return out
}

// CheckErrors checks that err is told one bounded line per fault.
func CheckErrors(t *testing.T, err error) {
	t.Helper()
	var all sg.Errors
	if !errors.As(err, &all) || len(all) == 0 || len(all) > 1001 {
		t.Fatalf("not sg.Errors of 1 to 1001 faults: %T", err)
	}
	for _, f := range all {
		if s := f.Error(); len(s) > 4<<10 || strings.Contains(s, "\n") || !utf8.ValidString(s) {
			t.Fatalf("not a bounded line: %d bytes", len(s))
		}
	}
}

// Paths returns the places of warnings.
func Paths(ws []sg.Warning) []string {
	var out []string
	for _, w := range ws {
		out = append(out, w.Path)
	}
	return out
}
