package classes

import (
	"cmp"
	"math/bits"
	"slices"

	"example.com/secgroup/sg"
)

func (c change) compare(d change) int {
	if n := c.prefix.compare(d.prefix); n != 0 {
		return n
	}
	return cmp.Compare(c.sel, d.sel)
}

// Lists shorter than few, or of 1<<placeBits entries and more, are sorted by
// comparing.
const (
	few       = 64
	placeBits = 26
)

// sortEntries sorts by prefix, and by own class.
func sortEntries(list []entry, f sg.Family) {
	compare := func(a, b entry) int {
		if n := a.compare(b.prefix); n != 0 {
			return n
		}
		return cmp.Compare(a.own, b.own)
	}
	if len(list) < few || len(list) >= 1<<placeBits {
		slices.SortFunc(list, compare)
		return
	}
	// Most of them are in order once the bits are that follow those which all
	// have in common: the entries are sorted by them as numbers, and moved once.
	var high, low uint64 // where any differ
	for i := range list {
		high |= list[i].high ^ list[0].high
		low |= list[i].low ^ list[0].low
	}
	keys := make([]uint64, 2*len(list)) // bits, place
	keys, room := keys[:len(list)], keys[len(list):]
	bitsOf := func(e *entry) uint64 {
		if high == 0 {
			return e.low << (uint(bits.LeadingZeros64(low)) % 64) >> placeBits
		}
		return e.high << uint(bits.LeadingZeros64(high)) >> placeBits
	}
	for i := range list {
		keys[i] = bitsOf(&list[i])<<placeBits | uint64(i)
	}
	keys = radix(keys, room)
	arrange(list, keys)
	for at := 0; at < len(list); {
		n, k := 1, bitsOf(&list[at])
		for at+n < len(list) && bitsOf(&list[at+n]) == k {
			n++
		}
		if n > 1 {
			slices.SortFunc(list[at:at+n], compare)
		}
		at += n
	}
}

const (
	digitBits = 10
	digits    = (64 - placeBits + digitBits - 1) / digitBits
	digitMask = 1<<digitBits - 1
)

// radix returns keys in order of their bits above the place, in one of the two
// lists, which are of equal length.
func radix(keys, room []uint64) []uint64 {
	var counts [digits][1 << digitBits]uint32
	for _, k := range keys {
		k >>= placeBits
		for d := range counts {
			counts[d][k&digitMask]++
			k >>= digitBits
		}
	}
	for d := range counts {
		c, shift := &counts[d], placeBits+uint(d)*digitBits
		if c[keys[0]>>shift&digitMask] == uint32(len(keys)) {
			continue // all are equal here
		}
		sum := uint32(0)
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for _, k := range keys {
			at := &c[k>>shift&digitMask]
			room[*at] = k
			*at++
		}
		keys, room = room, keys
	}
	return keys
}

// arrange moves the entries to where keys, which are used up, say: the one of
// the first key to the front, and so on.
func arrange(list []entry, keys []uint64) {
	const mask, done = 1<<placeBits - 1, 1<<64 - 1
	for i := range keys {
		if keys[i] == done {
			continue
		}
		first := list[i]
		at := i
		for { // round a cycle
			from := int(keys[at] & mask)
			keys[at] = done
			if from == i {
				list[at] = first
				break
			}
			list[at] = list[from]
			at = from
		}
	}
}
