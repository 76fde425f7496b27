package enforce_test

import (
	"bytes"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func TestEvents(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		var own int
		b := newBench(t, enforce.Options{Conntrack: conntrack.Options{MaxEntries: 64, Shards: 1, OnEnd: func(*conntrack.Entry, conntrack.End) { own++ }}},
			profile(sg.Revalidate), group("web", https("a"), both("out", sg.Egress, sg.UDP, 53)), nic("i", "web"))
		rule, _ := b.Matcher().Program().Rule(1)
		suffix := map[string]sg.RuleID{"ipv4": "-4", "ipv6": "-6"}[f.name]
		for r := range b.Matcher().Program().Rules() {
			if r.Ref.Rule == "a"+suffix {
				rule = r
			}
		}
		client, service := at(f.peer, "4000"), at(f.local, "443")
		tuple := packet.TupleFrom(6, netip.MustParseAddrPort(client), netip.MustParseAddrPort(service))
		syn := tcp(client, service, "S")

		b.sleep(time.Second)
		b.handshake(f, "443")
		b.in(tcp(client, at(f.local, "22"), "S"))
		b.sleep(time.Second)
		b.in(tcp(client, service, "RA"))
		b.sleep(time.Minute)
		require.Equal(t, 1, b.Sweep(1000))
		require.Equal(t, 0, b.Sweep(1000))
		require.Equal(t, 1, own, "the caller's OnEnd is called too")

		size := uint64(len(syn))
		opened := enforce.Event{
			Time: start().Add(time.Second), Kind: enforce.FlowOpened, Interface: "i", Direction: sg.Ingress, Tuple: tuple,
			Verdict: ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: rule.Num}, Rule: rule.Ref, Packets: 1, Bytes: size,
		}
		denied := opened
		denied.Kind, denied.Verdict, denied.Rule = enforce.FlowDenied, ir.Verdict{Reason: ir.ReasonNoRule}, ir.RuleRef{}
		denied.Tuple.DstPort = 22
		closed := opened
		closed.Kind, closed.Time, closed.Status, closed.End = enforce.FlowClosed, start().Add(2*time.Second), conntrack.StatusClose, conntrack.EndClosed
		closed.Packets, closed.Bytes = 4, 4*size
		require.Equal(t, []enforce.Event{opened, denied, closed}, b.events)

		// The direction of a closed flow is that of its first packet.
		b.events = nil
		b.out(udp(at(f.local, "9"), at(f.peer, "53"), 10))
		b.change(policy.DeleteInterface{ID: "i"})
		require.Len(t, b.events, 2)
		require.Equal(t, []sg.Direction{sg.Egress, sg.Egress}, []sg.Direction{b.events[0].Direction, b.events[1].Direction})
		require.Equal(t, conntrack.EndCut, b.events[1].End)

		// Malformed: as far as it could be read.
		b.events = nil
		b.change(nic("i", "web"))
		b.in(syn[:len(syn)-1])
		require.Equal(t, ir.ReasonMalformed, b.events[0].Verdict.Reason)
		require.Equal(t, f.peer, b.events[0].Tuple.SrcAddr().String())
		require.EqualValues(t, len(syn)-1, b.events[0].Bytes)
		// Nobody knows the interface.
		b.events = nil
		b.Port("x").Filter(sg.Ingress, syn)
		require.Equal(t, enforce.FlowDenied, b.events[0].Kind)
		require.Equal(t, sg.InterfaceID("x"), b.events[0].Interface)
		require.Equal(t, tuple, b.events[0].Tuple)
		require.Equal(t, ir.ReasonUnknownInterface, b.events[0].Verdict.Reason)
	})
}

func TestEventLogValue(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	b := newBench(t, enforce.Options{}, profile(sg.Cut), group("web", https("a")), nic("i", "web"))
	b.in(tcp("192.0.2.7:1", "10.0.0.5:443", "S"))
	b.in(tcp("192.0.2.7:1", "10.0.0.5:22", "S"))
	b.change(group("web"))
	for i := range b.events {
		log.Info("flow", "e", &b.events[i])
	}
	require.Equal(t, `level=INFO msg=flow e.kind=opened e.interface=i e.direction=ingress e.flow="tcp 192.0.2.7:1 > 10.0.0.5:443" e.action=accept e.reason=rule e.rule=web/a-4 e.packets=1 e.bytes=40
level=INFO msg=flow e.kind=denied e.interface=i e.direction=ingress e.flow="tcp 192.0.2.7:1 > 10.0.0.5:22" e.action=drop e.reason=no_rule e.packets=1 e.bytes=40
level=INFO msg=flow e.kind=closed e.interface=i e.direction=ingress e.flow="tcp 192.0.2.7:1 > 10.0.0.5:443" e.action=accept e.reason=rule e.rule=web/a-4 e.end=cut e.status=SYN_SENT e.packets=1 e.bytes=40
`, out.String())
	require.Equal(t, "none", enforce.EventKind(0).String())
}

func TestApplyIsLogged(t *testing.T) {
	var out bytes.Buffer
	b := newBench(t, enforce.Options{Logger: slog.New(slog.NewTextHandler(&out, nil))}, profile(0), nic("i"))
	b.apply(b.Matcher())
	require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("policy applied")), "applying it again is nothing")
}
