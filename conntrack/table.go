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
// packet; the slabs grow by 512 entries at a time and never shrink, nor does what
// is kept of the free ones: 8 bytes for each run of them. The
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
	purses  atomic.Int32 // shards that may hold places in advance
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
	t.count.init(Pressure{Limit: o.MaxEntries}, o.OnPressure, mayHold(o.Shards, int(classes)))
	for c := range t.class {
		is := Pressure{Bound: BoundClass, Class: Class(c), Limit: o.Shares.of(Class(c), o.MaxEntries)}
		t.class[c].init(is, o.OnPressure, mayHold(o.Shards, 1))
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

// number returns the number of the shard of a hash.
func (t *Table) number(h uint64) uint64 { return h >> (64 - maxShardBits) & t.mask & (maxShards - 1) }

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
