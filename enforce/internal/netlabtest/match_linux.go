package netlabtest

import "bytes"

// Protocol numbers of the IPv6 headers that may precede a fragment header.
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	destination = 60
)

// same reports whether a router that forwards sent makes got of it: they differ
// in TTL and IPv4 header checksum, in the identification of IPv6 fragments
// (which the kernel reassembles and fragments anew), and in what follows the end
// of the packet, at most.
func same(got, sent []byte) bool {
	got, sent = trim(got), trim(sent)
	if len(got) != len(sent) {
		return false
	}
	if len(sent) < 1 {
		return true
	}
	switch version := sent[0] >> 4; {
	case version == 4 && len(sent) >= 20:
		return bytes.Equal(got[:8], sent[:8]) && got[9] == sent[9] && bytes.Equal(got[12:], sent[12:])
	case version == 6 && len(sent) >= 40:
		if !bytes.Equal(got[:7], sent[:7]) {
			return false
		}
		if at := fragmentHeader(sent); at > 0 {
			return bytes.Equal(got[8:at+4], sent[8:at+4]) && bytes.Equal(got[at+8:], sent[at+8:])
		}
		return bytes.Equal(got[8:], sent[8:])
	}
	return bytes.Equal(got, sent)
}

// trim cuts what follows the end of a packet by its own account.
func trim(p []byte) []byte {
	n := len(p)
	switch {
	case n >= 20 && p[0]>>4 == 4:
		n = int(p[2])<<8 | int(p[3])
		if n < 20 {
			return p
		}
	case n >= 40 && p[0]>>4 == 6 && p[4]|p[5] != 0:
		n = 40 + int(p[4])<<8 + int(p[5])
	}
	return p[:min(n, len(p))]
}

// fragmentHeader is where an IPv6 packet has its fragment header, or 0.
func fragmentHeader(p []byte) int {
	next, at := p[6], 40
	for at+8 <= len(p) {
		switch next {
		case fragment:
			return at
		case hopByHop, routing, destination:
			next, at = p[at], at+(int(p[at+1])+1)*8
		default:
			return 0
		}
	}
	return 0
}

// isFragment reports whether a packet is a part of one: the kernel may hold it
// back until the rest is there.
func isFragment(p []byte) bool {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		return p[6]&0x3f|p[7] != 0
	case len(p) >= 40 && p[0]>>4 == 6:
		return fragmentHeader(p) > 0
	}
	return false
}
