package conntrack

import (
	"encoding/binary"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// What is here is the short form of what track does, for what nearly all
// packets are: of a known connection, and changing no state. It says what track
// would say, or nothing, and then it has done nothing.

// quick reports whether the short form may know p: a whole packet of TCP or UDP,
// in IPv4 or IPv6.
func quick(p *packet.Packet) bool {
	return (p.Tuple.Proto == packet.ProtoTCP || p.Tuple.Proto == packet.ProtoUDP) && !p.Fragment && p.Tuple.Family&^2 == 4
}

// quickly is TrackTo for a quick packet whose hash is h. id is what guess said of
// it some time ago, or 0.
func (t *Table) quickly(now Time, z Zone, from Side, p *packet.Packet, h uint64, id uint32, out *Conn) {
	s, at := t.shard(h), t.clock.at(now)
	if id == 0 {
		moves := s.index.moves.Load()
		id = s.index.guess(h)
		if id == 0 && moves%2 == 0 && s.index.moves.Load() == moves { // as shard.find has it
			*out = t.miss(at, from, p, s)
			return
		}
	}
	if t.hot(at, z, from, p, s, id, out) {
		return
	}
	var k key
	k.set(z, from, &p.Tuple, 0, 0)
	*out = t.track(at, &k, h, classOpener, from, p)
}

// ends returns the addresses and ports of p, remote first.
func ends(from Side, p *packet.Packet) (remote, local *[16]byte, ports uint32) {
	if from == Remote {
		return &p.Tuple.Src, &p.Tuple.Dst, uint32(p.Tuple.SrcPort)<<16 | uint32(p.Tuple.DstPort)
	}
	return &p.Tuple.Dst, &p.Tuple.Src, uint32(p.Tuple.DstPort)<<16 | uint32(p.Tuple.SrcPort)
}

// quickHash is secret.hash of the key of a quick packet.
func (t *Table) quickHash(z Zone, from Side, p *packet.Packet) uint64 {
	le, s := binary.LittleEndian, &t.secret
	remote, local, ports := ends(from, p)
	a := fold(le.Uint64(remote[:8])^s[0], le.Uint64(remote[8:])^s[1])
	b := fold(le.Uint64(local[:8])^s[2], le.Uint64(local[8:])^s[3])
	c := uint64(z)<<32 | uint64(ports)
	d := uint64(p.Tuple.Proto) | uint64(p.Tuple.Family)<<8
	return fold(fold(a^c^s[4], b^d^s[5])^s[0], hashOdd)
}

// guess returns the number of an entry that has the tag of a hash, or 0. It is
// the right one but for one case in some ten thousand.
func (x *index) guess(h uint64) uint32 {
	b := x.home(h)
	pattern := uint64(tagOf(h)) * lanes
	at := &x.buckets[b]
	for range 2 {
		// In each word, the lowest lane that is marked is a match.
		v := atomic.LoadUint64(&at[0]) ^ pattern
		if m := (v - lanes) &^ v & laneTops; m != 0 {
			return at.number(firstLane(m))
		}
		v = atomic.LoadUint64(&at[1]) ^ pattern
		if m := (v - lanes) &^ v & laneTops; m != 0 {
			return at.number(4 + firstLane(m))
		}
		last := atomic.LoadUint64(&at[2])
		v = last ^ pattern
		if m := (v - lanes) &^ v & (laneTops & 0xffffffff); m != 0 {
			return at.number(8 + firstLane(m)&1)
		}
		if last&awayMask == 0 {
			return 0
		}
		at = &x.buckets[x.other(b, tagOf(h))]
	}
	return 0
}

// hot is TrackTo for a quick packet whose entry probably has the number id. It
// sets out, or reports false.
func (t *Table) hot(now uint32, z Zone, from Side, p *packet.Packet, s *shard, id uint32, out *Conn) bool {
	if id>>1 == 0 {
		return false
	}
	slot := id>>1 - 1
	var e *entry
	var te *tcpEntry
	if id&numberTCP != 0 {
		te = &s.tcp[slot/chunkSize][slot%chunkSize]
		e = &te.entry
	} else {
		e = &s.plain[slot/chunkSize][slot%chunkSize]
	}
	w := atomic.LoadUint32(&e.word)
	if w&wordLocked != 0 || !atomic.CompareAndSwapUint32(&e.word, w, w|wordLocked) {
		return false
	}
	le := binary.LittleEndian
	remote, addr, ports := ends(from, p)
	if e.ports != ports || uint8(w) != p.Tuple.Proto || !e.live() ||
		le.Uint64(e.remote[:8]) != le.Uint64(remote[:8]) || le.Uint64(e.remote[8:]) != le.Uint64(remote[8:]) {
		e.unlock(w)
		return false
	}
	l := s.locals.at(e.local)
	if l.zone != z || l.family() != p.Tuple.Family ||
		le.Uint64(l.addr[:8]) != le.Uint64(addr[:8]) || le.Uint64(l.addr[8:]) != le.Uint64(addr[8:]) {
		e.unlock(w)
		return false
	}
	d := e.dir(from) & 1
	if te != nil {
		// Both have been heard, so the idle time does not hang on this packet,
		// and it began with the last one.
		if e.flags&flagSeenReply == 0 || e.packets[Original]&heldBit != 0 ||
			due(now, e.seen+t.idle.established) || !te.follow(d, p) {
			e.unlock(w)
			return false
		}
	} else if e.flags&flagSeenReply == 0 && d == Reply || due(now, e.seen+t.idle.by[ClassUDP][e.status()]) {
		e.unlock(w)
		return false
	}
	n, bytes := e.packets[d]+1, uint64(e.bytes[d])+uint64(p.Length)
	e.packets[d], e.bytes[d] = n, uint32(bytes)
	if n&countMask == 0 || bytes>>32 != 0 {
		s.overflow(e, id, d, bytes>>32)
	}
	if int32(now-e.seen) > 0 { // a late reading moves nothing back
		e.seen = now
	}
	out.State, out.Dir, out.Opener = Established, d, e.opener()
	out.Mark, out.Epoch = e.mark, e.epoch
	out.ref = ref{s.n, id, w & wordGen}
	e.unlock(w)
	return true
}

// miss is Track for a quick packet that has no entry.
func (t *Table) miss(now uint32, from Side, p *packet.Packet, s *shard) Conn {
	if p.Tuple.Proto == packet.ProtoTCP {
		if _, ok := tcpStart(p.Flags, t.loose || t.adopt.on(now)); !ok {
			s.invalid.Add(1)
			return Conn{}
		}
	}
	return Conn{State: New, Opener: from}
}
