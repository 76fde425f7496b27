package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// judge runs tests against the first o.n mutants that compile, and prints the
// survivors. Each mutant is judged by the tests of its own package, unless o
// names others.
func judge(ctx context.Context, w io.Writer, o options, list []mutant) (t tally, err error) {
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(work)
	suites := map[string]*suite{}
	started := time.Now()
	for _, m := range list {
		if o.n > 0 && t.killed+t.survived >= o.n {
			break
		}
		var tests []*suite
		for _, pkg := range o.suitesOf(m) {
			if suites[pkg] == nil {
				if suites[pkg], err = newSuite(ctx, work, pkg, o.limit); err != nil {
					return t, err
				}
				fmt.Fprintf(os.Stderr, "%s: at most %s\n", pkg, suites[pkg].limit.Round(time.Second))
			}
			tests = append(tests, suites[pkg])
		}
		fate, err := try(ctx, work, tests, m)
		if err != nil {
			return t, err
		}
		t.count(fate)
		if fate == survived {
			fmt.Fprintf(w, "survived %s\n", m)
		}
		fmt.Fprintf(os.Stderr, "%s %s: %s (%s)\n", time.Since(started).Round(time.Second), fate, m, t)
	}
	return t, nil
}

type fate int

const (
	invalid  fate = iota // does not compile
	survived             // all tests pass
	killed               // a test fails
	late                 // killed too: the tests do not end
)

// String returns the fate in a word or two.
func (f fate) String() string {
	return [...]string{"invalid", "survived", "killed", "killed late"}[f]
}

// try runs the tests against one mutant, until one fails.
func try(ctx context.Context, work string, tests []*suite, m mutant) (fate, error) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return invalid, err
	}
	code := slices.Concat(src[:m.from], []byte(m.text), src[m.to:])
	original, err := filepath.Abs(m.file)
	if err != nil {
		return invalid, err
	}
	mutated, overlay := filepath.Join(work, "mutant.go"), filepath.Join(work, "overlay.json")
	if err := os.WriteFile(mutated, code, 0o600); err != nil {
		return invalid, err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{original: mutated}})
	if err != nil {
		return invalid, err
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return invalid, err
	}
	for _, s := range tests {
		var exit *exec.ExitError
		switch err := s.build(ctx, overlay); {
		case ctx.Err() != nil:
			return invalid, ctx.Err()
		case errors.As(err, &exit):
			return invalid, nil
		case err != nil:
			return invalid, err
		}
		switch _, err := s.run(ctx); {
		case ctx.Err() != nil:
			return invalid, ctx.Err()
		case err == errLate:
			return late, nil
		case errors.As(err, &exit):
			return killed, nil
		case err != nil:
			return invalid, err
		}
	}
	return survived, nil
}
