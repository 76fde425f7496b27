package conntrack

import (
	"sync/atomic"

	"example.com/secgroup/conntrack/packet"
)

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

// follow is the short form of tcpConn.tcp for what nearly all segments are: data
// or an acknowledgement of an established connection, within its window. It
// reports false, and has changed nothing, for all others. p is no fragment.
func (e *tcpEntry) follow(d Dir, p *packet.Packet) bool {
	d &= 1
	if e.status() != StatusEstablished || p.Flags&(packet.FIN|packet.SYN|packet.RST|packet.ACK|packet.URG) != packet.ACK {
		return false
	}
	snd, rcv := &e.ends[d], &e.ends[d^1]
	if snd.maxWin == 0 || rcv.maxWin == 0 {
		return false
	}
	mine := e.options(d)
	ack, sack := p.Ack, p.Ack
	if e.options(d^1)&optSACK != 0 {
		sack = p.SACK
	}
	end := p.Seq + p.Data
	// See window.meet.
	if beyond(p.Seq, snd.maxEnd) || beyond(sack, rcv.end) ||
		!after(end, snd.end-rcv.maxWin-1) || !after(sack, rcv.end-snd.maxAckWindow()-1) {
		return false
	}
	win := uint32(p.Window) << (mine & optScale)
	snd.setMaxWin(max(snd.maxWin, win+(sack-ack)))
	if after(end, snd.end) {
		snd.end = end
	}
	if mine&optAcked == 0 || after(ack, snd.maxAck) {
		snd.maxAck = ack
		e.packets[d] |= uint32(optAcked) << countShift
	}
	if after(end, snd.maxEnd) {
		rcv.setMaxWin(rcv.maxWin + end - snd.maxEnd)
	}
	if edge := sack + win; after(edge, rcv.maxEnd-1) {
		rcv.maxEnd = edge
		if win == 0 {
			rcv.maxEnd++
		}
	}
	e.state = uint8(StatusEstablished) | uint8(segAck)<<4 | uint8(d)<<7 // see remember
	e.extra, e.aux = end, p.Window
	if e.flags&flagAssured == 0 && (d == Reply || e.flags&flagSeenReply != 0) {
		e.flags |= flagAssured
	}
	return true
}
