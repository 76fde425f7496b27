package conntrack

import "sync/atomic"

// tcpConn is a connection of TCP, unpacked: what the state machine works on. An
// entry holds all of it, but for two numbers of the window that only count in
// SYN_SENT, where the other end has none yet and lends its place.
type tcpConn struct {
	status Status
	flags  entryFlags
	window
}

// load unpacks e, whose lock is held.
func (e *tcpEntry) load(c *tcpConn) {
	*c = tcpConn{status: e.status(), flags: e.flags, window: window{
		of:       e.ends,
		opts:     [2]options{e.options(Original), e.options(Reply)},
		lastSeg:  segment(e.state >> 4 & lastSegBits),
		lastDir:  Dir(e.state >> 7),
		lastOpts: options(e.local >> 24),
		lastWin:  e.aux,
		lastEnd:  e.extra,
	}}
	if c.status == StatusSynSent {
		o := &c.of[Reply]
		c.synData, c.lastAck = uint16(o.end), o.maxAck
		o.end, o.maxAck = 0, 0
	}
}

// store packs c into e, whose lock is held.
func (e *tcpEntry) store(c *tcpConn) {
	e.flags = c.flags
	e.remember(c.lastSeg, c.lastDir)
	e.setStatus(c.status)
	e.local = e.local&localMask | uint32(c.lastOpts)<<24
	e.aux, e.extra = c.lastWin, c.lastEnd
	for d := range e.packets {
		e.setOptions(Dir(d), c.opts[d])
	}
	o := c.of[Reply]
	if c.status == StatusSynSent {
		o.end, o.maxAck = uint32(c.synData), c.lastAck
	}
	e.ends[Original] = c.of[Original]
	r := &e.ends[Reply]
	r.end, r.maxEnd, r.maxAck = o.end, o.maxEnd, o.maxAck
	r.setMaxWin(o.maxWin)
}

// setMaxWin sets e.maxWin. It is read without a lock, to have the cache line at
// hand: see touch.
func (e *endpoint) setMaxWin(v uint32) {
	if e.maxWin != v {
		atomic.StoreUint32(&e.maxWin, v)
	}
}

// options returns the options of the end that sends in direction d.
func (e *entry) options(d Dir) options { return options(e.packets[d&1]>>countShift) &^ optChallenge }

func (e *entry) setOptions(d Dir, o options) {
	e.packets[d] = e.packets[d]&(countMask|heldBit) | uint32(o&^optChallenge)<<countShift
}

// remember sets the last segment.
func (e *entry) remember(seg segment, d Dir) {
	e.state = e.state&statusMask | uint8(seg)<<4 | uint8(d)<<7
}
