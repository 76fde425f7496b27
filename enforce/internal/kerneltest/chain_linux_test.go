package kerneltest

// chain walks the headers of an IPv6 packet with nothing but their lengths. It
// calls f with each extension header until f returns false.
func chain(b []byte, f func(kind uint8, h []byte, at int) bool) {
	next, at := b[6], 40
	for at+8 <= len(b) {
		n := 8 * (1 + int(b[at+1]))
		switch next {
		case 44:
			n = 8
		case 51:
			n = 4 * (2 + int(b[at+1]))
		case 0, 43, 60:
		default:
			return
		}
		if !f(next, b[at:min(at+n, len(b))], at) {
			return
		}
		next, at = b[at], at+n
	}
}

// brokenOptions reports whether one of the options of a header runs past it.
func brokenOptions(kind uint8, h []byte, _ int) bool {
	if kind != 0 && kind != 60 {
		return false
	}
	if len(h) < 8*(1+int(h[1])) {
		return true
	}
	for at := 2; at < len(h); {
		switch {
		case h[at] == 0:
			at++
		case at+2 > len(h) || at+2+int(h[at+1]) > len(h):
			return true
		default:
			at += 2 + int(h[at+1])
		}
	}
	return false
}

// oddHopByHop reports what a router refuses of hop-by-hop options beside those
// that are broken (net/ipv6/exthdrs.c ip6_parse_tlv): more than 7 bytes of
// padding on end, padding that is not zero, and unknown options that say so.
func oddHopByHop(kind uint8, h []byte, _ int) bool {
	pad := 0
	for at := 2; kind == 0 && at < len(h); {
		switch {
		case h[at] == 0:
			pad, at = pad+1, at+1
		case at+2 > len(h):
			return false
		case h[at] == 1:
			n := 2 + int(h[at+1])
			for _, x := range h[at+2 : min(at+n, len(h))] {
				if x != 0 {
					return true
				}
			}
			pad, at = pad+n, at+n
		default:
			if h[at]>>6 != 0 || h[at] == 5 && h[at+1] != 2 {
				return true
			}
			pad, at = 0, at+2+int(h[at+1])
		}
		if pad > 7 {
			return true
		}
	}
	return false
}

// jumbo reports an option that says that the packet is longer than its length
// field can say (RFC 2675).
func jumbo(kind uint8, h []byte, _ int) bool {
	for at := 2; (kind == 0 || kind == 60) && at+1 < len(h); {
		switch h[at] {
		case 0:
			at++
		case 0xc2:
			return true
		default:
			at += 2 + int(h[at+1])
		}
	}
	return false
}
