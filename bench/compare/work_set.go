package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/gaissmai/bart"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// setTrials are new flows from a set of prefixes and packets from elsewhere,
// with one rule, by size of the set.
func setTrials(s scale) []trial {
	var inside, outside []trial
	for _, n := range s.sets {
		l := &lazy{make: func() *world { return setWorld(sg.IPv4, n) }}
		from := trial{world: l, name: fmt.Sprintf("set-new/v4/prefixes=%s", count(n)), about: "a packet from an address of the set that opens a flow"}
		other := trial{world: l, name: fmt.Sprintf("set-deny/v4/prefixes=%s", count(n)), about: "a packet from an address that the set lacks"}
		for _, m := range makers() {
			if n <= m.prefixes {
				from.contestants = append(from.contestants, contestant{m.name, opensSet(m, l.get, true)})
				other.contestants = append(other.contestants, contestant{m.name, opensSet(m, l.get, false)})
			}
		}
		inside, outside = append(inside, from), append(outside, other)
	}
	return append(inside, outside...)
}

// opensSet goes round more flows than others do: a set is large, and its
// clients are many.
func opensSet(m maker, of func() *world, allowed bool) func() (meter, error) {
	return func() (meter, error) {
		w := of()
		flows := setFlows(w, allowed)
		e, err := m.make(w, len(flows))
		if err != nil {
			return nil, err
		}
		// The reference scans all prefixes: some flows are asked of it.
		some := flows[:max(16, min(512, 5_000_000/len(w.rules[0].sources)))]
		for _, f := range some {
			if w.allows(f) != allowed {
				return nil, fmt.Errorf("the reference says %v of %v", !allowed, f)
			}
		}
		t := &traffic{engine: e, dir: sg.Ingress, ring: w.opening(flows, len(flows)), accept: allowed, once: allowed}
		if err := expect(e, sg.Ingress, w.opening(some, len(some)), allowed); err != nil {
			return nil, err
		}
		return timed(t), e.forget()
	}
}

// martian reports an IPv4 address that nobody may send from: secgroup refuses it
// before it looks at rules, the others do not know the difference.
func martian(a netip.Addr) bool {
	first := a.As4()[0]
	return first == 0 || first == 127 || first >= 224
}

// setFlows are IPv4 flows to the port of the rule: from random addresses of the
// set, or from random addresses of 1.0.0.0 to 223.255.255.255 that it lacks. The
// reference is asked of some of them later.
func setFlows(w *world, inside bool) []ir.Flow {
	r := rand.New(rand.NewPCG(5, 5))
	var has bart.Lite
	if !inside {
		for _, p := range w.rules[0].sources {
			has.Insert(p)
		}
	}
	flows := make([]ir.Flow, freshFlows)
	for i := range flows {
		from := fromSet(r, w.rules[0].sources, true)
		for inside && martian(from) {
			from = fromSet(r, w.rules[0].sources, true)
		}
		for ok := inside; !ok; ok = !has.Contains(from) && !martian(from) {
			v := r.Uint32()
			from = netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), byte(v >> 16), byte(v >> 8), byte(v)})
		}
		flows[i] = ir.Flow{Protocol: uint8(sg.TCP), Port: 443, Remote: from}
	}
	return flows
}

// fromSet returns a random address of one of the prefixes, or of none: one of
// 240.0.0.0/4 or 4000::/3, from which workload.Set makes no prefix.
func fromSet(r *rand.Rand, prefixes []netip.Prefix, inside bool) netip.Addr {
	p := prefixes[r.IntN(len(prefixes))]
	six := p.Addr().Is6()
	if !inside {
		p = netip.MustParsePrefix("240.0.0.0/4")
		if six {
			p = netip.MustParsePrefix("4000::/3")
		}
	}
	a, skip := p.Addr().As16(), 96
	if six {
		skip = 0
	}
	for i := skip + p.Bits(); i < 128; i++ {
		if r.Uint64()&1 == 1 {
			a[i/8] |= 0x80 >> (i % 8)
		}
	}
	if six {
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom4([4]byte(a[12:]))
}
