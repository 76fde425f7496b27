package main

import (
	"fmt"

	"example.com/secgroup/sg"
)

// engine decides packets by the policy of a world. It is used by one goroutine
// at a time unless it says otherwise.
type engine interface {
	// filter decides packets that pass the interface in direction d, and
	// returns how many it accepts.
	filter(d sg.Direction, packets [][]byte) int
	// forget ends all connections.
	forget() error
	close()
}

// maker makes engines of one kind.
type maker struct {
	name string
	// make returns an engine with room for so many flows.
	make func(w *world, flows int) (engine, error)
	// established are the ways in which it knows replies.
	established []variant
	// What is asked of it, since more would take too long or make no sense:
	// rules, and prefixes of one rule. The flows are with the variants.
	rules, prefixes int
	// twin: another maker's engine, called in another way. What it keeps is not
	// measured again.
	twin bool
}

// variant is an engine that lets in replies of flows that were opened from
// inside.
type variant struct {
	name  string
	proto sg.Protocol
	make  func(w *world, flows int) (engine, error)
	knows knowledge
	flows int // at most so many
}

// knowledge is what an engine has of the flows that were opened.
type knowledge uint8

const (
	unseen knowledge = iota // nothing: replies pass whatever was before
	table                   // they are in a table, but replies of others pass too
	state                   // replies of others are refused
)

const unbounded = 1 << 30

// makers are all engines that run in this process.
func makers() []maker {
	return []maker{
		{name: "secgroup", make: newSecgroup, rules: unbounded, prefixes: unbounded, established: []variant{
			{"secgroup", sg.TCP, newSecgroup, state, unbounded},
			{"secgroup UDP", sg.UDP, newSecgroup, state, 1_000},
		}},
		{name: "secgroup batch", make: newSecgroupBatch, rules: unbounded, prefixes: unbounded, twin: true, established: []variant{
			{"secgroup batch", sg.TCP, newSecgroupBatch, state, unbounded},
		}},
		{name: "tailscale", make: newTailscale, rules: unbounded, prefixes: unbounded, established: []variant{
			{"tailscale UDP", sg.UDP, newTailscale, state, tailscaleFlows},
			{"tailscale TCP unseen", sg.TCP, newTailscale, unseen, 1_000},
		}},
		{name: "nebula", make: newNebula, rules: 1_000, prefixes: 1_000, established: []variant{
			{"nebula", sg.TCP, newNebula, state, 1_000_000},
			{"nebula cache", sg.TCP, newNebulaCache, state, 100_000},
		}},
		{name: "gvisor", make: newGvisor, rules: unbounded, prefixes: 1_000, established: []variant{
			{"gvisor", sg.TCP, newGvisorOpen, table, 100_000},
		}},
	}
}

// expect sends packets one by one and wants the same verdict on all.
func expect(e engine, d sg.Direction, r *ring, accepted bool) error {
	one := make([][]byte, 1)
	for i := range r.len() {
		one[0] = r.at(i)
		if got := e.filter(d, one) == 1; got != accepted {
			return fmt.Errorf("packet %d, %x: accepted is %v, by the reference it should be %v", i, one[0], got, accepted)
		}
	}
	return nil
}

// connect opens flows from inside. With TCP it is a whole handshake.
func connect(e engine, o outbound, from, to int) error {
	const chunk = 256
	a, b, c := newRing(chunk), newRing(chunk), newRing(chunk)
	views := make([][]byte, 0, chunk)
	send := func(d sg.Direction, r *ring) error {
		if n := e.filter(d, r.views(views[:0], 0, r.len())); n != r.len() {
			return fmt.Errorf("%d of %d packets that open flows are accepted (%v)", n, r.len(), d)
		}
		r.data, r.size = r.data[:0], r.size[:0]
		return nil
	}
	for i := from; i < to; i += chunk {
		for j := i; j < min(i+chunk, to); j++ {
			o.first(a, j)
			o.answer(b, j)
			o.ack(c, j)
		}
		if err := send(sg.Egress, a); err != nil {
			return err
		}
		if err := send(sg.Ingress, b); err != nil {
			return err
		}
		if o.proto == sg.TCP {
			if err := send(sg.Egress, c); err != nil {
				return err
			}
		}
		c.data, c.size = c.data[:0], c.size[:0]
	}
	return nil
}

// traffic is a probe: packets of a ring through an engine, over and over.
type traffic struct {
	engine
	dir    sg.Direction
	ring   *ring
	accept bool // all of them are accepted, or none
	once   bool // they open flows: the engine forgets after each time round

	at    int
	views [][]byte
	err   error
}

// most is how many packets a step has at most.
const most = 4096

func (t *traffic) prepare(n int) int {
	if t.at == t.ring.len() {
		t.at = 0
		if t.once {
			t.err = t.forget()
		}
	}
	n = min(n, most, t.ring.len()-t.at)
	t.views = t.ring.views(t.views[:0], t.at, n)
	t.at += n
	return n
}

func (t *traffic) step(n int) error {
	want := 0
	if t.accept {
		want = n
	}
	if got := t.filter(t.dir, t.views); got != want && t.err == nil {
		t.err = fmt.Errorf("%d of %d packets accepted, %d expected", got, n, want)
	}
	return t.err
}

func (t *traffic) begin() {
	if e, ok := t.engine.(turner); ok {
		e.begin()
	}
}

func (t *traffic) end() {
	if e, ok := t.engine.(turner); ok {
		e.end()
	}
}

// timed is the meter of traffic.
func timed(t *traffic) meter {
	return &stepper{probe: t, unit: perPacket, size: min(64, t.ring.len()), max: most}
}
