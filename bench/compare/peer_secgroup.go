package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// secgroup is an enforce.Engine with one port. Run is at work while it is its
// turn, as in a server. It is safe for concurrent use.
type secgroup struct {
	engine *enforce.Engine
	port   *enforce.Port
	start  time.Time
	stop   func()
}

func newSecgroup(w *world, flows int) (engine, error) { return openSecgroup(w, flows) }

func openSecgroup(w *world, flows int) (*secgroup, error) {
	m, err := compile.Compile(w.policy)
	if err != nil {
		return nil, err
	}
	e := &secgroup{start: time.Now()}
	// A shard may get more than its share.
	e.engine = enforce.NewEngine(enforce.Options{Conntrack: conntrack.Options{MaxEntries: flows + flows/8 + 1024}})
	if err := e.engine.Apply(context.Background(), m); err != nil {
		return nil, err
	}
	e.port = e.engine.Port(workload.SingleInterface)
	return e, nil
}

func (e *secgroup) filter(d sg.Direction, packets [][]byte) (n int) {
	for _, p := range packets {
		if e.port.Filter(d, p).Action == sg.Accept {
			n++
		}
	}
	return n
}

func (e *secgroup) forget() error {
	e.engine.Table().Flush(conntrack.Time(time.Since(e.start))+1, 1)
	if n := e.engine.Table().Len(); n != 0 {
		return fmt.Errorf("%d flows remain", n)
	}
	return nil
}

func (e *secgroup) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.engine.Run(ctx) // ends with the context's error, as it should
	}()
	e.stop = func() { cancel(); <-done }
	runtime.Gosched()
}

func (e *secgroup) end() { e.stop() }

func (e *secgroup) close() {}

// secgroupBatch is the same with batches of 64. Only filter differs, and one
// goroutine at a time may call it.
type secgroupBatch struct {
	*secgroup
	out [64]ir.Verdict
}

func newSecgroupBatch(w *world, flows int) (engine, error) {
	e, err := openSecgroup(w, flows)
	return &secgroupBatch{secgroup: e}, err
}

// fork returns a handle with an array of verdicts of its own.
func (e *secgroupBatch) fork() engine { return &secgroupBatch{secgroup: e.secgroup} }

func (e *secgroupBatch) filter(d sg.Direction, packets [][]byte) (n int) {
	for len(packets) > 0 {
		k := min(len(packets), len(e.out))
		n += e.port.FilterBatch(d, packets[:k], e.out[:])
		packets = packets[k:]
	}
	return n
}
