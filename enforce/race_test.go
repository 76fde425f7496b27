package enforce_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestSwapWhileFiltering swaps two policies while workers send. Each accepts
// what the other refuses, by rules of its own name, so that a verdict made of
// both, or a batch judged by both, shows.
func TestSwapWhileFiltering(t *testing.T) {
	t.Run("one compiler", func(t *testing.T) { swapWhileFiltering(t, false) })
	t.Run("many compilers", func(t *testing.T) { swapWhileFiltering(t, true) })
}

func swapWhileFiltering(t *testing.T, fresh bool) {
	const swaps, workers = 150, 8
	// A accepts UDP to ports 1 to 4 and refuses 5 to 8, B the other way round.
	rules := func(name string, ports sg.PortRange) []sg.Rule {
		list := both(sg.RuleID(name), sg.Ingress, sg.UDP, 1)
		for i := range list {
			list[i].Ports = ports
		}
		return list
	}
	a := group("g", rules("a", sg.PortRange{First: 1, Last: 4}))
	b := group("g", rules("b", sg.PortRange{First: 5, Last: 8}))
	var c compile.Compiler
	snap := snapshot(t, profile(sg.Revalidate), a, nic("i", "g"), nic("j", "g"), group("m"))
	m, err := c.Reset(snap)
	require.NoError(t, err)

	var opened, closed atomic.Int64
	e := enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 1 << 14, Shards: 4},
		OnEvent: func(ev *enforce.Event) {
			switch ev.Kind {
			case enforce.FlowOpened:
				opened.Add(1)
			case enforce.FlowClosed:
				closed.Add(1)
			}
		},
	})
	require.NoError(t, e.Apply(t.Context(), m))

	// names of rules, by number: of one compiler the numbers tell.
	var names sync.Map
	note := func(m *compile.Matcher) {
		for r := range m.Program().Rules() {
			names.Store(r.Num, r.Ref.Rule[:1])
		}
	}
	note(m)

	ctx, stop := context.WithCancel(t.Context())
	var wg, background sync.WaitGroup
	background.Go(func() { _ = e.Run(ctx) })
	background.Go(func() {
		was := map[ir.RuleRef]enforce.Counter{}
		for ctx.Err() == nil {
			for ref, c := range e.Counters() {
				w := was[ref]
				if c.Flows < w.Flows || c.Packets < w.Packets || c.Bytes < w.Bytes || int64(c.Packets) < 0 {
					t.Errorf("%v went from %v to %v", ref, w, c)
				}
				was[ref] = c
			}
			for range e.Drops() {
			}
			for range e.Table().All(0) {
			}
			e.Sweep(100)
			e.Table().Stats()
		}
	})
	background.Go(func() { // membership, by changes of its own
		for n := 0; n < swaps; n++ {
			e.Port(sg.InterfaceID(fmt.Sprint("x", n%4))).Filter(sg.Ingress, nil)
			_, _ = e.Interface(conntrack.Zone(n))
			_, _ = e.Rule(ir.RuleNum(n))
		}
	})

	probes := make([][]byte, 8)
	for i := range probes {
		probes[i] = udp("192.0.2.7:9", fmt.Sprint("10.0.0.5:", i+1), 0)
		if i%2 == 1 {
			probes[i] = udp("[2001:db8::7]:9", fmt.Sprint("[fd00::5]:", i+1), 0)
		}
	}
	// side returns which policy a verdict on probe i is of, or "" for neither.
	side := func(i int, v ir.Verdict) string {
		accepts, refuses := "a", "b"
		if i >= 4 {
			accepts, refuses = "b", "a"
		}
		switch {
		case v.Action == sg.Drop && v.Reason == ir.ReasonNoRule && v.Rule == 0:
			return refuses
		case v.Action == sg.Drop || v.Rule == 0 || v.Reason != ir.ReasonRule && v.Reason != ir.ReasonEstablished:
			return ""
		}
		if name, ok := names.Load(v.Rule); !fresh && (!ok || string(name.(sg.RuleID)) != accepts) {
			return ""
		}
		return accepts
	}
	var done atomic.Bool
	for w := range workers {
		wg.Go(func() {
			p := e.Port([]sg.InterfaceID{"i", "j"}[w%2])
			out := make([]ir.Verdict, len(probes))
			for n := 0; !done.Load() || n < 50; n++ {
				if n%4 == 0 {
					i := n / 4 % len(probes)
					if v := p.Filter(sg.Ingress, probes[i]); side(i, v) == "" {
						t.Errorf("probe %d: %+v", i, v)
						return
					}
					continue
				}
				p.FilterBatch(sg.Ingress, probes, out)
				for i, v := range out {
					if s := side(i, v); s == "" || s != side(0, out[0]) {
						t.Errorf("a batch of two policies, or of none: %+v", out)
						return
					}
				}
			}
		})
	}
	for n := range swaps {
		g := []policy.PutGroup{b, a}[n%2]
		member := policy.PutInterface{Interface: &sg.Interface{ID: "k", Groups: []sg.GroupID{"m"}}}
		changes := []policy.Change{g, member}
		if n%3 == 2 {
			changes[1] = policy.DeleteInterface{ID: "k"}
		}
		if fresh {
			snap, _, err = snap.With(g)
			if err == nil {
				m, err = compile.Compile(snap)
			}
		} else {
			m, err = c.Apply(policy.Batch{Changes: changes})
		}
		require.NoError(t, err)
		note(m)
		require.NoError(t, e.Apply(ctx, m))
	}
	done.Store(true)
	wg.Wait()
	stop()
	background.Wait()
	require.EqualValues(t, e.Table().Len(), opened.Load()-closed.Load())
}

// TestInterfaceGoesWhileFiltering removes and restores an interface under
// traffic: a packet is one of an interface that is there, or of none.
func TestInterfaceGoesWhileFiltering(t *testing.T) {
	var c compile.Compiler
	m, err := c.Reset(snapshot(t, profile(sg.Keep), web(), nic("i", "web"), nic("j", "web")))
	require.NoError(t, err)
	e := enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 4096, Shards: 2}})
	require.NoError(t, e.Apply(t.Context(), m))
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := e.Port("i")
			for !done.Load() {
				switch v := p.Filter(sg.Ingress, udp("192.0.2.7:9", "10.0.0.5:53", 0)); {
				case v.Action == sg.Accept, v.Reason == ir.ReasonUnknownInterface:
				default:
					t.Errorf("%+v", v)
				}
			}
		})
	}
	for range 100 {
		for _, change := range []policy.Change{policy.DeleteInterface{ID: "i"}, nic("i", "web")} {
			m, err = c.Apply(policy.Batch{Changes: []policy.Change{change}})
			require.NoError(t, err)
			require.NoError(t, e.Apply(t.Context(), m))
		}
	}
	done.Store(true)
	wg.Wait()
}
