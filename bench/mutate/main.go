// Mutate asks the tests of a package whether they would notice: it makes small
// changes to its code, one at a time, and runs tests against each.
//
//	go run ./bench/mutate -n 100 ./conntrack/packet
//	go run ./bench/mutate -n 150 -tests ./conntrack,./enforce ./conntrack
//
// A mutant is killed if a test fails or does not end. One that does not compile
// does not count. The tests run in the order given until one of them kills it;
// without -tests, those of the package itself. A mutant reaches the compiler as
// an overlay, so no file of the tree is changed; but tests that fail may leave
// files of their own (rapid does): see git status afterwards.
//
// A mutant may eat memory without end: set a limit first (ulimit -v 12000000).
//
// Which mutants are made depends on the code, -n and -seed alone. The survivors
// are listed with their place; whether one is a hole in the tests or behaves
// like the original is for a reader to say.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.n, "n", 100, "mutants of each package; 0 is all")
	flag.Uint64Var(&o.seed, "seed", 1, "which of them")
	flag.DurationVar(&o.limit, "limit", 2*time.Minute, "how long one test run may take")
	flag.StringVar(&o.tests, "tests", "", "packages with the tests, separated by commas; by default the package itself")
	flag.Float64Var(&o.want, "want", 0, "fail if less than this share is killed (0 to 1)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type options struct {
	n     int
	seed  uint64
	limit time.Duration
	tests string
	want  float64
}

// run mutates each package and prints what became of the mutants.
func run(ctx context.Context, w io.Writer, o options, packages []string) error {
	if len(packages) == 0 {
		return fmt.Errorf("name the packages to mutate, such as ./conntrack/packet")
	}
	var all tally
	for _, pkg := range packages {
		mutants, err := find(pkg)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %d places\n", pkg, len(mutants))
		rand.New(rand.NewPCG(o.seed, 0)).Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		tests := []string{pkg}
		if o.tests != "" {
			tests = strings.Split(o.tests, ",")
		}
		t, err := judge(ctx, w, o, tests, mutants)
		fmt.Fprintf(w, "%s: %s\n", pkg, t)
		if err != nil {
			return err
		}
		all.add(t)
	}
	fmt.Fprintf(w, "mutants: %s\n", all)
	if all.share() < o.want {
		return fmt.Errorf("%.1f %% killed, wanted are %.1f %%", 100*all.share(), 100*o.want)
	}
	return nil
}

// tally counts what became of mutants.
type tally struct{ killed, survived, invalid int }

func (t *tally) add(o tally) {
	t.killed += o.killed
	t.survived += o.survived
	t.invalid += o.invalid
}

func (t tally) share() float64 {
	if t.killed+t.survived == 0 {
		return 0
	}
	return float64(t.killed) / float64(t.killed+t.survived)
}

func (t tally) String() string {
	return fmt.Sprintf("%d killed, %d survived (%.1f %% killed), %d did not compile", t.killed, t.survived, 100*t.share(), t.invalid)
}
