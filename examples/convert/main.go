// Command convert reads security groups in the format of one cloud and writes
// them in that of another.
//
//	go run ./examples/convert -from aws -to openstack < groups.json > neutron.json
//	go run ./examples/convert -list
//
// Formats are those of package sg/dialect, and "native", the policy document
// of this library, of which groups and IP sets are converted. What the target
// can not say is an error, with its place; what is lost without changing a
// verdict is a warning on standard error.
//
// Exit status: 0 if it was converted, 1 if not, 2 for a wrong command line.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const native = "native"

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("convert", flag.ContinueOnError)
	fs.SetOutput(stderr)
	from := fs.String("from", "", "format of the input")
	to := fs.String("to", "", "format of the output")
	profile := fs.String("profile", "", "profile of a native output (default: that of the input's cloud)")
	list := fs.Bool("list", false, "list the formats")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "convert: unexpected argument %q\n", fs.Arg(0))
		return 2
	}
	if *list {
		fmt.Fprintln(stdout, strings.Join(formats(), "\n"))
		return 0
	}
	if !known(*from) || !known(*to) {
		fmt.Fprintln(stderr, "convert: -from and -to want one of", strings.Join(formats(), ", "))
		return 2
	}
	if err := convert(*from, *to, *profile, stdin, stdout, stderr); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

func formats() []string {
	names := []string{native}
	for _, c := range dialect.Codecs() {
		names = append(names, c.Name)
	}
	return names
}

func known(name string) bool {
	_, ok := dialect.FindCodec(name)
	return ok || name == native
}

// bundle is what can be converted.
type bundle struct {
	groups  []*sg.Group
	sets    []*ipset.Set
	profile string
}

func convert(from, to, profile string, stdin io.Reader, stdout, stderr io.Writer) error {
	in, err := io.ReadAll(io.LimitReader(stdin, document.MaxBytes+1))
	if err != nil {
		return err
	}
	b, warnings, err := read(from, in)
	warn(stderr, "input", warnings)
	if err != nil {
		return err
	}
	if profile != "" {
		b.profile = profile
	}
	out, warnings, err := write(to, b)
	warn(stderr, "output", warnings)
	if err != nil {
		return err
	}
	_, err = stdout.Write(out)
	return err
}

func read(format string, in []byte) (bundle, []sg.Warning, error) {
	if c, ok := dialect.FindCodec(format); ok {
		groups, warnings, err := c.Decode(in)
		return bundle{groups, nil, c.Profile}, warnings, err
	}
	s, err := document.Decode(in, document.Options{Profiles: dialect.Profile})
	if err != nil {
		return bundle{}, nil, err
	}
	b := bundle{profile: s.Profile().Name}
	for g := range s.Groups() {
		b.groups = append(b.groups, g)
	}
	for set := range s.Sets() {
		b.sets = append(b.sets, set)
	}
	var warnings []sg.Warning
	for i := range s.Interfaces() {
		warnings = append(warnings, sg.Warning{Path: "interfaces", Detail: "interface " + string(i.ID) + " is no part of a format for groups"})
	}
	return b, warnings, nil
}

func write(format string, b bundle) ([]byte, []sg.Warning, error) {
	if c, ok := dialect.FindCodec(format); ok {
		var lost []sg.Warning
		for _, s := range b.sets {
			lost = append(lost, sg.Warning{Path: "ip_sets", Detail: "rules name IP set " + string(s.ID) + " by id; its entries are no part of the format"})
		}
		out, warnings, err := c.Encode(b.groups)
		return out, append(lost, warnings...), err
	}
	p, ok := dialect.Profile(b.profile)
	if !ok {
		return nil, nil, &sg.FieldError{Path: "profile", Value: b.profile, Err: sg.ErrNotFound}
	}
	var changes []policy.Change
	for _, s := range b.sets {
		changes = append(changes, policy.PutSet{Set: s})
	}
	for _, g := range b.groups {
		changes = append(changes, policy.PutGroup{Group: g})
	}
	s, err := policy.Build(p, changes...)
	if err != nil {
		return nil, nil, err
	}
	out, err := document.Encode(s)
	return out, nil, err
}

func warn(w io.Writer, side string, warnings []sg.Warning) {
	for _, x := range warnings {
		fmt.Fprintf(w, "convert: warning: %s: %s\n", side, x)
	}
}

// complain prints err, one line per fault.
func complain(w io.Writer, err error) {
	var errs sg.Errors
	if !errors.As(err, &errs) {
		fmt.Fprintln(w, "convert:", err)
		return
	}
	for _, e := range errs {
		fmt.Fprintln(w, "convert:", e)
	}
}
