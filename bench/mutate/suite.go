package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// suite is the tests of one package. They are compiled for every mutant and run
// without the go command, so that a time limit is one of the tests alone.
type suite struct {
	pkg   string
	dir   string // where its tests run
	bin   string // the test binary of the mutant at hand
	limit time.Duration
	args  []string
}

// newSuite runs the tests of a package on the code as it is. They must pass; how
// long they take gives their time limit, if there is none.
func newSuite(ctx context.Context, work, pkg string, limit time.Duration) (*suite, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: go list: %w", pkg, err)
	}
	s := &suite{
		pkg: pkg, dir: strings.TrimSpace(string(out)),
		bin:   filepath.Join(work, strings.NewReplacer("/", "_", ".", "_").Replace(pkg)+".test"),
		limit: limit,
	}
	if err := s.build(ctx, ""); err != nil {
		return nil, fmt.Errorf("%s: the tests do not compile: %w", pkg, err)
	}
	// Rapid keeps what failed, and tries it first next time: one mutant would
	// help to kill another.
	if out, _ := exec.CommandContext(ctx, s.bin, "-h").CombinedOutput(); bytes.Contains(out, []byte("rapid.nofailfile")) {
		s.args = append(s.args, "-rapid.nofailfile")
	}
	if limit == 0 {
		s.limit = 10 * time.Minute
	}
	start := time.Now()
	switch out, err := s.run(ctx); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%s: the tests fail without a mutant: %w\n%s", pkg, err, out)
	}
	if limit == 0 {
		s.limit = 10*time.Second + 5*time.Since(start)
	}
	return s, nil
}

// build compiles the tests.
func (s *suite) build(ctx context.Context, overlay string) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay="+overlay, "-o", s.bin, s.pkg).CombinedOutput()
	if err != nil && len(out) > 0 {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return err
}

// errLate is the answer to tests that do not end.
var errLate = errors.New("time is up")

// run runs the tests until one fails.
func (s *suite) run(parent context.Context) (output []byte, err error) {
	ctx, cancel := context.WithTimeout(parent, s.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append([]string{"-test.short", "-test.failfast"}, s.args...)...)
	cmd.Dir, cmd.WaitDelay = s.dir, time.Second
	output, err = cmd.CombinedOutput()
	if ctx.Err() != nil && parent.Err() == nil {
		err = errLate
	}
	return output, err
}
