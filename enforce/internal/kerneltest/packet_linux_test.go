package kerneltest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// The addresses behind the interface in the walk as it is written down; what
// is sent has others of the same Internet checksum: see relocate.
var (
	local4 = [2]netip.Addr{netip.AddrFrom4([4]byte{0x40, 0, 0xc0, 0}), netip.AddrFrom4([4]byte{0x40, 0, 0xbf, 0})}
	local6 = [2]netip.Addr{netip.MustParseAddr("fd00::ffff:0:5"), netip.MustParseAddr("fd00::ffff:0:6")}
)

// places is how many sets of local addresses there are.
const places = 16000

// relocate returns b with its local addresses replaced by those of place n, in
// headers, quotes and wherever else they stand. No checksum of IP changes: what
// one word of an address gains the next one loses.
func relocate(b []byte, n int) []byte {
	b = bytes.Clone(b)
	swap := func(old netip.Addr, word int) {
		o := old.AsSlice()
		for at := 0; at+len(o) <= len(b); at += 2 {
			if at+len(o) <= len(b) && bytes.Equal(b[at:at+len(o)], o) {
				x := b[at+2*word:]
				binary.BigEndian.PutUint16(x, binary.BigEndian.Uint16(x)+uint16(n))
				binary.BigEndian.PutUint16(x[2:], binary.BigEndian.Uint16(x[2:])-uint16(n))
			}
		}
	}
	for i := range local4 {
		swap(local4[i], 0)
		swap(local6[i], 4)
	}
	return b
}

// ipPacket returns a packet without options.
func ipPacket(src, dst netip.Addr, proto uint8, id uint16, payload []byte) []byte {
	if !src.Is4() {
		b := make([]byte, 40, 40+len(payload))
		b[0], b[6], b[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
		return append(b, payload...)
	}
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], id)
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	mend4(b)
	return append(b, payload...)
}

// mend4 makes the checksum of an IPv4 header right.
func mend4(b []byte) {
	n := int(b[0]&15) * 4
	if n < 20 || n > len(b) {
		return
	}
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b[:n]))
}

// mend makes the checksum of a transport header right, which covers the
// addresses but for ICMP.
func mend(src, dst netip.Addr, proto uint8, l []byte) []byte {
	at := map[uint8]int{1: 2, 6: 16, 17: 6, 58: 2, 136: 6}[proto]
	switch {
	case proto == 132 && len(l) >= 12:
		copy(l[8:], []byte{0, 0, 0, 0})
		binary.LittleEndian.PutUint32(l[8:], crc32.Checksum(l, crc32.MakeTable(crc32.Castagnoli)))
		return l
	case at == 0 || len(l) < at+2:
		return l
	}
	l[at], l[at+1] = 0, 0
	start := uint32(0)
	if proto != 1 {
		start = uint32(sum(uint32(sum(uint32(proto)+uint32(len(l)), src.AsSlice())), dst.AsSlice()))
	}
	c := ^sum(start, l)
	if c == 0 && (proto == 17 || proto == 136) {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(l[at:], c)
	return l
}

// ported returns a transport header that begins with two ports.
func ported(src, dst uint16, rest []byte) []byte {
	l := binary.BigEndian.AppendUint16(nil, src)
	return append(binary.BigEndian.AppendUint16(l, dst), rest...)
}

// udpPacket returns a datagram, of UDP or UDP-Lite.
func udpPacket(src, dst netip.AddrPort, proto uint8, id uint16, data []byte) []byte {
	l := ported(src.Port(), dst.Port(), append(make([]byte, 4), data...))
	binary.BigEndian.PutUint16(l[4:], uint16(len(l)))
	return ipPacket(src.Addr(), dst.Addr(), proto, id, mend(src.Addr(), dst.Addr(), proto, l))
}

// icmpPacket returns a message of the family of src.
func icmpPacket(src, dst netip.Addr, typ, code uint8, id uint16, body []byte) []byte {
	proto := uint8(1)
	if !src.Is4() {
		proto = 58
	}
	return ipPacket(src, dst, proto, id, mend(src, dst, proto, append([]byte{typ, code, 0, 0}, body...)))
}

// sctpPacket returns a packet of chunks (RFC 9260 3).
func sctpPacket(src, dst netip.AddrPort, tag uint32, id uint16, chunks []byte) []byte {
	l := ported(src.Port(), dst.Port(), make([]byte, 8))
	binary.BigEndian.PutUint32(l[4:], tag)
	return ipPacket(src.Addr(), dst.Addr(), 132, id, mend(src.Addr(), dst.Addr(), 132, append(l, chunks...)))
}

func chunk(typ uint8, value ...byte) []byte {
	c := append([]byte{typ, 0, 0, uint8(4 + len(value))}, value...)
	for len(c)%4 != 0 {
		c = append(c, 0)
	}
	return c
}

// addrs returns source and destination of a packet that has them.
func addrs(b []byte) (src, dst netip.Addr) {
	if b[0]>>4 == 6 {
		src, _ = netip.AddrFromSlice(b[8:24])
		dst, _ = netip.AddrFromSlice(b[24:40])
		return src, dst
	}
	src, _ = netip.AddrFromSlice(b[12:16])
	dst, _ = netip.AddrFromSlice(b[16:20])
	return src, dst
}

// transport returns the protocol of a packet without options and extension
// headers, and where its header is.
func transport(b []byte) (proto uint8, at int) {
	if b[0]>>4 == 6 {
		return b[6], 40
	}
	return b[9], 20
}
