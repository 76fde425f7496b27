package jsontree_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// parse parses a text that must be an object.
func parse(t *testing.T, text string) (*jsontree.Object, *sg.Errors) {
	t.Helper()
	errs := new(sg.Errors)
	o, err := jsontree.Parse([]byte(text), errs)
	require.NoError(t, err)
	return o, errs
}

// faults lists faults as "path: text".
func faults(errs *sg.Errors) []string {
	var out []string
	for _, f := range *errs {
		out = append(out, f.Error())
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "invalid: line 1, column 1: the document ends too early"},
		{" \n ", "invalid: line 2, column 2: the document ends too early"},
		{"{", "invalid: line 1, column 2: the document ends too early"},
		{"{\n  \"a\": [1,\n", "invalid: line 3, column 1: the document ends too early"},
		{"{\"a\": \"text", "invalid: line 1, column 12: the document ends too early"},
		{"{\"a\"\n", "invalid: line 2, column 1: the document ends too early"},
		{"{\"a\": tru", "invalid: line 1, column 10: the document ends too early"},
		{"{\n \"a\": trux}", "invalid: line 2, column 10: invalid character 'x' in literal true (expecting 'e')"},
		{"{} x", "invalid: line 1, column 4: invalid character 'x' after top-level value"},
		{"{}\n\n{}", "invalid: line 3, column 1: invalid character '{' after top-level value"},
		{"{}}", "invalid: line 1, column 3: invalid character '}' after top-level value"},
		{"{\"a\": 1,}", "invalid: line 1, column 9: invalid character '}' looking for beginning of object key string"},
		{"{\"a\": [1,]}", "invalid: line 1, column 10: invalid character ']' looking for beginning of value"},
		{"{\"a\": 01}", "invalid: line 1, column 8: invalid character '1' after object key:value pair"},
		{"{\"a\" 1}", "invalid: line 1, column 6: invalid character '1' after object key"},
		{"{a: 1}", "invalid: line 1, column 2: invalid character 'a' looking for beginning of object key string"},
		{"{'a': 1}", "invalid: line 1, column 2: invalid character '\\'' looking for beginning of object key string"},
		{"{1: 1}", "invalid: line 1, column 2: invalid character '1' looking for beginning of object key string"},
		{"{\"a\": [1}}", "invalid: line 1, column 9: invalid character '}' after array element"},
		{"\xef\xbb\xbf{}", "invalid: line 1, column 1: invalid character 'ï' looking for beginning of value"},
		{"// no\n{}", "invalid: line 1, column 1: invalid character '/' looking for beginning of value"},
		{"[]", "invalid: want a JSON object, not an array"},
		{"null", "invalid: want a JSON object, not null"},
		{"7", "invalid: want a JSON object, not a number"},
		{`"{}"`, "invalid: want a JSON object, not a string"},
		{"true", "invalid: want a JSON object, not a boolean"},
		{`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}", "invalid: line 1, column 38: nested deeper than 32"},
		{`{"a":` + strings.Repeat("[", 1_000_000), "invalid: line 1, column 38: nested deeper than 32"},
	} {
		errs := new(sg.Errors)
		o, err := jsontree.Parse([]byte(c.text), errs)
		require.EqualError(t, err, c.want, "%.60q", c.text)
		require.ErrorIs(t, err, sg.ErrInvalid)
		require.Nil(t, o)
		require.Empty(t, *errs)
	}
}

func TestDepthLimit(t *testing.T) {
	parse(t, `{"a":`+strings.Repeat("[", 31)+"1"+strings.Repeat("]", 31)+"}")
}

func TestFieldsOfTheRightType(t *testing.T) {
	o, errs := parse(t, `{"s": "text", "e": "", "b": true, "i": 8, "z": 0, "l": ["x", ""], "o": [{}, {"k": "v"}], "none": []}`)
	s, ok := o.String("s")
	require.True(t, ok)
	require.Equal(t, "text", s)
	s, ok = o.String("e")
	require.True(t, ok, "empty is there")
	require.Empty(t, s)
	_, ok = o.String("absent")
	require.False(t, ok)
	require.Equal(t, "text", o.Text("s"))
	require.True(t, o.Bool("b", false))
	require.True(t, o.Bool("absent", true))
	n, ok := o.Int("i", 0, 8)
	require.True(t, ok)
	require.Equal(t, 8, n)
	n, ok = o.Int("z", 0, 8)
	require.True(t, ok, "zero is there")
	require.Zero(t, n)
	_, ok = o.Int("absent", 0, 8)
	require.False(t, ok)
	require.Equal(t, []string{"x", ""}, o.Strings("l"))
	require.Empty(t, o.Strings("none"))
	list, ok := o.Objects("o")
	require.True(t, ok)
	require.Len(t, list, 2)
	require.Equal(t, "o[1]", list[1].Path)
	require.Equal(t, "o[1].k", list[1].At("k"))
	require.Equal(t, "v", list[1].Text("k"))
	list, ok = o.Objects("none")
	require.True(t, ok, "an empty list is there")
	require.Empty(t, list)
	_, ok = o.Objects("absent")
	require.False(t, ok)
	o.Done()
	require.Empty(t, *errs)
}

// TestWrongTypes reads every kind of value as every other kind.
func TestWrongTypes(t *testing.T) {
	values := map[string]string{
		"a string": `"8"`, "a number": `8`, "a boolean": `true`, "null": `null`, "an array": `[]`, "an object": `{}`,
	}
	for want, read := range map[string]func(o *jsontree.Object) bool{
		"a string":  func(o *jsontree.Object) bool { _, ok := o.String("f"); return ok },
		"a boolean": func(o *jsontree.Object) bool { return o.Bool("f", false) },
		"a number":  func(o *jsontree.Object) bool { _, ok := o.Int("f", 0, 255); return ok },
		"an array":  func(o *jsontree.Object) bool { _, ok := o.Objects("f"); return ok },
	} {
		for kind, text := range values {
			o, errs := parse(t, `{"f": `+text+`}`)
			ok := read(o)
			o.Done()
			if kind == want {
				require.True(t, ok, "%s as %s", kind, want)
				require.Empty(t, *errs)
				continue
			}
			require.False(t, ok, "%s as %s", kind, want)
			require.Equal(t, []string{"f: invalid: want " + want + ", not " + kind}, faults(errs))
		}
	}
}

func TestIntRefuses(t *testing.T) {
	for _, n := range []string{"-1", "256", "8.0", "8e0", "1e2", "0.5", "99999999999999999999", "-9223372036854775808"} {
		o, errs := parse(t, `{"n": `+n+`}`)
		_, ok := o.Int("n", 0, 255)
		require.False(t, ok, n)
		require.Equal(t, []string{`n: invalid "` + n + `": want a whole number from 0 to 255`}, faults(errs))
	}
}

func TestRequired(t *testing.T) {
	for text, want := range map[string][]string{
		`{"f": "x"}`:  nil,
		`{}`:          {"f: required"},
		`{"f": ""}`:   {"f: required: must not be empty"},
		`{"f": null}`: {"f: invalid: want a string, not null"},
		`{"f": 7}`:    {"f: invalid: want a string, not a number"},
	} {
		o, errs := parse(t, text)
		s, ok := o.Required("f")
		require.Equal(t, want == nil, ok, text)
		require.Equal(t, ok, s != "", text)
		require.Equal(t, want, faults(errs), text)
	}
}

func TestElementsOfTheWrongType(t *testing.T) {
	o, errs := parse(t, `{"l": [1, "x", null], "o": [7, {"k": 1}, [], {}]}`)
	require.Equal(t, []string{"", "x", ""}, o.Strings("l"), "indices stay true")
	list, ok := o.Objects("o")
	require.True(t, ok)
	require.Len(t, list, 2, "what is no object is left out")
	require.Equal(t, "o[1]", list[0].Path)
	require.Equal(t, "o[3]", list[1].Path)
	require.Equal(t, []string{
		"l[0]: invalid: want a string, not a number", "l[2]: invalid: want a string, not null",
		"o[0]: invalid: want an object, not a number", "o[2]: invalid: want an object, not an array",
	}, faults(errs))
}

func TestUnknownAndRepeatedFields(t *testing.T) {
	o, errs := parse(t, `{"a": "1", "A": 1, "a": "2", "a": "3", "x": {"y": [{"z": 1, "z": 2}]}, "x": 1}`)
	require.Equal(t, "1", o.Text("a"))
	o.Done()
	require.Equal(t, []string{
		"a: duplicate: the field stands more than once", "x: duplicate: the field stands more than once",
		"A: unknown field", "x: unknown field",
	}, faults(errs))
}

// TestOddKeys: whatever an unknown field is called, the fault names it.
func TestOddKeys(t *testing.T) {
	for key, want := range map[string]string{
		"a.b": `["a.b"]`, "a[0]": `["a[0]"]`, "": `[""]`, " ": `[" "]`, "é": `["é"]`, "a\nb": `["a\nb"]`, "\u202e": `["\u202e"]`,
		"a-b_C9": "a-b_C9",
	} {
		b, err := json.Marshal(map[string]any{"list": []any{map[string]int{key: 1}}, key: 1})
		require.NoError(t, err)
		o, errs := parse(t, string(b))
		list, _ := o.Objects("list")
		list[0].Done()
		o.Done()
		require.Len(t, *errs, 2)
		require.Equal(t, sg.JoinPath("list[0]", want), (*errs)[0].Path)
		require.Equal(t, want, (*errs)[1].Path)
	}
}

// TestFaultsAreBounded: a document can not cost much more than its own size.
func TestFaultsAreBounded(t *testing.T) {
	o, errs := parse(t, `{"l": [`+strings.Repeat("1,", 5000)+`1], "x": 1}`)
	o.Strings("l")
	o.Objects("l")
	o.Merge("l", errors.New("more"))
	o.Done()
	require.Len(t, *errs, jsontree.MaxFaults)
}

func TestMerge(t *testing.T) {
	o, errs := parse(t, `{"l": [{}]}`)
	list, _ := o.Objects("l")
	list[0].Merge("p[2]", &sg.FieldError{Path: "q", Err: sg.ErrFamily})
	list[0].Merge("p", errors.New("foreign"))
	list[0].Merge("p", nil)
	require.Equal(t, []string{"l[0].p[2].q: address family mismatch", "l[0].p: invalid: foreign"}, faults(errs))
}

// FuzzParse: Parse accepts what encoding/json accepts as an object, up to its
// depth, and nothing else; whatever it says has a bounded length and one line.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"a": [1, -2.5e3, true, null, "x\u0000\ud800"], "b": {"c": {}}, "b": 2}`, `{"a":1,}`, `[1]`, `{}{}`, "{\"a\":\"\xff\"}",
		`{"a" 1}`, `{,}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a"::1}`, `{"a":1 "b":2}`, `{"":""}`, strings.Repeat(`{"a":`, 33),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		errs := new(sg.Errors)
		o, err := jsontree.Parse(b, errs)
		var want map[string]any
		wantErr := json.Unmarshal(b, &want)
		accepts := wantErr == nil && want != nil
		if (err == nil) != accepts && !(err != nil && strings.Contains(err.Error(), "nested deeper")) {
			t.Fatalf("Parse(%q) = %v, encoding/json says %v", b, err, wantErr)
		}
		if err != nil {
			if len(err.Error()) > 300 || strings.Contains(err.Error(), "\n") || !errors.Is(err, sg.ErrInvalid) {
				t.Fatalf("bad error %q", err)
			}
			return
		}
		for key := range want {
			if !o.Has(key) {
				t.Fatalf("no field %q in %q", key, b)
			}
		}
		repeated := len(*errs)
		o.Done()
		if got := len(*errs) - repeated; got != min(len(want), jsontree.MaxFaults-repeated) {
			t.Fatalf("%d unknown fields of %d", got, len(want))
		}
	})
}
