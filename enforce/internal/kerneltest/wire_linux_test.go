package kerneltest

import (
	"bytes"

	"example.com/secgroup/enforce/internal/netlabtest"
)

// wire returns the packets from step from up to step to, and which of them are
// the last pieces of datagrams. Linux may send a datagram in other pieces than
// it came in, or in one; what the last piece points to becomes true when it
// sends any. A fragment that comes out by itself does so at once.
func (tr trial) wire(place, from, to int) (out []netlabtest.Step, whole map[int]*bool) {
	done := completed(tr.steps)
	for k := from; k < to; k++ {
		s := tr.steps[k].wire(place)
		s.Prompt = true
		if done[k] == k {
			var pieces [][]byte
			for i, d := range done {
				if d == k {
					pieces = append(pieces, relocate(tr.steps[i].b, place))
				}
			}
			datagram, came := reassembled(pieces), new(bool)
			s.Same = func(got []byte) bool {
				ok := carries(got, s.Packet, datagram)
				*came = *came || ok
				return ok
			}
			if whole == nil {
				whole = map[int]*bool{}
			}
			whole[k] = came
		}
		out = append(out, s)
	}
	return out, whole
}

// wire returns the packet as it is put on the wire.
func (s step) wire(place int) netlabtest.Step {
	out := netlabtest.Step{From: "sg0", To: "up0", Packet: relocate(s.b, place), EtherType: 0x0800}
	if s.in {
		out.From, out.To = out.To, out.From
	}
	if s.six() {
		out.EtherType = 0x86dd
	}
	if sent := plain(out.Packet); sent != nil {
		out.Same = func(got []byte) bool {
			got = plain(got)
			return got != nil && bytes.Equal(got, sent)
		}
	}
	return out
}

// six is the family that the frame says.
func (s step) six() bool {
	if len(s.b) < 40 {
		return s.b[0]>>4 == 6
	}
	src, dst := addrs(append([]byte{0x60}, s.b[1:]...))
	return near(src) || near(dst)
}

// plain returns a packet without what Linux changes on its way beside what the
// lab knows of, nil if that is nothing: it clears what stands in an IPv4 header
// behind the end of the options, and takes the fragment header out of a whole
// IPv6 packet (RFC 6946).
func plain(b []byte) []byte {
	switch {
	case len(b) > 20 && b[0]>>4 == 4 && b[0]&15 > 5 && len(b) >= int(b[0]&15)*4 && len(b) >= word16(b[2:]):
		b = bytes.Clone(b[:max(word16(b[2:]), int(b[0]&15)*4)])
		b[8], b[10], b[11] = 0, 0, 0
		for at, n := 20, int(b[0]&15)*4; at < n; {
			switch {
			case b[at] == 0:
				clear(b[at:n])
				return b
			case b[at] == 1:
				at++
			case at+1 < n && b[at+1] > 1:
				at += int(b[at+1])
			default:
				return b
			}
		}
		return b
	case len(b) >= 40 && b[0]>>4 == 6 && len(b) >= 40+word16(b[4:]):
		b = bytes.Clone(b[:40+word16(b[4:])])
		b[7] = 0
		found := false
		last := 6
		chain(b, func(kind uint8, h []byte, at int) bool {
			if kind == 44 && at+8 <= len(b) && h[2] == 0 && h[3]&0xf9 == 0 {
				b[last] = h[0]
				b = append(b[:at], b[at+8:]...)
				n := word16(b[4:]) - 8
				b[4], b[5] = byte(n>>8), byte(n)
				found = true
				return false
			}
			last = at
			return true
		})
		if found || b[6] != 44 && !hasFragment(b) {
			return b
		}
	}
	return nil
}

// hasFragment reports whether an IPv6 packet has a fragment header.
func hasFragment(b []byte) (yes bool) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	chain(b, func(kind uint8, _ []byte, _ int) bool {
		yes = yes || kind == 44
		return !yes
	})
	return yes
}
