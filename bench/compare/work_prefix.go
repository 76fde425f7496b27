package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/gaissmai/bart"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// prefixTrials are look-ups of addresses alone, without a packet: as many
// random addresses of the set as it has prefixes, so that none is in the cache.
// Of secgroup it is Matcher.Match, which looks up the port too, and MatchBatch,
// 64 at a time.
func prefixTrials(s scale) []trial {
	var out []trial
	for _, f := range families {
		l := &lazy{make: func() *world { return setWorld(f, s.lookups) }}
		out = append(out, trial{
			world: l,
			name:  fmt.Sprintf("lookup/v%d/prefixes=%s", f, count(s.lookups)), about: "a random address of a set, no packet around it",
			contestants: []contestant{
				{"secgroup", opensLookup(l, s.lookups, matcherLookup)},
				{"secgroup batch", opensLookup(l, s.lookups, matcherBatchLookup)},
				{"bart.Lite", opensLookup(l, s.lookups, liteLookup)},
				{"bart.Table", opensLookup(l, s.lookups, tableLookup)},
			},
		})
	}
	return out
}

// lookup counts how many of the addresses are in a set.
type lookup func(from []netip.Addr) int

func matcherLookup(w *world) (lookup, error) {
	m, err := compile.Compile(w.policy)
	if err != nil {
		return nil, err
	}
	i, _ := m.Interface(workload.SingleInterface)
	return func(from []netip.Addr) (n int) {
		f := ir.Flow{Protocol: uint8(sg.TCP), Port: 443}
		for _, f.Remote = range from {
			if m.Match(i.Index, sg.Ingress, f).Action == sg.Accept {
				n++
			}
		}
		return n
	}, nil
}

func matcherBatchLookup(w *world) (lookup, error) {
	m, err := compile.Compile(w.policy)
	if err != nil {
		return nil, err
	}
	i, _ := m.Interface(workload.SingleInterface)
	flows, out := make([]ir.Flow, 64), make([]ir.Verdict, 64)
	for k := range flows {
		flows[k] = ir.Flow{Protocol: uint8(sg.TCP), Port: 443}
	}
	return func(from []netip.Addr) (n int) {
		for len(from) > 0 {
			some := min(len(from), len(flows))
			for k, a := range from[:some] {
				flows[k].Remote = a
			}
			m.MatchBatch(i.Index, sg.Ingress, flows[:some], out)
			for k := range out[:some] {
				if out[k].Action == sg.Accept {
					n++
				}
			}
			from = from[some:]
		}
		return n
	}, nil
}

func liteLookup(w *world) (lookup, error) {
	t := new(bart.Lite)
	for _, p := range w.rules[0].sources {
		t.Insert(p)
	}
	return func(from []netip.Addr) (n int) {
		for _, a := range from {
			if t.Contains(a) {
				n++
			}
		}
		return n
	}, nil
}

func tableLookup(w *world) (lookup, error) {
	t := new(bart.Table[uint32])
	for i, p := range w.rules[0].sources {
		t.Insert(p, uint32(i))
	}
	return func(from []netip.Addr) (n int) {
		for _, a := range from {
			if _, ok := t.Lookup(a); ok {
				n++
			}
		}
		return n
	}, nil
}

// lookups is a probe of a lookup.
type lookups struct {
	lookup
	all []netip.Addr
	at  int
	now []netip.Addr
}

func opensLookup(s *lazy, n int, of func(*world) (lookup, error)) func() (meter, error) {
	return func() (meter, error) {
		w := s.get()
		l, err := of(w)
		if err != nil {
			return nil, err
		}
		r := rand.New(rand.NewPCG(6, 6))
		p := &lookups{lookup: l}
		for range n {
			p.all = append(p.all, fromSet(r, w.rules[0].sources, true))
		}
		for range 1_000 {
			if l([]netip.Addr{fromSet(r, w.rules[0].sources, false)}) != 0 {
				return nil, fmt.Errorf("an address that the set lacks is found")
			}
		}
		if got := l(p.all); got != n {
			return nil, fmt.Errorf("%d of %d addresses of the set are found", got, n)
		}
		return &stepper{probe: p, unit: perOp, size: most, max: most}, nil
	}
}

func (p *lookups) prepare(n int) int {
	if p.at == len(p.all) {
		p.at = 0
	}
	n = min(n, len(p.all)-p.at)
	p.now = p.all[p.at : p.at+n]
	p.at += n
	return n
}

func (p *lookups) step(n int) error {
	if got := p.lookup(p.now); got != n {
		return fmt.Errorf("%d of %d addresses are found", got, n)
	}
	return nil
}

func (p *lookups) close() {}
