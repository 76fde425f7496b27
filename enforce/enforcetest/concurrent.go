package enforcetest

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

func concurrentCases() []Case {
	const how = " while Apply runs again and again, in another goroutine, with two policies in turns."
	return []Case{
		{Name: "concurrent/established", Doc: "No packet of an established flow that both allow is lost" + how, run: func(b *bench) {
			v := b.turns()
			flows := b.webFlows()
			b.flush()
			b.during(v, func(bool) { b.keepUp(flows) })
		}},
		{Name: "concurrent/new", Doc: "Every new flow that both allow is let through, and its answers are," + how, run: func(b *bench) {
			v := b.turns()
			b.during(v, func(more bool) {
				if more {
					b.keepUp(b.webFlows())
				} else {
					b.tryClosed()
				}
			})
		}},
		{Name: "concurrent/closed", Doc: "What neither allows never passes" + how, run: func(b *bench) {
			v := b.turns()
			b.during(v, func(bool) { b.tryClosed() })
		}},
	}
}

// turns puts a policy in force and returns it and another one: what web allows
// both do, each by rules of its own.
func (b *bench) turns() (v [2]*compile.Matcher) {
	if _, ok := b.lab.(Concurrent); !ok {
		b.fail("the lab takes no packets while Apply runs: %w", errors.ErrUnsupported)
		return v
	}
	b.start(profile(sg.Revalidate), web()...)
	v[0] = b.matcher
	b.change(
		group("web", anyPeer("out-wide", sg.Egress, sg.TCP, "400-500"), anyPeer("wide", sg.Ingress, sg.TCP, "440-450"), anyPeer("ping", sg.Ingress, sg.ICMP, "")),
		group("names", anyPeer("names", sg.Ingress, sg.UDP, "50-60")),
		iface("red-1", "names", "web"), iface("red-2", "web"),
	)
	v[1] = b.matcher
	b.tryWebOnly()
	b.apply(v[0])
	b.tryWebOnly()
	b.flush()
	return v
}

// during has Apply run with the policies of v in turns while send queues
// packets, batch after batch, until as many as the options say came after
// another Apply than the one before. Whether it may open more flows depends on
// that too, so that they do not all come early, and on how many there were.
func (b *bench) during(v [2]*compile.Matcher, send func(more bool)) {
	const perApply, most = 2, 200 // batches that open flows
	if b.err != nil {
		return
	}
	var (
		applier sync.WaitGroup
		applied atomic.Int64
		stop    atomic.Bool
		failed  error // of Apply; read when applier is done
	)
	applier.Go(func() {
		for n := 1; !stop.Load(); n++ {
			if failed = b.lab.Apply(b.ctx, v[n%len(v)]); failed != nil {
				stop.Store(true)
				return
			}
			applied.Add(1)
			runtime.Gosched() // there may be one processor
		}
	})
	opened, turns, last := 0, 0, int64(0)
	for turns < b.options.Turns && b.err == nil && !stop.Load() {
		n := applied.Load()
		if n > last {
			turns, last = turns+1, n
		}
		more := opened < most && opened < perApply*(turns+1)
		if more {
			opened++
		}
		send(more)
		if b.flush(); b.err != nil {
			b.err = fmt.Errorf("after Apply had run %d times, while it ran again: %w", n, b.err)
		}
		runtime.Gosched()
	}
	stop.Store(true)
	applier.Wait()
	if failed != nil {
		b.fail("Apply: %w", failed)
	}
	b.matcher = v[applied.Load()%int64(len(v))]
}

const turnsAllow = "a rule of each of the policies that take turns allows it"

// webFlow is a flow that turns allows, with what its ends send.
type webFlow struct {
	d           sg.Direction // of its opener
	forth, back []byte
}

// webFlows opens flows of all kinds that turns allows.
func (b *bench) webFlows() (flows []webFlow) {
	open := func(d sg.Direction, c Conn) {
		b.send("red-1", d, c.FromClient(packet.SYN), true, turnsAllow)
		b.send("red-1", d.Opposite(), c.FromServer(packet.SYN|packet.ACK), true, turnsAllow)
		b.send("red-1", d, c.FromClient(packet.ACK), true, turnsAllow)
		flows = append(flows, webFlow{d, c.FromClient(packet.ACK), c.FromServer(packet.ACK)})
	}
	for _, f := range families() {
		open(sg.Ingress, Conn{Client: at(f.peer, b.port()), Server: at(f.local, 443), ISN: 1000})
		open(sg.Egress, Conn{Client: at(f.local, b.port()), Server: at(f.peer, 443), ISN: 1000})
		client, server, id := at(f.peer, b.port()), at(f.local, 53), b.port()
		flows = append(flows,
			webFlow{sg.Ingress, UDP(client, server), UDP(server, client)},
			webFlow{sg.Ingress, Echo(f.peer, f.local, false, id), Echo(f.local, f.peer, true, id)})
	}
	b.keepUp(flows)
	return flows
}

// keepUp queues a packet each way of flows.
func (b *bench) keepUp(flows []webFlow) {
	for _, f := range flows {
		b.send("red-1", f.d, f.forth, true, turnsAllow)
		b.send("red-1", f.d.Opposite(), f.back, true, turnsAllow)
	}
}

// tryClosed queues packets that no policy of turns allows.
func (b *bench) tryClosed() {
	const why = "no policy allows it"
	for _, f := range families() {
		b.in("red-1", opener(sg.TCP, at(f.peer, b.port()), at(f.local, 22)), false, why)
		b.in("red-1", opener(sg.UDP, at(f.peer, b.port()), at(f.local, 443)), false, why)
		b.out("red-1", opener(sg.TCP, at(f.local, b.port()), at(f.peer, 22)), false, why)
		b.out("red-1", opener(sg.UDP, at(f.local, b.port()), at(f.peer, 53)), false, why)
		b.in("blue-1", opener(sg.TCP, at(f.peer, b.port()), at(f.local, 443)), false, why)
	}
}

// tryWebOnly queues packets of both kinds.
func (b *bench) tryWebOnly() {
	b.webFlows()
	b.tryClosed()
}
