package packet

import "encoding/binary"

// icmpError reports whether a message quotes the packet it is about.
func icmpError(proto, kind uint8) bool {
	switch proto {
	case ProtoICMP:
		// Unreachable, source quench, redirect, time exceeded, parameter problem.
		const kinds = 1<<3 | 1<<4 | 1<<5 | 1<<11 | 1<<12
		return kind < 32 && kinds>>kind&1 != 0
	case ProtoICMPv6:
		return kind >= 1 && kind <= 4
	}
	return false
}

// icmpQuery reports whether a message carries an identifier in its second
// word.
func icmpQuery(proto, kind uint8) bool {
	switch proto {
	case ProtoICMP:
		// Echo, timestamp, information, address mask; replies and requests.
		const kinds = 1<<0 | 1<<8 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<18
		return kind < 32 && kinds>>kind&1 != 0
	case ProtoICMPv6:
		return kind == 128 || kind == 129
	}
	return false
}

// icmp decodes ICMP and ICMPv6, which share type, code and second word.
func (p *Packet) icmp(d []byte) Error {
	if p.familyLies() {
		return ErrHeader
	}
	if len(d) < headerICMP {
		return p.short()
	}
	p.ICMPType, p.ICMPCode = d[0], d[1]
	p.Data = uint32(len(d) - headerICMP)
	switch {
	case icmpQuery(p.Tuple.Proto, p.ICMPType):
		id := binary.BigEndian.Uint16(d[4:])
		p.Tuple.SrcPort, p.Tuple.DstPort = id, id
	case icmpError(p.Tuple.Proto, p.ICMPType):
		p.Inner.read(d[headerICMP:], p.Tuple.Family)
	}
	return 0
}

// read decodes the packet that an ICMP error of a family quotes into q, which
// is zero, and leaves it zero if that names no flow.
//
// The lengths inside the quoted headers are not compared with anything:
// errors cut the quote, and some routers store lengths of their own there.
func (q *Quote) read(b []byte, family uint8) {
	var d []byte
	var ok bool
	if family == 4 {
		d, ok = q.Tuple.quoted4(b)
	} else {
		d, ok = q.Tuple.quoted6(b)
	}
	if !ok || minTransport(q.Tuple.Proto) == 0 {
		return
	}
	// 64 bits, as RFC 792 demands. Ports alone would need 32, but whoever
	// sends less than the minimum is not a router that has seen the packet
	// (ICMP-06).
	if len(d) < 8 {
		*q = Quote{}
		return
	}
	switch q.Tuple.Proto {
	case ProtoICMP, ProtoICMPv6:
		own := family == 4 && q.Tuple.Proto == ProtoICMP || family == 6 && q.Tuple.Proto == ProtoICMPv6
		if !own || !icmpQuery(q.Tuple.Proto, d[0]) {
			*q = Quote{}
			return
		}
		q.ICMPType, q.ICMPCode = d[0], d[1]
		id := binary.BigEndian.Uint16(d[4:])
		q.Tuple.SrcPort, q.Tuple.DstPort = id, id
		return
	case ProtoTCP:
		q.Seq = binary.BigEndian.Uint32(d[4:])
	}
	q.Tuple.ports(d)
}

// quoted4 reads a quoted IPv4 header and returns what follows it. It sets t
// only if all is well.
func (t *Tuple) quoted4(b []byte) (d []byte, ok bool) {
	if len(b) < header4 || b[0]>>4 != 4 {
		return nil, false
	}
	header := int(b[0]&0x0f) * 4
	if header < header4 || header > len(b) {
		return nil, false
	}
	if options4(b[header4:header]).Has(OddOptions) {
		return nil, false
	}
	if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
		return nil, false
	}
	t.addrs4(b)
	return b[header:], true
}

// quoted6 reads a quoted IPv6 header with its extension headers and returns
// what follows them. It sets t only if all is well.
func (t *Tuple) quoted6(b []byte) (d []byte, ok bool) {
	if len(b) < header6 || b[0]>>4 != 6 {
		return nil, false
	}
	var c chain
	if c.walk(b) != 0 || c.offset != 0 || c.odd.Has(OddRoutingType0|OddFragmentHeaders) {
		return nil, false
	}
	t.addrs6(b)
	t.Proto = c.proto
	return b[c.end:], true
}
