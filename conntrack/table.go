package conntrack

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

// Options configure a Table. The zero value is ready to use.
type Options struct {
	MaxEntries int // connections; default 1<<18 (as nf_conntrack_max of a large host), at most 1<<30
	MaxPerZone int // connections of one zone; default MaxEntries: a lower one keeps a noisy interface from starving others
	Shards     int // rounded up to a power of two, at most 1024; default 4*GOMAXPROCS

	MaxFragments        int // fragmented datagrams remembered, 600 bytes each; default 4096, at most 1<<20
	MaxFragmentsPerZone int // those of one zone; default a quarter of MaxFragments, at least 1

	// TCPLoose lets a plain ACK start a connection, as one that lives longer
	// than the table needs (nf_conntrack_tcp_loose, which Linux turns on by
	// default; here it is off).
	//
	// Nobody knows the window scale of such a connection, so its sequence
	// numbers refuse nothing, as with TCPLiberal.
	TCPLoose bool

	// TCPLiberal turns off what TCP sequence numbers and windows refuse
	// (nf_conntrack_tcp_be_liberal): for asymmetric routing, where the table
	// sees one direction only or not all segments. What the flags say, and a
	// RST below what its receiver has acknowledged, is refused all the same.
	// Segmentation offload does not need it: a super-packet has the right
	// number and the right length.
	TCPLiberal bool

	Timeouts Timeouts

	// OnEnd, if set, is called once for every entry that leaves the table,
	// with the entry as it was last and the reason. It runs on the goroutine
	// that removed the entry, often the packet path, with a lock held: it must
	// not block, must not call the table, and must not keep its argument.
	OnEnd func(*Entry, End)
}

// Limits of Options.
const (
	defaultEntries   = 1 << 18
	maxEntries       = 1 << 30
	maxShards        = 1024
	defaultFragments = 4096
	maxFragments     = 1 << 20
)

// withDefaults returns o with its zero fields filled in and the others within
// their limits.
func (o Options) withDefaults() Options {
	if o.MaxEntries <= 0 {
		o.MaxEntries = defaultEntries
	}
	o.MaxEntries = min(o.MaxEntries, maxEntries)
	if o.MaxPerZone <= 0 || o.MaxPerZone > o.MaxEntries {
		o.MaxPerZone = o.MaxEntries
	}
	if o.Shards <= 0 {
		o.Shards = 4 * runtime.GOMAXPROCS(0)
	}
	o.Shards = powerOfTwo(min(o.Shards, maxShards))
	if o.MaxFragments <= 0 {
		o.MaxFragments = defaultFragments
	}
	o.MaxFragments = min(o.MaxFragments, maxFragments)
	if o.MaxFragmentsPerZone <= 0 {
		o.MaxFragmentsPerZone = max(1, o.MaxFragments/4)
	}
	o.MaxFragmentsPerZone = min(o.MaxFragmentsPerZone, o.MaxFragments)
	o.Timeouts = o.Timeouts.withDefaults()
	return o
}

// powerOfTwo returns the smallest power of two that is not less than n.
func powerOfTwo(n int) int { return 1 << bits.Len(uint(n-1)) }

// Table tracks connections. It is safe for concurrent use. It must be made by
// [NewTable] and not be copied.
//
// An entry takes 128 bytes whatever its family, that of a TCP connection 48
// more, and the index about 4 bytes per MaxEntries from the start, as does the
// fragment cache with all its room. Nothing is allocated per packet; the slabs
// grow by 256 entries at a time and never shrink. The table starts no goroutine: an expired
// entry is never matched, and is freed by Sweep, or when a packet, an
// eviction, Flush or Update comes upon it.
//
// The index is keyed with a secret of its own, so remote parties cannot choose
// addresses that collide.
type Table struct {
	shards []shard
	shift  uint8 // hash >> shift is the number of the shard
	secret secret
	idle   idleTimes
	loose  bool
	onEnd  func(*Entry, End)

	liberal bool

	max     int64
	count   atomic.Int64
	zones   zoneLimits
	invalid atomic.Uint64 // packets judged Invalid without a shard

	sweeper struct {
		sync.Mutex
		shard int
		id    uint32
	}
	frags fragments
}

// NewTable returns an empty table. Negative values in o mean the default.
func NewTable(o Options) *Table {
	o = o.withDefaults()
	t := &Table{
		shards: make([]shard, o.Shards),
		shift:  uint8(64 - bits.Len(uint(o.Shards-1))),
		secret: newSecret(),
		idle:   newIdleTimes(o.Timeouts),
		loose:  o.TCPLoose, liberal: o.TCPLiberal,
		onEnd: o.OnEnd,
		max:   int64(o.MaxEntries),
	}
	if o.MaxPerZone < o.MaxEntries {
		t.zones.max = uint32(o.MaxPerZone)
	}
	buckets := powerOfTwo(max(16, (o.MaxEntries+o.Shards-1)/o.Shards))
	for i := range t.shards {
		t.shards[i].shardState = shardState{table: t, n: uint32(i), heads: make([]uint32, buckets)}
	}
	t.frags.init(o)
	return t
}

// Track classifies the packet p that side from sent at now and, if it belongs
// to a connection, advances that connection's state, counters and timeout. It
// never creates a connection, and an Invalid packet changes nothing.
//
// A New packet carries no entry yet; pass it to Commit once it is allowed. An
// ICMP error that is Related carries the connection that it is about, and is
// not counted there. A pure SYN of the original direction stays Established
// even in the middle of a connection; whether today's rules still allow it is
// for the caller to judge (TCP-25).
//
// A trailing fragment has no ports: Track passes it to TrackFragment and
// returns Established with the first fragment's mark, without an entry, or
// Invalid.
func (t *Table) Track(now Time, z Zone, from Side, p *packet.Packet) Conn {
	if p.Trailing() {
		return t.trackTrailing(now, z, from, p)
	}
	var k key
	c := k.set(z, from&1, &p.Tuple, p.ICMPType, p.ICMPCode)
	switch c {
	case classError:
		return t.trackError(now, z, from&1, p)
	case classOther:
		return Conn{State: New, Opener: from & 1}
	case classInvalid:
		t.invalid.Add(1)
		return Conn{}
	}
	h := t.secret.hash(&k)
	s := &t.shards[h>>t.shift]
	s.mu.Lock()
	conn, _ := s.track(s.clock.at(now), &k, uint32(h), c, from&1, p)
	s.mu.Unlock()
	return conn
}

// Commit creates the connection that p starts and returns it, State New. If it
// exists already, because another packet created it meanwhile, p is tracked in
// that one, whose State, Mark and Epoch are returned. A connection that was
// closed (TIME_WAIT or CLOSE) is replaced.
//
// A packet that starts no connection creates none: it is returned as Track
// returns it. So a message that is not tracked at all, such as neighbour
// discovery, stays New, and [Conn.Tracked] is false.
//
// Commit returns ErrFull, with a zero Conn, if the table or the zone is at its
// limit and a look at a few entries found none that may go. An assured
// connection never goes for a new one unless it has closed.
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
	h := t.secret.hash(&k)
	s := &t.shards[h>>t.shift]
	for try := 0; ; try++ {
		s.mu.Lock()
		own := s.clock.at(now)
		conn, old := s.track(own, &k, uint32(h), c, from, p)
		if conn.State != New {
			if conn.State == Established {
				s.stats.InsertFailed++
			}
			s.mu.Unlock()
			return conn, nil
		}
		full := limitNone
		if old != 0 {
			s.unlink(old, EndReplaced) // the new one takes its place
		} else {
			full = t.reserve(z)
		}
		if full == limitNone {
			st, _ := t.start(&k, c, p)
			conn = s.insert(own, &k, uint32(h), st, from, p, m, epoch)
			s.mu.Unlock()
			return conn, nil
		}
		last := try == 2 // others took the room twice
		if last {
			s.stats.Drop++
		}
		s.mu.Unlock()
		if last {
			return Conn{}, ErrFull
		}
		if !t.evict(now, z, full == limitTable, int(s.n)) {
			s.mu.Lock()
			s.stats.Drop++
			s.mu.Unlock()
			return Conn{}, ErrFull
		}
	}
}

// start returns the status of the connection that p starts; ok is false if it
// may start none.
func (t *Table) start(k *key, c class, p *packet.Packet) (s Status, ok bool) {
	switch {
	case c != classOpener:
		return statusFree, false
	case k.proto == packet.ProtoTCP:
		return tcpStart(p.Flags, t.loose)
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
	s := &t.shards[h>>t.shift]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, id := s.find(s.clock.at(now), &k, uint32(h))
	// The quoted packet was sent by the other side. If that is a reply, and
	// there was none, the quote is made up (ICMP-03).
	if e == nil || e.dir(from.other()) == Reply && e.flags&flagSeenReply == 0 || !s.inFlight(e, id, from.other(), p.Inner.Seq) {
		s.stats.Invalid++
		return Conn{}
	}
	s.stats.Found++
	return s.conn(e, id, Related, e.dir(from))
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
	e := s.resolve(c.ref)
	if e == nil {
		return Entry{}, false
	}
	e.export(&prev, &s.clock)
	e.mark, e.epoch = m, epoch
	return prev, true
}

// evict makes room by freeing one entry: of zone z or, if anyZone, of any. It
// starts at the shard first, where the new entry goes.
func (t *Table) evict(now Time, z Zone, anyZone bool, first int) bool {
	candidates, slots := evictCandidates, evictSlots
	for i := range t.shards {
		s := &t.shards[(first+i)%len(t.shards)]
		s.mu.Lock()
		ok := s.evict(s.clock.at(now), z, anyZone, &candidates, &slots)
		s.mu.Unlock()
		if ok || candidates == 0 || slots == 0 {
			return ok
		}
	}
	return false
}
