package conntrack

import (
	"testing"
	"time"

	"example.com/secgroup/conntrack/packet"
	"pgregory.net/rapid"
)

// harness runs operations on a table and on its model and compares them.
type harness struct {
	rt    *rapid.T
	t     *Table
	m     *model
	now   Time
	back  bool // the clock may step back
	whole bool // one shard: the victim of an eviction is the worst of all
	held  []held
	stats Stats                                         // of packets: what the table should have counted
	allow func(k modelKey, e *modelEntry, why End) bool // what may leave besides the expired
}

type held struct {
	conn Conn
	key  modelKey
	gen  int
}

func newHarness(rt *rapid.T) *harness {
	o := Options{
		MaxEntries: rapid.SampledFrom([]int{3, 8, 16, 1000}).Draw(rt, "max"),
		MaxPerZone: rapid.SampledFrom([]int{0, 2, 5}).Draw(rt, "perZone"),
		Shards:     rapid.SampledFrom([]int{1, 4}).Draw(rt, "shards"),
		Shares:     rapid.SampledFrom([]Shares{{}, {100, 100, 100, 100}, {20, 40, 60, 80}}).Draw(rt, "shares"),
		TCPLoose:   rapid.Bool().Draw(rt, "loose"),
		TCPLiberal: rapid.IntRange(0, 3).Draw(rt, "liberal") == 0,
	}
	h := &harness{rt: rt, m: newModel(o), back: o.Shards == 1, whole: o.Shards == 1}
	o.OnEnd = h.onEnd
	h.t = NewTable(o)
	return h
}

// onEnd takes an entry out of the model, once it is sure that it may go.
func (h *harness) onEnd(got *Entry, why End) {
	h.m.ended++
	for k, e := range h.m.m {
		if h.m.export(k, e) != *got {
			continue
		}
		expired := h.m.clock >= e.expires
		closed := e.status() == StatusTimeWait || e.status() == StatusClose
		switch {
		case why == EndExpired && expired && !closed, why == EndClosed && expired && closed:
		case !expired && h.allow != nil && h.allow(k, e, why):
		default:
			h.rt.Fatalf("%+v left as %v", *got, why)
		}
		delete(h.m.m, k)
		return
	}
	h.rt.Fatalf("%+v left as %v, but the model has it not", *got, why)
}

var universe = struct{ protos, flags []uint8 }{
	protos: []uint8{6, 6, 6, 17, 17, 47, 132, 1, 58},
	flags: []uint8{
		packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.ACK | packet.PSH, packet.FIN | packet.ACK,
		packet.RST, packet.RST | packet.ACK, packet.SYN | packet.URG | packet.ECE,
	},
}

// packet draws a packet of a small universe, so that packets meet.
func (h *harness) packet(z Zone, from Side) *packet.Packet {
	rt := h.rt
	p := &packet.Packet{Length: uint32(rapid.IntRange(20, 100).Draw(rt, "length"))}
	p.Tuple = h.tuple(from)
	types := []uint8{0, 3, 5, 8, 9, 13, 14}
	if p.Tuple.Family == 6 {
		types = []uint8{1, 128, 129, 135}
	}
	switch p.Tuple.Proto {
	case 6:
		if p.Flags = rapid.SampledFrom(universe.flags).Draw(rt, "flags"); rapid.IntRange(0, 9).Draw(rt, "odd") == 9 {
			p.Flags = rapid.Uint8().Draw(rt, "any")
		}
		h.numbers(z, from, p)
	case 1, 58:
		p.ICMPType = rapid.SampledFrom(types).Draw(rt, "type")
		p.ICMPCode = rapid.Uint8Range(0, 1).Draw(rt, "code")
		if _, what := h.m.key(0, from, p.Tuple, p.ICMPType, 0); what == "error" && rapid.IntRange(0, 4).Draw(rt, "quote") > 0 {
			p.Inner.Tuple = h.tuple(from.other())
			p.Inner.ICMPType = rapid.SampledFrom(types).Draw(rt, "innerType")
			p.Inner.ICMPCode = rapid.Uint8Range(0, 1).Draw(rt, "innerCode")
			k, _ := h.m.key(z, from.other(), p.Inner.Tuple, p.Inner.ICMPType, p.Inner.ICMPCode)
			if e := h.m.m[k]; e != nil && e.tcp != nil {
				sent := e.tcp.end[from.other()^e.opener]
				off := rapid.SampledFrom([]int64{0, 0, 0, -1, 1, -1001, -1002, -65536, -65537, -70000, 1 << 30}).Draw(rt, "quoted")
				p.Inner.Seq = uint32(sent.said + off)
			}
		}
	}
	return p
}

// numbers draws the numbers and options of a segment, most of them near those
// that its connection has come to.
func (h *harness) numbers(z Zone, from Side, p *packet.Packet) {
	rt := h.rt
	k, _ := h.m.key(z, from, p.Tuple, 0, 0)
	edges := []uint32{0, 1, 1 << 30, 1<<32 - 5}
	p.Seq, p.Ack = rapid.SampledFrom(edges).Draw(rt, "seq"), rapid.SampledFrom(edges).Draw(rt, "ack")
	if e := h.m.m[k]; e != nil && e.tcp != nil {
		d := Original
		if from != e.opener {
			d = Reply
		}
		off := rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, -1, 1, -10, 10, 1000, -70000, 70000, -1 << 29, 1 << 29})
		p.Seq = uint32(e.tcp.end[d].said + off.Draw(rt, "seq off"))
		p.Ack = uint32(e.tcp.end[1-d].said + off.Draw(rt, "ack off"))
		if p.Flags&packet.RST != 0 && rapid.Bool().Draw(rt, "exact") {
			p.Seq = uint32(e.tcp.end[1-d].acked)
		}
	}
	p.SACK = p.Ack + rapid.SampledFrom([]uint32{0, 0, 0, 10, 2000}).Draw(rt, "sack")
	p.Window = rapid.SampledFrom([]uint16{0, 1, 1000, 65535}).Draw(rt, "window")
	p.Data = rapid.SampledFrom([]uint32{0, 0, 0, 1, 1000}).Draw(rt, "data")
	if p.Flags&packet.SYN != 0 && rapid.Bool().Draw(rt, "options") {
		p.HasScale, p.SACKPermitted = rapid.Bool().Draw(rt, "scales"), rapid.Bool().Draw(rt, "permits")
		if p.HasScale {
			p.Scale = rapid.SampledFrom([]uint8{0, 1, 7, 14}).Draw(rt, "shift")
		}
	}
}

func (h *harness) tuple(from Side) Tuple {
	rt := h.rt
	t := Tuple{Family: 4, Proto: rapid.SampledFrom(universe.protos).Draw(rt, "proto")}
	if t.Proto == 58 || rapid.IntRange(0, 9).Draw(rt, "six") == 9 {
		t.Family = 6
	}
	t.Src[15] = rapid.Uint8Range(1, 2).Draw(rt, "remote")
	t.Dst[15] = 3
	switch t.Proto {
	case 6, 17, 132:
		t.SrcPort, t.DstPort = rapid.Uint16Range(1, 2).Draw(rt, "rport"), 80
	case 1, 58:
		t.SrcPort = rapid.Uint16Range(1, 2).Draw(rt, "id")
		t.DstPort = t.SrcPort
	}
	if from == Local {
		t.Src, t.Dst, t.SrcPort, t.DstPort = t.Dst, t.Src, t.DstPort, t.SrcPort
	}
	return t
}

func (h *harness) zone() Zone { return Zone(rapid.IntRange(0, 1).Draw(h.rt, "zone")) }
func (h *harness) side() Side { return Side(rapid.IntRange(0, 1).Draw(h.rt, "side")) }

// same compares what the packet got, entry numbers aside.
func (h *harness) same(op string, got Conn, want result) {
	tracked := got.Tracked()
	got.ref = ref{}
	if got != want.conn || tracked != (want.touched != nil) {
		h.rt.Fatalf("%s: got %+v tracked=%v, want %+v", op, got, tracked, want.conn)
	}
}

func (h *harness) hold(c Conn, e *modelEntry) {
	for k, o := range h.m.m {
		if o == e {
			h.held = append(h.held, held{c, k, e.generation})
		}
	}
}

func (h *harness) track() {
	z, from := h.zone(), h.side()
	h.trackPacket(z, from, h.packet(z, from))
}

func (h *harness) trackPacket(z Zone, from Side, p *packet.Packet) result {
	// The model first: onEnd compares with what it says.
	want := h.m.track(h.now, z, from, p, false)
	got := h.t.Track(h.now, z, from, p)
	h.same("Track", got, want)
	if want.touched != nil {
		h.hold(got, want.touched)
	}
	h.count(want, got.State == Established && got.Dir == Original && opens(p))
	return want
}

// count counts a packet: one that is held back, for the rules to judge, is none.
func (h *harness) count(r result, held bool) {
	switch {
	case r.conn.State == Invalid:
		h.stats.Invalid++
	case (r.touched != nil || r.reopens != nil) && !held:
		h.stats.Found++
	}
}

// flow lets a connection run for a while, which random packets rarely do.
func (h *harness) flow() {
	z, from := h.zone(), h.side()
	t := h.tuple(from)
	rev := reverse(t)
	next := [2]uint32{rapid.SampledFrom([]uint32{1, 1<<32 - 2}).Draw(h.rt, "isn"), 1 << 30}
	scale := rapid.SampledFrom([]uint8{0, 7}).Draw(h.rt, "scale")
	steps := []uint8{packet.SYN, packet.SYN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.ACK, packet.FIN | packet.ACK, packet.ACK}
	sides := []Side{0, 1, 0, 0, 1, 1, 0}
	for i := range rapid.IntRange(2, len(steps)).Draw(h.rt, "steps") {
		d := sides[i]
		p := &packet.Packet{Tuple: t, Length: 40, ICMPType: 8}
		if t.Proto == packet.ProtoTCP {
			p.Flags, p.Seq, p.Ack, p.SACK, p.Window = steps[i], next[d], next[1-d], next[1-d], 1000
			if p.Flags&packet.SYN != 0 {
				p.HasScale, p.Scale, p.SACKPermitted = true, scale, true
			}
			next[d] = endOf(p)
		}
		if sides[i] == 1 {
			p.Tuple, p.ICMPType = rev, 0
		}
		s := from ^ sides[i]
		if c := h.trackPacket(z, s, p).conn; c.State == New || c.State == Established && c.Dir == Original && opens(p) {
			h.commitPacket(z, s, p)
		}
	}
}

func (h *harness) commit() {
	z, from := h.zone(), h.side()
	h.commitPacket(z, from, h.packet(z, from))
}

func (h *harness) commitPacket(z Zone, from Side, p *packet.Packet) {
	mark, epoch := Mark(rapid.Uint32().Draw(h.rt, "mark")), rapid.Uint32().Draw(h.rt, "epoch")
	want := h.m.track(h.now, z, from, p, true)
	k, what := h.m.key(z, from, p.Tuple, p.ICMPType, p.ICMPCode)
	creates := want.conn.State == New && what == "open"

	// What may be evicted, and why the commit may fail: the narrowest limit makes
	// room among its own, so of several there is more than one answer.
	class, most := h.m.share(k.proto)
	inZone, inClass, total := 0, 0, 0
	for o := range h.m.m {
		if o == k { // expired, so the lookup frees it, or replaced
			continue
		}
		total++
		if o.zone == z {
			inZone++
		}
		if c, _ := h.m.share(o.proto); c == class {
			inClass++
		}
	}
	fullTable, fullClass, fullZone := total >= h.m.max, inClass >= most, inZone >= h.m.zone
	limits := 0
	for _, full := range []bool{fullTable, fullClass, fullZone} {
		if full {
			limits++
		}
	}
	mayGo := func(o modelKey) bool {
		c, _ := h.m.share(o.proto)
		return fullZone && o.zone == z || fullClass && c == class || fullTable && !fullZone && !fullClass
	}
	best := 0
	for o, e := range h.m.m {
		if o != k && mayGo(o) {
			best = max(best, h.m.rank(e))
		}
	}
	full := creates && want.reopens == nil && limits > 0
	h.allow = func(o modelKey, e *modelEntry, why End) bool {
		if why == EndReplaced {
			return creates && e == want.reopens
		}
		rank := h.m.rank(e)
		return full && why == EndEvicted && rank > 0 && mayGo(o) && (!h.whole || rank == best || limits > 1)
	}
	got, err := h.t.Commit(h.now, z, from, p, mark, epoch)
	h.allow = nil
	if err != nil {
		if err != ErrFull || !full || best != 0 && limits < 2 || got != (Conn{}) {
			h.rt.Fatalf("Commit: %v, %+v; full=%v best=%d", err, got, full, best)
		}
		h.stats.Drop++
		return
	}
	opener := got.Dir == Original && opens(p)
	h.count(want, opener && what != "open")
	if want.conn.State == Established && what == "open" && !opener {
		h.stats.InsertFailed++
	}
	if creates {
		if full && best == 0 {
			h.rt.Fatalf("Commit went past the limit")
		}
		e := h.m.insert(z, from, p, mark, epoch)
		want = result{conn: e.conn(New, from), touched: e}
	}
	h.same("Commit", got, want)
	if want.touched != nil {
		h.hold(got, want.touched)
	}
}

// pick returns a Conn of earlier, and the entry if it is still there.
func (h *harness) pick() (held, *modelEntry) {
	if len(h.held) == 0 {
		return held{}, nil // the zero Conn names nothing
	}
	c := h.held[rapid.IntRange(0, len(h.held)-1).Draw(h.rt, "held")]
	if e := h.m.m[c.key]; e != nil && e.generation == c.gen {
		return c, e
	}
	return c, nil
}

func (h *harness) remark() {
	c, e := h.pick()
	mark := Mark(rapid.Uint32().Draw(h.rt, "mark"))
	prev, ok := h.t.Remark(c.conn, mark, 7)
	if ok != (e != nil) {
		h.rt.Fatalf("Remark: %v", ok)
	}
	if ok {
		if want := h.m.export(c.key, e); prev != want {
			h.rt.Fatalf("Remark: %+v, want %+v", prev, want)
		}
		e.mark, e.epoch = mark, 7
	}
}

func (h *harness) delete() {
	c, e := h.pick()
	h.m.tick(h.now)
	live := h.m.live(c.key)
	h.allow = func(_ modelKey, o *modelEntry, why End) bool { return o == e && why == EndDeleted }
	if got := h.t.Delete(h.now, c.conn); got != (e != nil && live == e) {
		h.rt.Fatalf("Delete: %v", got)
	}
	h.allow = nil
}

func (h *harness) deleteTuple() {
	z, t := h.zone(), h.tuple(h.side())
	h.m.tick(h.now)
	rev := reverse(t)
	matches := func(k modelKey, e *modelEntry) bool { return k.zone == z && (e.orig == t || e.orig == rev) }
	h.removeAll(matches, EndDeleted, func() int { return h.t.DeleteTuple(h.now, z, t) })
}

func (h *harness) flush() {
	z := h.zone()
	h.m.tick(h.now)
	h.removeAll(func(k modelKey, _ *modelEntry) bool { return k.zone == z }, EndFlushed, func() int { return h.t.Flush(h.now, z) })
}

// removeAll runs f, which must remove the live entries that match and say how
// many they were.
func (h *harness) removeAll(match func(modelKey, *modelEntry) bool, why End, f func() int) {
	want := 0
	for k, e := range h.m.m {
		if match(k, e) && h.m.live(k) != nil {
			want++
		}
	}
	h.allow = func(k modelKey, e *modelEntry, w End) bool { return w == why && match(k, e) }
	if got := f(); got != want {
		h.rt.Fatalf("%v: %d, want %d", why, got, want)
	}
	h.allow = nil
	for k, e := range h.m.m {
		if match(k, e) && h.m.live(k) != nil {
			h.rt.Fatalf("%v: %+v stayed", why, k)
		}
	}
}

func (h *harness) update() {
	h.m.tick(h.now)
	bit := Mark(rapid.Uint32Range(0, 3).Draw(h.rt, "bit"))
	cut := func(_ modelKey, e *modelEntry) bool { return e.mark&3 == bit }
	seen := map[Entry]bool{}
	h.removeAll(cut, EndCut, func() int {
		return h.t.Update(h.now, func(e *Entry) (Mark, uint32, bool) {
			if seen[*e] {
				h.rt.Fatalf("Update visits %+v again", *e)
			}
			seen[*e] = true
			return e.Mark + 4, e.Epoch, e.Mark&3 != bit
		})
	})
	for _, e := range h.m.m {
		e.mark += 4
	}
}

func (h *harness) sweep() {
	h.m.tick(h.now)
	n := rapid.SampledFrom([]int{0, 1, 3, 1 << 20}).Draw(h.rt, "slots")
	before := h.m.ended
	if got := h.t.Sweep(h.now, n); got != h.m.ended-before || got > n {
		h.rt.Fatalf("Sweep: %d freed, %d ended", got, h.m.ended-before)
	}
	for k, e := range h.m.m {
		if n == 1<<20 && h.m.clock >= e.expires {
			h.rt.Fatalf("Sweep left %+v", k)
		}
	}
}

func (h *harness) time() {
	d := time.Duration(rapid.SampledFrom([]int{1, 5, 11, 31, 61, 121, 301, 601}).Draw(h.rt, "seconds")) * time.Second
	if h.back && rapid.IntRange(0, 3).Draw(h.rt, "back") == 0 {
		d = -d
	}
	h.now += Time(d)
}

// check compares the whole of both.
func (h *harness) check(rt *rapid.T) {
	h.m.tick(h.now)
	got := map[Entry]bool{}
	for e := range h.t.All(h.now) {
		got[e] = true
	}
	live := 0
	for k, e := range h.m.m {
		if h.m.live(k) == nil {
			continue
		}
		live++
		if !got[h.m.export(k, e)] {
			rt.Fatalf("missing %+v\nhave %+v", h.m.export(k, e), got)
		}
	}
	s := h.t.Stats()
	switch {
	case live != len(got):
		rt.Fatalf("%d live entries, want %d", len(got), live)
	case h.t.Len() != len(h.m.m):
		rt.Fatalf("Len %d, want %d", h.t.Len(), len(h.m.m))
	case s.Insert != uint64(h.m.inserted), s.Expired+s.EarlyDrop+s.Delete != uint64(h.m.ended):
		rt.Fatalf("%+v, want %d inserted, %d ended", s, h.m.inserted, h.m.ended)
	case s.Found != h.stats.Found, s.Invalid != h.stats.Invalid, s.InsertFailed != h.stats.InsertFailed, s.Drop != h.stats.Drop:
		rt.Fatalf("%+v, want %+v", s, h.stats)
	case h.t.Len() > h.m.max:
		rt.Fatalf("%d entries, limit %d", h.t.Len(), h.m.max)
	}
	zones, shares := map[Zone]int{}, map[string]int{}
	for k := range h.m.m {
		if zones[k.zone]++; zones[k.zone] > h.m.zone {
			rt.Fatalf("zone %d above its limit", k.zone)
		}
		class, most := h.m.share(k.proto)
		if shares[class]++; shares[class] > most {
			rt.Fatalf("%s above its share", class)
		}
	}
}

func propertySequence(rt *rapid.T) {
	h := newHarness(rt)
	action := func(f func()) func(*rapid.T) {
		return func(t *rapid.T) { h.rt = t; f() }
	}
	rt.Repeat(map[string]func(*rapid.T){
		"track": action(h.track), "track2": action(h.track), "commit": action(h.commit), "commit2": action(h.commit),
		"flow": action(h.flow), "remark": action(h.remark), "delete": action(h.delete), "deleteTuple": action(h.deleteTuple),
		"flush": action(h.flush), "update": action(h.update), "sweep": action(h.sweep), "time": action(h.time),
		"": h.check,
	})
	audit(rt, h.t)
}

// TestSequence compares the table with the model over random sequences.
func TestSequence(t *testing.T) {
	for range 10 { // of a short run's 20 cases or a long one's 100
		rapid.Check(t, propertySequence)
	}
}

// FuzzSequence is TestSequence, driven by the fuzzer's bytes.
func FuzzSequence(f *testing.F) { f.Fuzz(rapid.MakeFuzz(propertySequence)) }
