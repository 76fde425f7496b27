package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// churn opens connections in a table of 100,000 without end: some are never
// answered, some are pings, some are closed, the others time out or are evicted.
// Heap and goroutines must be after the last as they were once the table was
// full for the first time.
func churn(ctx context.Context, o *options) (string, error) {
	var now time.Time
	m, err := compile.Compile(workload.Single(everything()))
	if err != nil {
		return "", err
	}
	e := enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: 100_000}, Now: func() time.Time { return now }})
	if err := e.Apply(ctx, m); err != nil {
		return "", err
	}
	v4, v6 := local(m)
	r := rand.New(rand.NewPCG(o.seed, 7))
	port := e.Port(workload.SingleInterface)
	full := o.of(100_000_000)
	warm := max(full/20, 300_000)
	buf := make([]byte, 0, 256)
	live := make([]packet.Tuple, 1<<14)
	send := func(d sg.Direction, t packet.Tuple, h workload.Header) bool {
		buf = workload.AppendPacket(buf[:0], t, h)
		return port.Filter(d, buf).Action == sg.Accept
	}
	var before, after runtime.MemStats
	var goroutines, opened, peak int
	last := time.Now()
	for i := range warm + full {
		if i == warm {
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines, opened = runtime.NumGoroutine(), 0
		}
		if i%1024 == 0 {
			now = now.Add(2 * time.Second) // so that what is assured and idle takes a third of the table
			e.Sweep(8192)
			peak = max(peak, e.Table().Len())
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			if time.Since(last) > 5*time.Second {
				last = time.Now()
				fmt.Fprintf(o.progress, "  churn: %d of %d million flows, %d in the table\n", i/1e6, (warm+full)/1e6, e.Table().Len())
			}
		}
		to := v4
		if i%3 == 0 {
			to = v6
		}
		switch r.IntN(8) {
		case 0: // a ping
			t, h := tuple(r, to, packet.ProtoICMP, 0), workload.Header{ICMPType: 8}
			if to.Is6() {
				t, h = tuple(r, to, packet.ProtoICMPv6, 0), workload.Header{ICMPType: 128}
			}
			t.DstPort = t.SrcPort
			opened += one(send(sg.Ingress, t, h))
		case 1, 2: // answered UDP
			t := tuple(r, to, packet.ProtoUDP, 53)
			opened += one(send(sg.Ingress, t, workload.Header{}))
			send(sg.Egress, t.Reverse(), workload.Header{})
		case 3: // a connection that is closed
			t := tuple(r, to, packet.ProtoTCP, 443)
			opened += one(send(sg.Ingress, t, workload.Header{Flags: packet.SYN}))
			send(sg.Egress, t.Reverse(), workload.Header{Flags: packet.SYN | packet.ACK, Ack: 1})
			send(sg.Ingress, t, workload.Header{Flags: packet.FIN | packet.ACK, Seq: 1, Ack: 1})
			send(sg.Egress, t.Reverse(), workload.Header{Flags: packet.FIN | packet.ACK, Seq: 1, Ack: 2})
			send(sg.Ingress, t, workload.Header{Flags: packet.ACK, Seq: 2, Ack: 2})
		case 4: // one that stays open, and is reset after a while
			old := &live[i/8%len(live)]
			if old.Proto != 0 {
				send(sg.Ingress, *old, workload.Header{Flags: packet.RST, Seq: 1})
			}
			t := tuple(r, to, packet.ProtoTCP, 443)
			opened += one(send(sg.Ingress, t, workload.Header{Flags: packet.SYN}))
			send(sg.Egress, t.Reverse(), workload.Header{Flags: packet.SYN | packet.ACK, Ack: 1})
			send(sg.Ingress, t, workload.Header{Flags: packet.ACK, Seq: 1, Ack: 1})
			*old = t
		default: // a SYN and no more
			opened += one(send(sg.Ingress, tuple(r, to, packet.ProtoTCP, 443), workload.Header{Flags: packet.SYN}))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(e)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	found := fmt.Sprintf("%d of %d flows opened, at most %d in the table; heap %+d KiB, at %d MiB, %d objects allocated; goroutines %+d",
		opened, full, peak, grown/1024, after.HeapAlloc>>20, after.Mallocs-before.Mallocs, runtime.NumGoroutine()-goroutines)
	switch {
	case grown > 1<<20:
		return found, fmt.Errorf("the heap grew")
	case runtime.NumGoroutine() > goroutines:
		return found, fmt.Errorf("goroutines are left")
	case opened < full/100*95:
		return found, fmt.Errorf("too few were opened")
	case peak > 100_000:
		return found, fmt.Errorf("the table was above its limit")
	}
	return found, nil
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
