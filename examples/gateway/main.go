// Command gateway is a userspace gateway between two TUN interfaces: what one
// side sends comes out at the other if the policy lets it.
//
//	gateway -demo                # builds its own network, sends traffic, shows the verdicts, cleans up
//	gateway -policy policy.json -a tun0=web-1 -b tun1
//
// The side of -a is the workload of the interface web-1, that of -b has no
// interface of the policy and is not policed (give it one to police both). The
// file is read again when it changes: connections that the new policy refuses
// end, others do not notice. Needs the right to open TUN interfaces
// (CAP_NET_ADMIN); where nobody is root, `unshare -Urn` gives it for the demo,
// if /dev/net/tun is open to everybody. The interfaces want addresses and
// routes, as any:
//
//	ip address add 10.0.0.1/24 dev tun0
//	ip link set tun0 up
//	ip route add 10.0.1.0/24 dev tun0
//
// Exit status: 0, or 1 with every fault on standard error, or 2 for wrong
// usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage *usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp), errors.Is(err, context.Canceled):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	stdout = &lockedWriter{w: stdout}
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.SetOutput(stderr)
	demonstrate := f.Bool("demo", false, "build a network of its own, send traffic through it and show the verdicts")
	file := f.String("policy", "", "policy document, `FILE`; read again when it changes")
	a := f.String("a", "tun0", "`tun[=interface]` on one side")
	b := f.String("b", "tun1", "`tun[=interface]` on the other")
	queues := f.Int("queues", 1, "`number` of queues, each with two threads")
	reject := f.Bool("reject", false, "answer what is refused: TCP reset, ICMP administratively prohibited")
	quiet := f.Bool("quiet", false, "print no flows")
	if err := f.Parse(args); err != nil {
		return &usageError{err}
	}
	if *demonstrate && f.NFlag() == 1 && f.NArg() == 0 {
		return demo(ctx, stdout)
	}
	if *demonstrate || *file == "" || f.NArg() > 0 {
		return &usageError{errors.New("want -demo alone, or -policy FILE")}
	}
	if !strings.Contains(*a+*b, "=") {
		return &usageError{errors.New("neither side has an interface of the policy: say -a tun0=interface")}
	}

	log := newFlowLog(stdout)
	options := enforce.Options{}
	if !*quiet {
		options.OnEvent = log.event
	}
	engine := enforce.NewEngine(options)
	policy := &policyFile{path: *file, engine: engine, log: stderr}
	for _, spec := range []string{*a, *b} {
		if _, iface, ok := strings.Cut(spec, "="); ok {
			policy.interfaces = append(policy.interfaces, sg.InterfaceID(iface))
		}
	}
	if err := policy.load(ctx); err != nil {
		return err
	}
	var ends [2]tun.End
	for i, spec := range []string{*a, *b} {
		name, iface, _ := strings.Cut(spec, "=")
		dev, err := tun.Open(tun.Options{Name: name, Queues: *queues})
		if err != nil {
			return err
		}
		defer dev.Close()
		fmt.Fprintf(stderr, "%s is open, offloads: %s\n", dev.Name(), dev.Offload())
		ends[i].Links = dev.Links()
		if iface != "" {
			ends[i].Port = engine.Port(sg.InterfaceID(iface))
		}
	}
	gateway, err := tun.NewGateway(ends[0], ends[1], tun.GatewayOptions{Answers: tun.Answers{Reject: *reject}})
	if err != nil {
		return err
	}
	return serve(ctx, engine, gateway, policy, log)
}

// serve runs what a gateway consists of until ctx is done or one of it fails:
// the forwarding, the engine's background work, and the watch on the file.
func serve(ctx context.Context, engine *enforce.Engine, gateway *tun.Gateway, policy *policyFile, log *flowLog) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 4)
	for _, part := range []func(context.Context) error{
		engine.Run, gateway.Run, log.run, policy.watch,
	} {
		go func() { done <- part(ctx) }()
	}
	err := <-done
	stop()
	for range 3 {
		<-done
	}
	return err
}
