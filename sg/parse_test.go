package sg_test

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// text is what every enum, range and match of the package implements.
type text[T any] interface {
	*T
	encoding.TextMarshaler
	encoding.TextUnmarshaler
}

// testText checks one type's parser, UnmarshalText, MarshalText and its form
// as a JSON field: each spelling in ok gives the value, each value is written
// by its canonical text, everything in bad is refused and leaves a zero value.
func testText[T comparable, P text[T]](t *testing.T, parse func(string) (T, error), canonical map[T]string, ok map[string]T, bad []string) {
	t.Helper()
	var zero T
	for v, want := range canonical {
		b, err := P(&v).MarshalText()
		require.NoError(t, err, "%v", v)
		require.Equal(t, want, string(b))
		ok[want] = v

		type doc struct{ Field T }
		b, err = json.Marshal(doc{v})
		require.NoError(t, err)
		require.JSONEq(t, `{"Field":"`+want+`"}`, string(b))
		var back doc
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, v, back.Field)
	}
	for s, want := range ok {
		for _, s := range []string{s, strings.ToUpper(s), strings.ToLower(s), strings.ToUpper(s[:1]) + s[1:]} {
			v, err := parse(s)
			require.NoError(t, err, "%q", s)
			require.Equal(t, want, v, "%q", s)
			var u T
			require.NoError(t, P(&u).UnmarshalText([]byte(s)))
			require.Equal(t, want, u, "%q", s)
		}
		bad = append(bad, " "+s, s+" ", s+"\n", "\t"+s, s+"\x00", `"`+s+`"`, "+"+s, s+",", s+s+s+s+s+s)
	}
	bad = append(bad, "", " ", "\n", "nonsense", "-1", "٣", "\xff", strings.Repeat("a", 10_000), strings.Repeat("9", 10_000))
	for _, s := range bad {
		v, err := parse(s)
		require.ErrorIs(t, err, sg.ErrInvalid, "%q", s)
		require.Equal(t, zero, v, "%q", s)
		var fault *sg.FieldError
		require.ErrorAs(t, err, &fault)
		require.Equal(t, s, fault.Value)
		require.Less(t, len(err.Error()), 1000)
		if s != "" {
			require.ErrorIs(t, P(&v).UnmarshalText([]byte(s)), sg.ErrInvalid, "%q", s)
		}
	}
}

// RU-01, RU-02: both vocabularies, any letter case, one canonical text.
// Of numbers that stand for nothing, the text does not look as if they did.
func TestTexts(t *testing.T) {
	require.Equal(t, "any ipv4 ipv6 family 9", fmt.Sprint(sg.FamilyAny, " ", sg.IPv4, " ", sg.IPv6, " ", sg.Family(9)))
	require.Equal(t, "interface instance unit 2", fmt.Sprint(sg.PerInterface, " ", sg.PerInstance, " ", sg.Unit(2)))
	require.Equal(t, "restrict cascade on referenced 7", fmt.Sprint(sg.Restrict, " ", sg.Cascade, " ", sg.OnReferenced(7)))
	_, err := sg.ParseAction("x")
	require.ErrorContains(t, err, "want an action: ")
}

func TestDirectionText(t *testing.T) {
	testText(t, sg.ParseDirection,
		map[sg.Direction]string{sg.Ingress: "ingress", sg.Egress: "egress"},
		map[string]sg.Direction{"inbound": sg.Ingress, "outbound": sg.Egress},
		[]string{"in", "out", "both", "unset", "0", "1", "2", "ingreſs", "inboun", "egress2"})

	for _, d := range []sg.Direction{0, 3, 255} {
		require.False(t, d.Valid())
		require.Equal(t, "unset", d.String())
		require.Equal(t, d, d.Opposite())
		_, err := d.MarshalText()
		require.ErrorIs(t, err, sg.ErrInvalid)
	}
	require.Equal(t, sg.Egress, sg.Ingress.Opposite())
	require.Equal(t, sg.Ingress, sg.Egress.Opposite())
	_, err := json.Marshal(struct{ D sg.Direction }{})
	require.ErrorIs(t, err, sg.ErrInvalid, "an unset direction is never written")
}

// EV-05, C9: "deny" is understood in profiles, though no rule can say it.
func TestActionText(t *testing.T) {
	testText(t, sg.ParseAction,
		map[sg.Action]string{sg.Drop: "drop", sg.Accept: "accept"},
		map[string]sg.Action{"deny": sg.Drop, "allow": sg.Accept},
		[]string{"reject", "permit", "0", "1", "true", "allowed"})

	require.Equal(t, "drop", sg.Action(7).String(), "what is not Accept does not pass")
	_, err := sg.Action(7).MarshalText()
	require.ErrorIs(t, err, sg.ErrInvalid)
	require.ErrorContains(t, err, `"7"`, "the text names the number, not the fallback")
}

// C8: what a change does to established connections.
func TestEstablishedText(t *testing.T) {
	testText(t, sg.ParseEstablished,
		map[sg.Established]string{sg.Revalidate: "revalidate", sg.Keep: "keep", sg.Cut: "cut"},
		map[string]sg.Established{},
		[]string{"drop", "0", "\u212aeep", "keepalive"}) // U+212A is the Kelvin sign, which folds to k

	_, err := sg.Established(9).MarshalText()
	require.ErrorIs(t, err, sg.ErrInvalid)
	require.ErrorContains(t, err, `"9"`)
}

// RU-25, C14.
func TestFamilyText(t *testing.T) {
	testText(t, sg.ParseFamily,
		map[sg.Family]string{sg.IPv4: "ipv4", sg.IPv6: "ipv6", sg.FamilyAny: "any"},
		map[string]sg.Family{},
		[]string{"4", "6", "v4", "ip", "ipv5", "both"})

	_, err := sg.Family(5).MarshalText()
	require.ErrorIs(t, err, sg.ErrInvalid)
	require.ErrorContains(t, err, `"5"`)
	for _, f := range []sg.Family{1, 5, 7, 255} {
		require.False(t, f.Valid())
	}
	// EV-14: an IPv4 rule does not cover IPv6.
	require.False(t, sg.IPv4.Matches(sg.IPv6))
	require.False(t, sg.IPv6.Matches(sg.IPv4))
	require.True(t, sg.IPv4.Matches(sg.IPv4))
	require.True(t, sg.FamilyAny.Matches(sg.IPv4))
	require.True(t, sg.FamilyAny.Matches(sg.IPv6))
	require.False(t, sg.IPv4.Matches(sg.FamilyAny))
}

// RU-03 to RU-06, API-02, CVE-2012-2654, CVE-2019-9735.
func TestProtocolText(t *testing.T) {
	testText(t, sg.ParseProtocol,
		map[sg.Protocol]string{
			sg.TCP: "tcp", sg.UDP: "udp", sg.ICMP: "icmp", sg.ICMPv6: "icmpv6", sg.SCTP: "sctp", sg.AnyProtocol: "any",
			2: "igmp", 47: "gre", 50: "esp", 51: "ah", 112: "vrrp", 255: "255", 41: "41",
		},
		map[string]sg.Protocol{
			"all": sg.AnyProtocol, "icmp6": sg.ICMPv6, "ipv6-icmp": sg.ICMPv6,
			"6": sg.TCP, "1": sg.ICMP, "58": sg.ICMPv6, "17": sg.UDP, "132": sg.SCTP, "254": 254,
		},
		[]string{
			"0", "00", "06", "006", "-1", "+6", " tcp", "tcp ", "256", "65542", "4294967302", "6.0", "0x6", "6e0", "1_7",
			"unset", "tcp/80", "tcp,udp", "ſctp", "eſp", "*", "-",
		})

	for _, p := range []sg.Protocol{0, -2, 256, math.MinInt16, math.MaxInt16} {
		require.False(t, p.Valid())
		_, err := p.MarshalText()
		require.ErrorIs(t, err, sg.ErrInvalid)
		_, err = sg.ParseProtocol(p.String())
		require.ErrorIs(t, err, sg.ErrInvalid, "an invalid protocol has no text that parses")
	}
}

func TestProtocolProperties(t *testing.T) {
	for p := sg.AnyProtocol; p <= 256; p++ {
		ports := p == 6 || p == 17 || p == 132
		require.Equal(t, ports, p.HasPorts(), "%d", p)            // RU-13
		require.Equal(t, p == 1 || p == 58, p.HasICMP(), "%d", p) // RU-04
		want := sg.FamilyAny
		switch p {
		case sg.ICMP:
			want = sg.IPv4
		case sg.ICMPv6:
			want = sg.IPv6
		}
		require.Equal(t, want, p.Family(), "%d", p)
	}
}

// RU-09 to RU-12, RU-14, API-02.
func TestPortRangeText(t *testing.T) {
	testText(t, sg.ParsePortRange,
		map[sg.PortRange]string{
			sg.Port(443): "443", {First: 8000, Last: 9000}: "8000-9000", sg.AllPorts(): "0-65535",
			sg.Port(1): "1", sg.Port(65535): "65535", {First: 0, Last: 1}: "0-1", {First: 1, Last: 65535}: "1-65535",
		},
		map[string]sg.PortRange{"all": sg.AllPorts(), "80-80": sg.Port(80)},
		[]string{
			"0", "0-0", "9000-8000", "1-0", "80-", "-80", "-", "--", "80-90-100", "80--90", "-80--90",
			"65536", "0-65536", "65536-65537", "99999", "100000", "65616", "4294967376", "18446744073709551696",
			"080", "00", "0-080", "8000 - 9000", "80,443", "80:90", "80–90", "+80", "80-+90", "1e3", "0x50", "any", "*", "http",
		})

	for _, s := range []string{"9000-8000", "1-0"} {
		_, err := sg.ParsePortRange(s)
		require.ErrorContains(t, err, "above", s)
	}
	_, err := sg.ParsePortRange("0")
	require.ErrorContains(t, err, "port 0")
	_, err = sg.ParsePortRange("")
	require.ErrorIs(t, err, sg.ErrInvalid, "the empty text is no range")
}

// RU-15: unset is a state of its own, written empty; inverted ranges are not written.
func TestPortRangeUnset(t *testing.T) {
	var r sg.PortRange
	require.True(t, r.IsZero())
	require.False(t, r.Valid())
	require.Empty(t, r.String())

	type doc struct {
		Ports sg.PortRange
		Omit  sg.PortRange `json:",omitzero"`
	}
	b, err := json.Marshal(doc{})
	require.NoError(t, err)
	require.JSONEq(t, `{"Ports":""}`, string(b))
	back := doc{Ports: sg.Port(1), Omit: sg.Port(2)}
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, doc{Omit: sg.Port(2)}, back)

	_, err = sg.PortRange{First: 5}.MarshalText()
	require.ErrorIs(t, err, sg.ErrInvalid)
	require.False(t, sg.PortRange{First: 5}.Valid())
	require.False(t, sg.PortRange{First: 5}.IsZero())
}

func TestPortRangeContains(t *testing.T) {
	for _, c := range []struct {
		r    sg.PortRange
		in   []uint16
		out  []uint16
		all  bool
		zero bool
	}{
		{r: sg.AllPorts(), in: []uint16{0, 1, 65535}, all: true},
		{r: sg.Port(443), in: []uint16{443}, out: []uint16{0, 442, 444, 65535}},
		{r: sg.PortRange{First: 8000, Last: 9000}, in: []uint16{8000, 8500, 9000}, out: []uint16{7999, 9001}},
		{r: sg.PortRange{First: 1, Last: 65535}, in: []uint16{1, 65535}, out: []uint16{0}},
		{r: sg.PortRange{First: 9, Last: 5}, out: []uint16{4, 5, 7, 9, 10}},
	} {
		require.Equal(t, c.all, c.r.IsAll(), "%v", c.r)
		for _, p := range c.in {
			require.True(t, c.r.Contains(p), "%v contains %d", c.r, p)
		}
		for _, p := range c.out {
			require.False(t, c.r.Contains(p), "%v contains %d", c.r, p)
		}
	}
}

// API-02: a type of 0 is a type, "any" is a state of its own.
func TestICMPMatchText(t *testing.T) {
	testText(t, sg.ParseICMPMatch,
		map[sg.ICMPMatch]string{
			{}: "any", sg.ICMPType(0): "0", sg.ICMPType(8): "8", sg.ICMPType(255): "255",
			sg.ICMPTypeCode(3, 4): "3/4", sg.ICMPTypeCode(0, 0): "0/0", sg.ICMPTypeCode(255, 255): "255/255",
		},
		map[string]sg.ICMPMatch{},
		[]string{"256", "/", "8/", "/4", "3/4/5", "256/0", "0/256", "08", "3/04", "-1/-1", "-1", "any/any", "all", "echo", "3 / 4", "8-9", "3:4"})
}

func TestICMPMatchZeroTypeIsNotAny(t *testing.T) {
	reply := sg.ICMPType(0)
	require.False(t, reply.IsAny())
	require.NotEqual(t, sg.ICMPMatch{}, reply)
	require.True(t, reply.Matches(0, 0))
	require.True(t, reply.Matches(0, 9))
	require.False(t, reply.Matches(8, 0))

	zero := sg.ICMPTypeCode(0, 0)
	require.NotEqual(t, reply, zero)
	require.True(t, zero.Matches(0, 0))
	require.False(t, zero.Matches(0, 1))

	var every sg.ICMPMatch
	require.True(t, every.IsAny())
	require.True(t, every.Matches(0, 0))
	require.True(t, every.Matches(255, 255))
	_, ok := every.Type()
	require.False(t, ok)
	_, ok = every.Code()
	require.False(t, ok)
	_, ok = reply.Code()
	require.False(t, ok)
	typ, ok := reply.Type()
	require.True(t, ok)
	require.Zero(t, typ)
	code, ok := sg.ICMPTypeCode(3, 4).Code()
	require.True(t, ok)
	require.EqualValues(t, 4, code)
}

func TestPeerKindText(t *testing.T) {
	for k, want := range map[sg.PeerKind]string{
		sg.PeerUnset: "unset", sg.PeerIsCIDR: "cidr", sg.PeerIsGroup: "group", sg.PeerIsSet: "set", 9: "unset",
	} {
		require.Equal(t, want, k.String())
	}
}

// RU-01 to RU-14: a document as a host would write it, and its canonical form.
func TestJSONDocument(t *testing.T) {
	type doc struct {
		Direction sg.Direction `json:"direction"`
		Family    sg.Family    `json:"ip_version"`
		Protocol  sg.Protocol  `json:"protocol"`
		Ports     sg.PortRange `json:"port_range"`
		ICMP      sg.ICMPMatch `json:"icmp"`
		Action    sg.Action    `json:"action"`
	}
	var d doc
	in := `{"direction":"Inbound","ip_version":"IPv4","protocol":"TCP","port_range":"ALL","icmp":"ANY","action":"Allow"}`
	require.NoError(t, json.Unmarshal([]byte(in), &d))
	require.Equal(t, doc{sg.Ingress, sg.IPv4, sg.TCP, sg.AllPorts(), sg.ICMPMatch{}, sg.Accept}, d)
	b, err := json.Marshal(d)
	require.NoError(t, err)
	require.JSONEq(t, `{"direction":"ingress","ip_version":"ipv4","protocol":"tcp","port_range":"0-65535","icmp":"any","action":"accept"}`, string(b))

	for _, bad := range []string{
		`{"protocol":" tcp"}`, `{"protocol":6}`, `{"protocol":-1}`, `{"protocol":"-1"}`, `{"protocol":""}`,
		`{"port_range":443}`, `{"port_range":"0"}`, `{"direction":""}`, `{"direction":1}`, `{"icmp":""}`, `{"icmp":0}`,
		`{"ip_version":4}`, `{"action":true}`,
	} {
		require.Error(t, json.Unmarshal([]byte(bad), &d), bad)
	}
}
