package tun

import (
	"encoding/binary"

	"example.com/secgroup/conntrack/packet"
)

// segments cuts a super-packet into the packets that it stands for, as the
// kernel does: data of one size each, sequence numbers and IPv4 identifiers
// that go on, CWR on the first only (RFC 3168 6.1.2), FIN and PSH on the last
// only, every checksum filled in.
type segments struct {
	f    *frame
	next int // offset in the packet of the data to send next
	n    uint16
}

// cut starts with the first segment of a super-packet.
func (s *segments) cut(f *frame) { *s = segments{f: f, next: f.head} }

// rest reports whether there is a segment left.
func (s *segments) rest() bool { return s.f != nil && s.next < len(s.f.pkt) }

// size is the length of the next segment.
func (s *segments) size() int { return s.f.head + min(int(s.f.h.size), len(s.f.pkt)-s.next) }

// write puts the next segment into dst, which has room for size bytes, and
// returns its length.
func (s *segments) write(dst []byte) int {
	f, n := s.f, s.size()
	first, last := s.next == f.head, s.next+int(f.h.size) >= len(f.pkt)
	dst = dst[:n]
	copy(dst, f.pkt[:f.head])
	copy(dst[f.head:], f.pkt[s.next:])
	if f.p.Tuple.Family == 4 {
		binary.BigEndian.PutUint16(dst[2:], uint16(n))
		binary.BigEndian.PutUint16(dst[4:], binary.BigEndian.Uint16(f.pkt[4:])+s.n)
		headerChecksum(dst)
	} else {
		binary.BigEndian.PutUint16(dst[4:], uint16(n-40))
	}
	l4 := int(f.p.L4)
	t := dst[l4:]
	at := 6
	if f.p.Tuple.Proto == packet.ProtoTCP {
		at = 16
		binary.BigEndian.PutUint32(t[4:], f.p.Seq+uint32(s.next-f.head))
		if !first {
			t[13] &^= packet.CWR
		}
		if !last {
			t[13] &^= packet.FIN | packet.PSH
		}
	} else {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	}
	t[at], t[at+1] = 0, 0
	putChecksum(t[at:], packet.Sum(t, pseudo(dst, f.p.Tuple.Proto, len(t))))
	s.next += int(f.h.size)
	s.n++
	return n
}
