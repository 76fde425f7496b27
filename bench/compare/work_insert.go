package main

import (
	"fmt"
	"time"

	"example.com/secgroup/sg"
)

// inserts is a meter of the flows that fill the second half of a table. Each
// time the engine forgets all flows first, and keeps the memory that they had
// if it can.
type inserts struct {
	engine engine
	o      outbound
	ring   *ring
	views  [][]byte
	counter
}

func opensInserts(v variant, f sg.Family, n int) func() (meter, error) {
	return func() (meter, error) {
		w := quietWorld()
		e, err := v.make(w, n)
		if err != nil {
			return nil, err
		}
		m := &inserts{engine: e, o: outbound{v.proto, f, w.local[f], n}, ring: newRing(most)}
		_, _, err = m.fill(0, min(n, most)) // the packets are accepted
		return m, err
	}
}

// measure fills the table once, or again until that took d.
func (m *inserts) measure(d time.Duration) ([]value, error) {
	if t, ok := m.engine.(turner); ok {
		t.begin()
		defer t.end()
	}
	var took time.Duration
	var objects, ops float64
	for took < d {
		if err := m.engine.forget(); err != nil {
			return nil, err
		}
		if _, _, err := m.fill(0, m.o.n/2); err != nil {
			return nil, err
		}
		t, o, err := m.fill(m.o.n/2, m.o.n)
		if err != nil {
			return nil, err
		}
		took += t
		objects += float64(o)
		ops += float64(m.o.n - m.o.n/2)
	}
	return []value{{perPacket, float64(took.Nanoseconds()) / ops}, {allocsPer, objects / ops}}, nil
}

// fill opens flows and returns the CPU time and the heap objects that took.
func (m *inserts) fill(from, to int) (took time.Duration, objects uint64, err error) {
	for i := from; i < to; i += most {
		m.ring.data, m.ring.size = m.ring.data[:0], m.ring.size[:0]
		for j := i; j < min(i+most, to); j++ {
			m.o.first(m.ring, j)
		}
		m.views = m.ring.views(m.views[:0], 0, m.ring.len())
		o, t := m.objects(), cpu()
		n := m.engine.filter(sg.Egress, m.views)
		took += cpu() - t
		objects += m.objects() - o
		if n != len(m.views) {
			return took, objects, fmt.Errorf("%d of %d packets that open flows are accepted", n, len(m.views))
		}
	}
	return took, objects, nil
}

func (m *inserts) close() { m.engine.close() }
