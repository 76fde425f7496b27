package main

import (
	"math/rand"
	"net/netip"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/header/parse"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"example.com/secgroup/sg"
)

// gvisor is the IPTables of gVisor's network stack with the rules in the input
// chain, and the packets taken through the prerouting and input hooks, as the
// stack does for what is its own. Its connection table tracks sequence numbers,
// but no rule can ask for the state: replies pass only where a rule lets them.
// It is safe for concurrent use.
type gvisor struct {
	w      *world
	tables *stack.IPTables
}

func newGvisor(w *world, _ int) (engine, error) {
	e := &gvisor{w: w}
	return e, e.forget()
}

// newGvisorOpen has one rule that accepts all: the cost of its connection
// table alone.
func newGvisorOpen(*world, int) (engine, error) {
	e := &gvisor{}
	return e, e.forget()
}

// forget makes the tables anew: there is no other way.
func (e *gvisor) forget() error {
	e.tables = gvisorTables(e.w)
	return nil
}

func gvisorTables(w *world) *stack.IPTables {
	t := stack.DefaultTables(tcpip.NewStdClock(), rand.New(rand.NewSource(1)))
	for _, six := range []bool{false, true} {
		t.ForceReplaceTable(stack.FilterID, gvisorTable(w, six), six)
	}
	return t
}

// gvisorTable is the filter table of a family: a rule per prefix in the input
// chain, whose policy is to drop.
func gvisorTable(w *world, six bool) stack.Table {
	proto, empty := header.IPv4ProtocolNumber, stack.EmptyFilter4()
	if six {
		proto, empty = header.IPv6ProtocolNumber, stack.EmptyFilter6()
	}
	accept := &stack.AcceptTarget{NetworkProtocol: proto}
	t := stack.EmptyFilterTable()
	end := stack.Rule{Filter: empty, Target: accept}
	if w != nil {
		end.Target = &stack.DropTarget{NetworkProtocol: proto}
		for _, r := range w.rules {
			for _, p := range r.sources {
				if p.Addr().Is6() != six {
					continue
				}
				f := empty
				f.Protocol, f.CheckProtocol = tcpip.TransportProtocolNumber(r.Protocol), true
				f.Src, f.SrcMask = gvisorPrefix(p)
				rule := stack.Rule{Filter: f, Target: accept}
				if r.Protocol.HasPorts() && !r.Ports.IsAll() {
					rule.Matchers = []stack.Matcher{&gvisorPorts{f.Protocol, r.Ports.First, r.Ports.Last}}
				}
				t.Rules = append(t.Rules, rule)
			}
		}
	}
	input := len(t.Rules) // the end of the input chain
	t.Rules = append(t.Rules, end, stack.Rule{Filter: empty, Target: accept}, stack.Rule{Filter: empty, Target: accept},
		stack.Rule{Filter: empty, Target: &stack.ErrorTarget{NetworkProtocol: proto}})
	t.BuiltinChains[stack.Input], t.Underflows[stack.Input] = 0, input
	for i, hook := range []stack.Hook{stack.Forward, stack.Output} {
		t.BuiltinChains[hook], t.Underflows[hook] = input+1+i, input+1+i
	}
	return t
}

func gvisorPrefix(p netip.Prefix) (addr, mask tcpip.Address) {
	m := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return tcpip.AddrFromSlice(p.Addr().AsSlice()), tcpip.AddrFromSlice(m)
}

// gvisorPorts matches destination ports. gVisor's own matchers of ports are
// with its Linux personality, which is no library; they do a little more.
type gvisorPorts struct {
	proto       tcpip.TransportProtocolNumber
	first, last uint16
}

// Match implements stack.Matcher.
func (m *gvisorPorts) Match(_ stack.Hook, p *stack.PacketBuffer, _, _ string) (matches, hotdrop bool) {
	h := p.TransportHeader().Slice()
	if p.TransportProtocolNumber != m.proto {
		return false, false
	}
	if len(h) < header.UDPMinimumSize {
		return false, true
	}
	port := header.UDP(h).DestinationPort() // where TCP has it too
	return m.first <= port && port <= m.last, false
}

func (e *gvisor) filter(_ sg.Direction, packets [][]byte) (n int) {
	for _, b := range packets {
		if e.one(b) {
			n++
		}
	}
	return n
}

// one takes a packet through the hooks. A buffer can pass them once only, so
// each packet is wrapped, and copied, as by gVisor's link endpoints. Checksums
// count as verified.
func (e *gvisor) one(b []byte) bool {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer p.DecRef()
	p.RXChecksumValidated = true
	proto := tcpip.TransportProtocolNumber(0)
	if header.IPVersion(b) == header.IPv4Version {
		if !parse.IPv4(p) {
			return false
		}
		proto = header.IPv4(p.NetworkHeader().Slice()).TransportProtocol()
	} else {
		next, _, _, _, ok := parse.IPv6(p)
		if !ok {
			return false
		}
		proto = next
	}
	switch proto {
	case header.TCPProtocolNumber:
		parse.TCP(p)
	case header.UDPProtocolNumber:
		parse.UDP(p)
	}
	return e.tables.CheckPrerouting(p, nil, "eth0") && e.tables.CheckInput(p, "eth0")
}

func (e *gvisor) close() {}
