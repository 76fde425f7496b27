package conntrack

import (
	"runtime"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// entry is one slot of a shard: 64 bytes, one cache line, without a pointer. A
// connection of TCP has its windows behind it (see tcpEntry); others do not
// pay for them.
//
// All but word belongs to who holds the entry's own lock, a bit of word. A packet of a known connection takes no other lock.
//
// The protocol of a free slot is 0. So who does not hold the lock of the shard
// and is after a connection of another protocol takes the lock of no free slot
// (see lockIf), and a free slot for TCP belongs to who holds that of the shard.
type entry struct {
	word uint32 // atomic: lock bit, generation, protocol
	body
}

// body is what the lock of an entry guards.
type body struct {
	ports  uint32 // remote, local
	remote [16]byte
	local  uint32 // low 24 bits: number of the local end; TCP: options of the last SYN that was let through above
	seen   uint32 // tick of the last packet
	mark   Mark
	epoch  uint32

	bytes   [2]uint32 // low 32 bits: see spill
	packets [2]uint32 // low 24 bits; TCP: options of that direction above; heldBit, spilledBit

	extra uint32 // TCP: window.lastEnd. Others: the tick of their first packet

	state uint8 // low 4 bits: Status, 0 if the slot is free; TCP: last segment and its direction above
	flags entryFlags
	aux   uint16 // TCP: window.lastWin; ICMP queries: query, code
}

// tcpEntry is a slot for a connection of TCP: 96 bytes, which always lie in
// two cache lines.
type tcpEntry struct {
	entry
	ends [2]endpoint // by the Dir in which it sends
}

// Parts of entry.word.
const (
	wordLocked  = 1 << 31
	wordGen     = wordLocked - 1<<wordShift // moves on when the entry leaves; never 0
	wordShift   = 8
	wordProto   = 1<<wordShift - 1
	localMask   = 1<<24 - 1
	countMask   = 1<<24 - 1
	countShift  = 24
	heldBit     = 1 << 31 // of packets[Original]: see shard.expiry
	spilledBit  = 1 << 31 // of packets[Reply]: it has high counters, see spill
	statusMask  = 0x0f
	lastSegBits = 0x07
)

// entryFlags are what an entry remembers beside its status.
type entryFlags uint8

const (
	flagLocal       entryFlags = 1 << iota // the opener is Local
	flagSeenReply                          // a reply was seen
	flagAssured                            // not evicted while open
	flagCrossed                            // TCP: both sides sent a SYN
	flagAnswerReply                        // TCP: the SYN-ACK came in the reply direction
	flagCloserReply                        // TCP: the first FIN came in the reply direction
	flagLoose                              // TCP: picked up in the middle, windows unknown
	flagDead                               // TCP: reset before it was answered; only a SYN has a use for it
)

// lock takes the entry's lock and returns its word without it. Nobody holds it
// for long, so there is no queue.
func (e *entry) lock() uint32 {
	w := atomic.LoadUint32(&e.word)
	if w&wordLocked == 0 && atomic.CompareAndSwapUint32(&e.word, w, w|wordLocked) {
		return w
	}
	return e.lockSlow()
}

func (e *entry) lockSlow() uint32 {
	for spins := 1; ; spins++ {
		w := atomic.LoadUint32(&e.word)
		if w&wordLocked == 0 && atomic.CompareAndSwapUint32(&e.word, w, w|wordLocked) {
			return w
		}
		if spins%64 == 0 {
			runtime.Gosched() // its holder may not be running
		}
	}
}

// lockIf is lock, but reports false, and takes nothing, if the bits of mask are
// not those of want.
func (e *entry) lockIf(mask, want uint32) (w uint32, ok bool) {
	for spins := 1; ; spins++ {
		w = atomic.LoadUint32(&e.word)
		if w&mask != want {
			return w, false
		}
		if w&wordLocked == 0 && atomic.CompareAndSwapUint32(&e.word, w, w|wordLocked) {
			return w, true
		}
		if spins%64 == 0 {
			runtime.Gosched() // its holder may not be running
		}
	}
}

// unlock gives the lock back and leaves w as the word.
func (e *entry) unlock(w uint32) { atomic.StoreUint32(&e.word, w) }

func (e *entry) proto() uint8   { return uint8(atomic.LoadUint32(&e.word)) }
func (e *entry) status() Status { return Status(e.state & statusMask) }
func (e *entry) live() bool     { return e.state&statusMask != 0 }

func (e *entry) setStatus(s Status) { e.state = e.state&^statusMask | uint8(s) }

func (e *entry) opener() Side { return Side(e.flags & flagLocal) }

// dir returns the direction of a packet that came from a side.
func (e *entry) dir(from Side) Dir { return Dir(from ^ e.opener()) }

// end returns the reason that goes with e's expiry.
func (e *entry) end() End {
	if e.status().closed() {
		return EndClosed
	}
	return EndExpired
}

// half is what a packet has to match of e beside the local end.
func (k *key) half() (ports uint32, aux uint16) {
	return uint32(k.rport)<<16 | uint32(k.lport), uint16(k.query)<<8 | uint16(k.code)
}

// key returns the key of e, whose local end is l.
func (e *entry) key(l *local) key {
	k := key{
		remote: e.remote, local: l.addr, zone: l.zone, family: l.family(), proto: e.proto(),
		rport: uint16(e.ports >> 16), lport: uint16(e.ports),
	}
	if classOf(k.proto) == ClassICMP {
		k.query, k.code = uint8(e.aux>>8), uint8(e.aux)
	}
	return k
}

// answered moves a connection of a protocol other than TCP on, once both
// directions were seen. A ping is never assured: many of them must not fill the
// table for good.
func (e *entry) answered() {
	if p := e.proto(); p == packet.ProtoICMP || p == packet.ProtoICMPv6 {
		e.setStatus(StatusReplied)
		return
	}
	e.setStatus(StatusAssured)
	e.flags |= flagAssured
}

// Ranks of entries at eviction; the highest goes first, 0 never.
const (
	rankUnassured = iota + 1
	rankUnreplied
	rankClosed
	rankExpired
)

func (e *entry) rank(expired bool) int {
	switch {
	case expired:
		return rankExpired
	case e.status().closed():
		return rankClosed
	case e.flags&flagSeenReply == 0:
		return rankUnreplied
	case e.flags&flagAssured == 0:
		return rankUnassured
	}
	return 0
}
