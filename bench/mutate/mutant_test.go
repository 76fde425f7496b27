package main

import (
	"bytes"
	"context"
	"go/parser"
	"go/token"
	"math"
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

func touch(a []int) { _ = a[2] }

func read(b []byte) uint64 { return binary.LittleEndian.Uint64(b[1:9]) }
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
		"sample.go:8:5: n > limit && n != 9 -> !(n > limit && n != 9)",
		"sample.go:8:15: && -> ||",
		"sample.go:8:7: > -> >=",
		"sample.go:8:7: > -> <=",
		"sample.go:8:20: != -> ==",
		"sample.go:8:23: 9 -> 10",
		"sample.go:9:3: n = limit -> nothing",
		"sample.go:10:13: true -> false",
		"sample.go:12:2: n++ -> nothing",
		"sample.go:12:3: ++ -> --",
		"sample.go:13:12: false -> true",
		"sample.go:22:55: 3 -> 4",
		"sample.go:26:66: 1 -> 2",
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
	require.ErrorContains(t, run(context.Background(), &bytes.Buffer{}, options{at: "sample.go:3,sample.go:9"}, []string{"."}), `there is no mutant at "sample.go:9"`)
}

const shapes = `package shapes

type List[T any] struct{ items []T }

func (List[T]) Kind(_, b int, _ string) int { return b + 1 }

func (l *List[T]) Add(items ...T) { l.items = append(l.items, items...); unused := 1; _ = unused }

func Make[K comparable, V any](int, ...V) (m map[K]V, n int) { m = map[K]V{}; return m, 3 - 1 }

func nothing() {}

func init() { nothing() }
`

// TestSchema: whatever a function looks like, its mutants are in one build with
// it, and those that do not compile are found out.
func TestSchema(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"go.mod":    "module shapes\n\ngo 1.26\n",
		"shapes.go": shapes,
		"shapes_test.go": `package shapes

import "testing"

func TestShapes(t *testing.T) {
	var l List[string]
	l.Add("a", "b")
	m, n := Make[int](7, "a")
	if l.Kind(1, 2, "") != 3 || len(l.items) != 2 || m == nil || n != 2 {
		t.Fatal()
	}
}
`,
	} {
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	require.NoError(t, os.Mkdir("inner", 0o700))
	require.NoError(t, os.WriteFile("inner/inner.go", []byte("package inner\n\nfunc One() int { return 1 }\n"), 0o600))
	require.NoError(t, os.WriteFile("inner/inner_test.go", []byte("package inner\n\nimport \"testing\"\n\nfunc TestOne(t *testing.T) {\n\tif One() != 1 {\n\t\tt.Fatal()\n\t}\n}\n"), 0o600))
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), &out, options{tests: "."}, []string{".", "./inner"}))
	require.Contains(t, out.String(), "survived shapes.go:7:84: 1 -> 2\n")
	require.Contains(t, out.String(), "survived shapes.go:13:15: nothing() -> nothing\n")
	require.Contains(t, out.String(), "8 killed, 0 of them by the time limit, 2 survived", out.String())
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
}

// TestUsage: a wrong command line mutates nothing, and is told.
func TestUsage(t *testing.T) {
	one := []string{"./conntrack"}
	require.NoError(t, (&options{n: 100, want: 1}).usage(one))
	for _, c := range []struct {
		o        options
		packages []string
		want     string
	}{
		{options{}, nil, "name the packages"},
		{options{}, []string{"./conntrack", "-n", "3"}, "flags stand before the packages"},
		{options{n: -1}, one, "nothing below zero"},
		{options{limit: -1}, one, "nothing below zero"},
		{options{want: 1.5}, one, "-want 1.5"},
		{options{want: -0.5}, one, "-want -0.5"},
		{options{want: math.NaN()}, one, "-want NaN"},
	} {
		require.ErrorContains(t, c.o.usage(c.packages), c.want)
	}
}
