package main

import (
	"fmt"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// establishedTrials are replies of flows that were opened from inside, few
// enough for the cache, under rules that would refuse most of them.
func establishedTrials(s scale) []trial {
	var out []trial
	for _, n := range s.rules {
		for _, f := range families {
			l := &lazy{make: func() *world { return ruleWorld(n) }}
			t := trial{world: l, name: fmt.Sprintf("established/v%d/rules=%s", f, count(n)),
				about: "a reply of one of 512 flows that were opened from inside"}
			for _, m := range makers() {
				for _, v := range m.established {
					if n <= m.rules {
						flows := min(hotFlows, v.flows)
						t.contestants = append(t.contestants, contestant{v.name, opensReplies(v, l.get, f, flows)})
					}
				}
			}
			out = append(out, t)
		}
	}
	return out
}

// tableTrials are the same, and the opening of flows, by number of flows.
func tableTrials(s scale) []trial {
	var hits, inserts []trial
	for _, n := range s.tables {
		for _, f := range families {
			if f == sg.IPv6 && n != slices.Max(s.tables)/4 {
				continue // one size shows it
			}
			hit := trial{name: fmt.Sprintf("hit/v%d/flows=%s", f, count(n)), about: "a reply of one of so many flows, in random order"}
			insert := trial{name: fmt.Sprintf("insert/v%d/flows=%s", f, count(n)), rounds: 5,
				about: "a packet that opens a flow, while a table goes from half so many to so many"}
			if n > 1_000_000 {
				insert.rounds = 3
			}
			for _, m := range makers() {
				for _, v := range m.established {
					if n <= v.flows && v.knows != unseen {
						hit.contestants = append(hit.contestants, contestant{v.name, opensReplies(v, quietWorld, f, n)})
					}
				}
				if v := m.established[0]; n <= v.flows {
					insert.contestants = append(insert.contestants, contestant{v.name, opensInserts(v, f, n)})
				}
			}
			hits, inserts = append(hits, hit), append(inserts, insert)
		}
	}
	return append(hits, inserts...)
}

func opensReplies(v variant, of func() *world, f sg.Family, n int) func() (meter, error) {
	return func() (meter, error) {
		w := of()
		e, err := v.make(w, n)
		if err != nil {
			return nil, err
		}
		o := outbound{v.proto, f, w.local[f], n}
		if v.knows == state {
			if err := strangers(e, w, o); err != nil {
				return nil, err
			}
		}
		if err := connect(e, o, 0, n); err != nil {
			return nil, err
		}
		return timed(&traffic{engine: e, dir: sg.Ingress, ring: o.replies(), accept: true}), nil
	}
}

// strangers sends replies of flows that nobody has opened: those that the rules
// would refuse are to be refused.
func strangers(e engine, w *world, o outbound) error {
	r := newRing(64)
	for i := o.n; i < o.n+64; i++ {
		t := o.tuple(i)
		if !w.allows(ir.Flow{Remote: t.DstAddr(), Protocol: uint8(o.proto), Port: t.SrcPort}) {
			o.reply(r, i)
		}
	}
	return expect(e, sg.Ingress, r, false)
}
