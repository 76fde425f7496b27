package packet

// Decode reads the packet b, which begins at its IP header, into p. Bytes
// behind the length that the IP header gives (Ethernet padding) are ignored.
//
// Every call sets every field of p. A packet that Decode cannot vouch for is
// an error, of type Error; then p holds what a log line needs and no more:
// Tuple.Family and both addresses if the fixed IP header was there (Family is
// 0 if not), Tuple.Proto as far as the headers were followed, and zero in
// every other field.
//
// What is refused, beside lengths that contradict each other or b:
//
//   - an IPv4 total length of 0, as segmentation offload leaves it in some
//     captures, and an IPv6 jumbogram (RFC 2675): neither says where the
//     packet ends;
//   - options of IPv6 hop-by-hop and destination headers that run past their
//     header (RFC 8200 4.2);
//   - more than 8 IPv6 extension headers, a hop-by-hop header in any place but
//     the first (RFC 8200 4.1), two fragment headers that both cut;
//   - a fragment that is empty, ends beyond 65535 bytes, or is not the last
//     and no multiple of 8 bytes long (RFC 791, RFC 8200 4.5);
//   - a first fragment without its whole header chain, up to the end of the
//     header of TCP, UDP, ICMP or SCTP (RFC 1858, RFC 7112), and a trailing
//     fragment that begins inside that header (RFC 3128);
//   - ICMP inside IPv6 and ICMPv6 inside IPv4;
//   - an SCTP packet without a verification tag that is no INIT, and an INIT with
//     one (RFC 9260 8.5.1);
//   - less than 8 bytes of ICMP or ICMPv6: RFC 4443 asks for 4 only, but
//     defines no message that short.
//
// A UDP length below that of the IP packet is accepted, as RFC 9868 gives the
// bytes between the two a meaning. Protocol numbers that Decode does not know
// (and ESP, no-next-header, tunnels) are no error: the tuple has that
// protocol and no ports. What can be read but has no place in honest traffic is
// no error either, and stands in Packet.Odd. Decode goes by the version field of the packet
// itself: who knows a link type compares it with Tuple.Family.
//
// Decode allocates nothing, keeps no reference to b, and is safe for
// concurrent use with distinct p.
func Decode(b []byte, p *Packet) error {
	*p = Packet{}
	if plain(b, p) {
		return nil
	}
	if e := p.decode(b); e != 0 {
		return e
	}
	return nil
}

// decode is Decode without its short way, whatever p was.
func (p *Packet) decode(b []byte) Error {
	*p = Packet{}
	if len(b) == 0 {
		return ErrTruncated
	}
	var e Error
	switch b[0] >> 4 {
	case 4:
		e = p.ipv4(b)
	case 6:
		e = p.ipv6(b)
	default:
		e = ErrVersion
	}
	if e != 0 {
		p.strip()
	}
	return e
}

// strip leaves in p what Decode promises for a refused packet. It resets the
// fields that are set before the last check only: a second reset of all of
// them would double the price of refusing. FuzzDecode holds it to the promise.
func (p *Packet) strip() {
	p.Length, p.L4, p.HopLimit, p.Odd = 0, 0, 0, 0
	p.FragID, p.FragOffset, p.FragSize, p.Fragment, p.MoreFrags = 0, 0, 0, false, false
}
