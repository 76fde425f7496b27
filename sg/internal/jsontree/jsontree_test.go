package jsontree_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// parse parses a text that must be an object.
func parse(t *testing.T, text string) (*jsontree.Object, *sg.Errors) {
	t.Helper()
	f := new(jsontree.Faults)
	o, err := jsontree.Parse([]byte(text), f)
	require.NoError(t, err)
	return o, &f.Told
}

// objects collects the elements of a list.
func objects(list jsontree.List) (out []*jsontree.Object) {
	list.Each(func(o *jsontree.Object) { out = append(out, o) })
	return out
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
		f := new(jsontree.Faults)
		o, err := jsontree.Parse([]byte(c.text), f)
		require.EqualError(t, err, c.want, "%.60q", c.text)
		require.ErrorIs(t, err, sg.ErrInvalid)
		require.IsType(t, sg.Errors{}, err)
		require.Nil(t, o)
		require.NoError(t, f.Err())
	}
	_, err := jsontree.Parse(append(make([]byte, jsontree.MaxBytes), '{', '}'), new(jsontree.Faults))
	require.ErrorIs(t, err, sg.ErrQuota)
}

// TestNoCharacters: what is no character is refused.
func TestNoCharacters(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{\"a\": \"\xff\"}", "line 1, column 8: not valid UTF-8"},
		{`{"a": "\ud800"}`, "line 1, column 8: an escape that is half a character"},
		{`{"a": "\uDC00\ud800"}`, "line 1, column 8: an escape that is half a character"},
		{`{"a": "\\\ud83dx"}`, "line 1, column 10: an escape that is half a character"},
		{`{"a": "\ud83d\u0041"}`, "line 1, column 8: an escape that is half a character"},
		{"{\n\"a\": \"\xc3(\\\"\\udbff\"}", "line 2, column 7: not valid UTF-8"},
	} {
		_, err := jsontree.Parse([]byte(c.text), new(jsontree.Faults))
		require.EqualError(t, err, "invalid: "+c.want, "%q", c.text)
	}
	// the first fault is told
	for text, want := range map[string]string{
		"{\"a\" \"\xff\"}":                                      "line 1, column 6: invalid character '\"' after object key",
		"{\"a\": \"\\ud800\xff\" 1}":                            "line 1, column 8: an escape that is half a character",
		"{\"a\": \"\xff\\ud800\" 1}":                            "line 1, column 8: not valid UTF-8",
		"{\"a\":" + strings.Repeat("[", 40) + "\"\\ud800\"\xff": "line 1, column 38: nested deeper than 32",
	} {
		_, err := jsontree.Parse([]byte(text), new(jsontree.Faults))
		require.EqualError(t, err, "invalid: "+want, "%q", text)
	}
	o, _ := parse(t, " {\"a\" : \"\\\\ud800 \\ud83d\\ude00 [{\\\"\" } \n")
	require.Equal(t, "\\ud800 \U0001F600 [{\"", o.Text("a"))
}

func TestDepthLimit(t *testing.T) {
	parse(t, `{"a":`+strings.Repeat("[", 31)+"1"+strings.Repeat("]", 31)+"}")
	parse(t, `{"a":`+strings.Repeat("[", 32)+" "+strings.Repeat("]", 32)+"}")
	_, err := jsontree.Parse([]byte(`{"a":`+strings.Repeat("[", 32)+"1"+strings.Repeat("]", 32)+"}"), new(jsontree.Faults))
	require.EqualError(t, err, "invalid: line 1, column 38: nested deeper than 32")
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
	l, ok := o.Objects("o")
	list := objects(l)
	require.True(t, ok)
	require.Len(t, list, 2)
	require.Equal(t, "o[1]", list[1].Path)
	require.Equal(t, "o[1].k", list[1].At("k"))
	require.Equal(t, "v", list[1].Text("k"))
	l, ok = o.Objects("none")
	require.True(t, ok, "an empty list is there")
	require.Empty(t, objects(l))
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
		"an object": func(o *jsontree.Object) bool { return o.Object("f") != nil },
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
			require.Equal(t, want == "an array", ok, "%s as %s: of a list, whether something is there", kind, want)
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
	l, ok := o.Objects("o")
	list := objects(l)
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
		objects(list)[0].Done()
		o.Done()
		require.Len(t, *errs, 2)
		require.Equal(t, sg.JoinPath("list[0]", want), (*errs)[0].Path)
		require.Equal(t, want, (*errs)[1].Path)
	}
}

// TestFaultsAreBounded: a document can not cost much more than its own size.
func TestFaultsAreBounded(t *testing.T) {
	o, errs := parse(t, `{"l": [`+strings.Repeat("1,", 5000)+`{}], "x": 1}`)
	require.LessOrEqual(t, len(o.Strings("l")), jsontree.MaxFaults+1)
	list, _ := o.Objects("l")
	require.Empty(t, objects(list), "not read on")
	o.Merge("l", errors.New("more"))
	o.Done()
	require.Len(t, *errs, jsontree.MaxFaults)
}

func TestMerge(t *testing.T) {
	o, errs := parse(t, `{"l": [{}]}`)
	l, _ := o.Objects("l")
	list := objects(l)
	list[0].Merge("p[2]", &sg.FieldError{Path: "q", Err: sg.ErrFamily})
	list[0].Merge("p", errors.New("foreign"))
	list[0].Merge("p", nil)
	require.Equal(t, []string{"l[0].p[2].q: address family mismatch", "l[0].p: invalid: foreign"}, faults(errs))
}

func TestFaults(t *testing.T) {
	var f jsontree.Faults
	require.NoError(t, f.Err())
	for range jsontree.MaxFaults {
		f.Add("b", nil, sg.ErrInvalid, "")
	}
	f.Merge("a", nil)
	require.Len(t, f.Err(), jsontree.MaxFaults)
	f.Merge("a", sg.Errors{{Path: "b", Err: sg.ErrInvalid}, {Path: "c", Err: sg.ErrInvalid}})
	require.Equal(t, jsontree.MaxFaults+2, f.Count)
	var errs sg.Errors
	require.ErrorAs(t, f.Err(), &errs)
	require.Len(t, errs, jsontree.MaxFaults+1)
	require.EqualError(t, errs[0], "invalid: not more than 1000 faults are told")
	require.Len(t, f.Told, jsontree.MaxFaults)
}

func TestNullable(t *testing.T) {
	o, errs := parse(t, `{"a": null, "b": null, "c": "x", "d": null, "e": null}`)
	o.Nullable("a", "c", "e", "f")
	require.False(t, o.Has("a"))
	require.True(t, o.Has("b"))
	require.True(t, o.Has("c"))
	require.Empty(t, o.Text("a"))
	require.Empty(t, o.Text("b"))
	require.Equal(t, "x", o.Text("c"))
	o.Skip("d")
	o.Done()
	require.Equal(t, []string{"b: invalid: want a string, not null", "e: unknown field"}, faults(errs))
}

func TestNumberAndObject(t *testing.T) {
	o, errs := parse(t, `{"n": -1.50e3, "o": {"p": {"q": "x"}, "e": {}}}`)
	n, ok := o.Number("n")
	require.True(t, ok)
	require.Equal(t, "-1.50e3", n)
	_, ok = o.Number("absent")
	require.False(t, ok)
	in := o.Object("o")
	require.Equal(t, "x", in.Object("p").Text("q"))
	require.Equal(t, "o.p.q", in.Object("p").At("q"))
	require.True(t, in.Object("e").Empty())
	require.False(t, in.Empty())
	require.Nil(t, in.Object("absent"))
	o.Done()
	require.Empty(t, *errs)
}

// FuzzParse: Parse accepts what encoding/json accepts as an object, up to its
// depth, and nothing else; whatever it says has a bounded length and one line.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "{}", `{"a": [1, -2.5e3, true, null, "x\u0000\ud800"], "b": {"c": {}}, "b": 2}`, `{"a":1,}`, `[1]`, `{}{}`, "{\"a\":\"\xff\"}",
		`{"a" : "\\" , "b":[{"]":"}"}]}`, `{"\"":1}`, `{"a":{"b":1}  ,"c":2 }`, `{"a":["\ud83d\ude00", {}, [{}], "\udc00"]}`,
		`{"a" 1}`, `{,}`, `{"a":[,1]}`, `{"a":[1 2]}`, `{"a"::1}`, `{"a":1 "b":2}`, `{"":""}`, `{"a":1e999,"b":"x"}`, strings.Repeat(`{"a":`, 33),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		f := new(jsontree.Faults)
		o, err := jsontree.Parse(b, f)
		if odd := err != nil && (strings.Contains(err.Error(), "UTF-8") || strings.Contains(err.Error(), "half a character")); odd {
			if utf8.Valid(b) && !strings.Contains(string(b), `\u`) {
				t.Fatalf("Parse(%q) = %v", b, err)
			}
			return
		}
		var want map[string]json.RawMessage // a number beyond float64 is valid JSON
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
		repeated := f.Count
		o.Done()
		if got := f.Count - repeated; got != len(want) {
			t.Fatalf("%d unknown fields of %d", got, len(want))
		}
		content(t, b)
	})
}

// content checks that the fields of b are what encoding/json reads, if no field
// stands twice.
func content(t *testing.T, b []byte) {
	f := new(jsontree.Faults)
	o, _ := jsontree.Parse(b, f)
	var want map[string]any
	numbers := json.NewDecoder(bytes.NewReader(b))
	numbers.UseNumber()
	if numbers.Decode(&want) != nil || f.Count > 0 {
		return
	}
	for key, v := range want {
		switch v := v.(type) {
		case string:
			if s, ok := o.String(key); !ok || s != v {
				t.Fatalf("field %q of %q is %q", key, b, s)
			}
		case []any:
			n, texts := 0, []string(nil)
			for _, item := range v {
				if _, ok := item.(map[string]any); ok {
					n++
				}
				s, _ := item.(string)
				texts = append(texts, s)
			}
			list, _ := o.Objects(key)
			if m := len(objects(list)); m != n && f.Count <= jsontree.MaxFaults {
				t.Fatalf("%d objects, not %d, in %q of %q", m, n, key, b)
			}
			if got := o.Strings(key); f.Count <= jsontree.MaxFaults && !slices.Equal(got, texts) {
				t.Fatalf("texts %q, not %q, in %q of %q", got, texts, key, b)
			}
		}
	}
}
