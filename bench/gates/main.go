// Gates runs the promises that need more time than a test has: a thousand
// million malformed packets, policies swapped under load, a hundred million
// connections through one table, the search for the slowest packet.
//
//	go run ./bench/gates                        # all of them, to the full: half an hour on two cores
//	go run ./bench/gates -scale 0.01            # a look
//	go run ./bench/gates -only malformed,churn
//	go run -race ./bench/gates -only swap -for 10m
//
// Every gate prints what it counted. Progress goes to standard error. Exit
// status: 0 if all of them hold, 1 if one does not, 2 for a wrong command line.
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
	list, err := choose(*only, o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "gates:", err)
		os.Exit(2)
	}
	o.progress = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o, list); err != nil {
		fmt.Fprintln(os.Stderr, "gates:", err)
		os.Exit(1)
	}
}

// choose returns the gates that are asked for; what is wrong with the command
// line is an error.
func choose(only string, o options, args []string) ([]gate, error) {
	switch {
	case len(args) > 0:
		return nil, fmt.Errorf("unexpected argument %q: -only says which gates", args[0])
	case !(o.scale > 0): // nor what is no number
		return nil, fmt.Errorf("-scale %g: want a share above zero", o.scale)
	case o.long < 0:
		return nil, fmt.Errorf("-for %v: want no time below zero", o.long)
	case only == "":
		return gates(), nil
	}
	var list []gate
	all := gates()
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(g gate) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no gate %q; there are %s", name, strings.Join(names(), ", "))
		}
		list = append(list, all[i])
	}
	return list, nil
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

func run(ctx context.Context, w io.Writer, o options, list []gate) error {
	var failed []string
	for _, g := range list {
		fmt.Fprintf(o.progress, "%s: %s (seed %d, scale %g)\n", g.name, g.promise, o.seed, o.scale)
		started := time.Now()
		found, err := g.run(ctx, &o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		verdict := "holds"
		if err != nil {
			verdict = "FAILS: " + err.Error()
			failed = append(failed, g.name)
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
