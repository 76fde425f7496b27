package document_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy/document"
)

// TestManyFaults: all at once, each once, in order, and nothing else: API-03.
func TestManyFaults(t *testing.T) {
	b, err := os.ReadFile("testdata/faults.json")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/faults.golden")
	require.NoError(t, err)
	_, err = document.Decode(b, options())
	require.Error(t, err)
	require.Equal(t, string(want), err.Error()+"\n")
}

// edit replaces the field at path of a decoded JSON value; a value of nil
// removes it.
func edit(t *testing.T, v any, path []any, value any) any {
	t.Helper()
	switch at := path[0].(type) {
	case int:
		list := v.([]any)
		if len(path) == 1 {
			list[at] = value
		} else {
			list[at] = edit(t, list[at], path[1:], value)
		}
		return list
	case string:
		m := v.(map[string]any)
		switch {
		case len(path) > 1:
			m[at] = edit(t, m[at], path[1:], value)
		case value == nil:
			delete(m, at)
		default:
			m[at] = value
		}
		return m
	}
	t.Fatal("no path")
	return nil
}

func pathText(path []any) string {
	text := ""
	for _, p := range path {
		switch p := p.(type) {
		case int:
			text += fmt.Sprintf("[%d]", p)
		case string:
			text = sg.JoinPath(text, p)
		}
	}
	return text
}

const full = `{"profile": "strict",
 "security_groups": [
  {"id": "g", "name": "g", "description": "d", "vpc_id": "v", "owner": "ann", "stateful": true,
   "inbound_rules": [
    {"id": "r", "protocol": "tcp", "port_range": "443", "ip_version": "ipv4", "source": "10.0.0.0/8", "description": "d"},
    {"id": "p", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0, "source": "any", "description": "d"}],
   "outbound_rules": [{"id": "o", "protocol": "tcp", "port_range": "443", "destination": "any", "description": "d"}]},
  {"id": "h", "name": "h", "vpc_id": "w"}],
 "ip_sets": [{"id": "s", "name": "s", "description": "d", "vpc_id": "v", "owner": "ann", "ip_version": "ipv4",
   "entries": [{"cidr": "10.0.0.0/8", "description": "d"}]}],
 "interfaces": [{"id": "i", "vpc_id": "v", "owner": "ann", "kind": "vm", "addresses": ["10.0.0.1", "fd00::1"], "security_group_ids": ["g"],
   "exempt": ["smtp"], "source_guard": true, "allowed_addresses": ["0.0.0.0/0"]}]}`

type jsonValue = json.RawMessage

func raw(s string) jsonValue { return jsonValue(s) }

// one spoils one field of full.
func one(t *testing.T, path []any, value any) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(full), &v))
	b, err := json.Marshal(edit(t, v, path, value))
	require.NoError(t, err)
	return string(b)
}

// TestOneFault: each field's fault alone gives exactly one error, at its path.
func TestOneFault(t *testing.T) {
	mustDecode(t, full)
	group, other := []any{"security_groups", 0}, []any{"security_groups", 1}
	rule := append(group, "inbound_rules", 0)
	icmp := append(group[:2:2], "inbound_rules", 1)
	out := append(group[:2:2], "outbound_rules", 0)
	set, entry, iface := []any{"ip_sets", 0}, []any{"ip_sets", 0, "entries", 0}, []any{"interfaces", 0}
	long, control, notUTF8 := strings.Repeat("x", 256), "a\nb", "\x00"
	for _, c := range []struct {
		at    []any
		field any
		kind  error
		bad   []any // nil removes the field
	}{
		{nil, "profile", sg.ErrRequired, []any{nil, ""}},
		{nil, "profile", sg.ErrNotFound, []any{"oracle", "aws ", "ſtrict"}},
		{other, "id", sg.ErrRequired, []any{nil, ""}},
		{other, "id", sg.ErrInvalid, []any{long, control, notUTF8, "10.0.0.1", "@x", "any"}},
		{group, "name", sg.ErrRequired, []any{nil, ""}},
		{group, "name", sg.ErrInvalid, []any{long, control, notUTF8}},
		{rule, "id", sg.ErrRequired, []any{""}},
		{rule, "id", sg.ErrInvalid, []any{long, control}},
		{rule, "id", sg.ErrDuplicate, nil},
		{rule, "protocol", sg.ErrRequired, []any{nil, ""}},
		{rule, "protocol", sg.ErrInvalid, []any{"tpc", " tcp", "256", "-1", "0", "06", "ᴛcp"}}, // API-02
		{rule, "port_range", sg.ErrRequired, []any{nil}},
		{rule, "port_range", sg.ErrInvalid, []any{"", "0", "65536", "80-79", "-1", "1-", "1,2", " 1", "080", "1-2-3"}},
		{icmp, "port_range", sg.ErrInvalid, []any{"80"}},
		{rule, "ip_version", sg.ErrInvalid, []any{"", "4", "ipv5", "IPv4 "}},
		{rule, "source", sg.ErrRequired, []any{nil, ""}},
		{rule, "source", sg.ErrInvalid, []any{"10.0.0.1/8", "010.0.0.0/8", "::ffff:10.0.0.0/104"}}, // API-01
		{rule, "source", sg.ErrFamily, []any{"fd00::/8"}},
		{rule, "source", sg.ErrNotFound, []any{"x", "@x"}},
		{rule, "destination", sg.ErrUnknown, []any{"any"}},
		{rule, "icmp_type", sg.ErrInvalid, []any{raw("8")}},
		{icmp, "icmp_type", sg.ErrInvalid, []any{raw("-1"), raw("256"), raw("8.0"), raw("1e1"), raw(`"8"`)}}, // ICMP-19
		{icmp, "icmp_code", sg.ErrInvalid, []any{raw("-1"), raw("256"), raw("true")}},
		{out, "destination", sg.ErrRequired, []any{nil}},
		{out, "destination", sg.ErrInvalid, []any{"1.2.3", "::/129"}},
		{set, "id", sg.ErrRequired, []any{nil, ""}},
		{set, "id", sg.ErrInvalid, []any{long, control, "::"}},
		{set, "id", sg.ErrDuplicate, []any{"g"}},
		{set, "name", sg.ErrRequired, []any{nil, ""}},
		{set, "name", sg.ErrInvalid, []any{long, control}},
		{set, "ip_version", sg.ErrInvalid, []any{"", "4"}},
		{entry, "cidr", sg.ErrRequired, []any{nil, ""}},
		{entry, "cidr", sg.ErrInvalid, []any{"10.0.0.1/8", "x", "1.2.3.4-1.2.3.9"}},
		{entry, "cidr", sg.ErrFamily, []any{"fd00::/8", "fd00::1"}},
		{iface, "id", sg.ErrRequired, []any{nil, ""}},
		{iface, "id", sg.ErrInvalid, []any{long, control}},
	} {
		path := append(c.at[:len(c.at):len(c.at)], c.field)
		bad := c.bad
		if c.kind == sg.ErrDuplicate && bad == nil {
			path, bad = append(icmp[:len(icmp):len(icmp)], "id"), []any{"r"}
		}
		for _, v := range bad {
			_, err := decode(one(t, path, v))
			require.Equal(t, []string{pathText(path) + ": " + c.kind.Error()}, lines(t, err), "%v = %q", path, v)
		}
	}

	for name, c := range map[string]struct {
		path []any
		v    any
		want string
	}{
		"no code without a type": {append(icmp, "icmp_type"), nil, "security_groups[0].inbound_rules[1].icmp_code: invalid"},
		"family of the protocol": {append(icmp, "ip_version"), "ipv6", "security_groups[0].inbound_rules[1].protocol: address family mismatch"},
		"unknown group":          {append(iface, "security_group_ids"), []string{"g", "x"}, "interfaces[0].security_group_ids[1]: not found"},
		"group of another VPC":   {append(iface, "security_group_ids"), []string{"h"}, "interfaces[0].security_group_ids[0]: invalid"},
		"group twice":            {append(iface, "security_group_ids"), []string{"g", "g"}, "interfaces[0].security_group_ids[1]: duplicate"},
		"group is a number":      {append(iface, "security_group_ids"), []any{"g", 7}, "interfaces[0].security_group_ids[1]: invalid"},
		"address":                {append(iface, "addresses"), []string{"10.0.0.1", "x"}, "interfaces[0].addresses[1]: invalid"},
		"address twice":          {append(iface, "addresses"), []string{"10.0.0.1", "10.0.0.1/32"}, "interfaces[0].addresses[1]: duplicate"},
		"every address":          {append(iface, "addresses"), []string{"0.0.0.0/0"}, "interfaces[0].addresses[0]: invalid"},
		"allowed address":        {append(iface, "allowed_addresses"), []string{"10.0.0.1/8"}, "interfaces[0].allowed_addresses[0]: invalid"},
		"exempt":                 {append(iface, "exempt"), []any{"x", nil}, "interfaces[0].exempt[1]: invalid"},
		"rule of another VPC":    {append(rule, "source"), "s", ""},
		"same name":              {[]any{"security_groups", 1}, map[string]any{"id": "h", "name": "g", "vpc_id": "v", "owner": "ann"}, "security_groups[1].name: duplicate"},
		"no object":              {[]any{"security_groups", 1}, "h", "security_groups[1]: invalid"},
		"no rule":                {append(group[:2:2], "inbound_rules", 1), []any{}, "security_groups[0].inbound_rules[1]: invalid"},
		"no entry":               {entry, "10.0.0.0/8", "ip_sets[0].entries[0]: invalid"},
		"no interface":           {iface, nil, "interfaces[0]: invalid"},
		"the other end":          {rule, map[string]any{"id": "r", "protocol": "any", "destination": "any"}, "security_groups[0].inbound_rules[0].destination: invalid"},
		"the other end, number":  {rule, map[string]any{"id": "r", "protocol": "any", "destination": 7}, "security_groups[0].inbound_rules[0].destination: invalid"},
		"same rule":              {append(out, "destination"), "any", ""},
	} {
		_, err := decode(one(t, c.path, c.v))
		require.Equal(t, c.want, strings.Join(lines(t, err), "\n"), name)
	}
}

// TestWrongTypes puts every kind of value at every field, and null.
func TestWrongTypes(t *testing.T) {
	kinds := map[string]string{"a string": `"ipv4"`, "a number": "7", "a boolean": "true", "null": "null", "an array": "[]", "an object": "{}"}
	var visit func(v any, path []any)
	visit = func(v any, path []any) {
		kind := ""
		switch v := v.(type) {
		case string:
			kind = "a string"
		case float64:
			kind = "a number"
		case bool:
			kind = "a boolean"
		case []any:
			kind = "an array"
			for i, x := range v {
				visit(x, append(path[:len(path):len(path)], i))
			}
		case map[string]any:
			kind = "an object"
			for k, x := range v {
				visit(x, append(path[:len(path):len(path)], k))
			}
		}
		for other, text := range kinds {
			if len(path) == 0 || other == kind {
				continue
			}
			_, err := decode(one(t, path, raw(text)))
			var all sg.Errors
			require.ErrorAs(t, err, &all, "%v = %s", path, text)
			want := pathText(path) + ": invalid: want " + kind + ", not " + other
			found := 0
			for _, f := range all {
				switch {
				case f.Error() == want:
					found++
				case strings.HasPrefix(f.Path, pathText(path)): // below or at the same place
					t.Errorf("%v = %s: also %v", path, text, f)
				}
			}
			require.Equal(t, 1, found, "%v = %s: %v", path, text, err)
			if last := path[len(path)-1]; last != "id" && last != "vpc_id" && pathText(path) != "security_groups" && pathText(path) != "security_groups[0]" {
				require.Len(t, all, 1, "%v = %s: %v", path, text, err)
			}
		}
	}
	var v any
	require.NoError(t, json.Unmarshal([]byte(full), &v))
	visit(v, nil)
}

// TestBrokenRulesAreNoDuplicates: what could not be read is not compared.
func TestBrokenRulesAreNoDuplicates(t *testing.T) {
	for text, want := range map[string][]string{
		`{"protocol": "any", "source": "x"}, {"protocol": "any", "source": "y"}`:                                                           {"[0].source: not found", "[1].source: not found"},
		`{"protocol": "any", "source": "any", "ip_version": "x"}, {"protocol": "any", "source": "any"}`:                                    {"[0].ip_version: invalid"},
		`{"protocol": "any", "source": "any"}, {"protocol": "any", "source": "any", "ip_version": "x"}`:                                    {"[1].ip_version: invalid"},
		`{"protocol": "x", "source": "any"}, {"protocol": "y", "source": "any"}, {"source": "any"}`:                                        {"[0].protocol: invalid", "[1].protocol: invalid", "[2].protocol: required"},
		`{"protocol": "any", "source": "any"}, {"protocol": "any", "source": "any"}`:                                                       {"[1]: duplicate"},
		`{"protocol": "any", "source": "any", "id": "a"}, {"protocol": "tcp", "port_range": "all", "source": "any", "id": "a"}`:            {"[1].id: duplicate"},
		`{"protocol": "any", "source": "any", "note": ""}, {"protocol": "any", "source": "any"}`:                                           {"[0].note: unknown field"},
		`{"protocol": "any", "destination": "any"}, {"protocol": "any", "destination": "any"}`:                                             {"[0].destination: invalid", "[1].destination: invalid"},
		`{"protocol": "tcp", "source": "any", "port_range": "x"}, {"protocol": "tcp", "source": "any", "port_range": "y"}, "x", "y", null`: {"[0].port_range: invalid", "[1].port_range: invalid", "[2]: invalid", "[3]: invalid", "[4]: invalid"},
	} {
		_, err := decode(`{"profile": "strict", "security_groups": [{"id": "g", "name": "g", "inbound_rules": [` + text + `]}]}`)
		var paths []string
		for _, w := range want {
			paths = append(paths, "security_groups[0].inbound_rules"+w)
		}
		require.Equal(t, paths, lines(t, err), text)
	}
}

// TestDetailsAreOfTheDocument: a fault never speaks of places or ids that the
// reader did not write.
func TestDetailsAreOfTheDocument(t *testing.T) {
	_, err := decode(`{"profile": "strict", "security_groups": [
		{"id": "g", "name": "g", "inbound_rules": [{"protocol": "any", "source": "any"}], "outbound_rules": [
			{"id": "a", "protocol": "any", "destination": "any"}, {"id": "a", "protocol": "1", "destination": "any"}, {"protocol": "any", "destination": "any"}]},
		{"name": "g"}]}`)
	require.EqualError(t, err, `security_groups[0].outbound_rules[1].id: duplicate "a": as outbound_rules[0]
security_groups[0].outbound_rules[2]: duplicate: same traffic as rule "a"
security_groups[1].id: required
security_groups[1].name: duplicate "g": taken by group g of the same VPC`)
}

// TestQuotaPaths: limits stand at the list that is too long.
func TestQuotaPaths(t *testing.T) {
	p := sg.Profile{Name: "p", Quota: sg.Quota{GroupsPerInterface: 1, RulesPerGroup: 2, RulesPerInterface: 2, GroupsPerOwner: 1, EntriesPerSet: 1, RulesPerDirection: 1}}
	o := document.Options{Profiles: func(string) (sg.Profile, bool) { return p, true }}
	_, err := document.Decode([]byte(`{"profile": "p", "security_groups": [
		{"id": "g", "name": "g", "owner": "ann", "inbound_rules": [{"protocol": "any", "source": "1.1.1.1"}], "outbound_rules": [
			{"protocol": "any", "destination": "1.1.1.1"}, {"protocol": "any", "destination": "2.2.2.2"}]}, {"id": "h", "name": "h", "owner": "ann"}],
		"ip_sets": [{"id": "s", "name": "s", "entries": [{"cidr": "1.1.1.1"}, {"cidr": "2.2.2.2"}]}],
		"interfaces": [{"id": "i", "security_group_ids": ["g", "h"]}]}`), o)
	require.EqualError(t, err, `interfaces[0].security_group_ids: quota exceeded "2": groups per interface: limit 1, usage 2
interfaces[0].security_group_ids: quota exceeded "3": rules per interface: limit 2, usage 3
ip_sets[0].entries: quota exceeded "2": entries per set: limit 1, usage 2
security_groups[0]: quota exceeded "3": rules per group: limit 2, usage 3
security_groups[0].outbound_rules: quota exceeded "2": egress rules per group for ipv4: limit 1, usage 2
security_groups[1].owner: quota exceeded "2": groups per owner: limit 1, usage 2`)
}

func TestProfileOption(t *testing.T) {
	o := options()
	o.Profile = "nfyio"
	for _, text := range []string{`{"profile": "aws"}`, `{"profile": "no such"}`, `{}`} {
		s, err := document.Decode([]byte(text), o)
		require.NoError(t, err, text)
		require.Equal(t, "nfyio", s.Profile().Name)
	}
	_, err := document.Decode([]byte(`{"profile": 7}`), o)
	require.Equal(t, []string{"profile: invalid"}, lines(t, err))
	o.Profile = "nope"
	_, err = document.Decode([]byte(`{"profile": "aws"}`), o)
	require.Equal(t, []string{"profile: not found"}, lines(t, err))
	_, err = document.Decode([]byte(`{"profile": "aws"}`), document.Options{})
	require.Equal(t, []string{"profile: required"}, lines(t, err), "Options.Profiles is")
	bad := document.Options{Profiles: func(string) (sg.Profile, bool) { return sg.Profile{Name: "p", Unattached: 7}, true }}
	_, err = document.Decode([]byte(`{"profile": "p"}`), bad)
	require.Equal(t, []string{"profile.unattached: invalid"}, lines(t, err))
}
