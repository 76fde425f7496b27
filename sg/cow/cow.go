// Package cow provides an ordered map whose copies are cheap: clones share
// their contents, and the first write to a shared part copies that part only.
//
// It is what lets a policy of a hundred thousand interfaces, or an IP set of
// a million entries, be published anew after each edit.
package cow

import (
	"iter"
	"slices"
	"sync/atomic"
)

// blockMax is the most keys in a block: a write copies at most one block, and
// a clone copies one pointer per block.
const blockMax = 256

// Map is an ordered map, made by New. Any number of goroutines may read and
// clone a Map while none writes to it; a clone is independent of its origin.
// A Map must not be copied by value.
type Map[K, V any] struct {
	compare func(a, b K) int
	blocks  []*block[K, V] // in key order, none empty
	n       int

	// owner marks the blocks that only this Map refers to. Clone gives both
	// sides a new owner, so that neither writes to what they share.
	owner atomic.Pointer[token]
}

type token struct{ _ byte }

type block[K, V any] struct {
	owner *token
	keys  []K
	vals  []V
}

// New returns an empty map ordered by compare.
func New[K, V any](compare func(a, b K) int) *Map[K, V] {
	m := &Map[K, V]{compare: compare}
	m.owner.Store(new(token))
	return m
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return m.n }

// Clone returns a map with the same contents. It costs one pointer per 128 to
// 256 keys.
func (m *Map[K, V]) Clone() *Map[K, V] {
	m.owner.Store(new(token))
	c := &Map[K, V]{compare: m.compare, blocks: slices.Clone(m.blocks), n: m.n}
	c.owner.Store(new(token))
	return c
}

// find returns the block that holds k or would, and k's place in it.
func (m *Map[K, V]) find(k K) (b, i int, ok bool) {
	if b = len(m.blocks) - 1; b >= 0 { // keys often come in order
		if last := m.blocks[b].keys; m.compare(last[len(last)-1], k) < 0 {
			return b, len(last), false
		}
	}
	var found bool
	b, found = slices.BinarySearchFunc(m.blocks, k, func(blk *block[K, V], k K) int {
		return m.compare(blk.keys[0], k)
	})
	if found {
		return b, 0, true
	}
	if b > 0 {
		b--
	}
	if b == len(m.blocks) {
		return b, 0, false
	}
	i, ok = slices.BinarySearchFunc(m.blocks[b].keys, k, m.compare)
	return b, i, ok
}

// Get returns the value of k.
func (m *Map[K, V]) Get(k K) (v V, ok bool) {
	b, i, ok := m.find(k)
	if !ok {
		return v, false
	}
	return m.blocks[b].vals[i], true
}

// Ref returns where the value of k is, nil if there is none. It is only to be
// read, and only until the next write to the map.
func (m *Map[K, V]) Ref(k K) *V {
	b, i, ok := m.find(k)
	if !ok {
		return nil
	}
	return &m.blocks[b].vals[i]
}

// own returns block b, copied first if another map may refer to it.
func (m *Map[K, V]) own(b int) *block[K, V] {
	blk := m.blocks[b]
	if o := m.owner.Load(); blk.owner != o {
		keys := append(make([]K, 0, blockMax), blk.keys...)
		vals := append(make([]V, 0, blockMax), blk.vals...)
		blk = &block[K, V]{owner: o, keys: keys, vals: vals}
		m.blocks[b] = blk
	}
	return blk
}

// Set stores v under k.
func (m *Map[K, V]) Set(k K, v V) {
	b, i, ok := m.find(k)
	if b == len(m.blocks) { // empty map
		m.blocks = append(m.blocks, &block[K, V]{owner: m.owner.Load(), keys: []K{k}, vals: []V{v}})
		m.n++
		return
	}
	blk := m.own(b)
	if ok {
		blk.vals[i] = v
		return
	}
	m.n++
	if len(blk.keys) == blockMax {
		m.split(b, i)
		if right := m.blocks[b+1]; i > len(blk.keys) || i == blockMax {
			i -= len(blk.keys)
			blk = right
		}
	}
	if i == len(blk.keys) { // keys often come in order
		blk.keys, blk.vals = append(blk.keys, k), append(blk.vals, v)
		return
	}
	blk.keys = slices.Insert(blk.keys, i, k)
	blk.vals = slices.Insert(blk.vals, i, v)
}

// split divides block b, which just got a key at i. Appending keeps the left
// block full, so that loading in order leaves no half-empty blocks.
func (m *Map[K, V]) split(b, i int) {
	blk := m.blocks[b]
	at := len(blk.keys) / 2
	if i == len(blk.keys) {
		at = i
	}
	right := &block[K, V]{owner: blk.owner}
	right.keys = append(make([]K, 0, blockMax), blk.keys[at:]...)
	right.vals = append(make([]V, 0, blockMax), blk.vals[at:]...)
	clear(blk.keys[at:])
	clear(blk.vals[at:])
	blk.keys, blk.vals = blk.keys[:at], blk.vals[:at]
	m.blocks = slices.Insert(m.blocks, b+1, right)
}

// Delete removes k and reports whether it was there.
func (m *Map[K, V]) Delete(k K) bool {
	b, i, ok := m.find(k)
	if !ok {
		return false
	}
	m.n--
	blk := m.own(b)
	blk.keys = slices.Delete(blk.keys, i, i+1)
	blk.vals = slices.Delete(blk.vals, i, i+1)
	switch {
	case len(blk.keys) == 0:
		m.blocks = slices.Delete(m.blocks, b, b+1)
	case len(blk.keys) < blockMax/4 && b+1 < len(m.blocks) && len(blk.keys)+len(m.blocks[b+1].keys) <= blockMax:
		next := m.blocks[b+1]
		blk.keys = append(blk.keys, next.keys...)
		blk.vals = append(blk.vals, next.vals...)
		m.blocks = slices.Delete(m.blocks, b+1, b+2)
	}
	return true
}

// All yields every key and value in order. The map must not be written to
// meanwhile; a clone may.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, blk := range m.blocks {
			for i, k := range blk.keys {
				if !yield(k, blk.vals[i]) {
					return
				}
			}
		}
	}
}

// Tail yields the last n keys, or all if there are fewer, in order.
func (m *Map[K, V]) Tail(n int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		b := len(m.blocks)
		for ; b > 0 && n > 0; b-- {
			n -= len(m.blocks[b-1].keys)
		}
		for skip := max(0, -n); b < len(m.blocks); b, skip = b+1, 0 {
			blk := m.blocks[b]
			for i := skip; i < len(blk.keys); i++ {
				if !yield(blk.keys[i], blk.vals[i]) {
					return
				}
			}
		}
	}
}

// From yields the keys that are not below k, in order.
func (m *Map[K, V]) From(k K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		b, i, _ := m.find(k)
		for ; b < len(m.blocks); b++ {
			blk := m.blocks[b]
			for ; i < len(blk.keys); i++ {
				if !yield(blk.keys[i], blk.vals[i]) {
					return
				}
			}
			i = 0
		}
	}
}
