package ipset_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func setOf(t testing.TB, prefixes ...string) *ipset.Set {
	t.Helper()
	s := new(ipset.Set)
	for _, p := range prefixes {
		require.NoError(t, s.Add(ipset.Entry{Prefix: pfx(p)}))
	}
	return s
}

// IP-05, API-01: bare addresses become /32 or /128; one prefix has one
// spelling.
func TestParseEntry(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "192.0.2.0/24": "192.0.2.0/24", "0.0.0.0/0": "0.0.0.0/0",
		"2001:DB8::1": "2001:db8::1/128", "2001:db8::/32": "2001:db8::/32", "::/0": "::/0",
	} {
		p, err := ipset.ParseEntry(in)
		require.NoError(t, err)
		require.Equal(t, pfx(want), p)
	}
	for _, in := range []string{"", " 192.0.2.1", "192.0.2.1/24", "::ffff:192.0.2.1", "fe80::1%eth0", "192.0.2.01", "192.0.2.0/33", "host.example"} {
		_, err := ipset.ParseEntry(in)
		require.ErrorIs(t, err, sg.ErrInvalid, in)
	}
}

// IP-01: the zero value is an empty set ready for use, for reading too.
func TestZeroSet(t *testing.T) {
	var s ipset.Set
	require.Zero(t, s.Len())
	require.Equal(t, sg.FamilyAny, s.Family())
	require.False(t, s.Has(pfx("0.0.0.0/0")))
	require.False(t, s.HasEntry(ipset.Entry{Prefix: pfx("0.0.0.0/0")}))
	require.False(t, s.HasEntry(ipset.Entry{}))
	require.False(t, s.Contains(netip.MustParseAddr("192.0.2.1")))
	require.False(t, s.Remove(pfx("0.0.0.0/0")))
	require.Empty(t, slices.Collect(s.All()))
	require.Empty(t, slices.Collect(s.Merged()))
	require.Empty(t, s.AddLines(""))
	require.NoError(t, s.SetFamily(sg.FamilyAny))

	c := s.Clone()
	require.NoError(t, c.Add(ipset.Entry{Prefix: pfx("192.0.2.0/24")}))
	require.Zero(t, s.Len(), "an empty set shares nothing with its clone")
	require.NoError(t, s.Add(ipset.Entry{Prefix: pfx("2001:db8::/32")}))
	require.Equal(t, sg.IPv6, s.Family(), "the first entry fixes the family")
	require.Equal(t, sg.IPv4, c.Family())
}

// IP-02, IP-03: fields of a new set.
func TestNew(t *testing.T) {
	s := ipset.New("office", sg.IPv6, sg.User("alice"))
	require.Equal(t, sg.SetID("office"), s.ID)
	require.Equal(t, "office", s.Name)
	require.Equal(t, sg.User("alice"), s.Scope)
	require.Equal(t, sg.IPv6, s.Family())
	require.NoError(t, s.Validate())
	require.Equal(t, sg.Global(), ipset.New("x", sg.IPv4, sg.User("")).Scope)
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		set  *ipset.Set
		want []string
		kind error
	}{
		"valid":          {ipset.New("office", sg.IPv4, sg.Global()), nil, nil},
		"family open":    {ipset.New("office", sg.FamilyAny, sg.Global()), nil, nil},
		"quotes":         {ipset.New(`"};`, sg.IPv4, sg.Global()), nil, nil},
		"no name":        {&ipset.Set{ID: "office"}, []string{"name"}, sg.ErrRequired},
		"zero":           {&ipset.Set{}, []string{"id", "name"}, sg.ErrRequired},
		"control in id":  {&ipset.Set{ID: "a\n", Name: "a"}, []string{"id"}, sg.ErrInvalid},
		"long name":      {&ipset.Set{ID: "a", Name: strings.Repeat("a", 10_000)}, []string{"name"}, sg.ErrInvalid},
		"unknown family": {ipset.New("office", 5, sg.Global()), []string{"ip_version"}, sg.ErrInvalid},
		"all":            {ipset.New("\xff", 5, sg.Global()), []string{"id", "ip_version", "name"}, sg.ErrInvalid},
	} {
		err := c.set.Validate()
		if c.want == nil {
			require.NoError(t, err, name)
			continue
		}
		var all sg.Errors
		require.ErrorAs(t, err, &all, name)
		var got []string
		for _, f := range all {
			require.ErrorIs(t, f, c.kind, name)
			got = append(got, f.Path)
		}
		require.Equal(t, c.want, got, name)
		require.Less(t, len(err.Error()), 1000, name)
	}
}

func TestAdd(t *testing.T) {
	s := ipset.New("office", sg.IPv4, sg.Global())
	require.NoError(t, s.Add(ipset.Entry{Prefix: pfx("192.0.2.0/24"), Description: "head office"})) // IP-04
	require.True(t, s.HasEntry(ipset.Entry{Prefix: pfx("192.0.2.0/24"), Description: "head office"}))
	require.False(t, s.HasEntry(ipset.Entry{Prefix: pfx("192.0.2.0/24")}))

	for name, c := range map[string]struct {
		entry ipset.Entry
		kind  error
	}{
		"IP-07 again":                       {ipset.Entry{Prefix: pfx("192.0.2.0/24"), Description: "head office"}, sg.ErrDuplicate},
		"IP-07 again, another description":  {ipset.Entry{Prefix: pfx("192.0.2.0/24"), Description: "other"}, sg.ErrDuplicate},
		"IP-11 other family":                {ipset.Entry{Prefix: pfx("2001:db8::/32")}, sg.ErrFamily},
		"IP-11 other family, all addresses": {ipset.Entry{Prefix: pfx("::/0")}, sg.ErrFamily},
		"API-01 host bits":                  {ipset.Entry{Prefix: pfx("192.0.2.1/24")}, sg.ErrInvalid},
		"API-01 mapped":                     {ipset.Entry{Prefix: pfx("::ffff:192.0.2.0/120")}, sg.ErrInvalid},
		"zero":                              {ipset.Entry{}, sg.ErrInvalid},
		"zero with note":                    {ipset.Entry{Description: "x"}, sg.ErrInvalid},
	} {
		before := slices.Collect(s.All())
		require.ErrorIs(t, s.Add(c.entry), c.kind, name)
		require.Equal(t, before, slices.Collect(s.All()), "%s: a refused entry changes nothing", name)
		require.Equal(t, sg.IPv4, s.Family())
	}
	require.True(t, s.HasEntry(ipset.Entry{Prefix: pfx("192.0.2.0/24"), Description: "head office"}), "the first description stays")
	require.NoError(t, s.Add(ipset.Entry{Prefix: pfx("192.0.2.0/25")}), "a nested prefix is an entry of its own")
	require.Equal(t, 2, s.Len())

	var fresh ipset.Set
	require.Error(t, fresh.Add(ipset.Entry{Prefix: pfx("192.0.2.1/24")}))
	require.Equal(t, sg.FamilyAny, fresh.Family(), "a refused first entry does not fix the family")
}

// IP-08.
func TestRemove(t *testing.T) {
	s := setOf(t, "192.0.2.0/24", "192.0.2.0/25")
	require.False(t, s.Remove(pfx("192.0.2.0/26")), "exactly that prefix only")
	require.False(t, s.Remove(pfx("192.0.2.1/24")))
	require.False(t, s.Remove(netip.Prefix{}))
	require.True(t, s.Remove(pfx("192.0.2.0/24")))
	require.False(t, s.Remove(pfx("192.0.2.0/24")))
	require.True(t, s.Contains(netip.MustParseAddr("192.0.2.1")), "the nested entry remains")
	require.False(t, s.Contains(netip.MustParseAddr("192.0.2.128")))
}

// IP-09: the version is fixed while entries exist.
func TestSetFamily(t *testing.T) {
	s := setOf(t, "192.0.2.0/24")
	require.NoError(t, s.SetFamily(sg.IPv4), "no change is no fault")
	require.ErrorIs(t, s.SetFamily(sg.IPv6), sg.ErrInUse)
	require.ErrorIs(t, s.SetFamily(sg.FamilyAny), sg.ErrInUse)
	require.ErrorIs(t, s.SetFamily(5), sg.ErrInvalid)
	require.Equal(t, sg.IPv4, s.Family())

	require.True(t, s.Remove(pfx("192.0.2.0/24")))
	require.Equal(t, sg.IPv4, s.Family(), "the family outlives the entries")
	require.ErrorIs(t, s.Add(ipset.Entry{Prefix: pfx("::/0")}), sg.ErrFamily)
	require.ErrorIs(t, s.SetFamily(5), sg.ErrInvalid)
	require.NoError(t, s.SetFamily(sg.IPv6))
	require.NoError(t, s.Add(ipset.Entry{Prefix: pfx("::/0")}))
}

func TestContains(t *testing.T) {
	v4 := setOf(t, "0.0.0.0/0")
	v6 := setOf(t, "::/0")
	for addr, want := range map[string][2]bool{
		"0.0.0.0":          {true, false},
		"255.255.255.255":  {true, false},
		"::":               {false, true},
		"ffff::":           {false, true},
		"::ffff:192.0.2.1": {false, true}, // EV-14: it stands in an IPv6 header
		"fe80::1%eth0":     {false, false},
	} {
		a := netip.MustParseAddr(addr)
		require.Equal(t, want[0], v4.Contains(a), "v4 %s", addr)
		require.Equal(t, want[1], v6.Contains(a), "v6 %s", addr)
	}
	require.False(t, v4.Contains(netip.Addr{}))
	s := setOf(t, "192.0.2.4/31", "192.0.2.9/32", "198.51.100.0/24")
	for a, want := range map[string]bool{
		"192.0.2.3": false, "192.0.2.4": true, "192.0.2.5": true, "192.0.2.6": false, "192.0.2.8": false,
		"192.0.2.9": true, "192.0.2.10": false, "198.51.99.255": false, "198.51.100.0": true, "198.51.100.255": true, "198.51.101.0": false,
	} {
		require.Equal(t, want, s.Contains(netip.MustParseAddr(a)), a)
	}
}

func TestMerged(t *testing.T) {
	for name, c := range map[string]struct{ in, want []string }{
		"empty":            {nil, nil},
		"one":              {[]string{"192.0.2.0/24"}, []string{"192.0.2.0/24"}},
		"nested":           {[]string{"192.0.2.7/32", "192.0.2.0/24", "192.0.2.128/25"}, []string{"192.0.2.0/24"}},
		"halves":           {[]string{"192.0.2.128/25", "192.0.2.0/25"}, []string{"192.0.2.0/24"}},
		"not siblings":     {[]string{"192.0.1.0/24", "192.0.2.0/24"}, []string{"192.0.1.0/24", "192.0.2.0/24"}},
		"cascade":          {[]string{"192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/25", "192.0.3.0/24"}, []string{"192.0.2.0/23"}},
		"nested, then sib": {[]string{"192.0.2.0/25", "192.0.2.9/32", "192.0.2.128/25"}, []string{"192.0.2.0/24"}},
		"under the joined": {[]string{"192.0.2.0/25", "192.0.2.128/25", "192.0.2.200/32"}, []string{"192.0.2.0/24"}},
		"everything":       {[]string{"0.0.0.0/0", "192.0.2.0/24"}, []string{"0.0.0.0/0"}},
		"two halves of /0": {[]string{"0.0.0.0/1", "128.0.0.0/1"}, []string{"0.0.0.0/0"}},
		"last address":     {[]string{"255.255.255.254/32", "255.255.255.255/32"}, []string{"255.255.255.254/31"}},
		"first address":    {[]string{"0.0.0.0/32", "0.0.0.1/32", "0.0.0.2/31"}, []string{"0.0.0.0/30"}},
		"chain":            {[]string{"192.0.2.0/25", "192.0.2.128/26", "192.0.2.192/27", "192.0.2.224/27"}, []string{"192.0.2.0/24"}},
		"unaligned run":    {[]string{"10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32"}, []string{"10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"}},
		"v6 halves of /0":  {[]string{"::/1", "8000::/1"}, []string{"::/0"}},
		"v6 last":          {[]string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"}, []string{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"}},
		"v6 across 64":     {[]string{"2001:db8:0:0::/64", "2001:db8:0:1::/64"}, []string{"2001:db8::/63"}},
		"v6 nested":        {[]string{"2001:db8::1/128", "2001:db8::/32"}, []string{"2001:db8::/32"}},
		// The sibling of the first is the IPv4-mapped range, never an entry.
		"v6 next to mapped": {[]string{"::fffe:0:0/96", "::fffc:0:0/95"}, []string{"::fffc:0:0/95", "::fffe:0:0/96"}},
	} {
		var got []string
		for p := range setOf(t, c.in...).Merged() {
			got = append(got, p.String())
		}
		require.Equal(t, c.want, got, name)
	}
}

func TestIteratorsStop(t *testing.T) {
	s := setOf(t, "10.0.0.0/8", "192.0.2.0/24")
	for e := range s.All() {
		require.Equal(t, pfx("10.0.0.0/8"), e.Prefix)
		break
	}
	for p := range s.Merged() {
		require.Equal(t, pfx("10.0.0.0/8"), p)
		break
	}
}

// A long ordered and a long shuffled load keep order and independence beyond
// one block of the map underneath.
func TestManyEntries(t *testing.T) {
	const n = 5000
	up, down := new(ipset.Set), new(ipset.Set)
	at := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	for i := range n {
		require.NoError(t, up.Add(ipset.Entry{Prefix: at(i)}))
		require.NoError(t, down.Add(ipset.Entry{Prefix: at(n - 1 - i)}))
	}
	require.Equal(t, slices.Collect(up.All()), slices.Collect(down.All()))
	c := up.Clone()
	for i := 0; i < n; i += 2 {
		require.True(t, c.Remove(at(i)))
	}
	require.Equal(t, n, up.Len())
	require.Equal(t, n/2, c.Len())
	require.Equal(t, slices.Collect(down.All()), slices.Collect(up.All()))
	require.Len(t, slices.Collect(c.Merged()), n/2, "odd addresses have no siblings")
}

// model is a set as a plain map.
type model struct {
	family  sg.Family
	entries map[netip.Prefix]string
}

// prefixes draws prefixes of few bits, so that they meet, nest and touch:
// at the start, middle and end of the address space, canonical or not.
func prefixes() *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		var a netip.Addr
		b := rapid.Byte().Draw(t, "byte")
		high := rapid.SampledFrom([]byte{0x00, 0x80, 0xff}).Draw(t, "high")
		if rapid.Bool().Draw(t, "v6") {
			var raw [16]byte
			raw[0] = high
			if high == 0xff {
				for i := range raw {
					raw[i] = 0xff
				}
			}
			raw[rapid.SampledFrom([]int{0, 7, 8, 15}).Draw(t, "at")] = b
			a = netip.AddrFrom16(raw)
		} else {
			raw := [4]byte{high, 0, 0, b}
			if high == 0xff {
				raw = [4]byte{0xff, 0xff, 0xff, b}
			}
			a = netip.AddrFrom4(raw)
		}
		near := rapid.SampledFrom([]int{0, 1, 2, 8, 16, 30, 31, 32, 63, 64, 65, 124, 125, 126, 127, 128}).Draw(t, "bits")
		p := netip.PrefixFrom(a, min(near, a.BitLen()))
		if rapid.IntRange(0, 9).Draw(t, "spoil") > 0 {
			p = p.Masked()
		}
		return p
	})
}

func (m *model) add(e ipset.Entry) error {
	p := e.Prefix
	switch {
	case !p.IsValid() || p.Masked() != p || p.Addr().Is4In6():
		return sg.ErrInvalid
	case m.family == sg.IPv4 && p.Addr().Is6() || m.family == sg.IPv6 && p.Addr().Is4():
		return sg.ErrFamily
	}
	if _, ok := m.entries[p]; ok {
		return sg.ErrDuplicate
	}
	m.family = sg.IPv6
	if p.Addr().Is4() {
		m.family = sg.IPv4
	}
	m.entries[p] = e.Description
	return nil
}

func (m *model) clone() *model { return &model{m.family, maps.Clone(m.entries)} }

// check compares every view of s with m.
func (m *model) check(t *rapid.T, s *ipset.Set) {
	if s.Len() != len(m.entries) || s.Family() != m.family {
		t.Fatalf("%d entries of %v, want %d of %v", s.Len(), s.Family(), len(m.entries), m.family)
	}
	all := slices.Collect(s.All())
	if len(all) != len(m.entries) {
		t.Fatalf("All yields %d of %d", len(all), len(m.entries))
	}
	for i, e := range all {
		if d, ok := m.entries[e.Prefix]; !ok || d != e.Description || !s.Has(e.Prefix) || !s.HasEntry(e) {
			t.Fatalf("entry %v", e)
		}
		if i > 0 {
			before := all[i-1].Prefix
			if c := before.Addr().Compare(e.Prefix.Addr()); c > 0 || c == 0 && before.Bits() >= e.Prefix.Bits() {
				t.Fatalf("%v before %v", before, e.Prefix)
			}
		}
	}
	merged := slices.Collect(s.Merged())
	checkMerged(t, merged)
	for _, a := range borders(append(slices.Collect(maps.Keys(m.entries)), merged...)) {
		want := false
		for p := range m.entries {
			want = want || p.Contains(a)
		}
		if s.Contains(a) != want {
			t.Fatalf("Contains(%v) = %v", a, !want)
		}
		if got := slices.ContainsFunc(merged, func(p netip.Prefix) bool { return p.Contains(a) }); got != want {
			t.Fatalf("Merged covers %v: %v, entries: %v", a, got, want)
		}
	}
}

// checkMerged checks that list is canonical, sorted, disjoint, and minimal:
// no two prefixes of it are the halves of a third. (Disjoint prefixes without
// siblings are the fewest there are.)
func checkMerged(t *rapid.T, list []netip.Prefix) {
	in := make(map[netip.Prefix]bool)
	for i, p := range list {
		in[p] = true
		if !p.IsValid() || p != p.Masked() {
			t.Fatalf("%v is not canonical", p)
		}
		if i > 0 && (list[i-1].Addr().Compare(p.Addr()) >= 0 || last(list[i-1]).Compare(p.Addr()) >= 0) {
			t.Fatalf("%v overlaps, or sorts behind, %v", list[i-1], p)
		}
	}
	for _, p := range list {
		if p.Bits() == 0 {
			continue
		}
		if in[sibling(p)] {
			t.Fatalf("%v and its sibling are not joined", p)
		}
	}
}

// sibling returns the other half of the prefix that p is a half of.
func sibling(p netip.Prefix) netip.Prefix {
	b := p.Addr().AsSlice()
	bit := p.Bits() - 1
	b[bit/8] ^= 0x80 >> (bit % 8)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, p.Bits())
}

// last returns the last address of p.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < p.Addr().BitLen(); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// borders returns the addresses where membership can change: first and last
// of each prefix and their neighbours outside.
func borders(list []netip.Prefix) []netip.Addr {
	var out []netip.Addr
	for _, p := range list {
		first, last := p.Addr(), last(p)
		for _, a := range []netip.Addr{first, last, first.Prev(), last.Next()} {
			if a.IsValid() {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// IP-01 to IP-09: any sequence of operations, against a map. Clones made on
// the way stay what they were, whoever changes.
func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		family := rapid.SampledFrom([]sg.Family{sg.FamilyAny, sg.IPv4, sg.IPv6}).Draw(t, "family")
		s, m := ipset.New("s", family, sg.Global()), &model{family, map[netip.Prefix]string{}}
		type pair struct {
			s *ipset.Set
			m *model
		}
		var others []pair
		known := func() netip.Prefix {
			keys := slices.SortedFunc(maps.Keys(m.entries), netip.Prefix.Compare)
			how := rapid.IntRange(0, 3).Draw(t, "how")
			if len(keys) == 0 || how == 0 {
				return prefixes().Draw(t, "prefix")
			}
			p := rapid.SampledFrom(keys).Draw(t, "key")
			switch {
			case how == 1 && p.Bits() > 0:
				return sibling(p)
			case how == 2 && p.Bits() < p.Addr().BitLen():
				return netip.PrefixFrom(p.Addr(), p.Bits()+1) // its lower half
			}
			return p
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { m.check(t, s) },
			"add": func(t *rapid.T) {
				e := ipset.Entry{Prefix: known(), Description: rapid.StringMatching(`[a-c]?`).Draw(t, "note")}
				want, got := m.add(e), s.Add(e)
				requireKind(t, want, got)
			},
			"addLines": func(t *rapid.T) {
				var text strings.Builder
				for range rapid.IntRange(0, 8).Draw(t, "lines") {
					text.WriteString(genLine(known()).Draw(t, "line"))
					text.WriteString(rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "end"))
				}
				checkAddLines(t, text.String(), s, m)
			},
			"remove": func(t *rapid.T) {
				p := known()
				_, want := m.entries[p]
				delete(m.entries, p)
				if got := s.Remove(p); got != want {
					t.Fatalf("Remove(%v) = %v", p, got)
				}
			},
			"setFamily": func(t *rapid.T) {
				f := rapid.SampledFrom([]sg.Family{sg.FamilyAny, sg.IPv4, sg.IPv6, 5}).Draw(t, "family")
				err := s.SetFamily(f)
				switch {
				case f == 5:
					requireKind(t, sg.ErrInvalid, err)
				case f != m.family && len(m.entries) > 0:
					requireKind(t, sg.ErrInUse, err)
				default:
					requireKind(t, nil, err)
					m.family = f
				}
			},
			"clone": func(t *rapid.T) {
				c := s.Clone()
				if rapid.Bool().Draw(t, "go on with the clone") {
					s, c = c, s
				}
				others = append(others, pair{c, m.clone()})
			},
		})
		for _, o := range others {
			o.m.check(t, o.s)
		}
	})
}

// genLine draws one line: an entry in some spelling, a comment, a blank or a fault.
func genLine(p netip.Prefix) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		entry := p.String()
		if p.IsSingleIP() && rapid.Bool().Draw(t, "bare") {
			entry = p.Addr().String() // IP-05
		}
		return rapid.SampledFrom([]string{
			entry, "  " + entry + "\t", entry + " # note", entry + "#", strings.ToUpper(entry), "", "  ", "# " + entry, "\t#",
			entry + " x", entry + "," + entry, "nonsense", "192.0.2.1/24", "\xff", "!" + entry,
		}).Draw(t, "form")
	})
}

func requireKind(t *rapid.T, want, got error) {
	t.Helper()
	if want == nil && got == nil {
		return
	}
	var fault *sg.FieldError
	if f, ok := got.(*sg.FieldError); ok {
		fault = f
	}
	if want == nil || fault == nil || fault.Err != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func ExampleSet_Merged() {
	s := ipset.New("office", sg.IPv4, sg.Global())
	s.AddLines("192.0.2.0/25\n192.0.2.128/25\n192.0.2.7\n198.51.100.1")
	for p := range s.Merged() {
		fmt.Println(p)
	}
	// Output:
	// 192.0.2.0/24
	// 198.51.100.1/32
}
