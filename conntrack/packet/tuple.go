package packet

import (
	"net/netip"
	"strconv"
)

// TupleFrom returns the tuple of a flow of protocol proto from src to dst.
// The ports of a protocol without ports should be 0; those of an ICMP query
// are both its identifier. An IPv4-mapped IPv6 address is an IPv6 address,
// never the IPv4 address inside it (RFC 4942 2.2), and a zone is ignored.
// TupleFrom returns the zero Tuple if an address is invalid or the two are
// not of the same family.
func TupleFrom(proto uint8, src, dst netip.AddrPort) Tuple {
	s, d := src.Addr(), dst.Addr()
	if !s.IsValid() || s.BitLen() != d.BitLen() {
		return Tuple{}
	}
	t := Tuple{
		Src: s.As16(), Dst: d.As16(),
		SrcPort: src.Port(), DstPort: dst.Port(),
		Proto: proto, Family: 6,
	}
	if s.Is4() {
		t.Family = 4
	}
	return t
}

// SrcAddr returns the source address: an IPv4 address in family 4, an IPv6
// address, perhaps an IPv4-mapped one, in family 6, and the zero Addr of no
// tuple.
func (t Tuple) SrcAddr() netip.Addr { return addr(&t.Src, t.Family) }

// DstAddr returns the destination address, as SrcAddr does.
func (t Tuple) DstAddr() netip.Addr { return addr(&t.Dst, t.Family) }

// SrcAddrPort returns the source address and port.
func (t Tuple) SrcAddrPort() netip.AddrPort { return netip.AddrPortFrom(t.SrcAddr(), t.SrcPort) }

// DstAddrPort returns the destination address and port.
func (t Tuple) DstAddrPort() netip.AddrPort { return netip.AddrPortFrom(t.DstAddr(), t.DstPort) }

// Reverse returns the tuple of a packet that answers one of t.
func (t Tuple) Reverse() Tuple {
	t.Src, t.Dst = t.Dst, t.Src
	t.SrcPort, t.DstPort = t.DstPort, t.SrcPort
	return t
}

// HasPorts reports whether the protocol of t has ports: TCP, UDP and SCTP.
func (t Tuple) HasPorts() bool {
	return t.Proto == ProtoTCP || t.Proto == ProtoUDP || t.Proto == ProtoSCTP
}

// String returns the tuple for logs: "tcp 192.0.2.7:40001 > 10.0.0.5:443",
// "udp [2001:db8::7]:53 > [2001:db8::5]:53", "icmp 192.0.2.7 > 10.0.0.5 id 7",
// "gre 192.0.2.7 > 10.0.0.5", "proto 253 …" for a protocol it has no name
// for, and "none" for no tuple. The identifier 0 is not shown: only a query
// has one, and a Tuple does not say whether it is of a query.
func (t Tuple) String() string {
	src, dst := t.SrcAddr(), t.DstAddr()
	if !src.IsValid() {
		return "none"
	}
	b := make([]byte, 0, 112)
	if name := protoName(t.Proto); name != "" {
		b = append(b, name...)
	} else {
		b = append(b, "proto "...)
		b = strconv.AppendUint(b, uint64(t.Proto), 10)
	}
	b = append(b, ' ')
	if t.HasPorts() {
		b = t.SrcAddrPort().AppendTo(b)
		b = append(b, " > "...)
		b = t.DstAddrPort().AppendTo(b)
		return string(b)
	}
	b = src.AppendTo(b)
	b = append(b, " > "...)
	b = dst.AppendTo(b)
	if t.SrcPort != 0 {
		b = append(b, " id "...)
		b = strconv.AppendUint(b, uint64(t.SrcPort), 10)
	}
	return string(b)
}

func addr(a *[16]byte, family uint8) netip.Addr {
	switch family {
	case 4:
		return netip.AddrFrom4([4]byte(a[12:]))
	case 6:
		return netip.AddrFrom16(*a)
	}
	return netip.Addr{}
}

// protoName returns the name of a protocol as /etc/protocols has it, or "".
func protoName(proto uint8) string {
	switch proto {
	case ProtoICMP:
		return "icmp"
	case 2:
		return "igmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case 33:
		return "dccp"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	case ProtoICMPv6:
		return "icmpv6"
	case ProtoSCTP:
		return "sctp"
	case 136:
		return "udplite"
	}
	return ""
}
