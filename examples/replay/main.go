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
	"bytes"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"example.com/secgroup/sg"
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
	var o options
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.policy, "policy", "", "policy document, JSON (default: an embedded one)")
	fs.StringVar(&o.capture, "pcap", "", "capture, pcap or pcapng, - for standard input (default: an embedded one)")
	fs.StringVar(&o.profile, "profile", "", "judge by this profile instead of the document's: "+profileNames())
	fs.StringVar(&o.iface, "interface", "", "judge the packets of this interface only")
	fs.BoolVar(&o.json, "json", false, "print one JSON object per packet and verdict")
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "replay: unexpected argument %q\n", fs.Arg(0))
		return 2
	}
	if err := replay(o, stdin, stdout, stderr); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// complain prints err, one line per fault where there are several.
func complain(w io.Writer, err error) {
	var errs sg.Errors
	if !errors.As(err, &errs) {
		fmt.Fprintln(w, "replay:", err)
		return
	}
	noun := "errors"
	if len(errs) == 1 {
		noun = "error"
	}
	fmt.Fprintf(w, "replay: the policy has %d %s:\n", len(errs), noun)
	for _, e := range errs {
		fmt.Fprintln(w, "  "+e.Error())
	}
}

func profileNames() string {
	var names []string
	for _, p := range dialect.Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// loadPolicy reads the policy that the command line names.
func loadPolicy(o options) (*policy.Snapshot, error) {
	var r io.Reader
	if o.policy == "" {
		b, err := demo.ReadFile("testdata/policy.json")
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	} else {
		f, err := os.Open(o.policy)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	return document.Read(r, document.Options{Profiles: dialect.Profile, Profile: o.profile})
}

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
