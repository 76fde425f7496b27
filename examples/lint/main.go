// Command lint reads a policy document and says what the clouds advise
// against in it.
//
//	go run ./examples/lint policy.json
//	go run ./examples/lint -json -min warning < policy.json
//
// Exit status: 0 if there is no finding of the wanted severity, 1 if there is
// one, or the policy is faulty and the faults are on standard error, 2 if the
// command line is wrong.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/lint"
	"example.com/secgroup/sg/policy/document"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	found, err := check(args, stdin, stdout, stderr)
	if err == nil && found {
		return 1
	}
	return cli.Exit(stderr, "lint", err)
}

// check prints findings and reports whether there are any.
func check(args []string, stdin io.Reader, stdout, stderr io.Writer) (found bool, err error) {
	fs := flag.NewFlagSet("lint", flag.ContinueOnError)
	fs.SetOutput(stderr)
	asJSON := fs.Bool("json", false, "print one JSON object per finding")
	profile := fs.String("profile", "", "`name` of a profile to judge by instead of the document's: "+cli.Profiles())
	least := fs.String("min", "info", "the least `severity` to report: info, warning, critical")
	if err := cli.Parse(fs, args, 1); err != nil {
		return false, err
	}
	severity, ok := map[string]lint.Severity{"info": lint.Info, "warning": lint.Warning, "critical": lint.Critical}[*least]
	if !ok {
		return false, cli.Usage("-min wants info, warning or critical, not %q", *least)
	}
	if err := cli.Profile(*profile); err != nil {
		return false, err
	}
	name := cmp.Or(fs.Arg(0), "-")
	text, err := cli.Read(name, stdin)
	if err != nil {
		return false, err
	}
	s, err := document.Decode(text, document.Options{Profiles: dialect.Profile, Profile: *profile})
	if err != nil {
		return false, cli.InFile(name, err)
	}
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	for _, f := range lint.Check(s) {
		if f.Severity < severity {
			continue
		}
		if *asJSON {
			err = enc.Encode(f)
		} else {
			_, err = fmt.Fprintln(stdout, f)
		}
		if err != nil {
			return found, err
		}
		found = true
	}
	return found, nil
}
