package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/examples/replay/internal/capture"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

var captures = flag.String("captures", filepath.Join("..", "..", "..", "..", "shared", "captures"), "folder of captures with the kernel's verdicts")

// verdictsOf is a capture with one character per packet: a allowed, d denied, q a
// fragment that was held, everything else was not judged.
type verdictsOf struct{ Strict string }

// outbound lets everything out and nothing in.
func outbound(t *testing.T) *compile.Matcher {
	t.Helper()
	var rules []sg.Rule
	for _, any := range []string{"0.0.0.0/0", "::/0"} {
		rules = append(rules, sg.Rule{ID: sg.RuleID(any), Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix(any))})
	}
	s, err := policy.Build(strict.Profile(), policy.PutGroup{Group: &sg.Group{ID: "out", Name: "out", Rules: rules}},
		policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"out"}}})
	require.NoError(t, err)
	m, err := compile.Compile(s)
	require.NoError(t, err)
	return m
}

// sides tells which way the packets of a capture go: the first packet of a
// flow goes out, an ICMP error against the packet that it quotes, a trailing
// fragment as its first one.
type sides struct {
	flows map[packet.Tuple]bool
	frags map[[2]any]sg.Direction
}

func (s *sides) of(p *packet.Packet) (d sg.Direction) {
	type datagram struct {
		src, dst [16]byte
		id       uint32
	}
	key := [2]any{datagram{p.Tuple.Src, p.Tuple.Dst, p.FragID}, p.Tuple.Family}
	if p.Trailing() {
		if d, ok := s.frags[key]; ok {
			return d
		}
	}
	if p.Fragment {
		defer func() { s.frags[key] = d }()
	}
	if q := p.Inner.Tuple; q.Family != 0 {
		switch {
		case s.flows[q]:
			return sg.Ingress
		case s.flows[q.Reverse()]:
			return sg.Egress
		}
	}
	switch t := p.Tuple; {
	case s.flows[t]:
		return sg.Egress
	case s.flows[t.Reverse()]:
		return sg.Ingress
	default:
		s.flows[t] = true
		return sg.Egress
	}
}

// TestCaptures replays real captures and compares every verdict with that of
// Linux 6.18 under the same policy. What differs has a name.
func TestCaptures(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(*captures, "verdicts.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("needs the captures: %v (see -captures)", err)
	}
	require.NoError(t, err)
	var list struct{ Captures map[string]verdictsOf }
	require.NoError(t, json.Unmarshal(text, &list))
	m := outbound(t)
	equal, named, shown := 0, map[string]int{}, 0
	for _, name := range slices.Sorted(maps.Keys(list.Captures)) {
		e := enforce.NewEngine(enforce.Options{
			Conntrack: conntrack.Options{MaxEntries: 4096, Shards: 1, MaxFragments: 256, MaxFragmentsPerZone: 256},
			Hygiene:   enforce.Hygiene{AllowLand: true, AllowMartians: true}, // some were taken on a loopback device
			Now:       func() time.Time { return time.Unix(1_000_000, 0) },
		})
		require.NoError(t, e.Apply(context.Background(), m))
		s := sides{map[packet.Tuple]bool{}, map[[2]any]sg.Direction{}}
		spared, fragmented := map[packet.Tuple]bool{}, map[packet.Tuple]bool{}
		refused := map[[2][16]byte]bool{} // addresses of packets refused for their headers
		want := list.Captures[name].Strict
		f, err := os.Open(filepath.Join(*captures, "pcap", name))
		require.NoError(t, err)
		r, err := capture.Open(f)
		require.NoError(t, err, name)
		for n := 0; n < len(want); n++ {
			p, err := r.Next()
			if err == io.EOF || errors.Is(err, capture.ErrTruncated) {
				break
			}
			if want[n] != 'a' && want[n] != 'd' && want[n] != 'q' || p.IP == nil {
				continue
			}
			var pkt packet.Packet
			broken := packet.Decode(p.IP, &pkt)
			d := s.of(&pkt)
			if pkt.Fragment && !pkt.Trailing() {
				fragmented[pkt.Tuple], fragmented[pkt.Tuple.Reverse()] = true, true
			}
			v := e.Port("i").Filter(d, p.IP)
			if want[n] == 'q' {
				continue
			}
			if (v.Action == sg.Accept) == (want[n] == 'a') {
				equal++
				continue
			}
			if broken != nil || pkt.Odd != 0 {
				refused[[2][16]byte{pkt.Tuple.Src, pkt.Tuple.Dst}] = true
			}
			if rst := pkt.Tuple.Proto == packet.ProtoTCP && pkt.Flags&packet.RST != 0; rst && pkt.Seq == 0 && want[n] == 'a' {
				spared[pkt.Tuple], spared[pkt.Tuple.Reverse()] = true, true
			}
			if spared[pkt.Tuple] {
				named["TCP-18: a RST that does not acknowledge the SYN; the connection goes on, Linux forgot it"]++
				continue
			}
			if want[n] == 'd' && fragmented[pkt.Tuple] && !pkt.Fragment {
				named["FRAG: its flow was opened by a fragment, whose datagram Linux refused for its checksum"]++
				continue
			}
			why := difference(&pkt, p.IP, broken, want[n] == 'a', refused[[2][16]byte{pkt.Tuple.Dst, pkt.Tuple.Src}])
			named[why]++
			if why == "" && shown < 40 {
				shown++
				t.Errorf("%s %d: %v %v %v, the kernel says %c: %+v (%v)", name, n+1, d, v.Action, v.Reason, want[n], pkt, broken)
			}
		}
		f.Close()
	}
	t.Logf("%d verdicts equal", equal)
	for _, why := range slices.Sorted(maps.Keys(named)) {
		t.Logf("%5d %s", named[why], why)
	}
	require.Zero(t, named[""], "differences without a name")
	require.Greater(t, equal, 100*(len(named)+1))
}

// difference names the reason why a packet is judged otherwise than by Linux,
// or returns "". TCP differs in TCP-18 only.
func difference(p *packet.Packet, b []byte, broken error, stricter, answersRefused bool) string {
	neighbour := p.Tuple.Proto == packet.ProtoICMPv6 && 133 <= p.ICMPType && p.ICMPType <= 136
	switch {
	case p.Fragment:
		return "FRAG: the first fragment is judged, not the whole datagram"
	case stricter && p.Odd.Has(packet.OddRoutingType0):
		return "EXT-03: routing header of type 0"
	case stricter && errors.Is(broken, packet.ErrHeader) && p.Tuple.Proto == 51:
		return "EXT-07: impossible length of an authentication header"
	case stricter && answersRefused:
		return "answers a packet that was refused for its headers"
	case stricter && neighbour:
		return "INF-01: neighbour discovery has no allowance beside the rules under this profile"
	case !stricter && p.Tuple.Proto == packet.ProtoICMPv6 && p.ICMPType == 137:
		return "ICMP-13: redirects of ICMPv6 are judged by the rules"
	case !stricter && p.Tuple.Proto == packet.ProtoSCTP:
		return "UDP-07: chunks and checksum of SCTP are not looked at"
	case !stricter && p.Tuple.Family == 6 && b[6] == 60:
		return "decision 10: no checksum is verified (here with a home address, RFC 6275 6.3)"
	}
	return ""
}
