package conntrack

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.com/secgroup/conntrack/packet"
)

const second = Time(time.Second)

// Addresses of the tests: a workload, its peer and a stranger.
const (
	inside   = "10.0.0.1"
	outside  = "192.0.2.7"
	stranger = "198.51.100.9"
)

func tuple(proto uint8, src, dst string) Tuple {
	ap := func(s string) netip.AddrPort {
		if a, err := netip.ParseAddrPort(s); err == nil {
			return a
		}
		return netip.AddrPortFrom(netip.MustParseAddr(s), 0)
	}
	return packet.TupleFrom(proto, ap(src), ap(dst))
}

func udp(src, dst string) *packet.Packet {
	return &packet.Packet{Tuple: tuple(packet.ProtoUDP, src, dst), Length: 100, L4: 20}
}

// tcp returns a segment; flags are letters: S A F R P U E C.
func tcp(src, dst, flags string) *packet.Packet {
	return &packet.Packet{Tuple: tuple(packet.ProtoTCP, src, dst), Length: 40, L4: 20, Flags: tcpFlags(flags)}
}

// seg returns a segment with its numbers.
func seg(src, dst, flags string, seq, ack, data uint32, window uint16) *packet.Packet {
	p := tcp(src, dst, flags)
	p.Seq, p.Ack, p.SACK, p.Data, p.Window = seq, ack, ack, data, window
	p.Length += data
	return p
}

func tcpFlags(s string) (f uint8) {
	for _, c := range s {
		f |= 1 << strings.IndexRune("FSRPAUEC", c)
	}
	return f
}

// icmp returns a query or a reply with an identifier.
func icmp(src, dst string, typ uint8, id uint16) *packet.Packet {
	t := tuple(packet.ProtoICMP, src, dst)
	if t.Family == 6 {
		t.Proto = packet.ProtoICMPv6
	}
	t.SrcPort, t.DstPort = id, id
	return &packet.Packet{Tuple: t, Length: 84, L4: 20, ICMPType: typ}
}

// icmpError returns an error about a packet.
func icmpError(src, dst string, typ uint8, about *packet.Packet) *packet.Packet {
	p := icmp(src, dst, typ, 0)
	if about != nil {
		p.Inner = packet.Quote{Tuple: about.Tuple, Seq: about.Seq, ICMPType: about.ICMPType, ICMPCode: about.ICMPCode}
	}
	return p
}

// gate is the simplest firewall: everything may leave; what enters must belong
// to a connection unless its destination port is open.
type gate struct {
	*Table
	now  Time
	zone Zone
	open []uint16
	said map[Tuple]talk
}

// talk is what one end of a connection has said so far.
type talk struct{ first, next uint32 }

// number gives a segment without a window the numbers that an end would give
// it that has received all that passed.
func (g *gate) number(p *packet.Packet) {
	if g.said == nil {
		g.said = map[Tuple]talk{}
	}
	if p.Flags&packet.SYN != 0 && g.status().closed() { // a new connection, not a retransmission
		delete(g.said, p.Tuple)
		delete(g.said, reverse(p.Tuple))
	}
	me, ok := g.said[p.Tuple]
	if !ok {
		me.first = uint32(len(g.said)+1) * 1_000_000
		me.next = me.first
	}
	p.Seq, p.Window = me.next, 8192
	if p.Flags&packet.SYN != 0 {
		p.Seq = me.first
	}
	if p.Flags&packet.ACK != 0 {
		p.Ack = g.said[reverse(p.Tuple)].next
		p.SACK = p.Ack
	}
	if end := endOf(p); after(end, me.next) {
		me.next = end
	}
	g.said[p.Tuple] = me
}

func newGate(open ...uint16) *gate { return &gate{Table: NewTable(Options{Shards: 2}), open: open} }

// from passes p, sent by side, and returns "A" or "D".
func (g *gate) from(side Side, p *packet.Packet) string {
	if p.Tuple.Proto == packet.ProtoTCP && p.Window == 0 && p.Seq == 0 {
		g.number(p)
	}
	switch c := g.Track(g.now, g.zone, side, p); c.State {
	case Established, Related:
		if c.Dir == Original && opens(p) { // once more: the rules let it
			if c, err := g.Commit(g.now, g.zone, side, p, 1, 1); err != nil || c.State != Established {
				return "D"
			}
		}
		return "A"
	case New:
		if side == Local || slices.Contains(g.open, p.Tuple.DstPort) && p.Tuple.Proto != packet.ProtoICMP {
			if _, err := g.Commit(g.now, g.zone, side, p, 1, 1); err == nil {
				return "A"
			}
		}
	}
	return "D"
}

func (g *gate) out(p *packet.Packet) string { return g.from(Local, p) }
func (g *gate) in(p *packet.Packet) string  { return g.from(Remote, p) }

// status returns the status of the only entry, or NONE.
func (g *gate) status() Status {
	for e := range g.All(g.now) {
		return e.Status
	}
	return statusFree
}
