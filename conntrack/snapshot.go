package conntrack

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A snapshot is a file of the connections of a table, for a process that is
// replaced by another one. Numbers are big endian; times are counted in 1/16
// second back from the moment of the snapshot.
//
//	header  magic (8 bytes), version (2), zero (2)
//	block   length of what follows without the digest (4), items, digest (32)
//	end     zero (4), connections (8), digest (32)
//
// A digest is SHA-256 of all bytes before it but for the other digests, so none
// can be lost, moved or repeated. Nothing follows the end. An item begins with a
// byte that says what it is:
//
//	zone        number (4), length of its name (2), name
//	connection  of the zone item before it in the same block: see record
//
// The checksum is no signature: who can write the file can say what connections
// there are, as with any file of state, so keep it where only its owner writes.
const (
	snapshotMagic   = "\x89sgconn\n"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 4

	maxBlock    = 1 << 16 // bytes of a block's items
	maxZoneName = 1 << 12
)

// Kinds of items.
const (
	itemZone  = 1
	itemPlain = 2
	itemTCP   = 3
)

// Errors of [Table.Restore], inside a *SnapshotError.
var (
	// ErrSnapshotDamaged: the file is not as a snapshot was written: cut short,
	// changed, extended, or none at all.
	ErrSnapshotDamaged = errors.New("conntrack: snapshot damaged")

	// ErrSnapshotVersion: the file is a snapshot of a version that this one
	// does not read.
	ErrSnapshotVersion = errors.New("conntrack: snapshot version not known")
)

// SnapshotError says why a snapshot was refused, and where.
type SnapshotError struct {
	Offset int64  // in bytes from where the snapshot begins
	What   string // for people
	Err    error  // ErrSnapshotDamaged, ErrSnapshotVersion or what the reader returned
}

// Error names the error, the place and what was found there.
func (e *SnapshotError) Error() string {
	return fmt.Sprintf("%v: byte %d: %s", e.Err, e.Offset, e.What)
}

// Unwrap returns e.Err.
func (e *SnapshotError) Unwrap() error { return e.Err }

// SnapshotOptions say what is written.
type SnapshotOptions struct {
	// Name, if set, gives the name that a zone has in the file, at most 4096
	// bytes of any kind: zones are numbers of one process, and Restore hands
	// the name back. Connections of a zone without one (ok is false) are left
	// out. It is called without a lock, many times for a zone.
	Name func(Zone) (name string, ok bool)
}

// Snapshot writes the live connections to w, with all that the table knows of
// them, and returns how many. [Table.Restore] reads what it wrote. Not in it
// are what the table is configured with ([Options], SetZone, Adopt), its counters
// ([Stats]), and the fragments of datagrams, which live for seconds.
//
// It locks a stretch at a time, as Update does, so packets pass meanwhile: a
// connection committed meanwhile may be missing, and each is as it was at some
// time during the call. It writes some 100 bytes for a connection and 150 for one
// of TCP, 64 kB at a time, and returns the first error of w; a file of which not
// all was written is one that Restore refuses.
func (t *Table) Snapshot(w io.Writer, now Time, o SnapshotOptions) (int, error) {
	at := t.clock.at(now)
	f := newBlockWriter(w)
	batch := make([]record, 0, stride)
	for i := range t.shards {
		s := &t.shards[i]
		for kind := range uint32(len(s.slabs)) {
			for done, more := uint32(0), true; more; done += stride {
				batch = batch[:0]
				more = s.stretch(kind, done, func(s *shard, id uint32) {
					e := s.at(id)
					w := e.lock()
					if !due(at, s.expiry(e, id)) {
						batch = append(batch, record{})
						batch[len(batch)-1].read(s, e, id, at)
					}
					e.unlock(w)
				})
				slices.SortStableFunc(batch, func(a, b record) int { return cmp.Compare(a.key.zone, b.key.zone) })
				if err := f.writeBatch(batch, o.Name); err != nil {
					return int(f.count), err
				}
			}
		}
	}
	return int(f.count), f.end()
}

// writeBatch writes connections that are in the order of their zones.
func (f *blockWriter) writeBatch(batch []record, name func(Zone) (string, bool)) error {
	for len(batch) > 0 {
		z, n := batch[0].key.zone, 1
		for n < len(batch) && batch[n].key.zone == z {
			n++
		}
		title, ok := "", true
		if name != nil {
			title, ok = name(z)
		}
		if len(title) > maxZoneName {
			return fmt.Errorf("conntrack: name of zone %d has %d bytes, at most %d", z, len(title), maxZoneName)
		}
		if ok {
			if err := f.writeZone(z, title, batch[:n]); err != nil {
				return err
			}
		}
		batch = batch[n:]
	}
	return nil
}

// writeZone writes connections of one zone. Every block names its zones anew, so
// that it is read without the others.
func (f *blockWriter) writeZone(z Zone, name string, list []record) error {
	named := false
	for i := range list {
		if len(f.items)+zoneItem+len(name)+tcpRecord > maxBlock {
			if err := f.flush(); err != nil {
				return err
			}
			named = false
		}
		if !named {
			f.items = appendZone(f.items, z, name)
			named = true
		}
		f.items = list[i].append(f.items)
		f.count++
	}
	return nil
}
