package capture

import (
	"math/bits"
	"time"
)

// ngClock is how an interface of a pcapng file counts time.
type ngClock struct {
	// resolution is the exponent of the unit, 10 to its negative; if the
	// highest bit is set, 2 to the negative of the rest.
	resolution byte
	offset     int64 // seconds to add
}

const nano = 1_000_000_000

func (c ngClock) time(ticks uint64) time.Time {
	n := int(c.resolution & 0x7f)
	var sec, ns uint64
	if c.resolution&0x80 != 0 {
		sec, ns = binaryTicks(ticks, n)
	} else {
		sec, ns = decimalTicks(ticks, n)
	}
	return time.Unix(int64(sec)+c.offset, int64(ns)).UTC()
}

// binaryTicks takes ticks of 2^-n seconds apart. A shift by 64 or more bits
// gives 0 in Go, which is right here.
func binaryTicks(ticks uint64, n int) (sec, ns uint64) {
	sec = ticks >> n
	hi, lo := bits.Mul64(ticks-sec<<n, nano)
	if n >= 64 {
		return sec, hi >> (n - 64)
	}
	return sec, hi<<(64-n) | lo>>n
}

// decimalTicks takes ticks of 10^-n seconds apart.
func decimalTicks(ticks uint64, n int) (sec, ns uint64) {
	// 10^19 is the highest power in 64 bits. All of the ticks are less than a
	// second of 10^20.
	if n > 19 {
		if n > 19+9 {
			return 0, 0
		}
		return 0, ticks / pow10(n-9)
	}
	unit := pow10(n)
	hi, lo := bits.Mul64(ticks%unit, nano)
	ns, _ = bits.Div64(hi, lo, unit)
	return ticks / unit, ns
}

func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}
