// Package lab is what the gateways under measurement share: addresses, the
// policy, and how they talk to the program that measures them.
package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// The two hosts: a TUN of that name in the namespace of each, those addresses,
// and the port that the server listens at.
const (
	TUN        = "bench0"
	ClientAddr = "10.88.0.1"
	ServerAddr = "10.88.0.2"
	Subnet     = "10.88.0.0/24"
	ServerPort = 5201
)

// File descriptors that a gateway is started with: the namespaces.
const (
	ClientNS = 3
	ServerNS = 4
)

// Port returns the port of the server's interface under 1,000 rules, of which
// the last two let the client in. Everything that the engine does in the
// background runs until the process ends.
func Port() (*enforce.Port, error) {
	const n = 1_000
	rules := workload.Rules(rand.New(rand.NewPCG(1, n)), n-2)
	for _, p := range []sg.Protocol{sg.TCP, sg.UDP} {
		rules = append(rules, sg.Rule{
			ID: sg.RuleID("bench-" + p.String()), Direction: sg.Ingress, Protocol: p, Ports: sg.Port(ServerPort),
			Peer: sg.PeerCIDR(netip.MustParsePrefix(Subnet)),
		})
	}
	m, err := compile.Compile(workload.Single(rules))
	if err != nil {
		return nil, err
	}
	e := enforce.NewEngine(enforce.Options{})
	if err := e.Apply(context.Background(), m); err != nil {
		return nil, err
	}
	go func() { _ = e.Run(context.Background()) }()
	return e.Port(workload.SingleInterface), nil
}

// Serve says that the gateway is ready, then answers every line of in with the
// CPU time of the process, user and system, in nanoseconds, until in ends.
func Serve(in io.Reader, out io.Writer, cpu func() (time.Duration, error)) error {
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		d, err := cpu()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, d.Nanoseconds()); err != nil {
			return err
		}
	}
	return nil
}
