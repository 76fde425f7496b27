package conntrack

import "example.com/secgroup/conntrack/packet"

// Track classifies the packet p that side from sent at now and, if it belongs
// to a connection, advances that connection's state, counters and timeout. It
// never creates a connection, and an Invalid packet changes nothing.
//
// A New packet carries no entry yet; pass it to Commit once it is allowed. An
// ICMP error that is Related carries the connection that it is about, and is
// not counted there. A pure SYN of the original direction is Established too,
// even in the middle of a connection and whatever its numbers are, but Track
// changes and counts nothing for it: whether today's rules still allow it is for
// the caller to judge, who passes it to Commit if they do, which may say that it
// is Invalid (TCP-25).
//
// A trailing fragment has no ports: Track passes it to TrackFragment and
// returns Established with the first fragment's mark, without an entry, or
// Invalid.
func (t *Table) Track(now Time, z Zone, from Side, p *packet.Packet) (c Conn) {
	t.TrackTo(now, z, from, p, &c)
	return c
}

// TrackTo is [Table.Track], but sets out instead of returning it, which spares
// who tracks every packet some copies.
func (t *Table) TrackTo(now Time, z Zone, from Side, p *packet.Packet, out *Conn) {
	l, h := Lane{table: t, zone: z, from: from & 1, any: true}, head{}
	if !h.of(&l, p) {
		*out = t.trackAny(now, z, from&1, p)
		return
	}
	l.trackTo(t.clock.at(now), p, &h, 0, out)
}

// trackTo is TrackTo at the tick now of p, which h is the head of. id is what
// guess said of it some time ago, or 0.
func (l *Lane) trackTo(now uint32, p *packet.Packet, h *head, id uint32, out *Conn) {
	t, s := l.table, l.table.shard(h.hash)
	if id == 0 {
		moves := s.index.moves.Load()
		id = s.index.guess(h.hash)
		if id == 0 && moves%2 == 0 && s.index.moves.Load() == moves { // as shard.find has it
			*out = t.miss(now, l.from, p, s)
			return
		}
	}
	if id != 0 && h.may&mayFollow != 0 {
		if w, m, epoch, d := l.follow(now, h, s, id); w != 0 {
			*out = Conn{State: Established, Dir: Dir(d), Opener: l.from ^ Side(d), Mark: m, Epoch: epoch, ref: ref{s.n, id, w & wordGen}}
			return
		}
	}
	var k key
	k.set(l.zone, l.from, &p.Tuple, 0, 0)
	*out = t.track(now, &k, h.hash, classOpener, l.from, p)
}

// trackAny is Track without the short form.
func (t *Table) trackAny(now Time, z Zone, from Side, p *packet.Packet) Conn {
	if p.Trailing() {
		return t.trackTrailing(now, z, from, p)
	}
	var k key
	c := k.set(z, from, &p.Tuple, p.ICMPType, p.ICMPCode)
	if c != classOpener && c != classAnswer {
		return t.trackKeyless(now, z, from, c, p)
	}
	return t.track(t.clock.at(now), &k, t.secret.hash(&k), c, from, p)
}

// trackKeyless is Track for a packet that belongs to no connection itself.
func (t *Table) trackKeyless(now Time, z Zone, from Side, c class, p *packet.Packet) Conn {
	switch c {
	case classError:
		return t.trackError(now, z, from, p)
	case classOther:
		return Conn{State: New, Opener: from}
	}
	t.invalid.Add(1)
	return Conn{}
}

// track is Track for a packet with a key.
func (t *Table) track(now uint32, k *key, h uint64, c class, from Side, p *packet.Packet) Conn {
	s := t.shard(h)
	e, id, w := s.find(k, h)
	if e != nil {
		if !due(now, s.expiry(e, id)) {
			conn, _ := s.follow(now, e, id, w, from, p, false)
			return conn
		}
		e.unlock(w)
		s.reap(now, k, h)
	}
	if _, ok := t.start(now, k, c, p); !ok {
		s.invalid.Add(1)
		return Conn{}
	}
	return Conn{State: New, Opener: from}
}

// follow moves e on by a packet that has its key, and unlocks it. One that opens
// e once more changes nothing unless it is allowed.
func (s *shard) follow(now uint32, e *entry, id, w uint32, from Side, p *packet.Packet, allowed bool) (Conn, outcome) {
	d := e.dir(from)
	o, held := moved, !allowed && d == Original && opens(p)
	if id&numberTCP != 0 {
		if held && !e.status().closed() {
			conn := s.conn(e, id, w, Established, d)
			e.unlock(w)
			return conn, moved
		}
		if o = s.followTCP(now, s.atTCP(id), id, d, p); o == refused || o == reopens {
			e.unlock(w)
			if o == refused {
				s.invalid.Add(1)
				return Conn{}, o
			}
			s.found.Add(1)
			return Conn{State: New, Opener: from}, o
		}
		if d == Reply {
			e.flags |= flagSeenReply
		}
	} else if d == Reply && e.flags&flagSeenReply == 0 {
		e.flags |= flagSeenReply
		e.answered()
		s.lower(id, now+s.table.idle.of(e))
	}
	s.count(e, id, d, p.Length)
	if int32(now-e.seen) > 0 { // a late reading moves nothing back
		e.seen = now
	}
	conn := s.conn(e, id, w, Established, d)
	e.unlock(w)
	return conn, o
}

// opens reports whether p asks to open a connection of TCP.
func opens(p *packet.Packet) bool {
	return p.Tuple.Proto == packet.ProtoTCP && segmentOf(p.Flags) == segSyn
}

// followTCP moves e on by any segment.
func (s *shard) followTCP(now uint32, e *tcpEntry, id uint32, d Dir, p *packet.Packet) outcome {
	var c tcpConn
	e.load(&c)
	expiry, idle := s.expiry(&e.entry, id), s.table.idle.of(&e.entry)
	liberal := s.table.liberal || s.locals.at(e.local).liberal()
	o := c.tcp(&c.window, d, p, liberal)
	if o == refused || o == reopens {
		return o // nothing has changed
	}
	e.store(&c)
	if d == Reply {
		e.flags |= flagSeenReply
	}
	if o == passed { // the idle time goes on, as it was
		s.setDeadline(id, expiry)
		e.packets[Original] |= heldBit
		return o
	}
	e.packets[Original] &^= heldBit
	if next := s.table.idle.of(&e.entry); next < idle {
		s.lower(id, now+next)
	}
	return o
}

// lower moves a deadline to at if it is later.
func (s *shard) lower(id, at uint32) {
	if d := s.deadline(id); int32(at-d) < 0 {
		s.setDeadline(id, at)
	}
}

// conn returns what the caller gets to know of e, whose word is w.
func (s *shard) conn(e *entry, id, w uint32, st State, d Dir) Conn {
	return Conn{State: st, Dir: d, Opener: e.opener(), Mark: e.mark, Epoch: e.epoch, ref: ref{s.n, id, w & wordGen}}
}
