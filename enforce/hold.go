package enforce

import (
	"sync"
	"sync/atomic"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// HoldOptions bound what a Port keeps back of datagrams whose first fragment
// has not come yet. All memory is allocated at once.
type HoldOptions struct {
	// Fragments is how many are kept at a time, at most 256. Zero or less keeps
	// none.
	Fragments int

	// Bytes is the room for them, rounded up to cells of 512 bytes; default
	// 1,536 for each of Fragments, at most 16 MiB.
	Bytes int

	// Timeout is how long one is kept, from its arrival, whether its first
	// fragment has come or not; default a second.
	Timeout time.Duration
}

// Limits of HoldOptions, and what is behind them.
const (
	maxHeld      = 256 // a first fragment looks at all of them
	maxHeldBytes = 16 << 20
	cellSize     = 512
	mtuCells     = 3 // cells of a fragment by default
)

// Hold makes p keep trailing fragments that come before their first one, within
// the bounds of o, instead of dropping them: the sender's order is not the
// network's. Filter then returns ir.ReasonFragmentHeld with sg.Drop: the caller
// must not send the packet, for the port has a copy. When the first fragment is
// accepted, the copies come out of Release; when it is refused, or when they are
// too old, they are dropped, with ir.ReasonFragment, as the next fragment comes
// or Release is called. If what is kept overlaps, the first fragment is dropped
// too (RFC 5722).
//
// Only a caller that calls Release may ask for this: two that share a port share
// what it keeps. A second call begins anew, and loses what is kept. Without Hold
// nothing is kept.
func (p *Port) Hold(o HoldOptions) {
	if o.Fragments <= 0 {
		p.held.Store(nil)
		return
	}
	p.held.Store(newHold(o))
}

// Release copies the oldest fragment of direction d whose turn has come into
// dst, and returns its length and its verdict; 0 if there is none. The caller
// sends it on after the first one, as if Filter had accepted it just now. If dst
// is too short, the fragment is lost, and the length beyond that of dst.
//
// It is cheap to call where nothing waits, allocates nothing, and is to be
// called after every Filter or FilterBatch, until it returns 0.
func (p *Port) Release(d sg.Direction, dst []byte) (int, ir.Verdict) {
	h := p.held.Load()
	if h == nil || !d.Valid() || h.ready[side(d)].Load() == 0 {
		return 0, ir.Verdict{}
	}
	now := p.engine.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	p.expireHeld(h, now)
	for i, id := range h.order {
		k := &h.kept[id]
		if !k.released || k.side != side(d) {
			continue
		}
		n, v := k.size, k.verdict
		h.read(k, dst)
		h.remove(i)
		return n, v
	}
	return 0, ir.Verdict{}
}

// hold is what a Port keeps back.
type hold struct {
	timeout time.Duration
	waiting atomic.Int32    // fragments in order, or about to be
	ready   [2]atomic.Int32 // of them released, by side

	mu    sync.Mutex // guards what follows; the table's fragment cache may be locked under it
	kept  []kept
	order []uint16 // of kept in use, the oldest first
	spare []uint16 // of kept not in use
	arena []byte
	next  []int32 // of each cell, the one behind it; -1 is none
	free  int32   // first of the cells not in use
	cells int     // how many those are
}

// kept is one fragment. It holds no pointer.
type kept struct {
	pkt      packet.Packet
	verdict  ir.Verdict
	side     conntrack.Side
	zone     conntrack.Zone // of fragments
	since    conntrack.Time
	size     int
	cell     int32
	placed   bool // it fits the others of its datagram
	released bool
}

func newHold(o HoldOptions) *hold {
	n := min(o.Fragments, maxHeld)
	if o.Bytes <= 0 {
		o.Bytes = n * mtuCells * cellSize
	}
	if o.Timeout <= 0 {
		o.Timeout = time.Second
	}
	cells := (min(o.Bytes, maxHeldBytes) + cellSize - 1) / cellSize
	h := &hold{
		timeout: o.Timeout, kept: make([]kept, n), order: make([]uint16, 0, n), spare: make([]uint16, 0, n),
		arena: make([]byte, cells*cellSize), next: make([]int32, cells), cells: cells,
	}
	for i := range h.next {
		h.next[i] = int32(i + 1)
	}
	h.next[cells-1] = -1
	for i := range n {
		h.spare = append(h.spare, uint16(n-1-i))
	}
	return h
}

// add keeps a copy of a fragment, and reports whether there was room. The lock
// is held.
func (h *hold) add(now conntrack.Time, z conntrack.Zone, s conntrack.Side, pkt *packet.Packet, b []byte) bool {
	b = b[:pkt.Length]
	if len(h.spare) == 0 || (len(b)+cellSize-1)/cellSize > h.cells {
		return false
	}
	last := len(h.spare) - 1
	id := h.spare[last]
	h.spare = h.spare[:last]
	h.order = append(h.order, id)
	k := &h.kept[id]
	*k = kept{pkt: *pkt, side: s, zone: z, since: now, size: len(b), cell: h.free}
	for end := -1; ; {
		c := h.free
		h.free = h.next[c]
		h.cells--
		end = int(c)
		b = b[copy(h.arena[int(c)*cellSize:(int(c)+1)*cellSize], b):]
		if len(b) == 0 {
			h.next[end] = -1
			return true
		}
	}
}

// read copies a fragment out, if dst has room for it.
func (h *hold) read(k *kept, dst []byte) {
	if len(dst) < k.size {
		return
	}
	dst = dst[:k.size]
	for c := k.cell; c >= 0 && len(dst) > 0; c = h.next[c] {
		dst = dst[copy(dst, h.arena[int(c)*cellSize:(int(c)+1)*cellSize]):]
	}
}

// remove gives the room of h.order[i] back.
func (h *hold) remove(i int) {
	id := h.order[i]
	k := &h.kept[id]
	h.order = append(h.order[:i], h.order[i+1:]...)
	h.spare = append(h.spare, id)
	h.waiting.Add(-1)
	if k.released {
		h.ready[k.side].Add(-1)
	}
	for c := k.cell; c >= 0; {
		after := h.next[c]
		h.next[c] = h.free
		h.free = c
		h.cells++
		c = after
	}
}

// of reports whether k is of the datagram that pkt begins.
func (k *kept) of(z conntrack.Zone, s conntrack.Side, pkt *packet.Packet) bool {
	q := &k.pkt
	return k.zone == z && k.side == s && q.FragID == pkt.FragID && q.Tuple.Family == pkt.Tuple.Family &&
		q.Tuple.Src == pkt.Tuple.Src && q.Tuple.Dst == pkt.Tuple.Dst &&
		(q.Tuple.Family == 6 || q.Tuple.Proto == pkt.Tuple.Proto)
}

// expireHeld drops what is too old. The lock is held.
func (p *Port) expireHeld(h *hold, now conntrack.Time) {
	for i := 0; i < len(h.order); {
		k := &h.kept[h.order[i]]
		if now < k.since { // the clock was set back: begin anew
			k.since = now
		}
		if now-k.since < conntrack.Time(h.timeout) {
			i++
			continue
		}
		p.dropHeld(h, i, now)
	}
}

// dropHeld drops h.order[i]. The lock is held.
func (p *Port) dropHeld(h *hold, i int, now conntrack.Time) {
	k := &h.kept[h.order[i]]
	d := sg.Ingress
	if k.side == conntrack.Local {
		d = sg.Egress
	}
	p.drop(nil, now, d, &k.pkt, ir.Verdict{Reason: ir.ReasonFragment})
	h.remove(i)
}
