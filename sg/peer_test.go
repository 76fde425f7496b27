package sg_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// RU-17, RU-23, RU-24, IP-05: CIDRs, and bare addresses as /32 or /128.
func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"0.0.0.0/0":          "0.0.0.0/0",
		"::/0":               "::/0",
		"192.0.2.0/24":       "192.0.2.0/24",
		"192.0.2.1":          "192.0.2.1/32",
		"192.0.2.1/32":       "192.0.2.1/32",
		"0.0.0.0":            "0.0.0.0/32",
		"255.255.255.255/32": "255.255.255.255/32",
		"128.0.0.0/1":        "128.0.0.0/1",
		"2001:db8::/32":      "2001:db8::/32",
		"2001:DB8::1":        "2001:db8::1/128", // API-01: canonicalised once
		"2001:0db8:0:0::/32": "2001:db8::/32",
		"::":                 "::/128",
		"fe80::/10":          "fe80::/10",
		"8000::/1":           "8000::/1",
		"::192.0.2.1":        "::c000:201/128",
		"64:ff9b::192.0.2.0": "64:ff9b::c000:200/128",
	} {
		p, err := sg.ParsePrefix(in)
		require.NoError(t, err, in)
		require.Equal(t, want, p.String(), in)
		require.Empty(t, sg.CheckPrefix(p))
	}
}

// API-01: two spellings of one prefix are never both stored.
func TestParsePrefixRefuses(t *testing.T) {
	for in, why := range map[string]string{
		"192.0.2.1/24":         "did you mean 192.0.2.0/24?",
		"2001:db8::1/64":       "did you mean 2001:db8::/64?",
		"0.0.0.1/0":            "did you mean 0.0.0.0/0?",
		"1.2.3.4/31":           "",
		"1.2.3.5/31":           "did you mean 1.2.3.4/31?",
		"::ffff:192.0.2.1":     "write the IPv4 prefix",
		"::ffff:192.0.2.0/120": "write the IPv4 prefix",
		"::ffff:0:0/96":        "write the IPv4 prefix",
		"fe80::1%eth0":         "zone",
		"fe80::%eth0/10":       "want an address or a CIDR",
		"192.0.2.01":           "want an address or a CIDR",
		"192.0.02.0/24":        "want an address or a CIDR",
		"192.0.2.0/024":        "want an address or a CIDR",
		"192.0.2.0/33":         "want an address or a CIDR",
		"2001:db8::/129":       "want an address or a CIDR",
		"192.0.2.0/-1":         "want an address or a CIDR",
		"192.0.2.0/+24":        "want an address or a CIDR",
		"192.0.2.0/":           "want an address or a CIDR",
		"192.0.2.0/24/24":      "want an address or a CIDR",
		"/24":                  "want an address or a CIDR",
		"/":                    "want an address or a CIDR",
		"192.0.2/24":           "want an address or a CIDR",
		"192.0.2.0.1":          "want an address or a CIDR",
		"192.0.2.256":          "want an address or a CIDR",
		"0xc0.0.2.1":           "want an address or a CIDR",
		"3221225985":           "want an address or a CIDR",
		" 192.0.2.1":           "want an address or a CIDR",
		"192.0.2.1 ":           "want an address or a CIDR",
		"192.0.2.1\n":          "want an address or a CIDR",
		"192.0.2.0 /24":        "want an address or a CIDR",
		"192.0.2.1-192.0.2.9":  "want an address or a CIDR",
		"[2001:db8::1]":        "want an address or a CIDR",
		"2001:db8::12345":      "want an address or a CIDR",
		"any":                  "want an address or a CIDR",
		"":                     "want an address or a CIDR",
		"\xff":                 "want an address or a CIDR",
		"sg-web":               "want an address or a CIDR",
	} {
		p, err := sg.ParsePrefix(in)
		if why == "" {
			require.NoError(t, err, in)
			continue
		}
		require.ErrorIs(t, err, sg.ErrInvalid, "%q", in)
		require.ErrorContains(t, err, why, "%q", in)
		require.Equal(t, netip.Prefix{}, p)
	}
	_, err := sg.ParsePrefix(strings.Repeat("1", 10_000) + "/8")
	require.ErrorIs(t, err, sg.ErrInvalid)
	require.Less(t, len(err.Error()), 300)
}

func TestCheckPrefix(t *testing.T) {
	require.Equal(t, "not a prefix", sg.CheckPrefix(netip.Prefix{}))
	require.Equal(t, "not a prefix", sg.CheckPrefix(netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 33)))
	require.Equal(t, "not a prefix", sg.CheckPrefix(netip.PrefixFrom(netip.Addr{}, 0)))
	require.Contains(t, sg.CheckPrefix(netip.MustParsePrefix("10.0.0.1/8")), "10.0.0.0/8")
	require.Contains(t, sg.CheckPrefix(netip.MustParsePrefix("::ffff:10.0.0.0/104")), "IPv4-mapped")
	require.Empty(t, sg.CheckPrefix(netip.MustParsePrefix("10.0.0.0/8")))
}

// EV-14: a mapped address travels in an IPv6 header, so it is IPv6.
func TestFamilyOf(t *testing.T) {
	require.Equal(t, sg.IPv4, sg.FamilyOf(netip.MustParseAddr("192.0.2.1")))
	require.Equal(t, sg.IPv6, sg.FamilyOf(netip.MustParseAddr("2001:db8::1")))
	require.Equal(t, sg.IPv6, sg.FamilyOf(netip.MustParseAddr("::ffff:192.0.2.1")))
	require.Equal(t, sg.IPv6, sg.FamilyOf(netip.MustParseAddr("fe80::1%eth0")))
}

// RU-22: a peer is exactly one kind; its other forms are not there.
func TestPeerIsOneKind(t *testing.T) {
	cidr := netip.MustParsePrefix("192.0.2.0/24")
	for _, c := range []struct {
		peer sg.Peer
		kind sg.PeerKind
		text string
	}{
		{sg.Peer{}, sg.PeerUnset, "unset"},
		{sg.PeerCIDR(cidr), sg.PeerIsCIDR, "192.0.2.0/24"},       // RU-17
		{sg.PeerGroup("sg-web"), sg.PeerIsGroup, "group sg-web"}, // RU-18, RU-19
		{sg.PeerSet("sg-web"), sg.PeerIsSet, "set sg-web"},       // RU-21
	} {
		require.Equal(t, c.kind, c.peer.Kind())
		require.Equal(t, c.text, c.peer.String())
		p, isCIDR := c.peer.CIDR()
		g, isGroup := c.peer.Group()
		s, isSet := c.peer.Set()
		require.Equal(t, c.kind == sg.PeerIsCIDR, isCIDR)
		require.Equal(t, c.kind == sg.PeerIsGroup, isGroup)
		require.Equal(t, c.kind == sg.PeerIsSet, isSet)
		if !isCIDR {
			require.Equal(t, netip.Prefix{}, p)
		}
		if !isGroup {
			require.Empty(t, g)
		}
		if !isSet {
			require.Empty(t, s)
		}
	}
	require.NotEqual(t, sg.PeerGroup("x"), sg.PeerSet("x"), "a group and a set of one name differ")
}
