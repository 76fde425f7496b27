// Mutate asks the tests of a package whether they would notice: it makes small
// changes to its code, one at a time, and runs tests against each.
//
//	go run ./bench/mutate -n 120 ./conntrack/packet
//	go run ./bench/mutate -n 120 -tests ./compile ./compile ./compile/internal/ranges
//
// A mutant is killed if a test fails or does not end within ten seconds and five
// times what the tests take without a mutant. One that does not compile does not
// count. The tests, in their short form, are those of the mutant's package and
// then those that -tests names, until one of them kills it. Mutants reach the
// compiler as an overlay, many in one build (see schema), so no file of the tree
// is changed.
//
// A mutant may eat memory without end: set a limit first (ulimit -v 12000000).
//
// Which mutants are made depends on the code, the packages named, -n and -seed
// alone: -n of them, drawn from all the places of all the packages. The
// survivors are listed with their place; whether one is a hole in the tests or
// behaves like the original is for a reader to say.
//
// Left out is what no test is asked about: what is outside of functions, and
// constants and types within (names of states, padding); the text of String and
// Error methods. So is what by its construction makes no difference: the capacity
// given to make and what functions named touch do (read memory ahead of its use),
// which only save time, and how far a slice goes beyond the bytes that Uint64 and
// its like read of it.
//
// Exit status: 0, or 1 if something failed or less is killed than -want says, or
// 2 for a wrong command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.n, "n", 100, "mutants of all packages together; 0 is all")
	flag.Uint64Var(&o.seed, "seed", 1, "which of them")
	flag.DurationVar(&o.limit, "limit", 0, "how long the tests of one package may take; 0 is ten seconds and five times what they take without a mutant")
	flag.StringVar(&o.tests, "tests", "", "further packages whose tests judge the mutants, separated by commas")
	flag.StringVar(&o.at, "at", "", "only the mutants at these places, separated by commas: conntrack/tcp.go:80:3,conntrack/icmp.go:94")
	flag.Float64Var(&o.want, "want", 0, "fail if less than this share is killed (0 to 1)")
	flag.Parse()
	if err := o.usage(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
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
	at    string
	want  float64
}

// usage reports what is wrong with the command line.
func (o *options) usage(packages []string) error {
	switch {
	case len(packages) == 0:
		return errors.New("name the packages to mutate, such as ./conntrack/packet")
	case slices.ContainsFunc(packages, func(pkg string) bool { return strings.HasPrefix(pkg, "-") }):
		return errors.New("flags stand before the packages")
	case o.n < 0 || o.limit < 0:
		return errors.New("-n and -limit: nothing below zero")
	case !(o.want >= 0 && o.want <= 1): // nor what is no number
		return fmt.Errorf("-want %g: a share is between 0 and 1", o.want)
	}
	return nil
}

// suitesOf returns the packages whose tests judge m.
func (o *options) suitesOf(m mutant) []string {
	list := []string{"./" + filepath.ToSlash(filepath.Dir(m.file))}
	if o.tests == "" {
		return list
	}
	for pkg := range strings.SplitSeq(o.tests, ",") {
		if !slices.Contains(list, pkg) {
			list = append(list, pkg)
		}
	}
	return list
}

// run mutates the packages and prints what became of the mutants.
func run(ctx context.Context, w io.Writer, o options, packages []string) error {
	var all []mutant
	for _, pkg := range packages {
		list, err := find(pkg)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %d places\n", pkg, len(list))
		all = append(all, list...)
	}
	rand.New(rand.NewPCG(o.seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if o.at != "" {
		places := strings.Split(o.at, ",")
		for _, at := range places {
			if !slices.ContainsFunc(all, func(m mutant) bool { return strings.HasPrefix(m.String(), at+":") }) {
				return fmt.Errorf("-at: there is no mutant at %q", at)
			}
		}
		all = slices.DeleteFunc(all, func(m mutant) bool {
			return !slices.ContainsFunc(places, func(at string) bool { return strings.HasPrefix(m.String(), at+":") })
		})
	}
	t, err := judge(ctx, w, o, all)
	fmt.Fprintf(w, "mutants: %s\n", t)
	if err != nil {
		return err
	}
	if t.share() < o.want {
		return fmt.Errorf("%.1f %% killed, wanted are %.1f %%", 100*t.share(), 100*o.want)
	}
	return nil
}

// tally counts what became of mutants.
type tally struct {
	killed   int
	late     int // of them, because the tests did not end
	survived int
	invalid  int
}

func (t *tally) count(f fate) {
	switch f {
	case invalid:
		t.invalid++
	case survived:
		t.survived++
	case killed:
		t.killed++
	case late:
		t.killed++
		t.late++
	}
}

func (t tally) share() float64 {
	if t.killed+t.survived == 0 {
		return 0
	}
	return float64(t.killed) / float64(t.killed+t.survived)
}

func (t tally) String() string {
	return fmt.Sprintf("%d killed, %d of them by the time limit, %d survived (%.1f %% killed), %d did not compile",
		t.killed, t.late, t.survived, 100*t.share(), t.invalid)
}
