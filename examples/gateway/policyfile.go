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
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

// policyFile keeps an engine in step with a policy document.
type policyFile struct {
	path       string
	engine     *enforce.Engine
	interfaces []sg.InterfaceID // that the gateway polices
	log        io.Writer
	compiler   compile.Compiler // one for all versions: rules that stay keep their numbers and counters
	text       []byte           // applied, or refused
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
	if err := p.engine.Apply(ctx, matcher); err != nil {
		return err
	}
	fmt.Fprintf(p.log, "policy %d is in force: %s\n", matcher.Program().Generation(), p.path)
	for _, id := range p.interfaces {
		if _, ok := matcher.Interface(id); !ok {
			fmt.Fprintf(p.log, "the policy has no interface %q: its side passes nothing\n", id)
		}
	}
	return nil
}

// watch loads the file again whenever it has changed, until ctx is done.
func (p *policyFile) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := "" // what is wrong; an editor that replaces the file may hide it for a moment
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := p.load(ctx)
		switch seen++; {
		case err == nil:
			said, seen = "", 0
		case err.Error() != said && (!os.IsNotExist(err) || seen > 1):
			said = err.Error()
			fmt.Fprintf(p.log, "the policy before stays in force: %v\n", err)
		}
	}
}
