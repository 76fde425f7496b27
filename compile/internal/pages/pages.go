// Package pages provides an array that is cheap to publish: a frozen copy
// shares its pages, and the next write to a shared page copies that page.
package pages

const (
	bits = 8
	size = 1 << bits
)

// Array is a sparse array of T indexed from zero; the zero Array is empty. It
// is not safe for concurrent use, but what Frozen returns may be read by any
// number of goroutines, forever.
type Array[T any] struct {
	pages []*page[T]
	owner *token // of the pages that may be written in place
}

type token struct{ _ byte }

type page[T any] struct {
	owner *token
	at    [size]T
}

// At returns element i, or the zero T where nothing was set.
func (a *Array[T]) At(i uint32) (v T) {
	if n := i >> bits; n < uint32(len(a.pages)) && a.pages[n] != nil {
		return a.pages[n].at[i%size]
	}
	return v
}

// Set stores v as element i.
func (a *Array[T]) Set(i uint32, v T) {
	n := i >> bits
	for uint32(len(a.pages)) <= n {
		a.pages = append(a.pages, nil)
	}
	if a.owner == nil {
		a.owner = new(token)
	}
	p := a.pages[n]
	if p == nil || p.owner != a.owner {
		c := &page[T]{owner: a.owner}
		if p != nil {
			c.at = p.at
		}
		p = c
		a.pages[n] = p
	}
	p.at[i%size] = v
}

// Frozen returns a read-only copy of a as it is now. It costs one pointer per
// 256 elements.
func (a *Array[T]) Frozen() *Array[T] {
	a.owner = nil
	return &Array[T]{pages: append([]*page[T](nil), a.pages...)}
}
