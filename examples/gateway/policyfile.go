package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

// policyFile keeps an engine in step with a policy document.
type policyFile struct {
	path     string
	engine   *enforce.Engine
	compiler compile.Compiler // one for all versions: rules that stay keep their numbers and counters
	text     []byte           // applied, or refused
}

// load applies the file if it differs from what was read last. On error the
// policy before stays in force.
func (p *policyFile) load(ctx context.Context) error {
	text, err := os.ReadFile(p.path)
	if err != nil || p.text != nil && bytes.Equal(text, p.text) {
		return err
	}
	p.text = text
	snapshot, err := document.Decode(text, document.Options{Profiles: dialect.Profile})
	if err != nil {
		return err
	}
	matcher, err := p.compiler.Reset(snapshot)
	if err != nil {
		return err
	}
	return p.engine.Apply(ctx, matcher)
}

// watch loads the file again whenever it has changed, until ctx is done.
func (p *policyFile) watch(ctx context.Context, stderr io.Writer) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	missing := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := p.load(ctx)
		if os.IsNotExist(err) && !missing {
			missing = true // while an editor replaces it
			continue
		}
		missing = false
		if err != nil {
			fmt.Fprintf(stderr, "the policy before stays in force: %v\n", err)
		}
	}
}
