package netlabtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// Port is a workload's wire to the router.
type Port struct {
	// Device names the router's end of the wire.
	Device string
	// VPC tells address spaces apart: a packet that enters by a device of one
	// VPC leaves by a device of the same VPC or not at all. What the router
	// sends of its own accord, reject answers too, knows no VPC: where two share
	// an address it goes to the lower one.
	VPC int
	// Addrs are what the router routes to this port. Two ports may have the
	// same in different VPCs.
	Addrs []netip.Prefix
}

// Uplink is the router's wire to the rest of the world.
type Uplink struct {
	// Device names the router's end of the wire.
	Device string
	// VPC is whose uplink it is.
	VPC int
	// Remotes are what the router routes to this uplink; none means everything
	// that no port has.
	Remotes []netip.Prefix
}

// Config says what a lab consists of.
type Config struct {
	Ports   []Port
	Uplinks []Uplink
	// HostAddrs are the router's own addresses, on its loopback device: sources
	// of ICMP errors, and destinations where the input hook is to be judged.
	// None means one IPv6 address.
	HostAddrs []netip.Prefix
	// MTU is that of every device, 1280 at least; 0 means 1500.
	MTU int
}

func (c Config) mtu() int {
	if c.MTU == 0 {
		return 1500
	}
	return c.MTU
}

// ErrClosed is what a lab answers after [Lab.Close].
var ErrClosed = errors.New("netlabtest: the lab is closed")

// Lab is a router in a namespace of its own, with wires that packets can be put
// on. Its methods may be called concurrently; packets go one [Lab.Send] after
// the other.
type Lab struct {
	devices  []string
	host     *os.File
	peer     *os.File
	injector *injector

	mu     sync.Mutex
	idle   sync.Cond // on mu: users is 0
	users  int       // calls under way
	closed bool
}

// New builds a lab. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN, which [Main] gets
// for an ordinary user where the kernel lets it. Tests call [Start] instead.
func New(c Config) (*Lab, error) {
	wires, err := c.wires()
	if err != nil {
		return nil, err
	}
	spaces, err := newNamespaces(2)
	if err != nil {
		return nil, err
	}
	lab := &Lab{host: spaces[0], peer: spaces[1]}
	lab.idle.L = &lab.mu
	if err := lab.setup(c, wires); err != nil {
		lab.Close()
		return nil, err
	}
	return lab, nil
}

func (l *Lab) setup(c Config, wires []wire) error {
	// The far side first: its devices must never have IPv6.
	if err := within(l.peer, func() error { return write(quietKernel()) }); err != nil {
		return err
	}
	if err := within(l.host, func() error { return setupHost(c, wires, l.peer) }); err != nil {
		return err
	}
	err := within(l.peer, func() error {
		indexes, err := setupPeer(wires)
		if err != nil {
			return err
		}
		for _, w := range wires {
			l.devices = append(l.devices, w.device)
		}
		l.injector, err = newInjector(wires, indexes)
		return err
	})
	if err != nil {
		return err
	}
	return within(l.host, func() error {
		if err := l.injector.awaitWires(); err != nil {
			return err
		}
		if err := l.injector.openHost(); err != nil {
			return err
		}
		return setupRoutes(c, wires)
	})
}

// Close ends the lab: its namespaces, with all devices, rulesets and connections
// in them, go. It waits for calls under way, so it must not be called from
// within [Lab.Do]. A second call does nothing.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	for l.users > 0 {
		l.idle.Wait()
	}
	if l.injector != nil {
		l.injector.close()
	}
	l.host.Close()
	l.peer.Close()
}

// use runs f while the lab cannot be closed.
func (l *Lab) use(f func() error) error {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.users++
	}
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.users--; l.users == 0 {
			l.idle.Broadcast()
		}
	}()
	return f()
}

// Devices returns the router's ends of all wires, ports first, in the order of
// the configuration.
func (l *Lab) Devices() []string {
	return append([]string(nil), l.devices...)
}

// Do runs f on a thread in the host namespace: sockets that f opens belong to
// that namespace for good, files below /proc/thread-self and /proc/sys are those
// of it, commands that f starts run in it. The goroutines that f starts do not.
func (l *Lab) Do(f func() error) error {
	return l.use(func() error { return within(l.host, f) })
}

// Ruleset feeds text to nft in the host namespace, in one transaction.
func (l *Lab) Ruleset(ctx context.Context, text string) error {
	_, err := l.Run(ctx, text, "nft", "-f", "-")
	return err
}

// Run runs a command in the host namespace and returns what it wrote. The error
// contains what it complained about.
func (l *Lab) Run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	var out, complaint strings.Builder
	cmd := l.Command(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("netlabtest: %s: %w: %s", cmd, err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// Sysctl sets a kernel parameter of the host namespace, named with dots or
// slashes: "net.netfilter.nf_conntrack_tcp_be_liberal".
func (l *Lab) Sysctl(name, value string) error {
	if !strings.Contains(name, "/") {
		name = strings.ReplaceAll(name, ".", "/")
	}
	return l.Do(func() error { return write([]sysctl{{name: name, value: value}}) })
}
