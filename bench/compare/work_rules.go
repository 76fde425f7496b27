package main

import (
	"fmt"

	"example.com/secgroup/sg"
)

// scale is how large the workloads are.
type scale struct {
	rules, sets, tables []int
	build, lookups      int // rules and prefixes of single trials
}

func fullScale() scale {
	return scale{
		rules: []int{10, 100, 1_000, 10_000}, sets: []int{1_000, 10_000, 100_000, 1_000_000},
		tables: []int{1_000, 100_000, 1_000_000, 4_000_000}, build: 10_000, lookups: 1_000_000,
	}
}

func quickScale() scale {
	return scale{
		rules: []int{10, 1_000}, sets: []int{1_000, 10_000}, tables: []int{1_000, 100_000}, build: 1_000, lookups: 10_000,
	}
}

const (
	hotFlows   = 512     // flows that a trial in the cache goes round
	freshFlows = 1 << 14 // flows that are opened before the engine forgets them
)

var families = []sg.Family{sg.IPv4, sg.IPv6}

// count writes 1000 as 1k and 1000000 as 1M.
func count(n int) string {
	switch {
	case n >= 1_000_000 && n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n >= 1_000 && n%1_000 == 0:
		return fmt.Sprintf("%dk", n/1_000)
	}
	return fmt.Sprint(n)
}

// ruleTrials are packets that no rule allows, packets that open a flow, and
// replies of established flows, by number of rules.
func ruleTrials(s scale) []trial {
	var denied, opened []trial
	for _, n := range s.rules {
		for _, f := range families {
			name := func(topic string) string { return fmt.Sprintf("%s/v%d/rules=%s", topic, f, count(n)) }
			l := &lazy{make: func() *world { return ruleWorld(n) }}
			deny := trial{world: l, name: name("deny"), about: "a packet that no rule allows"}
			fresh := trial{world: l, name: name("new"), about: "a packet that opens an allowed flow"}
			for _, m := range makers() {
				if n <= m.rules {
					deny.contestants = append(deny.contestants, contestant{m.name, opensDenied(m, l, f)})
					fresh.contestants = append(fresh.contestants, contestant{m.name, opensNew(m, l, f)})
				}
			}
			denied, opened = append(denied, deny), append(opened, fresh)
		}
	}
	return append(denied, opened...)
}

func opensDenied(m maker, l *lazy, f sg.Family) func() (meter, error) {
	return func() (meter, error) {
		w := l.get()
		t, err := traffics(m, w, f, hotFlows, hotFlows, false)
		if err != nil {
			return nil, err
		}
		// And the other verdict, so that nobody wins by refusing everything.
		flows, err := w.flows(f, 64, true)
		if err != nil {
			return nil, err
		}
		if err := expect(t.engine, sg.Ingress, w.opening(flows, len(flows)), true); err != nil {
			return nil, err
		}
		return timed(t), t.forget()
	}
}

func opensNew(m maker, l *lazy, f sg.Family) func() (meter, error) {
	return func() (meter, error) {
		t, err := traffics(m, l.get(), f, hotFlows, freshFlows, true)
		if err != nil {
			return nil, err
		}
		t.once = true
		return timed(t), nil
	}
}

// traffics makes an engine of a world and n packets that open flows which its
// rules allow, or refuse, and compares the verdicts on them.
func traffics(m maker, w *world, f sg.Family, flows, n int, allowed bool) (*traffic, error) {
	of, err := w.flows(f, flows, allowed)
	if err != nil {
		return nil, err
	}
	e, err := m.make(w, n)
	if err != nil {
		return nil, err
	}
	t := &traffic{engine: e, dir: sg.Ingress, ring: w.opening(of, n), accept: allowed}
	if err := expect(e, sg.Ingress, w.opening(of, flows), allowed); err != nil {
		return nil, err
	}
	return t, e.forget()
}
