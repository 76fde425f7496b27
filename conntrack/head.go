package conntrack

import (
	"encoding/binary"
	"math/bits"

	"example.com/secgroup/conntrack/packet"
)

// head is what the short form reads of a packet: whole TCP or UDP.
type head struct {
	hash   uint64 // of the key
	rh, rl uint64 // halves of the remote address, as they lie in memory, little-endian
	lh, ll uint64 // of the local one
	ports  uint32 // remote, local
	length uint32 // of the IP packet

	seq, ack, data, window uint32 // of a segment that may follow

	kind uint16 // protocol, and family above
	may  role
}

// role is what a packet may be to a connection for all that its own bytes say.
type role uint8

const (
	mayFollow role = 1 << iota // may belong to one and change no state: UDP, and data or acknowledgements of TCP
	mayOpen                    // may start one: UDP, and a SYN
)

const (
	header4    = 20 // without options
	header6    = 40
	headerTCP  = 20
	headerUDP  = 8
	timestamps = 12 // bytes of options that are a timestamp and nothing else (RFC 7323, appendix A)
)

// read makes h the head of the packet that b begins with, and reports false if
// it is none that a [Lane] knows.
func (l *Lane) read(b []byte, h *head) bool {
	le, be := binary.LittleEndian, binary.BigEndian
	var d []byte // from the ports to the end of the packet
	var addrs uint64
	var kind uint32
	switch {
	case len(b) < header4+headerUDP:
		return false
	case b[0] == 4<<4|header4/4:
		p := (*[header4]byte)(b)
		end := int(be.Uint16(p[2:]))
		src, dst := le.Uint32(p[12:]), le.Uint32(p[16:])
		if le.Uint16(p[6:])&0xff3f != 0 || end < header4+headerUDP || end > len(b) || src == dst || packet.Suspect4(src) || packet.Suspect4(dst) {
			return false
		}
		d = b[header4:end]
		addrs, kind = uint64(src)<<32|uint64(dst), 4<<8|uint32(p[9])
		h.length = uint32(end)
	case b[0]>>4 == 6 && len(b) >= header6:
		p := (*[header6]byte)(b)
		end := header6 + int(be.Uint16(p[4:]))
		h.rh, h.rl, h.lh, h.ll = le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[24:]), le.Uint64(p[32:])
		if end < header6+headerUDP || end > len(b) || h.rh == h.lh && h.rl == h.ll || packet.Suspect6(h.rh) || packet.Suspect6(h.lh) {
			return false
		}
		d = b[header6:end]
		kind = 6<<8 | uint32(p[6])
		h.length = uint32(end)
	default:
		return false
	}
	ports := be.Uint32(d)
	switch uint8(kind) {
	case packet.ProtoTCP:
		if len(d) < headerTCP {
			return false
		}
		p := (*[headerTCP]byte)(d)
		size := int(p[12]>>4) * 4
		if size < headerTCP || size > len(d) {
			return false
		}
		h.may = 0
		switch p[13] & (packet.FIN | packet.SYN | packet.RST | packet.ACK) {
		case packet.ACK:
			if size == headerTCP || size == headerTCP+timestamps && be.Uint32(d[headerTCP:]) == 0x0101080a {
				h.may = mayFollow
			}
			h.data = uint32(len(d) - size)
			h.seq, h.ack, h.window = be.Uint32(p[4:]), be.Uint32(p[8:]), uint32(be.Uint16(p[14:]))
		case packet.SYN:
			h.may = mayOpen
			h.data = uint32(len(d) - size)
			h.seq, h.window = be.Uint32(p[4:]), uint32(be.Uint16(p[14:]))
		}
	case packet.ProtoUDP:
		if n := int(be.Uint16(d[4:])); n < headerUDP || n > len(d) {
			return false
		}
		h.may = mayFollow | mayOpen
	default:
		return false
	}
	h.kind = uint16(kind)
	if kind>>8 == 4 {
		if l.from != Remote {
			addrs, ports = bits.RotateLeft64(addrs, 32), bits.RotateLeft32(ports, 16)
		}
		h.rh, h.lh = 0, 0
		h.rl, h.ll = addrs>>32<<32|mapped, addrs<<32|mapped
		h.ports = ports
		h.hash = l.table.secret.hash4(addrs, uint64(l.zone)<<32|uint64(ports), uint64(kind))
		return true
	}
	h.ports = ports
	l.turn(h)
	return true
}

// turn makes of h, whose remote end is the source yet, what it is for l, and
// completes it by its hash.
func (l *Lane) turn(h *head) {
	if l.from != Remote {
		h.rh, h.rl, h.lh, h.ll, h.ports = h.lh, h.ll, h.rh, h.rl, bits.RotateLeft32(h.ports, 16)
	}
	h.hash = l.table.secret.words(h.rh, h.rl, h.lh, h.ll, uint64(l.zone)<<32|uint64(h.ports), uint64(h.kind))
}

// quick reports whether the short form may know p: a whole packet of TCP or UDP,
// in IPv4 or IPv6.
func quick(p *packet.Packet) bool {
	return (p.Tuple.Proto == packet.ProtoTCP || p.Tuple.Proto == packet.ProtoUDP) && !p.Fragment && p.Tuple.Family&^2 == 4
}

// of makes h the head of p, and reports false if p is not quick.
func (h *head) of(l *Lane, p *packet.Packet) bool {
	if !quick(p) {
		return false
	}
	le, src, dst := binary.LittleEndian, &p.Tuple.Src, &p.Tuple.Dst
	h.rh, h.rl, h.lh, h.ll = le.Uint64(src[:8]), le.Uint64(src[8:]), le.Uint64(dst[:8]), le.Uint64(dst[8:])
	h.ports = uint32(p.Tuple.SrcPort)<<16 | uint32(p.Tuple.DstPort)
	h.kind, h.length = uint16(p.Tuple.Proto)|uint16(p.Tuple.Family)<<8, p.Length
	h.may = mayFollow | mayOpen
	if p.Tuple.Proto == packet.ProtoTCP {
		h.seq, h.ack, h.data, h.window = p.Seq, p.Ack, p.Data, uint32(p.Window)
		h.may = 0
		switch segmentOf(p.Flags) {
		case segAck:
			if p.SACK == p.Ack {
				h.may = mayFollow
			}
		case segSyn:
			h.may = mayOpen
		}
	}
	l.turn(h)
	return true
}
