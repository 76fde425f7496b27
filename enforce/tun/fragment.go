package tun

import "encoding/binary"

// fragments cuts an IPv4 packet into fragments (RFC 791 3.2). The packet may
// be a fragment itself. Its checksum must be filled in before.
type fragments struct {
	pkt  []byte
	head int // length of the IP header
	data int // data bytes per fragment, a multiple of 8
	next int // offset in pkt of the data to send next
}

// cut starts with the first fragment of pkt for a link of that MTU. It is
// false if the MTU has no room for any data.
func (c *fragments) cut(pkt []byte, mtu int) bool {
	head := int(pkt[0]&0x0f) * 4
	*c = fragments{pkt: pkt, head: head, data: (mtu - head) &^ 7, next: head}
	return c.data > 0
}

// rest reports whether there is a fragment left.
func (c *fragments) rest() bool { return c.next < len(c.pkt) }

// write puts the next fragment into dst and returns its length.
func (c *fragments) write(dst []byte) int {
	const moreFragments, offsetBits = 0x2000, 0x1fff
	data := min(c.data, len(c.pkt)-c.next)
	dst = dst[:c.head+data]
	copy(dst, c.pkt[:c.head])
	copy(dst[c.head:], c.pkt[c.next:])
	binary.BigEndian.PutUint16(dst[2:], uint16(len(dst)))
	field := binary.BigEndian.Uint16(c.pkt[6:])
	offset := field&offsetBits + uint16((c.next-c.head)/8)
	field = field&^offsetBits | offset
	if c.next+data < len(c.pkt) {
		field |= moreFragments
	}
	binary.BigEndian.PutUint16(dst[6:], field)
	if c.next > c.head {
		onlyCopied(dst[20:c.head])
	}
	headerChecksum(dst)
	c.next += data
	return len(dst)
}

// onlyCopied turns the options that belong in the first fragment only (RFC 791
// 3.1: copied flag clear) into no-operations. The packet was decoded, so the
// options are whole.
func onlyCopied(o []byte) {
	const end, nop, copied = 0, 1, 0x80
	for len(o) > 0 && o[0] != end {
		n := 1
		if o[0] != nop {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				return
			}
			n = int(o[1])
			if o[0]&copied == 0 {
				for i := range n {
					o[i] = nop
				}
			}
		}
		o = o[n:]
	}
}
