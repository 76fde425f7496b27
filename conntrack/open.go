package conntrack

import (
	"math/bits"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// Open is [Table.CommitTo], with the lane's epoch, for the packet that b begins
// with, of which [Lane.Track] has just said that it is New.
//
// New: the packet has a connection now, of which m is the mark.
//
// Invalid: it has none by this call; ask Commit. Room may have been made for it.
func (l *Lane) Open(now Time, b []byte, m Mark) State {
	var h head
	if l.table == nil || !l.read(b, &h) {
		return Invalid
	}
	return l.open(l.table.clock.at(now), &h, b, m)
}

// OpenAt is [Lane.Open] for packet i of the last Look of this lane into b, at
// the time of that, of which TrackAt has just said that it is New. p is that
// packet.
func (l *Lane) OpenAt(b *Batch, i int, p []byte, m Mark) State {
	// Of another lane's packet the hash is not that of the key here.
	if !b.known[i] || b.lane != *l {
		return Invalid
	}
	return l.open(b.now, &b.heads[i], p, m)
}

// open is Open for the packet p, which h is the head of.
func (l *Lane) open(now uint32, h *head, p []byte, m Mark) State {
	if h.may&mayOpen == 0 {
		return Invalid
	}
	offer := options(0)
	if uint8(h.kind) == packet.ProtoTCP {
		at := header4
		if h.kind>>8 == 6 {
			at = header6
		}
		if len(p) < at+headerTCP {
			return Invalid
		}
		if size := int(p[at+12]>>4) * 4; size > headerTCP {
			if len(p) < at+size {
				return Invalid
			}
			offer = offered(p[at+headerTCP : at+size])
		}
	}
	var c Conn
	if !l.begin(now, h, offer, m, l.epoch, &c) {
		return Invalid
	}
	return New
}

// offered is optionsOf for a SYN with the options o, read as packet.Decode reads
// them.
func offered(o []byte) (offer options) {
	const end, nop, windowScale, sackPermitted = 0, 1, 3, 4
	for len(o) > 0 && o[0] != end {
		if o[0] == nop {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			break
		}
		switch {
		case o[0] == windowScale && o[1] == 3:
			const maxShift = 14 // RFC 7323 2.3
			offer = offer&^optScale | optScaling | options(min(o[2], maxShift))
		case o[0] == sackPermitted && o[1] == 2:
			offer |= optSACK
		}
		o = o[o[1]:]
	}
	return offer
}

// Stage asks the memory for the slots that some packets of the last Look of this
// lane into b will have, if [Lane.OpenAt] opens their connections next: bit i of
// opens is packet i. It is worth its while for four and more. Nothing but time
// depends on it.
func (l *Lane) Stage(b *Batch, opens uint64) {
	if l.table == nil || b.lane != *l {
		return
	}
	t := l.table
	var many [maxShards][2]uint8 // by shard and slab
	for rest := opens; rest != 0; rest &= rest - 1 {
		if h := &b.heads[bits.TrailingZeros64(rest)]; h.may&mayOpen != 0 {
			many[t.number(h.hash)][slabOf(uint8(h.kind))]++
		}
	}
	var ids [BatchSize]uint32
	var in [BatchSize]*shard
	n := 0
	for rest := opens; rest != 0; rest &= rest - 1 {
		h := &b.heads[bits.TrailingZeros64(rest)]
		of := &many[t.number(h.hash)]
		if *of == [2]uint8{} {
			continue
		}
		s := t.shard(h.hash)
		if s.mu.TryLock() {
			for kind, k := range of {
				for _, id := range s.next(uint32(kind), ids[n:n+int(k)]) {
					_, in[n] = id, s
					n++
				}
			}
			s.mu.Unlock()
		}
		*of = [2]uint8{}
	}
	for i := range n {
		in[i].touch(ids[i])
	}
}

// next sets out to the slots of a slab that go next, so far as they were used
// before, and asks the memory for what lies beside them. It returns those that
// there are. The shard's lock is held.
func (s *shard) next(kind uint32, out []uint32) []uint32 {
	b := &s.slabs[kind]
	out = b.free.next(out)
	for i, slot := range out {
		out[i] = slot<<1 | kind
		atomic.LoadUint32(b.deadline(out[i]))
		if kind == numberTCP {
			atomic.LoadUint32(&b.created[(slot-1)/chunkSize][(slot-1)%chunkSize])
		}
	}
	return out
}
