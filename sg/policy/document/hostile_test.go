package document_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy/document"
)

// TestNoDocument: what is no JSON object is one fault, with its place.
func TestNoDocument(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "invalid: line 1, column 1: the document ends too early",
		"\n\n":                         "invalid: line 3, column 1: the document ends too early",
		"{":                            "invalid: line 1, column 2: the document ends too early",
		"{\n\"profile\": \"str":        "invalid: line 2, column 16: the document ends too early",
		"{\n\"profile\": \"strict\"\n": "invalid: line 3, column 1: the document ends too early",
		"{\"profile\": \"strict\"}\n;": "invalid: line 2, column 1: invalid character ';' after top-level value",
		"{\n  \"profile\": 'strict'}":  "invalid: line 2, column 14: invalid character '\\'' looking for beginning of value",
		"[]":                           "invalid: want a JSON object, not an array",
		"null":                         "invalid: want a JSON object, not null",
		"\x00":                         "invalid: line 1, column 1: invalid character '\\x00' looking for beginning of value",
		"\xff\xfe{\x00}\x00":           "invalid: line 1, column 1: not valid UTF-8",
		`{"profile":` + strings.Repeat(`{"a":[`, 100_000): "invalid: line 1, column 108: nested deeper than 32",
	} {
		_, err := decode(text)
		require.EqualError(t, err, want, "%.60q", text)
		require.Len(t, lines(t, err), 1)
	}
}

// TestTruncated cuts a good document everywhere: never a panic, never a
// policy, always a place.
func TestTruncated(t *testing.T) {
	mustDecode(t, full)
	for n := range len(full) {
		_, err := decode(full[:n])
		require.ErrorContains(t, err, "the document ends too early", "%d", n)
		require.ErrorContains(t, err, fmt.Sprintf("line %d, column ", 1+strings.Count(full[:n], "\n")))
	}
}

func TestRead(t *testing.T) {
	s, err := document.Read(iotest.OneByteReader(strings.NewReader(full)), options())
	require.NoError(t, err)
	require.Equal(t, 2, s.Size().Groups)
	boom := errors.New("boom")
	_, err = document.Read(iotest.ErrReader(boom), options())
	require.ErrorIs(t, err, boom)
	_, err = document.Read(io.MultiReader(strings.NewReader("{"), endless{}), options())
	require.ErrorIs(t, err, sg.ErrQuota)
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// checkError checks what holds for every error of Decode: an Errors, one line
// of bounded length per fault, in order.
func checkError(t testing.TB, err error) {
	var all sg.Errors
	if !errors.As(err, &all) || len(all) == 0 || len(all) > 1001 {
		t.Fatalf("no good Errors: %v", err)
	}
	for _, f := range all {
		line := f.Error()
		if len(line) > 4000 || !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) || f.Err == nil {
			t.Fatalf("a fault is written as %d bytes: %q", len(line), line)
		}
		if strings.Contains(f.Detail, "\x7f") || strings.HasPrefix(f.Path, "groups[") || strings.HasPrefix(f.Path, "sets[") || strings.HasPrefix(f.Path, "interfaces[\"") {
			t.Fatalf("not of the document: %q", line)
		}
	}
}

// TestHostileSize: large documents that are made to be dear. What they cost
// stays in proportion to their size.
func TestHostileSize(t *testing.T) {
	if testing.Short() {
		t.Skip("large documents")
	}
	const size = 1 << 18
	fill := func(before, element, after string) string {
		return before + strings.Repeat(element+",", size/(len(element)+1)) + element + after
	}
	numbered := func(before, format, after string) string {
		var b strings.Builder
		b.WriteString(before)
		for n := 0; b.Len() < size; n++ {
			if n > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.ReplaceAll(format, "#", fmt.Sprint(n)))
		}
		return b.String() + after
	}
	group := `{"profile": "strict", "security_groups": [{"id": "g", "name": "g", "inbound_rules": [`
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"numbers for groups":  {fill(`{"profile": "strict", "security_groups": [`, `1`, `]}`), false},
		"empty groups":        {fill(`{"profile": "strict", "security_groups": [`, `{}`, `]}`), false},
		"numbers for strings": {fill(`{"profile": "strict", "interfaces": [{"id": "i", "exempt": [`, `1`, `]}]}`), false},
		"unknown":             {fill(`{"profile": "strict", "x": [`, `1`, `]}`), false},
		"one repeated key":    {fill(`{"profile": "strict"`+",", `"":1`, `}`), false},
		"many keys":           {numbered(`{"profile": "strict",`, `"#":1`, `}`), false},
		"same rule":           {fill(group, `{"protocol":"any","source":"any"}`, `]}]}`), false},
		"same name":           {numbered(`{"profile": "strict", "security_groups": [`, `{"id":"g#","name":"x","inbound_rules":[{"protocol":"any","source":"@x"}]}`, `]}`), false},
		"same addresses":      {fill(`{"profile": "strict", "interfaces": [{"id": "i", "addresses": [`, `"::1"`, `]}]}`), false},
		"a long string":       {`{"profile": "` + strings.Repeat("x", size) + `"}`, false},
		"a long key":          {`{"` + strings.Repeat("x", size) + `": 1}`, false},
		"honest rules":        {numbered(group, `{"protocol": "tcp", "port_range": "#", "source": "10.0.0.0/8", "description": "what it is for"}`, `]}]}`), false}, // 65536 and above
		"ten megabytes":       {tenMegabytes(), true},
		"honest groups":       {numbered(`{"profile": "strict", "security_groups": [`, `{"id": "sg-#", "name": "sg-#", "inbound_rules": [{"id": "r", "protocol": "tcp", "port_range": "443", "source": "sg-#"}]}`, `]}`), true},
		"honest interfaces":   {numbered(`{"profile": "strict", "interfaces": [`, `{"id": "i-#", "vpc_id": "vpc-1", "addresses": ["fd00::#"]}`, `]}`), false}, // fd00::10000 and above
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decode(c.text)
			runtime.ReadMemStats(&after)
			perByte := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(c.text))
			require.Less(t, perByte, 300.0, "bytes allocated per byte")
			if c.ok {
				require.NoError(t, err)
				return
			}
			if err != nil {
				checkError(t, err)
			}
		})
	}
}

// tenMegabytes is an honest document: 200 groups of 250 rules each.
func tenMegabytes() string {
	var b strings.Builder
	b.WriteString(`{"profile": "strict", "security_groups": [`)
	for g := range 200 {
		fmt.Fprintf(&b, "%s{\"id\": \"sg-%d\", \"name\": \"n%d\", \"inbound_rules\": [", strings.Repeat(",", min(g, 1)), g, g)
		for r := range 250 {
			fmt.Fprintf(&b, `%s{"id": "r%d", "protocol": "tcp", "port_range": "%d", "source": "sg-%d", "description": "%0150d"}`,
				strings.Repeat(",", min(r, 1)), r, r+1, (g+r)%200, r)
		}
		b.WriteString("]}")
	}
	return b.String() + "]}"
}

func TestManyFaultsAreCut(t *testing.T) {
	_, err := decode(`{"profile": "strict", "security_groups": [` + strings.Repeat("1,", 1500) + `1]}`)
	all := lines(t, err)
	require.Len(t, all, 1001)
	require.Equal(t, ": invalid", all[0])
	require.ErrorContains(t, err, "not more than 1000 faults are told")
	require.Equal(t, "security_groups[999]: invalid", all[1000])

	_, err = decode(`{"profile": "strict", "interfaces": [{"id": "i", "security_group_ids": ["` + strings.Repeat(`x","`, 1500) + `"]}]}`)
	require.Len(t, lines(t, err), 1001, "those of package policy, too")
}

// FuzzDecode: never a panic; an error says something; what is accepted is
// valid and is written and read again as the same.
func FuzzDecode(f *testing.F) {
	faulty, err := os.ReadFile("testdata/faults.json")
	require.NoError(f, err)
	f.Add([]byte(packageDoc))
	f.Add([]byte(whole()))
	f.Add([]byte(full))
	f.Add(faulty)
	f.Add([]byte(replay))
	for _, spoil := range [][2]string{
		{`"443"`, `443`}, {`"sg-web"`, `"10.0.0.1"`}, {`"tcp"`, `"any"`}, {`"id": "https", `, ``}, {`"aws"`, `"nfyio"`}, {`"vpc-1"`, `null`},
		{`"name"`, `"id"`}, {`"0.0.0.0/0"`, `"@web"`}, {`"sg-db"`, `"\u007fsecurity_groups[0]"`}, {`[`, `[{},`}, {`"`, `"\ud800`},
	} {
		f.Add([]byte(strings.ReplaceAll(whole(), spoil[0], spoil[1])))
		f.Add([]byte(strings.Replace(whole(), spoil[0], spoil[1], 1)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := document.Decode(b, options())
		if err != nil {
			checkError(t, err)
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		first, err := document.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := document.Decode(first, options())
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		second, err := document.Encode(back)
		if err != nil || !bytes.Equal(first, second) || meaning(back) != meaning(s) {
			t.Fatalf("%s\nis written again as\n%s\n%v", first, second, err)
		}
	})
}

// replay is examples/replay/testdata/policy.json, made small.
const replay = `{"profile": "aws", "security_groups": [
 {"id": "sg-web", "name": "web", "vpc_id": "vpc-1", "owner": "", "stateful": true,
  "inbound_rules": [
   {"id": "http6", "protocol": "tcp", "port_range": "80", "source": "::/0", "description": "over IPv6"},
   {"id": "ssh", "protocol": "tcp", "port_range": "22", "source": "ips-office"},
   {"id": "ping", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0, "source": "0.0.0.0/0"},
   {"protocol": "icmpv6", "icmp_type": 128, "source": "2001:db8::/64"}],
  "outbound_rules": [{"id": "db", "protocol": "tcp", "port_range": "5432", "destination": "@db"}]},
 {"id": "sg-db", "name": "db", "vpc_id": "vpc-1", "inbound_rules": [{"protocol": "tcp", "port_range": "5432", "source": "sg-web"}], "outbound_rules": []}],
 "ip_sets": [{"id": "ips-office", "name": "office", "ip_version": "ipv4", "entries": [{"cidr": "198.51.100.0/24", "description": "bastion"}]}],
 "interfaces": [{"id": "db-1", "vpc_id": "vpc-1", "addresses": ["10.0.0.9", "fd00::9"], "security_group_ids": ["sg-db"], "exempt": []}]}`
