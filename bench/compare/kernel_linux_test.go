package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKernel runs the kernel's part on a small scale, where this process may.
// Its verdicts and its connections are compared inside.
func TestKernel(t *testing.T) {
	trials, err := withKernel(allTrials(small()), small())
	if err != nil {
		if os.Getuid() != 0 || errors.Is(err, os.ErrPermission) || errors.Is(err, exec.ErrNotFound) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	var kernel []trial
	want := 0
	for _, tr := range trials {
		only := tr
		only.contestants = nil
		for _, c := range tr.contestants {
			if c.engine == "kernel conntrack" || strings.HasPrefix(c.engine, "nftables ") {
				only.contestants = append(only.contestants, c)
				want++
			}
		}
		if len(only.contestants) > 0 {
			kernel = append(kernel, only)
		}
	}
	if want != 4+2+2+2*2 { // linear of two families, pipapo, a set, two tables
		t.Errorf("%d contestants", want)
	}
	s, err := (&runner{rounds: 1, slice: time.Millisecond, progress: io.Discard}).run(kernel)
	if err != nil {
		t.Fatal(err)
	}
	if len(s) != want {
		t.Errorf("%d values of %d contestants", len(s), want)
	}
}

// TestKernelLiarIsFound: a ruleset that refuses everything is not measured.
func TestKernelLiarIsFound(t *testing.T) {
	if p, err := newWire(quietWorld(), bareRuleset); err != nil {
		t.Skip(err)
	} else {
		p.close()
	}
	l := &lazy{make: func() *world { return ruleWorld(10) }}
	if _, err := opensNft(l, families[0], func(*world) string { return bareRuleset })(); err == nil {
		t.Error("a ruleset that drops all is accepted")
	}
}
