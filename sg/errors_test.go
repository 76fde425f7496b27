package sg_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// fault is what a test expects of a FieldError.
type fault struct {
	path string
	kind error
}

// requireFaults checks that err is an Errors of exactly those faults, in order.
func requireFaults(t *testing.T, err error, want ...fault) {
	t.Helper()
	if len(want) == 0 {
		require.NoError(t, err)
		return
	}
	require.Error(t, err)
	var all sg.Errors
	require.ErrorAs(t, err, &all)
	var got []fault
	for _, f := range all {
		got = append(got, fault{f.Path, f.Err})
	}
	require.Equal(t, want, got, "%v", err)
	for _, f := range want {
		require.ErrorIs(t, err, f.kind)
	}
	require.Len(t, strings.Split(err.Error(), "\n"), len(want), "one line per fault")
}

// checkErrors checks what holds for every Errors, whatever was validated.
func checkErrors(t *rapid.T, err error) {
	var all sg.Errors
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("not an Errors: %v", err)
	}
	for _, f := range all {
		text := f.Error()
		if len(text) > 8<<10 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Fatalf("a fault is written as %d bytes: %q", len(text), text)
		}
		if f.Err == nil || !errors.Is(err, f.Err) || !errors.Is(err, error(f)) {
			t.Fatalf("%v is not found through Errors", f)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != len(all) {
		t.Fatalf("%d faults on %d lines: %v", len(all), n, err)
	}
}

func TestFieldErrorText(t *testing.T) {
	for _, c := range []struct {
		err  sg.FieldError
		want string
	}{
		{sg.FieldError{Err: sg.ErrInvalid}, "invalid"},
		{sg.FieldError{Path: "rules[3].ports", Err: sg.ErrRequired}, "rules[3].ports: required"},
		{sg.FieldError{Path: "id", Value: "", Err: sg.ErrInvalid, Detail: "must not be empty"}, `id: invalid "": must not be empty`},
		{sg.FieldError{Path: "peer", Value: netip.MustParsePrefix("10.0.0.0/8"), Err: sg.ErrFamily}, `peer: address family mismatch "10.0.0.0/8"`},
		{sg.FieldError{Value: 300, Err: sg.ErrQuota, Detail: "at most 200"}, `quota exceeded "300": at most 200`},
		{sg.FieldError{Value: "a\"b\n\x1b\xff", Err: sg.ErrInvalid}, `invalid "a\"b\n\x1b\xff"`},
		{sg.FieldError{Value: strings.Repeat("x", 65), Err: sg.ErrInvalid}, `invalid "` + strings.Repeat("x", 64) + `…"`},
		{sg.FieldError{Value: strings.Repeat("x", 64), Err: sg.ErrInvalid}, `invalid "` + strings.Repeat("x", 64) + `"`},
		{sg.FieldError{Value: strings.Repeat("x", 63) + "世", Err: sg.ErrInvalid}, `invalid "` + strings.Repeat("x", 63) + `…"`},
		{sg.FieldError{Path: "a\nb", Err: sg.ErrInvalid, Detail: "c\r\x1b[0md"}, "a\ufffdb: invalid: c\ufffd\ufffd[0md"},
	} {
		require.Equal(t, c.want, c.err.Error())
		require.Equal(t, c.err.Err, c.err.Unwrap())
	}
}

// API-04: a path or detail that repeats a hostile id does not blow up a log,
// and keeps the field's name.
// A fault that somebody filled in by half is told, too.
func TestFieldErrorWithoutKind(t *testing.T) {
	require.Equal(t, `a: invalid "1": b`, (&sg.FieldError{Path: "a", Value: 1, Detail: "b"}).Error())
	require.Equal(t, "invalid", (&sg.FieldError{}).Error())
}

func TestErrorsJSON(t *testing.T) {
	var e sg.Errors
	e.Add("groups[0].ports", sg.PortRange{First: 9, Last: 8}, sg.ErrInvalid, "the first port is above the last")
	e.Add("profile", nil, sg.ErrRequired, "")
	e.Add("x\n", strings.Repeat("é", 64), nil, "")
	b, err := json.Marshal(e.Err())
	require.NoError(t, err)
	require.JSONEq(t, `[
		{"path": "groups[0].ports", "kind": "invalid", "value": "9-8", "detail": "the first port is above the last"},
		{"path": "profile", "kind": "required"},
		{"path": "x\ufffd", "kind": "invalid", "value": "`+strings.Repeat("é", 32)+`…"}
	]`, string(b))
}

func TestFieldErrorTextIsBounded(t *testing.T) {
	long := strings.Repeat("世\n", 10_000)
	f := &sg.FieldError{Path: "groups[" + long + "].rules[3].ports", Value: long, Err: sg.ErrInvalid, Detail: long + "end"}
	require.Less(t, len(f.Error()), 8<<10)
	require.True(t, utf8.ValidString(f.Error()))
	require.NotContains(t, f.Error(), "\n")
	require.Contains(t, f.Error(), "].rules[3].ports: invalid")
	require.True(t, strings.HasSuffix(f.Error(), "end"))
}

func TestErrorsIsAndAs(t *testing.T) {
	var errs sg.Errors
	require.NoError(t, errs.Err(), "a collector without faults is no error")
	errs.Add("b", 1, sg.ErrQuota, "")
	errs.Add("a", nil, sg.ErrRequired, "why")
	err := fmt.Errorf("apply: %w", errs.Err())

	require.ErrorIs(t, err, sg.ErrQuota)
	require.ErrorIs(t, err, sg.ErrRequired)
	require.NotErrorIs(t, err, sg.ErrFamily)
	var all sg.Errors
	require.ErrorAs(t, err, &all)
	require.Len(t, all, 2)
	var one *sg.FieldError
	require.ErrorAs(t, err, &one)
	require.Equal(t, "a", one.Path, "the first in path order")
	require.Equal(t, "a: required: why\nb: quota exceeded \"1\"", all.Error())
	require.Len(t, all.Unwrap(), 2)
	require.Same(t, all[0], all.Unwrap()[0])
}

func TestErrorsMerge(t *testing.T) {
	var rule, group, all sg.Errors
	rule.Add("", nil, sg.ErrDuplicate, "")
	rule.Add("ports", nil, sg.ErrRequired, "")
	rule.Add("[1]", nil, sg.ErrUnknown, "")
	before := fmt.Sprint(rule)
	group.Merge("rules[3]", rule.Err())
	group.Merge("name", &sg.FieldError{Err: sg.ErrInvalid})
	group.Merge("vpc", fmt.Errorf("look-up: %w", io.ErrUnexpectedEOF))
	group.Merge("scope", errors.Join(fmt.Errorf("wrapped: %w", &sg.FieldError{Path: "a", Err: sg.ErrQuota}), &sg.FieldError{Path: "b", Err: sg.ErrInUse}))
	group.Merge("ignored", nil)
	group.Merge("ignored", sg.Errors{})
	all.Merge(`groups["sg-web"]`, group.Err())
	requireFaults(t, all.Err(),
		fault{`groups["sg-web"].name`, sg.ErrInvalid},
		fault{`groups["sg-web"].rules[3]`, sg.ErrDuplicate},
		fault{`groups["sg-web"].rules[3].ports`, sg.ErrRequired},
		fault{`groups["sg-web"].rules[3][1]`, sg.ErrUnknown},
		fault{`groups["sg-web"].scope.a`, sg.ErrQuota},
		fault{`groups["sg-web"].scope.b`, sg.ErrInUse},
		fault{`groups["sg-web"].vpc`, sg.ErrInvalid},
	)
	require.ErrorContains(t, all.Err(), "look-up: unexpected EOF")
	require.ElementsMatch(t, strings.Split(before, "\n"), strings.Split(fmt.Sprint(rule), "\n"), "merging copies")
}

func TestJoinPath(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"a", "", "a"},
		{"", "b", "b"},
		{"a", "b", "a.b"},
		{"a", "[1]", "a[1]"},
		{"", "[1]", "[1]"},
		{"a[1]", "b.c", "a[1].b.c"},
	} {
		require.Equal(t, c.want, sg.JoinPath(c.a, c.b))
	}
}

// Indices sort by number, so that a report reads from top to bottom.
func TestErrorsNaturalOrder(t *testing.T) {
	want := []string{
		"", "a", "a[2]", "a[2].x", "a[10]", "a[10].b", "a[99999999999]", "b", "rules[0]", "rules[2].peer", "rules[2].ports",
		"rules[10]", "rules[10].id", "rules[100]", "x",
	}
	rapid.Check(t, func(t *rapid.T) {
		var errs sg.Errors
		for _, p := range rapid.Permutation(want).Draw(t, "order") {
			errs.Add(p, nil, sg.ErrInvalid, "")
		}
		for i, f := range errs.Err().(sg.Errors) {
			if f.Path != want[i] {
				t.Fatalf("place %d is %q, want %q", i, f.Path, want[i])
			}
		}
	})
}

// The order is one, whatever the paths: any permutation sorts alike, up to
// paths that differ only in leading zeros.
func TestErrorsOrderIsConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]{0,2}(\[[1-9][0-9]{0,12}\])?(\.[a-c])?`), 2, 8, rapid.ID).Draw(t, "paths")
		sorted := func(paths []string) (out []string) {
			var errs sg.Errors
			for _, p := range paths {
				errs.Add(p, nil, sg.ErrInvalid, "")
			}
			for _, f := range errs.Err().(sg.Errors) {
				out = append(out, f.Path)
			}
			return out
		}
		a, b := sorted(paths), sorted(rapid.Permutation(paths).Draw(t, "again"))
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

func TestErrorsOfOnePathKeepTheirOrder(t *testing.T) {
	var errs sg.Errors
	errs.Add("b", nil, sg.ErrQuota, "1")
	errs.Add("a", nil, sg.ErrInvalid, "2")
	errs.Add("b", nil, sg.ErrInvalid, "3")
	require.Equal(t, "a: invalid: 2\nb: quota exceeded: 1\nb: invalid: 3", errs.Err().Error())

	errs = nil
	for i := range 100 {
		errs.Add([]string{"b", "a"}[i%2], i/2, sg.ErrInvalid, "")
	}
	for i, f := range errs.Err().(sg.Errors) {
		require.Equal(t, i%50, f.Value)
	}
}

func TestCheckName(t *testing.T) {
	for _, ok := range []string{"a", "sg-web", `quo"ted`, "{}", "with space", "世界", "@default", strings.Repeat("a", sg.MaxName), "\u202e"} {
		require.Empty(t, sg.CheckName(ok), "%q", ok)
	}
	for bad, why := range map[string]string{
		"":                                  "must not be empty",
		strings.Repeat("a", sg.MaxName+1):   "longer than 255 bytes",
		strings.Repeat("世", sg.MaxName/3+1): "longer than 255 bytes",
		"\xff":                              "not valid UTF-8",
		"\xed\xa0\x80":                      "not valid UTF-8",
		"a\nb":                              "control character",
		"\x00":                              "control character",
		"\x7f":                              "control character",
		"\u0085":                            "control character",
	} {
		require.Contains(t, sg.CheckName(bad), why, "%q", bad)
	}
}
