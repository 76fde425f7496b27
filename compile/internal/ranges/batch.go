package ranges

// BatchMax is the most keys that one FindAll takes: so many cache lines can be
// on their way at once, and more gain nothing.
const BatchMax = 64

// FindAll is Find of each key, of BatchMax or fewer, into values, which is as
// long. Where the map is larger than the cache it is several times faster than
// Find: it asks for the lines that all keys need before it waits for any.
func (m *Map) FindAll(keys []uint64, values []Value) {
	var at [BatchMax]piece
	pieces := at[:len(keys)]
	m.first(keys, pieces)
	m.touch(pieces)
	for i, key := range keys {
		values[i] = m.find(pieces[i], key)
	}
}

// FindAll2 is Find2 of each pair of halves, as FindAll.
func (m *Map) FindAll2(high, low []uint64, values []Value) {
	var at [BatchMax]piece
	var who [BatchMax]uint8
	pieces := at[:len(high)]
	m.first(high, pieces)
	m.touch(pieces)
	n := 0
	for i, key := range high {
		v := m.find2(pieces[i], key, low[i])
		values[i] = v
		if v&Deep != 0 { // pieces before i are done with
			at[n], who[n] = m.deep[v&(Deep-1)], uint8(i)
			n++
		}
	}
	if n == 0 {
		return
	}
	m.touch(at[:n])
	for k, p := range at[:n] {
		i := who[k]
		values[i] = m.find(p, low[i])
	}
}

// first writes the piece below the root for each key.
func (m *Map) first(keys []uint64, pieces []piece) {
	if !m.root.isNode() {
		for i := range pieces {
			pieces[i] = m.root
		}
		return
	}
	n := m.nodes[m.root.values()]
	for i, key := range keys[:len(pieces)] {
		at := key - n.first
		p := m.root // outside of the window
		if at <= n.span {
			p = n.piece(at)
		}
		pieces[i] = p
	}
}

// touch reads the first bound of each leaf, and where leaves are longer than a
// cache line what lies behind it too. It returns something made of all of it, so that
// no compiler leaves the reading out.
//
//go:noinline
func (m *Map) touch(pieces []piece) (all uint64) {
	for _, p := range pieces {
		if p.isNode() {
			continue
		}
		switch at := p.bounds(); p.width() {
		case 0:
			all |= uint64(m.b16[at])
		case 1:
			all |= uint64(m.b32[at])
		case 3:
			n := p.count()
			all |= m.b64[at] | m.b64[at+n] | m.b64[at+2*n-1] | uint64(m.values[p.values()>>1])
		default:
			n := p.count()
			all |= m.b64[at] | m.b64[at+n] | m.b64[at+2*n]
		}
	}
	return all
}
