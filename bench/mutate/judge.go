package main

import (
	"bytes"
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
// survivors.
func judge(ctx context.Context, w io.Writer, o options, tests []string, list []mutant) (t tally, err error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	started := time.Now()
	for _, m := range list {
		if o.n > 0 && t.killed+t.survived >= o.n {
			break
		}
		switch fate, err := try(ctx, dir, o.limit, tests, m); {
		case err != nil:
			return t, err
		case fate == invalid:
			t.invalid++
			continue
		case fate == survived:
			t.survived++
			fmt.Fprintf(w, "survived %s\n", m)
		default:
			t.killed++
		}
		if n := t.killed + t.survived; n%10 == 0 {
			fmt.Fprintf(os.Stderr, "%d mutants in %s, %d survived\n", n, time.Since(started).Round(time.Second), t.survived)
		}
	}
	return t, nil
}

type fate int

const (
	invalid fate = iota
	survived
	killed
)

// try runs the tests against one mutant, until one fails.
func try(ctx context.Context, dir string, limit time.Duration, tests []string, m mutant) (fate, error) {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return invalid, err
	}
	code := slices.Concat(src[:m.from], []byte(m.text), src[m.to:])
	original, err := filepath.Abs(m.file)
	if err != nil {
		return invalid, err
	}
	mutated, overlay := filepath.Join(dir, "mutant.go"), filepath.Join(dir, "overlay.json")
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
	if _, err := goTool(ctx, limit, "build", "-overlay="+overlay, "./"+filepath.Dir(m.file)); err != nil {
		return invalid, ctx.Err()
	}
	for _, pkg := range tests {
		out, err := goTool(ctx, limit, "test", "-short", "-failfast", "-vet=off", "-count=1",
			"-timeout="+limit.String(), "-overlay="+overlay, pkg)
		var exit *exec.ExitError
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil || !errors.As(err, &exit):
			return invalid, errors.Join(ctx.Err(), err)
		case bytes.Contains(out, []byte("[build failed]")):
			return invalid, nil // an unused import or variable that only the tests' build sees
		}
		return killed, nil
	}
	return survived, nil
}

// goTool runs the go command, for twice the time that a test may take: building
// counts too.
func goTool(ctx context.Context, limit time.Duration, args ...string) (output []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.WaitDelay = time.Second
	return cmd.CombinedOutput()
}
