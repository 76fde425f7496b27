package main

import (
	"fmt"
	"runtime/metrics"
	"time"
)

// probe does what a stepper times.
type probe interface {
	// prepare readies up to n operations and returns how many; it is not
	// timed.
	prepare(n int) int
	// step does the n operations that prepare readied.
	step(n int) error
	close()
}

// turner is a probe that wants to know when it is its turn: what it does in
// the background between begin and end is not charged to others.
type turner interface {
	begin()
	end()
}

// stepper times a probe: CPU time and allocations per operation.
type stepper struct {
	probe
	unit string
	size int // operations per step; grows until a step takes minStep
	max  int // bound of size; 0 is none
	counter
}

const minStep = 200 * time.Microsecond

func (s *stepper) measure(d time.Duration) ([]value, error) {
	if t, ok := s.probe.(turner); ok {
		t.begin()
		defer t.end()
	}
	if s.size == 0 {
		s.size = 1
	}
	if _, _, _, err := s.run(d / 8); err != nil { // caches, and the size of steps
		return nil, err
	}
	took, ops, objects, err := s.run(d)
	if err != nil {
		return nil, err
	}
	if ops == 0 {
		return nil, fmt.Errorf("nothing to measure")
	}
	return []value{{s.unit, float64(took.Nanoseconds()) / ops}, {allocsPer, objects / ops}}, nil
}

func (s *stepper) run(d time.Duration) (took time.Duration, ops, objects float64, err error) {
	for begun := time.Now(); took < d && time.Since(begun) < 20*d+time.Second; {
		n := s.prepare(s.size)
		if n == 0 {
			break
		}
		o, t := s.objects(), cpu()
		err = s.step(n)
		one := cpu() - t
		if took += one; err != nil {
			return took, ops, objects, err
		}
		ops += float64(n)
		objects += float64(s.objects() - o)
		if one < minStep && n == s.size && (s.max == 0 || s.size < s.max) {
			s.size *= 2
		}
	}
	return took, ops, objects, nil
}

// counter counts heap objects. It is kept, so that to ask it allocates none.
type counter struct{ s [1]metrics.Sample }

// objects is how many the process has allocated.
func (c *counter) objects() uint64 {
	c.s[0].Name = "/gc/heap/allocs:objects"
	metrics.Read(c.s[:])
	return c.s[0].Value.Uint64()
}
