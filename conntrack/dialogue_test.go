package conntrack

import (
	"testing"

	"pgregory.net/rapid"

	"example.com/secgroup/conntrack/packet"
)

// dialogue is one connection of TCP, and what its two ends may say next. Its
// numbers lie on the edges of what the model makes of them, and beside them,
// where a random walk hardly ever comes.
type dialogue struct {
	*harness
	client Tuple // as the client sends
	side   Side  // of the client
	isn    [2]uint32
}

func newDialogue(rt *rapid.T) *dialogue {
	o := Options{
		MaxEntries: 8, Shards: 1,
		TCPLoose:   rapid.IntRange(0, 3).Draw(rt, "loose") == 0,
		TCPLiberal: rapid.IntRange(0, 5).Draw(rt, "liberal") == 0,
	}
	h := &harness{rt: rt, m: newModel(o), back: true, whole: true}
	o.OnEnd = h.onEnd
	h.t = NewTable(o)
	d := &dialogue{harness: h, side: h.side(), client: tuple(packet.ProtoTCP, inside+":4000", outside+":80")}
	if d.side == Remote {
		d.client = tuple(packet.ProtoTCP, outside+":4000", inside+":80")
	}
	isn := rapid.SampledFrom([]uint32{1, 1 << 20, 1 << 29, 1<<32 - 2, 1<<32 - 70_000})
	d.isn = [2]uint32{isn.Draw(rt, "client's first number"), isn.Draw(rt, "server's first number")}
	return d
}

// entry returns the connection in the model, or nil.
func (d *dialogue) entry() *modelEntry {
	k, _ := d.m.key(0, d.side, d.client, 0, 0)
	return d.m.m[k]
}

// natural returns the flags that the end which sends in direction dir would most
// likely send.
func natural(st Status, dir Dir) uint8 {
	switch {
	case st == StatusSynSent && dir == Original, st.closed() && dir == Original:
		return packet.SYN
	case st == StatusSynSent:
		return packet.SYN | packet.ACK
	}
	return packet.ACK
}

// number draws one of the numbers that matter, or one beside it; half of them
// are the first.
func (d *dialogue) number(name string, edges ...uint32) uint32 {
	if rapid.Bool().Draw(d.rt, name+" plain") {
		return edges[0]
	}
	n := rapid.SampledFrom(edges).Draw(d.rt, name)
	return n + rapid.SampledFrom([]uint32{0, 0, 1, 1<<32 - 1}).Draw(d.rt, name+" off")
}

// segment draws what the end in direction dir of the connection says next.
func (d *dialogue) segment(e *modelEntry, dir Dir) *packet.Packet {
	rt, h := d.rt, e.tcp
	me, it, last := h.end[dir], h.end[1-dir], h.last
	p := &packet.Packet{Tuple: d.client}
	if (dir == Original) != (e.opener == d.side) {
		p.Tuple = reverse(d.client)
	}
	p.Flags = natural(e.status(), dir)
	if rapid.IntRange(0, 2).Draw(rt, "turn") == 0 {
		p.Flags = rapid.SampledFrom(universe.flags).Draw(rt, "flags")
	}
	u := func(n int64) uint32 { return uint32(n) }
	first := u(me.said)
	if !me.opened {
		first = d.isn[dir]
	}
	p.Seq = d.number("seq", first, u(me.said), u(me.may), u(me.said-it.window), u(it.acked), last.rawEnd, last.rawSeq, last.rawAck, u(me.said-1-me.synLen), 0)
	p.Ack = d.number("ack", u(it.said), u(it.said-66000), u(it.said-me.window), u(me.acked), last.rawEnd, last.rawAck, u(it.said-it.synLen), u(it.said-1), 0)
	p.SACK = p.Ack
	switch rapid.IntRange(0, 5).Draw(rt, "sack") {
	case 0:
		if n := u(it.said) - p.Ack; n < 1<<16 {
			p.SACK += n
		}
	case 1:
		p.SACK += rapid.SampledFrom([]uint32{1, 10, 3000}).Draw(rt, "sacked")
	}
	p.Window = rapid.SampledFrom([]uint16{0, 1, 2, 1000, 1000, 65535}).Draw(rt, "window")
	switch rapid.IntRange(0, 5).Draw(rt, "data") {
	case 0:
		p.Data = rapid.SampledFrom([]uint32{1, 2, 1000, 65000}).Draw(rt, "bytes")
	case 1: // up to an edge
		edge := rapid.SampledFrom([]int64{me.may, me.may + it.window, me.said, me.said - it.window}).Draw(rt, "edge")
		if n := uint32(edge) - p.Seq + rapid.SampledFrom([]uint32{0, 1, 1<<32 - 1}).Draw(rt, "edge off"); n < 1<<16 {
			p.Data = n
		}
	}
	if p.Flags&packet.SYN != 0 && rapid.Bool().Draw(rt, "options") {
		p.HasScale, p.SACKPermitted = rapid.Bool().Draw(rt, "scales"), rapid.Bool().Draw(rt, "permits")
		if p.HasScale {
			p.Scale = rapid.SampledFrom([]uint8{0, 1, 7, 14}).Draw(rt, "shift")
		}
	}
	p.Length = 40 + p.Data
	return p
}

// say lets one end say something.
func (d *dialogue) say() {
	e := d.entry()
	if e == nil {
		p := seg(inside+":1", outside+":1", "S", d.isn[0], 0, rapid.SampledFrom([]uint32{0, 0, 1, 500}).Draw(d.rt, "fast open"), rapid.SampledFrom([]uint16{0, 1, 1000}).Draw(d.rt, "window"))
		p.Tuple = d.client
		p.HasScale, p.SACKPermitted = rapid.Bool().Draw(d.rt, "scales"), rapid.Bool().Draw(d.rt, "permits")
		if p.HasScale { // else Decode leaves it 0
			p.Scale = 7
		}
		if d.m.loose && rapid.Bool().Draw(d.rt, "middle") {
			p.Flags, p.HasScale, p.Scale, p.SACKPermitted = packet.ACK, false, 0, false
			p.Ack = d.isn[1]
			p.SACK = p.Ack
		}
		d.commitPacket(0, d.side, p)
		return
	}
	dir := Dir(rapid.IntRange(0, 1).Draw(d.rt, "dir"))
	from := e.opener
	if dir == Reply {
		from = from.other()
	}
	p := d.segment(e, dir)
	c := d.trackPacket(0, from, p).conn
	if (c.State == New || c.State == Established && c.Dir == Original && opens(p)) && rapid.IntRange(0, 3).Draw(d.rt, "allowed") != 0 {
		d.commitPacket(0, from, p)
	}
}

// quote lets somebody on the way say that a segment did not arrive.
func (d *dialogue) quote() {
	e := d.entry()
	if e == nil {
		return
	}
	dir := Dir(rapid.IntRange(0, 1).Draw(d.rt, "dir"))
	me, it := e.tcp.end[dir], e.tcp.end[1-dir]
	edges := []int64{me.said, it.acked - max(it.window, 1), me.said - 1 - me.synLen - max(it.window, 1), me.said - 65536 - max(it.window, 1), int64(e.tcp.last.rawEnd)}
	q := &packet.Packet{Tuple: e.orig}
	from := e.opener
	if dir == Reply {
		q.Tuple, from = reverse(e.orig), from.other()
	}
	q.Seq = uint32(rapid.SampledFrom(edges).Draw(d.rt, "number") + rapid.Int64Range(-1, 1).Draw(d.rt, "off"))
	p := icmpError(stranger, inside, 3, q)
	p.Tuple.Dst = q.Tuple.Src
	d.trackPacket(0, from.other(), p)
}

// wait lets time pass, mostly up to where the connection expires, and beside it.
func (d *dialogue) wait() {
	step := rapid.SampledFrom([]Time{tick, 10 * second, 50 * second}).Draw(d.rt, "step")
	if e := d.entry(); e != nil && rapid.Bool().Draw(d.rt, "to its end") {
		// The model knows no ticks, so times are whole ones.
		step = e.expires - d.m.clock - rapid.SampledFrom([]Time{0, tick, 2 * tick}).Draw(d.rt, "early")
	}
	d.now += max(step, 0)
}

// TestDialogue compares a connection of TCP with the model, segment by segment,
// with numbers on the edges of its windows.
func TestDialogue(t *testing.T) {
	for range 60 { // of a short run's 20 cases or a long one's 100
		rapid.Check(t, func(rt *rapid.T) {
			d := newDialogue(rt)
			action := func(f func()) func(*rapid.T) {
				return func(t *rapid.T) { d.rt = t; f() }
			}
			rt.Repeat(map[string]func(*rapid.T){
				"say": action(d.say), "say2": action(d.say), "say3": action(d.say), "say4": action(d.say), "say5": action(d.say), "say6": action(d.say),
				"quote": action(d.quote), "wait": action(d.wait), "sweep": action(d.sweep),
				"": d.check,
			})
		})
	}
}
