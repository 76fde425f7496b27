package conntrack

// vacancies are the slots of a slab that were given back: a stack of runs of
// neighbours. What is freed in the order of slots, as Sweep and Flush do, is one
// run and takes no memory. It belongs to who holds the shard's lock.
type vacancies struct {
	top   run               // the run that is used next; none if there are no vacancies
	below []*[chunkSize]run // the others; its length is fixed, and it grows by chunks as the slab does
	depth uint32            // how many there are below
}

// run is n slots from first on.
type run struct{ first, n uint32 }

func (v *vacancies) init(slots int) { v.below = make([]*[chunkSize]run, chunksFor(slots)) }

// take returns a vacancy, which is none any more, or 0.
func (v *vacancies) take() uint32 {
	if v.top.n == 0 {
		return 0
	}
	v.top.n--
	slot := v.top.first + v.top.n
	if v.top.n == 0 && v.depth != 0 {
		v.depth--
		v.top = v.below[v.depth/chunkSize][v.depth%chunkSize]
	}
	return slot
}

// give adds a vacancy.
func (v *vacancies) give(slot uint32) {
	switch {
	case v.top.n != 0 && slot == v.top.first+v.top.n:
		v.top.n++
		return
	case v.top.n != 0 && slot == v.top.first-1:
		v.top.first--
		v.top.n++
		return
	case v.top.n != 0:
		at := &v.below[v.depth/chunkSize]
		if *at == nil {
			*at = new([chunkSize]run)
		}
		(*at)[v.depth%chunkSize] = v.top
		v.depth++
	}
	v.top = run{slot, 1}
}

// next sets out to the vacancies that take returns next, and returns those that
// there are.
func (v *vacancies) next(out []uint32) []uint32 {
	n, r, depth := 0, v.top, v.depth
	for n < len(out) && r.n != 0 {
		r.n--
		out[n] = r.first + r.n
		n++
		if r.n == 0 && depth != 0 {
			depth--
			r = v.below[depth/chunkSize][depth%chunkSize]
		}
	}
	return out[:n]
}
