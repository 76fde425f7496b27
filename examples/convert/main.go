// Command convert reads security groups in the format of one cloud and writes
// them in that of another.
//
//	go run ./examples/convert -from aws -to native < groups.json > policy.json
//	go run ./examples/convert -from aws -to openstack -drop-vpc -split-families < groups.json > neutron.json
//	go run ./examples/convert -list
//
// Formats are those of package sg/dialect, and "native", the policy document
// of this library, of which groups and IP sets are converted. What the target
// can not say is an error, with its place; what is lost without changing a
// verdict is a warning on standard error. Two flags change what is written so
// that more formats can say it: -drop-vpc, for groups that are all of one VPC,
// and -split-families.
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

	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const native = "native"

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	switch {
	case err != nil:
	case o.list:
		_, err = fmt.Fprintln(stdout, strings.Join(formats(), "\n"))
	default:
		err = convert(o, stdin, stdout, stderr)
	}
	status := cli.Exit(stderr, "convert", err)
	if flags := helpful(err); flags != "" {
		fmt.Fprintf(stderr, "convert: what may help: %s (see -help)\n", flags)
	}
	return status
}

// options are the command line.
type options struct {
	from, to, profile            string
	dropVPC, splitFamilies, list bool
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("convert", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.from, "from", "", "`format` of the input")
	fs.StringVar(&o.to, "to", "", "`format` of the output")
	fs.StringVar(&o.profile, "profile", "", "`name` of the profile of a native output (default: that of the input's cloud): "+cli.Profiles())
	fs.BoolVar(&o.dropVPC, "drop-vpc", false, "leave out the VPC, for formats without; all groups must be of the same")
	fs.BoolVar(&o.splitFamilies, "split-families", false, "write a rule for both IP versions as two, for formats that have rules for one only")
	fs.BoolVar(&o.list, "list", false, "list the formats")
	if err := cli.Parse(fs, args, 0); err != nil {
		return o, err
	}
	if !o.list && !(known(o.from) && known(o.to)) {
		return o, cli.Usage("-from and -to want one of %s", strings.Join(formats(), ", "))
	}
	return o, cli.Profile(o.profile)
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

func convert(o options, stdin io.Reader, stdout, stderr io.Writer) error {
	in, err := cli.Read("-", stdin)
	if err != nil {
		return err
	}
	b, warnings, err := read(o.from, in)
	warn(stderr, "input", warnings)
	if err != nil {
		return cli.InFile("-", err)
	}
	if o.profile != "" {
		b.profile = o.profile
	}
	if o.dropVPC {
		warnings, err := b.dropVPC()
		warn(stderr, "output", warnings)
		if err != nil {
			return err
		}
	}
	if o.splitFamilies {
		warn(stderr, "output", b.splitFamilies())
	}
	out, warnings, err := write(o.to, b)
	warn(stderr, "output", warnings)
	if err != nil {
		return cli.InFile("output", b.nameRules(err))
	}
	_, err = stdout.Write(out)
	return err
}

// helpful names the flags with which the output could say more.
func helpful(err error) string {
	faults, _ := errors.AsType[sg.Errors](err)
	var vpc, family bool
	for _, f := range faults {
		if f.Err == sg.ErrUnsupported {
			vpc = vpc || strings.HasSuffix(f.Path, ".vpc")
			family = family || strings.HasSuffix(f.Path, ".family") && fmt.Sprint(f.Value) == "any"
		}
	}
	var flags []string
	if vpc {
		flags = append(flags, "-drop-vpc")
	}
	if family {
		flags = append(flags, "-split-families")
	}
	return strings.Join(flags, " ")
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
