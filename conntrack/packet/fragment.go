package packet

// fragment sets the fields of a true fragment, except FragID, and refuses one
// that no datagram has. size is what the fragment carries, room the most that
// the reassembled datagram can, both in bytes. For a trailing fragment it also
// sets what transport sets for others.
func (p *Packet) fragment(offset uint16, more bool, size, room int) Error {
	// Empty fragments (FRAG-10), the ping of death (FRAG-07), and a length
	// that leaves a gap no other fragment can fill (FRAG-09).
	if size == 0 || int(offset)*8+size > room || more && size%8 != 0 {
		return ErrHeader
	}
	p.Fragment, p.MoreFrags = true, more
	p.FragOffset, p.FragSize = offset, uint16(size)
	if offset == 0 {
		return 0
	}
	if p.familyLies() {
		return ErrHeader
	}
	// The first fragment must hold the transport header, so this one could
	// only rewrite it (RFC 1858 4, RFC 3128). RFC 3128 names offset 1 of TCP;
	// offset 2 of TCP and offset 1 of SCTP are as impossible.
	if int(offset)*8 < minTransport(p.Tuple.Proto) {
		return ErrTinyFragment
	}
	p.Data = uint32(size)
	return 0
}
