package main

import (
	"fmt"
	"os"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// kernelFlows is how many connections the kernel is asked to hold at most.
const kernelFlows = 1_000_000

// These rulesets drop behind the point where the kernel confirms a connection:
// only there it enters the table. The second turns tracking on, in a chain that
// nothing passes; the third shows what it says, for as long as it is there.
const (
	inputRuleset = `table inet t {
	counter dropped {}
	chain in { type filter hook input priority 2147483647; policy accept; counter name dropped drop; }
}
`
	trackRuleset = `table inet track {
	chain out { type filter hook output priority 0; policy accept; ct state new accept; }
}
`
	showRuleset = `table inet t {
	counter new {}
	counter established {}
	chain pre {
		type filter hook prerouting priority -150; policy accept;
		ct state established counter name established
		ct state new counter name new
	}
}
`
	hideRuleset = `delete chain inet t pre; delete counter inet t new; delete counter inet t established`
)

// shows sends packets and wants the kernel to be in that state about all of
// them.
func shows(p *wire, state string, packets [][]byte) error {
	if _, err := p.to.command(showRuleset, "nft", "-f", "-"); err != nil {
		return err
	}
	if err := p.send(packets); err != nil {
		return err
	}
	if err := p.counts(state, 0, len(packets)); err != nil {
		return err
	}
	_, err := p.to.command(hideRuleset, "nft", "-f", "-")
	return err
}

// holds wants so many connections in the table.
func holds(p *wire, n int) error {
	return p.to.do(func() error {
		b, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			return err
		}
		var got int
		if _, err := fmt.Sscan(string(b), &got); err != nil || got != n {
			return fmt.Errorf("the table holds %d connections, not %d (%v)", got, n, err)
		}
		return nil
	})
}

// tracked is two wires to input, one with connection tracking.
func tracked(w *world) (wire, bare *wire, err error) {
	if bare, err = newWire(w, inputRuleset); err != nil {
		return nil, nil, err
	}
	// The drop first: of hooks with equal priority the one that was registered
	// last runs first, and that is to be the confirmation.
	if wire, err = newWire(w, inputRuleset); err == nil {
		if _, err = wire.to.command(trackRuleset, "nft", "-f", "-"); err == nil {
			// As if the hardware had verified checksums: nobody else does.
			err = wire.to.do(func() error {
				return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_checksum", []byte("0"), 0)
			})
		}
		if err == nil {
			return wire, bare, nil
		}
		wire.close()
	}
	bare.close()
	return nil, nil, err
}

// kernelHits is a difference on established connections.
type kernelHits struct {
	difference
	limit *raised
}

// opensKernelHits has n TCP connections picked up in the middle
// (nf_conntrack_tcp_loose): by a segment with data, and one the other way. That
// one comes by the same wire, so it is refused as soon as it was tracked. Then
// it sends the segments with data again.
func opensKernelHits(n int) func() (meter, error) {
	return func() (meter, error) {
		w := quietWorld()
		m := &kernelHits{difference: difference{counter: "dropped"}}
		var err error
		if m.limit, err = raise(2 * n); err != nil {
			return nil, err
		}
		if m.wire, m.bare, err = tracked(w); err != nil {
			m.limit.restore()
			return nil, err
		}
		o := outbound{sg.TCP, sg.IPv4, w.local[sg.IPv4], n}
		m.ring = o.replies()
		back := newRing(most)
		for i := 0; i < n && err == nil; i += most {
			err = m.wire.send(m.ring.views(m.views[:0], i, min(most, n-i)))
		}
		for i := 0; i < n && err == nil; i += most {
			back.data, back.size = back.data[:0], back.size[:0]
			for j := i; j < min(i+most, n); j++ {
				o.ack(back, j)
			}
			err = m.wire.send(back.views(m.views[:0], 0, back.len()))
		}
		if err == nil {
			err = holds(m.wire, n)
		}
		if err == nil {
			err = shows(m.wire, "established", m.ring.views(m.views[:0], 0, min(n, most)))
		}
		if err != nil {
			m.close()
			return nil, err
		}
		return m, nil
	}
}

func (m *kernelHits) close() {
	m.difference.close()
	m.limit.restore()
}

// opensKernelInserts fills the table of a new namespace every time, and
// measures the second half.
func opensKernelInserts(n int) func() (meter, error) {
	return func() (meter, error) {
		w := quietWorld()
		o := outbound{sg.TCP, sg.IPv4, w.local[sg.IPv4], n}
		return gauge(func() ([]value, error) { return kernelInserts(w, o) }), nil
	}
}

func kernelInserts(w *world, o outbound) ([]value, error) {
	limit, err := raise(2 * o.n)
	if err != nil {
		return nil, err
	}
	defer limit.restore()
	wire, bare, err := tracked(w)
	if err != nil {
		return nil, err
	}
	defer wire.close()
	defer bare.close()
	r, views := newRing(most), [][]byte(nil)
	var took, less time.Duration
	step, timed := max(1, min(most, o.n/4)), 0
	for i := 0; i < o.n; i += step {
		r.data, r.size = r.data[:0], r.size[:0]
		for j := i; j < min(i+step, o.n); j++ {
			r.add(o.tuple(j).Reverse(), workload.Header{Flags: packet.SYN, Seq: 1})
		}
		views = r.views(views[:0], 0, r.len())
		if i < o.n/2 {
			if err := wire.send(views); err != nil {
				return nil, err
			}
			continue
		}
		a, err := timedSend(wire, views)
		if err != nil {
			return nil, err
		}
		b, err := timedSend(bare, views)
		if err != nil {
			return nil, err
		}
		took, less, timed = took+a, less+b, timed+len(views)
	}
	if err := holds(wire, o.n); err != nil {
		return nil, err
	}
	return []value{{perPacket, max(1, float64((took-less).Nanoseconds())/float64(timed))}}, nil
}
