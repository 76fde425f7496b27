package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// Ports of the two policies that swap puts in force in turn.
const (
	portBoth    = 1000 // both allow it
	portNeither = 1003
)

// swap asks one engine from eight goroutines while two policies take turns, a
// ninth floods it and a tenth sweeps. What both policies allow must pass, what
// neither allows must not, and what one of them allows must be judged by a rule
// of that one.
func swap(ctx context.Context, o *options) (string, error) {
	rules := map[string][]sg.Rule{
		"a": services("a", portBoth, 1001),
		"b": append(services("b", portBoth, portBoth), services("c", 1002, 1002)...),
	}
	e, first, err := engine(ctx, conntrack.Options{MaxEntries: 1 << 14}, rules["a"])
	if err != nil {
		return "", err
	}
	second, err := compile.Compile(workload.Single(rules["b"]))
	if err != nil {
		return "", err
	}
	s := &swapper{engine: e, matchers: [2]*compile.Matcher{first, second}, o: o}
	s.questions, s.swaps = int64(o.of(10_000_000)), int64(o.of(500))
	s.until = time.Now().Add(o.long)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var background sync.WaitGroup
	background.Go(func() { _ = e.Run(ctx) })
	background.Go(func() { s.flood(ctx) })
	background.Go(func() {
		for ctx.Err() == nil {
			e.Sweep(4096)
			for range e.Counters() {
			}
			runtime.Gosched()
		}
	})
	finished := make(chan struct{})
	var workers sync.WaitGroup
	for i := range 8 {
		workers.Go(func() { s.ask(ctx, uint64(i)) })
	}
	workers.Go(func() { s.turn(ctx) })
	go func() { workers.Wait(); close(finished) }()
	progress(finished, o, "swap", func() string {
		return fmt.Sprintf("%d questions, %d swaps, %d flood packets", s.asked.Load(), s.swapped.Load(), s.flooded.Load())
	})
	stop()
	background.Wait()
	found := fmt.Sprintf("%d questions, %d swaps, %d flood packets, %d allowed packets lost, %d denied ones leaked, %d refused for a full table, %d gone while they opened",
		s.asked.Load(), s.swapped.Load(), s.flooded.Load(), s.lost.Load(), s.leaked.Load(), s.full.Load(), s.evicted.Load())
	if s.lost.Load()+s.leaked.Load() > 0 {
		return found, fmt.Errorf("such as %v", s.example.Load())
	}
	return found, nil
}

type swapper struct {
	o                *options
	engine           *enforce.Engine
	matchers         [2]*compile.Matcher
	questions, swaps int64
	until            time.Time

	asked, swapped, flooded, lost, leaked, full, evicted atomic.Int64
	example                                              atomic.Value
}

// over reports whether there was enough of everything.
func (s *swapper) over(ctx context.Context) bool {
	return ctx.Err() != nil || s.asked.Load() >= s.questions && s.swapped.Load() >= s.swaps && !time.Now().Before(s.until)
}

// turn swaps the policies, as often as the questions leave time for.
func (s *swapper) turn(ctx context.Context) {
	for i := 1; !s.over(ctx); i++ {
		if err := s.engine.Apply(ctx, s.matchers[i%2]); err != nil {
			s.example.Store(err.Error())
			s.lost.Add(1)
			return
		}
		s.swapped.Add(1)
		at := s.asked.Load() + s.questions/(s.swaps+1)
		for s.asked.Load() < min(at, s.questions) && !s.over(ctx) {
			runtime.Gosched()
		}
	}
}

// ask sends packets of its own flows: new ones, and those of a connection that
// stays open all the time.
func (s *swapper) ask(ctx context.Context, worker uint64) {
	r := rand.New(rand.NewPCG(s.o.seed, worker))
	v4, v6 := local(s.matchers[0])
	port := s.engine.Port(workload.SingleInterface)
	live := &talk{buf: make([]byte, 0, 256)}
	buf := make([]byte, 0, 256)
	for n := 0; n%256 != 0 || !s.over(ctx); n++ {
		to := v4
		if n%2 == 1 {
			to = v6
		}
		dst := uint16(portBoth + r.IntN(4))
		proto := packet.ProtoUDP
		if r.IntN(2) == 0 {
			proto = packet.ProtoTCP
		}
		buf = workload.AppendPacket(buf[:0], tuple(r, to, proto, dst), workload.Header{Flags: packet.SYN, Seq: r.Uint32()})
		s.judge(dst, port.Filter(sg.Ingress, buf))
		if n%4 == 0 {
			if live.step == 0 {
				live.in = tuple(r, v4, packet.ProtoTCP, portBoth)
			}
			opening := live.opening()
			if v := live.next(port); !opening || v.Action == sg.Accept {
				s.judge(portBoth, v)
			} else { // the flood takes the place of connections that are only half open
				s.evicted.Add(1)
				*live = talk{buf: live.buf}
			}
		}
	}
}

// judge notes a verdict that neither policy gives.
func (s *swapper) judge(dst uint16, v ir.Verdict) {
	s.asked.Add(1)
	switch {
	case v.Reason == ir.ReasonTableFull:
		s.full.Add(1)
		return
	case dst == portBoth && v.Action != sg.Accept:
		s.lost.Add(1)
	case dst == portNeither && v.Action == sg.Accept:
		s.leaked.Add(1)
	default:
		return
	}
	s.example.Store(fmt.Sprintf("port %d: %v %v", dst, v.Action, v.Reason))
}

// flood opens connections that nobody answers.
func (s *swapper) flood(ctx context.Context) {
	r := rand.New(rand.NewPCG(s.o.seed, 99))
	v4, _ := local(s.matchers[0])
	port := s.engine.Port(workload.SingleInterface)
	var buf []byte
	for ctx.Err() == nil {
		buf = workload.AppendPacket(buf[:0], tuple(r, v4, packet.ProtoTCP, portBoth), workload.Header{Flags: packet.SYN, Seq: r.Uint32()})
		port.Filter(sg.Ingress, buf)
		s.flooded.Add(1)
	}
}
