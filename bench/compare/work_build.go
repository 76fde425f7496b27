package main

import (
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
	"tailscale.com/wgengine/filter"

	"example.com/secgroup/compile"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// job is a probe whose operations are calls.
type job func() error

func (j job) prepare(n int) int { return n }

func (j job) step(n int) error {
	for range n {
		if err := j(); err != nil {
			return err
		}
	}
	return nil
}

func (j job) close() {}

// opensJob makes the job of a world.
func opensJob(of func() *world, make func(*world) (job, error)) func() (meter, error) {
	return func() (meter, error) {
		j, err := make(of())
		if err != nil {
			return nil, err
		}
		return &stepper{probe: j, unit: perOp}, nil
	}
}

// buildTrials are whole policies from their rules as data.
func buildTrials(s scale) []trial {
	var out []trial
	for _, n := range s.rules {
		l := &lazy{make: func() *world { return ruleWorld(n) }}
		t := trial{world: l, name: "build/rules=" + count(n), about: "a whole policy from its rules"}
		for _, b := range builders() {
			if n <= b.rules {
				t.contestants = append(t.contestants, contestant{b.name, opensJob(l.get, b.make)})
			}
		}
		out = append(out, t)
	}
	for _, n := range s.sets {
		l := &lazy{make: func() *world { return setWorld(sg.IPv4, n) }}
		t := trial{world: l, name: "build/prefixes=" + count(n), about: "a whole policy of one rule from a set"}
		if n >= 1_000_000 {
			t.rounds = 3 // seconds each
		}
		for _, b := range builders() {
			if n <= b.prefixes {
				t.contestants = append(t.contestants, contestant{b.name, opensJob(l.get, b.make)})
			}
		}
		out = append(out, t)
	}
	return out
}

// builder builds a policy, as a job.
type builder struct {
	name            string
	make            func(*world) (job, error)
	rules, prefixes int
}

func builders() []builder {
	return []builder{
		{"secgroup", secgroupBuild, unbounded, unbounded},
		{"tailscale", tailscaleBuild, unbounded, unbounded},
		{"nebula", nebulaBuild, 100, 1_000},
		{"gvisor", gvisorBuild, unbounded, 1_000},
		{"bart.Lite", liteBuild, 0, unbounded},
	}
}

func secgroupBuild(w *world) (job, error) {
	return func() error {
		_, err := compile.Compile(w.policy)
		return err
	}, nil
}

func tailscaleBuild(w *world) (job, error) {
	matches := tailscaleMatches(w.rules, w)
	local, err := tailscaleLocal(w)
	return func() error {
		filter.New(matches, nil, local, nil, nil, discardf)
		return nil
	}, err
}

func nebulaBuild(w *world) (job, error) {
	return func() error {
		_, err := nebulaFirewall(w)
		return err
	}, nil
}

func gvisorBuild(w *world) (job, error) {
	return func() error {
		gvisorTable(w, false)
		gvisorTable(w, true)
		return nil
	}, nil
}

func liteBuild(w *world) (job, error) {
	return func() error {
		t := new(bart.Lite)
		for _, p := range w.rules[0].sources {
			t.Insert(p)
		}
		return nil
	}, nil
}

// updateTrials are one rule of many, and one prefix of many, changed and
// changed back. Those that can only build anew do.
func updateTrials(s scale) []trial {
	rules := &lazy{make: func() *world { return ruleWorld(s.build) }}
	set := &lazy{make: func() *world { return setWorld(sg.IPv4, 10*s.build) }}
	return []trial{
		{world: rules, name: "update/rules=" + count(s.build), about: "another port for one rule", contestants: []contestant{
			{"secgroup", opensJob(rules.get, secgroupRule)},
			{"tailscale", opensJob(rules.get, tailscaleRule)},
			{"gvisor", opensJob(rules.get, gvisorBuild)},
		}},
		{world: set, name: "update/prefixes=" + count(10*s.build), about: "a prefix more or less in a set", contestants: []contestant{
			{"secgroup", opensJob(set.get, secgroupEntry)},
			{"tailscale", opensJob(set.get, tailscaleBuild)},
			{"bart.Lite", opensJob(set.get, litePersist)},
		}},
	}
}

// applies is a job that gives a compiler one change and takes it back.
func applies(w *world, to, back policy.Change) (job, error) {
	c := new(compile.Compiler)
	if _, err := c.Reset(w.policy); err != nil {
		return nil, err
	}
	return func() error {
		_, err := c.Apply(policy.Batch{Changes: []policy.Change{to}})
		to, back = back, to
		return err
	}, nil
}

func secgroupRule(w *world) (job, error) {
	var g *sg.Group
	for last := range w.policy.Groups() {
		g = last
	}
	for _, was := range g.Rules {
		if was.Direction == sg.Ingress && was.Protocol.HasPorts() {
			is := was
			is.Ports = sg.PortRange{First: 65_000, Last: 65_533}
			return applies(w, policy.EditGroup{ID: g.ID, Replace: []sg.Rule{is}}, policy.EditGroup{ID: g.ID, Replace: []sg.Rule{was}})
		}
	}
	return nil, fmt.Errorf("no rule to change")
}

func secgroupEntry(w *world) (job, error) {
	p := netip.MustParsePrefix("240.0.0.1/32") // outside of what workload.Set makes
	return applies(w,
		policy.EditSet{ID: "ips", Add: []ipset.Entry{{Prefix: p}}}, policy.EditSet{ID: "ips", Remove: []netip.Prefix{p}})
}

// tailscaleRule shares the state with the filter before, as tailscaled does.
func tailscaleRule(w *world) (job, error) {
	matches := tailscaleMatches(w.rules, w)
	local, err := tailscaleLocal(w)
	if err != nil {
		return nil, err
	}
	f := filter.New(matches, nil, local, nil, nil, discardf)
	return func() error {
		if len(matches) == 0 || len(matches[0].Dsts) == 0 {
			return fmt.Errorf("no rule to change")
		}
		matches[0].Dsts[0].Ports.Last ^= 1
		f = filter.New(matches, nil, local, nil, f, discardf)
		return nil
	}, nil
}

// litePersist leaves the table before as it was, for those who read it.
func litePersist(w *world) (job, error) {
	t, in := new(bart.Lite), false
	for _, p := range w.rules[0].sources {
		t.Insert(p)
	}
	p := netip.MustParsePrefix("240.0.0.1/32")
	return func() error {
		if in {
			t = t.DeletePersist(p)
		} else {
			t = t.InsertPersist(p)
		}
		in = !in
		return nil
	}, nil
}
