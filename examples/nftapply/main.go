// Command nftapply puts a policy document into the kernel of this host.
//
//	nftapply -policy policy.json -device web-1=tap0 -device db-1=tap1
//	nftapply -policy policy.json -device web-1=tap0 -dry-run   # prints the ruleset; needs no root
//	nftapply -check …   # asks nft and the kernel, changes nothing
//	nftapply -watch …   # stays: applies edits of the file, repairs drift; at the end, packets by rule
//	nftapply -remove    # what the table filtered passes
//
// A device per interface says where its workload is plugged in; interfaces
// without one are on other hosts. -uplink up0=vpc-a names the device that leads
// to the rest of a VPC, where two VPCs of the host use the same addresses. An
// interface or a VPC that the policy does not have is a fault: its device would
// be open.
//
// Exit status: 0, or 1 with every fault on standard error, or 2 for wrong
// usage. Whatever fails, the previous policy stays in force.
package main

import (
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

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/nftables"
	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/examples/internal/policyfile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(cli.Exit(os.Stderr, "nftapply", err))
}

// command is what the flags say.
type command struct {
	policy, profile, table       string
	dryRun, check, watch, remove bool
	reject                       bool
	devices                      map[sg.InterfaceID]string
	uplinks                      map[string]sg.VPCID
	protect                      []string
	stdin                        io.Reader
	stdout, stderr               io.Writer
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &command{stdin: stdin, stdout: stdout, stderr: stderr, devices: map[sg.InterfaceID]string{}, uplinks: map[string]sg.VPCID{}}
	f := flag.NewFlagSet("nftapply", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.policy, "policy", "", "policy document, `FILE` or - for standard input")
	f.StringVar(&c.profile, "profile", "", "`name` of a profile instead of the document's: "+cli.Profiles())
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
		if old, ok := c.uplinks[dev]; ok {
			return fmt.Errorf("%s leads to %s already", dev, old)
		}
		c.uplinks[dev] = sg.VPCID(vpc)
		return nil
	})
	f.Func("protect", "`device`, or beginning such as 'tap*', that passes nothing without a policy; repeat", func(s string) error {
		c.protect = append(c.protect, s)
		return nil
	})
	if err := cli.Parse(f, args, 0); err != nil {
		return err
	}
	if err := c.usage(f); err != nil {
		return err
	}
	return c.run(ctx)
}

// usage refuses flags that contradict each other, and those of which the host
// would be open.
func (c *command) usage(f *flag.FlagSet) error {
	modes, alone := 0, true
	for _, mode := range []bool{c.remove, c.check, c.dryRun, c.watch} {
		if mode {
			modes++
		}
	}
	f.Visit(func(g *flag.Flag) { alone = alone && (g.Name == "remove" || g.Name == "table") })
	switch {
	case modes > 1:
		return cli.Usage("-remove, -check, -dry-run and -watch exclude each other")
	case c.remove && !alone:
		return cli.Usage("-remove takes away the whole table: it goes with -table alone")
	case c.policy == "" && !c.remove:
		return cli.Usage("-policy is missing")
	case c.policy == "-" && c.watch:
		return cli.Usage("-watch wants a file: standard input does not change")
	case !c.remove && !c.dryRun && len(c.devices)+len(c.protect) == 0:
		return cli.Usage("-device is missing: the policy would be enforced nowhere")
	}
	return cli.Profile(c.profile)
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
		return &cli.UsageError{Err: err}
	}
	defer backend.Close()
	if c.remove {
		return backend.Remove(ctx)
	}
	file := &policyfile.File{Path: c.policy, Stdin: c.stdin, Profile: c.profile,
		Apply: func(ctx context.Context, s *policy.Snapshot, m *compile.Matcher) error {
			if err := c.strangers(s, m); err != nil {
				return err
			}
			return c.apply(ctx, backend, m)
		}}
	if err := file.Load(ctx); err != nil || !c.watch {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = backend.Run(ctx) // until ctx is done
	}()
	_ = file.Watch(ctx, c.stderr, "nftapply") // the same
	<-done
	return c.printCounters(backend)
}

// strangers reports what the flags name and the policy does not have, and with
// it whatever else is wrong with devices.
func (c *command) strangers(s *policy.Snapshot, m *compile.Matcher) error {
	var errs sg.Errors
	for id, dev := range c.devices {
		if _, ok := s.Interface(id); !ok {
			errs.Add(fmt.Sprintf("-device %s=%s", id, dev), string(id), sg.ErrNotFound, "the policy has no such interface")
		}
	}
	vpcs := map[sg.VPCID]bool{}
	for i := range s.Interfaces() {
		vpcs[i.VPC] = true
	}
	for dev, vpc := range c.uplinks {
		if !vpcs[vpc] {
			errs.Add(fmt.Sprintf("-uplink %s=%s", dev, vpc), string(vpc), sg.ErrNotFound, "no interface of the policy is in such a VPC")
		}
	}
	if len(errs) > 0 {
		errs.Merge("", nftables.Render(io.Discard, m.Program(), c.options()))
	}
	return errs.Err()
}

// apply does with a policy what the flags ask for.
func (c *command) apply(ctx context.Context, backend *nftables.Backend, m *compile.Matcher) error {
	switch {
	case c.dryRun:
		return nftables.Render(c.stdout, m.Program(), c.options())
	case c.check:
		if err := backend.Check(ctx, m); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.stdout, "nft and the kernel take it; nothing was changed")
		return err
	}
	err := backend.Apply(ctx, m)
	if c.watch && errors.Is(err, nftables.ErrCleanup) { // it is in force, and Run does the rest
		cli.Complain(c.stderr, "nftapply", err)
		return nil
	}
	return err
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
