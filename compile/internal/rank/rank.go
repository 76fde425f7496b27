// Package rank finds a place among sorted numbers without a branch that
// depends on them: a mispredicted branch costs more than the whole search.
package rank

import "math/bits"

// Steps returns the first step that Of needs for up to n numbers: the highest
// power of two in n, zero for none.
func Steps(n uint) uint {
	if n == 0 {
		return 0
	}
	return 1 << (bits.Len(n) - 1)
}

// Of returns how many of the n ascending numbers a[off:off+n] are at most key.
// step is at least Steps(n), or a larger power of two: the same for many
// searches makes their loops end alike. It reads a[off] even if n is zero, and
// nothing behind the n numbers.
func Of[T uint16 | uint32 | uint64](a []T, off, n, step uint, key T) uint {
	pos := uint64(0)
	for s := uint64(step); s != 0; s >>= 1 {
		t := pos + s
		_, beyond := bits.Sub64(uint64(n), t, 0)
		in := beyond - 1 // all ones if there is a t-th number
		_, below := bits.Sub64(uint64(key), uint64(a[uint64(off)+(t-1)&in]), 0)
		pos += s & in & (below - 1)
	}
	return uint(pos)
}
