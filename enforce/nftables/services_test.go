package nftables

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// drawServiceRule draws a rule without a peer.
func drawServiceRule(t *rapid.T, n ir.RuleNum) *ir.Rule {
	r := &ir.Rule{
		Num: n, Action: sg.Accept, Family: sg.IPv4,
		Protocol: rapid.SampledFrom([]sg.Protocol{sg.TCP, sg.TCP, sg.UDP, sg.SCTP, sg.ICMP, sg.ICMP, 47, sg.AnyProtocol}).Draw(t, "protocol"),
	}
	edge := rapid.OneOf(rapid.SampledFrom([]uint16{0, 1, 79, 80, 81, 255, 256, 443, 65534, 65535}), rapid.Uint16())
	switch {
	case r.Protocol.HasPorts():
		a, b := edge.Draw(t, "first"), edge.Draw(t, "last")
		r.Ports = sg.PortRange{First: min(a, b), Last: max(a, b)}
	case r.Protocol.HasICMP():
		typ, code := uint8(edge.Draw(t, "type")), uint8(edge.Draw(t, "code"))
		r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, sg.ICMPType(typ), sg.ICMPTypeCode(typ, code)}).Draw(t, "icmp")
	}
	return r
}

// firstMatchProperty: newServices names, for every service, the first rule that
// matches it, and its spans are disjoint and ascending.
func firstMatchProperty(t *rapid.T) {
	var rules []*ir.Rule
	for i := range rapid.IntRange(1, 12).Draw(t, "rules") {
		rules = append(rules, drawServiceRule(t, ir.RuleNum(i+1)))
	}
	s := newServices(rules)
	for p, spans := range s.spans {
		for i, a := range spans {
			require.LessOrEqual(t, a.first, a.last)
			if i > 0 {
				require.Greater(t, a.first, spans[i-1].last)
				require.False(t, a.first == spans[i-1].last+1 && a.rule == spans[i-1].rule, "%v is in two pieces", p)
			}
		}
	}
	for _, p := range []sg.Protocol{sg.TCP, sg.UDP, sg.SCTP, sg.ICMP, 47, 50} {
		next := s.spans[p]
		for n := range 1 << 16 {
			f := ir.Flow{Remote: ip("10.0.0.1"), Protocol: uint8(p), Port: uint16(n), ICMPType: uint8(n >> 8), ICMPCode: uint8(n)}
			var want *ir.Rule
			for _, r := range rules {
				if r.MatchesService(f) {
					want = r
					break
				}
			}
			for len(next) > 0 && int(next[0].last) < n {
				next = next[1:]
			}
			got := s.rest
			if len(next) > 0 && int(next[0].first) <= n {
				got = next[0].rule
			}
			if got != want { // require is slow
				require.Same(t, want, got, "%v %d", p, n)
			}
		}
	}
}

func TestFirstMatch(t *testing.T) { rapid.Check(t, firstMatchProperty) }

func FuzzFirstMatch(f *testing.F) { f.Fuzz(rapid.MakeFuzz(firstMatchProperty)) }

// keysProperty: the keys of a span cover it, and nothing twice.
func keysProperty(t *rapid.T) {
	edge := rapid.OneOf(rapid.SampledFrom([]uint16{0, 1, 255, 256, 257, 511, 512, 2048, 2303, 65279, 65280, 65534, 65535}), rapid.Uint16())
	a, b := edge.Draw(t, "first"), edge.Draw(t, "last")
	s := span{min(a, b), max(a, b), nil}
	require.Equal(t, []string{numbers(uint32(s.first), uint32(s.last))}, keysOf(sg.TCP, s))
	seen := make([]bool, 1<<16)
	n := 0
	for _, k := range keysOf(sg.ICMP, s) {
		types, codes, ok := strings.Cut(k, " . ")
		require.True(t, ok, k)
		t1, t2 := parseNumbers(t, types)
		c1, c2 := parseNumbers(t, codes)
		for typ := t1; typ <= t2; typ++ {
			for code := c1; code <= c2; code++ {
				if v := typ<<8 | code; seen[v] || v < int(s.first) || v > int(s.last) {
					require.Fail(t, "covered twice or too much", "%v by %s of %v", v, k, s)
				}
				seen[typ<<8|code] = true
				n++
			}
		}
	}
	require.Equal(t, int(s.last)-int(s.first)+1, n)
}

func parseNumbers(t *rapid.T, s string) (int, int) {
	from, to, isRange := strings.Cut(s, "-")
	first, err := strconv.Atoi(from)
	require.NoError(t, err)
	if !isRange {
		return first, first
	}
	last, err := strconv.Atoi(to)
	require.NoError(t, err)
	require.Less(t, first, last)
	require.LessOrEqual(t, last, 255)
	return first, last
}

func TestICMPKeys(t *testing.T) { rapid.Check(t, keysProperty) }

func TestSpanOf(t *testing.T) {
	for _, c := range []struct {
		protocol sg.Protocol
		ports    sg.PortRange
		icmp     sg.ICMPMatch
		want     string
	}{
		{sg.TCP, sg.Port(0), sg.ICMPMatch{}, "0-0"},
		{sg.UDP, sg.AllPorts(), sg.ICMPMatch{}, "0-65535"},
		{sg.SCTP, sg.PortRange{First: 65534, Last: 65535}, sg.ICMPMatch{}, "65534-65535"},
		{sg.ICMP, sg.PortRange{}, sg.ICMPMatch{}, "0-65535"},
		{sg.ICMP, sg.PortRange{}, sg.ICMPType(0), "0-255"},
		{sg.ICMP, sg.PortRange{}, sg.ICMPTypeCode(0, 0), "0-0"},
		{sg.ICMPv6, sg.PortRange{}, sg.ICMPType(255), "65280-65535"},
		{sg.ICMPv6, sg.PortRange{}, sg.ICMPTypeCode(255, 255), "65535-65535"},
		{47, sg.PortRange{}, sg.ICMPMatch{}, "0-65535"},
	} {
		s := spanOf(&ir.Rule{Protocol: c.protocol, Ports: c.ports, ICMP: c.icmp})
		require.Equal(t, c.want, fmt.Sprintf("%d-%d", s.first, s.last), "%v %v %v", c.protocol, c.ports, c.icmp)
	}
}
