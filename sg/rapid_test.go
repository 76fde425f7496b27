package sg_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// roundTrip checks, for values drawn from gen, that their text, in any letter
// case, gives the value back, and that no text has two values.
func roundTrip[T comparable, P text[T]](t *testing.T, gen *rapid.Generator[T], parse func(string) (T, error)) {
	t.Helper()
	seen := make(map[string]T)
	rapid.Check(t, func(t *rapid.T) {
		v := gen.Draw(t, "value")
		b, err := P(&v).MarshalText()
		if err != nil {
			t.Fatalf("MarshalText(%v): %v", v, err)
		}
		s := string(b)
		for _, s := range []string{s, strings.ToUpper(s)} {
			got, err := parse(s)
			if err != nil || got != v {
				t.Fatalf("parse(%q) = %v, %v; want %v", s, got, err, v)
			}
			var u T
			if err := P(&u).UnmarshalText([]byte(s)); err != nil || u != v {
				t.Fatalf("UnmarshalText(%q) = %v, %v; want %v", s, u, err, v)
			}
		}
		if other, ok := seen[s]; ok && other != v {
			t.Fatalf("%v and %v are both written %q", v, other, s)
		}
		seen[s] = v
	})
}

func genDirection() *rapid.Generator[sg.Direction] {
	return rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress})
}

func genFamily() *rapid.Generator[sg.Family] {
	return rapid.SampledFrom([]sg.Family{sg.FamilyAny, sg.IPv4, sg.IPv6})
}

func genProtocol() *rapid.Generator[sg.Protocol] {
	return rapid.OneOf(
		rapid.SampledFrom([]sg.Protocol{sg.AnyProtocol, sg.TCP, sg.UDP, sg.SCTP, sg.ICMP, sg.ICMPv6}),
		rapid.Map(rapid.IntRange(1, 255), func(n int) sg.Protocol { return sg.Protocol(n) }),
	)
}

func genPorts() *rapid.Generator[sg.PortRange] {
	return rapid.Custom(func(t *rapid.T) sg.PortRange {
		last := rapid.Uint16Range(1, 65535).Draw(t, "last")
		return sg.PortRange{First: rapid.Uint16Range(0, last).Draw(t, "first"), Last: last}
	})
}

func genICMP() *rapid.Generator[sg.ICMPMatch] {
	return rapid.Custom(func(t *rapid.T) sg.ICMPMatch {
		typ := rapid.Uint8().Draw(t, "type")
		switch rapid.IntRange(0, 2).Draw(t, "form") {
		case 0:
			return sg.ICMPMatch{}
		case 1:
			return sg.ICMPType(typ)
		}
		return sg.ICMPTypeCode(typ, rapid.Uint8().Draw(t, "code"))
	})
}

func genAddr(f sg.Family) *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		if f == sg.IPv4 || f == sg.FamilyAny && rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")))
		}
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")))
	})
}

// genPrefix draws canonical prefixes.
func genPrefix(f sg.Family) *rapid.Generator[netip.Prefix] {
	return rapid.Custom(func(t *rapid.T) netip.Prefix {
		a := genAddr(f).Draw(t, "addr")
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked()
	}).Filter(func(p netip.Prefix) bool { return !p.Addr().Is4In6() })
}

// genRule draws valid rules.
func genRule() *rapid.Generator[sg.Rule] {
	return rapid.Custom(func(t *rapid.T) sg.Rule {
		r := sg.Rule{
			ID:          "r" + sg.RuleID(rapid.StringMatching(`[a-z0-9]{0,8}`).Draw(t, "id")),
			Direction:   genDirection().Draw(t, "direction"),
			Protocol:    genProtocol().Draw(t, "protocol"),
			Description: rapid.String().Draw(t, "description"),
		}
		if r.Protocol.HasPorts() {
			r.Ports = genPorts().Draw(t, "ports")
		}
		if r.Protocol.HasICMP() {
			r.ICMP = genICMP().Draw(t, "icmp")
		}
		r.Family = r.Protocol.Family()
		if r.Family == sg.FamilyAny {
			r.Family = genFamily().Draw(t, "family")
		}
		switch rapid.IntRange(0, 2).Draw(t, "peer") {
		case 0:
			r.Peer = sg.PeerCIDR(genPrefix(r.Family).Draw(t, "cidr"))
		case 1:
			r.Peer = sg.PeerGroup("g" + sg.GroupID(rapid.StringMatching(`[a-z]{0,2}`).Draw(t, "group")))
		default:
			r.Peer = sg.PeerSet("s" + sg.SetID(rapid.StringMatching(`[a-z]{0,2}`).Draw(t, "set")))
		}
		if rapid.Bool().Draw(t, "derive") && (r.Peer.Kind() == sg.PeerIsCIDR || r.Protocol.Family() != sg.FamilyAny) {
			r.Family = sg.FamilyAny // the same family, derived
		}
		return r
	})
}

func TestTextRoundTrip(t *testing.T) {
	t.Run("direction", func(t *testing.T) { roundTrip(t, genDirection(), sg.ParseDirection) })
	t.Run("action", func(t *testing.T) {
		roundTrip(t, rapid.SampledFrom([]sg.Action{sg.Drop, sg.Accept}), sg.ParseAction)
	})
	t.Run("established", func(t *testing.T) {
		roundTrip(t, rapid.SampledFrom([]sg.Established{sg.Revalidate, sg.Keep, sg.Cut}), sg.ParseEstablished)
	})
	t.Run("family", func(t *testing.T) { roundTrip(t, genFamily(), sg.ParseFamily) })
	t.Run("protocol", func(t *testing.T) { roundTrip(t, genProtocol(), sg.ParseProtocol) }) // API-02: one spelling each
	t.Run("ports", func(t *testing.T) { roundTrip(t, genPorts(), sg.ParsePortRange) })
	t.Run("icmp", func(t *testing.T) { roundTrip(t, genICMP(), sg.ParseICMPMatch) })
}

// Every protocol number, exhaustively: the number and the name are one protocol.
func TestProtocolNumbersRoundTrip(t *testing.T) {
	for p := sg.Protocol(1); p <= 255; p++ {
		got, err := sg.ParseProtocol(p.String())
		if err != nil || got != p {
			t.Errorf("ParseProtocol(%q) = %v, %v; want %d", p.String(), got, err, int(p))
		}
	}
}

func TestPrefixRoundTrip(t *testing.T) { // API-01
	rapid.Check(t, func(t *rapid.T) {
		p := genPrefix(sg.FamilyAny).Draw(t, "prefix")
		got, err := sg.ParsePrefix(p.String())
		if err != nil || got != p {
			t.Fatalf("ParsePrefix(%q) = %v, %v", p, got, err)
		}
		if p.IsSingleIP() {
			if got, err := sg.ParsePrefix(p.Addr().String()); err != nil || got != p {
				t.Fatalf("ParsePrefix(%q) = %v, %v", p.Addr(), got, err) // IP-05
			}
		}
	})
}

// The naive reading of an ICMP match agrees with Matches, for every message.
func TestICMPMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genICMP().Draw(t, "match")
		typ, code := rapid.Uint8().Draw(t, "typ"), rapid.Uint8().Draw(t, "code")
		wantType, hasType := m.Type()
		wantCode, hasCode := m.Code()
		want := (!hasType || typ == wantType) && (!hasCode || code == wantCode)
		if m.Matches(typ, code) != want {
			t.Fatalf("%v.Matches(%d, %d) = %v", m, typ, code, !want)
		}
		if hasCode && !hasType {
			t.Fatalf("%v has a code and no type", m)
		}
		if m.IsAny() != (!hasType && !hasCode) {
			t.Fatalf("%v.IsAny() = %v", m, m.IsAny())
		}
	})
}

func TestValidRulesPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRule().Draw(t, "rule")
		if err := r.Validate(); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		// RU-30: the key is stable and ignores what does not change traffic.
		k := r.Key()
		if k.Key() != k {
			t.Fatalf("Key of a key changes: %+v", k)
		}
		r.ID, r.Description, r.Origin, r.Family = "other", "other", "other", r.EffectiveFamily()
		if r.Key() != k {
			t.Fatalf("%+v and %+v are one rule with two keys", r.Key(), k)
		}
		if err := r.Validate(); err != nil {
			t.Fatalf("naming the derived family is a fault: %v", err)
		}
	})
}

// API-04: whatever stands in the fields, validation returns, and what it says
// is bounded, one line per fault and valid UTF-8.
func TestHostileValues(t *testing.T) {
	hostile := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{
			"", strings.Repeat("a", 10_000), strings.Repeat("\xff", 10_000), strings.Repeat("\n", 10_000), strings.Repeat("世", 5_000),
			"\"; drop", "a\nb", "a\r\nb: fine", "\x1b[2J", "\x00", "}", "\u202e", "\xed\xa0\x80", "@self", "a\x7f", "a\u0085b",
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		s := func(label string) string { return hostile.Draw(t, label) }
		peer := rapid.SampledFrom([]sg.Peer{
			{}, sg.PeerGroup(sg.GroupID(s("group"))), sg.PeerSet(sg.SetID(s("set"))), sg.PeerCIDR(netip.Prefix{}),
			sg.PeerCIDR(netip.MustParsePrefix("10.0.0.1/8")), sg.PeerCIDR(netip.MustParsePrefix("::/0")),
		}).Draw(t, "peer")
		r := sg.Rule{
			ID: sg.RuleID(s("rule")), Direction: sg.Direction(rapid.Byte().Draw(t, "direction")),
			Family: sg.Family(rapid.Byte().Draw(t, "family")), Protocol: sg.Protocol(rapid.Int16().Draw(t, "protocol")),
			Ports: sg.PortRange{First: rapid.Uint16().Draw(t, "first"), Last: rapid.Uint16().Draw(t, "last")},
			ICMP:  genICMP().Draw(t, "icmp"), Peer: peer, Description: s("description"), Origin: s("origin"),
		}
		g := sg.Group{ID: sg.GroupID(s("id")), Name: s("name"), Rules: []sg.Rule{r, r, {}}}
		i := sg.Interface{
			ID: sg.InterfaceID(s("iface")), Addrs: []netip.Prefix{{}, {}, netip.MustParsePrefix("10.0.0.1/8")},
			Groups: []sg.GroupID{g.ID, g.ID}, Exempt: []string{s("exempt")},
		}
		p := sg.Profile{Name: s("profile"), NewGroup: g.Rules, Platform: []sg.PlatformRule{{Name: s("platform"), Action: 9, Rule: r}}}
		for _, err := range []error{r.Validate(), g.Validate(), i.Validate(), p.Validate()} {
			if err == nil {
				continue
			}
			checkErrors(t, err)
			var all sg.Errors
			all.Merge("groups["+string(g.ID)+"]", err) // hosts build paths out of ids, too
			checkErrors(t, all.Err())
		}
	})
}

// TestTextOfPeersAndScopes: what is written reads back the same, JSON included.
func TestTextOfPeersAndScopes(t *testing.T) {
	type holder struct {
		Peer  sg.Peer
		Scope sg.Scope
	}
	for _, h := range []holder{
		{},
		{sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8")), sg.Global()},
		{sg.PeerGroup("sg-web"), sg.User("alice")},
		{sg.PeerSet("set:x"), sg.User("user:x")},
		{sg.PeerAny(), sg.User("bob")},
	} {
		b, err := json.Marshal(h)
		require.NoError(t, err)
		var back holder
		require.NoError(t, json.Unmarshal(b, &back), "%s", b)
		require.Equal(t, h, back)
	}
	for _, bad := range []string{"group:", "set:\x01", "10.0.0.1/8", "nobody"} {
		require.Error(t, new(sg.Peer).UnmarshalText([]byte(bad)), bad)
	}
	for _, bad := range []string{"", "user:", "alice"} {
		require.Error(t, new(sg.Scope).UnmarshalText([]byte(bad)), bad)
	}
}
