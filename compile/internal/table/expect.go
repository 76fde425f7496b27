package table

// Expect makes room for some n keys of one half from low to high, in an array
// if that is dense. It does nothing unless the half is empty.
func (e *Editor) Expect(low, high uint32, n int) {
	h := low >> 31
	if e.n > 0 || len(e.t.direct[h].pages) > 0 || !dense(low, high, n) {
		return
	}
	e.array(h, low&^half, high&^half)
}

// dense reports whether n keys from low to high are to be in an array.
func dense(low, high uint32, n int) bool { return n >= 8 && uint64(high-low) <= sparse*uint64(n) }

// array makes an array for the keys of a half from low to high.
func (e *Editor) array(h, low, high uint32) {
	a := &e.t.direct[h]
	a.base = low
	pages := make([][arrayPage]uint32, (high-low)/arrayPage+1)
	a.pages, e.own[h] = make([]*[arrayPage]uint32, len(pages)), make([]bool, len(pages))
	for i := range pages {
		a.pages[i], e.own[h][i] = &pages[i], true
	}
}

// packed reports whether Pack has nothing to do.
func (e *Editor) packed() bool {
	for h := range e.t.direct {
		if n := uint32(len(e.t.direct[h].pages)) * arrayPage; n > 0 && !dense(0, n-1, e.count[h]) {
			return false
		}
	}
	return e.n == 0
}
