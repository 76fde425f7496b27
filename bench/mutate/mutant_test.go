package main

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const sample = `package sample

import "errors"

const limit = 4

func Clamp(n int) (int, bool) {
	if n > limit && n != 9 {
		n = limit
		return n, true
	}
	n++
	return n, false
}

func (e fault) String() string { return "a" + "b" }

type fault [8]int

var errBad = errors.New("bad")

func room() ([]int, map[int]int) { return make([]int, 3, 3+4), make(map[int]int, 5) }
`

func TestMutantsOfAFile(t *testing.T) {
	list, err := mutants("sample.go", []byte(sample))
	require.NoError(t, err)
	var got []string
	for _, m := range list {
		require.Equal(t, m.old, sample[m.from:m.to])
		got = append(got, m.String())
		code := slices.Concat([]byte(sample[:m.from]), []byte(m.text), []byte(sample[m.to:]))
		_, err := parser.ParseFile(token.NewFileSet(), "sample.go", code, parser.SkipObjectResolution)
		require.NoError(t, err, m)
	}
	require.ElementsMatch(t, []string{
		"sample.go:8: n > limit && n != 9 -> !(n > limit && n != 9)",
		"sample.go:8: && -> ||",
		"sample.go:8: > -> >=",
		"sample.go:8: > -> <=",
		"sample.go:8: != -> ==",
		"sample.go:8: 9 -> 10",
		"sample.go:9: n = limit -> nothing",
		"sample.go:10: true -> false",
		"sample.go:12: n++ -> nothing",
		"sample.go:12: ++ -> --",
		"sample.go:13: false -> true",
		"sample.go:22: 3 -> 4",
	}, got)
}

// TestTestsMustPass: what fails without a mutant says nothing about one.
func TestTestsMustPass(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":         "module sample\n\ngo 1.26\n",
		"sample.go":      "package sample\n\nfunc Less(a, b int) bool { return a < b }\n",
		"sample_test.go": "package sample\n\nimport \"testing\"\n\nfunc TestLess(t *testing.T) { t.Fatal() }\n",
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	require.ErrorContains(t, run(context.Background(), &bytes.Buffer{}, options{}, []string{"."}), "without a mutant")
}

// TestJudge: a good test kills what a bad one does not, and what does not
// compile counts for neither.
func TestJudge(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("go.mod", "module sample\n\ngo 1.26\n")
	write("sample.go", "package sample\n\nfunc Less(a, b int) bool { return a < b }\n\nfunc Sum(a, b string) string { return a + b }\n")
	t.Chdir(dir)
	for _, c := range []struct {
		name, test string
		limit      time.Duration
		want       tally
	}{
		{"bad", "Less(1, 2)", time.Minute, tally{survived: 2, invalid: 1}},
		{"endless", "for !Less(1, 2) {}", 3 * time.Second, tally{killed: 1, late: 1, survived: 1, invalid: 1}},
		{"one side", "if !Less(1, 2) { t.Fatal() }", time.Minute, tally{killed: 1, survived: 1, invalid: 1}},
		{"good", "if !Less(1, 2) || Less(1, 1) { t.Fatal() }", 0, tally{killed: 2, invalid: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			write("sample_test.go", "package sample\n\nimport \"testing\"\n\nfunc TestLess(t *testing.T) { "+c.test+" }\n")
			list, err := find(".")
			require.NoError(t, err)
			var out bytes.Buffer
			got, err := judge(context.Background(), &out, options{limit: c.limit}, list)
			require.NoError(t, err)
			require.Equal(t, c.want, got, out.String())
		})
	}
}

func TestNothingToMutate(t *testing.T) {
	_, err := find(t.TempDir())
	require.ErrorContains(t, err, "no Go code")
	require.ErrorContains(t, run(context.Background(), &bytes.Buffer{}, options{}, nil), "name the packages")
}
