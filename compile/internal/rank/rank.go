// Package rank finds a place among sorted numbers without a branch that
// depends on them: a mispredicted branch costs more than the whole search.
package rank

import "math/bits"

// Steps returns how many steps Below needs among n numbers.
func Steps(n uint) uint {
	if n < 2 {
		return 0
	}
	return uint(bits.Len(n - 1))
}

// Below returns how many of the n ascending numbers a[off:off+n] are below
// key. The number of steps is at least Steps(n); more of them change nothing:
// when it is the same for many searches, their loops end alike. Neither n nor
// off may be zero: the search may look at the place before the numbers.
func Below[T uint16 | uint32 | uint64](a []T, off, n, steps uint, key T) uint {
	at := off
	for ; steps != 0; steps-- {
		half := n >> 1
		n -= half
		_, below := bits.Sub64(uint64(a[at+half-1]), uint64(key), 0)
		at += half & -uint(below)
	}
	_, below := bits.Sub64(uint64(a[at]), uint64(key), 0)
	return at - off + uint(below)
}

// BelowPair is Below among numbers of two words, the high one first: n pairs
// from a[off] on. Off is two or more: the search may look at the pair before.
func BelowPair(a []uint64, off, n, steps uint, high, low uint64) uint {
	at := off
	for ; steps != 0; steps-- {
		half := n >> 1
		n -= half
		last := at + 2*half - 2
		_, below := bits.Sub64(a[last+1], low, 0)
		_, below = bits.Sub64(a[last], high, below)
		at += 2 * half & -uint(below)
	}
	_, below := bits.Sub64(a[at+1], low, 0)
	_, below = bits.Sub64(a[at], high, below)
	return (at-off)/2 + uint(below)
}
