package conntrack

import (
	"time"

	"example.com/secgroup/conntrack/packet"
)

// model is the table as plain as can be: a map, and for TCP the history of each
// connection instead of a state machine. It is the oracle of the property tests.
type model struct {
	loose      bool
	liberal    bool
	max, zone  int
	shares     Shares
	times      Timeouts
	clock      Time // latest time seen
	shift      Time // added to the caller's readings
	m          map[modelKey]*modelEntry
	inserted   int
	ended      int
	generation int
}

type modelKey struct {
	zone          Zone
	remote, local [16]byte
	rport, lport  uint16
	proto, family uint8
	query, code   uint8
	asker         Side
}

type modelEntry struct {
	orig        Tuple
	opener      Side
	mark        Mark
	epoch       uint32
	query, code uint8
	packets     [2]uint64
	bytes       [2]uint64
	created     Time
	seen        Time
	expires     Time
	replied     bool
	assured     bool
	tcp         *modelTCP
	generation  int
}

func newModel(o Options) *model {
	o = o.withDefaults()
	return &model{loose: o.TCPLoose, liberal: o.TCPLiberal, max: o.MaxEntries, zone: o.MaxPerZone, shares: o.Shares, times: o.Timeouts, m: map[modelKey]*modelEntry{}}
}

// tick reads the caller's clock.
func (m *model) tick(now Time) Time {
	now += m.shift
	if leap := now - m.clock; leap > Time(365*24*time.Hour) { // no quiet period lasts that long
		m.shift -= leap
		now -= leap
	}
	if now < m.clock-Time(time.Minute) {
		m.shift += m.clock - now
	}
	m.clock = max(m.clock, now)
	return m.clock
}

var modelQueries = map[[2]uint8]uint8{ // protocol and reply type to the query's type
	{1, 0}: 8, {1, 14}: 13, {1, 16}: 15, {1, 18}: 17, {58, 129}: 128,
}

// key returns the key of a packet and what it may do: "open", "answer",
// "error", "other" or "" for nothing.
func (m *model) key(z Zone, from Side, t Tuple, typ, code uint8) (modelKey, string) {
	k := modelKey{zone: z, remote: t.Src, local: t.Dst, rport: t.SrcPort, lport: t.DstPort, proto: t.Proto, family: t.Family}
	if from == Local {
		k.remote, k.local, k.rport, k.lport = t.Dst, t.Src, t.DstPort, t.SrcPort
	}
	if t.Family == 0 || t.Proto == 1 && t.Family == 6 || t.Proto == 58 && t.Family == 4 {
		return k, ""
	}
	if t.Proto != 1 && t.Proto != 58 {
		return k, "open"
	}
	if q, ok := modelQueries[[2]uint8{t.Proto, typ}]; ok {
		k.query, k.code, k.asker = q, code, 1-from
		return k, "answer"
	}
	for r, q := range modelQueries {
		if r[0] == t.Proto && q == typ {
			k.query, k.code, k.asker = q, code, from
			return k, "open"
		}
	}
	if t.Proto == 58 && typ < 128 || t.Proto == 1 && (typ == 3 || typ == 4 || typ == 5 || typ == 11 || typ == 12) {
		return k, "error"
	}
	return k, "other"
}

// live returns the entry of k unless it has expired.
func (m *model) live(k modelKey) *modelEntry {
	if e := m.m[k]; e != nil && m.clock < e.expires {
		return e
	}
	return nil
}

// result is what a packet is expected to get.
type result struct {
	conn    Conn
	touched *modelEntry // the entry that conn stands for
	reopens *modelEntry // the closed entry that a Commit replaces
}

// track is Track, or, if allowed, Commit of what opens nothing new.
func (m *model) track(now Time, z Zone, from Side, p *packet.Packet, allowed bool) result {
	k, what := m.key(z, from, p.Tuple, p.ICMPType, p.ICMPCode)
	switch what {
	case "":
		return result{}
	case "other":
		return result{conn: Conn{State: New, Opener: from}}
	case "error":
		q := p.Inner
		if q.Tuple.Family != p.Tuple.Family || q.Tuple.Src != p.Tuple.Dst {
			return result{}
		}
		k, what = m.key(z, 1-from, q.Tuple, q.ICMPType, q.ICMPCode)
		if what != "open" && what != "answer" {
			return result{}
		}
		m.tick(now)
		e := m.live(k)
		if e == nil || e.opener == from && !e.replied || e.tcp != nil && e.tcp.dead {
			return result{}
		}
		if sent := Dir(1 - from ^ e.opener); e.tcp != nil && !m.liberal && !e.tcp.adopted && !e.tcp.inFlight(sent, q.Seq) {
			return result{}
		}
		return result{conn: e.conn(Related, from), touched: e}
	}
	m.tick(now)
	e := m.live(k)
	if e == nil {
		if what == "answer" || p.Tuple.Proto == 6 && modelStart(p, m.loose) == nil {
			return result{}
		}
		return result{conn: Conn{State: New, Opener: from}}
	}
	d := Original
	if from != e.opener {
		d = Reply
	}
	extend := true
	if e.tcp != nil {
		after := *e.tcp
		o := after.step(d, p, e, m.liberal)
		if d == Original && p.Flags&(packet.SYN|packet.ACK|packet.FIN|packet.RST) == packet.SYN && !allowed && o != reopens {
			return result{conn: e.conn(Established, from), touched: e}
		}
		switch *e.tcp = after; o {
		case refused:
			return result{}
		case reopens:
			return result{conn: Conn{State: New, Opener: from}, reopens: e}
		case passed:
			extend = false
		}
	}
	e.replied = e.replied || d == Reply
	switch {
	case e.tcp != nil:
		e.assured = e.assured || e.tcp.handshake || e.tcp.adopted && e.replied && segmentOf(p.Flags) == segAck && e.tcp.status() == StatusEstablished
	case p.Tuple.Proto != 1 && p.Tuple.Proto != 58:
		e.assured = e.assured || e.replied
	}
	e.packets[d]++
	e.bytes[d] += uint64(p.Length)
	e.seen = m.clock
	if extend {
		e.expires = m.clock + Time(m.timeout(e))
	}
	return result{conn: e.conn(Established, from), touched: e}
}

func (e *modelEntry) conn(s State, from Side) Conn {
	d := Original
	if from != e.opener {
		d = Reply
	}
	return Conn{State: s, Dir: d, Opener: e.opener, Mark: e.mark, Epoch: e.epoch}
}

func (m *model) insert(z Zone, from Side, p *packet.Packet, mark Mark, epoch uint32) *modelEntry {
	k, _ := m.key(z, from, p.Tuple, p.ICMPType, p.ICMPCode)
	m.generation++
	e := &modelEntry{orig: p.Tuple, opener: from, mark: mark, epoch: epoch, query: k.query, code: k.code, created: m.clock, seen: m.clock, generation: m.generation}
	if p.Tuple.Proto == 6 {
		e.tcp = modelStart(p, m.loose)
	}
	e.packets[0], e.bytes[0] = 1, uint64(p.Length)
	e.expires = m.clock + Time(m.timeout(e))
	m.m[k] = e
	m.inserted++
	return e
}

func (m *model) timeout(e *modelEntry) time.Duration {
	switch e.orig.Proto {
	case 6:
		if e.status() == StatusEstablished && !e.replied {
			return min(m.times.TCPUnacked, m.times.TCPEstablished)
		}
		return map[Status]time.Duration{
			StatusSynSent: m.times.TCPSynSent, StatusSynSent2: m.times.TCPSynSent, StatusSynRecv: m.times.TCPSynRecv,
			StatusEstablished: m.times.TCPEstablished, StatusFinWait: m.times.TCPFinWait, StatusCloseWait: m.times.TCPCloseWait,
			StatusLastAck: m.times.TCPLastAck, StatusTimeWait: m.times.TCPTimeWait, StatusClose: m.times.TCPClose,
		}[e.status()]
	case 17:
		if e.replied {
			return m.times.UDPStream
		}
		return m.times.UDP
	case 1, 58:
		return m.times.ICMP
	}
	return m.times.Generic
}

func (e *modelEntry) status() Status {
	switch {
	case e.tcp != nil:
		return e.tcp.status()
	case e.assured:
		return StatusAssured
	case e.replied:
		return StatusReplied
	}
	return StatusUnreplied
}

// share returns the share that a protocol takes its entries from, and the
// most that it may have of n.
func (m *model) share(proto uint8) (class string, most int) {
	part := map[string]int{"tcp": m.shares.TCP, "udp": m.shares.UDP, "icmp": m.shares.ICMP, "other": m.shares.Other}
	class = map[uint8]string{6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}[proto]
	if class == "" {
		class = "other"
	}
	for most*100 < m.max*part[class] {
		most++
	}
	return class, most
}

// rank is how readily e goes at the limit; 0 is never.
func (m *model) rank(e *modelEntry) int {
	closed := e.status() == StatusTimeWait || e.status() == StatusClose
	switch {
	case m.clock >= e.expires:
		return 4
	case closed:
		return 3
	case !e.replied:
		return 2
	case !e.assured:
		return 1
	}
	return 0
}

func (m *model) export(k modelKey, e *modelEntry) Entry {
	return Entry{
		Zone: k.zone, Orig: e.orig, OrigSide: e.opener, Mark: e.mark, Epoch: e.epoch, Status: e.status(),
		SeenReply: e.replied, Assured: e.assured, Adopted: e.tcp != nil && e.tcp.adopted, ICMPType: e.query, ICMPCode: e.code, Packets: e.packets, Bytes: e.bytes,
		Created: e.created - m.shift, LastSeen: e.seen - m.shift, Expires: e.expires - m.shift,
	}
}

// modelTCP is what happened to a TCP connection so far; its state follows.
type modelTCP struct {
	adopted   bool    // picked up in the middle
	syn       [2]bool // by Dir
	synAck    [2]bool
	handshake bool // completed before our eyes
	fin       [2]bool
	first     Dir  // sent the first FIN
	finAcked  bool // the first FIN was
	allAcked  bool // both were
	gone      bool // reset
	dead      bool // before an answer
	again2    bool // a SYN in the middle started it again

	end    [2]modelEnd
	last   modelSeg
	thrown modelSeg // the last SYN of the opener that was let through
	await  bool     // a challenge ACK may answer it
}

func modelStart(p *packet.Packet, loose bool) *modelTCP {
	flags := p.Flags
	const others = packet.SYN | packet.FIN | packet.RST | packet.ACK
	switch {
	case flags&others == packet.SYN:
		h := &modelTCP{syn: [2]bool{true, false}}
		h.last = h.seg(Original, p)
		h.end[0].open(h.last)
		return h
	case flags&others == packet.ACK && loose:
		h := &modelTCP{adopted: true}
		h.last = h.seg(Original, p)
		h.end[0].open(h.last)
		h.end[0].may += h.end[0].window
		h.end[0].sacks, h.end[1].sacks = true, true
		h.end[0].scales, h.end[0].scale = false, 0
		return h
	}
	return nil
}

func (h *modelTCP) status() Status {
	switch {
	case h.gone:
		return StatusClose
	case h.allAcked:
		return StatusTimeWait
	case h.fin[0] && h.fin[1]:
		return StatusLastAck
	case h.finAcked:
		return StatusCloseWait
	case h.fin[0] || h.fin[1]:
		return StatusFinWait
	case h.handshake || h.adopted && !h.again2:
		return StatusEstablished
	case h.synAck[0] || h.synAck[1]:
		return StatusSynRecv
	case h.syn[1]:
		return StatusSynSent2
	}
	return StatusSynSent
}

// step records a segment, if its numbers fit.
func (h *modelTCP) step(d Dir, p *packet.Packet, e *modelEntry, liberal bool) outcome {
	liberal = liberal || h.adopted
	s, st, assured := h.seg(d, p), h.status(), e.assured
	urg := p.Flags&packet.URG != 0
	if s.syn && (s.fin || s.rst) || s.fin && (s.rst || !s.ack) || !s.syn && !s.rst && !s.ack || urg && (s.rst || s.syn && s.ack) {
		return refused
	}
	if h.dead && !(s.syn && !s.ack) {
		return refused
	}
	before := *h
	synSent := st == StatusSynSent
	var o outcome
	switch {
	case synSent && s.kind == segSyn && d == Original && s.end < h.end[0].said:
		o = passed
	case synSent && s.kind == segSynAck && d == Reply && uint32(h.end[0].said) != h.last.rawEnd && h.answers(s):
		h.again()
		s = h.seg(d, p)
		o = h.flags(s, e)
	case st == StatusLastAck && s.kind == segAck && d == h.first && h.last.kind == segSyn && h.last.from != d && h.await:
		h.await, before.await = false, false
		o = passed
	case s.rst && st == StatusClose:
		return passed
	case s.rst:
		if synSent && d == Reply {
			behind := uint32(h.end[0].said) - s.rawAck
			if !s.ack || int64(behind) > h.end[0].synLen && !h.answers(s) {
				return refused
			}
		}
		passes, closes := h.reset(s, st, assured, liberal)
		switch {
		case !passes:
			return refused
		case !closes:
			return passed
		}
		h.gone, h.dead, h.last = true, !e.replied, h.remember(s)
		return moved
	default:
		o = h.flags(s, e)
	}
	if (o == passed || o == moved && st == StatusSynRecv && d == Reply) && s.kind == segSynAck && h.answers(s) {
		h.again()
		adopted := h.adopted
		*h = modelTCP{syn: [2]bool{true, false}, end: h.end, last: h.last, thrown: h.thrown, await: h.await, adopted: adopted, again2: true}
		h.synAck[d] = true
		s, o = h.seg(d, p), moved
	}
	switch {
	case o == passed:
		*h = before
		old := h.last
		h.last = s
		h.last.rawAck = old.rawAck
		if s.kind == segSyn && d == Original {
			h.thrown, h.await = s, st == StatusLastAck
		}
		if synSent && s.kind == segAck && d == Reply {
			h.last.rawAck = s.rawAck
		}
		return passed
	case o != moved:
		*h = before
		return o
	}
	fit, n := h.judge(s, st)
	if fit == "in" || fit == "over" || liberal {
		h.end, before.end = n, n
	}
	if fit != "in" && !liberal {
		*h = before
		if fit != "out" {
			return passed
		}
		return refused
	}
	if fit != "in" && s.kind == segAck {
		h.last.kind, h.last.from = s.kind, s.from
		return moved
	}
	h.last = h.remember(s)
	return moved
}

// remember returns what s leaves behind as the last segment.
func (h *modelTCP) remember(s modelSeg) modelSeg {
	if s.kind == segSyn || s.kind == segAck {
		return s
	}
	l := h.last
	l.kind, l.from = s.kind, s.from
	return l
}

// flags records what the flags of a segment say.
func (h *modelTCP) flags(s modelSeg, _ *modelEntry) outcome {
	d := s.from
	opening := !h.gone && (!h.adopted || h.again2) && !h.synAck[0] && !h.synAck[1]
	over := h.gone || h.allAcked
	crossed := h.syn[0] && h.syn[1]
	closing := h.fin[0] || h.fin[1]
	answered := (h.synAck[0] || h.synAck[1]) && !h.handshake && !closing && !over
	switch {
	case s.syn && !s.ack:
		if over {
			return reopens
		}
		if opening {
			h.syn[d] = true
			return moved
		}
		if d == Original {
			return passed
		}
		if !(answered && crossed) {
			return refused
		}
	case s.syn:
		if over || d == Original && !crossed {
			return refused
		}
		if !opening && !answered {
			if d == Original {
				return moved
			}
			return passed
		}
		switch {
		case h.synAck[1-d]:
			h.handshake = true
		case h.synAck[d] && d == Reply:
			return passed
		default:
			h.synAck[d] = true
		}
	case s.fin:
		if opening {
			return refused
		}
		if h.gone {
			return moved
		}
		if !closing {
			h.first = d
		}
		h.fin[d] = true
	default: // ACK
		if opening && d == Original {
			return refused
		}
		if opening {
			return passed
		}
		switch {
		case h.gone:
		case answered:
			h.handshake = h.handshake || h.synAck[1-d]
		case h.fin[0] && h.fin[1]:
			h.allAcked = h.allAcked || d == h.first
		case closing:
			h.finAcked = h.finAcked || d != h.first
		}
	}
	return moved
}
