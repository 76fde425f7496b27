package workload_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

func seed(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 1)) }

// town is a shape that has some of everything.
func town() workload.Shape {
	return workload.Shape{VPCs: 3, Groups: 20, RulesPerGroup: 12, Interfaces: 40, GroupsPerInterface: 3, Sets: 7, EntriesPerSet: 30}
}

func program(t require.TestingT, s *policy.Snapshot) *ir.Program {
	m, err := compile.Compile(s)
	require.NoError(t, err)
	return m.Program()
}

// everything is all that a seed leads to, as text.
func everything(t require.TestingT, n uint64) string {
	r := seed(n)
	p := workload.Policy(r, town())
	doc, err := document.Encode(p)
	require.NoError(t, err)
	prog := program(t, p)
	text := string(doc) + fmt.Sprintln(workload.Rules(r, 50))
	for _, f := range workload.Flows(r, prog, 100, 0.5) {
		text += fmt.Sprintf("%v %x\n", f, f.Packet(f.Local(prog), 40_000))
	}
	return text
}

// TestDeterminism: a seed gives the same bytes every time, and another seed
// gives others.
func TestDeterminism(t *testing.T) {
	require.Equal(t, everything(t, 1), everything(t, 1))
	require.NotEqual(t, everything(t, 1), everything(t, 2))
}

// TestPolicyIsValid: whatever the shape, the policy is valid, has that shape,
// compiles, and survives its document.
func TestPolicyIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, max int) int { return rapid.IntRange(0, max).Draw(t, name) }
		s := workload.Shape{
			VPCs: n("vpcs", 5), Groups: n("groups", 12), RulesPerGroup: n("rules", 12),
			Interfaces: n("interfaces", 20), GroupsPerInterface: n("per interface", 6), Sets: n("sets", 8), EntriesPerSet: n("entries", 20),
		}
		p := workload.Policy(seed(rapid.Uint64().Draw(t, "seed")), s)
		require.NoError(t, p.Validate())
		require.Equal(t, policy.Size{Groups: s.Groups, Sets: s.Sets, Interfaces: s.Interfaces}, p.Size())
		for g := range p.Groups() {
			require.Len(t, g.Rules, s.RulesPerGroup)
		}
		for set := range p.Sets() {
			require.Equal(t, s.EntriesPerSet, set.Len())
		}
		for i := range p.Interfaces() {
			require.LessOrEqual(t, len(i.Groups), s.GroupsPerInterface)
		}
		program(t, p)
	})
}

// TestRulesMix: the shares of protocols and families are those documented.
func TestRulesMix(t *testing.T) {
	const n = 10_000
	rules := workload.Rules(seed(1), n)
	require.NoError(t, workload.Single(rules).Validate())
	count := map[any]int{}
	for _, r := range rules {
		count[r.Protocol]++
		count[r.EffectiveFamily()]++
		c, _ := r.Peer.CIDR()
		low, high := 8, 32
		if c.Addr().Is6() {
			low, high = 32, 128
		}
		require.GreaterOrEqual(t, c.Bits(), low)
		require.LessOrEqual(t, c.Bits(), high)
		switch {
		case !r.Protocol.HasPorts():
		case r.Ports.IsAll():
			count["all ports"]++
		case r.Ports.First == r.Ports.Last:
			count["one port"]++
		default:
			count["range"]++
		}
	}
	for what, want := range map[any]float64{
		sg.TCP: 0.65, sg.UDP: 0.25, sg.ICMP: 0.07, sg.ICMPv6: 0.03, sg.IPv4: 0.7, sg.IPv6: 0.3,
		"one port": 0.54, "range": 0.27, "all ports": 0.09,
	} {
		require.InDelta(t, want, float64(count[what])/n, 0.02, "%v", what)
	}
}

// TestFlowsHit: about the asked share of flows is accepted, and what counts as
// accepted is what Program.Eval accepts.
func TestFlowsHit(t *testing.T) {
	for name, p := range map[string]*policy.Snapshot{
		"town": workload.Policy(seed(3), town()),
		"W10":  workload.Single(workload.Rules(seed(3), 10)),
		"W1k":  workload.Single(workload.Rules(seed(3), 1_000)),
		"sets": workload.Single(
			[]sg.Rule{{ID: "a", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerSet("ips-1")}},
			workload.Set(seed(3), "ips-1", sg.IPv4, 200)),
	} {
		t.Run(name, func(t *testing.T) {
			prog := program(t, p)
			for _, hit := range []float64{0, 0.3, 1} {
				const n = 600
				accepted := 0
				for _, f := range workload.Flows(seed(4), prog, n, hit) {
					if prog.Eval(f.Interface, f.Direction, f.Flow).Action == sg.Accept {
						accepted++
					}
				}
				require.InDelta(t, hit, float64(accepted)/n, 0.08)
			}
		})
	}
}

// TestFlowsOfLittle: programs that leave no choice give what they have.
func TestFlowsOfLittle(t *testing.T) {
	require.Empty(t, workload.Flows(seed(1), program(t, workload.Policy(seed(1), workload.Shape{})), 10, 1))
	shut := program(t, workload.Single(nil))
	for _, f := range workload.Flows(seed(1), shut, 10, 1) {
		require.Equal(t, sg.Drop, shut.Eval(f.Interface, f.Direction, f.Flow).Action)
	}
}

// TestFlowsAreHonest: hygiene refuses no source of a flow, whatever the rules
// name.
func TestFlowsAreHonest(t *testing.T) {
	open := []sg.Rule{
		{ID: "all-4", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0"))},
		{ID: "all-6", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(netip.MustParsePrefix("::/0"))},
	}
	martians := []sg.Rule{
		{ID: "loop", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(netip.MustParsePrefix("127.0.0.0/8"))},
	}
	for name, rules := range map[string][]sg.Rule{"open": open, "martians": martians} {
		prog := program(t, workload.Single(rules))
		for _, f := range append(workload.Flows(seed(1), prog, 2_000, 1), workload.Flows(seed(1), prog, 2_000, 0)...) {
			a := f.Remote
			require.False(t, a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.Is4In6() || a == f.Local(prog), "%s: %v", name, f)
			if a.Is4() {
				require.True(t, netip.MustParseAddr("1.0.0.0").Compare(a) <= 0 && a.Less(netip.MustParseAddr("224.0.0.0")), "%s: %v", name, f)
			}
		}
	}
}

// TestPacket: a flow's packet decodes to the flow, and gopacket agrees with
// its lengths and checksums.
func TestPacket(t *testing.T) {
	prog := program(t, workload.Policy(seed(5), town()))
	seen := map[string]bool{}
	for i, f := range workload.Flows(seed(6), prog, 2_000, 0.5) {
		local, port := f.Local(prog), uint16(1_024+i)
		raw := f.Packet(local, port)
		var p packet.Packet
		require.NoError(t, packet.Decode(raw, &p), "%+v", f)
		require.Equal(t, f.Flow, enforce.FlowOf(&p, f.Direction))
		require.Equal(t, f.Tuple(local, port), p.Tuple)
		require.Equal(t, len(raw), int(p.Length))
		if p.Tuple.HasPorts() {
			require.Equal(t, port, p.Tuple.SrcPort)
		}
		if p.Tuple.Proto == packet.ProtoTCP {
			require.Equal(t, packet.SYN, p.Flags)
		}
		requireChecksums(t, raw)
		seen[fmt.Sprint(p.Tuple.Proto, f.Direction)] = true
	}
	require.Len(t, seen, 8) // TCP, UDP, ICMP, ICMPv6 both ways
}

// requireChecksums has gopacket compute all checksums of a packet anew.
func requireChecksums(t *testing.T, raw []byte) {
	first := gopacket.LayerType(layers.LayerTypeIPv4)
	if raw[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	parsed := gopacket.NewPacket(raw, first, gopacket.Lazy) // the data is zeros, of no protocol
	var list []gopacket.SerializableLayer
	for _, kind := range []gopacket.LayerType{first, layers.LayerTypeTCP, layers.LayerTypeUDP, layers.LayerTypeICMPv4, layers.LayerTypeICMPv6} {
		l := parsed.Layer(kind)
		if l == nil {
			continue
		}
		if s, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			require.NoError(t, s.SetNetworkLayerForChecksum(parsed.NetworkLayer()))
		}
		list = append(list, l.(gopacket.SerializableLayer))
		if kind != first {
			list = append(list, gopacket.Payload(l.LayerPayload()))
		}
	}
	require.Len(t, list, 3)
	b := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{ComputeChecksums: true, FixLengths: true}, list...))
	require.Equal(t, raw, b.Bytes())
}

// TestAppendPacket: fields of established segments, and protocols that Flows
// never makes.
func TestAppendPacket(t *testing.T) {
	a, b := netip.MustParseAddrPort("[2001:db8::1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:443")
	var p packet.Packet
	raw := workload.AppendPacket([]byte("head"), packet.TupleFrom(packet.ProtoTCP, a, b), workload.Header{
		Flags: packet.ACK | packet.PSH, Seq: 7, Ack: 9, Data: 100,
	})
	require.Equal(t, "head", string(raw[:4]))
	require.NoError(t, packet.Decode(raw[4:], &p))
	require.Equal(t, []uint32{7, 9, 100, 160}, []uint32{p.Seq, p.Ack, p.Data, p.Length})
	requireChecksums(t, raw[4:])

	raw = workload.AppendPacket(nil, packet.TupleFrom(packet.ProtoSCTP, a, b), workload.Header{})
	require.NoError(t, packet.Decode(raw, &p))
	require.Equal(t, uint16(443), p.Tuple.DstPort)

	gre := packet.TupleFrom(47, netip.MustParseAddrPort("192.0.2.1:0"), netip.MustParseAddrPort("192.0.2.2:0"))
	require.NoError(t, packet.Decode(workload.AppendPacket(nil, gre, workload.Header{Data: 9}), &p))
	require.Equal(t, gre, p.Tuple)
}

// TestPanics: faults of the caller, and nothing else, panic.
func TestPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"negative shape": func() { workload.Policy(seed(1), workload.Shape{Groups: -1}) },
		"negative rules": func() { workload.Rules(seed(1), -1) },
		"set of any":     func() { workload.Set(seed(1), "s", sg.FamilyAny, 1) },
		"unknown set": func() {
			workload.Single([]sg.Rule{{ID: "a", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerSet("x")}})
		},
		"negative flows":  func() { workload.Flows(seed(1), program(t, workload.Single(nil)), -1, 0) },
		"no tuple":        func() { workload.AppendPacket(nil, packet.Tuple{}, workload.Header{}) },
		"65,536 bytes":    func() { workload.AppendPacket(nil, packet.Tuple{Family: 4}, workload.Header{Data: 65_516}) },
		"negative data":   func() { workload.AppendPacket(nil, packet.Tuple{Family: 4}, workload.Header{Data: -1}) },
		"mixed families":  func() { workload.Flow{Flow: ir.Flow{Remote: netip.IPv6Loopback()}}.Packet(netip.IPv4Unspecified(), 1) },
		"no local at all": func() { workload.Flow{Flow: ir.Flow{Remote: netip.IPv6Loopback()}}.Packet(netip.Addr{}, 1) },
	} {
		require.Panics(t, f, name)
	}
}
