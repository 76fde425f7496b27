package tun

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/secgroup/enforce"
)

// End is one side of a Gateway.
type End struct {
	// Links are the queues of one device, and Run reads each in a goroutine of
	// its own. Both ends need as many: what comes in by link i of one goes out
	// by link i of the other, so flows keep their queue.
	Links []Link

	// Port polices the interface behind the device: what is read is its
	// egress, what is written its ingress. Nil: it is not policed.
	Port *enforce.Port
}

// GatewayOptions configure a Gateway. The zero value is ready to use.
type GatewayOptions struct {
	// Answers say what the sender of a packet that is not forwarded is told.
	// They go back to where the packet came from.
	Answers Answers

	// NoChecksums leaves the checksums of TCP, UDP, ICMP and SCTP unverified, as
	// FilterOptions has it. A checksum that the header of virtio leaves open is
	// never verified.
	NoChecksums bool

	// Hold has each port keep fragments that come before their first one, and
	// the Gateway send them on behind it; default none are kept. The ports are
	// then for this Gateway alone.
	Hold enforce.HoldOptions
}

// Gateway forwards frames between two devices, super-packets as one. A packet
// from A to B passes egress of A's port and ingress of B's.
//
// It is a bump in the wire: it changes no packet, but for checksums that B
// does not fill in, super-packets that B does not take, and IPv4 packets above
// the MTU of B that may be fragmented. A packet above the MTU that may not is
// dropped, and its sender told.
//
// A kernel that accepts offloads and then refuses frames that use them
// (EINVAL) gets them cut up, one by one at first, and after a row of eight
// without trying. A Gateway allocates nothing per packet. It is safe for
// concurrent use.
type Gateway struct {
	forwarders []*forwarder // from A first
	links      []Link
	running    atomic.Bool
	stop       atomic.Bool
}

// NewGateway returns a gateway between two devices, which does nothing until
// Run. It returns ErrQueues if the ends do not match or a link is nil.
func NewGateway(a, b End, o GatewayOptions) (*Gateway, error) {
	n := len(a.Links)
	g := &Gateway{links: slices.Concat(a.Links, b.Links)}
	if n == 0 || n != len(b.Links) || slices.Contains(g.links, nil) {
		return nil, &Error{Op: "gateway", Err: ErrQueues}
	}
	for _, p := range []*enforce.Port{a.Port, b.Port} {
		if p != nil && o.Hold.Fragments > 0 {
			p.Hold(o.Hold)
		}
	}
	answers := [2]*answerer{newAnswerer(o.Answers), newAnswerer(o.Answers)}
	for i := range 2 * n {
		f := newForwarder(g.links[i], g.links[(i+n)%(2*n)], a.Port, b.Port, answers[i/n], o)
		if i >= n {
			f.egress, f.ingress = b.Port, a.Port
		}
		g.forwarders = append(g.forwarders, f)
	}
	return g, nil
}

// Run forwards until ctx is done, whose error it returns, or until a link
// fails. It starts two goroutines per pair of links, each of which may hold a
// thread while it waits, and returns when they have ended. It closes nothing,
// and may be called again afterwards.
func (g *Gateway) Run(ctx context.Context) error {
	if !g.running.CompareAndSwap(false, true) {
		return &Error{Op: "gateway", Err: ErrRunning}
	}
	defer g.running.Store(false)
	g.stop.Store(false)
	failed := make(chan error, len(g.forwarders))
	var all sync.WaitGroup
	for _, f := range g.forwarders {
		all.Go(func() {
			if err := f.run(&g.stop); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-failed:
	}
	g.stop.Store(true)
	for _, l := range g.links {
		l.Interrupt()
	}
	all.Wait()
	return err
}

// DirectionStats counts one direction of a Gateway.
type DirectionStats struct {
	In         Traffic // read
	Out        Traffic // written, as they left: segments and fragments each
	Super      Traffic // of Out: super-packets
	Split      uint64  // super-packets cut up, since they could not leave as they were
	Fragmented uint64  // packets cut into fragments
	Refused    uint64  // frames cut up or completed since the kernel returned EINVAL
	Drops      Drops
	Answers    AnswerStats // to senders on the side that it comes from
}

// GatewayStats counts since the Gateway was made.
type GatewayStats struct{ AtoB, BtoA DirectionStats }

// Stats returns a snapshot. The counts are each right, but not of one moment.
func (g *Gateway) Stats() GatewayStats {
	n := len(g.forwarders) / 2
	var s GatewayStats
	for i, f := range g.forwarders {
		d := &s.AtoB
		if i >= n {
			d = &s.BtoA
		}
		d.In, d.Out, d.Super = d.In.plus(f.in.load()), d.Out.plus(f.out.load()), d.Super.plus(f.super.load())
		d.Split += f.split.Load()
		d.Fragmented += f.fragmented.Load()
		d.Refused += f.refused.Load()
		d.Drops = d.Drops.plus(f.drops.load())
		d.Answers = f.answers.stats() // shared by all forwarders of a direction
	}
	return s
}
