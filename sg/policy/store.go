package policy

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"example.com/secgroup/sg"
)

// ErrCompacted ends a Watch whose start is not kept, or of another store.
var ErrCompacted = errors.New("policy: revision compacted")

// ErrTxDone is returned by the methods of a Tx whose Update is over.
var ErrTxDone = errors.New("policy: transaction is over")

// maxHistory is the number of batches that a Store keeps for Watch.
const maxHistory = 1024

// Store is a transactional, in-memory policy. It is safe for concurrent use:
// one writer at a time, readers never block. It must be made by NewStore.
type Store struct {
	write sync.Mutex // held for the whole of an Update
	now   atomic.Pointer[state]
}

// state is one committed state. history and its array are append-only: a
// reader never sees an element change.
type state struct {
	snapshot *Snapshot
	revision Revision
	history  []Batch       // the newest batches, the last is revision
	next     chan struct{} // closed when this state is no longer the newest
}

// NewStore returns an empty store governed by p. It fails if p is not valid.
func NewStore(p sg.Profile) (*Store, error) {
	empty, err := New(p)
	if err != nil {
		return nil, err
	}
	s := new(Store)
	s.now.Store(&state{snapshot: empty, next: make(chan struct{})})
	return s, nil
}

// Snapshot returns the current state and its revision.
func (s *Store) Snapshot() (*Snapshot, Revision) {
	now := s.now.Load()
	return now.snapshot, now.revision
}

// Update runs fn and commits all of its changes or none. It returns the new
// revision, or the unchanged one if nothing that fn did had an effect. The
// error is that of fn, or sg.Errors with every fault: rights, quotas,
// references and duplicates are checked at commit. fn must not call Update.
func (s *Store) Update(by sg.Actor, fn func(*Tx) error) (Revision, error) {
	return s.update(by, nil, fn)
}

// UpdateAt is Update for who has read revision at and builds on it: it fails
// with sg.ErrConflict, and does not call fn, if the store has moved on.
func (s *Store) UpdateAt(by sg.Actor, at Revision, fn func(*Tx) error) (Revision, error) {
	return s.update(by, &at, fn)
}

func (s *Store) update(by sg.Actor, at *Revision, fn func(*Tx) error) (Revision, error) {
	s.write.Lock()
	defer s.write.Unlock()
	now := s.now.Load()
	if at != nil && *at != now.revision {
		return now.revision, sg.Errors{{Path: "revision", Value: uint64(*at), Err: sg.ErrConflict,
			Detail: fmt.Sprintf("the store is at revision %d", now.revision)}}
	}
	tx := &Tx{by: by, editor: newEditor(now.snapshot)}
	defer func() { tx.editor = nil }()
	if err := fn(tx); err != nil {
		return now.revision, err
	}
	tx.editor.rights(by)
	tx.editor.lasting()
	tx.editor.addDefaults()
	if err := tx.editor.validate(); err != nil {
		return now.revision, err
	}
	if len(tx.editor.done) == 0 {
		return now.revision, nil
	}
	rev := now.revision + 1
	history := append(now.history, Batch{rev, tx.editor.done})
	if len(history) > 2*maxHistory {
		history = append([]Batch(nil), history[len(history)-maxHistory:]...)
	}
	s.now.Store(&state{tx.editor.next, rev, history, make(chan struct{})})
	close(now.next)
	return rev, nil
}

// Watch yields every batch after since, in order and without gaps, until ctx
// is done; its last element then carries the error of ctx. A reader that falls
// behind the kept history (at least 1,024 batches) gets ErrCompacted and must
// start from Snapshot. So must one whose since the store has not come to: it is
// of another store, for revisions begin anew with each. A slow reader holds up
// nobody.
func (s *Store) Watch(ctx context.Context, since Revision) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if since > s.now.Load().revision {
			yield(Batch{}, ErrCompacted)
			return
		}
		for {
			now := s.now.Load()
			for since < now.revision {
				// history[len-1] is now.revision; the batch after since stands
				// now.revision-since places from the end.
				at := len(now.history) - int(now.revision-since)
				if at < 0 {
					yield(Batch{}, ErrCompacted)
					return
				}
				if err := ctx.Err(); err != nil {
					yield(Batch{}, err)
					return
				}
				if !yield(now.history[at], nil) {
					return
				}
				since++
			}
			select {
			case <-ctx.Done():
				yield(Batch{}, ctx.Err())
				return
			case <-now.next:
			}
		}
	}
}
