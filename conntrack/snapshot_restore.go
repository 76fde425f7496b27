package conntrack

import (
	"io"
	"time"

	"example.com/secgroup/conntrack/packet"
)

// RestoreOptions say what becomes of the connections of a snapshot. The zero
// value takes all of them as they are.
type RestoreOptions struct {
	// Zone, if set, gives the zone of this table for one of the snapshot and
	// the name that SnapshotOptions.Name gave it. Connections of zones that are
	// not wanted (ok is false) are not restored. It is called without a lock,
	// many times for a zone, and must not keep name.
	Zone func(z Zone, name []byte) (to Zone, ok bool)

	// Mark, if set, gives the mark and the epoch in this table.
	Mark func(m Mark, epoch uint32) (Mark, uint32)

	// Elapsed is how long ago the snapshot was made, as far as the caller
	// knows. By that much longer the connections have been idle; with 0 their
	// idle times go on where they stood. At most a year is taken.
	Elapsed time.Duration
}

// Restored says what became of the connections of a snapshot.
type Restored struct {
	Connections int // put into the table
	Unwanted    int // not, because RestoreOptions.Zone did not want their zone
	Expired     int // not, because they have been idle for too long
	Present     int // not, because the table had them already
	Full        int // not, because the table, the zone or the class was at its limit
}

// Restore puts the connections of a snapshot into the table, with their
// statuses, windows and counters, and says what became of each. Packets go on as
// if there had been no restart: no idle time starts anew. It reads r from where
// it stands to its end, where the snapshot must end too.
//
// A file that is damaged is refused whole, with a *SnapshotError and nothing
// put into the table: r is read to its end and checked before it is read again.
// (Only a file that is changed between the two can be refused half way; the
// count says so.) What Restore needs of memory is less than 200 kB whatever
// the file claims.
//
// The limits of the table hold as for Commit, but no connection is evicted
// or replaced for a restored one. It may run under traffic and then takes locks
// as Commit does, one connection at a time. Restored connections have the idle
// times of this table's Timeouts, counted from their last packet.
func (t *Table) Restore(r io.ReadSeeker, now Time, o RestoreOptions) (Restored, error) {
	var sum Restored
	start, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return sum, err
	}
	if err := readSnapshot(r, func(Zone, []byte, *record) {}); err != nil {
		return sum, err
	}
	if _, err := r.Seek(start, io.SeekStart); err != nil {
		return sum, err
	}
	elapsed := ticksOf(max(o.Elapsed, 0))
	at := t.clock.at(now)
	return sum, readSnapshot(r, func(z Zone, name []byte, r *record) {
		if o.Zone != nil {
			to, ok := o.Zone(z, name)
			if !ok {
				sum.Unwanted++
				return
			}
			r.key.zone = to
		}
		if o.Mark != nil {
			r.mark, r.epoch = o.Mark(r.mark, r.epoch)
		}
		*t.restore(at, r, elapsed).in(&sum)++
	})
}

// readSnapshot calls each for every connection of a snapshot.
func readSnapshot(r io.Reader, each func(Zone, []byte, *record)) error {
	f := newBlockReader(r)
	if err := f.header(); err != nil {
		return err
	}
	for {
		if more, err := f.next(each); !more || err != nil {
			return err
		}
	}
}

// fate is what became of a connection of a snapshot.
type fate uint8

const (
	fateRestored fate = iota
	fateExpired
	fatePresent
	fateFull
)

// in returns its counter.
func (f fate) in(r *Restored) *int {
	switch f {
	case fateExpired:
		return &r.Expired
	case fatePresent:
		return &r.Present
	case fateFull:
		return &r.Full
	}
	return &r.Connections
}

// restore puts r into the table.
func (t *Table) restore(now uint32, r *record, elapsed uint32) fate {
	of := classOf(r.key.proto)
	h := t.secret.hash(&r.key)
	s := t.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if e, _, w := s.fresh(now, &r.key, h); e != nil {
			e.unlock(w)
			return fatePresent
		}
		deadline, ok := t.restoredDeadline(now, r, elapsed)
		if !ok {
			return fateExpired
		}
		switch at, full := s.reserve(&r.key, of); {
		case full == limitHeld:
			t.recall(s)
		case full != limitNone:
			return fateFull
		case !s.install(now, deadline, r, h, at, elapsed):
			s.release(at)
			return fateFull
		default:
			return fateRestored
		}
	}
}

// restoredDeadline returns when r expires; ok is false if it has. A deadline that
// stands lies no further away than the idle time here.
func (t *Table) restoredDeadline(now uint32, r *record, elapsed uint32) (at uint32, ok bool) {
	e := entry{word: uint32(r.key.proto), body: body{flags: r.flags}}
	e.setStatus(r.status)
	idle, limit := r.idle+elapsed, t.idle.of(&e)
	if r.left != 0 {
		left := min(r.left, limit)
		return now + left - elapsed, left > elapsed
	}
	return now + limit - idle, idle < limit
}

// install makes an entry of r; the shard's lock is held and its place
// reserved. It reports false if the shard has no room.
func (s *shard) install(now, deadline uint32, r *record, h uint64, at place, elapsed uint32) bool {
	t, k, kind := s.table, &r.key, uint32(0)
	if k.proto == packet.ProtoTCP {
		kind = numberTCP
	}
	id := s.allocate(kind)
	if id == 0 {
		return false
	}
	e := s.at(id)
	if !s.enter(h, id) {
		s.slab(id).free.give(id >> 1)
		return false
	}
	w := e.lock()
	gen := w & wordGen
	if gen == 0 {
		gen = 1 << wordShift
	}
	e.unlock(wordLocked | gen | uint32(k.proto)) // not yet
	created := now - min(r.age+elapsed, maxAge)
	ports, aux := k.half()
	e.body = body{
		ports: ports, remote: k.remote, local: s.locals.acquire(&t.secret, k, t.localOptsAt(at)),
		seen: now - (r.idle + elapsed), mark: r.mark, epoch: r.epoch, flags: r.flags, aux: aux, extra: created,
	}
	e.setStatus(r.status)
	for d := range e.packets {
		e.packets[d] |= uint32(r.packets[d]) & countMask
		e.bytes[d] = uint32(r.bytes[d])
		if high, more := r.packets[d]>>countShift, r.bytes[d]>>32; high != 0 || more != 0 {
			e.packets[Reply] |= spilledBit
			s.spill.add(id, Dir(d), high, more)
		}
	}
	if r.left != 0 {
		e.packets[Original] |= heldBit
	}
	if kind == numberTCP {
		slot := id>>1 - 1
		s.slabs[numberTCP].created[slot/chunkSize][slot%chunkSize] = created
		s.atTCP(id).store(&r.tcp)
	}
	s.setDeadline(id, deadline)
	e.unlock(gen | uint32(k.proto))
	s.stats.Insert++
	s.stats.Restored++
	s.stats.Found -= r.packets[Original] + r.packets[Reply] - 1 // which this table has not seen
	return true
}
