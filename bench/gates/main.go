// Gates runs the promises that need more time than a test has: a thousand
// million malformed packets, policies swapped under load, a hundred million
// connections through one table, the search for the slowest packet.
//
//	go run ./bench/gates                        # all of them, to the full: half an hour on two cores
//	go run ./bench/gates -scale 0.01            # a look
//	go run ./bench/gates -only malformed,churn
//	go run -race ./bench/gates -only swap -for 10m
//
// Every gate prints what it counted, and the program fails if one does not
// hold. Progress goes to standard error.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	var o options
	flag.Float64Var(&o.scale, "scale", 1, "share of the full counts")
	flag.DurationVar(&o.long, "for", 0, "go on for at least that long, beyond the counts (swap, worst)")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of all that is random")
	only := flag.String("only", "", "gates to run, separated by commas; default all: "+strings.Join(names(), ", "))
	flag.Parse()
	o.progress = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	list := names()
	if *only != "" {
		list = strings.Split(*only, ",")
	}
	if err := run(ctx, os.Stdout, o, list); err != nil {
		fmt.Fprintln(os.Stderr, "gates:", err)
		os.Exit(1)
	}
}

type options struct {
	scale    float64
	long     time.Duration
	seed     uint64
	progress io.Writer
}

// of returns a full count to scale, at least 1.
func (o *options) of(full int) int { return max(1, int(float64(full)*o.scale)) }

// gate is a promise and what tries it: run returns what it found, and an error
// if the promise does not hold.
type gate struct {
	name, promise string
	run           func(context.Context, *options) (found string, err error)
}

func gates() []gate {
	return []gate{
		{"malformed", "1,000,000,000 mutated packets: no panic, no read beyond the packet, no allocation", malformed},
		{"swap", "10,000,000 questions during 500 swaps, floods and sweeps: no allowed packet lost, no denied one leaked", swap},
		{"churn", "100,000,000 flows through a table of 100,000: flat heap, no goroutine", churn},
		{"worst", "10,000 rules, 100,000 prefixes, ten minutes of hill climbing: the slowest packet costs at most 5 times the median", worst},
	}
}

func names() []string {
	var out []string
	for _, g := range gates() {
		out = append(out, g.name)
	}
	return out
}

func run(ctx context.Context, w io.Writer, o options, list []string) error {
	var failed []string
	all := gates()
	for _, name := range list {
		i := slices.IndexFunc(all, func(g gate) bool { return g.name == name })
		if i < 0 {
			return fmt.Errorf("no gate %q; there are %s", name, strings.Join(names(), ", "))
		}
		g := all[i]
		fmt.Fprintf(o.progress, "%s: %s (seed %d, scale %g)\n", g.name, g.promise, o.seed, o.scale)
		started := time.Now()
		found, err := g.run(ctx, &o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		verdict := "holds"
		if err != nil {
			verdict = "FAILS: " + err.Error()
			failed = append(failed, name)
		}
		fmt.Fprintf(w, "%-10s %s; %s (%v)\n", g.name, verdict, found, time.Since(started).Round(time.Second))
	}
	if failed != nil {
		return fmt.Errorf("%s", strings.Join(failed, ", "))
	}
	return nil
}

// progress reports about every five seconds until finished is closed.
func progress(finished <-chan struct{}, o *options, name string, what func() string) {
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-finished:
			return
		case <-t.C:
			fmt.Fprintf(o.progress, "  %s: %s\n", name, what())
		}
	}
}
