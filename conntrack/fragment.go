package conntrack

import (
	"encoding/binary"
	"sync"
	"time"

	"example.com/secgroup/conntrack/packet"
)

// FragVerdict is what becomes of a fragment. The zero value is FragUnknown.
// Only FragAccept lets the fragment pass.
type FragVerdict uint8

const (
	// FragUnknown: the first fragment was not seen, or there was no room to
	// remember it. The fragment must be dropped, or held until the first one
	// comes (FRAG-06).
	FragUnknown FragVerdict = iota
	FragAccept              // the first fragment was accepted
	FragDrop                // the first fragment was refused
	FragOverlap             // the datagram contradicts itself: this piece and all others must be dropped
)

// String returns the verdict in one lower-case word, for logs and metrics.
func (v FragVerdict) String() string {
	switch v {
	case FragAccept:
		return "accept"
	case FragDrop:
		return "drop"
	case FragOverlap:
		return "overlap"
	}
	return "unknown"
}

// CommitFragment records what the rules said about p, the first fragment of a
// datagram, so that the other fragments get the same verdict and mark from
// TrackFragment. It returns the verdict on p itself, which is not FragAccept
// where accept is false, and also where p contradicts what was accepted of the
// same datagram before, or where the cache has no room: then p must be dropped.
//
// b is the packet that p was decoded from. A second first fragment of a datagram
// that is not complete yet is a duplicate if it says and carries the same, byte
// for byte behind the IP header, and otherwise poisons the datagram: what is
// judged must be what is delivered (FRAG-05). Where b is nil, only what p knows
// of it is compared.
//
// A trailing fragment is passed to TrackFragment. A packet that is no fragment
// is not recorded.
func (t *Table) CommitFragment(now Time, z Zone, from Side, p *packet.Packet, b []byte, accept bool, m Mark) FragVerdict {
	switch {
	case p.Trailing():
		v, _ := t.TrackFragment(now, z, from, p)
		return v
	case !p.Fragment && accept:
		return FragAccept
	case !p.Fragment:
		return FragDrop
	}
	f := &t.frags
	k := fragKeyOf(z, from&1, p)
	print := f.print(p, b)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first(f.clock.at(now), &k, p, print, accept, m)
}

// ReserveFragment reports whether CommitFragment is going to take p, a first
// fragment, if the rules accept it; if not, p must be dropped whatever they say.
// It makes room for its datagram, of which other fragments stay FragUnknown until
// CommitFragment: ask it before p is tracked, since a packet that is dropped must
// not move its connection (SEM-10). b is as in CommitFragment.
//
// For a trailing fragment that is kept until the verdict it reports whether that
// fragment fits the datagram that was reserved, and puts it there.
func (t *Table) ReserveFragment(now Time, z Zone, from Side, p *packet.Packet, b []byte) bool {
	if !p.Fragment {
		return true
	}
	f := &t.frags
	k := fragKeyOf(z, from&1, p)
	if p.Trailing() {
		f.mu.Lock()
		defer f.mu.Unlock()
		d, _ := f.find(f.clock.at(now), &k)
		if d == nil {
			return false
		}
		v := d.place(p)
		return v == d.verdict && d.open()
	}
	print := f.print(p, b)
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.reserve(f.clock.at(now), &k, p, print)
	return d != nil && d.open()
}

// TrackFragment returns the verdict on p, a trailing fragment that side from
// sent, and the mark given to its first fragment; the mark is 0 unless the
// verdict is FragAccept.
//
// A fragment that overlaps one accepted before, reaches past the datagram's
// end, or moves that end poisons the datagram: all that is still to come of it
// is FragOverlap (RFC 5722, for IPv4 too). An exact duplicate does not.
func (t *Table) TrackFragment(now Time, z Zone, from Side, p *packet.Packet) (FragVerdict, Mark) {
	if !p.Trailing() {
		return FragUnknown, 0
	}
	f := &t.frags
	k := fragKeyOf(z, from&1, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	d, _ := f.find(f.clock.at(now), &k)
	if d == nil || d.verdict == FragUnknown {
		return FragUnknown, 0
	}
	v := d.place(p)
	if v != FragAccept {
		return v, 0
	}
	return v, d.mark
}

// trackTrailing is Track for a trailing fragment.
func (t *Table) trackTrailing(now Time, z Zone, from Side, p *packet.Packet) Conn {
	v, m := t.TrackFragment(now, z, from, p)
	if v != FragAccept {
		t.invalid.Add(1)
		return Conn{}
	}
	return Conn{State: Established, Opener: from & 1, Mark: m}
}

// fragments remembers the datagrams whose first fragment was judged. Its size
// is fixed, so a flood of fragments costs other traffic nothing (RES-03).
type fragments struct {
	mu      sync.Mutex
	secret  secret
	clock   clock
	timeout time.Duration
	perZone uint32
	zones   zoneCounts

	heads []uint32   // by bucket, the id of its first datagram; 0 is none
	slots []datagram // ids count from 1
	used  uint32     // ids given out so far
	free  uint32     // first id of the list of free slots
	hand  uint32     // where eviction looks next
	swept uint32     // where sweep looks next
}

func (f *fragments) init(o Options) {
	f.secret = newSecret()
	f.timeout = o.Timeouts.Fragment
	f.perZone = uint32(o.MaxFragmentsPerZone)
	f.zones.grow(powerOfTwo(2 * (o.MaxFragments + 1))) // one zone per datagram at most
	f.heads = make([]uint32, powerOfTwo(max(16, o.MaxFragments)))
	f.slots = make([]datagram, o.MaxFragments)
}

// fragKey names a datagram: by RFC 791 with the protocol, by RFC 8200 without,
// since IPv6 fragments of one datagram may differ in their next header field.
type fragKey struct {
	src, dst [16]byte
	zone     Zone
	id       uint32
	from     Side
	family   uint8
	proto    uint8 // 0 for IPv6
	_        uint8
}

func fragKeyOf(z Zone, from Side, p *packet.Packet) fragKey {
	k := fragKey{src: p.Tuple.Src, dst: p.Tuple.Dst, zone: z, id: p.FragID, from: from, family: p.Tuple.Family}
	if k.family == 4 {
		k.proto = p.Tuple.Proto
	}
	return k
}

// maxSpans is how many fragments a datagram may have: enough for 65,535 bytes
// over an MTU of 576. More poison it.
const maxSpans = 128

// datagram is what is remembered of one fragmented datagram. It holds no
// pointer.
type datagram struct {
	fragKey
	bucket, next uint32
	print        uint64 // of the first fragment
	expiresAt    Time   // on the cache's own scale
	mark         Mark
	covered      uint32      // bytes accepted
	end          uint32      // length of the whole; 0 until its last fragment is seen
	verdict      FragVerdict // FragUnknown until CommitFragment
	live         bool
	n            uint8 // spans in use
	spans        [maxSpans]span
}

// span is the part of a datagram that one accepted fragment carries, in bytes.
type span struct{ from, to uint16 }

func (d *datagram) complete() bool { return d.end != 0 && d.covered == d.end }

// open reports whether fragments of d may still be accepted.
func (d *datagram) open() bool { return d.verdict == FragAccept || d.verdict == FragUnknown }

// place checks p against what was accepted of d and returns its verdict.
func (d *datagram) place(p *packet.Packet) FragVerdict {
	if !d.open() {
		return d.verdict
	}
	from := uint32(p.FragOffset) * 8
	to := from + uint32(p.FragSize)
	if p.FragSize == 0 || to > 0xffff { // the decoder refuses these
		return FragDrop
	}
	s := span{uint16(from), uint16(to)}
	if !d.fits(s, p.MoreFrags) {
		d.verdict = FragOverlap
		return FragOverlap
	}
	if !p.MoreFrags {
		d.end = to
	}
	for _, o := range d.spans[:d.n] {
		if o == s {
			return d.verdict // duplicate
		}
	}
	if d.n == maxSpans {
		d.verdict = FragOverlap
		return FragOverlap
	}
	d.spans[d.n] = s
	d.n++
	d.covered += to - from
	return d.verdict
}

// fits reports whether s agrees with the accepted fragments: it overlaps none
// unless it equals it, and the datagram has one end (FRAG-03, FRAG-08).
func (d *datagram) fits(s span, more bool) bool {
	end := uint32(s.to)
	if d.end != 0 && (end > d.end || (end == d.end) == more) {
		// Past the end, at the end but not the last, or another last.
		return false
	}
	for _, o := range d.spans[:d.n] {
		if o != s && s.from < o.to && o.from < s.to {
			return false
		}
		if !more && d.end == 0 && o.to >= s.to {
			return false // that one said there was more to come
		}
	}
	return true
}

// first judges a first fragment.
func (f *fragments) first(now Time, k *fragKey, p *packet.Packet, print uint64, accept bool, m Mark) FragVerdict {
	d := f.reserve(now, k, p, print)
	switch {
	case d == nil && accept:
		return FragUnknown
	case d == nil:
		return FragDrop
	case !d.open():
	case !accept: // also where the rules have changed since it was accepted
		d.verdict = FragDrop
	case d.verdict == FragUnknown:
		d.verdict, d.mark = FragAccept, m
	}
	return d.verdict
}

// reserve returns the datagram of p, a first fragment, which is new or has begun
// with the same one; or it is poisoned, or nil if there is no room for it.
func (f *fragments) reserve(now Time, k *fragKey, p *packet.Packet, print uint64) *datagram {
	d, bucket := f.find(now, k)
	switch {
	case d == nil:
		if d = f.add(now, k, bucket); d == nil {
			return nil
		}
	case d.print == print && d.verdict != FragOverlap:
		d.verdict = d.place(p)
		return d
	case d.verdict == FragAccept && d.complete():
		// All of it was delivered: this is another datagram with its number.
	default:
		d.verdict = FragOverlap
		return d
	}
	d.print, d.mark, d.verdict = print, 0, FragUnknown
	d.covered, d.end, d.n = 0, 0, 0
	d.expiresAt = now.after(f.timeout)
	d.verdict = d.place(p)
	return d
}

// print condenses what the rules and the table may have judged p by, and what
// of its datagram it carries. It is keyed: nobody can aim at the print of
// another fragment.
func (f *fragments) print(p *packet.Packet, b []byte) uint64 {
	var k, q key
	c := k.set(0, Remote, &p.Tuple, p.ICMPType, p.ICMPCode)
	q.set(0, Remote, &p.Inner.Tuple, p.Inner.ICMPType, p.Inner.ICMPCode)
	h := f.secret.hash(&k) ^ fold(f.secret.hash(&q), f.secret[0])
	h = fold(h^uint64(p.Seq)<<32^uint64(p.Ack), f.secret[1])
	h = fold(h^uint64(p.Length)<<32^uint64(p.Data), f.secret[2])
	h = fold(h^uint64(p.Flags)<<56^uint64(p.ICMPType)<<48^uint64(p.ICMPCode)<<40^uint64(p.L4)<<16^uint64(p.Window), f.secret[3])
	h = fold(h^uint64(p.Inner.Seq)<<32^uint64(p.FragSize)<<8^uint64(c), f.secret[4])
	if int(p.Length) > len(b) || p.Length < uint32(p.FragSize) {
		return h
	}
	le := binary.LittleEndian
	b = b[p.Length-uint32(p.FragSize) : p.Length]
	for ; len(b) >= 16; b = b[16:] {
		h = fold(h^le.Uint64(b)^f.secret[0], le.Uint64(b[8:])^f.secret[1])
	}
	for ; len(b) >= 8; b = b[8:] { // a first fragment is a multiple of 8 bytes long
		h = fold(h^le.Uint64(b)^f.secret[2], f.secret[3])
	}
	return h
}

// find returns the datagram k, or nil, and its bucket.
func (f *fragments) find(now Time, k *fragKey) (*datagram, uint32) {
	le := binary.LittleEndian
	a := fold(le.Uint64(k.src[:8])^f.secret[0], le.Uint64(k.src[8:])^f.secret[1])
	b := fold(le.Uint64(k.dst[:8])^f.secret[2], le.Uint64(k.dst[8:])^f.secret[3])
	c := uint64(k.zone)<<32 | uint64(k.id)
	e := uint64(k.from)<<16 | uint64(k.family)<<8 | uint64(k.proto)
	bucket := uint32(fold(a^c^f.secret[4], b^e^f.secret[5])) & uint32(len(f.heads)-1)
	for id := f.heads[bucket]; id != 0; {
		d := &f.slots[id-1]
		if d.fragKey == *k {
			if now >= d.expiresAt {
				f.remove(id)
				return nil, bucket
			}
			return d, bucket
		}
		id = d.next
	}
	return nil, bucket
}

// add returns a new datagram k, or nil if there is no room for it.
func (f *fragments) add(now Time, k *fragKey, bucket uint32) *datagram {
	if int(f.used) == len(f.slots) && f.free == 0 && !f.evict(now, k.zone, true) {
		return nil
	}
	if !f.zones.reserve(k.zone, f.perZone) &&
		(!f.evict(now, k.zone, false) || !f.zones.reserve(k.zone, f.perZone)) {
		return nil
	}
	id := f.free
	if id != 0 {
		f.free = f.slots[id-1].next
	} else {
		f.used++
		id = f.used
	}
	d := &f.slots[id-1]
	d.fragKey, d.live, d.bucket, d.next = *k, true, bucket, f.heads[bucket]
	f.heads[bucket] = id
	return d
}

func (f *fragments) remove(id uint32) {
	d := &f.slots[id-1]
	at := &f.heads[d.bucket]
	for *at != id {
		at = &f.slots[*at-1].next
	}
	*at = d.next
	f.zones.release(d.zone)
	d.live = false
	d.next = f.free
	f.free = id
}

// evict makes room among the next few datagrams behind the hand: one that has
// expired, is complete, or is dropped anyway. What was accepted in part stays,
// and so does what is poisoned: forgetting it would let the rest pass.
func (f *fragments) evict(now Time, z Zone, anyZone bool) bool {
	for range min(f.used, 64) {
		f.hand = f.hand%f.used + 1
		d := &f.slots[f.hand-1]
		if !d.live || !anyZone && d.zone != z {
			continue
		}
		if now >= d.expiresAt || d.verdict == FragDrop || d.verdict == FragAccept && d.complete() {
			f.remove(f.hand)
			return true
		}
	}
	return false
}

// sweep frees expired datagrams among the next max slots.
func (f *fragments) sweep(now Time, max int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now = f.clock.at(now)
	for range min(max, int(f.used)) {
		f.swept = f.swept%f.used + 1
		if d := &f.slots[f.swept-1]; d.live && now >= d.expiresAt {
			f.remove(f.swept)
		}
	}
}

// flush forgets the datagrams of a zone: trailing fragments are then unknown.
func (f *fragments) flush(z Zone) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := uint32(1); id <= f.used; id++ {
		if d := &f.slots[id-1]; d.live && d.zone == z {
			f.remove(id)
		}
	}
}
