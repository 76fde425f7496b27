package packet

import "encoding/binary"

// Shortest transport headers, in bytes.
const (
	headerTCP  = 20 // RFC 9293 3.1
	headerUDP  = 8  // RFC 768
	headerICMP = 8  // RFC 792; every message that RFC 4443, 4861 and 2710 define
	headerSCTP = 12 // RFC 9260 3.1
)

// minTransport returns the length of the shortest header of a protocol, or 0
// if it is not known.
func minTransport(proto uint8) int {
	switch proto {
	case ProtoTCP:
		return headerTCP
	case ProtoUDP:
		return headerUDP
	case ProtoICMP, ProtoICMPv6:
		return headerICMP
	case ProtoSCTP:
		return headerSCTP
	}
	return 0
}

// familyLies reports ICMP of the wrong address family (ICMP-18).
func (p *Packet) familyLies() bool {
	return p.Tuple.Proto == ProtoICMP && p.Tuple.Family != 4 ||
		p.Tuple.Proto == ProtoICMPv6 && p.Tuple.Family != 6
}

// transport decodes the header of protocol p.Tuple.Proto at offset l4 of b,
// which ends where the IP packet ends.
func (p *Packet) transport(b []byte, l4 int) Error {
	p.L4 = uint16(l4)
	d := b[l4:]
	switch p.Tuple.Proto {
	case ProtoTCP:
		return p.tcp(d)
	case ProtoUDP:
		return p.udp(d)
	case ProtoICMP, ProtoICMPv6:
		return p.icmp(d)
	case ProtoSCTP:
		if len(d) < headerSCTP {
			return p.short()
		}
		// An INIT has no verification tag, and nothing else has none (RFC 9260
		// 8.5.1). What begins no chunk is a header alone.
		const init = 1
		if tag := binary.BigEndian.Uint32(d[4:]); len(d) > headerSCTP && (tag == 0) != (d[headerSCTP] == init) {
			return ErrHeader
		}
		p.Tuple.ports(d)
		p.Data = uint32(len(d) - headerSCTP)
		return 0
	}
	p.Data = uint32(len(d))
	return 0
}

// short is the error of a packet that ends inside its transport header.
func (p *Packet) short() Error {
	if p.Fragment {
		return ErrTinyFragment
	}
	return ErrTruncated
}

func (t *Tuple) ports(d []byte) {
	t.SrcPort = binary.BigEndian.Uint16(d)
	t.DstPort = binary.BigEndian.Uint16(d[2:])
}

func (p *Packet) tcp(d []byte) Error {
	if len(d) < headerTCP {
		return p.short()
	}
	header := int(d[12]>>4) * 4
	if header < headerTCP {
		return ErrHeader
	}
	if header > len(d) {
		if p.Fragment {
			return ErrTinyFragment
		}
		return ErrHeader
	}
	p.Tuple.ports(d)
	p.Seq = binary.BigEndian.Uint32(d[4:])
	p.Ack = binary.BigEndian.Uint32(d[8:])
	p.Flags = d[13]
	p.Window = binary.BigEndian.Uint16(d[14:])
	p.Data = uint32(len(d) - header)
	p.SACK = p.Ack
	if header > headerTCP {
		p.options(d[headerTCP:header])
	}
	return 0
}

// options looks for window scale, SACK permitted and SACK. It reads broken
// options as endpoints do: what stands before the broken one counts, of two
// window scales the last, of two lists of SACK blocks the first.
func (p *Packet) options(o []byte) {
	const (
		end, nop, windowScale, sackPermitted, sack = 0, 1, 3, 4, 5

		maxShift = 14
	)
	// Most segments carry a timestamp and nothing else (RFC 7323, appendix A).
	if len(o) == 12 && binary.BigEndian.Uint32(o) == 0x0101080a {
		return
	}
	syn, first := p.Flags&SYN != 0, true
	for len(o) > 0 && o[0] != end {
		if o[0] == nop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return
		}
		switch {
		case o[0] == windowScale && o[1] == 3 && syn:
			p.HasScale, p.Scale = true, min(o[2], maxShift)
		case o[0] == sackPermitted && o[1] == 2 && syn:
			p.SACKPermitted = true
		case o[0] == sack && o[1] >= 10 && o[1]%8 == 2 && first:
			first = false
			for b := o[2:o[1]]; len(b) > 0; b = b[8:] {
				if edge := binary.BigEndian.Uint32(b[4:]); int32(p.SACK-edge) < 0 { // half the numbers away counts as beyond
					p.SACK = edge
				}
			}
		}
		o = o[o[1]:]
	}
}

func (p *Packet) udp(d []byte) Error {
	if len(d) < headerUDP {
		return p.short()
	}
	length := int(binary.BigEndian.Uint16(d[4:]))
	if length < headerUDP { // 0 is for jumbograms only (RFC 2675 4)
		return ErrHeader
	}
	if length > len(d) && !p.Fragment {
		return ErrTruncated
	}
	p.Tuple.ports(d)
	p.Data = uint32(len(d) - headerUDP)
	return 0
}
