package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
)

// malformed sends mutations through an engine, from all CPUs at once. Nine of
// ten go through the decoder alone, the others through a whole verdict.
func malformed(ctx context.Context, o *options) (string, error) {
	e, m, err := engine(ctx, conntrack.Options{MaxEntries: 1 << 12}, everything())
	if err != nil {
		return "", err
	}
	full, workers := o.of(1_000_000_000), runtime.GOMAXPROCS(0)
	var done, accepted, decoded atomic.Int64
	var faults sync.Map
	e.Sweep(1)
	v4, v6 := local(m)
	warm := func(seed uint64, n int) {
		defer func() {
			if p := recover(); p != nil {
				faults.Store(fmt.Sprint(p), seed)
			}
		}()
		r := rand.New(rand.NewPCG(o.seed, seed))
		list := corpus(r, v4, v6)
		w := &mutator{r: r, corpus: list, port: e.Port(workload.SingleInterface), buf: make([]byte, 0, 2048), out: make([]ir.Verdict, 16)}
		for range 16 {
			w.bufs = append(w.bufs, make([]byte, 0, 2048))
		}
		w.pkts = make([][]byte, 16)
		for left := n; left > 0 && ctx.Err() == nil; left -= 1 << 16 {
			a, d := w.round(min(left, 1<<16))
			accepted.Add(a)
			decoded.Add(d)
			done.Add(int64(min(left, 1<<16)))
		}
	}
	warm(1<<32, 1<<20) // slabs and pools grow now
	done.Store(0)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { warm(uint64(i), full/workers) })
	}
	finished := make(chan struct{})
	go func() { wg.Wait(); close(finished) }()
	progress(finished, o, "malformed", func() string { return fmt.Sprintf("%d of %d million", done.Load()/1e6, full/1e6) })
	runtime.ReadMemStats(&after)
	allocated := after.Mallocs - before.Mallocs
	found := fmt.Sprintf("%d packets, of which %d decode and %d pass; %d objects allocated in all", done.Load(), decoded.Load(), accepted.Load(), allocated)
	for p, seed := range faults.Range {
		return found, fmt.Errorf("seed %d, worker %v panics: %v", o.seed, seed, p)
	}
	// The corpora, goroutines and reports allocate some thousands; a packet in
	// ten thousand that allocates would make more.
	if limit := uint64(20_000 + done.Load()/10_000); allocated > limit {
		return found, fmt.Errorf("more than %d objects", limit)
	}
	return found, nil
}

// mutator sends mutations, without allocating.
type mutator struct {
	r      *rand.Rand
	corpus [][]byte
	port   *enforce.Port
	buf    []byte
	bufs   [][]byte
	pkts   [][]byte
	out    []ir.Verdict
}

// round sends n mutations and returns how many were accepted, and decoded.
func (w *mutator) round(n int) (accepted, decoded int64) {
	var p packet.Packet
	for i := range n {
		b := w.corpus[w.r.IntN(len(w.corpus))]
		if i%160 == 0 { // a batch
			for k := range w.pkts {
				w.pkts[k] = mutate(w.r, w.bufs[k], w.corpus[w.r.IntN(len(w.corpus))])
			}
			accepted += int64(w.port.FilterBatch(sg.Ingress, w.pkts, w.out))
		}
		b = mutate(w.r, w.buf, b)
		if i%10 != 0 {
			if packet.Decode(b, &p) == nil {
				decoded++
			}
			continue
		}
		d := sg.Ingress
		if i%20 == 0 {
			d = sg.Egress
		}
		if w.port.Filter(d, b).Action == sg.Accept {
			accepted++
		}
	}
	return accepted, decoded
}
