package tun

import (
	"io"
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
)

// answerQueueLen is how many answers wait for a Read; more are lost.
const answerQueueLen = 64

// answerQueue holds answers to written packets until the next Read. It is safe
// for concurrent use.
type answerQueue struct {
	len atomic.Int32 // of used, so that a Read that finds none takes no lock

	mu    sync.Mutex
	first int
	slots [answerQueueLen]struct {
		n int
		b [maxAnswer]byte
	}
}

// push makes the answer to a refused packet, if there is one to give, and
// reports whether it did.
func (q *answerQueue) push(a *answerer, pkt []byte, why ir.Reason) bool {
	if !policySaidNo(why) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	used := int(q.len.Load())
	if used == answerQueueLen {
		a.missed.Add(1)
		return false
	}
	s := &q.slots[(q.first+used)%answerQueueLen]
	if s.n = a.refusal(s.b[:], pkt, why); s.n == 0 {
		return false
	}
	q.len.Add(1)
	return true
}

// pop moves answers into the buffers of a Read and returns how many.
func (q *answerQueue) pop(bufs [][]byte, sizes []int, offset int, a *answerer) int {
	if q.len.Load() == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(bufs) && q.len.Load() > 0 {
		s := &q.slots[q.first]
		q.first = (q.first + 1) % answerQueueLen
		q.len.Add(-1)
		if s.n > len(bufs[n])-offset {
			a.done(io.ErrShortBuffer)
			continue
		}
		sizes[n] = copy(bufs[n][offset:], s.b[:s.n])
		a.done(nil)
		n++
	}
	return n
}
