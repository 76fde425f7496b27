package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// stride is what a packet has room for in a ring: two cache lines, as none of
// them needs more.
const stride = 128

// ring is packets that lie side by side, as in the buffers of a driver. It
// holds no pointers, so that the garbage collector has nothing to do with it.
type ring struct {
	data []byte
	size []uint8
}

func newRing(n int) *ring {
	return &ring{make([]byte, 0, n*stride), make([]uint8, 0, n)}
}

func (r *ring) len() int { return len(r.size) }

func (r *ring) at(i int) []byte {
	return r.data[i*stride : i*stride+int(r.size[i]) : (i+1)*stride]
}

// add appends the packet of a tuple.
func (r *ring) add(t packet.Tuple, h workload.Header) {
	from := len(r.data)
	r.data = workload.AppendPacket(r.data, t, h)
	n := len(r.data) - from
	if n > stride {
		panic(fmt.Sprintf("a packet of %d bytes", n))
	}
	r.size = append(r.size, uint8(n))
	r.data = append(r.data, make([]byte, stride-n)...)
}

// views appends the packets from i on, n of them, to to.
func (r *ring) views(to [][]byte, i, n int) [][]byte {
	for j := i; j < i+n; j++ {
		to = append(to, r.at(j))
	}
	return to
}

// opening is a ring of packets that open the flows from outside: again and
// again with another port, up to n.
func (w *world) opening(flows []ir.Flow, n int) *ring {
	r := newRing(n)
	for i := range n {
		f := workload.Flow{Direction: sg.Ingress, Flow: flows[i%len(flows)]}
		h := workload.Header{Data: 32}
		if sg.Protocol(f.Protocol) == sg.TCP {
			h = workload.Header{Flags: packet.SYN}
		}
		r.add(f.Tuple(w.local[sg.FamilyOf(f.Remote)], uint16(1_024+i/len(flows))), h)
	}
	return r
}

// outbound is n flows that the interface opens, all different.
type outbound struct {
	proto  sg.Protocol
	family sg.Family
	local  netip.Addr
	n      int
}

// tuple is that of the packet that opens flow i. Remotes are 198.18.0.0/15
// (RFC 2544) and 2001:2::/48 (RFC 5180), which are for benchmarks; port
// numbers make up the rest.
func (o outbound) tuple(i int) packet.Tuple {
	const hosts = 1 << 17
	host, port := i%hosts, uint16(10_000+i/hosts)
	remote := netip.AddrFrom4([4]byte{198, byte(18 + host>>16), byte(host >> 8), byte(host)})
	if o.family == sg.IPv6 {
		remote = netip.AddrFrom16([16]byte{0x20, 0x01, 0, 2, 13: byte(host >> 16), 14: byte(host >> 8), 15: byte(host)})
	}
	return packet.TupleFrom(uint8(o.proto), netip.AddrPortFrom(o.local, port), netip.AddrPortFrom(remote, 443))
}

// first is the packet that opens a flow: a SYN, or a datagram.
func (o outbound) first(r *ring, i int) {
	h := workload.Header{Data: 16}
	if o.proto == sg.TCP {
		h = workload.Header{Flags: packet.SYN, Seq: 1}
	}
	r.add(o.tuple(i), h)
}

// answer is what comes back first: a SYN-ACK, or a datagram.
func (o outbound) answer(r *ring, i int) {
	h := workload.Header{Data: 16}
	if o.proto == sg.TCP {
		h = workload.Header{Flags: packet.SYN | packet.ACK, Seq: 1, Ack: 2}
	}
	r.add(o.tuple(i).Reverse(), h)
}

// ack ends the handshake of a TCP connection.
func (o outbound) ack(r *ring, i int) {
	r.add(o.tuple(i), workload.Header{Flags: packet.ACK, Seq: 2, Ack: 2})
}

// reply is a packet of an established flow that arrives: a segment with data.
func (o outbound) reply(r *ring, i int) {
	h := workload.Header{Data: 16}
	if o.proto == sg.TCP {
		h = workload.Header{Flags: packet.ACK, Seq: 2, Ack: 2, Data: 16}
	}
	r.add(o.tuple(i).Reverse(), h)
}

// replies is one of every flow, in random order.
func (o outbound) replies() *ring {
	r := newRing(o.n)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(o.n) {
		o.reply(r, i)
	}
	return r
}
