package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gaissmai/bart"
	"tailscale.com/wgengine/filter"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// memoryRounds are enough where nothing varies but what the collector left.
const memoryRounds = 2

// memoryTrials are what stays: per rule, per prefix, per flow, and for one rule
// of all ports.
func memoryTrials(s scale) []trial {
	flows := s.tables[len(s.tables)-1] / 4
	kept := func(n int, of func() *world, make func(*world) (any, error)) func() (meter, error) {
		return func() (meter, error) {
			w := of()
			return gauge(func() ([]value, error) {
				bytes, resident, err := stays(func() (any, error) { return make(w) })
				v := []value{{perEntry, bytes / float64(n)}}
				if resident > 0 && n >= 100_000 { // below, pages say little
					v = append(v, value{"resident-" + perEntry, resident / float64(n)})
				}
				return v, err
			}), nil
		}
	}
	rules := &lazy{make: func() *world { return ruleWorld(s.build) }}
	set := &lazy{make: func() *world { return setWorld(sg.IPv4, s.lookups) }}
	out := []trial{
		{world: rules, name: "memory/rules=" + count(s.build), about: "of a compiled rule", rounds: memoryRounds, contestants: []contestant{
			{"secgroup", kept(s.build, rules.get, secgroupMatcher)},
			{"tailscale", kept(s.build, rules.get, tailscaleFilter)},
			{"gvisor", kept(s.build, rules.get, gvisorBoth)},
		}},
		{world: set, name: "memory/prefixes=" + count(s.lookups), about: "of a prefix in a compiled set", rounds: memoryRounds, contestants: []contestant{
			{"secgroup", kept(s.lookups, set.get, secgroupMatcher)},
			{"tailscale", kept(s.lookups, set.get, tailscaleFilter)},
			{"bart.Lite", kept(s.lookups, set.get, liteTable)},
		}},
		{name: "memory/ports=all", about: "of the rule TCP 1-65535 beside one port, a policy each", rounds: memoryRounds, contestants: []contestant{
			{"secgroup", opensPorts(64, secgroupMatcher)},
			{"nebula", opensPorts(2, func(w *world) (any, error) { return nebulaFirewall(w) })},
		}},
	}
	table := trial{name: "memory/flows=" + count(flows), about: "of a flow, both directions", rounds: memoryRounds}
	table6 := trial{name: "memory6/flows=" + count(flows), about: "of an IPv6 flow, both directions", rounds: memoryRounds}
	for _, m := range makers() {
		v := m.established[0]
		n := min(flows, v.flows)
		if v.flows < 1_000 || m.twin { // too few say nothing
			continue
		}
		for f, t := range map[sg.Family]*trial{sg.IPv4: &table, sg.IPv6: &table6} {
			t.contestants = append(t.contestants, contestant{v.name, kept(n, quietWorld, func(w *world) (any, error) { return filled(v, w, f, n) })})
		}
	}
	return append(out, table, table6)
}

// stays returns the bytes that what make returns keeps: of the heap, and of
// resident memory, which includes what is not on the heap.
func stays(make func() (any, error)) (heap, resident float64, err error) {
	settle := func() (uint64, float64) {
		var m runtime.MemStats
		// Finalizers, and pools, free more with every collection for a while.
		for calm, last := 0, uint64(0); calm < 3; last = m.HeapAlloc {
			debug.FreeOSMemory()
			if runtime.ReadMemStats(&m); m.HeapAlloc < last || last == 0 {
				calm = 0
			} else {
				calm++
			}
		}
		return m.HeapAlloc, residentBytes()
	}
	// The first makes what is made once, and outlives the second, so that nothing
	// is freed in between.
	first, err := make()
	if err != nil {
		return 0, 0, err
	}
	h, r := settle()
	second, err := make()
	h2, r2 := settle()
	runtime.KeepAlive(first)
	for _, v := range []any{first, second} {
		if e, ok := v.(engine); ok {
			e.close()
		}
	}
	return float64(h2) - float64(h), r2 - r, err
}

func secgroupMatcher(w *world) (any, error) { return compile.Compile(w.policy) }

func tailscaleFilter(w *world) (any, error) {
	local, err := tailscaleLocal(w)
	return filter.New(tailscaleMatches(w.rules, w), nil, local, nil, nil, discardf), err
}

func gvisorBoth(w *world) (any, error) {
	a, b := gvisorTable(w, false), gvisorTable(w, true)
	return []any{&a, &b}, nil
}

func liteTable(w *world) (any, error) {
	t := new(bart.Lite)
	for _, p := range w.rules[0].sources {
		t.Insert(p)
	}
	return t, nil
}

// opensPorts compares a policy that allows all TCP ports with one that allows
// one, some copies of each.
func opensPorts(copies int, make func(*world) (any, error)) func() (meter, error) {
	return func() (meter, error) {
		size := func(p sg.PortRange) (float64, error) {
			w := newWorld([]sg.Rule{{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: p,
				Peer: sg.PeerCIDR(netip.MustParsePrefix("192.0.0.0/8").Masked())}})
			n, _, err := stays(func() (any, error) {
				var all []any
				for range copies {
					v, err := make(w)
					if err != nil {
						return nil, err
					}
					all = append(all, v)
				}
				return all, nil
			})
			return n / float64(copies), err
		}
		return gauge(func() ([]value, error) {
			one, err := size(sg.Port(80))
			if err != nil {
				return nil, err
			}
			all, err := size(sg.PortRange{First: 1, Last: 65_535})
			return []value{{perEntry, max(0, all-one)}}, err
		}), nil
	}
}

// filled returns an engine with n open flows.
func filled(v variant, w *world, f sg.Family, n int) (engine, error) {
	e, err := v.make(w, n)
	if err != nil {
		return nil, err
	}
	m := &inserts{engine: e, o: outbound{v.proto, f, w.local[f], n}, ring: newRing(most)}
	_, _, err = m.fill(0, n)
	return e, err
}

// collectTrials are one garbage collection while a table holds so many flows.
func collectTrials(s scale) []trial {
	var out []trial
	for _, n := range s.tables[len(s.tables)-2:] {
		t := trial{name: "gc/flows=" + count(n), about: "one garbage collection, CPU of all threads", rounds: memoryRounds}
		for _, m := range makers() {
			if v := m.established[0]; v.knows == state && n <= v.flows && !m.twin {
				t.contestants = append(t.contestants, contestant{v.name, opensCollect(v, n)})
			}
		}
		t.contestants = append(t.contestants, contestant{"no table", func() (meter, error) {
			return gauge(func() ([]value, error) { return collect(nil), nil }), nil
		}})
		out = append(out, t)
	}
	return out
}

func opensCollect(v variant, n int) func() (meter, error) {
	return func() (meter, error) {
		return gauge(func() ([]value, error) {
			e, err := filled(v, quietWorld(), sg.IPv4, n)
			if err != nil {
				return nil, err
			}
			defer e.close()
			return collect(e), nil
		}), nil
	}
}

// collect times collections while e is alive.
func collect(e engine) []value {
	runtime.GC()
	var all []float64
	for range 3 {
		t := cpu()
		runtime.GC()
		all = append(all, float64((cpu() - t).Nanoseconds()))
	}
	runtime.KeepAlive(e)
	return []value{{gcCycle, median(all)}}
}

// ageTrials are a look at all flows of a table of which none is due.
func ageTrials(s scale) []trial {
	n := s.tables[len(s.tables)-1] / 4
	return []trial{{name: "ageing/flows=" + count(n), about: "all flows looked at, none is due", rounds: memoryRounds, contestants: []contestant{
		{"secgroup", func() (meter, error) {
			w := quietWorld()
			e, err := openSecgroup(w, n)
			if err != nil {
				return nil, err
			}
			m := &inserts{engine: e, o: outbound{sg.TCP, sg.IPv4, w.local[sg.IPv4], n}, ring: newRing(most)}
			_, _, err = m.fill(0, n)
			return gauge(func() ([]value, error) { return e.age(n) }), err
		}},
	}}}
}

// age sweeps the table once, a stretch at a time.
func (e *secgroup) age(n int) ([]value, error) {
	const stretch = 4_096
	var slowest time.Duration
	begun := cpu()
	for i := 0; i < n; i += stretch {
		t := time.Now()
		if freed := e.engine.Table().Sweep(conntrack.Time(time.Since(e.start))+1, stretch); freed != 0 {
			return nil, fmt.Errorf("%d flows are gone that were not due", freed)
		}
		slowest = max(slowest, time.Since(t))
	}
	return []value{{perOp, float64((cpu() - begun).Nanoseconds())}, {longest, float64(slowest.Nanoseconds())}}, nil
}
