package conntrack

import (
	"sync"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// Table tracks connections. It is safe for concurrent use. It must be made by
// [NewTable] and not be copied.
//
// A connection of TCP takes 104 bytes and any other 68, whatever its family, and
// the index about 9 bytes per MaxEntries from the start, as does the fragment
// cache with all its room. An address of a zone on the protected side takes 32
// more, once in every shard where it has connections. Nothing is allocated per
// packet; the slabs grow by 512 entries at a time and never shrink. The
// table starts no goroutine: an expired entry is never matched, and is freed by
// Sweep, or when a packet, an eviction, Flush or Update comes upon it.
//
// A packet of a known connection takes the lock of that connection alone, so
// cores that serve different connections do not meet.
//
// The index is keyed with a secret of its own, so remote parties cannot choose
// addresses that collide.
type Table struct {
	shards  []shard
	mask    uint64 // of shard numbers
	loose   bool
	liberal bool
	clock   ticker
	secret  secret
	idle    idleTicks
	onEnd   func(*Entry, End)
	adopt   adoption

	_       [64]byte
	count   gauge
	class   [classes]gauge
	zones   zoneCounters
	invalid atomic.Uint64 // packets judged Invalid without a shard

	sweeper struct {
		sync.Mutex
		shard int
		done  uint32 // slots of it
	}
	frags fragments
}

// NewTable returns an empty table. Negative values in o mean the default.
func NewTable(o Options) *Table {
	o = o.withDefaults()
	t := &Table{
		shards: make([]shard, o.Shards),
		mask:   uint64(o.Shards - 1),
		secret: newSecret(),
		idle:   newIdleTicks(o.Timeouts),
		loose:  o.TCPLoose, liberal: o.TCPLiberal,
		onEnd: o.OnEnd,
	}
	t.clock.longer = Time(t.idle.longest+1) * tick
	t.count.init(Pressure{Limit: o.MaxEntries}, o.OnPressure)
	for c := range t.class {
		t.class[c].init(Pressure{Bound: BoundClass, Class: Class(c), Limit: o.Shares.of(Class(c), o.MaxEntries)}, o.OnPressure)
	}
	t.zones.init(o)
	// A shard has room for all that chance may give it. Where there are many
	// entries that is little more than its part.
	part := (o.MaxEntries + o.Shards - 1) / o.Shards
	limit := min(o.MaxEntries, part+part/4+4096, maxSlots)
	for i := range t.shards {
		t.shards[i].init(t, i, part, limit)
	}
	t.frags.init(o)
	return t
}

// shard returns the shard of a hash.
func (t *Table) shard(h uint64) *shard { return &t.shards[h>>(64-maxShardBits)&t.mask] }

// Commit creates the connection that p starts and returns it, State New. If it
// exists already, because another packet created it meanwhile, p is tracked in
// that one, whose State, Mark and Epoch are returned. A connection that was
// closed (TIME_WAIT or CLOSE) is replaced. So Commit also moves a connection on
// by a SYN that opens it once more, which Track leaves to the caller to judge.
//
// A packet that starts no connection creates none: it is returned as Track
// returns it. So a message that is not tracked at all, such as neighbour
// discovery, stays New, and [Conn.Tracked] is false.
//
// Commit returns ErrFull, with a zero Conn, if the table, the zone or the class
// of the protocol is at its limit and a look at a few entries found none that
// may go. An assured connection never goes for a new one unless it has closed.
func (t *Table) Commit(now Time, z Zone, from Side, p *packet.Packet, m Mark, epoch uint32) (Conn, error) {
	from &= 1
	var k key
	c := classOther
	if !p.Trailing() {
		c = k.set(z, from, &p.Tuple, p.ICMPType, p.ICMPCode)
	}
	if c != classOpener {
		return t.Track(now, z, from, p), nil
	}
	return t.commit(t.clock.at(now), &k, from, p, m, epoch)
}

// commit is Commit for a packet that opens k. Room is made in the shard itself
// where it can be, for then the lock need not be given up.
func (t *Table) commit(now uint32, k *key, from Side, p *packet.Packet, m Mark, epoch uint32) (Conn, error) {
	h, of := t.secret.hash(k), classOf(k.proto)
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	adopted, look := false, true
	var st Status
	for try := 0; try < 4; try++ { // others may take the room
		if look {
			var conn Conn
			var old uint32
			if conn, st, old = s.first(now, k, h, from, p); st == statusFree {
				return conn, nil
			} else if old != 0 {
				return s.replace(now, old, k, h, st, from, p, m, epoch)
			}
			look = false
		}
		if !adopted && k.proto == packet.ProtoTCP && st != StatusSynSent && !t.loose {
			if !t.adopt.take() {
				s.invalid.Add(1)
				return Conn{}, nil
			}
			adopted = true
		}
		full := t.reserve(k.zone, of)
		if full == limitNone {
			conn, ok := s.insert(now, k, h, st, from, p, m, epoch)
			if ok {
				return conn, nil
			}
			t.release(k.zone, of)
			break
		}
		want := wanted{full, k.zone, of}
		b := newBudget(t.count.limit)
		if !s.evict(now, want, &b) {
			look = true  // the lock is given up
			if adopted { // what is found then may be no adoption any more
				t.adopt.left.Add(1)
				adopted = false
			}
			if !t.evictElsewhere(now, s, want, &b) {
				break
			}
		}
	}
	if adopted {
		t.adopt.left.Add(1)
	}
	s.stats.Drop++
	return Conn{}, ErrFull
}

// first says how to commit p: it starts a connection in the status st, in the
// place of the closed one old, if that is not 0; or, if st is statusFree, it
// starts none and conn is the answer. The shard's lock is held.
func (s *shard) first(now uint32, k *key, h uint64, from Side, p *packet.Packet) (conn Conn, st Status, old uint32) {
	if e, id, w := s.fresh(now, k, h); e != nil {
		conn, o := s.follow(now, e, id, w, from, p, true)
		if o != reopens {
			if conn.State == Established && !(conn.Dir == Original && opens(p)) {
				s.stats.InsertFailed++
			}
			return conn, statusFree, 0
		}
		old = id
	}
	st, ok := s.table.start(now, k, classOpener, p)
	if !ok {
		s.invalid.Add(1)
		return Conn{}, statusFree, 0
	}
	return Conn{}, st, old
}

// replace puts a new connection into the place of a closed one.
func (s *shard) replace(now, old uint32, k *key, h uint64, st Status, from Side, p *packet.Packet, m Mark, epoch uint32) (Conn, error) {
	s.index.moves.Add(1) // nobody sees neither
	defer s.index.moves.Add(1)
	e := s.at(old)
	zone, of := s.unlink(e, old, e.lock(), EndReplaced)
	conn, ok := s.insert(now, k, h, st, from, p, m, epoch)
	if !ok {
		s.table.release(zone, of)
		s.stats.Drop++
		return Conn{}, ErrFull
	}
	return conn, nil
}

// start returns the status of the connection that p starts; ok is false if it
// may start none.
func (t *Table) start(now uint32, k *key, c class, p *packet.Packet) (s Status, ok bool) {
	switch {
	case c != classOpener:
		return statusFree, false
	case k.proto == packet.ProtoTCP:
		return tcpStart(p.Flags, t.loose || t.adopt.on(now))
	}
	return StatusUnreplied, true
}

// trackError relates an ICMP error to the connection that it quotes.
func (t *Table) trackError(now Time, z Zone, from Side, p *packet.Packet) Conn {
	var k key
	if !k.quoteKey(z, from, p) {
		t.invalid.Add(1)
		return Conn{}
	}
	h := t.secret.hash(&k)
	s := t.shard(h)
	e, id, w := s.find(&k, h)
	if e != nil {
		defer e.unlock(w)
	}
	// The quoted packet was sent by the other side. If that is a reply, and
	// there was none, the quote is made up (ICMP-03). An attempt that a RST ended
	// before an answer is no connection any more.
	if e == nil || e.flags&flagDead != 0 || due(t.clock.at(now), s.expiry(e, id)) || e.dir(from.other()) == Reply && e.flags&flagSeenReply == 0 ||
		!s.inFlight(e, id, from.other(), p.Inner.Seq) {
		s.invalid.Add(1)
		return Conn{}
	}
	s.found.Add(1)
	return s.conn(e, id, w, Related, e.dir(from))
}

// Remark records that the connection c was judged again: it carries m and epoch
// from now on. It returns the entry as it was before, whose counters let the
// caller move the accounting from the old mark to the new one; they are not
// reset. It reports false if c is gone.
func (t *Table) Remark(c Conn, m Mark, epoch uint32) (prev Entry, ok bool) {
	if !c.Tracked() || int(c.ref.shard) >= len(t.shards) {
		return Entry{}, false
	}
	s := &t.shards[c.ref.shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, w := s.resolve(c.ref)
	if e == nil {
		return Entry{}, false
	}
	s.copy(e, c.ref.id, t.clock.view(), &prev)
	e.mark, e.epoch = m, epoch
	e.unlock(w)
	return prev, true
}
