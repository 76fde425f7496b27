package conntrack

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// What is here is the short form of what track does, for what nearly all
// packets are: of a known connection, and changing no state. It says what track
// would say, or nothing, and then it has done nothing.

// follow moves the entry with the number id, which is in s, on by a packet that
// h is the head of and that follows.
func (l *Lane) follow(now uint32, h *head, s *shard, id uint32) (w uint32, m Mark, epoch uint32, d Dir) {
	slot := id>>1 - 1
	var e *entry
	var te *tcpEntry
	if id&numberTCP != 0 {
		te = &s.tcp[slot/chunkSize][slot%chunkSize]
		e = &te.entry
	} else {
		e = &s.plain[slot/chunkSize][slot%chunkSize]
	}
	w = atomic.LoadUint32(&e.word)
	if uint8(w) != uint8(h.kind) || w&wordLocked != 0 || !atomic.CompareAndSwapUint32(&e.word, w, w|wordLocked) {
		return 0, 0, 0, 0
	}
	le := binary.LittleEndian
	way := uint32(l.from^Side(e.flags)) & 1
	d = Dir(way)
	at := s.locals.at(e.local)
	n, bytes := e.packets[way]+1, uint64(e.bytes[way])+uint64(h.length)
	// One comparison, for all but one in some ten thousand are equal.
	other := le.Uint64(e.remote[:8]) ^ h.rh | le.Uint64(e.remote[8:]) ^ h.rl | le.Uint64(at.addr[:8]) ^ h.lh | le.Uint64(at.addr[8:]) ^ h.ll |
		uint64(e.ports^h.ports|uint32(at.zone^l.zone)|uint32(at.family()^uint8(h.kind>>8)))
	if other != 0 || e.epoch != l.epoch && !l.any || n&countMask == 0 || bytes>>32 != 0 {
		e.unlock(w)
		return 0, 0, 0, 0
	}
	if te != nil {
		const both = flagSeenReply | flagAssured
		snd, rcv := &te.ends[way], &te.ends[way^1]
		mine := options(n >> countShift)
		seq, ack, win, data := h.seq, h.ack, h.window, h.data
		end := seq + data
		// See window.meet. Both ends have been heard and have acknowledged
		// something; the idle time began with the last packet.
		if e.state&statusMask != uint8(StatusEstablished) || e.flags&both != both || mine&optAcked == 0 || snd.maxWin == 0 || rcv.maxWin == 0 ||
			int32((seq-snd.maxEnd-1)&(ack-rcv.end-1)&(snd.end-rcv.maxWin-1-end)&(rcv.end-snd.maxAckWindow()-1-ack)&
				(now-e.seen-l.table.idle.established)&^e.packets[Original]) >= 0 {
			e.unlock(w)
			return 0, 0, 0, 0
		}
		e.extra, e.aux = end, uint16(win)
		e.state = uint8(StatusEstablished) | uint8(segAck)<<4 | uint8(way<<7) // see remember
		win <<= mine & optScale
		if win > snd.maxWin {
			snd.setMaxWin(win)
		}
		if after(end, snd.end) {
			snd.end = end
		}
		if after(ack, snd.maxAck) {
			snd.maxAck = ack
		}
		if after(end, snd.maxEnd) {
			rcv.setMaxWin(rcv.maxWin + end - snd.maxEnd)
		}
		if edge := ack + win; after(edge, rcv.maxEnd-1) {
			rcv.maxEnd = edge
			if win == 0 {
				rcv.maxEnd++
			}
		}
	} else if e.flags&flagSeenReply == 0 && d == Reply || due(now, e.seen+l.table.idle.by[ClassUDP][e.status()]) {
		e.unlock(w)
		return 0, 0, 0, 0
	}
	e.packets[way], e.bytes[way] = n, uint32(bytes)
	if int32(now-e.seen) > 0 { // a late reading moves nothing back
		e.seen = now
	}
	m, epoch = e.mark, e.epoch
	e.unlock(w)
	return w, m, epoch, d
}

// guess returns the number of an entry that has the tag of a hash, or 0. It is
// the right one but for one case in some ten thousand.
func (x *index) guess(h uint64) uint32 {
	b := x.home(h)
	at, pattern := &x.buckets[b], uint64(tagOf(h))*lanes
	v := atomic.LoadUint64(&at[0]) ^ pattern
	// In each word, the lowest lane that is marked is a match.
	if m := (v - lanes) &^ v & laneTops; m != 0 {
		return at.number(firstLane(m) & 3)
	}
	v = atomic.LoadUint64(&at[1]) ^ pattern
	if m := (v - lanes) &^ v & laneTops; m != 0 {
		return at.number(firstLane(m)&3 + 4)
	}
	v = atomic.LoadUint64(&at[2])
	away := v & awayMask
	v ^= pattern
	if m := (v - lanes) &^ v & (laneTops & 0xffffffff); m != 0 {
		return at.number(firstLane(m)&1 + 8)
	}
	if away == 0 {
		return 0
	}
	return x.guessOther(b, h)
}

// guessOfMany is guess where many searches follow each other: it takes some 25
// instructions more and has one branch. Which word of a bucket the tag is in is
// as good as random, and where every second branch goes the other way the
// searches do not overlap.
func (x *index) guessOfMany(h uint64) uint32 {
	b := x.home(h)
	at, pattern := &x.buckets[b], uint64(tagOf(h))*lanes
	u, v, last := atomic.LoadUint64(&at[0])^pattern, atomic.LoadUint64(&at[1])^pattern, atomic.LoadUint64(&at[2])
	w := last ^ pattern
	// The lowest mark of all is the lowest of its word, and so a match. The place
	// of the mark in its lane says which word it is.
	m := (u-lanes)&^u&laneTops | (v-lanes)&^v&laneTops>>1 | (w-lanes)&^w&(laneTops&0xffffffff)>>2
	if m != 0 {
		n := uint(bits.TrailingZeros64(m))
		return at.number(int(n/16 + (15-n%16)*4))
	}
	if last&awayMask == 0 {
		return 0
	}
	return x.guessOther(b, h)
}

// guessOther is guess in the other bucket of a hash whose home is b.
func (x *index) guessOther(b uint32, h uint64) uint32 {
	at, tag := &x.buckets[x.other(b, tagOf(h))], tagOf(h)
	for i, top := range [3]uint64{laneTops, laneTops, laneTops & 0xffffffff} {
		if m := matches(atomic.LoadUint64(&at[i]), tag) & top; m != 0 {
			return at.number(i*4 + firstLane(m))
		}
	}
	return 0
}

// miss is Track for a packet of TCP or UDP that has no entry.
func (t *Table) miss(now uint32, from Side, p *packet.Packet, s *shard) Conn {
	if p.Tuple.Proto == packet.ProtoTCP {
		if _, ok := tcpStart(p.Flags, t.loose || t.adopt.on(now)); !ok {
			s.invalid.Add(1)
			return Conn{}
		}
	}
	return Conn{State: New, Opener: from}
}
