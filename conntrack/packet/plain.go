package packet

import "encoding/binary"

// plain is Decode for what nearly all packets are: TCP or UDP right behind an
// IP header without options that is no fragment's. It tests lengths once and
// reads words, where the long way goes header by header. Of p, which is zero, it
// makes what decode makes of it; or it reports false, and p is of no use.
func plain(b []byte, p *Packet) bool {
	if len(b) < header4+headerUDP {
		return false
	}
	be := binary.BigEndian
	var at, end int // of the transport part
	t := &p.Tuple
	switch {
	case b[0] == 4<<4|header4/4:
		h := (*[header4]byte)(b)
		if be.Uint16(h[6:])&0x3fff != 0 {
			return false
		}
		at, end = header4, int(be.Uint16(h[2:]))
		t.Src[10], t.Src[11], t.Dst[10], t.Dst[11] = 0xff, 0xff, 0xff, 0xff // see addrs4
		*(*[4]byte)(t.Src[12:]) = [4]byte(h[12:])
		*(*[4]byte)(t.Dst[12:]) = [4]byte(h[16:])
		t.Proto, t.Family, p.HopLimit = h[9], 4, h[8]
	case b[0]>>4 == 6 && len(b) >= header6:
		h := (*[header6]byte)(b)
		at, end = header6, header6+int(be.Uint16(h[4:]))
		t.Src = [16]byte(h[8:])
		t.Dst = [16]byte(h[24:])
		t.Proto, t.Family, p.HopLimit = h[6], 6, h[7]
	default:
		return false
	}
	if end > len(b) || end < at {
		return false
	}
	p.L4, p.Length = uint16(at), uint32(end)
	switch d := b[at:end:end]; t.Proto {
	case ProtoTCP:
		return plainTCP(d, p)
	case ProtoUDP:
		if len(d) < headerUDP {
			return false
		}
		h := (*[headerUDP]byte)(d)
		t.SrcPort, t.DstPort = be.Uint16(h[0:]), be.Uint16(h[2:])
		p.Data = uint32(len(d) - headerUDP)
		length := int(be.Uint16(h[4:]))
		return length >= headerUDP && length <= len(d)
	}
	return false
}

// plainTCP is tcp for plain.
func plainTCP(d []byte, p *Packet) bool {
	if len(d) < headerTCP {
		return false
	}
	be, h := binary.BigEndian, (*[headerTCP]byte)(d)
	header := int(h[12]>>4) * 4
	if header < headerTCP || header > len(d) {
		return false
	}
	p.Tuple.SrcPort, p.Tuple.DstPort = be.Uint16(h[0:]), be.Uint16(h[2:])
	p.Seq, p.Ack = be.Uint32(h[4:]), be.Uint32(h[8:])
	p.SACK = p.Ack
	p.Flags, p.Window = h[13], be.Uint16(h[14:])
	p.Data = uint32(len(d) - header)
	if header > headerTCP {
		p.options(d[headerTCP:header])
	}
	return true
}
