package sg_test

import (
	"net/netip"
	"strings"
	"testing"

	"example.com/secgroup/sg"
)

// API-02: what is accepted has one canonical text, which means the same.
func FuzzParsePortRange(f *testing.F) {
	for _, s := range []string{"443", "8000-9000", "all", "ALL", "0", "0-65535", "65536", "-80", "80-", "080", " 80", "9000-8000", "80-80", "1-2-3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := sg.ParsePortRange(s)
		if err != nil {
			checkRefused(t, err, r.IsZero())
			return
		}
		if !r.Valid() || r.IsZero() {
			t.Fatalf("ParsePortRange(%q) = %#v", s, r)
		}
		back, err := sg.ParsePortRange(r.String())
		if err != nil || back != r {
			t.Fatalf("%q is %v, whose text is %v, %v", s, r, back, err)
		}
		canonical := s == r.String() || strings.EqualFold(s, "all") || s == r.String()+"-"+r.String()
		if !canonical || len(s) > len("65535-65535") {
			t.Fatalf("%q has another spelling: %q", s, r)
		}
	})
}

// API-02, RU-06: but for letter case, a protocol is its number, its name or
// an alias, and nothing else.
func FuzzParseProtocol(f *testing.F) {
	for _, s := range []string{"tcp", "TCP", " tcp", "6", "06", "0", "-1", "255", "256", "any", "all", "icmp6", "ipv6-icmp", "eſp", "65542"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := sg.ParseProtocol(s)
		if err != nil {
			checkRefused(t, err, p == 0)
			return
		}
		if !p.Valid() {
			t.Fatalf("ParseProtocol(%q) = %d", s, int(p))
		}
		for i := range len(s) {
			if c := s[i] | 0x20; (c < 'a' || 'z' < c) && (s[i] < '0' || '9' < s[i]) && s[i] != '-' {
				t.Fatalf("ParseProtocol takes %q", s)
			}
		}
		for _, again := range []string{p.String(), strings.ToUpper(p.String()), strings.ToUpper(s)} {
			if back, err := sg.ParseProtocol(again); err != nil || back != p {
				t.Fatalf("%q is %v, but %q is %v, %v", s, p, again, back, err)
			}
		}
	})
}

func FuzzParseICMPMatch(f *testing.F) {
	for _, s := range []string{"any", "0", "8", "3/4", "255/255", "256", "3/", "/4", "03/4", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := sg.ParseICMPMatch(s)
		if err != nil {
			checkRefused(t, err, m.IsAny())
			return
		}
		if m.String() != strings.ToLower(s) {
			t.Fatalf("%q has another spelling: %q", s, m)
		}
		if m.IsAny() != strings.EqualFold(s, "any") {
			t.Fatalf("%q is %v", s, m)
		}
		if back, err := sg.ParseICMPMatch(m.String()); err != nil || back != m {
			t.Fatalf("%q is %v, whose text is %v, %v", s, m, back, err)
		}
	})
}

// API-01: what is accepted is masked, without zone, not IPv4-mapped, and its
// text means the same.
func FuzzParsePrefix(f *testing.F) {
	for _, s := range []string{
		"0.0.0.0/0", "::/0", "192.0.2.1", "192.0.2.1/24", "192.0.2.01", "2001:db8::/32", "2001:DB8::1", "::ffff:192.0.2.1",
		"::ffff:0:0/96", "fe80::1%eth0", "192.0.2.0/33", "192.0.2.0/024", "::fffe:0:0/95",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := sg.ParsePrefix(s)
		if err != nil {
			checkRefused(t, err, p == netip.Prefix{})
			return
		}
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" || sg.CheckPrefix(p) != "" {
			t.Fatalf("ParsePrefix(%q) = %v", s, p)
		}
		if !strings.Contains(s, "/") && !p.IsSingleIP() {
			t.Fatalf("the address %q became %v", s, p) // IP-05
		}
		if back, err := sg.ParsePrefix(p.String()); err != nil || back != p {
			t.Fatalf("%q is %v, whose text is %v, %v", s, p, back, err)
		}
		r := sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(p)}
		if err := r.Validate(); err != nil {
			t.Fatalf("a rule for %v: %v", p, err)
		}
	})
}

// checkRefused checks a parser's error and that the value beside it is zero.
func checkRefused(t *testing.T, err error, zero bool) {
	t.Helper()
	if !zero || len(err.Error()) > 4<<10 || strings.Contains(err.Error(), "\n") {
		t.Fatalf("zero value %v, error of %d bytes: %v", zero, len(err.Error()), err)
	}
}
