package conntrack

import "math/bits"

// zoneCounts counts per zone. It is a hash table with linear probing of its
// own, because a Go map allocates now and then under turnover. Zones are the
// caller's numbers, so the hash needs no secret.
type zoneCounts struct {
	slots []zoneCount // a power of two of them, at most half in use
	used  int
}

type zoneCount struct {
	zone Zone
	n    uint32 // 0 is an empty slot

	pressed bool // see Pressure
}

// home returns the slot where the search for z begins.
func (c *zoneCounts) home(z Zone) int {
	return int(uint32(z)*0x9e3779b1>>1) >> (31 - (bits.Len(uint(len(c.slots))) - 1))
}

// find returns the slot of z, or the empty one where it belongs.
func (c *zoneCounts) find(z Zone) int {
	i := c.home(z)
	for c.slots[i].n != 0 && c.slots[i].zone != z {
		i = (i + 1) & (len(c.slots) - 1)
	}
	return i
}

// reserve counts one more of z, unless there are limit already.
func (c *zoneCounts) reserve(z Zone, limit uint32) bool {
	s := c.slot(z)
	if s.n >= limit {
		return false
	}
	c.add(s, z, 1)
	return true
}

// slot returns the slot of z, or an empty one that is to be its.
func (c *zoneCounts) slot(z Zone) *zoneCount {
	if 2*(c.used+1) > len(c.slots) {
		c.grow(max(16, 2*len(c.slots)))
	}
	return &c.slots[c.find(z)]
}

// add counts n more of z, whose slot s is; n is not 0.
func (c *zoneCounts) add(s *zoneCount, z Zone, n uint32) {
	if s.n == 0 {
		c.used++
	}
	s.zone = z
	s.n += n
}

// release counts one less of z.
func (c *zoneCounts) release(z Zone) { c.remove(z, 1) }

// remove counts n less of z, which has them.
func (c *zoneCounts) remove(z Zone, n uint32) {
	i := c.find(z)
	if c.slots[i].n -= n; c.slots[i].n != 0 {
		return
	}
	c.used--
	// Move up what was displaced past the hole, so that searches still end at
	// the first empty slot.
	mask := len(c.slots) - 1
	for j := (i + 1) & mask; c.slots[j].n != 0; j = (j + 1) & mask {
		if h := c.home(c.slots[j].zone); (j-h)&mask >= (j-i)&mask {
			c.slots[i], c.slots[j] = c.slots[j], zoneCount{}
			i = j
		}
	}
}

func (c *zoneCounts) grow(size int) {
	old := c.slots
	c.slots = make([]zoneCount, size)
	for _, s := range old {
		if s.n != 0 {
			c.slots[c.find(s.zone)] = s
		}
	}
}
