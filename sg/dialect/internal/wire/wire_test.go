package wire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/internal/jsontree"
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{"{\n \"a\": trux}", "line 2, column 10: invalid character 'x' in literal true (expecting 'e')"},
		{"{\"a\": \"\xff\"}", "line 1, column 8: not valid UTF-8"},
		{`{"a": "\ud800"}`, "line 1, column 8: an escape that is half a character"},
		{" 7 ", "want a JSON object, not a number"},
	} {
		_, _, err := wire.Parse([]byte(c.doc))
		require.EqualError(t, err, "invalid: "+c.want, "%.50q", c.doc)
		require.IsType(t, sg.Errors{}, err)
	}
}

// TestScalars reads every kind of value as every other kind.
func TestScalars(t *testing.T) {
	values := map[string]string{
		"a string": `"8"`, "a number": `8`, "a boolean": `true`, "null": `null`, "an array": `[ ]`, "an object": `{ }`,
	}
	for want, read := range map[string]func(o *wire.Object) bool{
		"a string":  func(o *wire.Object) bool { _, ok := o.String("f"); return ok },
		"a boolean": func(o *wire.Object) bool { return o.Bool("f", false) },
		"a number":  func(o *wire.Object) bool { v, ok := o.Int("f", 0, 8); return ok && v == 8 },
		"an object": func(o *wire.Object) bool { return o.Object("f") != nil },
	} {
		for kind, text := range values {
			r, o, err := wire.Parse([]byte(`{"f": ` + text + `}`))
			require.NoError(t, err)
			require.Equal(t, kind == want, read(o), "%s as %s", kind, want)
			o.Done()
			_, _, err = r.Result(nil)
			if kind == want {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, "f: invalid: want "+want+", not "+kind)
			}
		}
	}
}

// TestFaultsAreBounded: after so many, the document is not read on.
func TestFaultsAreBounded(t *testing.T) {
	r, o, err := wire.Parse([]byte(`{"l": [` + strings.Repeat("1,", 5000) + `{}]}`))
	require.NoError(t, err)
	list, ok := o.Objects("l")
	require.True(t, ok)
	list.Each(func(*wire.Object) { t.Fatal("read on") })
	_, _, err = r.Result(nil)
	var errs sg.Errors
	require.True(t, errors.As(err, &errs))
	require.Len(t, errs, jsontree.MaxFaults+1)
	require.Equal(t, "invalid: not more than 1000 faults are told", errs[0].Error())
	_, absent := o.Objects("m")
	require.False(t, absent)
	wire.List{}.Each(func(*wire.Object) { t.Fatal("the zero value is empty") })
}

// TestGeneratedGroupsAreValid keeps the generator of the other tests honest.
func TestGeneratedGroupsAreValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, g := range wiretest.Groups(wiretest.Spec{}).Draw(t, "groups") {
			if err := g.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
