package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
)

// worst looks for the packet that costs most: from a random one it climbs by
// small changes, as long as one costs more, and starts again. A packet's cost is
// the least of a few series of verdicts on it.
func worst(ctx context.Context, o *options) (string, error) {
	r := rand.New(rand.NewPCG(o.seed, 1))
	rules, sets := workload.Rules(r, 9_990), []*ipset.Set(nil)
	for i := range 10 { // ten sets of 10,000 prefixes, five of a family; short ports, so that classes differ
		f := sg.IPv4
		if i%2 == 1 {
			f = sg.IPv6
		}
		id := sg.SetID(fmt.Sprint("set-", i))
		sets = append(sets, workload.Set(r, id, f, 10_000))
		rules = append(rules, sg.Rule{
			ID: sg.RuleID(fmt.Sprint("of-", id)), Direction: sg.Ingress, Family: f, Protocol: sg.TCP,
			Ports: sg.PortRange{First: uint16(100 * i), Last: uint16(100*i + 1000)}, Peer: sg.PeerSet(id),
		})
	}
	m, err := compile.Compile(workload.Single(rules, sets...))
	if err != nil {
		return "", err
	}
	e := enforce.NewEngine(enforce.Options{})
	if err := e.Apply(ctx, m); err != nil {
		return "", err
	}
	background, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(background) }() // keeps the clock
	defer func() { stop(); <-done }()

	c := climber{r: r, port: e.Port(workload.SingleInterface)}
	c.v4, c.v6 = local(m)
	for _, rule := range rules {
		if p, ok := rule.Peer.CIDR(); ok {
			c.prefixes = append(c.prefixes, p)
		}
	}
	for _, s := range sets {
		for entry := range s.All() {
			c.prefixes = append(c.prefixes, entry.Prefix)
		}
	}
	var costs []time.Duration
	for range 4_000 {
		costs = append(costs, c.cost(c.random()))
	}
	slices.Sort(costs)
	median := costs[len(costs)/2]

	var slowest time.Duration
	var culprit []byte
	until := time.Now().Add(max(o.long, time.Duration(float64(10*time.Minute)*o.scale)))
	tries, restarts, last := 0, 0, time.Now()
	for time.Now().Before(until) && ctx.Err() == nil {
		restarts++
		b := c.random()
		best := c.cost(b)
		for stale := 0; stale < 100 && time.Now().Before(until); stale++ {
			tries++
			n := c.change(b)
			if cost := c.cost(n); cost > best {
				b, best, stale = n, cost, 0
			}
		}
		if best > slowest { // perhaps by an accident: another look takes it away
			for range 40 {
				best = min(best, c.cost(b))
			}
		}
		if best > slowest {
			slowest, culprit = best, b
		}
		if time.Since(last) > 5*time.Second {
			last = time.Now()
			fmt.Fprintf(o.progress, "  worst: %v against a median of %v after %d tries; %v left\n", slowest, median, tries, time.Until(until).Round(time.Second))
		}
	}
	var p packet.Packet
	what := "malformed"
	if packet.Decode(culprit, &p) == nil {
		what = p.Tuple.String()
	}
	found := fmt.Sprintf("slowest %.2f times the median of %v (%d tries, %d restarts; %s, %d bytes)",
		float64(slowest)/float64(median), median, tries, restarts, what, len(culprit))
	if slowest > 5*median {
		return found, fmt.Errorf("the packet is %x", culprit)
	}
	return found, nil
}

type climber struct {
	r        *rand.Rand
	port     *enforce.Port
	v4, v6   netip.Addr
	prefixes []netip.Prefix
}

// cost is nanoseconds per verdict, in a unit of 1/64.
func (c *climber) cost(b []byte) time.Duration {
	best := time.Hour
	for range 5 {
		started := time.Now()
		for range 64 {
			c.port.Filter(sg.Ingress, b)
		}
		best = min(best, time.Since(started))
	}
	return best / 64
}

// random returns a packet from an address that some rule knows, or near one.
func (c *climber) random() []byte {
	p := c.prefixes[c.r.IntN(len(c.prefixes))]
	to := c.v4
	if p.Addr().Is6() {
		to = c.v6
	}
	proto := []uint8{packet.ProtoTCP, packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP, packet.ProtoSCTP, 47}[c.r.IntN(6)]
	if proto == packet.ProtoICMP && to.Is6() {
		proto = packet.ProtoICMPv6
	}
	t := packet.TupleFrom(proto, netip.AddrPortFrom(c.within(p), uint16(c.r.Uint32())), netip.AddrPortFrom(to, uint16(c.r.IntN(12_000))))
	if !t.HasPorts() {
		t.SrcPort, t.DstPort = 0, 0
	}
	b := workload.AppendPacket(nil, t, workload.Header{Flags: packet.SYN, ICMPType: 8, Data: c.r.IntN(100)})
	for to.Is6() && c.r.IntN(3) == 0 && len(b) < 200 {
		b = chained(b, 60)
	}
	return b
}

// within returns an address of p.
func (c *climber) within(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] &^= 0x80 >> (i % 8)
		b[i/8] |= byte(c.r.Uint32()) & (0x80 >> (i % 8))
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// change returns b with another source, another port or a mutation anywhere.
func (c *climber) change(b []byte) []byte {
	n := slices.Clone(b)
	at, size, l4 := 12, 4, 20
	if n[0]>>4 == 6 {
		at, size, l4 = 8, 16, 40
	}
	switch c.r.IntN(5) {
	case 0: // a neighbour of the source
		if len(n) >= at+size {
			n[at+c.r.IntN(size)] ^= 1 << c.r.IntN(8)
		}
	case 1: // a source that some rule knows
		p := c.prefixes[c.r.IntN(len(c.prefixes))]
		if a := c.within(p); a.BitLen() == size*8 && len(n) >= at+size {
			copy(n[at:], a.AsSlice())
		}
	case 2, 3: // another port, type or flag
		if len(n) > l4 {
			n[l4+c.r.IntN(min(len(n)-l4, 20))] = byte(c.r.Uint32())
		}
	default:
		n = slices.Clone(mutate(c.r, nil, n))
		if len(n) == 0 {
			return b
		}
	}
	return n
}
