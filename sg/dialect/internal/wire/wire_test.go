package wire_test

import (
	"encoding/json"
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
		{"", "line 1, column 1: the document ends too early"},
		{"{\n \"a\": [1,\n", "line 3, column 1: the document ends too early"},
		{"{\n \"a\": trux}", "line 2, column 10: invalid character 'x' in literal true (expecting 'e')"},
		{"{} {}", "line 1, column 4: invalid character '{' after top-level value"},
		{"{\"a\": \"\xff\"}", "line 1, column 8: not valid UTF-8"},
		{`{"a": "\ud800"}`, "line 1, column 8: an escape that is half a character"},
		{`{"a": "\uDC00\ud800"}`, "line 1, column 8: an escape that is half a character"},
		{`{"a": "\\\ud83dx"}`, "line 1, column 10: an escape that is half a character"},
		{`{"a": "\ud83d\u0041"}`, "line 1, column 8: an escape that is half a character"},
		{`{"a":` + strings.Repeat("[", 1_000_000), "line 1, column 37: nested deeper than 32"},
		{"null", "want a JSON object, not null"},
		{" 7 ", "want a JSON object, not a number"},
	} {
		_, _, err := wire.Parse([]byte(c.doc))
		require.EqualError(t, err, "invalid: "+c.want, "%.50q", c.doc)
		require.IsType(t, sg.Errors{}, err)
	}
	_, o, err := wire.Parse([]byte(" {\"a\" : \"\\\\ud800 \\ud83d\\ude00 [{\\\"\" } \n"))
	require.NoError(t, err)
	require.Equal(t, "\\ud800 \U0001F600 [{\"", o.Text("a"))
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

// FuzzParse: Parse accepts what encoding/json does, but for what it says it
// refuses, and reads the same fields.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a": [1, -2.5e3, true, null, "x\u0000\ud83d\ude00"], "b": {"c": {}}, "b": 2}`, `{"a":1,}`, `[1]`, `{}{}`, `{"a" : "\\" , "b":[{"]":"}"}]}`,
		`{"\"":1}`, `{"a":{"b":1}  ,"c":2 }`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(b, &want)
		r, o, err := wire.Parse(b)
		if err != nil {
			text := err.Error()
			if wantErr == nil && want != nil && !strings.Contains(text, "nested deeper") && !strings.Contains(text, "UTF-8") && !strings.Contains(text, "half a character") {
				t.Fatalf("Parse(%q) = %v", b, err)
			}
			if len(text) > 300 || strings.Contains(text, "\n") {
				t.Fatalf("bad error %q", text)
			}
			return
		}
		if wantErr != nil || want == nil {
			t.Fatalf("Parse accepts %q, encoding/json says %v", b, wantErr)
		}
		last := map[string]bool{}
		for key, raw := range want {
			last[key] = true
			if !o.Has(key) {
				t.Fatalf("no field %q in %q", key, b)
			}
			var s string
			if json.Unmarshal(raw, &s) == nil && raw[0] == '"' && !strings.Contains(string(b), "\\u") {
				if _, ok := o.String(key); !ok && r.Faults() == 0 {
					t.Fatalf("field %q of %q is no text", key, b)
				}
			}
			if raw[0] == '[' {
				n, m := 0, 0
				var items []json.RawMessage
				if json.Unmarshal(raw, &items) != nil {
					t.Fatal("not a list")
				}
				for _, item := range items {
					if item[0] == '{' {
						n++
					}
				}
				before := r.Faults()
				l, _ := o.Objects(key)
				l.Each(func(*wire.Object) { m++ })
				if before == 0 && r.Faults() == 0 && n != m {
					t.Fatalf("%d objects, not %d, in %q of %q", m, n, key, b)
				}
			}
		}
		o.Done()
	})
}
