package classes

import (
	"cmp"
	"slices"

	"example.com/secgroup/sg"
)

func (c change) compare(d change) int {
	if n := c.prefix.compare(d.prefix); n != 0 {
		return n
	}
	return cmp.Compare(c.sel, d.sel)
}

// Queues shorter than fewChanges are sorted as they are. A queue that is sorted
// by number has at most 1<<placeBits places.
const (
	fewChanges = 64
	placeBits  = 26
)

// sort sorts the queue by prefix, and by selector. Most of a long one is in
// order once the high halves are: it is sorted by them and moved once.
func (s *Space) sort() {
	compare := func(a, b change) int { return a.compare(b) }
	if slices.IsSortedFunc(s.queue, compare) {
		return
	}
	if n := len(s.queue); n < fewChanges || n >= 1<<placeBits {
		slices.SortFunc(s.queue, compare)
		return
	}
	sorted := make([]change, 0, len(s.queue))
	if s.family == sg.IPv4 {
		keys := make([]uint64, len(s.queue)) // address, length, place
		for i := range s.queue {
			c := &s.queue[i]
			keys[i] = (c.high<<6|uint64(c.bits))<<placeBits | uint64(i)
		}
		slices.Sort(keys)
		for _, k := range keys {
			sorted = append(sorted, s.queue[k&(1<<placeBits-1)])
		}
	} else {
		type key struct {
			high  uint64
			place uint32
		}
		keys := make([]key, len(s.queue))
		for i := range s.queue {
			keys[i] = key{s.queue[i].high, uint32(i)}
		}
		slices.SortFunc(keys, func(a, b key) int { return cmp.Compare(a.high, b.high) })
		for _, k := range keys {
			sorted = append(sorted, s.queue[k.place])
		}
	}
	s.queue = sorted
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && sorted[n].high == sorted[0].high {
			n++
		}
		if n > 1 {
			slices.SortFunc(sorted[:n], compare)
		}
		sorted = sorted[n:]
	}
}
