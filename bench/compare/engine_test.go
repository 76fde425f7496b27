package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"example.com/secgroup/sg"
)

// small is a scale for tests.
func small() scale {
	return scale{rules: []int{10, 100}, sets: []int{500}, tables: []int{300, 1_200}, build: 100, lookups: 2_000}
}

// TestVerdicts: every engine gives the verdicts of the reference, on packets
// that the rules allow and on others, in random order, of both families.
func TestVerdicts(t *testing.T) {
	for _, n := range []int{10, 200} {
		w := ruleWorld(n)
		for _, f := range families {
			allow, err := w.flows(f, 200, true)
			if err != nil {
				t.Fatal(err)
			}
			deny, err := w.flows(f, 200, false)
			if err != nil {
				t.Fatal(err)
			}
			allowed, denied := w.opening(allow, len(allow)), w.opening(deny, len(deny))
			for _, m := range makers() {
				e, err := m.make(w, 1_000)
				if err != nil {
					t.Fatal(err)
				}
				for i := range allow {
					got := [2]int{e.filter(sg.Ingress, [][]byte{allowed.at(i)}), e.filter(sg.Ingress, [][]byte{denied.at(i)})}
					if got != [2]int{1, 0} {
						t.Fatalf("%s, %d rules, v%d: %+v and %+v: accepted %v", m.name, n, f, allow[i], deny[i], got)
					}
				}
				if err := e.forget(); err != nil {
					t.Errorf("%s: %v", m.name, err)
				}
				e.close()
			}
		}
	}
}

// TestReplies: replies pass after their flow was opened, and where an engine
// says that it has state, not before, and not once it has forgotten.
func TestReplies(t *testing.T) {
	w := quietWorld()
	for _, m := range makers() {
		for _, v := range m.established {
			for _, f := range families {
				e, err := v.make(w, 1_000)
				if err != nil {
					t.Fatal(err)
				}
				o := outbound{v.proto, f, w.local[f], 100}
				if v.knows == state {
					if err := expect(e, sg.Ingress, o.replies(), false); err != nil {
						t.Errorf("%s, not opened: %v", v.name, err)
					}
				}
				if err := connect(e, o, 0, o.n); err != nil {
					t.Fatalf("%s: %v", v.name, err)
				}
				if err := expect(e, sg.Ingress, o.replies(), true); err != nil {
					t.Errorf("%s, opened: %v", v.name, err)
				}
				if err := e.forget(); err != nil {
					t.Errorf("%s: %v", v.name, err)
				}
				if v.knows == state {
					if err := expect(e, sg.Ingress, o.replies(), false); err != nil {
						t.Errorf("%s, forgotten: %v", v.name, err)
					}
				}
				e.close()
			}
		}
	}
}

// TestLiarsAreFound: no figure is that of an engine that accepts everything, or
// nothing.
func TestLiarsAreFound(t *testing.T) {
	for _, accepts := range []bool{false, true} {
		m := maker{name: "liar", make: func(*world, int) (engine, error) { return liar(accepts), nil }}
		l := &lazy{make: func() *world { return ruleWorld(10) }}
		v := variant{"liar", sg.TCP, m.make, state, 100}
		for name, open := range map[string]func() (meter, error){
			"deny": opensDenied(m, l, sg.IPv4), "established": opensReplies(v, quietWorld, sg.IPv4, 100),
		} {
			if _, err := open(); err == nil {
				t.Errorf("%s: accepts everything: %v, and nobody minds", name, accepts)
			}
		}
	}
	tr := &traffic{engine: liar(true), ring: (&world{}).opening(nil, 0)}
	tr.views = make([][]byte, 3)
	if tr.step(3) == nil {
		t.Error("a step with wrong verdicts is timed")
	}
}

type liar bool

func (l liar) filter(_ sg.Direction, packets [][]byte) int {
	if l {
		return len(packets)
	}
	return 0
}

func (l liar) forget() error { return nil }
func (l liar) close()        {}

// TestTrials runs every trial on a small scale, once.
func TestTrials(t *testing.T) {
	trials := allTrials(small())
	r := runner{rounds: 1, slice: time.Millisecond, progress: io.Discard}
	s, err := r.run(trials)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range trials {
		for _, c := range tr.contestants {
			found := false
			for _, m := range s {
				if m.trial == tr.name && m.engine == c.engine && m.unit != allocsPer {
					found = found || m.of > 0 || strings.HasPrefix(tr.name, "memory") // there, noise may win
				}
			}
			if !found {
				t.Errorf("%s: nothing was measured of %s", tr.name, c.engine)
			}
		}
	}
}

// TestTargetsExist: what targets name is what trials are called.
func TestTargetsExist(t *testing.T) {
	engines := make(map[string]bool)
	for _, tr := range allTrials(fullScale()) {
		for _, c := range tr.contestants {
			engines[tr.name+" "+c.engine] = true
		}
	}
	for _, o := range targets() {
		for _, k := range []key{o.a, o.b} {
			if k.trial == "" || strings.HasPrefix(k.engine, "nftables") || strings.HasPrefix(k.engine, "kernel") {
				continue
			}
			if !engines[k.trial+" "+k.engine] {
				t.Errorf("%s: no trial %s with %s", o.what, k.trial, k.engine)
			}
		}
	}
	for _, p := range panels() {
		if !engines[p.trial+" secgroup"] {
			t.Errorf("the chart shows %s, which is no trial", p.trial)
		}
	}
}
