package conntrack

import "sync/atomic"

const (
	stride = 256  // slots looked at under one hold of a shard's lock
	scan   = 4096 // deadlines looked at under one hold
	maxDue = 128  // entries freed, or given a new deadline, under one hold
)

// Sweep frees expired entries and returns how many it freed. It examines at
// most max slots, going on where the last call stopped, and holds a shard's
// lock for some ten microseconds at a time, in which packets of known
// connections pass all the same. A table of n entries needs n slots per idle
// timeout to keep up; every call does as much for the fragments.
//
// Without Sweep nothing wrong is matched, but the table fills up; at least once
// a year it must be called.
func (t *Table) Sweep(now Time, max int) int {
	t.frags.sweep(now, max)
	w := &t.sweeper
	w.Lock()
	defer w.Unlock()
	at := t.clock.at(now)
	freed := 0
	// One shard more than there are: the first may be entered in its middle.
	for n := 0; max > 0 && n <= len(t.shards); {
		looked, gone, more := t.shards[w.shard].sweep(at, w.done, min(max, scan))
		max, freed = max-looked, freed+gone
		w.done += uint32(looked)
		if !more {
			w.done, w.shard = 0, (w.shard+1)%len(t.shards)
			n++
		}
	}
	return freed
}

// sweep examines up to max slots behind the first done ones, those of the plain
// slab before those of TCP.
func (s *shard) sweep(now, done uint32, max int) (looked, freed int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain := s.slabs[0].used
	total := plain + s.slabs[numberTCP].used
	for due := 0; looked < max && done < total && due < maxDue; {
		kind, at := uint32(0), done
		if done >= plain {
			kind, at = numberTCP, done-plain
		}
		b := &s.slabs[kind]
		chunk := b.deadlines[at/chunkSize]
		from := int(at % chunkSize)
		n := min(len(chunk)-from, int(b.used-at), max-looked)
		i := firstDue(now, chunk[from:from+n])
		if i < n {
			due++
			if s.expire(now, (at+uint32(i)+1)<<1|kind) {
				freed++
			}
			i++
		}
		looked += i
		done += uint32(i)
	}
	return looked, freed, done < total
}

// firstDue returns the place of the first deadline that has come, or the length
// of d.
func firstDue(now uint32, d []uint32) int {
	all := len(d)
	// A deadline at has come if the top bit of at - now - 1 is set: see due.
	for less := ^now; len(d) >= dueStep; d = d[dueStep:] {
		b := (*[dueStep]uint32)(d)
		x := (atomic.LoadUint32(&b[0]) + less) | (atomic.LoadUint32(&b[1]) + less) |
			(atomic.LoadUint32(&b[2]) + less) | (atomic.LoadUint32(&b[3]) + less) |
			(atomic.LoadUint32(&b[4]) + less) | (atomic.LoadUint32(&b[5]) + less) |
			(atomic.LoadUint32(&b[6]) + less) | (atomic.LoadUint32(&b[7]) + less)
		if x>>31 != 0 {
			break
		}
	}
	for i := range d {
		if due(now, atomic.LoadUint32(&d[i])) {
			return all - len(d) + i
		}
	}
	return all
}

// dueStep is how many deadlines firstDue looks at in one step.
const dueStep = 8

// expire frees the entry in a slot whose deadline has come, unless it lives on:
// then the deadline is set anew.
func (s *shard) expire(now, id uint32) bool {
	e := s.at(id)
	w := e.lock()
	at := now + maxTicks // of a free slot
	if e.live() {
		at = s.expiry(e, id)
	}
	if !due(now, at) {
		s.setDeadline(id, at)
		e.unlock(w)
		return false
	}
	s.remove(e, id, w, e.end())
	return true
}
