//go:build linux

package kerneltest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Flags of a TCP segment.
const (
	fin uint8 = 1 << iota
	syn
	rst
	psh
	ack
	urg
)

// segment is a TCP segment of one connection; its from says who sent it: 0 the
// client, which is remote, 1 the service.
type segment struct {
	from     int
	flags    uint8
	seq, ack uint32
	win      uint16
	data     int
	scale    int // of a SYN; -1 is none
	permit   bool
	sack     [][2]uint32
}

// String returns the segment in one line, its numbers without an offset.
func (s segment) String() string {
	var f strings.Builder
	for i, c := range "FSRPAU" {
		if s.flags>>i&1 != 0 {
			f.WriteRune(c)
		}
	}
	who := [2]string{"client", "server"}[s.from]
	out := fmt.Sprintf("%s %-3s seq %d+%d ack %d win %d", who, f.String(), s.seq, s.data, s.ack, s.win)
	if s.scale >= 0 {
		out += fmt.Sprintf(" scale %d", s.scale)
	}
	if s.permit {
		out += " sack-permitted"
	}
	for _, b := range s.sack {
		out += fmt.Sprintf(" sack %d-%d", b[0], b[1])
	}
	return out
}

func (s segment) options() (o []byte) {
	if s.permit {
		o = append(o, 4, 2)
	}
	if s.scale >= 0 {
		o = append(o, 3, 3, byte(s.scale))
	}
	if len(s.sack) > 0 {
		o = append(o, 5, byte(2+8*len(s.sack)))
		for _, b := range s.sack {
			o = binary.BigEndian.AppendUint32(o, b[0])
			o = binary.BigEndian.AppendUint32(o, b[1])
		}
	}
	for len(o)%4 != 0 {
		o = append(o, 1)
	}
	return o
}

// packet returns s as a packet.
func (s segment) packet(client, server netip.AddrPort) []byte {
	src, dst := client, server
	if s.from == 1 {
		src, dst = dst, src
	}
	o := s.options()
	l := ported(src.Port(), dst.Port(), make([]byte, 16+len(o)+s.data))
	binary.BigEndian.PutUint32(l[4:], s.seq)
	binary.BigEndian.PutUint32(l[8:], s.ack)
	l[12], l[13] = byte(5+len(o)/4)<<4, s.flags
	binary.BigEndian.PutUint16(l[14:], s.win)
	copy(l[20:], o)
	return ipPacket(src.Addr(), dst.Addr(), 6, 0, mend(src.Addr(), dst.Addr(), 6, l))
}

// sum returns the Internet checksum of b and start, not inverted (RFC 1071).
func sum(start uint32, b []byte) uint16 {
	s := uint64(start)
	for ; len(b) > 1; b = b[2:] {
		s += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}
