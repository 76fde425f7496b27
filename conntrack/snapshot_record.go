package conntrack

import (
	"encoding/binary"
	"math"

	"example.com/secgroup/conntrack/packet"
)

// record is a connection as it stands in a snapshot: all that an entry holds,
// with times relative to the moment of the snapshot.
type record struct {
	key            key
	status         Status
	flags          entryFlags
	mark           Mark
	epoch          uint32
	packets, bytes [2]uint64
	age, idle      uint32 // ticks since the first packet, and since the last
	left           uint32 // ticks to the deadline if that is not by idle, else 0: see shard.expiry
	tcp            tcpConn
}

// Sizes of items in bytes.
const (
	zoneItem    = 1 + 4 + 2 // without the name
	plainRecord = 1 + 3 + 1 + 2 + 4 + 32 + 8 + 32 + 12
	tcpRecord   = plainRecord + 32 + 2 + 3 + 2 + 2 + 4 + 4
)

// maxAge is the most that a snapshot says of a connection's age, some two
// years: ticks must not come round.
const maxAge = 1 << 30

// read makes r out of e, whose lock is held, as is the shard's.
func (r *record) read(s *shard, e *entry, id, now uint32) {
	*r = record{key: e.key(s.locals.at(e.local)), status: e.status(), flags: e.flags, mark: e.mark, epoch: e.epoch}
	r.packets, r.bytes = s.counts(e, id)
	r.idle = since(now, e.seen)
	r.age = max(since(now, s.created(e, id)), r.idle)
	if e.packets[Original]&heldBit != 0 {
		r.left = min(since(s.deadline(id), now), maxTicks)
	}
	if id&numberTCP != 0 {
		s.atTCP(id).load(&r.tcp)
	}
}

// since returns the ticks from at to now, 0 if at is later: another packet has
// moved the clock.
func since(now, at uint32) uint32 {
	n := now - at
	if n > math.MaxUint32-maxAge {
		return 0
	}
	return min(n, maxAge)
}

func appendZone(b []byte, z Zone, name string) []byte {
	b = binary.BigEndian.AppendUint32(append(b, itemZone), uint32(z))
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

// cutZone reads a zone item at the start of b; n is its length, 0 if it is none.
func cutZone(b []byte) (z Zone, name []byte, n int) {
	if len(b) < zoneItem {
		return 0, nil, 0
	}
	size := int(binary.BigEndian.Uint16(b[5:]))
	if size > maxZoneName || len(b) < zoneItem+size {
		return 0, nil, 0
	}
	return Zone(binary.BigEndian.Uint32(b[1:])), b[zoneItem : zoneItem+size], zoneItem + size
}

// append adds r to b.
func (r *record) append(b []byte) []byte {
	be, k := binary.BigEndian, &r.key
	kind := uint8(itemPlain)
	if k.proto == packet.ProtoTCP {
		kind = itemTCP
	}
	b = append(b, kind, k.proto, k.family, uint8(r.status), uint8(r.flags), k.queryType(), k.code)
	b = be.AppendUint16(b, k.rport)
	b = be.AppendUint16(b, k.lport)
	b = append(b, k.remote[:]...)
	b = append(b, k.local[:]...)
	b = be.AppendUint32(b, uint32(r.mark))
	b = be.AppendUint32(b, r.epoch)
	for _, n := range [...]uint64{r.packets[0], r.packets[1], r.bytes[0], r.bytes[1]} {
		b = be.AppendUint64(b, n)
	}
	for _, n := range [...]uint32{r.age, r.idle, r.left} {
		b = be.AppendUint32(b, n)
	}
	if kind != itemTCP {
		return b
	}
	w := &r.tcp.window
	for _, o := range w.of {
		for _, n := range [...]uint32{o.end, o.maxEnd, o.maxWin, o.maxAck} {
			b = be.AppendUint32(b, n)
		}
	}
	b = append(b, uint8(w.opts[0]), uint8(w.opts[1]), uint8(w.lastSeg), uint8(w.lastDir), uint8(w.lastOpts))
	b = be.AppendUint16(b, w.synData)
	b = be.AppendUint16(b, w.lastWin)
	b = be.AppendUint32(b, w.lastEnd)
	return be.AppendUint32(b, w.lastAck)
}

// fields reads numbers off the front of a slice that is long enough.
type fields []byte

func (f *fields) take(n int) []byte {
	b := (*f)[:n]
	*f = (*f)[n:]
	return b
}
func (f *fields) u8() uint8   { return f.take(1)[0] }
func (f *fields) u16() uint16 { return binary.BigEndian.Uint16(f.take(2)) }
func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }

// parse reads the connection of zone z at the start of b and returns its length,
// 0 if there is none that a table could have had.
func (r *record) parse(z Zone, b []byte) int {
	size := plainRecord
	if b[0] == itemTCP {
		size = tcpRecord
	}
	if len(b) < size {
		return 0
	}
	*r = record{}
	f := fields(b[1:size])
	tuple := Tuple{Proto: f.u8(), Family: f.u8()}
	r.status, r.flags = Status(f.u8()), entryFlags(f.u8())
	typ, code := f.u8(), f.u8()
	tuple.SrcPort, tuple.DstPort = f.u16(), f.u16()
	tuple.Src, tuple.Dst = [16]byte(f.take(16)), [16]byte(f.take(16))
	opener := Side(r.flags & flagLocal)
	if opener == Local {
		tuple.Src, tuple.Dst, tuple.SrcPort, tuple.DstPort = tuple.Dst, tuple.Src, tuple.DstPort, tuple.SrcPort
	}
	if (tuple.Proto == packet.ProtoTCP) != (b[0] == itemTCP) ||
		r.key.set(z, opener, &tuple, typ, code) != classOpener || r.key.queryType() != typ || r.key.code != code {
		return 0
	}
	r.mark, r.epoch = Mark(f.u32()), f.u32()
	r.packets, r.bytes = [2]uint64{f.u64(), f.u64()}, [2]uint64{f.u64(), f.u64()}
	r.age, r.idle, r.left = f.u32(), f.u32(), f.u32()
	if r.packets[Original] == 0 || r.age > maxAge || r.idle > min(r.age, maxTicks) || r.left > maxTicks {
		return 0
	}
	if b[0] == itemTCP {
		if !r.parseTCP(&f) {
			return 0
		}
	} else if !r.plain() {
		return 0
	}
	return size
}

// plain checks what a connection of another protocol than TCP may be.
func (r *record) plain() bool {
	answered := StatusAssured
	if classOf(r.key.proto) == ClassICMP {
		answered = StatusReplied
	}
	want := flagSeenReply
	if answered == StatusAssured {
		want |= flagAssured
	}
	switch r.status {
	case StatusUnreplied:
		want = 0
	case answered:
	default:
		return false
	}
	return r.flags&^flagLocal == want && r.left == 0
}

// parseTCP reads the rest of a connection of TCP.
func (r *record) parseTCP(f *fields) bool {
	c := &r.tcp
	c.status, c.flags = r.status, r.flags
	for d := range c.of {
		c.of[d] = endpoint{f.u32(), f.u32(), f.u32(), f.u32()}
	}
	c.opts = [2]options{options(f.u8()), options(f.u8())}
	c.lastSeg, c.lastDir, c.lastOpts = segment(f.u8()), Dir(f.u8()), options(f.u8())
	c.synData, c.lastWin, c.lastEnd, c.lastAck = f.u16(), f.u16(), f.u32(), f.u32()
	if r.status < StatusSynSent || r.status > StatusClose || c.lastSeg > segRst || c.lastDir > Reply ||
		(c.opts[0]|c.opts[1])&optChallenge != 0 {
		return false
	}
	// In SYN_SENT the other end lends its place: see tcpEntry.store.
	if r.status == StatusSynSent {
		return c.of[Reply].end == 0 && c.of[Reply].maxAck == 0
	}
	return c.synData == 0 && c.lastAck == 0
}
