package conntrack

import "example.com/secgroup/conntrack/packet"

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
func (t *Table) Commit(now Time, z Zone, from Side, p *packet.Packet, m Mark, epoch uint32) (c Conn, err error) {
	c.State = New
	err = t.CommitTo(now, z, from, p, m, epoch, &c)
	return c, err
}

// CommitTo is [Table.Commit] for a packet of which Track has just said *c, and
// sets c to what Commit returns. The result is that of Commit, whatever *c is
// and whatever happened in between; but a SYN that Track found to open its
// connection once more is taken there at once, without a search.
func (t *Table) CommitTo(now Time, z Zone, from Side, p *packet.Packet, m Mark, epoch uint32, c *Conn) error {
	from &= 1
	if quick(p) {
		at := t.clock.at(now)
		if c.ref.gen == 0 && c.State == New {
			l, h := Lane{table: t, zone: z, from: from}, head{}
			h.of(&l, p)
			if h.may&mayOpen != 0 && l.begin(at, &h, optionsOf(p), m, epoch, c) {
				return nil
			}
		} else if c.ref.gen != 0 && t.again(at, z, from, p, c) {
			return nil
		}
	}
	var err error
	*c, err = t.commitAny(now, z, from, p, m, epoch)
	return err
}

// commitAny is Commit without the short form.
func (t *Table) commitAny(now Time, z Zone, from Side, p *packet.Packet, m Mark, epoch uint32) (Conn, error) {
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
	const tries = 4 // others may take the room
	for try := 0; try < tries; try++ {
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
		at, full := s.reserve(k, of)
		want, b := wanted{full, k.zone, of}, newBudget(t.count.limit)
		if full != limitNone && full != limitHeld {
			if old, ok := s.evict(now, want, &b); ok {
				if full == limitZone || !old.serves(at) { // a zone may be far above its limit
					s.release(old)
					continue
				}
				full = limitNone
			}
		}
		if full == limitNone {
			conn, ok := s.insert(now, k, h, at, st, from, p, m, epoch)
			if ok {
				return conn, nil
			}
			s.release(at)
			break
		}
		look = true  // the lock is given up
		if adopted { // what is found then may be no adoption any more
			t.adopt.left.Add(1)
			adopted = false
		}
		switch {
		case full == limitHeld:
			t.recall(s)
			try--
		case !t.evictElsewhere(now, s, want, &b):
			try = tries
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
	at := s.unlink(e, old, e.lock(), EndReplaced)
	conn, ok := s.insert(now, k, h, at, st, from, p, m, epoch)
	if !ok {
		s.release(at)
		s.stats.Drop++
		return Conn{}, ErrFull
	}
	return conn, nil
}
