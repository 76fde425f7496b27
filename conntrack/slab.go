package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// slab holds the entries of a shard that are of one shape, in chunks, which
// never move and never go. It belongs to who holds the shard's lock, but for
// what a number that was found in the index leads to.
//
// Beside the entries lie arrays that only few packets touch: a deadline, before
// which an entry does not expire, and for TCP the tick of the first packet.
type slab struct {
	deadlines []*[chunkSize]uint32 // atomic
	created   []*[chunkSize]uint32 // of TCP; the others have entry.extra

	used, limit uint32 // slots given out so far, and at most

	free vacancies
}

// chunkSize is by how many slots a slab grows.
const chunkSize = 512

// Entry numbers: the lowest bit tells the slab, the others, from 1, the slot.
// 0 is none.
const numberTCP = 1

// maxSlots is how many slots a slab of a shard has at most, and so how many
// local ends: their numbers have 24 bits.
const maxSlots = 1<<23 - 1

func (b *slab) init(slots int) {
	b.limit = uint32(slots)
	b.deadlines = make([]*[chunkSize]uint32, chunksFor(slots))
	b.free.init(slots)
}

func chunksFor(slots int) int { return (slots + chunkSize - 1) / chunkSize }

// deadline is atomic: packets that change a state may lower it.
func (b *slab) deadline(id uint32) *uint32 {
	slot := id>>1 - 1
	return &b.deadlines[slot/chunkSize][slot%chunkSize]
}

// slabOf returns the number of the slab for a protocol.
func slabOf(proto uint8) uint32 {
	if proto == packet.ProtoTCP {
		return numberTCP
	}
	return 0
}

// at returns the entry of a number.
func (s *shard) at(id uint32) *entry {
	if id&numberTCP != 0 {
		return &s.atTCP(id).entry
	}
	slot := id>>1 - 1
	return &s.plain[slot/chunkSize][slot%chunkSize]
}

// atTCP is at for a number of TCP.
func (s *shard) atTCP(id uint32) *tcpEntry {
	slot := id>>1 - 1
	return &s.tcp[slot/chunkSize][slot%chunkSize]
}

// slab returns the slab of a number.
func (s *shard) slab(id uint32) *slab { return &s.slabs[id&numberTCP] }

// exists reports whether a number was ever given out.
func (s *shard) exists(id uint32) bool { return id>>1 != 0 && id>>1 <= s.slab(id).used }

// allocate returns the number of a free slot of a slab, 0 if there is none.
func (s *shard) allocate(kind uint32) uint32 {
	b := &s.slabs[kind]
	if slot := b.free.take(); slot != 0 {
		return slot<<1 | kind
	}
	if b.used == b.limit {
		return 0
	}
	if n := b.used / chunkSize; b.used%chunkSize == 0 {
		b.deadlines[n] = new([chunkSize]uint32)
		if kind == numberTCP {
			s.tcp[n] = new([chunkSize]tcpEntry)
			b.created[n] = new([chunkSize]uint32)
		} else {
			s.plain[n] = new([chunkSize]entry)
		}
	}
	b.used++
	return b.used<<1 | kind
}

// deadline returns the tick before which the entry of a number does not expire.
func (s *shard) deadline(id uint32) uint32 { return atomic.LoadUint32(s.slab(id).deadline(id)) }

func (s *shard) setDeadline(id, at uint32) { atomic.StoreUint32(s.slab(id).deadline(id), at) }

// firstDeadline is setDeadline for an entry that is not in the table yet. Who
// reads deadlines holds the lock of the shard, which is held here, or that of
// the entry, so it need not be atomic.
func (s *shard) firstDeadline(id, at uint32) { *s.slab(id).deadline(id) = at }

// expiry returns when e expires if it stays idle; its lock is held. That is its
// idle time after the last packet, unless that was let through without being
// judged part of the connection: then the idle time went on, and the deadline
// says when it ends.
func (s *shard) expiry(e *entry, id uint32) uint32 {
	if e.packets[Original]&heldBit != 0 {
		return s.deadline(id)
	}
	return e.seen + s.table.idle.of(e)
}

// created returns the tick of e's first packet.
func (s *shard) created(e *entry, id uint32) uint32 {
	if id&numberTCP == 0 {
		return e.extra
	}
	slot := id>>1 - 1
	return s.slabs[numberTCP].created[slot/chunkSize][slot%chunkSize]
}

// hashOf returns the hash of a live entry; the shard's lock is held, so it stays.
func (s *shard) hashOf(id uint32) uint64 {
	e := s.at(id)
	w := e.lock()
	k := e.key(s.locals.at(e.local))
	e.unlock(w)
	return s.table.secret.hash(&k)
}
