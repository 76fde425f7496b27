// Command lint reads a policy document and says what the clouds advise
// against in it.
//
//	go run ./examples/lint < policy.json
//	go run ./examples/lint -json -min warning policy.json
//
// Exit status: 0 if there is no finding of the wanted severity, 1 if there is,
// 2 if the policy or the command line is faulty.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/lint"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("lint", flag.ContinueOnError)
	fs.SetOutput(stderr)
	asJSON := fs.Bool("json", false, "print one JSON object per finding")
	profile := fs.String("profile", "", "judge by this profile instead of the document's")
	least := fs.String("min", "info", "the least severity to report: info, warning, critical")
	if err := fs.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return 0
		}
		return 2
	}
	severity, ok := map[string]lint.Severity{"info": lint.Info, "warning": lint.Warning, "critical": lint.Critical}[*least]
	if !ok || fs.NArg() > 1 {
		fmt.Fprintln(stderr, "lint: want -min info, warning or critical, and at most one file")
		return 2
	}
	s, err := load(fs.Arg(0), *profile, stdin)
	if err != nil {
		fmt.Fprintln(stderr, "lint:", err)
		return 2
	}
	status := 0
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	for _, f := range lint.Check(s) {
		if f.Severity < severity {
			continue
		}
		status = 1
		if *asJSON {
			err = enc.Encode(f)
		} else {
			_, err = fmt.Fprintln(stdout, f)
		}
		if err != nil {
			fmt.Fprintln(stderr, "lint:", err)
			return 2
		}
	}
	return status
}

func load(name, profile string, stdin io.Reader) (*policy.Snapshot, error) {
	o := document.Options{Profiles: dialect.Profile, Profile: profile}
	if name == "" || name == "-" {
		return document.Read(stdin, o)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return document.Read(f, o)
}
