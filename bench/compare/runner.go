package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"
)

// runner runs trials one after the other, and the contestants of each in turns.
type runner struct {
	rounds   int
	slice    time.Duration
	progress io.Writer
	verify   bool // open and compare verdicts, measure nothing
}

// run returns the samples of all trials, in order.
func (r *runner) run(trials []trial) ([]sample, error) {
	var out []sample
	begun := time.Now()
	for i := range trials {
		left := ""
		if i > 0 {
			// A guess: the trials so far stand for the rest.
			all := time.Since(begun) / time.Duration(i) * time.Duration(len(trials)-i)
			left = ", about " + all.Round(time.Second).String() + " left"
		}
		s, err := r.trial(&trials[i], fmt.Sprintf("trial %d of %d%s", i+1, len(trials), left))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", trials[i].name, err)
		}
		out = append(out, s...)
	}
	return out, nil
}

func (r *runner) trial(t *trial, where string) ([]sample, error) {
	defer func() { // the next one starts from nothing
		t.world.drop()
		debug.FreeOSMemory()
	}()
	rounds := r.rounds
	if t.rounds > 0 {
		rounds = min(rounds, t.rounds)
	}
	begun := cpu()
	meters := make([]meter, len(t.contestants))
	defer func() {
		for _, m := range meters {
			if m != nil {
				m.close()
			}
		}
	}()
	for i, c := range t.contestants {
		fmt.Fprintf(r.progress, "%s: %s: prepares %s\n", where, t.name, c.engine)
		m, err := c.open()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.engine, err)
		}
		meters[i] = m
	}
	if r.verify {
		return nil, nil
	}
	prepared := cpu() - begun
	runtime.GC()
	var out []sample
	for round := range rounds {
		fmt.Fprintf(r.progress, "%s: %s: round %d of %d\n", where, t.name, round+1, rounds)
		for k := range meters {
			i := (k + round) % len(meters)
			values, err := meters[i].measure(r.slice)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.contestants[i].engine, err)
			}
			for _, v := range values {
				out = append(out, sample{round + 1, t.name, t.contestants[i].engine, v})
			}
		}
	}
	fmt.Fprintf(r.progress, "%s: %s: done; of CPU %v to prepare, %v for %d rounds\n", where, t.name,
		prepared.Round(time.Millisecond), (cpu() - begun - prepared).Round(time.Millisecond), rounds)
	return out, nil
}
