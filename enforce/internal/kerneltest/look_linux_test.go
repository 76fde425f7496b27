package kerneltest

import (
	"encoding/binary"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// look is what there is to see at a packet that is judged differently.
type look struct {
	tr trial
	r  result
	k  int // the packet's step

	b        []byte
	in       bool
	p        packet.Packet // as the engine decodes it
	err      error
	engine   ir.Verdict
	stricter bool // the engine is

	decoded []packet.Packet    // every packet of the walk, as far as the decoder goes
	entries []*conntrack.Entry // what the engine knew of the connection of each, or of the one it quotes
	done    []int              // see completed
}

// look returns what there is to see at step k of tr, which came out as r.
func (j *judge) look(tr trial, r result, k int) *look {
	l := &look{tr: tr, r: r, k: k, in: tr.steps[k].in, done: completed(tr.steps)}
	l.b = relocate(tr.steps[k].b, r.place)
	l.engine = r.engine[k]
	l.stricter = r.kernel[k]
	j.engine(tr, r.place, func(i int, p *packet.Packet, e *enforce.Engine) {
		l.decoded = append(l.decoded, *p)
		var of *conntrack.Entry
		for entry := range e.Table().All(0) {
			if belongs(p, &entry) {
				of = &entry
			}
		}
		l.entries = append(l.entries, of)
	})
	l.err = packet.Decode(l.b, &l.p)
	return l
}

// belongs reports whether a packet, or the one that it quotes, is of a
// connection.
func belongs(p *packet.Packet, e *conntrack.Entry) bool {
	t, typ, code := p.Tuple, p.ICMPType, p.ICMPCode
	if p.Inner.Tuple.Family != 0 {
		t, typ, code = p.Inner.Tuple, p.Inner.ICMPType, p.Inner.ICMPCode
	}
	if t != e.Orig && t.Reverse() != e.Orig {
		return false
	}
	if t.Proto != packet.ProtoICMP && t.Proto != packet.ProtoICMPv6 {
		return true
	}
	query := map[uint8]uint8{0: 8, 14: 13, 16: 15, 18: 17}
	if t.Proto == packet.ProtoICMPv6 {
		query = map[uint8]uint8{129: 128}
	}
	of, answer := query[typ]
	if !answer {
		of = typ
	}
	return code == e.ICMPCode && of == e.ICMPType && (t == e.Orig) == !answer
}

// passed reports whether the engine let step i pass.
func (l *look) passed(i int) bool { return l.r.engine[i].Action == sg.Accept }

// fragment reports whether the packet is a piece of a datagram by its own
// account.
func (l *look) fragment() bool {
	name, _ := nameOf(l.b)
	return name != ""
}

// siblings returns the other steps with pieces of the same datagram.
func (l *look) siblings() (out []int) {
	name, _ := nameOf(l.tr.steps[l.k].b)
	for i, s := range l.tr.steps {
		if n, _ := nameOf(s.b); n == name && i != l.k && s.in == l.in {
			out = append(out, i)
		}
	}
	return out
}

// flow returns the steps up to the packet that are of its connection, or of
// the one that it quotes, the packet last.
func (l *look) flow() (out []int) {
	t := l.p.Tuple
	if l.p.Inner.Tuple.Family != 0 {
		t = l.p.Inner.Tuple
	}
	for i := range l.k {
		p := &l.decoded[i]
		if p.L4 != 0 && p.Inner.Tuple.Family == 0 && (p.Tuple == t || p.Tuple == t.Reverse()) {
			out = append(out, i)
		}
	}
	return append(out, l.k)
}

// tcp names the difference by the reasons of the walks of TCP.
func (l *look) tcp() string {
	var w []segment
	var v verdicts
	about := l.p.Inner.Tuple.Family != 0
	for _, i := range l.flow() {
		p := &l.decoded[i]
		s := segment{scale: -1}
		if i != l.k || !about {
			s = segment{flags: p.Flags & 0x3f, seq: p.Seq, ack: p.Ack, win: p.Window, data: int(p.Data), scale: -1}
		}
		st, opener := conntrack.Status(0), l.tr.steps[i].in
		if e := l.entries[i]; e != nil {
			st, opener = e.Status, e.OrigSide == conntrack.Remote
		}
		if opener != l.tr.steps[i].in {
			s.from = 1
		}
		w = append(w, s)
		v.kernel = append(v.kernel, l.r.kernel[i])
		v.engine = append(v.engine, l.passed(i))
		v.before = append(v.before, st)
	}
	return reason(w, v, len(w)-1)
}

// fragmentedBefore reports whether a segment between the same ends, which Linux
// reassembled, came in pieces before.
func (l *look) fragmentedBefore() bool {
	for i := range l.k {
		p := &l.decoded[i]
		if n, _ := nameOf(l.tr.steps[i].b); n != "" && l.done[i] >= 0 && p.Tuple.Proto == packet.ProtoTCP && l.sameEnds(&p.Tuple) {
			return true
		}
	}
	return false
}

// sameEnds reports whether a packet travels between the ends of this one, or of
// the one that it quotes.
func (l *look) sameEnds(t *packet.Tuple) bool {
	of := l.p.Tuple
	if l.p.Inner.Tuple.Family != 0 {
		of = l.p.Inner.Tuple
	}
	return t.Src == of.Src && t.Dst == of.Dst || t.Src == of.Dst && t.Dst == of.Src
}

// routedBefore reports whether an IPv4 packet with options, which Linux reads
// when it has tracked the packet already, was refused by both before.
func (l *look) routedBefore() bool {
	for i, s := range l.tr.steps[:l.k] {
		if !l.r.kernel[i] && l.sameEnds(&l.decoded[i].Tuple) && len(s.b) > 20 && s.b[0]>>4 == 4 && s.b[0]&15 > 5 {
			return true
		}
	}
	return false
}

// atomic reports whether the packet is whole and has a fragment header.
func (l *look) atomic() bool {
	name, p := nameOf(l.b)
	return name != "" && l.six() && p.at == 0 && !p.more
}

func (l *look) six() bool { return len(l.b) >= 40 && l.b[0]>>4 == 6 }

// has reports whether an IPv6 packet has an extension header of which f is
// true.
func (l *look) has(f func(kind uint8, h []byte, at int) bool) (found bool) {
	if l.six() {
		chain(l.b, func(kind uint8, h []byte, at int) bool {
			found = found || f(kind, h, at)
			return !found
		})
	}
	return found
}

// l4 returns the transport header as the decoder found it.
func (l *look) l4() []byte {
	if l.err != nil || l.p.L4 == 0 {
		return nil
	}
	return l.b[l.p.L4:l.p.Length]
}

// sctp returns the SCTP packet in one without options, extension headers and
// fragments.
func (l *look) sctp() []byte {
	if len(l.b) < 40 || l.fragment() || l.b[0] != 0x45 && l.b[0]>>4 != 6 {
		return nil
	}
	proto, at := transport(l.b)
	if proto != packet.ProtoSCTP {
		return nil
	}
	return l.b[at:]
}

func word16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// length returns how many bytes the packet's datagram has behind the IP header,
// 0 if it is never complete.
func (l *look) length() (n int) {
	for _, i := range append(l.siblings(), l.k) {
		if _, p := nameOf(l.tr.steps[i].b); l.done[l.k] >= 0 && l.done[i] == l.done[l.k] {
			n = max(n, p.at+len(p.data))
		}
	}
	return n
}

// brokenQuote reports whether the IP header that an ICMP error quotes is not
// what a router can have seen: of another version, or its options broken, or a
// piece of a datagram without ports.
func (l *look) brokenQuote() bool {
	d := l.l4()
	if len(d) < 28 {
		return false
	}
	q := d[8:]
	if q[0]>>4 != l.b[0]>>4 {
		return true
	}
	if q[0]>>4 == 4 {
		return q[0]&15 != 5 || word16(q[6:])&0x1fff != 0
	}
	return len(q) >= 48 && (q[6] == 0 || q[6] == 43 || q[6] == 44 || q[6] == 51 || q[6] == 60)
}

// runsPast reports an extension header that ends behind the packet.
func runsPast(kind uint8, h []byte, _ int) bool {
	switch kind {
	case 44:
		return len(h) < 8
	case 51:
		return len(h) < 4*(2+int(h[1]))
	}
	return len(h) < 8*(1+int(h[1]))
}

// isTCP reports whether the packet is of TCP, or an error about one that is.
func (l *look) isTCP() bool {
	return l.p.Tuple.Proto == packet.ProtoTCP || l.p.Inner.Tuple.Proto == packet.ProtoTCP
}

// plainRetry reports whether the client sent another SYN, which has no options.
func (l *look) plainRetry() bool {
	for _, i := range l.flow() {
		e, p, b := l.entries[i], &l.decoded[i], l.tr.steps[i].b
		if i < l.k && e != nil && e.Status == conntrack.StatusSynSent && (e.OrigSide == conntrack.Remote) == l.tr.steps[i].in && l.passed(i) &&
			p.Flags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN && b[p.L4+12]>>4 == 5 {
			return true
		}
	}
	return false
}

// acknowledges reports whether the acknowledgement field of the segment is the
// number behind an ACK or a SYN that passed.
func (l *look) acknowledges() bool {
	for _, i := range l.flow() {
		q := &l.decoded[i]
		end := q.Seq + q.Data + uint32(q.Flags&packet.SYN/packet.SYN)
		if i < l.k && l.passed(i) && q.Flags&(packet.ACK|packet.SYN) != 0 && end == l.p.Ack {
			return true
		}
	}
	return false
}

// refusedSyn reports whether another attempt of the client was refused by the
// rules of both before.
func (l *look) refusedSyn() bool {
	for _, i := range l.flow() {
		e := l.entries[i]
		if i < l.k && e != nil && !l.passed(i) && !l.r.kernel[i] && l.r.engine[i].Reason != ir.ReasonInvalidState &&
			l.decoded[i].Flags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN && (e.OrigSide == conntrack.Remote) == l.tr.steps[i].in {
			return true
		}
	}
	return false
}

// ownReset reports whether a RST ended the connection while it opened, and
// acknowledged the number behind an ACK of its own side.
func (l *look) ownReset() bool {
	flow := l.flow()
	for n, i := range flow {
		p, e := &l.decoded[i], l.entries[i]
		if i == l.k || !l.passed(i) || e == nil || !opening(e.Status) || p.Flags&(packet.RST|packet.ACK) != packet.RST|packet.ACK {
			continue
		}
		for _, before := range flow[:n] {
			q := &l.decoded[before]
			if l.passed(before) && l.tr.steps[before].in == l.tr.steps[i].in && q.Flags&(packet.SYN|packet.ACK) == packet.ACK && q.Seq+q.Data == p.Ack {
				return true
			}
		}
	}
	return false
}
