package packet

import "encoding/binary"

const (
	header4 = 20    // bytes of an IPv4 header without options
	maxIP   = 65535 // longest IPv4 packet, and longest IPv6 payload, in bytes
)

// ipv4 decodes a packet whose version field is 4 (RFC 791).
func (p *Packet) ipv4(b []byte) Error {
	if len(b) < header4 {
		return ErrTruncated
	}
	p.Tuple.addrs4(b)
	p.HopLimit = b[8]
	header, total := int(b[0]&0x0f)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < header4 || total < header {
		return ErrHeader
	}
	if total > len(b) {
		return ErrTruncated
	}
	if header > header4 {
		p.Odd = options4(b[header4:header])
	}
	p.Length = uint32(total)
	// The don't-fragment bit on a fragment, and the reserved bit, change
	// nothing: receivers go by the other two fields alone.
	frag := binary.BigEndian.Uint16(b[6:])
	if frag&0x3fff != 0 {
		p.FragID = uint32(binary.BigEndian.Uint16(b[4:]))
		e := p.fragment(frag&0x1fff, frag&0x2000 != 0, total-header, maxIP-header)
		if e != 0 || p.FragOffset != 0 {
			return e
		}
	}
	return p.transport(b[:total], header)
}

// addrs4 sets family, addresses and protocol from a header of at least 20
// bytes.
func (t *Tuple) addrs4(b []byte) {
	_ = b[header4-1]
	const mapped = 0xffff << 32 // ::ffff:0:0/96, RFC 4291 2.5.5.2
	binary.BigEndian.PutUint64(t.Src[8:], mapped|uint64(binary.BigEndian.Uint32(b[12:])))
	binary.BigEndian.PutUint64(t.Dst[8:], mapped|uint64(binary.BigEndian.Uint32(b[16:])))
	t.Proto = b[9]
	t.Family = 4
}

// options4 looks at the options of an IPv4 header for a source route and for
// lengths that cannot be.
func options4(o []byte) (odd Oddity) {
	const (
		end, nop                = 0, 1
		looseRoute, strictRoute = 131, 137
	)
	for len(o) > 0 {
		kind := o[0]
		if kind == end {
			break
		}
		if kind == nop {
			o = o[1:]
			continue
		}
		// A length below 2 would hold the walk in place for ever.
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return odd | OddOptions
		}
		if kind == looseRoute || kind == strictRoute {
			odd |= OddSourceRoute
		}
		o = o[o[1]:]
	}
	return odd
}
