package enforce

import (
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// Port filters the traffic of one interface. It is safe for concurrent use. It
// comes from Engine.Port.
type Port struct {
	engine *Engine
	id     sg.InterfaceID
	state  atomic.Pointer[portState]
	held   atomic.Pointer[hold]
	mu     sync.Mutex // serialises resolve, guards limits
	limits conntrack.ZoneOptions

	_     [64]byte          // what is above every packet reads
	drops [64]atomic.Uint64 // by reason
	_     [64]byte
}

// Port returns the packet path of one interface, the same for every call with
// that id. Its handle survives policy changes; while the policy does not know
// the interface, it drops everything.
func (e *Engine) Port(id sg.InterfaceID) *Port {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.ports[id]
	if p == nil {
		p = &Port{engine: e, id: id}
		e.ports[id] = p
	}
	return p
}

// Interface returns the id of the interface.
func (p *Port) Interface() sg.InterfaceID { return p.id }

// Filter decides one packet, which starts at its IP header. It does not
// allocate and does not keep b, whose bytes must not change meanwhile. What is
// neither ingress nor egress is dropped as of an unknown interface.
func (p *Port) Filter(d sg.Direction, b []byte) ir.Verdict {
	return p.FilterWith(p.engine.opts.Checksums, d, b)
}

// FilterWith is Filter for a packet from a source that vouches for those
// checksums, whatever Options says.
func (p *Port) FilterWith(c Checksums, d sg.Direction, b []byte) ir.Verdict {
	st, e := p.state.Load(), p.engine
	if st == nil || d > sg.Egress || st.gen != e.gen.Load() || (c != ChecksumsUnknown || st.guarded) && !st.surely(c, d, b) {
		return p.general(c, d, b)
	}
	now := conntrack.Time(e.coarse.Load())
	if now == 0 {
		now = e.read()
	}
	switch is, mark := st.lanes[d&3].Track(now, b); is {
	case conntrack.Established:
		return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(mark)}
	case conntrack.New:
		return p.newcomer(st, now, d, b)
	}
	return p.filter(st, now, c, d, b)
}

// general is FilterWith for any packet, without the lanes.
func (p *Port) general(c Checksums, d sg.Direction, b []byte) ir.Verdict {
	return p.filter(p.current(), p.engine.now(), c, d, b)
}

// filter decides a packet that no lane knows. It is what the lanes are measured
// by: they say what it would say, or nothing.
func (p *Port) filter(st *portState, now conntrack.Time, c Checksums, d sg.Direction, b []byte) ir.Verdict {
	if st == nil || !st.known || !d.Valid() {
		return p.unknown(st, d, b)
	}
	var pkt packet.Packet
	if why := p.admit(st, c, d, b, &pkt); why != ir.ReasonNone {
		return p.drop(st, now, d, &pkt, ir.Verdict{Reason: why})
	}
	if pkt.Fragment {
		return p.fragment(st, now, d, &pkt, b)
	}
	var conn conntrack.Conn
	p.engine.table.TrackTo(now, st.zone, side(d), &pkt, &conn)
	if st.settled(&conn, &pkt) {
		return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(conn.Mark)}
	}
	if conn.State == conntrack.New && !redirects(&pkt) {
		return p.fresh(st, now, d, &pkt, b)
	}
	return p.pass(st, now, d, &pkt, b, conn)
}

// FilterBatch decides pkts into out, and returns how many were accepted; one
// clock read and one policy serve the whole batch. If out is shorter than pkts it
// panics before the first is decided.
func (p *Port) FilterBatch(d sg.Direction, pkts [][]byte, out []ir.Verdict) int {
	return p.FilterBatchWith(p.engine.opts.Checksums, d, pkts, out)
}

// FilterBatchWith is FilterBatch for packets from a source that vouches for
// those checksums, whatever Options says.
func (p *Port) FilterBatchWith(c Checksums, d sg.Direction, pkts [][]byte, out []ir.Verdict) int {
	if len(out) < len(pkts) {
		panic("enforce: fewer verdicts than packets")
	}
	st := p.current()
	if st == nil || !st.known || !d.Valid() {
		for i, b := range pkts {
			out[i] = p.unknown(st, d, b)
		}
		return 0
	}
	now, n := p.engine.now(), 0
	for len(pkts) > 0 {
		some := min(len(pkts), conntrack.BatchSize)
		n += p.filterSome(st, now, c, d, pkts[:some], out)
		pkts, out = pkts[some:], out[some:]
	}
	return n
}

// unknown drops: there is no policy, or none for this interface.
func (p *Port) unknown(st *portState, d sg.Direction, b []byte) ir.Verdict {
	v := ir.Verdict{Reason: ir.ReasonNoPolicy}
	if st != nil {
		v.Reason = ir.ReasonUnknownInterface
	}
	p.drops[v.Reason].Add(1)
	if p.engine.opts.OnEvent != nil {
		var pkt packet.Packet
		if packet.Decode(b, &pkt) != nil {
			pkt.Length = uint32(len(b))
		}
		p.event(st, FlowDenied, p.engine.now(), d, &pkt, v)
	}
	return v
}

// settled reports what is true of nearly all packets: that pkt, of which the
// table says conn, belongs to a connection that the policy in force allowed, and
// does not ask to open it once more.
func (st *portState) settled(conn *conntrack.Conn, pkt *packet.Packet) bool {
	return conn.State == conntrack.Established && conn.Epoch == st.gen.epoch && !(conn.Dir == conntrack.Original && opensConnection(pkt))
}

// fragment decides a fragment, which may be the first one or not.
func (p *Port) fragment(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte) ir.Verdict {
	if pkt.Trailing() {
		return p.trailing(st, now, d, pkt, b)
	}
	var v ir.Verdict
	if p.reserveFirst(st, now, d, pkt, b) {
		v = p.pass(st, now, d, pkt, b, p.engine.table.Track(now, st.zone, side(d), pkt))
	} else { // it must not move its connection
		v = p.drop(st, now, d, pkt, ir.Verdict{Reason: ir.ReasonFragment})
	}
	p.settle(st, now, d, pkt, v)
	return v
}

// admit decodes b into pkt and makes the checks that need no state: decoding,
// source guard, hygiene, checksums. It returns why the
// packet goes no further, or ReasonNone. It changes nothing but pkt.
func (p *Port) admit(st *portState, c Checksums, d sg.Direction, b []byte, pkt *packet.Packet) ir.Reason {
	if packet.Decode(b, pkt) != nil {
		pkt.Length = uint32(len(b)) // for the event
		return ir.ReasonMalformed
	}
	if c != ChecksumsUnknown && pkt.Tuple.Family == 4 && !packet.ChecksumIPv4(b) {
		return ir.ReasonChecksum
	}
	if st.iface.Guard && spoofed(&st.iface, d, &pkt.Tuple) {
		return ir.ReasonSpoofed
	}
	if why := p.engine.refuse.reason(pkt); why != ir.ReasonNone {
		return why
	}
	if c == ChecksumsAll && !pkt.Checksum(b) {
		return ir.ReasonChecksum
	}
	return ir.ReasonNone
}

// pass decides a packet that has its headers, of which the table says c, and
// tracks what it opens. b is the packet.
func (p *Port) pass(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte, c conntrack.Conn) ir.Verdict {
	v, conn := p.judge(st, now, d, pkt, c)
	if pkt.Fragment && !p.commitFirst(st, now, d, pkt, b, v) && v.Action == sg.Accept {
		conn.Mark, conn.Epoch = conntrack.Mark(v.Rule), st.gen.epoch // as known left them
		p.engine.uncount(conn, pkt)
		return p.drop(st, now, d, pkt, ir.Verdict{Reason: ir.ReasonFragment})
	}
	if v.Action == sg.Drop {
		return p.drop(st, now, d, pkt, v)
	}
	if conn.State == conntrack.New && !v.Stateless {
		return p.open(st, now, d, pkt, b, v, conntrack.New)
	}
	if v.Rule != 0 && (!conn.Tracked() || conn.State == conntrack.Related) {
		st.gen.book.add(st.gen.matcher.Program(), v.Rule, 0, 1, uint64(pkt.Length))
	}
	return v
}

// fresh is pass for a whole packet that may start a connection and is no ICMP
// redirect: the rules alone have the word.
func (p *Port) fresh(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte) ir.Verdict {
	return p.begin(st, now, d, pkt, b, st.match(d, FlowOf(pkt, d)), conntrack.New)
}

// begin is fresh, of which the rules say v.
func (p *Port) begin(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte, v ir.Verdict, said conntrack.State) ir.Verdict {
	switch {
	case v.Action == sg.Drop:
		return p.drop(st, now, d, pkt, v)
	case !v.Stateless:
		return p.open(st, now, d, pkt, b, v, said)
	case v.Rule != 0:
		st.gen.book.add(st.gen.matcher.Program(), v.Rule, 0, 1, uint64(pkt.Length))
	}
	return v
}

// judge decides a packet that has its headers. The Conn is New for a flow that
// is to be tracked, and not tracked for one that is not.
func (p *Port) judge(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, c conntrack.Conn) (ir.Verdict, conntrack.Conn) {
	if c.State == conntrack.Established || c.State == conntrack.Related {
		v, live := p.known(st, now, d, pkt, c)
		if live {
			return v, c
		}
		if c.State == conntrack.Established && c.Dir == conntrack.Original {
			return v, conntrack.Conn{}
		}
		// A reply or an error whose connection is no more stands on its own.
		c = p.engine.table.Track(now, st.zone, side(d), pkt)
	}
	v := st.match(d, FlowOf(pkt, d))
	if redirects(pkt) && p.engine.refuse.redirects && (c.State == conntrack.Invalid || v.Action == sg.Accept) {
		return ir.Verdict{Reason: ir.ReasonICMPRedirect}, c
	}
	if c.State == conntrack.New {
		return v, c
	}
	if redirects(pkt) { // it may stand alone
		return v, conntrack.Conn{}
	}
	// Invalid. Where only stateless rules allow it there is no state to fit.
	if v.Action == sg.Accept && v.Stateless && !impossible(pkt) {
		return v, conntrack.Conn{}
	}
	return ir.Verdict{Reason: ir.ReasonInvalidState}, c
}

// impossible reports a TCP segment whose flags no implementation sends.
func impossible(pkt *packet.Packet) bool {
	return sg.Protocol(pkt.Tuple.Proto) == sg.TCP && !conntrack.ValidFlags(pkt.Flags)
}

// known decides a packet of a tracked connection. It is judged again if the
// policy narrowed since, or if the packet opens the connection once more. live
// is false if the connection was forgotten.
func (p *Port) known(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, c conntrack.Conn) (v ir.Verdict, live bool) {
	v = ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished, Rule: ir.RuleNum(c.Mark)}
	if c.State == conntrack.Related {
		v.Reason = ir.ReasonRelated
	}
	again := opensAgain(c, pkt)
	if c.Epoch == st.gen.epoch && !again {
		return v, true
	}
	od, f := openingFlow(pkt, d, c)
	today := st.match(od, f)
	switch {
	case today.Action == sg.Accept && !today.Stateless:
		v.Rule = today.Rule
	case again && today.Action == sg.Drop && (st.gen.keep || c.Epoch == st.gen.epoch):
		return today, true // the old connection itself goes on, as if nothing had come
	case st.gen.keep:
		if st.newer(c) || c.Epoch < st.gen.book.since {
			v.Rule = 0 // the rule that opened it may have no number here
		}
	default:
		if !again { // else Track has not counted it
			p.engine.uncount(c, pkt)
		}
		if st.newer(c) {
			return today, true // not for this packet's policy to end
		}
		p.engine.table.Delete(now, c)
		return today, false
	}
	if again {
		if v = p.reopen(st, now, d, pkt, &c, v); v.Action == sg.Drop {
			return v, true
		}
	}
	if c.Epoch != st.gen.epoch || ir.RuleNum(c.Mark) != v.Rule {
		p.remark(st, c, v.Rule, pkt)
	}
	return v, true
}

// reopen moves c, the connection of pkt, on, which asks to open it once more and
// may: v says why. If the connection has ended meanwhile, c is a new one.
func (p *Port) reopen(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, c *conntrack.Conn, v ir.Verdict) ir.Verdict {
	err := p.engine.table.CommitTo(now, st.zone, side(d), pkt, conntrack.Mark(v.Rule), st.gen.epoch, c)
	switch {
	case err != nil:
		return ir.Verdict{Reason: ir.ReasonTableFull}
	case c.State == conntrack.Invalid:
		return ir.Verdict{Reason: ir.ReasonInvalidState}
	case c.State == conntrack.New:
		if v.Reason = ir.ReasonRule; v.Rule != 0 {
			st.gen.book.add(st.gen.matcher.Program(), v.Rule, 1, 0, 0)
		}
		p.event(st, FlowOpened, now, d, pkt, v)
	}
	return v
}

// opensAgain reports whether a packet of a tracked connection asks to open it
// once more (TCP-25).
func opensAgain(c conntrack.Conn, pkt *packet.Packet) bool {
	return c.State == conntrack.Established && c.Dir == conntrack.Original && opensConnection(pkt)
}

// newer reports whether a connection was judged by a later policy than that of
// st, which was replaced while the packet was on its way.
func (st *portState) newer(c conntrack.Conn) bool { return int32(c.Epoch-st.gen.epoch) > 0 }

// remark records the rule that a connection stands on, from the packet pkt on.
func (p *Port) remark(st *portState, c conntrack.Conn, rule ir.RuleNum, pkt *packet.Packet) {
	if st.newer(c) {
		return
	}
	prev, ok := p.engine.table.Remark(c, conntrack.Mark(rule), st.gen.epoch)
	if !ok {
		return
	}
	packets, bytes := prev.Total()
	if c.State == conntrack.Established {
		packets, bytes = packets-1, bytes-uint64(pkt.Length)
	}
	p.engine.rebook(&prev, st.gen, rule, packets, bytes)
}

// open tracks the flow that an accepted packet starts.
func (p *Port) open(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, b []byte, v ir.Verdict, said conntrack.State) ir.Verdict {
	c := conntrack.Conn{State: said}
	err := p.engine.table.CommitTo(now, st.zone, side(d), pkt, conntrack.Mark(v.Rule), st.gen.epoch, &c)
	if err != nil {
		if pkt.Fragment { // the rest must not pass either
			p.engine.table.CommitFragment(now, st.frags, side(d), pkt, b, false, 0)
		}
		return p.drop(st, now, d, pkt, ir.Verdict{Reason: ir.ReasonTableFull})
	}
	prog := st.gen.matcher.Program()
	switch {
	case !c.Tracked():
		if v.Rule != 0 {
			st.gen.book.add(prog, v.Rule, 0, 1, uint64(pkt.Length))
		}
	case c.State == conntrack.New:
		if v.Rule != 0 {
			st.gen.book.add(prog, v.Rule, 1, 0, 0)
		}
		p.event(st, FlowOpened, now, d, pkt, v)
	}
	return v
}

// drop counts and reports a refused packet.
func (p *Port) drop(st *portState, now conntrack.Time, d sg.Direction, pkt *packet.Packet, v ir.Verdict) ir.Verdict {
	p.drops[v.Reason].Add(1)
	if v.Rule != 0 {
		st.gen.book.add(st.gen.matcher.Program(), v.Rule, 0, 1, uint64(pkt.Length))
	}
	if p.engine.opts.OnEvent != nil {
		p.event(st, FlowDenied, now, d, pkt, v)
	}
	return v
}
