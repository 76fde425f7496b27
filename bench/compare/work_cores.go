package main

import (
	"fmt"
	"sync"
	"time"

	"example.com/secgroup/sg"
)

const coreFlows = 10_000

// coreTrials are packets through one instance from one goroutine and from two,
// each with its own flows, by the wall clock: they say something only where two
// cores are free.
func coreTrials() []trial {
	hit := trial{name: "cores-established/v4/flows=10k", about: "replies, from one goroutine and from two, at one instance"}
	deny := trial{name: "cores-deny/v4/rules=100", about: "packets that no rule allows, from one goroutine and from two"}
	for _, m := range makers() {
		deny.contestants = append(deny.contestants, contestant{m.name, func() (meter, error) {
			w := ruleWorld(100)
			t, err := traffics(m, w, sg.IPv4, hotFlows, coreFlows, false)
			if err != nil {
				return nil, err
			}
			return &cores{engine: t.engine, ring: t.ring}, nil
		}})
		v := m.established[0]
		hit.contestants = append(hit.contestants, contestant{v.name, func() (meter, error) {
			w := quietWorld()
			n := min(coreFlows, v.flows)
			e, err := v.make(w, n)
			if err != nil {
				return nil, err
			}
			o := outbound{v.proto, sg.IPv4, w.local[sg.IPv4], n}
			return &cores{engine: e, ring: o.replies(), accept: true}, connect(e, o, 0, n)
		}})
	}
	return []trial{hit, deny}
}

// cores measures an engine that more than one goroutine uses.
type cores struct {
	engine engine
	ring   *ring
	accept bool
}

// forker is an engine that gives every goroutine its own handle to the same
// instance.
type forker interface{ fork() engine }

func (c *cores) measure(d time.Duration) ([]value, error) {
	if t, ok := c.engine.(turner); ok {
		t.begin()
		defer t.end()
	}
	var rate [3]float64
	for workers := 1; workers <= 2; workers++ {
		var err error
		if rate[workers], err = c.run(workers, d); err != nil {
			return nil, err
		}
	}
	return []value{{mpps + "-1", rate[1]}, {mpps + "-2", rate[2]}, {speedup, rate[2] / rate[1]}}, nil
}

// run returns millions of packets per second.
func (c *cores) run(workers int, d time.Duration) (float64, error) {
	var all sync.WaitGroup
	rates, faults := make([]float64, workers), make([]error, workers)
	for k := range workers {
		e := c.engine
		if f, ok := e.(forker); ok {
			e = f.fork()
		}
		half := c.ring.len() / 2
		views := c.ring.views(nil, k*half, half)
		all.Go(func() {
			done, begun := 0, time.Now()
			for i := 0; time.Since(begun) < d && faults[k] == nil; i += 512 {
				if i >= len(views) {
					i = 0
				}
				now, want := views[i:min(i+512, len(views))], 0
				if c.accept {
					want = len(now)
				}
				if n := e.filter(sg.Ingress, now); n != want {
					faults[k] = fmt.Errorf("%d packets accepted, %d expected", n, want)
				}
				done += len(now)
			}
			rates[k] = float64(done) / time.Since(begun).Seconds() / 1e6
		})
	}
	all.Wait()
	sum := 0.0
	for k, f := range faults {
		if f != nil {
			return 0, f
		}
		sum += rates[k]
	}
	return sum, nil
}

func (c *cores) close() { c.engine.close() }
