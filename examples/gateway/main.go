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

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/examples/internal/policyfile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // that is how a gateway ends
	}
	stop()
	os.Exit(cli.Exit(os.Stderr, "gateway", err))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	stdout, stderr = &lockedWriter{w: stdout}, &lockedWriter{w: stderr}
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.SetOutput(stderr)
	demonstrate := f.Bool("demo", false, "build a network of its own, send traffic through it and show the verdicts")
	path := f.String("policy", "", "policy document, `FILE`; read again when it changes")
	a := f.String("a", "tun0", "`tun[=interface]` on one side")
	b := f.String("b", "tun1", "`tun[=interface]` on the other")
	queues := f.Int("queues", 1, "`number` of queues, each with two threads")
	reject := f.Bool("reject", false, "answer what is refused: TCP reset, ICMP administratively prohibited")
	quiet := f.Bool("quiet", false, "print no flows")
	if err := cli.Parse(f, args, 0); err != nil {
		return err
	}
	switch {
	case *demonstrate && f.NFlag() == 1:
		return demo(ctx, stdout)
	case *demonstrate || *path == "":
		return cli.Usage("want -demo alone, or -policy FILE")
	case *path == "-":
		return cli.Usage("-policy wants a file: standard input does not change")
	case !strings.Contains(*a+*b, "="):
		return cli.Usage("neither side has an interface of the policy: say -a tun0=interface")
	case *queues < 1:
		return cli.Usage("-queues %d: want at least 1", *queues)
	}
	for _, spec := range []string{*a, *b} {
		if name, iface, named := strings.Cut(spec, "="); name == "" || named && iface == "" {
			return cli.Usage("a side is tun or tun=interface, not %q", spec) // a side without an interface is open
		}
	}

	log := newFlowLog(stdout)
	options := enforce.Options{}
	if !*quiet {
		options.OnEvent = log.event
	}
	engine := enforce.NewEngine(options)
	file := &policyfile.File{Path: *path, Apply: func(ctx context.Context, s *policy.Snapshot, m *compile.Matcher) error {
		if err := engine.Apply(ctx, m); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "gateway: policy %d is in force: %s\n", m.Program().Generation(), *path)
		for _, spec := range []string{*a, *b} {
			_, id, named := strings.Cut(spec, "=")
			if _, ok := s.Interface(sg.InterfaceID(id)); named && !ok {
				fmt.Fprintf(stderr, "gateway: the policy has no interface %q: its side passes nothing\n", id)
			}
		}
		return nil
	}}
	if err := file.Load(ctx); err != nil {
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
		fmt.Fprintf(stderr, "gateway: %s is open, offloads: %s\n", dev.Name(), dev.Offload())
		ends[i].Links = dev.Links()
		if iface != "" {
			ends[i].Port = engine.Port(sg.InterfaceID(iface))
		}
	}
	gateway, err := tun.NewGateway(ends[0], ends[1], tun.GatewayOptions{Answers: tun.Answers{Reject: *reject}})
	if err != nil {
		return err
	}
	return serve(ctx, engine.Run, gateway.Run, log.run, func(ctx context.Context) error { return file.Watch(ctx, stderr, "gateway") })
}

// serve runs the parts of a gateway until ctx is done or one of them fails: the
// forwarding, the engine's background work, the log and the watch on the file.
func serve(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, len(parts))
	for _, part := range parts {
		go func() { done <- part(ctx) }()
	}
	err := <-done
	stop()
	for range len(parts) - 1 {
		<-done
	}
	return err
}
