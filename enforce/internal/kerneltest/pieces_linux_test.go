package kerneltest

import (
	"bytes"
	"encoding/binary"
)

// piece is what a fragment carries of its datagram.
type piece struct {
	at   int // bytes
	more bool
	data []byte
}

// fragment returns a piece of the datagram that has the header of b.
func fragment(b []byte, id uint32, p piece) []byte {
	word := uint16(p.at / 8)
	if b[0]>>4 == 4 {
		out := append(bytes.Clone(b[:20]), p.data...)
		if p.more {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		binary.BigEndian.PutUint16(out[4:], uint16(id))
		binary.BigEndian.PutUint16(out[6:], word)
		mend4(out)
		return out
	}
	h := []byte{b[6], 0, 0, 0, 0, 0, 0, 0}
	word <<= 3
	if p.more {
		word |= 1
	}
	binary.BigEndian.PutUint16(h[2:], word)
	binary.BigEndian.PutUint32(h[4:], id)
	out := append(append(bytes.Clone(b[:40]), h...), p.data...)
	out[6] = 44
	binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
	return out
}

// fragments returns b in pieces, in most cases as no sender would send them.
func (g random) fragments(b []byte) (out [][]byte) {
	_, at := transport(b)
	if len(b) < at+8 {
		return [][]byte{b}
	}
	payload := b[at:]
	if n := 24 + 8*g.IntN(4); len(payload) < n && !g.oneIn(3) { // data behind it, so that there is something to cut
		payload = append(bytes.Clone(payload), g.data(n-len(payload)+g.IntN(8))...)
		p := apart(b)
		p.l4 = payload
		if (p.proto == 17 || p.proto == 136) && binary.BigEndian.Uint16(payload[4:]) >= 8 {
			binary.BigEndian.PutUint16(payload[4:], uint16(len(payload)))
		}
		payload = p.packet()[at:]
	}
	var cuts []int
	for range 1 + g.IntN(3) {
		cuts = append(cuts, 8*(1+g.IntN(max(1, (len(payload)-1)/8))))
	}
	if g.oneIn(2) {
		cuts = append(cuts, 24) // behind most headers
	}
	var list []piece
	for from := 0; from < len(payload); {
		to := len(payload)
		for _, c := range cuts {
			if c > from && c < to {
				to = c
			}
		}
		list = append(list, piece{from, to < len(payload), payload[from:to]})
		from = to
	}
	i := g.IntN(len(list))
	switch g.IntN(16) {
	case 0, 1: // out of order
		g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	case 2: // one twice
		list = append(list[:i+1], append([]piece{list[i]}, list[i+1:]...)...)
	case 3: // one lost
		list = append(list[:i], list[i+1:]...)
	case 4, 5: // one that overlaps
		p := list[g.IntN(len(list))]
		p.at = max(0, p.at+pick(g.Rand, -8, 8, 16))
		j := g.IntN(len(list) + 1)
		list = append(list[:j], append([]piece{p}, list[j:]...)...)
	case 6: // the same with other bytes
		p := list[i]
		p.data = bytes.Clone(p.data)
		p.data[g.IntN(len(p.data))] ^= 1 << g.IntN(8)
		j := g.IntN(len(list) + 1)
		list = append(list[:j], append([]piece{p}, list[j:]...)...)
	case 7: // another end
		p := list[len(list)-1]
		p.data = append(bytes.Clone(p.data), g.data(8)...)
		list = append(list, p)
	case 8: // one that no datagram has
		p := list[i]
		switch g.IntN(4) {
		case 0:
			p.data = nil
		case 1:
			p.at, p.more = 65528, false
			p.data = append(bytes.Clone(p.data), make([]byte, 16)...)
		case 2:
			p.more, p.data = true, p.data[:len(p.data)-1]
		case 3:
			p.at, p.more = 0, false // the whole, it says
		}
		list = append(list[:i], append([]piece{p}, list[i:]...)...)
	case 9: // all of it twice
		list = append(list, list...)
	}
	id := g.Uint32()
	for _, p := range list {
		n := id
		if g.oneIn(60) {
			n++
		}
		out = append(out, fragment(b, n, p))
	}
	return out
}

// datagrams reassembles by offsets alone. It says which packets of a walk belong
// to a datagram that is complete at some time, and when: as RFC 791 and RFC 8200
// 4.5 say, and as Linux does (net/ipv4/inet_fragment.c inet_frag_queue_insert)
// where they leave a choice. There a contradiction ends the datagram, and what
// comes after begins another; a piece inside a run of pieces that came in order
// is a copy; and the odd bytes of an IPv4 piece that is not the last are cut.
type datagrams map[string]*datagram

type datagram struct {
	steps []int
	runs  [][2]int
	bytes int
	end   int // as far as known
	last  bool
}

// nameOf returns the datagram that a fragment is of, "" if b is none, and what
// of it. A whole packet with a fragment header is one (RFC 6946); Linux queues
// it with others of its number.
func nameOf(b []byte) (string, piece) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n, word := int(b[0]&15)*4, binary.BigEndian.Uint16(b[6:])
		total := int(binary.BigEndian.Uint16(b[2:]))
		if word&0x3fff == 0 || n < 20 || total > len(b) || total < n {
			return "", piece{}
		}
		return string(b[4:6]) + string(b[9]) + string(b[12:20]), piece{int(word&0x1fff) * 8, word&0x2000 != 0, b[n:total]}
	case len(b) >= 40 && b[0]>>4 == 6:
		next, at := b[6], 40
		total := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return "", piece{}
		}
		for at+8 <= total {
			switch next {
			case 44:
				word := binary.BigEndian.Uint16(b[at+2:])
				return string(b[at+4:at+8]) + string(b[8:40]), piece{int(word &^ 7), word&1 != 0, b[at+8 : total]}
			case 0, 43, 60:
				next, at = b[at], at+8*(1+int(b[at+1]))
			default:
				return "", piece{}
			}
		}
	}
	return "", piece{}
}

// add takes the packet of step i and returns the steps of the datagram that it
// completes.
func (d datagrams) add(i int, b []byte) []int {
	name, p := nameOf(b)
	if name == "" {
		return nil
	}
	end := p.at + len(p.data)
	if p.more && b[0]>>4 == 4 {
		end &^= 7
	}
	six := b[0]>>4 == 6
	if six && end > 65535 {
		return nil
	}
	g := d[name]
	if g == nil {
		g = &datagram{}
		d[name] = g
	}
	if six && p.more && end%8 != 0 {
		delete(d, name)
		return nil
	}
	contradicts := !p.more && (end < g.end || g.last && end != g.end) || p.more && end > g.end && g.last
	if !contradicts {
		g.end, g.last = max(g.end, end), g.last || !p.more
	}
	if contradicts || end == p.at {
		if !six {
			delete(d, name)
		}
		return nil
	}
	switch copied, ok := g.insert(p.at, end); {
	case copied:
		return nil
	case !ok:
		delete(d, name)
		return nil
	}
	g.steps = append(g.steps, i)
	if g.bytes += end - p.at; !g.last || g.bytes != g.end {
		return nil
	}
	delete(d, name)
	if g.end > 65535-20 && !six {
		return nil
	}
	return g.steps
}

// insert takes a piece, which may be a copy, or contradict the others.
func (g *datagram) insert(from, to int) (copied, ok bool) {
	tail := 0 // the run that is last in the datagram
	for i, r := range g.runs {
		if r[1] > g.runs[tail][1] {
			tail = i
		}
	}
	if len(g.runs) > 0 && g.runs[tail][1] < to {
		switch end := g.runs[tail][1]; {
		case from < end:
			return false, false
		case from == end:
			g.runs[tail][1] = to
			return false, true
		}
	}
	for _, r := range g.runs {
		switch {
		case r[0] <= from && to <= r[1]:
			return true, true
		case from < r[1] && r[0] < to:
			return false, false
		}
	}
	g.runs = append(g.runs, [2]int{from, to})
	return false, true
}

// reassembled returns what the fragments of a datagram carry, one behind the
// other.
func reassembled(pieces [][]byte) (out []byte) {
	for _, b := range pieces {
		_, p := nameOf(b)
		if n := p.at + len(p.data); n > len(out) {
			out = append(out, make([]byte, n-len(out))...)
		}
		copy(out[p.at:], p.data)
	}
	return out
}

// carries reports whether got is a piece of the datagram of the fragment sent,
// however it was cut, or the whole.
func carries(got, sent, datagram []byte) bool {
	if len(got) < 20 || got[0]>>4 != sent[0]>>4 {
		return false
	}
	src, dst := addrs(got)
	if from, to := addrs(sent); src != from || dst != to {
		return false
	}
	name, p := nameOf(got)
	if got[0]>>4 == 4 {
		if of, _ := nameOf(sent); name != of {
			return false
		}
	} else if len(got) == beforeFragment(sent)+len(datagram) && bytes.HasSuffix(got, datagram) {
		return true
	}
	if name == "" {
		return false
	}
	return p.at+len(p.data) <= len(datagram) && bytes.Equal(p.data, datagram[p.at:p.at+len(p.data)])
}

// beforeFragment returns how many bytes an IPv6 packet has before its fragment
// header.
func beforeFragment(b []byte) (n int) {
	chain(b, func(kind uint8, _ []byte, at int) bool {
		n = at
		return kind != 44
	})
	return n
}

// completed returns for every step when its datagram is complete, -1 if never
// or if it is no fragment that counts.
func completed(w []step) []int {
	out := make([]int, len(w))
	for i := range out {
		out[i] = -1
	}
	d := datagrams{}
	for i, s := range w {
		for _, j := range d.add(i, s.b) {
			out[j] = i
		}
	}
	return out
}
