package nftables

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// drawPrefix draws a prefix of a family, often one that nests with others, or
// ends where the addresses end.
func drawPrefix(t *rapid.T, f sg.Family) netip.Prefix {
	size := addrBits(f) / 8
	b := make([]byte, size)
	switch rapid.IntRange(0, 3).Draw(t, "where") {
	case 0: // the first addresses there are
	case 1:
		for i := range b {
			b[i] = 0xff
		}
	default:
		copy(b, []byte{10, 0, 0x80})
	}
	b[rapid.SampledFrom([]int{0, 1, 2, size - 1}).Draw(t, "byte")] ^= rapid.SampledFrom([]byte{0, 1, 2, 0x7f, 0x80, 0xff}).Draw(t, "bits")
	a, _ := netip.AddrFromSlice(b)
	bits := rapid.OneOf(
		rapid.SampledFrom([]int{0, 1, 8, 9, size*8 - 1, size * 8}),
		rapid.IntRange(0, size*8),
	).Draw(t, "length")
	return netip.PrefixFrom(a, bits)
}

func drawFamily(t *rapid.T) sg.Family {
	return rapid.SampledFrom([]sg.Family{sg.IPv4, sg.IPv6}).Draw(t, "family")
}

// edgesOf are the addresses where something may change.
func edgesOf(prefixes []netip.Prefix) (out []netip.Addr) {
	for _, p := range prefixes {
		first, last := p.Masked().Addr(), lastAddr(p)
		for _, a := range []netip.Addr{first.Prev(), first, first.Next(), last.Prev(), last, last.Next()} {
			if a.IsValid() {
				out = append(out, a)
			}
		}
	}
	return out
}

// flattenProperty: ranges are disjoint, ascending, and each address has the
// rules whose prefixes cover it.
func flattenProperty(t *rapid.T) {
	f := drawFamily(t)
	prefixes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) netip.Prefix { return drawPrefix(t, f) }), 0, 12).Draw(t, "prefixes")
	ranges := flatten(prefixes)
	for i, r := range ranges {
		require.LessOrEqual(t, r.first.Compare(r.last), 0)
		require.NotEmpty(t, r.rules)
		require.True(t, slices.IsSorted(r.rules), "%v", r.rules)
		if i > 0 {
			before := ranges[i-1]
			require.Negative(t, before.last.Compare(r.first), "%v, %v", before, r)
			require.False(t, before.last.Next() == r.first && slices.Equal(before.rules, r.rules), "neighbours alike: %v, %v", before, r)
		}
	}
	for _, a := range edgesOf(prefixes) {
		var want, got []int
		for i, p := range prefixes {
			if p.Contains(a) {
				want = append(want, i)
			}
		}
		for _, r := range ranges {
			if r.first.Compare(a) <= 0 && a.Compare(r.last) <= 0 {
				got = append(got, r.rules...)
			}
		}
		require.Equal(t, want, got, "%v in %v", a, prefixes)
	}
}

func TestFlatten(t *testing.T) { rapid.Check(t, flattenProperty) }

func FuzzFlatten(f *testing.F) { f.Fuzz(rapid.MakeFuzz(flattenProperty)) }

// rangeTextProperty: the text of a range reads back as that range.
func rangeTextProperty(t *rapid.T) {
	f := drawFamily(t)
	p, q := drawPrefix(t, f).Masked(), drawPrefix(t, f).Masked()
	r := addrRange{first: p.Addr(), last: lastAddr(q)}
	if r.last.Less(r.first) {
		r = addrRange{first: q.Addr(), last: lastAddr(p)}
	}
	if r.last.Less(r.first) {
		return
	}
	text := r.String()
	var first, last netip.Addr
	switch from, to, isRange := strings.Cut(text, "-"); {
	case isRange:
		first, last = netip.MustParseAddr(from), netip.MustParseAddr(to)
		require.NotEqual(t, first, last)
	case strings.Contains(text, "/"):
		got := netip.MustParsePrefix(text)
		require.Equal(t, got.Masked(), got)
		first, last = got.Addr(), lastAddr(got)
	default:
		first = netip.MustParseAddr(text)
		last = first
	}
	require.Equal(t, r.first, first, text)
	require.Equal(t, r.last, last, text)
	whole := addrRange{first: p.Addr(), last: lastAddr(p)}
	require.Equal(t, addrText(p), whole.String(), "a prefix is written as one")
}

func TestAddrRangeText(t *testing.T) { rapid.Check(t, rangeTextProperty) }

func TestMask(t *testing.T) {
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		for bits := range addrBits(f) + 1 {
			m := netip.MustParseAddr(mask(f, bits))
			ones := 0
			for _, b := range m.AsSlice() {
				for ; b&0x80 != 0; b <<= 1 {
					ones++
				}
				require.Zero(t, b, "%v is no mask", m)
			}
			require.Equal(t, bits, ones)
			require.Equal(t, addrBits(f), m.BitLen())
		}
	}
}

func TestLastAddr(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0/0": "255.255.255.255", "10.1.2.3/8": "10.255.255.255", "10.0.0.4/31": "10.0.0.5", "255.255.255.255/32": "255.255.255.255",
		"::/0": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::/127": "2001:db8::1", "fe80::/10": "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	} {
		require.Equal(t, netip.MustParseAddr(want), lastAddr(netip.MustParsePrefix(in)), in)
	}
}
