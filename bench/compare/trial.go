package main

import (
	"strings"
	"time"
)

// Units of values. Less is better for all but those that say otherwise.
const (
	perPacket = "ns/packet"  // CPU time, decode included
	perOp     = "ns/op"      // CPU time
	allocsPer = "allocs/op"  // heap objects per packet or operation
	mpps      = "Mpps"       // more is better; by the wall clock, of all cores
	speedup   = "times"      // of two goroutines against one; more is better
	perEntry  = "B/entry"    // heap that stays, per rule, prefix or flow
	gcCycle   = "ns/gc"      // CPU time of one whole garbage collection
	longest   = "ns-longest" // by the wall clock
)

// trial is one question that all contestants answer: they are measured in
// turns, in every round in another order.
type trial struct {
	name        string // the parts between slashes are key=value, or the topic
	about       string // one line for people
	rounds      int    // at most so many; 0 is as many as are asked for
	world       *lazy  // that the contestants share; nil if they share none
	contestants []contestant
}

// contestant is an engine in a trial.
type contestant struct {
	engine string
	// open makes everything that is needed and compares verdicts with the
	// reference: it fails if one differs.
	open func() (meter, error)
}

// meter measures one contestant.
type meter interface {
	// measure works for about d, less if there is not so much to do, and
	// returns what it found.
	measure(d time.Duration) ([]value, error)
	close()
}

// more reports whether more of a unit is better.
func more(unit string) bool { return strings.HasPrefix(unit, mpps) || unit == speedup }

// value is one figure.
type value struct {
	unit string
	of   float64
}

// sample is a value that a contestant had in a round of a trial.
type sample struct {
	round         int // from 1
	trial, engine string
	value
}

// gauge is a meter that measures in one go, however long that takes.
type gauge func() ([]value, error)

func (g gauge) measure(time.Duration) ([]value, error) { return g() }
func (g gauge) close()                                 {}
