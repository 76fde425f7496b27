package conntrack

import "sync"

// count adds one packet to e, whose lock is held.
func (s *shard) count(e *entry, id uint32, d Dir, length uint32) {
	n := e.packets[d] + 1
	bytes := uint64(e.bytes[d]) + uint64(length)
	e.packets[d], e.bytes[d] = n, uint32(bytes)
	if n&countMask == 0 || bytes>>32 != 0 {
		s.overflow(e, id, d, bytes>>32)
	}
}

// overflow carries what count could not hold.
func (s *shard) overflow(e *entry, id uint32, d Dir, bytes uint64) {
	var packets uint64
	if e.packets[d]&countMask == 0 {
		e.packets[d] -= 1 << countShift
		packets = 1
	}
	e.packets[Reply] |= spilledBit
	s.spill.add(id, d, packets, bytes)
}

// counts returns the packets and bytes of e by direction; its lock is held.
func (s *shard) counts(e *entry, id uint32) (packets, bytes [2]uint64) {
	for d := range packets {
		packets[d], bytes[d] = uint64(e.packets[d]&countMask), uint64(e.bytes[d])
	}
	if e.packets[Reply]&spilledBit != 0 {
		s.spill.of(id, &packets, &bytes)
	}
	return packets, bytes
}

// spill holds the high part of the counters of the few connections with more
// than 2^24 packets or 2^32 bytes in one direction. Such a connection costs an
// allocation when it first gets there.
type spill struct {
	mu sync.Mutex
	m  map[uint32]high // by entry number
}

// high are counters in units of 2^24 packets and 2^32 bytes, by Dir.
type high struct{ packets, bytes [2]uint64 }

func (s *spill) add(id uint32, d Dir, packets, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[uint32]high)
	}
	h := s.m[id]
	h.packets[d] += packets
	h.bytes[d] += bytes
	s.m[id] = h
}

func (s *spill) of(id uint32, packets, bytes *[2]uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.m[id]
	for d := range packets {
		packets[d] += h.packets[d] << countShift
		bytes[d] += h.bytes[d] << 32
	}
}

func (s *spill) drop(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
}
