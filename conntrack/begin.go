package conntrack

import (
	"encoding/binary"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// What is here is the short form of what commit does, for what nearly all
// packets are that it gets: the first of a connection of TCP or UDP, or a SYN that
// comes once more. It does what commit would do, or says that it does not.

// begin is commit for the packet that h is the head of, which may open a
// connection and offers those options. It sets out, or reports false, and then
// it has made room at most.
func (l *Lane) begin(now uint32, h *head, offer options, m Mark, epoch uint32, out *Conn) bool {
	t, family, proto := l.table, uint8(h.kind>>8), uint8(h.kind)
	at, kind := place{l.zone, ClassUDP, false}, uint32(0)
	if proto == packet.ProtoTCP {
		at.class, kind = ClassTCP, numberTCP
	}
	s := t.shard(h.hash)
	s.mu.Lock()
	b, lane, ok := s.index.room(h.hash)
	if !ok {
		s.mu.Unlock()
		return false
	}
	number, end := s.locals.known(&t.secret, h.lh, h.ll, l.zone, family)
	if number == 0 {
		s.mu.Unlock()
		return false
	}
	if at.counted = end.counted(); at.counted && !t.zones.reserve(l.zone) {
		s.mu.Unlock()
		return false
	}
	if full := s.take(at.class); full != limitNone {
		if at.counted {
			t.zones.release(l.zone)
		}
		if !s.makeWay(now, full, at) {
			s.mu.Unlock()
			return false
		}
		if number, end = s.locals.known(&t.secret, h.lh, h.ll, l.zone, family); number == 0 { // it went with the other
			s.release(at)
			s.mu.Unlock()
			return false
		}
		lane = uint(b.vacant())
	}
	id := s.allocate(kind)
	if id == 0 || lane == noLane && !s.enter(h.hash, id) {
		if id != 0 {
			s.slab(id).free.give(id >> 1)
		}
		s.release(at)
		s.mu.Unlock()
		return false
	}
	slot := id>>1 - 1
	var e *entry
	var te *tcpEntry
	var w uint32
	if kind == numberTCP {
		te = &s.tcp[slot/chunkSize][slot%chunkSize]
		e = &te.entry
		atomic.LoadUint32(&te.ends[Reply].maxWin) // so that both lines come at once
		w = atomic.LoadUint32(&e.word)            // nobody else takes its lock: see entry
	} else {
		e = &s.plain[slot/chunkSize][slot%chunkSize]
		w = e.lock()
	}
	gen := w & wordGen
	if gen == 0 {
		gen = 1 << wordShift
	}
	le := binary.LittleEndian
	end.refs++
	le.PutUint64(e.remote[:8], h.rh)
	le.PutUint64(e.remote[8:], h.rl)
	e.ports, e.local = h.ports, number
	e.seen, e.mark, e.epoch = now, m, epoch
	e.bytes[Original], e.bytes[Reply] = h.length, 0
	e.packets[Original], e.packets[Reply] = 1, 0
	e.flags, e.aux = entryFlags(l.from), 0
	idle := t.idle.by[ClassUDP][StatusUnreplied]
	if te != nil {
		te.syn(h, offer)
		s.slabs[numberTCP].created[slot/chunkSize][slot%chunkSize] = now
		idle = t.idle.by[ClassTCP][StatusSynSent]
	} else {
		e.state, e.extra = uint8(StatusUnreplied), now
	}
	s.firstDeadline(id, now+idle)
	e.unlock(gen | uint32(proto))
	if lane != noLane {
		b.put(lane, tagOf(h.hash), id)
	}
	s.stats.Insert++
	s.mu.Unlock()
	out.State, out.Dir, out.Opener = New, Original, l.from
	out.Mark, out.Epoch = m, epoch
	out.ref = ref{s.n, id, gen}
	return true
}

// makeWay takes out an entry in whose place another can have the place at,
// because of that limit. If it reports false, commit goes on from there.
func (s *shard) makeWay(now uint32, full limit, at place) bool {
	if full == limitHeld {
		return false
	}
	random, b := s.random, newBudget(s.table.count.limit)
	old, ok := s.evict(now, wanted{full, at.zone, at.class}, &b)
	switch {
	case !ok:
		s.random = random // commit looks at the same
	case !old.serves(at):
		s.release(old)
		ok = false
	}
	return ok
}

// room looks for a place for an entry with the hash h: a lane of its home bucket
// b, noLane if there is none. ok is false if the index may have that entry. The
// shard's lock is held.
func (x *index) room(h uint64) (b *bucket, lane uint, ok bool) {
	n := x.home(h)
	b = &x.buckets[n]
	pattern := uint64(tagOf(h)) * lanes
	v, w, last := b[0]^pattern, b[1]^pattern, b[2]^pattern
	found := ((v-lanes)&^v|(w-lanes)&^w)&laneTops | (last-lanes)&^last&(laneTops&0xffffffff)
	if b[2]&awayMask != 0 {
		o := &x.buckets[x.other(n, tagOf(h))]
		v, w, last = o[0]^pattern, o[1]^pattern, o[2]^pattern
		found |= ((v-lanes)&^v|(w-lanes)&^w)&laneTops | (last-lanes)&^last&(laneTops&0xffffffff)
	}
	return b, uint(b.vacant()), found == 0
}

// noLane is the lane of a bucket that is full.
const noLane = bucketSlots

// put is set for a slot that vacant returned.
func (b *bucket) put(i uint, tag uint16, id uint32) {
	w, shift := &b[3+i/2], i%2*32
	atomic.StoreUint64(w, *w&^(0xffffffff<<shift)|uint64(id)<<shift)
	w, shift = &b[i/4], i%4*16
	atomic.StoreUint64(w, *w|uint64(tag)<<shift)
}

// known returns the number of a local end, of whose address a and b are the
// halves as they lie in memory, and the end itself; 0 if there is none. The
// shard's lock is held.
func (l *locals) known(s *secret, a, b uint64, z Zone, family uint8) (uint32, *local) {
	le := binary.LittleEndian
	hash := fold(a^s[1]^uint64(z), b^s[0]) // see secret.local
	for n := l.heads[reduce(uint32(hash), len(l.heads))]; n != 0; {
		p := l.at(n)
		if p.zone == z && le.Uint64(p.addr[:8]) == a && le.Uint64(p.addr[8:]) == b && p.family() == family {
			return n, p
		}
		n = p.next
	}
	return 0, nil
}

// syn packs the window of a connection that a SYN with the head h starts, as
// window.start and store do.
func (e *tcpEntry) syn(h *head, offer options) {
	end := h.seq + h.data + 1
	o, r := &e.ends[Original], &e.ends[Reply]
	o.end, o.maxEnd, o.maxWin, o.maxAck = end, end, max(h.window, 1), 0
	r.end, r.maxEnd, r.maxAck = min(h.data, 0xffff), 0, 0
	r.setMaxWin(0)
	e.packets[Original] |= uint32(offer) << countShift
	e.state = uint8(StatusSynSent) | uint8(segSyn)<<4 // see remember
	e.extra = end
}

// again is commit for a quick packet of the connection that c names, if it is a
// SYN that opens it once more. It sets c, or reports false.
func (t *Table) again(now uint32, z Zone, from Side, p *packet.Packet, c *Conn) bool {
	r := c.ref
	if int(r.shard) >= len(t.shards) || !opens(p) || r.id&numberTCP == 0 || r.id>>1 == 0 {
		return false
	}
	s, slot := &t.shards[r.shard], r.id>>1-1
	if int(slot/chunkSize) >= len(s.tcp) || s.tcp[slot/chunkSize] == nil {
		return false // of another table
	}
	te := &s.tcp[slot/chunkSize][slot%chunkSize]
	e := &te.entry
	w, ok := e.lockIf(wordGen|wordProto, r.gen|uint32(packet.ProtoTCP))
	if !ok {
		return false
	}
	expiry := s.expiry(e, r.id)
	if !s.is(e, w, z, from, p) || e.dir(from) != Original || e.status().closed() || due(now, expiry) {
		e.unlock(w)
		return false
	}
	if st := e.status(); st == StatusSynSent || st == StatusSynSent2 {
		*c, _ = s.follow(now, e, r.id, w, from, p, true)
		return true
	}
	// The other end judges it: see tcpSyn, and annotate for what is kept of it.
	// The idle time goes on as it was.
	opts := optionsOf(p)
	if e.status() == StatusLastAck {
		opts |= optChallenge
	}
	e.remember(segSyn, Original)
	e.local = e.local&localMask | uint32(opts)<<24
	e.extra, e.aux = p.Seq+p.Data+1, p.Window
	if s.deadline(r.id) != expiry {
		s.setDeadline(r.id, expiry)
	}
	e.packets[Original] |= heldBit
	s.count(e, r.id, Original, p.Length)
	if int32(now-e.seen) > 0 {
		e.seen = now
	}
	*c = s.conn(e, r.id, w, Established, Original)
	e.unlock(w)
	return true
}

// is reports whether e, whose word is w, is that of a quick packet; its lock is
// held.
func (s *shard) is(e *entry, w uint32, z Zone, from Side, p *packet.Packet) bool {
	remote, addr, ports := ends(from, p)
	if !e.live() || e.ports != ports || uint8(w) != p.Tuple.Proto || e.remote != *remote {
		return false
	}
	l := s.locals.at(e.local)
	return l.zone == z && l.family() == p.Tuple.Family && l.addr == *addr
}

// ends returns the addresses and ports of p, remote first.
func ends(from Side, p *packet.Packet) (remote, local *[16]byte, ports uint32) {
	if from == Remote {
		return &p.Tuple.Src, &p.Tuple.Dst, uint32(p.Tuple.SrcPort)<<16 | uint32(p.Tuple.DstPort)
	}
	return &p.Tuple.Dst, &p.Tuple.Src, uint32(p.Tuple.DstPort)<<16 | uint32(p.Tuple.SrcPort)
}
