package tun

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// Hosts: the workload behind the interface, and a remote one.
const (
	local4, remote4 = "10.0.0.5", "192.0.2.7"
	local6, remote6 = "fd00::5", "2001:db8::7"
)

// family is the addresses of a test.
type family struct{ name, local, remote string }

func eachFamily(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range []family{{"ipv4", local4, remote4}, {"ipv6", local6, remote6}} {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// Packets.

// spec says what packet to build.
type spec struct {
	src, dst     string
	proto        layers.IPProtocol // default TCP
	sport, dport uint16
	flags        string // of TCP: S A F R P C
	seq, ack     uint32
	options      []layers.TCPOption
	data         []byte
	id           uint16
	df           bool
	ipOptions    []layers.IPv4Option
}

func (s spec) build() []byte {
	src, dst := netip.MustParseAddr(s.src), netip.MustParseAddr(s.dst)
	if s.proto == 0 {
		s.proto = layers.IPProtocolTCP
	}
	var net gopacket.NetworkLayer
	var ip gopacket.SerializableLayer
	if src.Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Id: s.id, Protocol: s.proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(), Options: s.ipOptions}
		if s.df {
			l.Flags = layers.IPv4DontFragment
		}
		net, ip = l, l
	} else {
		l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: s.proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		net, ip = l, l
	}
	has := func(f string) bool { return strings.Contains(s.flags, f) }
	parts := []gopacket.SerializableLayer{ip}
	switch s.proto {
	case layers.IPProtocolTCP:
		t := &layers.TCP{
			SrcPort: layers.TCPPort(s.sport), DstPort: layers.TCPPort(s.dport), Seq: s.seq, Ack: s.ack, Window: 64240, Options: s.options,
			SYN: has("S"), ACK: has("A"), FIN: has("F"), RST: has("R"), PSH: has("P"), CWR: has("C"),
		}
		_ = t.SetNetworkLayerForChecksum(net)
		parts = append(parts, t)
	case layers.IPProtocolUDP:
		u := &layers.UDP{SrcPort: layers.UDPPort(s.sport), DstPort: layers.UDPPort(s.dport)}
		_ = u.SetNetworkLayerForChecksum(net)
		parts = append(parts, u)
	}
	parts = append(parts, gopacket.Payload(s.data))
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// syn is a segment that opens a connection to a port.
func syn(src, dst string, port uint16) []byte {
	return spec{src: src, dst: dst, sport: 40000, dport: port, flags: "S", seq: 1000}.build()
}

// udp is a datagram to a port with n bytes of data.
func udp(src, dst string, port uint16, n int) []byte {
	return spec{src: src, dst: dst, proto: layers.IPProtocolUDP, sport: 5000, dport: port, data: pattern(n)}.build()
}

// echo is an ICMP message of that type with an identifier.
func echo(src, dst string, typ uint8) []byte {
	return icmpMessage(src, dst, append([]byte{typ, 0, 0, 0, 0, 7, 0, 1}, pattern(16)...))
}

func icmpMessage(src, dst string, body []byte) []byte {
	proto, pseudo := layers.IPProtocolICMPv4, []byte(nil)
	if strings.Contains(src, ":") {
		proto = layers.IPProtocolICMPv6
		s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
		pseudo = append(append(s.AsSlice(), d.AsSlice()...), 0, 0, byte(len(body)>>8), byte(len(body)), 0, 0, 0, byte(proto))
	}
	binary.BigEndian.PutUint16(body[2:], 0)
	binary.BigEndian.PutUint16(body[2:], ^slowSum(append(pseudo, body...)))
	return spec{src: src, dst: dst, proto: proto, data: body}.build()
}

// pattern is n bytes that are not all alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// framed puts a header before a packet.
func framed(h header, pkt []byte) []byte {
	b := make([]byte, HeaderLen, HeaderLen+len(pkt))
	h.encode(b)
	return append(b, pkt...)
}

// partial makes the checksum of a packet what a sender leaves to the device:
// the sum of the pseudo header. It returns the header that says so.
func partial(pkt []byte) header {
	l4, proto := 40, pkt[6]
	if pkt[0]>>4 == 4 {
		l4, proto = int(pkt[0]&15)*4, pkt[9]
	}
	h := header{flags: needsChecksum, start: uint16(l4), csumAt: 6}
	if proto == uint8(layers.IPProtocolTCP) {
		h.csumAt = 16
	}
	binary.BigEndian.PutUint16(pkt[l4+int(h.csumAt):], packet.Fold(pseudo(pkt, proto, len(pkt)-l4)))
	return h
}

// super makes a frame of a super-packet.
func super(pkt []byte, size uint16) []byte {
	h := partial(pkt)
	h.size = size
	switch {
	case h.csumAt == 6:
		h.gso, h.hdrLen = gsoUDP, h.start+8
	default:
		h.gso, h.hdrLen = gsoTCP4, h.start+uint16(pkt[h.start+12]>>4)*4
		if pkt[0]>>4 == 6 {
			h.gso = gsoTCP6
		}
		if pkt[h.start+13]&0x80 != 0 {
			h.gso |= gsoECN
		}
	}
	return framed(h, pkt)
}

// decode decodes a packet with gopacket and fails if a checksum is wrong.
func decode(t testing.TB, pkt []byte) gopacket.Packet {
	t.Helper()
	first := gopacket.LayerType(layers.LayerTypeIPv4)
	if pkt[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(pkt, first, gopacket.Default)
	require.Nil(t, p.ErrorLayer(), "%x", pkt)
	require.Equal(t, "", badChecksum(pkt), "%x", pkt)
	return p
}

// badChecksum names the checksum of a whole packet, or first fragment, that is
// wrong; slowly, from the RFCs.
func badChecksum(pkt []byte) string {
	var pseudo []byte
	body, proto := pkt, pkt[6]
	if pkt[0]>>4 == 4 {
		n := int(pkt[0]&15) * 4
		if slowSum(pkt[:n]) != 0xffff {
			return "ipv4"
		}
		body, proto = pkt[n:], pkt[9]
		if binary.BigEndian.Uint16(pkt[6:])&0x3fff != 0 {
			return "" // a fragment: its datagram has the checksum
		}
		pseudo = append(pseudo, pkt[12:20]...)
	} else {
		body = pkt[40:]
		pseudo = append(pseudo, pkt[8:40]...)
	}
	pseudo = append(pseudo, 0, proto)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(body)))
	switch layers.IPProtocol(proto) {
	case layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6:
	case layers.IPProtocolICMPv4:
		pseudo = nil
	default:
		return ""
	}
	if slowSum(append(pseudo, body...)) != 0xffff {
		return layers.IPProtocol(proto).String()
	}
	return ""
}

// slowSum is RFC 1071, word by word.
func slowSum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		if sum += w; sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

// Policies.

func rule(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.Rule {
	r := sg.Rule{ID: id, Direction: d, Protocol: p, Peer: sg.PeerCIDR(netip.MustParsePrefix(peer))}
	if port != 0 {
		r.Ports = sg.Port(port)
	} else if p.HasPorts() {
		r.Ports = sg.AllPorts()
	}
	return r
}

// web lets the workload be reached at TCP 443 and UDP 53, and reach TCP 443
// and UDP 53 of others.
func web() []sg.Rule {
	var out []sg.Rule
	for _, any := range []string{"0.0.0.0/0", "::/0"} {
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			id := sg.RuleID(d.String() + any[:1])
			out = append(out, rule("t"+id, d, sg.TCP, 443, any), rule("u"+id, d, sg.UDP, 53, any))
		}
	}
	return out
}

// everything lets everything through.
func everything() []sg.Rule {
	var out []sg.Rule
	for _, any := range []string{"0.0.0.0/0", "::/0"} {
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			out = append(out, rule(sg.RuleID("all"+d.String()+any[:1]), d, sg.AnyProtocol, 0, any))
		}
	}
	return out
}

// matcher compiles a policy with one interface, "i".
func matcher(t testing.TB, rules []sg.Rule) *compile.Matcher {
	t.Helper()
	s, err := policy.Build(strict.Profile(),
		policy.PutGroup{Group: &sg.Group{ID: "g", Name: "g", Rules: rules}},
		policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g"}}})
	require.NoError(t, err)
	m, err := compile.Compile(s)
	require.NoError(t, err)
	return m
}

// port returns the port of interface "i" under those rules.
func port(t testing.TB, rules []sg.Rule) *enforce.Port {
	t.Helper()
	e := enforce.NewEngine(enforce.Options{})
	require.NoError(t, e.Apply(t.Context(), matcher(t, rules)))
	return e.Port("i")
}

// Devices.

// memDevice is a Device in memory. What a test puts into reads comes out of
// Read, one element a batch; what is written is kept. Its zero value blocks.
type memDevice struct {
	reads chan memRead
	down  chan struct{}
	bell  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	written  [][]byte
	batches  int
	writeN   int // what Write returns beside writeErr
	writeErr error
}

type memRead struct {
	pkts [][]byte
	err  error
}

func newMemDevice(reads ...memRead) *memDevice {
	d := &memDevice{reads: make(chan memRead, 1024), down: make(chan struct{}), bell: make(chan struct{}, 1)}
	for _, r := range reads {
		d.reads <- r
	}
	return d
}

func (d *memDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case r := <-d.reads:
		for i, p := range r.pkts {
			sizes[i] = copy(bufs[i][offset:], p)
		}
		return len(r.pkts), r.err
	case <-d.bell:
		return 0, ErrInterrupted
	case <-d.down:
		return 0, os.ErrClosed
	}
}

func (d *memDevice) Write(bufs [][]byte, offset int) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.batches++
	for _, b := range bufs {
		d.written = append(d.written, append([]byte(nil), b[offset:]...))
	}
	if d.writeErr != nil {
		return d.writeN, d.writeErr
	}
	return len(bufs), nil
}

func (d *memDevice) BatchSize() int { return 8 }

func (d *memDevice) Close() error {
	d.once.Do(func() { close(d.down) })
	return nil
}

func (d *memDevice) got() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// wokenDevice is a memDevice whose Read can be interrupted.
type wokenDevice struct{ *memDevice }

func (d wokenDevice) Interrupt() {
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

// memLink is a Link in memory.
type memLink struct {
	frames  chan []byte
	bell    chan struct{}
	down    chan struct{}
	mtu     int
	offload Offload
	refuse  func(h header) error // what WriteFrame returns for a header

	mu      sync.Mutex
	written [][]byte
	notify  chan struct{} // gets a value per write, as far as it has room
}

func newMemLink(o Offload) *memLink {
	return &memLink{
		frames: make(chan []byte, 1024), bell: make(chan struct{}, 1), down: make(chan struct{}), mtu: 1500, offload: o,
		notify: make(chan struct{}, 1024),
	}
}

func (l *memLink) ReadFrame(b []byte) (int, error) {
	select {
	case f := <-l.frames:
		return copy(b, f), nil
	case <-l.bell:
		return 0, ErrInterrupted
	case <-l.down:
		return 0, os.ErrClosed
	}
}

func (l *memLink) WriteFrame(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		var h header
		h.decode(b)
		if err := l.refuse(h); err != nil {
			return err
		}
	}
	l.written = append(l.written, append([]byte(nil), b...))
	select {
	case l.notify <- struct{}{}:
	default:
	}
	return nil
}

func (l *memLink) Interrupt() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

func (l *memLink) MTU() int         { return l.mtu }
func (l *memLink) Offload() Offload { return l.offload }

func (l *memLink) got() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// allOffloads is what a recent Linux has.
const allOffloads = OffloadChecksum | OffloadTSO | OffloadECN | OffloadUSO

// buffers returns n buffers for a Read.
func buffers(n, offset int) ([][]byte, []int) {
	bufs := make([][]byte, n)
	for i := range bufs {
		bufs[i] = make([]byte, offset+maxIP)
	}
	return bufs, make([]int, n)
}

// packets copies what a Read returned.
func packets(bufs [][]byte, sizes []int, n, offset int) [][]byte {
	out := [][]byte{}
	for i := range n {
		out = append(out, append([]byte(nil), bufs[i][offset:offset+sizes[i]]...))
	}
	return out
}
