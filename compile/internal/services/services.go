// Package services finds the first of many rules for a service, whatever the
// remote address: by one search among sorted keys, without a branch that
// depends on the packet.
//
// A service is a key of 25 bits: the protocol, and below it 16 bits, the port
// of TCP, UDP and SCTP, type and code of ICMP and ICMPv6, zero of others. Bit
// 24 marks a packet of unknown ports: only rules for all ports have such keys.
package services

import (
	"slices"

	"example.com/secgroup/compile/internal/rank"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

const (
	blank = 1 << 24 // marks unknown ports
	end   = 1 << 25
)

// Key returns the service of f.
func Key(f *ir.Flow) uint32 {
	p := uint64(f.Protocol)
	ports := same(p, uint64(sg.TCP)) | same(p, uint64(sg.UDP)) | same(p, uint64(sg.SCTP))
	icmp := same(p, uint64(sg.ICMP)) | same(p, uint64(sg.ICMPv6))
	var unknown uint64
	if f.NoPorts {
		unknown = 1
	}
	unknown &= ports
	ports -= unknown
	message := uint64(f.ICMPType)<<8 | uint64(f.ICMPCode)
	return uint32(unknown<<24 | p<<16 | uint64(f.Port)&-ports | message&-icmp)
}

// PortKey is Key of a protocol with ports, which are known.
func PortKey(protocol uint8, port uint16) uint32 { return uint32(protocol)<<16 | uint32(port) }

// same returns 1 if a and b, bytes both, are equal, else 0.
func same(a, b uint64) uint64 { return ((a ^ b) - 1) >> 63 }

// Hit is what matches: the slot of the first rule, times two, plus one if any
// rule that matches accepts and is not stateless. Zero is no rule: slots begin
// at one.
type Hit = uint32

// Piece says what the keys from First on match, up to the next piece. Keys
// before the first piece of a list match nothing.
type Piece struct {
	First uint32
	Hit   Hit
}

// Span is the services of one rule: the keys from first to the one before
// behind, and the packets of unknown ports that have the key blank, if that is
// not zero.
type Span struct{ first, behind, blank uint32 }

// SpanOf returns the services of r.
func SpanOf(r *ir.Rule) Span {
	if r.Protocol == sg.AnyProtocol {
		return Span{0, end, 0}
	}
	p := uint32(uint8(r.Protocol)) << 16
	s := Span{p, p + 1<<16, 0}
	switch {
	case r.Protocol.HasPorts():
		s.first, s.behind = p|uint32(r.Ports.First), (p|uint32(r.Ports.Last))+1
		if r.Ports.IsAll() {
			s.blank = blank | p
		}
	case r.Protocol.HasICMP():
		t, hasType := r.ICMP.Type()
		c, hasCode := r.ICMP.Code()
		switch {
		case hasCode:
			s.first = p | uint32(t)<<8 | uint32(c)
			s.behind = s.first + 1
		case hasType:
			s.first = p | uint32(t)<<8
			s.behind = s.first + 1<<8
		}
	}
	return s
}

// Pieces returns how many pieces s has.
func (s Span) Pieces() int {
	n := 2
	if s.behind == end {
		n = 1
	}
	if s.blank != 0 {
		n += 2
	}
	return n
}

// Append appends the pieces of a rule that has the hit h.
func (s Span) Append(list []Piece, h Hit) []Piece {
	if list = append(list, Piece{s.first, h}); s.behind != end {
		list = append(list, Piece{s.behind, 0})
	}
	if s.blank != 0 {
		list = append(list, Piece{s.blank, h}, Piece{s.blank + 1, 0})
	}
	return list
}

// Order tells the place of a rule in its chain by its slot: the lower number
// comes first.
type Order []uint64

// Both returns what matches where a and b do.
func (o Order) Both(a, b Hit) Hit {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	case o[b>>1] < o[a>>1]:
		return b | a&1
	}
	return a | b&1
}

// Merge appends to list what matches where the rules of a and those of b do.
func (o Order) Merge(list, a, b []Piece) []Piece {
	var x, y, last Hit
	for len(a) > 0 || len(b) > 0 {
		first := uint32(end)
		if len(a) > 0 {
			first = a[0].First
		}
		if len(b) > 0 && b[0].First < first {
			first = b[0].First
		}
		if len(a) > 0 && a[0].First == first {
			x, a = a[0].Hit, a[1:]
		}
		if len(b) > 0 && b[0].First == first {
			y, b = b[0].Hit, b[1:]
		}
		if h := o.Both(x, y); h != last {
			list = append(list, Piece{first, h})
			last = h
		}
	}
	return list
}

// Ref says where in Words a list is: its place, times 32, plus its length, or
// long. Zero is the empty list.
type Ref uint32

const (
	long = 31 // the length is in the first place
	most = 1 << 27
)

// Words holds many lists: their keys in one array, so that a search that finds
// nothing reads nothing else, and what matches in another. A key is doubled,
// and odd where something matches. Appending leaves what is there unchanged:
// copies of Words may be read meanwhile.
type Words struct {
	keys  []uint32
	hits  []Hit
	steps uint // of a search in any list that is not long
}

// Len returns the number of pieces.
func (w *Words) Len() int { return len(w.keys) }

// Grow makes room for n pieces more.
func (w *Words) Grow(n int) {
	w.keys, w.hits = slices.Grow(w.keys, n), slices.Grow(w.hits, n)
}

// Clip gives back the room to grow.
func (w *Words) Clip() {
	w.keys, w.hits = clip(w.keys), clip(w.hits)
}

func clip(list []uint32) []uint32 { return append(make([]uint32, 0, len(list)), list...) }

// Append stores list; ok is false if there is no room for it: all lists
// together have at most 134,217,728 pieces.
func (w *Words) Append(list []Piece) (r Ref, ok bool) {
	n := len(list)
	if n == 0 {
		return 0, true
	}
	if len(w.keys) == 0 { // a search looks at the place before
		w.keys, w.hits = append(w.keys, 0), append(w.hits, 0)
	}
	at := len(w.keys)
	if at+n >= most {
		return 0, false
	}
	if cap(w.keys)-at <= n {
		w.Grow(max(n+1, at)) // twice as much: most lists come when all is built
	}
	if n >= long {
		w.keys, w.hits = append(w.keys, uint32(n)), append(w.hits, 0)
		n = long
	} else {
		w.steps = max(w.steps, rank.Steps(uint(n)))
	}
	for _, p := range list {
		w.keys, w.hits = append(w.keys, key(p)), append(w.hits, p.Hit)
	}
	return Ref(at<<5 | n), true
}

// key returns what of p is among the keys.
func key(p Piece) uint32 { return p.First<<1 | (p.Hit|-p.Hit)>>31 }

// Read appends the pieces of the list r.
func (w *Words) Read(list []Piece, r Ref) []Piece {
	at, n := uint(r>>5), uint(r%32)
	if n == long {
		n = uint(w.keys[at])
		at++
	}
	hits := w.hits[at : at+n]
	for i, k := range w.keys[at : at+n] {
		list = append(list, Piece{k >> 1, hits[i]})
	}
	return list
}

// Find returns what of the list r, which is not empty, matches key. It takes as
// long in any list that is not long.
func (w *Words) Find(r Ref, key uint32) Hit {
	at, n, steps := uint(r>>5), uint(r%32), w.steps
	if n == long {
		n = uint(w.keys[at])
		at, steps = at+1, rank.Steps(n)
	}
	return w.hit(at, rank.Below(w.keys, at, n, steps, (key+1)<<1))
}

// few keys are looked at one after the other where that misleads no prediction.
const few = 8

// FindSame is Find for a list that is asked for every time: how long it takes
// may depend on the list.
func (w *Words) FindSame(r Ref, key uint32) Hit {
	at, n := uint(r>>5), uint(r%32)
	if n <= few {
		k, below := uint64(key+1)<<1, uint64(0)
		for _, x := range w.keys[at : at+n] {
			below += (uint64(x) - k) >> 63
		}
		return w.hit(at, uint(below))
	}
	if n == long {
		n = uint(w.keys[at])
		at++
	}
	return w.hit(at, rank.Below(w.keys, at, n, rank.Steps(n), (key+1)<<1))
}

// hit returns what matches a key that is behind n of the keys of the list at at.
func (w *Words) hit(at, n uint) Hit {
	if i := at + n - 1; w.keys[i]&1 != 0 && n != 0 {
		return w.hits[i]
	}
	return 0
}

// First returns the first key of the list r: to have it in the cache.
func (w *Words) First(r Ref) uint32 { return w.keys[r>>5] }
