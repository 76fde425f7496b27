// Command replay shows what a policy does to a capture: the verdict for every
// packet with the rule that decided, why a packet was dropped, and the flows.
//
//	go run ./examples/replay
//	go run ./examples/replay -policy policy.json -pcap traffic.pcapng -json
//
// Without flags it replays an embedded capture through an embedded policy. It
// needs no privilege and no network.
package main

import (
	"cmp"
	"embed"
	"flag"
	"io"
	"os"
	"path/filepath"

	"example.com/secgroup/compile"
	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

//go:embed testdata/demo.pcap testdata/policy.json
var demo embed.FS

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// options are the command line.
type options struct {
	policy, capture, profile, iface string
	json                            bool
}

// run is main without the process: it returns the exit status. 0 is a replay,
// 1 a fault in what it was given, 2 a wrong command line.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cli.Exit(stderr, "replay", func() error {
		o, err := parse(args, stderr)
		if err != nil {
			return err
		}
		return replay(o, stdin, stdout, stderr)
	}())
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.policy, "policy", "", "policy document, `FILE` or - for standard input (default: an embedded one)")
	fs.StringVar(&o.capture, "pcap", "", "capture, pcap or pcapng, `FILE` or - for standard input (default: an embedded one)")
	fs.StringVar(&o.profile, "profile", "", "`name` of a profile to judge by instead of the document's: "+cli.Profiles())
	fs.StringVar(&o.iface, "interface", "", "`id` of an interface: judge its packets only")
	fs.BoolVar(&o.json, "json", false, "print one JSON object per packet and verdict")
	if err := cli.Parse(fs, args, 0); err != nil {
		return o, err
	}
	if o.policy == "-" && o.capture == "-" {
		return o, cli.Usage("-policy and -pcap can not both be standard input")
	}
	return o, cli.Profile(o.profile)
}

// loadPolicy reads the policy that the command line names, and compiles it.
func loadPolicy(o options, stdin io.Reader) (*policy.Snapshot, *compile.Matcher, error) {
	text, err := demo.ReadFile("testdata/policy.json")
	if o.policy != "" {
		text, err = cli.Read(o.policy, stdin)
	}
	if err != nil {
		return nil, nil, err
	}
	snapshot, err := document.Decode(text, document.Options{Profiles: dialect.Profile, Profile: o.profile})
	if err != nil {
		return nil, nil, cli.InFile(o.policyName(), err)
	}
	matcher, err := compile.Compile(snapshot)
	return snapshot, matcher, cli.InFile(o.policyName(), err)
}

func (o options) policyName() string { return cmp.Or(o.policy, "the embedded policy") }

// openCapture opens the capture that the command line names; size is 0 where
// it is not known.
func openCapture(o options, stdin io.Reader) (r io.ReadCloser, name string, size int64, err error) {
	switch o.capture {
	case "":
		f, err := demo.Open("testdata/demo.pcap")
		return f, "demo.pcap", 0, err
	case "-":
		return io.NopCloser(stdin), "standard input", 0, nil
	}
	f, err := os.Open(o.capture)
	if err != nil {
		return nil, "", 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, filepath.Base(o.capture), size, nil
}
