package packet

import "encoding/binary"

const (
	header6 = 40 // bytes of the fixed IPv6 header

	// maxChain is the number of extension headers that are walked; no stack
	// sends half as many. Behind the limit nothing is known of the packet, so
	// it is refused (EXT-02), as RFC 8883 expects of nodes with a limit.
	maxChain = 8
)

// Extension headers that are walked, by next header value. All others end the
// chain: ESP because what follows is encrypted, no-next-header because nothing
// follows, unknown ones because their format is not known.
const (
	hopByHop = 0
	routing  = 43
	fragment = 44
	auth     = 51
	destOpts = 60
)

// ipv6 decodes a packet whose version field is 6 (RFC 8200).
func (p *Packet) ipv6(b []byte) Error {
	if len(b) < header6 {
		return ErrTruncated
	}
	p.Tuple.addrs6(b)
	p.HopLimit = b[7]
	payload := int(binary.BigEndian.Uint16(b[4:]))
	if payload == 0 && b[6] == hopByHop {
		return ErrHeader // a jumbogram, or a lie
	}
	total := header6 + payload
	if total > len(b) {
		return ErrTruncated
	}
	p.Length = uint32(total)
	b = b[:total]
	switch b[6] {
	case ProtoTCP, ProtoUDP, ProtoICMPv6: // the common case needs no walk
		return p.transport(b, header6)
	}
	var c chain
	e := c.walk(b)
	p.Tuple.Proto = c.proto
	if e != 0 {
		return e
	}
	p.Odd = c.odd
	if c.fragment {
		p.FragID = c.id
		// The headers in front of the fragment header stay in the reassembled
		// packet, the fragment header itself does not.
		room := maxIP - (c.begin - 8 - header6)
		e := p.fragment(c.offset, c.more, total-c.begin, room)
		if e != 0 || p.FragOffset != 0 {
			return e
		}
	}
	return p.transport(b, c.end)
}

// addrs6 sets family, addresses and the next header field from a header of at
// least 40 bytes.
func (t *Tuple) addrs6(b []byte) {
	_ = b[header6-1]
	t.Src = [16]byte(b[8:24])
	t.Dst = [16]byte(b[24:40])
	t.Proto = b[6]
	t.Family = 6
}

// chain is how far the extension headers of a packet reach.
type chain struct {
	proto uint8 // what follows the chain, or the header that broke it
	odd   Oddity
	end   int // offset behind the chain

	fragment bool   // a true fragment; the rest is valid if so
	more     bool   // not the last fragment
	offset   uint16 // in 8-byte units; if not 0, the chain ends at the fragment header
	id       uint32
	begin    int // offset behind the fragment header
}

// walk follows the extension headers of b, which holds the fixed header and
// ends where the packet ends. c is zero before, and says on an error how far
// the walk came.
func (c *chain) walk(b []byte) Error {
	proto, end := b[6], header6
	split := false // a fragment header was seen
	for budget := maxChain; ; budget-- {
		c.proto, c.end = proto, end
		switch proto {
		case hopByHop, routing, fragment, auth, destOpts:
		default:
			return 0
		}
		if budget == 0 || proto == hopByHop && end != header6 {
			return ErrHeader
		}
		if proto == fragment && split {
			c.odd |= OddFragmentHeaders
		}
		if c.offset != 0 { // the bytes behind this header are of the middle of the datagram
			return 0
		}
		h := b[end:]
		if len(h) < 8 {
			return c.short()
		}
		size := (int(h[1]) + 1) * 8
		switch proto {
		case auth:
			size = (int(h[1]) + 2) * 4 // RFC 4302 2.2: the one header that counts in 4 bytes
			if size < 12 {
				return ErrHeader
			}
		case fragment:
			size = 8 // h[1] is reserved
			split = true
			word := binary.BigEndian.Uint16(h[2:])
			offset, more := word>>3, word&1 != 0
			if offset == 0 && !more { // atomic: as if it were not there
				break
			}
			if c.fragment { // a fragment of fragments: nobody knows what it becomes
				return ErrHeader
			}
			c.fragment, c.offset, c.more = true, offset, more
			c.id = binary.BigEndian.Uint32(h[4:])
			c.begin = end + 8
		}
		if size > len(h) {
			return c.short()
		}
		switch proto {
		case routing:
			switch {
			case h[2] == 0:
				c.odd |= OddRoutingType0
			case h[3] != 0:
				c.odd |= OddSourceRoute
			}
		case hopByHop, destOpts:
			if !options6(h[2:size]) {
				return ErrHeader
			}
		}
		proto = h[0]
		end += size
	}
}

// short is the error of a packet that ends inside its chain.
func (c *chain) short() Error {
	if c.fragment {
		return ErrTinyFragment
	}
	return ErrTruncated
}

// options6 checks the structure of the options of a hop-by-hop or destination
// options header (RFC 8200 4.2). The jumbo option fails too: where a payload
// length is given, RFC 2675 3 forbids it, and where none is, it is refused.
func options6(o []byte) bool {
	const pad1, jumbo = 0, 0xc2
	for len(o) > 0 {
		if o[0] == pad1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o)-2 < int(o[1]) || o[0] == jumbo {
			return false
		}
		o = o[2+int(o[1]):]
	}
	return true
}
