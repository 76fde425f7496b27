package ipset_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// IP-05 to IP-07, IP-11: partial success, each line accounted for.
func TestAddLines(t *testing.T) {
	s := setOf(t, "192.0.2.0/24")
	text := "# office\n" + // 1
		"\n" + // 2
		"192.0.2.7\n" + // 3
		"  198.51.100.0/24\t# branch # two  \r\n" + // 4
		"192.0.2.0/24 # again\r" + // 5
		"192.0.2.7/32\n" + // 6
		"198.51.100.1/24\n" + // 7
		"2001:db8::/32\n" + // 8
		"10.0.0.0/8 172.16.0.0/12\n" + // 9
		"host.example" // 10, without an end
	r := s.AddLines(text)
	require.Equal(t, []netip.Prefix{pfx("192.0.2.7/32"), pfx("198.51.100.0/24")}, r.Added)

	type line struct {
		number int
		text   string
		kind   error
	}
	lines := func(in []ipset.Line) (out []line) {
		for _, l := range in {
			out = append(out, line{l.Number, l.Text, errors.Unwrap(l.Err)})
		}
		return out
	}
	require.Equal(t, []line{{5, "192.0.2.0/24", sg.ErrDuplicate}, {6, "192.0.2.7/32", sg.ErrDuplicate}}, lines(r.Duplicates))
	require.Equal(t, []line{
		{7, "198.51.100.1/24", sg.ErrInvalid}, {8, "2001:db8::/32", sg.ErrFamily},
		{9, "10.0.0.0/8 172.16.0.0/12", sg.ErrInvalid}, {10, "host.example", sg.ErrInvalid},
	}, lines(r.Invalid))

	require.True(t, s.HasEntry(ipset.Entry{Prefix: pfx("198.51.100.0/24"), Description: "branch # two"})) // IP-04
	require.True(t, s.HasEntry(ipset.Entry{Prefix: pfx("192.0.2.0/24")}), "a duplicate does not change the description")
	require.Equal(t, 3, s.Len())

	require.EqualError(t, r.Err(), `line[7]: invalid "198.51.100.1/24": has host bits; did you mean 198.51.100.0/24?
line[8]: address family mismatch "2001:db8::/32": the set is for ipv4
line[9]: invalid "10.0.0.0/8 172.16.0.0/12": want an address or a CIDR
line[10]: invalid "host.example": want an address or a CIDR`)
	require.ErrorIs(t, r.Err(), sg.ErrFamily)
	require.NotErrorIs(t, r.Err(), sg.ErrDuplicate, "duplicates are skipped silently")
}

func TestAddLinesWithoutFaults(t *testing.T) {
	var s ipset.Set
	r := s.AddLines("192.0.2.0/24\n192.0.2.0/24\n")
	require.NoError(t, r.Err(), "a duplicate is no fault")
	require.Len(t, r.Added, 1)
	require.Len(t, r.Duplicates, 1)
	for _, text := range []string{"", "\n", "\r", "\r\n\r\n", "#", " # only a note", "\n\n#192.0.2.9\n"} {
		require.Empty(t, s.AddLines(text), "%q", text)
	}
	require.NoError(t, ipset.Report{}.Err())
}

// The first line fixes the family of a set that has none.
func TestAddLinesFixesFamily(t *testing.T) {
	var s ipset.Set
	r := s.AddLines("bad\n2001:db8::1\n192.0.2.1\n")
	require.Equal(t, []netip.Prefix{pfx("2001:db8::1/128")}, r.Added)
	require.Len(t, r.Invalid, 2)
	require.ErrorIs(t, r.Invalid[1].Err, sg.ErrFamily)
	require.Equal(t, sg.IPv6, s.Family())
}

func TestAddLinesNumbersLines(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		var s ipset.Set
		r := s.AddLines(strings.Join([]string{"x", "", "y", "#", "z", ""}, end))
		var got []int
		for _, l := range r.Invalid {
			got = append(got, l.Number)
		}
		require.Equal(t, []int{1, 3, 5}, got, "%q", end)
	}
}

// API-04: hostile lines are told in bounded, valid text.
func TestAddLinesHostile(t *testing.T) {
	for _, line := range []string{
		strings.Repeat("1", 10_000), strings.Repeat("世", 10_000), "\xff\xfe192.0.2.1", strings.Repeat("\xff", 10_000),
		"192.0.2.1\x00", "192.0.2.1\x1b[2J", "192.0.2.1\u2028", `192.0.2.1"; drop`, "\ufeff192.0.2.1", "::1%" + strings.Repeat("z", 10_000),
	} {
		var s ipset.Set
		r := s.AddLines(line)
		if strings.HasSuffix(line, "\u2028") { // a blank, as Unicode has it
			require.Len(t, r.Added, 1)
			continue
		}
		require.Len(t, r.Invalid, 1, "%.20q", line)
		l := r.Invalid[0]
		require.ErrorIs(t, l.Err, sg.ErrInvalid)
		require.LessOrEqual(t, len(l.Text), 80)
		require.True(t, utf8.ValidString(l.Text))
		require.Less(t, len(r.Err().Error()), 1000)
		require.NotContains(t, r.Err().Error(), "\x1b")
		require.Zero(t, s.Len())
	}
}

// fataler is what rapid and testing share.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkAddLines adds text to s and checks the report: each line that is
// neither blank nor a comment is told exactly once, what is told as added is
// new and was added, and s then equals the map m, to which the lines were
// added by other means.
func checkAddLines(t fataler, text string, s *ipset.Set, m *model) ipset.Report {
	t.Helper()
	old := make(map[netip.Prefix]bool)
	for e := range s.All() {
		old[e.Prefix] = true
	}
	r := s.AddLines(text)
	if r.Err() == nil != (len(r.Invalid) == 0) {
		t.Fatalf("Err is %v for %d invalid lines", r.Err(), len(r.Invalid))
	}

	added, duplicates, invalid := r.Added, r.Duplicates, r.Invalid
	for i, line := range splitLines(text) {
		entry, note, _ := strings.Cut(line, "#")
		entry, note = strings.TrimSpace(entry), strings.TrimSpace(note)
		if entry == "" {
			continue
		}
		p, err := naiveParse(entry)
		if err == nil {
			err = m.add(ipset.Entry{Prefix: p, Description: note})
		}
		switch err {
		case nil:
			if len(added) == 0 || added[0] != p || !s.Has(p) || old[p] {
				t.Fatalf("line %d, %q: not told as added", i+1, line)
			}
			added = added[1:]
		case sg.ErrDuplicate:
			checkLine(t, duplicates, i+1, entry, err)
			duplicates = duplicates[1:]
		default:
			checkLine(t, invalid, i+1, entry, err)
			invalid = invalid[1:]
		}
	}
	if len(added)+len(duplicates)+len(invalid) > 0 {
		t.Fatalf("told without a line: %v, %v, %v", added, duplicates, invalid)
	}
	if s.Len() != len(m.entries) || s.Family() != m.family {
		t.Fatalf("%d entries of %v, want %d of %v", s.Len(), s.Family(), len(m.entries), m.family)
	}
	for e := range s.All() {
		if d, ok := m.entries[e.Prefix]; !ok || d != e.Description {
			t.Fatalf("entry %v, want %q, %v", e, d, ok)
		}
	}
	return r
}

func checkLine(t fataler, told []ipset.Line, number int, entry string, kind error) {
	t.Helper()
	if len(told) == 0 || told[0].Number != number || !errors.Is(told[0].Err, kind) {
		t.Fatalf("line %d, %q, is not told as %v: %v", number, entry, kind, told)
	}
	text := told[0].Text
	if len(text) > 80 || !utf8.ValidString(text) || utf8.ValidString(entry) && !strings.HasPrefix(entry, text) {
		t.Fatalf("line %d, %q, is told with text %q", number, entry, text)
	}
}

// splitLines splits at LF, CRLF and CR, byte by byte.
func splitLines(text string) []string {
	var lines []string
	start := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n' && i > 0 && text[i-1] == '\r':
			start = i + 1
		case c == '\n' || c == '\r':
			lines = append(lines, text[start:i])
			start = i + 1
		}
	}
	return append(lines, text[start:])
}

// naiveParse reads an address or prefix with net/netip alone; model.add judges it.
func naiveParse(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, sg.ErrInvalid
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// IP-06, IP-07, API-01: whatever the text, each line is accounted for; adding
// it again adds nothing; writing the set out and reading it gives the set.
func FuzzAddLines(f *testing.F) {
	for _, s := range []string{
		"", "192.0.2.1\n192.0.2.0/24 # x\r\n192.0.2.1/32\r#\n", "::1\n192.0.2.1\n", "192.0.2.1/24\nfe80::1%eth0\n::ffff:1.2.3.4",
		"\ufeff192.0.2.1", "192.0.2.1\xff", "192.0.2.1 # a\x00b", "\r\r\n\n", "0.0.0.0/0\n::/0", "192.0.2.1#\u2028", "2001:DB8::/32\n2001:db8::/32",
	} {
		f.Add(s, byte(0))
		f.Add(s, byte(6))
	}
	f.Fuzz(func(t *testing.T, text string, family byte) {
		fam := sg.Family(family)
		if !fam.Valid() {
			fam = sg.FamilyAny
		}
		s, m := ipset.New("s", fam, sg.Global()), &model{fam, map[netip.Prefix]string{}}
		before := s.Clone()
		checkAddLines(t, text, s, m)
		if before.Len() != 0 {
			t.Fatalf("a clone got %d entries", before.Len())
		}

		if again := s.Clone().AddLines(text); len(again.Added) > 0 {
			t.Fatalf("adding again added %v", again.Added)
		}
		var out strings.Builder
		for _, p := range slices.SortedFunc(maps.Keys(m.entries), netip.Prefix.Compare) {
			fmt.Fprintf(&out, "%s # %s\n", p, m.entries[p])
		}
		back := ipset.New("s", fam, sg.Global())
		if r := back.AddLines(out.String()); r.Err() != nil || len(r.Duplicates) > 0 {
			t.Fatalf("reading back: %v", r)
		}
		if !slices.Equal(slices.Collect(back.All()), slices.Collect(s.All())) {
			t.Fatalf("%q reads back as another set", out.String())
		}
	})
}

func ExampleSet_AddLines() {
	office := ipset.New("office", sg.IPv4, sg.Global())
	report := office.AddLines(`
# head office
192.0.2.0/24      # first floor
198.51.100.7
192.0.2.0/24
198.51.100.7/24
2001:db8::/32
`)
	fmt.Println("added:", report.Added)
	for _, l := range report.Duplicates {
		fmt.Println("skipped, line", l.Number, l.Text)
	}
	fmt.Println(report.Err())
	for e := range office.All() {
		fmt.Println(e.Prefix, e.Description)
	}
	// Output:
	// added: [192.0.2.0/24 198.51.100.7/32]
	// skipped, line 5 192.0.2.0/24
	// line[6]: invalid "198.51.100.7/24": has host bits; did you mean 198.51.100.0/24?
	// line[7]: address family mismatch "2001:db8::/32": the set is for ipv4
	// 192.0.2.0/24 first floor
	// 198.51.100.7/32
}
