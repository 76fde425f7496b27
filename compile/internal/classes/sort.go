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

// Lists shorter than few are sorted by comparing.
const few = 64

// sortEntries sorts by prefix, and by own class.
func sortEntries(list []entry, f sg.Family) {
	compare := func(a, b entry) int {
		if n := a.compare(b.prefix); n != 0 {
			return n
		}
		return cmp.Compare(a.own, b.own)
	}
	if len(list) < few {
		slices.SortFunc(list, compare)
		return
	}
	// Most of them are in order once the high halves are: those are sorted by
	// number, of IPv4 with the length, and the entries moved once.
	keys := make([]key, 2*len(list))
	keys, room := keys[:len(list)], keys[len(list):]
	for i := range list {
		k := list[i].high
		if f == sg.IPv4 {
			k = k<<6 | uint64(list[i].bits)
		}
		keys[i] = key{k, uint32(i)}
	}
	keys = radix(keys, room)
	arrange(list, keys)
	for at := 0; at < len(list); {
		n := 1
		for at+n < len(list) && list[at+n].high == list[at].high {
			n++
		}
		if n > 1 {
			slices.SortFunc(list[at:at+n], compare)
		}
		at += n
	}
}

// key is a number to be sorted by, and the place of what has it.
type key struct {
	n     uint64
	place uint32
}

const (
	digitBits = 11
	digits    = (64 + digitBits - 1) / digitBits
)

// radix returns keys in order of their numbers, in one of the two lists, which
// are of equal length. Those of equal numbers stay in order.
func radix(keys, room []key) []key {
	var counts [digits][1 << digitBits]uint32
	for _, k := range keys {
		for d := range counts {
			counts[d][k.n>>(d*digitBits)%(1<<digitBits)]++
		}
	}
	for d := range counts {
		c := &counts[d]
		if c[keys[0].n>>(d*digitBits)%(1<<digitBits)] == uint32(len(keys)) {
			continue // all are equal here
		}
		sum := uint32(0)
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for _, k := range keys {
			at := &c[k.n>>(d*digitBits)%(1<<digitBits)]
			room[*at] = k
			*at++
		}
		keys, room = room, keys
	}
	return keys
}

// arrange moves the entries to where keys, which are used up, say: the one of
// the first key to the front, and so on.
func arrange(list []entry, keys []key) {
	const done = 1<<32 - 1
	for i := range keys {
		if keys[i].place == done {
			continue
		}
		first := list[i]
		at := i
		for { // round a cycle
			from := int(keys[at].place)
			keys[at].place = done
			if from == i {
				list[at] = first
				break
			}
			list[at] = list[from]
			at = from
		}
	}
}
