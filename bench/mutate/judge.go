package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// together is how many mutants one build has at most.
const together = 120

// judge runs tests against the first o.n mutants that compile, and prints the
// survivors. Each mutant is judged by the tests of its own package, and then by
// those that o names.
func judge(ctx context.Context, w io.Writer, o options, list []mutant) (t tally, err error) {
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(work)
	started := time.Now()
	for dir := 0; len(list) > 0 && (o.n == 0 || t.killed+t.survived < o.n); dir++ {
		most := together
		if o.n > 0 {
			most = min(most, o.n-t.killed-t.survived)
		}
		most = min(most, len(list))
		some := list[:most]
		list = list[most:]
		at := filepath.Join(work, fmt.Sprint(dir))
		if err := os.Mkdir(at, 0o700); err != nil {
			return t, err
		}
		err := judgeSome(ctx, at, o, some, func(m mutant, f fate) {
			t.count(f)
			if f == survived {
				fmt.Fprintf(w, "survived %s\n", m)
			}
			fmt.Fprintf(os.Stderr, "%s %s: %s (%s)\n", time.Since(started).Round(time.Second), f, m, t)
		})
		if err != nil {
			return t, err
		}
		if err := os.RemoveAll(at); err != nil {
			return t, err
		}
	}
	return t, nil
}

// judgeSome judges mutants that are in one build.
func judgeSome(ctx context.Context, work string, o options, list []mutant, tell func(mutant, fate)) error {
	numbers := map[int]mutant{}
	for i, m := range list {
		numbers[i+1] = m
	}
	s, err := newSchema(work, numbers)
	if err != nil {
		return err
	}
	// All are built before the first runs: a mutant counts if it compiles in each.
	suites := map[string]*suite{}
	for i := range list {
		for _, pkg := range o.suitesOf(list[i]) {
			if _, ok := suites[pkg]; ok {
				continue
			}
			if suites[pkg], err = newSuite(ctx, s, pkg, o.limit); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%s: at most %s\n", pkg, suites[pkg].limit.Round(time.Second))
		}
	}
	for i, m := range list {
		n := i + 1
		if _, ok := s.numbers[n]; !ok {
			tell(m, invalid)
			continue
		}
		var tests []*suite
		for _, pkg := range o.suitesOf(m) {
			tests = append(tests, suites[pkg])
		}
		f, err := try(ctx, tests, n)
		if err != nil {
			return err
		}
		tell(m, f)
	}
	return nil
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
func try(ctx context.Context, tests []*suite, number int) (fate, error) {
	for _, s := range tests {
		var exit *exec.ExitError
		switch _, err := s.run(ctx, number); {
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
