package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/examples/replay/internal/capture"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

var captures = flag.String("captures", filepath.Join("..", "..", "..", "shared", "captures"), "folder of captures with the kernel's verdicts")

// verdictsOf is a capture with one character per packet, for each way to take
// TCP that begins in the middle: a allowed, d denied, q a fragment that was
// held, everything else was not judged.
type verdictsOf struct{ Strict, Loose string }

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
	key := [2]any{datagramOf(p), p.Tuple.Family}
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

// fate is what became of a packet of a capture that the kernel judged or held.
type fate struct {
	capture string
	n       int // from 1
	kernel  byte
	way     sg.Direction
	v       ir.Verdict
	p       packet.Packet
	reason  string // why the verdicts differ; "" if they do not
	differs bool
}

// listener replays one capture.
type listener struct {
	capture          string
	engine           *enforce.Engine
	sides            sides
	spared, fragment map[packet.Tuple]bool
	refused          map[[2][16]byte]bool // addresses of malformed packets
	held             map[datagram][]*fate
	fates            []*fate
}

func newListener(t *testing.T, name string, m *compile.Matcher, loose bool) *listener {
	p := &listener{
		capture: name, engine: enforce.NewEngine(enforce.Options{
			Conntrack: conntrack.Options{MaxEntries: 4096, Shards: 1, MaxFragments: 256, MaxFragmentsPerZone: 256, TCPLoose: loose},
			Hygiene:   enforce.Hygiene{AllowLand: true, AllowMartians: true}, // some were taken on a loopback device
			Now:       func() time.Time { return time.Unix(1_000_000, 0) },
		}),
		sides:  sides{map[packet.Tuple]bool{}, map[[2]any]sg.Direction{}},
		spared: map[packet.Tuple]bool{}, fragment: map[packet.Tuple]bool{},
		refused: map[[2][16]byte]bool{}, held: map[datagram][]*fate{},
	}
	require.NoError(t, p.engine.Apply(context.Background(), m))
	return p
}

// play judges packet n, which the kernel judged or held.
func (pl *listener) play(n int, kernel byte, b []byte) {
	f := &fate{capture: pl.capture, n: n, kernel: kernel}
	pl.fates = append(pl.fates, f)
	broken := packet.Decode(b, &f.p)
	f.way = pl.sides.of(&f.p)
	if f.p.Fragment && !f.p.Trailing() {
		pl.fragment[f.p.Tuple], pl.fragment[f.p.Tuple.Reverse()] = true, true
	}
	f.v = pl.engine.Port("i").Filter(f.way, b)
	if kernel == 'q' {
		k := datagramOf(&f.p)
		pl.held[k] = append(pl.held[k], f)
		return
	}
	for _, h := range pl.held[datagramOf(&f.p)] { // the pieces go the way of the last
		h.differs = (h.v.Action == sg.Accept) != (kernel == 'a')
		if h.differs {
			h.reason = "FRAG: the first fragment is judged, not the whole datagram"
		}
	}
	delete(pl.held, datagramOf(&f.p))
	if f.differs = (f.v.Action == sg.Accept) != (kernel == 'a'); f.differs {
		f.reason = pl.reason(f, b, broken)
	}
}

// end says what became of pieces whose datagram is not complete at the end.
func (pl *listener) end() []*fate {
	for _, list := range pl.held {
		for _, f := range list {
			if f.differs = f.v.Action == sg.Accept; f.differs {
				f.reason = "FRAG: passes at once what Linux holds for ever, its rest is not in the capture"
			}
		}
	}
	return pl.fates
}

func (pl *listener) reason(f *fate, b []byte, broken error) string {
	p := &f.p
	if broken != nil || p.Odd != 0 {
		pl.refused[[2][16]byte{p.Tuple.Src, p.Tuple.Dst}] = true
	}
	if rst := p.Tuple.Proto == packet.ProtoTCP && p.Flags&packet.RST != 0; rst && p.Seq == 0 && f.kernel == 'a' {
		pl.spared[p.Tuple], pl.spared[p.Tuple.Reverse()] = true, true
	}
	switch {
	case pl.spared[p.Tuple]:
		return "TCP-18: a RST that does not acknowledge the SYN; the connection goes on, Linux forgot it"
	case f.kernel == 'd' && pl.fragment[p.Tuple] && !p.Fragment:
		return "FRAG: its flow was opened by a fragment, whose datagram Linux refused for its checksum"
	}
	return difference(p, b, broken, f.kernel == 'a', pl.refused[[2][16]byte{p.Tuple.Dst, p.Tuple.Src}])
}

// datagram names a fragmented datagram.
type datagram struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
}

func datagramOf(p *packet.Packet) datagram {
	d := datagram{p.Tuple.Src, p.Tuple.Dst, p.FragID, p.Tuple.Proto}
	if p.Tuple.Family == 6 {
		d.proto = 0
	}
	if !p.Fragment {
		return datagram{}
	}
	return d
}

// TestCaptures replays real captures and compares every verdict with that of
// Linux 6.18 under the same policy. Every packet is accounted for: it is judged
// alike, or differs for a named reason, or neither judges it. That all packets
// go through an engine that sees the others too shows that none is fatal.
func TestCaptures(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(*captures, "verdicts.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("needs the captures: %v (see -captures)", err)
	}
	require.NoError(t, err)
	var list struct{ Captures map[string]verdictsOf }
	require.NoError(t, json.Unmarshal(text, &list))
	for _, mode := range []string{"strict", "loose"} {
		t.Run(mode, func(t *testing.T) { replayCaptures(t, list.Captures, mode == "loose") })
	}
}

func replayCaptures(t *testing.T, list map[string]verdictsOf, loose bool) {
	m := outbound(t)
	var fates []*fate
	packets, unjudged, notIP := 0, map[byte]int{}, map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(list)) {
		want := list[name].Strict
		if loose {
			want = list[name].Loose
		}
		pl, all := newListener(t, name, m, loose), newListener(t, name, m, loose)
		f, err := os.Open(filepath.Join(*captures, "pcap", name))
		require.NoError(t, err)
		r, err := capture.Open(f)
		require.NoError(t, err, name)
		for n := range len(want) {
			p, err := r.Next()
			var link *capture.LinkTypeError
			if err != nil && !errors.As(err, &link) {
				t.Fatalf("%s: packet %d of %d: %v", name, n+1, len(want), err)
			}
			if p.IP != nil {
				all.play(n+1, 'a', p.IP)
			}
			switch judged := want[n] == 'a' || want[n] == 'd' || want[n] == 'q'; {
			case judged && p.IP == nil:
				// HDR-04: what the frame says is not what it carries.
				require.Equal(t, byte('d'), want[n], "%s %d: %s", name, n+1, p.Note)
				notIP[p.Note]++
			case judged:
				pl.play(n+1, want[n], p.IP)
			default:
				unjudged[want[n]]++
			}
		}
		f.Close()
		packets += len(want)
		fates = append(fates, pl.end()...)
	}
	account(t, fates)
	t.Logf("%d packets: %d judged by both, %d not by the kernel (%d not IP or too short, %d cut, %d longer than 8900 bytes), %d refused by the kernel and by the reader of captures %v",
		packets, len(fates), sum(unjudged), unjudged['.'], unjudged['t'], unjudged['g'], sum(notIP), notIP)
	require.Equal(t, packets, len(fates)+sum(unjudged)+sum(notIP), "every packet")
}

func sum[K comparable](m map[K]int) (n int) {
	for _, c := range m {
		n += c
	}
	return n
}

// account prints the packets that are judged differently, as a table.
func account(t *testing.T, fates []*fate) {
	named, equal := map[string]int{}, 0
	slices.SortStableFunc(fates, func(a, b *fate) int { return cmp.Compare(a.reason, b.reason) })
	for _, f := range fates {
		if !f.differs {
			equal++
			continue
		}
		if named[f.reason]++; named[f.reason] == 1 {
			t.Log(cmp.Or(f.reason, "WITHOUT A NAME"))
		}
		if f.reason == "" {
			t.Errorf("%s %d: a difference without a name: %+v", f.capture, f.n, f.p)
		}
		t.Logf("  kernel %c, engine %-6v %-13v %-7v %-60v %s, packet %d", f.kernel, f.v.Action, f.v.Reason, f.way, f.p.Tuple, f.capture, f.n)
	}
	t.Logf("%d verdicts equal, %d differ:", equal, sum(named))
	for _, why := range slices.Sorted(maps.Keys(named)) {
		t.Logf("%5d %s", named[why], why)
	}
	require.Greater(t, equal, 100*(len(named)+1))
}
