package enforce_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// family is the addresses of a test in one address family: the workload
// behind the interface, two remote hosts.
type family struct {
	name             string
	local, peer, far string
	icmp             sg.Protocol
	echo             uint8
}

func families() []family {
	return []family{
		{"ipv4", "10.0.0.5", "192.0.2.7", "198.51.100.9", sg.ICMP, 8},
		{"ipv6", "fd00::5", "2001:db8::7", "2001:db8:9::9", sg.ICMPv6, 128},
	}
}

func at(addr string, port string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]:" + port
	}
	return addr + ":" + port
}

// Packets.

func ip(src, dst netip.Addr, proto layers.IPProtocol) (gopacket.NetworkLayer, gopacket.SerializableLayer) {
	if src.Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		return l, l
	}
	l := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()} // neighbour discovery wants 255
	return l, l
}

func serialize(l ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...)
	if err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// tcp returns a segment; flags are letters: S A F R P U. Both ends start at
// sequence number 0 and send no data, so all segments of a connection fit its
// windows.
func tcp(src, dst, flags string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	n, l := ip(s.Addr(), d.Addr(), layers.IPProtocolTCP)
	has := func(f string) bool { return strings.Contains(flags, f) }
	seq, ack := uint32(1), uint32(0)
	if has("S") {
		seq = 0
	}
	if has("A") {
		ack = 1
	}
	t := &layers.TCP{
		SrcPort: layers.TCPPort(s.Port()), DstPort: layers.TCPPort(d.Port()), Seq: seq, Ack: ack, Window: 64240,
		SYN: has("S"), ACK: has("A"), FIN: has("F"), RST: has("R"), PSH: has("P"), URG: has("U"),
	}
	_ = t.SetNetworkLayerForChecksum(n)
	return serialize(l, t)
}

// udp returns a datagram with size bytes of payload.
func udp(src, dst string, size int) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	n, l := ip(s.Addr(), d.Addr(), layers.IPProtocolUDP)
	u := &layers.UDP{SrcPort: layers.UDPPort(s.Port()), DstPort: layers.UDPPort(d.Port())}
	_ = u.SetNetworkLayerForChecksum(n)
	return serialize(l, u, gopacket.Payload(make([]byte, size)))
}

// icmp returns an ICMP or ICMPv6 message.
func icmp(src, dst string, typ, code uint8, body []byte) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	proto := layers.IPProtocolICMPv4
	if s.Is6() {
		proto = layers.IPProtocolICMPv6
	}
	_, l := ip(s, d, proto)
	return serialize(l, gopacket.Payload(append([]byte{typ, code, 0, 0}, body...)))
}

// ping returns an echo request, or the reply to one, with an identifier.
func ping(src, dst string, reply bool, id uint16) []byte {
	typ := uint8(8)
	if strings.Contains(src, ":") {
		typ = 128
	}
	switch {
	case reply && typ == 8:
		typ = 0
	case reply:
		typ = 129
	}
	return icmp(src, dst, typ, 0, binary.BigEndian.AppendUint32(nil, uint32(id)<<16|1))
}

// unreachable returns an ICMP error from src to dst about a packet.
func unreachable(src, dst string, about []byte) []byte {
	typ := uint8(3)
	if strings.Contains(src, ":") {
		typ = 1
	}
	return icmp(src, dst, typ, 1, append([]byte{0, 0, 0, 0}, about[:min(len(about), 64)]...))
}

// split cuts a packet into fragments behind the first n bytes of its payload.
func split(b []byte, n int, id uint16) (first, rest []byte) {
	if b[0]>>4 == 4 {
		cut := func(payload []byte, field uint16) []byte {
			f := append(append([]byte(nil), b[:20]...), payload...)
			binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
			binary.BigEndian.PutUint16(f[4:], id)
			binary.BigEndian.PutUint16(f[6:], field)
			return f
		}
		return cut(b[20:20+n], 0x2000), cut(b[20+n:], uint16(n/8))
	}
	cut := func(payload []byte, field uint16) []byte {
		f := append([]byte(nil), b[:40]...)
		f = append(f, b[6], 0, byte(field>>8), byte(field), 0, 0, byte(id>>8), byte(id))
		f[6] = 44
		f = append(f, payload...)
		binary.BigEndian.PutUint16(f[4:], uint16(len(f)-40))
		return f
	}
	return cut(b[40:40+n], 1), cut(b[40+n:], uint16(n))
}

// Policies.

func allow(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.Rule {
	r := sg.Rule{ID: id, Direction: d, Protocol: p}
	if p.HasPorts() {
		r.Ports = sg.AllPorts()
		if port != 0 {
			r.Ports = sg.Port(port)
		}
	}
	if g, ok := strings.CutPrefix(peer, "group:"); ok {
		r.Peer = sg.PeerGroup(sg.GroupID(g))
		return r
	}
	prefix, err := sg.ParsePrefix(peer)
	if err != nil {
		panic(err)
	}
	r.Peer = sg.PeerCIDR(prefix)
	return r
}

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// both returns a rule for any peer of either family.
func both(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16) []sg.Rule {
	return []sg.Rule{allow(id+"-4", d, p, port, "0.0.0.0/0"), allow(id+"-6", d, p, port, "::/0")}
}

func group(id sg.GroupID, rules ...[]sg.Rule) policy.PutGroup {
	g := &sg.Group{ID: id, Name: string(id)}
	for _, r := range rules {
		g.Rules = append(g.Rules, r...)
	}
	return policy.PutGroup{Group: g}
}

func stateless(g policy.PutGroup) policy.PutGroup {
	g.Group.Stateless = true
	return g
}

// nic returns an interface with the workload's addresses.
func nic(id sg.InterfaceID, groups ...sg.GroupID) policy.PutInterface {
	return policy.PutInterface{Interface: &sg.Interface{
		ID: id, Groups: groups,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("fd00::5/128")},
	}}
}

func profile(e sg.Established) sg.Profile {
	p := strict.Profile()
	p.Established = e
	return p
}

func matcher(t testing.TB, p sg.Profile, c ...policy.Change) *compile.Matcher {
	t.Helper()
	m, err := compile.Compile(snapshot(t, p, c...))
	require.NoError(t, err)
	return m
}

func snapshot(t testing.TB, p sg.Profile, c ...policy.Change) *policy.Snapshot {
	t.Helper()
	s, err := policy.Build(p, c...)
	require.NoError(t, err)
	return s
}

// bench is an engine with a compiler, a clock of its own and all it reported.
type bench struct {
	t testing.TB
	*enforce.Engine
	compiler compile.Compiler
	clock    atomic.Int64
	events   []enforce.Event
}

func start() time.Time { return time.Unix(1_000_000, 0) }

// newBench returns a bench whose policy is made of c.
func newBench(t testing.TB, o enforce.Options, p sg.Profile, c ...policy.Change) *bench {
	t.Helper()
	b := &bench{t: t}
	o.Now = func() time.Time { return start().Add(time.Duration(b.clock.Load())) }
	o.OnEvent = func(e *enforce.Event) { b.events = append(b.events, *e) }
	if o.Conntrack.MaxEntries == 0 {
		o.Conntrack.MaxEntries, o.Conntrack.Shards, o.Conntrack.MaxFragments = 4096, 2, 64
	}
	b.Engine = enforce.NewEngine(o)
	m, err := b.compiler.Reset(snapshot(t, p, c...))
	require.NoError(t, err)
	b.apply(m)
	return b
}

func (b *bench) apply(m *compile.Matcher) {
	b.t.Helper()
	require.NoError(b.t, b.Apply(context.Background(), m))
}

// change applies changes by the bench's own compiler.
func (b *bench) change(c ...policy.Change) *compile.Matcher {
	b.t.Helper()
	m, err := b.compiler.Apply(policy.Batch{Changes: c})
	require.NoError(b.t, err)
	b.apply(m)
	return m
}

func (b *bench) sleep(d time.Duration) { b.clock.Add(int64(d)) }

// say returns a verdict as text: "accept rule web/https-4".
func (b *bench) say(v ir.Verdict) string {
	s := v.Action.String() + " " + v.Reason.String()
	if ref, ok := b.Rule(v.Rule); ok {
		s += " " + ref.String()
	}
	return s
}

// in and out pass a packet through interface "i" and return the verdict.
func (b *bench) in(p []byte) string  { return b.say(b.Port("i").Filter(sg.Ingress, p)) }
func (b *bench) out(p []byte) string { return b.say(b.Port("i").Filter(sg.Egress, p)) }

// kinds returns the kinds of the events so far, and forgets them.
func (b *bench) kinds() string {
	var s []string
	for _, e := range b.events {
		s = append(s, e.Kind.String())
	}
	b.events = nil
	return strings.Join(s, " ")
}

func (b *bench) counter(rule string) enforce.Counter {
	for ref, c := range b.Counters() {
		if ref.String() == rule {
			return c
		}
	}
	return enforce.Counter{}
}

func (b *bench) entries() (list []conntrack.Entry) {
	for e := range b.Table().All(conntrack.Time(b.clock.Load() + 1)) {
		list = append(list, e)
	}
	return list
}

func eachFamily(t *testing.T, f func(t *testing.T, f family)) {
	for _, fam := range families() {
		t.Run(fam.name, func(t *testing.T) { f(t, fam) })
	}
}
