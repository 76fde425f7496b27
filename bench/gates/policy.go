package main

import (
	"context"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// rule returns an ingress rule for a protocol and ports, from any address of a
// family.
func rule(id string, f sg.Family, p sg.Protocol, first, last uint16) sg.Rule {
	return sg.Rule{
		ID: sg.RuleID(id + "-" + f.String()), Direction: sg.Ingress, Family: f, Protocol: p,
		Ports: sg.PortRange{First: first, Last: last}, Peer: sg.PeerAny(),
	}
}

// services are rules that let TCP and UDP in, at some ports.
func services(id string, first, last uint16) []sg.Rule {
	var out []sg.Rule
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		out = append(out, rule(id+"-tcp", f, sg.TCP, first, last), rule(id+"-udp", f, sg.UDP, first, last))
	}
	return out
}

// everything are rules that let in TCP, UDP and ICMP.
func everything() []sg.Rule {
	return append(services("any", 0, 65535),
		sg.Rule{ID: "ping-4", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.ICMP, Peer: sg.PeerAny()},
		sg.Rule{ID: "ping-6", Direction: sg.Ingress, Family: sg.IPv6, Protocol: sg.ICMPv6, Peer: sg.PeerAny()},
	)
}

// engine returns an engine that enforces rules on workload.SingleInterface.
func engine(ctx context.Context, o conntrack.Options, rules []sg.Rule) (*enforce.Engine, *compile.Matcher, error) {
	m, err := compile.Compile(workload.Single(rules))
	if err != nil {
		return nil, nil, err
	}
	e := enforce.NewEngine(enforce.Options{Conntrack: o})
	return e, m, e.Apply(ctx, m)
}

// local returns the addresses of workload.SingleInterface.
func local(m *compile.Matcher) (v4, v6 netip.Addr) {
	i, _ := m.Interface(workload.SingleInterface)
	for _, p := range i.Addrs {
		if p.Addr().Is4() {
			v4 = p.Addr()
		} else {
			v6 = p.Addr()
		}
	}
	return v4, v6
}

// tuple returns a 5-tuple towards the address to, from one that r draws.
func tuple(r *rand.Rand, to netip.Addr, proto uint8, port uint16) packet.Tuple {
	from := netip.AddrFrom4([4]byte{198, 18, byte(r.Uint32()), byte(1 + r.IntN(250))})
	if to.Is6() {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0x18}
		for i := 8; i < 16; i++ {
			b[i] = byte(r.Uint32())
		}
		from = netip.AddrFrom16(b)
	}
	return packet.TupleFrom(proto, netip.AddrPortFrom(from, uint16(1024+r.IntN(60000))), netip.AddrPortFrom(to, port))
}
