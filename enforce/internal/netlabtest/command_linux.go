package netlabtest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
)

// Cmd is a command of the host namespace. Its Start, Run, Output and
// CombinedOutput are those of [exec.Cmd] in all but the namespace.
type Cmd struct {
	*exec.Cmd
	lab *Lab
}

// Command returns a command that will run in the host namespace. Names without
// a slash are looked up in PATH and where administrators' commands are.
func (l *Lab) Command(ctx context.Context, name string, args ...string) *Cmd {
	if path, err := find(name); err == nil {
		name = path
	}
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), lab: l}
}

// Start starts the command and does not wait for it.
func (c *Cmd) Start() error {
	return c.lab.Do(c.Cmd.Start)
}

// Run starts the command and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the command and returns its standard output.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("netlabtest: Stdout already set")
	}
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the command and returns its standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("netlabtest: Stdout or Stderr already set")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
