// Package wiretest holds the tests that every wire format must pass.
package wiretest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/internal/jsontree"
)

// Codec is a format under test.
type Codec struct {
	Decode func(b []byte) ([]*sg.Group, []sg.Warning, error)
	Encode func(groups []*sg.Group) ([]byte, []sg.Warning, error)
}

// TB is what testing and rapid have in common.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Groups decodes a document that is right.
func (c Codec) Groups(t TB, doc string) []*sg.Group {
	t.Helper()
	groups, _, err := c.Decode([]byte(doc))
	if err != nil {
		t.Fatalf("Decode(%s): %v", doc, err)
	}
	return groups
}

// Faults checks that decoding a document gives these faults, told as text.
func (c Codec) Faults(t TB, doc string, want ...string) {
	t.Helper()
	groups, warnings, err := c.Decode([]byte(doc))
	if err == nil {
		t.Fatalf("no fault in %s", doc)
	}
	if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
		t.Fatalf("Decode(%s):\n got %s\nwant %s", doc, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	if groups != nil || warnings != nil {
		t.Fatalf("groups or warnings beside an error")
	}
}

// Refuses checks that encoding groups gives these faults, each of them
// sg.ErrUnsupported, told as text without the kind.
func (c Codec) Refuses(t TB, groups []*sg.Group, want ...string) {
	t.Helper()
	_, _, err := c.Encode(groups)
	var errs sg.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("Encode = %v, want faults", err)
	}
	var got []string
	for _, f := range errs {
		if !errors.Is(f, sg.ErrUnsupported) {
			t.Fatalf("not ErrUnsupported: %v", f)
		}
		got = append(got, f.Path+": "+f.Detail)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("Encode:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// Warnings lists warnings as text.
func Warnings(list []sg.Warning) []string {
	out := []string{}
	for _, w := range list {
		out = append(out, w.String())
	}
	return out
}

// Wrong puts values of every wrong kind, and unknown fields, into every place
// of a document that is right. ok lists what is allowed, as "path=value". opaque
// lists objects that may have any field.
func (c Codec) Wrong(t *testing.T, doc string, ok, opaque []string) {
	t.Helper()
	c.Groups(t, doc)
	var root any
	if err := json.Unmarshal([]byte(doc), &root); err != nil {
		t.Fatal(err)
	}
	fails := func(path, at, why string) {
		t.Helper()
		b, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Decode(b)
		var errs sg.Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: %s: no fault", path, why)
			return
		}
		if !slices.ContainsFunc(errs, func(f *sg.FieldError) bool { return f.Path == at }) {
			t.Errorf("%s: %s: faults, but none at %s: %v", path, why, at, errs)
		}
	}
	var walk func(path string, v any)
	set := func(path string, old any, put func(any)) {
		for _, s := range []string{`"8"`, `8`, `8.5`, `true`, `null`, `[]`, `{}`, `[8]`, `""`} {
			var v any
			if err := json.Unmarshal([]byte(s), &v); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(ok, path+"="+s) {
				put(v)
				if b, err := json.Marshal(root); err != nil {
					t.Fatal(err)
				} else if _, _, err := c.Decode(b); err != nil {
					t.Errorf("%s = %s: %v", path, s, err)
				}
			} else if old == nil || reflect.TypeOf(v) != reflect.TypeOf(old) {
				put(v)
				fails(path, path, "= "+s)
			}
			put(old)
		}
		walk(path, old)
	}
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if slices.Contains(opaque, path) {
				return
			}
			for key, old := range v {
				set(sg.JoinPath(path, key), old, func(n any) { v[key] = n })
			}
			for _, key := range []string{"zz", "ID", "Rules"} {
				v[key] = 1
				fails(path, sg.JoinPath(path, key), "unknown field")
				delete(v, key)
			}
		case []any:
			for i, old := range v {
				set(fmt.Sprintf("%s[%d]", path, i), old, func(n any) { v[i] = n })
			}
		}
	}
	walk("", root)
	for n := range len(strings.TrimSpace(doc)) {
		if _, _, err := c.Decode([]byte(doc[:n])); err == nil {
			t.Errorf("the first %d bytes are a document", n)
		}
	}
}

// Hostile decodes large documents, each made of many times a rule, between
// before and after, and checks time and memory. A %d in rule counts.
func (c Codec) Hostile(t *testing.T, before, rule, after string) {
	t.Helper()
	const size = hostileSize
	docs := map[string][]byte{}
	var b bytes.Buffer
	b.WriteString(before)
	for n := 0; b.Len() < size; n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, rule, n)
	}
	b.WriteString(after)
	docs["distinct rules"] = b.Bytes()
	many := func(what string) []byte {
		return []byte(before + strings.TrimSuffix(strings.Repeat(what+",", size/(len(what)+1)), ",") + after)
	}
	docs["equal rules"] = many(fmt.Sprintf(rule, 1))
	docs["numbers"] = many("1")
	docs["empty"] = many("{}")
	docs["nested"] = []byte(before + strings.Repeat("[", size) + after)
	docs["unknown fields"] = []byte(before + "{" + strings.Repeat(`"a":1,`, size/6) + `"b":1}` + after)
	docs["a long text"] = []byte(before + `{"description":"` + strings.Repeat("x", size) + `"}` + after)
	docs["escapes"] = []byte(before + `{"protocol":"` + strings.Repeat(`\ud83d\ude00`, size/12) + `"}` + after)
	docs["too large"] = append(bytes.Repeat([]byte{' '}, 64<<20), `{"name": "x"}`...)
	for name, doc := range docs {
		var m1, m2 runtime.MemStats
		runtime.ReadMemStats(&m1)
		start := time.Now()
		_, _, err := c.Decode(doc)
		took := time.Since(start)
		runtime.ReadMemStats(&m2)
		mb := (m2.TotalAlloc - m1.TotalAlloc) >> 20
		t.Logf("%-15s %v, %d MiB", name, took.Round(time.Millisecond), mb)
		if took > time.Minute || mb > 2000 {
			t.Errorf("%s: %v, %d MiB", name, took, mb)
		}
		if name == "distinct rules" && err != nil || name != "distinct rules" && err == nil {
			t.Errorf("%s: %.300v", name, err)
		}
		if name == "too large" && !errors.Is(err, sg.ErrQuota) {
			t.Errorf("%s: %v", name, err)
		}
		checkError(t, err)
	}
}

func checkError(t TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	errs, ok := err.(sg.Errors)
	if !ok || len(errs) == 0 || len(errs) > jsontree.MaxFaults+1 {
		t.Fatalf("%T with %d faults", err, len(errs))
	}
	for _, f := range errs {
		if len(f.Error()) > 4096 || strings.Contains(f.Error(), "\n") {
			t.Fatalf("fault of %d bytes: %.200q", len(f.Error()), f.Error())
		}
	}
}

// Check is what must hold for any bytes: no panic; an error has faults, of
// bounded text; what can be read is valid, can be written, and comes back.
func (c Codec) Check(t TB, b []byte) {
	t.Helper()
	groups, _, err := c.Decode(b)
	if checkError(t, err); err != nil {
		return
	}
	for _, g := range groups {
		if err := g.Validate(); err != nil {
			t.Fatalf("decoded group: %v", err)
		}
	}
	text, _, err := c.Encode(groups)
	if err != nil {
		t.Fatalf("what was read can not be written: %v", err)
	}
	c.again(t, groups, text)
}

// again checks that text gives the groups again, and the same text.
func (c Codec) again(t TB, groups []*sg.Group, text []byte) []*sg.Group {
	t.Helper()
	got, _, err := c.Decode(text)
	if err != nil {
		t.Fatalf("Decode of what was written: %v\n%s", err, text)
	}
	if len(got) != len(groups) {
		t.Fatalf("%d groups instead of %d", len(got), len(groups))
	}
	for i, g := range groups {
		h := got[i]
		if h.ID != g.ID || h.Name != g.Name || h.Description != g.Description || h.VPC != g.VPC || h.Stateless != g.Stateless {
			t.Fatalf("group %+v became %+v", g, h)
		}
		a, b := keys(g), keys(h)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("rules %v became %v\n%s", a, b, text)
		}
	}
	twice, _, err := c.Encode(got)
	if err != nil || !bytes.Equal(text, twice) {
		t.Fatalf("%v\nwritten\n%s\nthen\n%s", err, text, twice)
	}
	return got
}

// keys are what the rules of g say, with their descriptions.
func keys(g *sg.Group) map[sg.Rule]string {
	out := map[sg.Rule]string{}
	for _, r := range g.Rules {
		out[r.Key()] = r.Description
	}
	return out
}

// RoundTrip checks that what gen draws, which the format can say, comes back
// equal but for the order of rules and their origin, without a warning.
func (c Codec) RoundTrip(t *testing.T, gen *rapid.Generator[[]*sg.Group]) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		groups := gen.Draw(t, "groups")
		text, warnings, err := c.Encode(groups)
		if err != nil {
			t.Fatalf("Encode: %v", err)
		}
		if len(warnings) > 0 {
			t.Fatalf("warnings %v", warnings)
		}
		got := c.again(t, groups, text)
		for i := range groups {
			if a, b := plain(groups[i]), plain(got[i]); !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v\nbecame\n%+v\n%s", a, b, text)
			}
		}
	})
}

func plain(g *sg.Group) *sg.Group {
	g = g.Clone()
	g.Created = g.Created.UTC()
	for i := range g.Rules {
		g.Rules[i].Origin = ""
	}
	slices.SortFunc(g.Rules, func(a, b sg.Rule) int { return cmp.Compare(a.ID, b.ID) })
	if len(g.Rules) == 0 {
		g.Rules = nil
	}
	return g
}

// Anything checks that arbitrary valid groups are refused with
// sg.ErrUnsupported or come back with the same meaning.
func (c Codec) Anything(t *testing.T) {
	t.Helper()
	said := 0
	rapid.Check(t, func(t *rapid.T) {
		groups := Groups(Spec{}).Draw(t, "groups")
		text, _, err := c.Encode(groups)
		if err == nil {
			said++
			c.again(t, groups, text)
			return
		}
		checkError(t, err)
		for _, f := range err.(sg.Errors) {
			if !errors.Is(f, sg.ErrUnsupported) || !strings.HasPrefix(f.Path, "groups[") {
				t.Fatalf("%v", f)
			}
		}
	})
	t.Logf("%d drawn policies could be said", said)
}
