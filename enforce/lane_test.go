package enforce_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// raw returns a packet of TCP (a segment is all that stands behind the ports) or
// of another protocol, with the right checksums.
func raw(src, dst netip.Addr, proto uint8, sport, dport uint16, behind []byte) []byte {
	be := binary.BigEndian
	d := append(be.AppendUint16(be.AppendUint16(nil, sport), dport), behind...)
	var b []byte
	sum := uint64(len(d)) + uint64(proto)
	if src.Is4() {
		b = []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0}
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		be.PutUint16(b[2:], uint16(20+len(d)))
		be.PutUint16(b[10:], ^packet.Fold(packet.Sum(b, 0)))
		sum = packet.Sum(b[12:20], sum)
	} else {
		b = []byte{0x60, 0, 0, 0, 0, 0, proto, 64}
		b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
		be.PutUint16(b[4:], uint16(len(d)))
		sum = packet.Sum(b[8:40], sum)
	}
	switch proto {
	case packet.ProtoTCP:
		be.PutUint16(d[16:], ^packet.Fold(packet.Sum(d, sum)))
	case packet.ProtoUDP:
		be.PutUint16(d[6:], ^packet.Fold(packet.Sum(d, sum)))
	}
	return append(b, d...)
}

// talk is the traffic of some hosts with the workload: what each end has sent.
type talk map[netip.AddrPort]uint32

// draw draws a packet and its direction, likely one that fits what went before.
func (k talk) draw(t *rapid.T) (sg.Direction, []byte) {
	addr := func(list ...string) netip.Addr {
		return netip.MustParseAddr(rapid.SampledFrom(list).Draw(t, "address"))
	}
	peer, local := addr("192.0.2.7", "192.0.2.7", "192.0.2.7", "127.0.0.1", "224.0.0.1", "10.0.0.5"), addr("10.0.0.5", "10.0.0.5", "10.0.0.5", "10.9.0.5")
	if rapid.Bool().Draw(t, "six") {
		peer, local = addr("2001:db8::7", "2001:db8::7", "2001:db8::7", "::1", "ff02::1", "fd00::5", "::ffff:192.0.2.7"), addr("fd00::5", "fd00::5", "fd00::5", "fd01::5")
	}
	src := netip.AddrPortFrom(peer, rapid.Uint16Range(1, 2).Draw(t, "client"))
	dst := netip.AddrPortFrom(local, rapid.SampledFrom([]uint16{443, 443, 443, 53, 22}).Draw(t, "port"))
	d := sg.Ingress
	if rapid.Bool().Draw(t, "out") {
		d, src, dst = sg.Egress, dst, src
	}
	proto := rapid.SampledFrom([]uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoUDP, packet.ProtoICMP, 47}).Draw(t, "proto")
	be := binary.BigEndian
	var behind []byte
	switch proto {
	case packet.ProtoTCP:
		flags := rapid.SampledFrom([]uint8{
			packet.ACK, packet.ACK, packet.ACK, packet.ACK | packet.PSH, packet.SYN, packet.SYN, packet.SYN | packet.ACK, packet.SYN | packet.ACK,
			packet.FIN | packet.ACK, packet.RST | packet.ACK, packet.SYN | packet.FIN,
		}).Draw(t, "flags")
		options := rapid.SampledFrom([]string{
			"", "", "\x01\x01\x08\x0a12345678", "\x01\x01\x05\x0a\x00\x00\x01\x00\x00\x00\x02\x00", "\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x01\x01", "\x01\x01\x01\x00",
		}).Draw(t, "options")
		stray := rapid.SampledFrom([]uint32{0, 0, 0, 0, 0, 1, 70_000, 1 << 31}).Draw(t, "stray")
		behind = be.AppendUint32(be.AppendUint32(nil, k[src]+stray), k[dst])
		behind = append(behind, uint8(20+len(options))<<2, flags)
		behind = be.AppendUint16(behind, rapid.SampledFrom([]uint16{8192, 0}).Draw(t, "window"))
		behind = append(append(behind, 0, 0, 0, 0), options...)
		n := rapid.SampledFrom([]int{0, 0, 1, 500}).Draw(t, "data")
		behind = append(behind, make([]byte, n)...)
		if stray == 0 {
			k[src] += uint32(n)
			if flags&(packet.SYN|packet.FIN) != 0 {
				k[src]++
			}
		}
	case packet.ProtoUDP:
		n := rapid.IntRange(0, 30).Draw(t, "data")
		behind = append(be.AppendUint16(nil, uint16(8+n)), make([]byte, 2+n)...)
	default:
		behind = make([]byte, rapid.IntRange(0, 20).Draw(t, "data"))
	}
	b := raw(src.Addr(), dst.Addr(), proto, src.Port(), dst.Port(), behind)
	switch rapid.IntRange(0, 9).Draw(t, "harm") {
	case 0:
		b[rapid.IntRange(0, min(len(b), 64)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	case 1:
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "cut")]
	case 2:
		b = append(b, make([]byte, 6)...)
	}
	return d, b
}

// judged is an engine with what it reported.
type judged struct {
	*enforce.Engine
	events []enforce.Event
}

// state is all that can be seen of an engine but its events.
func (j *judged) state(now conntrack.Time) any {
	type state struct {
		entries  []conntrack.Entry
		stats    conntrack.Stats
		drops    map[ir.Reason]uint64
		counters map[ir.RuleRef]enforce.Counter
	}
	s := state{stats: j.Table().Stats(), drops: map[ir.Reason]uint64{}, counters: map[ir.RuleRef]enforce.Counter{}}
	for e := range j.Table().All(now) {
		s.entries = append(s.entries, e)
	}
	slices.SortFunc(s.entries, func(a, b conntrack.Entry) int { return strings.Compare(a.Orig.String(), b.Orig.String()) })
	for r, n := range j.Drops() {
		s.drops[r] = n
	}
	for r, c := range j.Counters() {
		s.counters[r] = c
	}
	return s
}

// TestLanes: an engine decides as one that decodes every packet and takes no
// short way, one by one and in batches: the same verdicts, entries, counters,
// drops and events, packet by packet.
func TestLanes(t *testing.T) {
	seen := map[ir.Reason]int{}
	var compiler compile.Compiler
	all := func() bool {
		for _, r := range []ir.Reason{
			ir.ReasonEstablished, ir.ReasonRule, ir.ReasonNoRule, ir.ReasonMalformed, ir.ReasonMartian, ir.ReasonLand, ir.ReasonSpoofed, ir.ReasonChecksum,
			ir.ReasonInvalidState,
		} {
			if seen[r] == 0 {
				return false
			}
		}
		return true
	}
	until(t, all, func(rt *rapid.T) {
		var clock time.Duration
		o := enforce.Options{
			Checksums: rapid.SampledFrom([]enforce.Checksums{enforce.ChecksumsUnknown, enforce.ChecksumsUnknown, enforce.ChecksumsHeader, enforce.ChecksumsAll}).Draw(rt, "checksums"),
			Hygiene:   enforce.Hygiene{AllowMartians: rapid.Bool().Draw(rt, "martians"), AllowLand: rapid.Bool().Draw(rt, "land")},
			Conntrack: conntrack.Options{
				MaxEntries: 64, Shards: 1, MaxFragments: 16, TCPLoose: rapid.Bool().Draw(rt, "loose"),
				Timeouts: conntrack.Timeouts{TCPEstablished: 100 * time.Second, UDP: 10 * time.Second, UDPStream: 20 * time.Second},
			},
			Now: func() time.Time { return start().Add(clock) },
		}
		silent := rapid.Bool().Draw(rt, "silent")
		engine := func() *judged {
			j, o := new(judged), o
			if !silent {
				o.OnEvent = func(e *enforce.Event) { j.events = append(j.events, *e) }
			}
			j.Engine = enforce.NewEngine(o)
			return j
		}
		plain, lanes := engine(), engine()
		wide := rapid.Bool().Draw(rt, "wide")
		n := nic("i", "web", "less")
		n.Interface.SourceGuard = rapid.Bool().Draw(rt, "guard")
		n.Interface.Allowed = []netip.Prefix{mustPrefix("10.9.0.0/24"), mustPrefix("fd01::/63")}
		apply := func(closed bool) {
			rules := both("out", sg.Egress, sg.TCP, 0)
			if !closed {
				rules = append(rules, both("in", sg.Ingress, sg.TCP, 443)...)
			}
			m, err := compiler.Reset(snapshot(t, profile(sg.Revalidate), group("web", rules, both("dns", sg.Ingress, sg.UDP, 53)),
				stateless(group("less", both("s", sg.Ingress, sg.UDP, 443))), n))
			require.NoError(rt, err)
			for _, e := range []*judged{plain, lanes} {
				require.NoError(rt, e.Apply(t.Context(), m))
			}
			if wide {
				lanes.Port("i").Widen()
			}
		}
		apply(false)
		said := talk{}
		for range rapid.IntRange(1, 60).Draw(rt, "batches") {
			clock += time.Duration(rapid.SampledFrom([]int{0, 0, 1, 3, 15, 150}).Draw(rt, "seconds")) * time.Second
			for _, e := range []*judged{plain, lanes} {
				e.Sweep(0) // has read the clock: a batch does so though none of its packets needs it, and a leap counts from reading to reading
			}
			if rapid.IntRange(0, 20).Draw(rt, "change") == 0 {
				apply(rapid.Bool().Draw(rt, "closed"))
			}
			// A malformed packet need not move a clock on; but of leaps that add
			// up to more than the longest timeout the table takes only that much,
			// so both see every step.
			for _, e := range []*judged{plain, lanes} {
				for range e.Table().All(conntrack.Time(clock)) {
					break
				}
			}
			d, b := said.draw(rt)
			pkts := [][]byte{b}
			for range rapid.SampledFrom([]int{0, 0, 3, 70}).Draw(rt, "more") {
				if e, b := said.draw(rt); e == d {
					pkts = append(pkts, b)
				}
			}
			var want []ir.Verdict
			accepted := 0
			for _, b := range pkts {
				v := plain.Port("i").General(o.Checksums, d, b)
				if v.Action == sg.Accept {
					accepted++
				}
				seen[v.Reason]++
				want = append(want, v)
			}
			got := make([]ir.Verdict, len(pkts))
			if rapid.Bool().Draw(rt, "batch") {
				require.Equal(rt, accepted, lanes.Port("i").FilterBatch(d, pkts, got))
			} else {
				for i, b := range pkts {
					got[i] = lanes.Port("i").Filter(d, b)
				}
			}
			require.Equal(rt, want, got)
			require.Equal(rt, plain.events, lanes.events)
		}
		now := conntrack.Time(clock) + 1
		require.Equal(rt, plain.state(now), lanes.state(now))
	})
}

// until checks a property again until it has met what it is about.
func until(t *testing.T, met func() bool, property func(*rapid.T)) {
	for range 100 {
		if rapid.Check(t, property); met() {
			return
		}
	}
	t.Fatal("never met")
}

// remoteOf returns the remote address of w.
func remoteOf(w compile.Words) netip.Addr {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], w.High)
	binary.BigEndian.PutUint64(a[8:], w.Low)
	if w.Family == sg.IPv4 {
		return netip.AddrFrom4([4]byte(a[12:]))
	}
	return netip.AddrFrom16(a)
}

// TestPlainWords: of a packet that a lane says is new, the rules see what they
// would see of it decoded.
func TestPlainWords(t *testing.T) {
	table := conntrack.NewTable(conntrack.Options{MaxEntries: 16})
	known := 0
	until(t, func() bool { return known != 0 }, func(rt *rapid.T) {
		d, b := talk{}.draw(rt)
		l := table.Lane(1, conntrack.Remote, 1)
		if is, _ := l.Track(1, b); is != conntrack.New {
			return
		}
		known++
		var p packet.Packet
		require.NoError(rt, packet.Decode(b, &p))
		w := enforce.PlainWords(b, d)
		require.Equal(rt, enforce.FlowOf(&p, d), ir.Flow{Remote: remoteOf(w), Protocol: w.Protocol, Port: w.Port})
	})
}

// TestPlainChecksums: the short way to checksums says true only of packets whose
// checksums are right, and does so of those that need no long one.
func TestPlainChecksums(t *testing.T) {
	known := 0
	until(t, func() bool { return known != 0 }, func(rt *rapid.T) {
		_, b := talk{}.draw(rt)
		var p packet.Packet
		err := packet.Decode(b, &p)
		for _, all := range []bool{false, true} {
			if !packet.PlainChecksums(b, all) {
				continue
			}
			known++
			if err == nil {
				require.True(rt, p.Tuple.Family == 6 || packet.ChecksumIPv4(b))
				require.True(rt, !all || p.Checksum(b))
			}
		}
	})
}

// TestBatchOpens: what a packet of a batch opens, the next one belongs to, although
// the rules were asked about both before either was decided.
func TestBatchOpens(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		t.Run("one by one", func(t *testing.T) { batchOpens(t, f, false) })
		t.Run("together", func(t *testing.T) { batchOpens(t, f, true) })
	})
}

func batchOpens(t *testing.T, f family, wide bool) {
	b := newBench(t, enforce.Options{}, profile(sg.Revalidate), group("web", both("dns", sg.Ingress, sg.UDP, 53)), nic("i", "web"))
	require.False(t, b.Port("i").Wide(sg.Ingress), "few addresses")
	if wide {
		b.Port("i").Widen()
	}
	var pkts [][]byte
	var want []string
	for _, port := range []string{"1", "1", "2", "1", "3", "2", "4", "4"} {
		pkts = append(pkts, udp(at(f.peer, port), at(f.local, "53"), 20), udp(at(f.peer, port), at(f.local, "54"), 20))
		how := "accept rule"
		if slices.Contains(want, port) {
			how = "accept established"
		}
		want = append(want, port, how, "drop no_rule")
	}
	out := make([]ir.Verdict, len(pkts))
	require.Equal(t, len(pkts)/2, b.Port("i").FilterBatch(sg.Ingress, pkts, out))
	for i, v := range out {
		require.Equal(t, want[i/2*3+1+i%2], v.Action.String()+" "+v.Reason.String(), "packet %d", i)
	}
	require.Equal(t, 4, b.Table().Len())
}

// TestManyAddresses: where rules name many addresses, a batch gets what its packets
// get one by one, and that by a search for all of them.
func TestManyAddresses(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		set := ipset.New("many", sg.FamilyOf(netip.MustParseAddr(f.local)), sg.Global())
		var hosts []string
		for i := range 30_000 { // every other address
			a := netip.AddrFrom4([4]byte{100, 64 + byte(i>>15), byte(i >> 7), byte(i << 1)})
			if f.name == "ipv6" {
				a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(i >> 15), byte(i >> 7), byte(i << 1), 15: 1})
			}
			hosts = append(hosts, a.String())
			require.NoError(t, set.Add(ipset.Entry{Prefix: netip.PrefixFrom(a, a.BitLen())}))
		}
		e := enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 1024}})
		rule := sg.Rule{ID: "many", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerSet("many")}
		require.NoError(t, e.Apply(t.Context(), matcher(t, profile(sg.Revalidate), policy.PutSet{Set: set},
			group("web", []sg.Rule{rule}), group("none"), nic("i", "web"), nic("j", "web"))))
		require.True(t, e.Port("i").Wide(sg.Ingress))
		var pkts [][]byte
		var want []ir.Verdict
		for i := range 200 {
			host := hosts[i*131]
			if i%3 == 0 {
				host = netip.MustParseAddr(host).Next().String()
			}
			pkts = append(pkts, tcp(at(host, "4000"), at(f.local, []string{"443", "443", "22"}[i/3%3]), "S"))
			want = append(want, e.Port("j").Filter(sg.Ingress, pkts[i]))
			require.Equal(t, i%3 != 0 && i/3%3 != 2, want[i].Action == sg.Accept, host)
		}
		got := make([]ir.Verdict, len(pkts))
		e.Port("i").FilterBatch(sg.Ingress, pkts, got)
		require.Equal(t, want, got)
	})
}
