package classes

import (
	"slices"

	"example.com/secgroup/sg"
)

// entry is a prefix that some selector has.
type entry struct {
	prefix
	own  Class // of the selectors that have exactly this prefix
	full Class // of those, and of all that have a wider one
}

// chunkMax is the most entries of a chunk.
const chunkMax = 256

// store is the entries of a space, sorted, in chunks: an edit moves those of
// one chunk.
type store struct {
	family sg.Family
	chunks [][]entry // none empty
	n      int
}

// place is where an entry is, or would be.
type place struct{ chunk, at int }

func (s *store) find(p prefix) (place, bool) {
	lo, hi := 0, len(s.chunks) // the last chunk that does not begin behind p
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; s.chunks[mid][0].compare(p) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	if len(s.chunks) == 0 {
		return place{}, false
	}
	i, found := slices.BinarySearchFunc(s.chunks[lo], p, func(e entry, p prefix) int { return e.compare(p) })
	return place{lo, i}, found
}

// get returns the entry of p, nil if there is none. It stays valid until the
// next edit.
func (s *store) get(p prefix) *entry {
	if at, ok := s.find(p); ok {
		return &s.chunks[at.chunk][at.at]
	}
	return nil
}

// insert stores an entry whose prefix has none.
func (s *store) insert(e entry) {
	s.n++
	if len(s.chunks) == 0 {
		s.chunks = [][]entry{{e}}
		return
	}
	at, _ := s.find(e.prefix)
	c := s.chunks[at.chunk]
	if len(c) == chunkMax {
		half := len(c) / 2
		right := append(make([]entry, 0, chunkMax), c[half:]...)
		s.chunks[at.chunk] = c[:half]
		s.chunks = slices.Insert(s.chunks, at.chunk+1, right)
		if at.at > half {
			at = place{at.chunk + 1, at.at - half}
		}
	}
	s.chunks[at.chunk] = slices.Insert(s.chunks[at.chunk], at.at, e)
}

func (s *store) remove(p prefix) {
	at, ok := s.find(p)
	if !ok {
		return
	}
	s.n--
	c := slices.Delete(s.chunks[at.chunk], at.at, at.at+1)
	s.chunks[at.chunk] = c
	switch next := at.chunk + 1; {
	case len(c) == 0:
		s.chunks = slices.Delete(s.chunks, at.chunk, next)
	case len(c) < chunkMax/4 && next < len(s.chunks) && len(c)+len(s.chunks[next]) <= chunkMax*3/4:
		s.chunks[at.chunk] = append(c, s.chunks[next]...)
		s.chunks = slices.Delete(s.chunks, next, next+1)
	}
}

// load replaces all entries by list, which is sorted and belongs to s then.
func (s *store) load(list []entry) {
	s.n, s.chunks = len(list), nil
	for len(list) > 0 {
		k := min(len(list), chunkMax*3/4)
		s.chunks = append(s.chunks, list[:k:k])
		list = list[k:]
	}
}

// all yields the entries from p on, in order, to be changed but for their
// prefix.
func (s *store) from(p prefix, yield func(*entry) bool) {
	at, _ := s.find(p)
	for ; at.chunk < len(s.chunks); at = (place{at.chunk + 1, 0}) {
		c := s.chunks[at.chunk]
		for i := at.at; i < len(c); i++ {
			if !yield(&c[i]) {
				return
			}
		}
	}
}

// before returns the entry before where p is or would be.
func (s *store) before(p prefix) *entry {
	at, _ := s.find(p)
	switch {
	case at.at > 0:
		return &s.chunks[at.chunk][at.at-1]
	case at.chunk > 0:
		c := s.chunks[at.chunk-1]
		return &c[len(c)-1]
	}
	return nil
}

// parent returns the narrowest entry that strictly contains p.
func (s *store) parent(p prefix) *entry {
	for q := p; ; {
		e := s.before(q)
		switch {
		case e == nil:
			return nil
		case e.contains(q, s.family):
			return e
		}
		// All that contain q contain what is between them and q too.
		q = q.truncate(e.common(q, s.family), s.family)
		if e := s.get(q); e != nil {
			return e
		}
	}
}
