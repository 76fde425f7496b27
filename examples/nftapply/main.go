// Command nftapply puts a policy document into the kernel of this host.
//
//	nftapply -policy policy.json -device web-1=tap0 -device db-1=tap1
//	nftapply -policy policy.json -device web-1=tap0 -dry-run   # prints the ruleset; needs no root
//	nftapply -check …   # asks nft and the kernel, changes nothing
//	nftapply -watch …   # stays: applies edits of the file, repairs drift; at the end, packets by rule
//	nftapply -remove
//
// A device per interface says where its workload is plugged in; interfaces
// without one are on other hosts. -uplink up0=vpc-a names the device that leads
// to the rest of a VPC, where two VPCs of the host use the same addresses.
// Exit status: 0, or 1 with every fault on standard error, or 2 for wrong
// usage. Whatever fails, the previous policy stays in force.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/nftables"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp), errors.Is(err, context.Canceled):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "nftapply:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// command is what the flags say.
type command struct {
	policy, profile, table       string
	dryRun, check, watch, remove bool
	reject                       bool
	devices                      map[sg.InterfaceID]string
	uplinks                      map[string]sg.VPCID
	protect                      []string
	stdout, stderr               io.Writer
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := &command{stdout: stdout, stderr: stderr, devices: map[sg.InterfaceID]string{}, uplinks: map[string]sg.VPCID{}}
	f := flag.NewFlagSet("nftapply", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.policy, "policy", "", "policy document, `FILE` or - for standard input")
	f.StringVar(&c.profile, "profile", "", "`name` of the profile, if the document has none")
	f.StringVar(&c.table, "table", "", "`name` of the table (default secgroup)")
	f.BoolVar(&c.dryRun, "dry-run", false, "print the ruleset and apply nothing; needs no root")
	f.BoolVar(&c.check, "check", false, "ask nft and the kernel whether they would take it, and apply nothing")
	f.BoolVar(&c.watch, "watch", false, "stay: apply the file when it changes, repair what others change in the table; at the end, print packets by rule")
	f.BoolVar(&c.remove, "remove", false, "remove the table")
	f.BoolVar(&c.reject, "reject", false, "answer what is refused: TCP reset, ICMP administratively prohibited")
	f.Func("device", "`interface=device` that its workload is plugged into; repeat", func(s string) error {
		id, dev, ok := strings.Cut(s, "=")
		if !ok || id == "" || dev == "" {
			return errors.New("want interface=device")
		}
		if old, ok := c.devices[sg.InterfaceID(id)]; ok {
			return fmt.Errorf("%s has the device %s already", id, old)
		}
		c.devices[sg.InterfaceID(id)] = dev
		return nil
	})
	f.Func("uplink", "`device=vpc` that leads to the rest of a VPC; repeat", func(s string) error {
		dev, vpc, ok := strings.Cut(s, "=")
		if !ok || dev == "" || vpc == "" {
			return errors.New("want device=vpc")
		}
		c.uplinks[dev] = sg.VPCID(vpc)
		return nil
	})
	f.Func("protect", "`device`, or beginning such as 'tap*', that passes nothing without a policy; repeat", func(s string) error {
		c.protect = append(c.protect, s)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return &usageError{err}
	}
	if f.NArg() > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	if c.policy == "" && !c.remove {
		return &usageError{errors.New("-policy is missing")}
	}
	return c.run(ctx)
}

func (c *command) options() nftables.Options {
	return nftables.Options{
		Table:   c.table,
		Uplinks: c.uplinks,
		Protect: c.protect,
		Reject:  c.reject,
		Logger:  slog.New(slog.NewTextHandler(c.stderr, nil)),
		Device: func(id sg.InterfaceID) (string, bool) {
			dev, ok := c.devices[id]
			return dev, ok
		},
	}
}

func (c *command) run(ctx context.Context) error {
	backend, err := nftables.New(c.options())
	if err != nil {
		return err
	}
	defer backend.Close()
	if c.remove {
		return backend.Remove(ctx)
	}
	matcher, err := c.load()
	if err != nil {
		return err
	}
	switch {
	case c.dryRun:
		return nftables.Render(c.stdout, matcher.Program(), c.options())
	case c.check:
		if err := backend.Check(ctx, matcher); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, "nft and the kernel take it; nothing was changed")
		return nil
	}
	if err := backend.Apply(ctx, matcher); err != nil {
		return err
	}
	if c.watch {
		return c.follow(ctx, backend)
	}
	return nil
}

// load reads and compiles the document.
func (c *command) load() (*compile.Matcher, error) {
	text, err := c.read()
	if err != nil {
		return nil, err
	}
	snapshot, err := document.Decode(text, document.Options{Profiles: dialect.Profile, Profile: c.profile})
	if err != nil {
		return nil, err
	}
	for id := range c.devices {
		if _, ok := snapshot.Interface(id); !ok {
			fmt.Fprintf(c.stderr, "nftapply: the policy has no interface %q\n", id)
		}
	}
	return compile.Compile(snapshot)
}

func (c *command) read() ([]byte, error) {
	if c.policy == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(c.policy)
}

// follow applies the file whenever its content changes, and repairs drift,
// until ctx is done.
func (c *command) follow(ctx context.Context, backend *nftables.Backend) error {
	done := make(chan error, 1)
	go func() { done <- backend.Run(ctx) }()
	last, _ := c.read()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			<-done
			return c.printCounters(backend)
		case <-tick.C:
		}
		text, err := c.read()
		if err != nil || bytes.Equal(text, last) {
			continue // a file that is being replaced comes back
		}
		last = text
		matcher, err := c.load()
		if err == nil {
			err = backend.Apply(ctx, matcher)
		}
		if err != nil {
			fmt.Fprintln(c.stderr, err) // the previous policy stays in force
		}
	}
}

func (c *command) printCounters(backend *nftables.Backend) error {
	counters, err := backend.Counters(context.Background())
	if err != nil {
		return err
	}
	for ref, n := range counters {
		fmt.Fprintf(c.stdout, "%-40s %10d packets %12d bytes\n", ref, n.Packets, n.Bytes)
	}
	return nil
}
