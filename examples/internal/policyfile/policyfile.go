// Package policyfile keeps whatever enforces a policy in step with a policy
// document: it reads the file again when it changes, and compiles every version
// with the same compiler, so that a small edit is a small change.
package policyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// File is a policy document and what it is applied to. Load and Watch are not
// for concurrent use.
type File struct {
	Path    string    // "-" is Stdin
	Stdin   io.Reader // of this program
	Profile string    // instead of the document's, if not empty

	// Apply makes a version the policy in force, or returns an error and leaves
	// the one before it. After an error that is no sg.Errors, which would be the
	// document's fault, Watch tries again.
	Apply func(context.Context, *policy.Snapshot, *compile.Matcher) error

	compiler compile.Compiler // one for all versions: rules that stay keep their numbers and counters
	text     []byte           // applied, or refused; nil: to be tried again
}

// Load applies the file if it differs from what was read last. On error the
// policy before stays in force.
func (f *File) Load(ctx context.Context) error {
	text, err := cli.Read(f.Path, f.Stdin)
	if err != nil || f.text != nil && bytes.Equal(text, f.text) {
		return err
	}
	f.text = text
	snapshot, err := document.Decode(text, document.Options{Profiles: dialect.Profile, Profile: f.Profile})
	if err != nil {
		return cli.InFile(f.Path, err)
	}
	matcher, err := f.compiler.Reset(snapshot)
	if err != nil {
		return cli.InFile(f.Path, err)
	}
	err = f.Apply(ctx, snapshot, matcher)
	if _, ok := errors.AsType[sg.Errors](err); ok {
		return cli.InFile(f.Path, err)
	}
	if err != nil {
		f.text = nil
	}
	return err
}

// Watch loads the file again whenever it has changed, until ctx is done, whose
// error it returns. It looks once per second, and tells log what keeps a version
// from being applied.
func (f *File) Watch(ctx context.Context, log io.Writer, program string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	said := "" // what is wrong
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		err := f.Load(ctx)
		if err == nil {
			said, failed = "", 0
			continue
		}
		// An editor that replaces the file may hide it for a moment.
		failed++
		if err.Error() != said && ctx.Err() == nil && (failed > 1 || !errors.Is(err, fs.ErrNotExist)) {
			said = err.Error()
			var b bytes.Buffer
			cli.Complain(&b, program, err)
			fmt.Fprintf(&b, "%s: the policy before stays in force\n", program)
			_, _ = log.Write(b.Bytes())
		}
	}
}
