// Package cli is what the example programs have in common: how they read their
// flags and a file that may be standard input, and how they say what is wrong.
//
// Exit status is 0 if all is good, 1 if there are faults in what the program
// was given or asked for, 2 if it was called in a wrong way. Every fault is a
// line of its own, behind the names of the program and the file:
//
//	lint: policy.json: 2 faults:
//	  security_groups[0].inbound_rules[2].port_range: invalid "9000-80": the first port is above the last
//	  security_groups[1].outbound_rules[0].destination: not found "sg-cache": …
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

// UsageError is a fault of the command line.
type UsageError struct{ Err error }

// Error is that of Err.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *UsageError) Unwrap() error { return e.Err }

// Usage returns a *UsageError of that text.
func Usage(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// Parse parses args and takes at most that many arguments that are no flags. Its
// error is a *UsageError, or flag.ErrHelp after the flags were listed.
func Parse(f *flag.FlagSet, args []string, most int) error {
	out := f.Output()
	f.SetOutput(io.Discard) // the fault is told once, by Exit
	err := f.Parse(args)
	f.SetOutput(out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.Usage()
		return err
	case err != nil:
		return Usage("%w (-help lists the flags)", err)
	case f.NArg() > most:
		return Usage("unexpected argument %q", f.Arg(most))
	}
	return nil
}

// Profile returns a *UsageError if a flag names a profile that is none; no name
// is none asked for.
func Profile(name string) error {
	if _, ok := dialect.Profile(name); ok || name == "" {
		return nil
	}
	return Usage("-profile: there is no %q; there are %s", name, Profiles())
}

// Profiles lists the names of all profiles.
func Profiles() string {
	var names []string
	for _, p := range dialect.Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// Read reads a file whole, or standard input if the name is "-". Of what is
// longer than any policy document it reads as much as shows that.
func Read(name string, stdin io.Reader) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	return io.ReadAll(io.LimitReader(r, document.MaxBytes+1))
}

// InFile says in which file err was found, which may be "-". Of no error it
// makes none.
func InFile(name string, err error) error {
	if err == nil {
		return nil
	}
	if name == "-" {
		name = "standard input"
	}
	return fmt.Errorf("%s: %w", name, err)
}

// Exit tells err, unless it is a call for help, and returns the exit status.
func Exit(w io.Writer, program string, err error) int {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	Complain(w, program, err)
	if _, ok := errors.AsType[*UsageError](err); ok {
		return 2
	}
	return 1
}

// toldAtMost is how many faults package document and the dialects tell.
const toldAtMost = 1000

// Complain writes err, in one piece: every fault on a line of its own, if it
// wraps sg.Errors.
func Complain(w io.Writer, program string, err error) {
	lead, faults := split(err)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", program, lead)
	if len(faults) > toldAtMost && faults[0].Path == "" { // it says that there are more
		faults = faults[1:]
		b.WriteString("more than 1,000 faults, the first 1,000:\n  ")
	} else if len(faults) > 1 {
		fmt.Fprintf(&b, "%d faults:\n  ", len(faults))
	}
	for i, f := range faults {
		if i > 0 {
			b.WriteString("\n  ")
		}
		b.WriteString(explain(f))
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(w, b.String())
}

// split returns the faults that err wraps, and what it says before them; all of
// its text if there are none.
func split(err error) (lead string, faults sg.Errors) {
	faults, _ = errors.AsType[sg.Errors](err)
	if lead, ok := strings.CutSuffix(err.Error(), faults.Error()); ok && len(faults) > 0 {
		return lead, faults
	}
	return err.Error(), nil
}

// explain is the text of a fault. Only this program knows which profiles there
// are; package document does not.
func explain(f *sg.FieldError) string {
	if f.Path == "profile" && f.Err == sg.ErrNotFound {
		return f.Error() + "; there are " + Profiles()
	}
	return f.Error()
}
