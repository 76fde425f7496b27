package conntrack

import (
	"sync"

	"example.com/secgroup/conntrack/packet"
)

// chunkSize is by how many entries a slab grows: 32 KiB, and 12 KiB for the
// windows of TCP. Entries never move.
const chunkSize = 256

// shard is a part of the table with its own lock, slab and index. Shards share
// nothing but the table's counts, so packets of different shards do not meet.
//
// Lock order: a goroutine holds at most one shard lock; a zone stripe may be
// locked under it.
type shard struct {
	mu sync.Mutex
	shardState
	_ [64]byte // keeps the next shard's lock out of this one's cache line
}

type shardState struct {
	table *Table
	n     uint32 // number of this shard

	clock clock
	heads []uint32 // by bucket, the id of its first entry; 0 is none. Its size is fixed: nothing is ever rehashed.
	// chunks is the slab. Ids count from 1; those above 1..used were never given out.
	chunks []*[chunkSize]entry
	// windows is the slab of TCP windows, by the same ids; a chunk is nil until
	// the first TCP connection has an entry in its like.
	windows []*[chunkSize]window
	used    uint32 // ids given out so far
	free    uint32 // first id of the list of free slots
	hand    uint32 // where eviction looks next
	stats   Stats

	ended   Entry // handed to OnEnd; kept here so that no call allocates
	visited Entry // handed to Update's callback
}

func (s *shardState) at(id uint32) *entry {
	id--
	return &s.chunks[id/chunkSize][id%chunkSize]
}

// window returns the window of the entry id, which is of TCP.
func (s *shardState) window(id uint32) *window {
	id--
	return &s.windows[id/chunkSize][id%chunkSize]
}

// find returns the live entry of k, or nil. It frees an expired one that it
// was asked for.
func (s *shardState) find(now Time, k *key, hash uint32) (*entry, uint32) {
	for id := s.heads[hash&uint32(len(s.heads)-1)]; id != 0; {
		e := s.at(id)
		if e.hash == hash && e.key == *k {
			if now >= e.expiresAt {
				s.remove(id, e.end())
				return nil, 0
			}
			return e, id
		}
		id = e.next
	}
	return nil, 0
}

// resolve returns the live entry that r names, or nil.
func (s *shardState) resolve(r ref) *entry {
	if r.gen == 0 || r.id == 0 || r.id > s.used {
		return nil
	}
	if e := s.at(r.id); e.gen == r.gen && e.status != statusFree {
		return e
	}
	return nil
}

// conn returns what the caller gets to know of e.
func (s *shardState) conn(e *entry, id uint32, st State, d Dir) Conn {
	return Conn{State: st, Dir: d, Opener: e.opener(), Mark: e.mark, Epoch: e.epoch, ref: ref{s.n, id, e.gen}}
}

// track is Track for a packet with a key. If the packet may start a connection
// over a closed one, old is the id of that one.
func (s *shardState) track(now Time, k *key, hash uint32, c class, from Side, p *packet.Packet) (conn Conn, old uint32) {
	e, id := s.find(now, k, hash)
	if e == nil {
		if _, ok := s.table.start(k, c, p); !ok {
			s.stats.Invalid++
			return Conn{}, 0
		}
		return Conn{State: New, Opener: from}, 0
	}
	d := e.dir(from)
	o := moved
	if k.proto == packet.ProtoTCP {
		if o = e.tcp(s.window(id), d, p, s.table.liberal); o == refused {
			s.stats.Invalid++
			return Conn{}, 0
		}
	}
	s.stats.Found++
	if o == reopens {
		return Conn{State: New, Opener: from}, id
	}
	if d == Reply {
		e.flags |= flagSeenReply
	}
	if k.proto != packet.ProtoTCP && e.flags&flagSeenReply != 0 {
		e.answered()
	}
	e.count(d, p.Length)
	e.seen = now
	if o == moved {
		e.expiresAt = now.after(s.table.idle.of(e))
	}
	return s.conn(e, id, Established, d), 0
}

// answered moves a connection of a protocol other than TCP on, once both
// directions were seen. A ping is never assured: many of them must not fill the
// table for good.
func (e *entry) answered() {
	if e.proto == packet.ProtoICMP || e.proto == packet.ProtoICMPv6 {
		e.status = StatusReplied
		return
	}
	e.status, e.flags = StatusAssured, e.flags|flagAssured
}

// insert puts a new entry at the head of its bucket. The caller has reserved
// its place.
func (s *shardState) insert(now Time, k *key, hash uint32, st Status, from Side, p *packet.Packet, m Mark, epoch uint32) Conn {
	id := s.free
	if id != 0 {
		s.free = s.at(id).next
	} else {
		if int(s.used) == len(s.chunks)*chunkSize {
			s.chunks = append(s.chunks, new([chunkSize]entry))
			s.windows = append(s.windows, nil)
		}
		s.used++
		id = s.used
	}
	e := s.at(id)
	head := &s.heads[hash&uint32(len(s.heads)-1)]
	*e = entry{
		key: *k, hash: hash, next: *head, gen: e.gen, mark: m, epoch: epoch,
		created: now, seen: now, status: st, flags: entryFlags(from),
	}
	if e.gen == 0 {
		e.gen = 1
	}
	if k.proto == packet.ProtoTCP {
		if c := &s.windows[(id-1)/chunkSize]; *c == nil {
			*c = new([chunkSize]window)
		}
		s.window(id).start(p)
		if st != StatusSynSent {
			e.flags |= flagLoose
		}
	}
	*head = id
	e.count(Original, p.Length)
	e.expiresAt = now.after(s.table.idle.of(e))
	s.stats.Insert++
	return s.conn(e, id, New, Original)
}

// remove takes an entry out, gives its place back and tells OnEnd.
func (s *shardState) remove(id uint32, why End) {
	zone := s.at(id).zone
	s.unlink(id, why)
	s.table.release(zone)
}

// unlink is remove without giving the place back: a new connection takes it.
func (s *shardState) unlink(id uint32, why End) {
	e := s.at(id)
	at := &s.heads[e.hash&uint32(len(s.heads)-1)]
	for *at != id {
		at = &s.at(*at).next
	}
	*at = e.next
	switch why {
	case EndExpired, EndClosed:
		s.stats.Expired++
	case EndEvicted:
		s.stats.EarlyDrop++
	default:
		s.stats.Delete++
	}
	if f := s.table.onEnd; f != nil {
		e.export(&s.ended, &s.clock)
		f(&s.ended, why)
	}
	e.status = statusFree
	e.gen++
	e.next = s.free
	s.free = id
}

// Limits on how much one attempt at eviction looks at, over all shards.
const (
	evictCandidates = 16  // live entries that could be asked to go
	evictSlots      = 256 // slots, where candidates are rare
)

// evict frees one entry of zone (of any zone, if anyZone) to make room, if it
// finds one among the next few behind the hand. Expired ones go first, then
// closed connections, then those never answered, then those not assured.
func (s *shardState) evict(now Time, zone Zone, anyZone bool, candidates, slots *int) bool {
	var best uint32
	rank := 0
	for range min(s.used, uint32(*slots)) {
		if *candidates == 0 {
			break
		}
		*slots--
		s.hand = s.hand%s.used + 1
		e := s.at(s.hand)
		if e.status == statusFree || !anyZone && e.zone != zone {
			continue
		}
		*candidates--
		if r := e.rank(now); r > rank {
			best, rank = s.hand, r
			if r == rankExpired {
				break
			}
		}
	}
	if best == 0 {
		return false
	}
	why := EndEvicted
	if rank == rankExpired {
		why = s.at(best).end()
	}
	s.remove(best, why)
	return true
}

// Ranks of entries at eviction; the highest goes first, 0 never.
const (
	rankUnassured = iota + 1
	rankUnreplied
	rankClosed
	rankExpired
)

func (e *entry) rank(now Time) int {
	switch {
	case now >= e.expiresAt:
		return rankExpired
	case e.status.closed():
		return rankClosed
	case e.flags&flagSeenReply == 0:
		return rankUnreplied
	case e.flags&flagAssured == 0:
		return rankUnassured
	}
	return 0
}
