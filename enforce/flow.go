package enforce

import (
	"net/netip"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// FlowOf returns what the rules of direction d can see of p.
func FlowOf(p *packet.Packet, d sg.Direction) ir.Flow {
	f := ir.Flow{Protocol: p.Tuple.Proto, ICMPType: p.ICMPType, ICMPCode: p.ICMPCode}
	a := &p.Tuple.Src
	if d == sg.Egress {
		a = &p.Tuple.Dst
	}
	switch p.Tuple.Family { // as Tuple.SrcAddr, without a copy of the Tuple
	case 4:
		f.Remote = netip.AddrFrom4([4]byte(a[12:]))
	case 6:
		f.Remote = netip.AddrFrom16(*a)
	}
	if sg.Protocol(f.Protocol).HasPorts() {
		f.Port = p.Tuple.DstPort
		f.NoPorts = p.L4 == 0
	}
	return f
}

// openingFlow returns the direction and flow of the packet that opened the
// connection which p, seen in direction d, belongs to.
func openingFlow(p *packet.Packet, d sg.Direction, c conntrack.Conn) (sg.Direction, ir.Flow) {
	if c.State == conntrack.Related {
		// The quoted packet went the other way. It was a packet of the original
		// direction if the error travels in that of replies.
		q := packet.Packet{Tuple: p.Inner.Tuple, L4: 1, ICMPType: p.Inner.ICMPType, ICMPCode: p.Inner.ICMPCode}
		c.Dir ^= 1
		return opening(&q, d.Opposite(), c.Dir)
	}
	return opening(p, d, c.Dir)
}

func opening(p *packet.Packet, d sg.Direction, dir conntrack.Dir) (sg.Direction, ir.Flow) {
	if dir == conntrack.Original {
		return d, FlowOf(p, d)
	}
	f := FlowOf(p, d)
	if sg.Protocol(f.Protocol).HasPorts() {
		f.Port = p.Tuple.SrcPort
	}
	f.ICMPType = queryOf(f.Protocol, f.ICMPType) // the code of a query is that of its answers: the table asks for it
	return d.Opposite(), f
}

// queryOf returns the type of the ICMP query that typ answers: echo, timestamp,
// information and address mask (RFC 792, RFC 950, RFC 4443).
func queryOf(proto, typ uint8) uint8 {
	switch {
	case sg.Protocol(proto) == sg.ICMP && typ == 0:
		return 8
	case sg.Protocol(proto) == sg.ICMP && (typ == 14 || typ == 16 || typ == 18),
		sg.Protocol(proto) == sg.ICMPv6 && typ == 129:
		return typ - 1
	}
	return typ
}

// entryFlow returns the direction and flow that opened a tracked connection.
func entryFlow(c *conntrack.Entry) (sg.Direction, ir.Flow) {
	d := sg.Ingress
	if c.OrigSide == conntrack.Local {
		d = sg.Egress
	}
	p := packet.Packet{Tuple: c.Orig, L4: 1, ICMPType: c.ICMPType, ICMPCode: c.ICMPCode}
	return d, FlowOf(&p, d)
}

// side returns who sent a packet of direction d.
func side(d sg.Direction) conntrack.Side {
	if d == sg.Egress {
		return conntrack.Local
	}
	return conntrack.Remote
}

// opensConnection reports whether p is a segment that only a new connection,
// or a retry of its first packet, has: SYN without ACK, RST or FIN.
func opensConnection(p *packet.Packet) bool {
	return sg.Protocol(p.Tuple.Proto) == sg.TCP && p.Flags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN
}

// spoofed reports whether a packet has an address that interface i may not
// use. Unspecified and link-local sources, and link-local and multicast
// destinations, stay possible: DHCP and neighbour discovery need them. The
// IPv4-mapped forms of such addresses are not meant: netip takes them for both
// (RFC 4942 2.2).
func spoofed(i *ir.Interface, d sg.Direction, t *packet.Tuple) bool {
	src, dst := t.SrcAddr(), t.DstAddr()
	if d == sg.Egress {
		return !own(i, src) && !src.IsUnspecified() && !linkLocal6(src)
	}
	if contains(i.Addrs, src) {
		return true // its own address, coming from outside
	}
	broadcast := dst == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return !own(i, dst) && !(dst.IsMulticast() && !dst.Is4In6()) && !broadcast && !linkLocal6(dst)
}

func linkLocal6(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast() }

func own(i *ir.Interface, a netip.Addr) bool { return contains(i.Addrs, a) || contains(i.Allow, a) }

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
