// Package enforcetest tells whether an enforce.Backend enforces.
//
// Give Run a Lab, a backend together with a way to send packets through it,
// and it tries the backend against what the policies mean: ir.Program.Eval for
// packets that open a flow, an enforce.Engine for all that depends on state.
// The userspace engine and the kernel backend of this module pass the same
// suite.
//
// # What a lab must offer
//
// The interfaces of Interfaces, each with one IPv4 and one IPv6 address, in two
// VPCs that use the same addresses; and a network behind each VPC that holds
// every address of Remotes, the first and the last of each prefix too. Egress
// of an interface is sent by its workload and observed in the network; ingress
// is sent from the network and observed by the workload. Nothing else may
// filter, answer or rewrite: a lab made of network namespaces turns off
// reverse-path filters, and its workloads hold no sockets and send no resets.
// The policies of the suite also name interfaces of other hosts, at addresses
// of Remotes, which the lab has not.
//
// Each case gets a lab of its own, without policy and state; to share what is
// costly, such as network namespaces, is the lab's business.
//
// # What it does not try
//
// Malformed packets and fragments, which a kernel drops or reassembles before
// any filter; packets between two interfaces of the lab; exhaustion of tables;
// events and counters.
//
// # Packets
//
// TCP, UDP and the other builders make packets for the tests of backends, with
// right lengths and checksums.
package enforcetest

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"testing"
	"time"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Lab is a backend under test and the means to send packets through it. The
// suite uses a Lab from one goroutine, unless it is Concurrent.
type Lab interface {
	enforce.Backend

	// Send offers a packet, which starts at its IP header, to an interface of
	// the lab and reports whether it came out at the other side. The error is
	// for a lab that broke: it ends the case. One that wraps
	// errors.ErrUnsupported skips it.
	Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (passed bool, err error)
}

// Batcher is a Lab for which many packets at once are cheaper than one by one.
type Batcher interface {
	Lab

	// SendAll is Send for every step in order, with an answer for each. There
	// are at most MaxBatch steps. A packet must be judged after those before
	// it; to come out it has until all have been judged.
	SendAll(steps []Step) (passed []bool, err error)
}

// MaxBatch is the most steps that the suite passes to SendAll at once: fewer
// than there are numbers for Stamp.
const MaxBatch = 4096

// Step is a packet to send.
type Step struct {
	Interface sg.InterfaceID
	Direction sg.Direction
	Packet    []byte // starts at its IP header; the lab may write to it, as Stamp does
}

// Advancer is a Lab whose connections age by a clock that can be set forward.
// Without it the cases about timeouts are skipped.
type Advancer interface {
	Lab

	// Advance moves the clock on.
	Advance(time.Duration)
}

// Concurrent is a Lab whose Send, or SendAll if it is a Batcher, may be called
// while Apply runs: by one goroutine, as Apply is by another one. Without it the
// cases about traffic during Apply are skipped.
type Concurrent interface {
	Lab

	// Concurrent does nothing: it tells that the lab is one.
	Concurrent()
}

// Breaker is a Lab whose backend can be made to fail. Without it the case about
// an Apply that fails is skipped.
type Breaker interface {
	Lab

	// Break makes the next Apply fail, and only that: best where it would leave
	// the most behind if it were not all or nothing. The error is for a lab that
	// broke, as that of Send.
	Break() error
}

// Interface is an interface that a lab must have.
type Interface struct {
	ID    sg.InterfaceID
	VPC   sg.VPCID
	Addrs []netip.Prefix // one /32 and one /128
}

// Interfaces returns the interfaces of the suite: two in VPC "red", and two in
// VPC "blue" of which the first has the addresses of the first in "red". The
// addresses are those reserved for benchmarks and documentation (RFC 2544,
// RFC 3849).
func Interfaces() []Interface {
	addrs := func(v4, v6 string) []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix(v4 + "/32"), netip.MustParsePrefix(v6 + "/128")}
	}
	return []Interface{
		{"red-1", "red", addrs("198.18.0.10", "2001:db8:1::10")},
		{"red-2", "red", addrs("198.18.0.11", "2001:db8:1::11")},
		{"blue-1", "blue", addrs("198.18.0.10", "2001:db8:1::10")},
		{"blue-2", "blue", addrs("198.18.0.12", "2001:db8:1::12")},
	}
}

// Remotes returns where the remote ends of the suite's packets are: prefixes
// that a lab routes, for each VPC, to the network outside. They are the
// documentation and shared address space of RFC 5737, RFC 6598 and RFC 3849,
// and a unique local one (RFC 4193) for the other half of IPv6.
func Remotes() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"100.64.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
		"2001:db8:a::/48", "2001:db8:b::/48", "fd00:a::/48",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Options configure the suite. New is required.
type Options struct {
	// New returns a lab with the interfaces of i, without policy and state. The
	// suite closes it at the end of the case. Resources that outlive Close, by
	// which the last policy stays in force, belong into t.Cleanup.
	New func(t *testing.T, i []Interface) Lab

	// Differs says which cases the backend does not pass, and why: by Case.Name,
	// the reason. They are skipped with that reason.
	Differs map[string]string

	// How much is tried at random. A walk changes the policy about once in 16
	// steps: who takes long to apply one wants fewer.
	Policies int    // of the case that tries random ones; default 20
	Packets  int    // sent per random policy; default 400
	Walks    int    // of each case that walks at random; default 10
	Steps    int    // of each walk: packets, and changes of policy; default 400
	Turns    int    // of Apply and a batch of packets, at least, in each case that has both at once; default 50
	Seed     uint64 // of all that is random; default 1
}

// withDefaults returns o with its zero fields filled in.
func (o Options) withDefaults() Options {
	for _, f := range []struct {
		field *int
		n     int
	}{{&o.Policies, 20}, {&o.Packets, 400}, {&o.Walks, 10}, {&o.Steps, 400}, {&o.Turns, 50}} {
		if *f.field <= 0 {
			*f.field = f.n
		}
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	return o
}

// Case is one thing that a backend must do.
type Case struct {
	Name string // stable: "apply/idempotent"
	Doc  string // what must hold, in a sentence or two

	options Options
	run     func(*bench)
}

// Run tries the case on a fresh lab and closes it, once. The error says which
// packets came out that should not, or did not that should; it wraps
// errors.ErrUnsupported if the lab lacks what the case needs.
func (c Case) Run(ctx context.Context, l Lab) error {
	b := newBench(ctx, l, c.options)
	c.run(b)
	b.flush()
	b.close()
	return b.err
}

// Run tries every case of the suite as a subtest.
func Run(t *testing.T, o Options) {
	names := make(map[string]bool)
	for c := range Cases(o) {
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			if why, ok := o.Differs[c.Name]; ok {
				t.Skip("differs: " + why)
			}
			l := o.New(t, Interfaces())
			err := c.Run(t.Context(), l)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Errorf("%v\nThe case: %s", err, c.Doc)
			}
		})
	}
	for name := range o.Differs {
		if !names[name] {
			t.Errorf("Options.Differs names %q, which is no case", name)
		}
	}
}

// Cases yields the cases of the suite, for who wants to run them by other means
// than Run. Of o, New and Differs are not used.
func Cases(o Options) iter.Seq[Case] {
	o = o.withDefaults()
	return func(yield func(Case) bool) {
		for _, list := range [][]Case{applyCases(), verdictCases(), stateCases(), changeCases(), concurrentCases(), walkCases()} {
			for _, c := range list {
				c.options = o
				if !yield(c) {
					return
				}
			}
		}
	}
}
