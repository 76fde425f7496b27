package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// suite is the tests of one package. They are compiled once for many mutants and
// run without the go command, so that a time limit is one of the tests alone.
type suite struct {
	pkg   string
	dir   string // where its tests run
	bin   string
	limit time.Duration
	args  []string
}

// newSuite compiles the tests of a package with the mutants of s, and runs them
// with none in force. They must pass; how long they take gives their time limit,
// if there is none. Mutants that do not compile leave s.
func newSuite(ctx context.Context, s *schema, pkg string, limit time.Duration) (*suite, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", pkg).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: go list: %w", pkg, err)
	}
	t := &suite{
		pkg: pkg, dir: strings.TrimSpace(string(out)),
		bin:   filepath.Join(s.work, strings.NewReplacer("/", "_", ".", "_").Replace(pkg)+".test"),
		limit: limit,
	}
	for {
		out, err := t.build(ctx, s.overlay)
		if err == nil {
			break
		}
		bad := broken(out)
		if len(bad) == 0 || ctx.Err() != nil {
			return nil, fmt.Errorf("%s: the tests do not compile: %w\n%s", pkg, err, out)
		}
		if err := s.drop(bad); err != nil {
			return nil, err
		}
	}
	// Rapid keeps what failed, and tries it first next time: one mutant would
	// help to kill another. And nobody reads how small a failure gets.
	if out, _ := exec.CommandContext(ctx, t.bin, "-h").CombinedOutput(); bytes.Contains(out, []byte("rapid.nofailfile")) {
		t.args = append(t.args, "-rapid.nofailfile", "-rapid.shrinktime=1ms")
	}
	if limit == 0 {
		t.limit = 10 * time.Minute
	}
	start := time.Now()
	switch out, err := t.run(ctx, 0); {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("%s: the tests fail without a mutant: %w\n%s", pkg, err, out)
	}
	if limit == 0 {
		t.limit = 10*time.Second + 5*time.Since(start)
	}
	return t, nil
}

// build compiles the tests.
func (t *suite) build(ctx context.Context, overlay string) (output []byte, err error) {
	return exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay="+overlay, "-o", t.bin, t.pkg).CombinedOutput()
}

var place = regexp.MustCompile(`mutant(\d+)\.go:\d+`)

// broken returns the mutants that a compiler's messages are about.
func broken(output []byte) (numbers []int) {
	for _, m := range place.FindAllSubmatch(output, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// errLate is the answer to tests that do not end.
var errLate = errors.New("time is up")

// run runs the tests, until one fails, with the mutant of that number; zero is
// none.
func (t *suite) run(parent context.Context, number int) (output []byte, err error) {
	ctx, cancel := context.WithTimeout(parent, t.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, t.bin, append([]string{"-test.short", "-test.failfast"}, t.args...)...)
	cmd.Dir, cmd.WaitDelay = t.dir, time.Second
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", variable, number))
	output, err = cmd.CombinedOutput()
	if ctx.Err() != nil && parent.Err() == nil {
		err = errLate
	}
	return output, err
}
