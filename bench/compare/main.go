package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 7, "how often every engine has its turn in a trial")
	slice := flag.Duration("time", 50*time.Millisecond, "CPU time of an engine's turn")
	only := flag.String("only", "", "run the trials whose name matches this `regexp`; write no results")
	quick := flag.Bool("quick", false, "small workloads and short turns; write no results")
	kernel := flag.Bool("kernel", os.Getuid() == 0, "measure the kernel's nftables and conntrack too; needs root, nft and ip")
	verify := flag.Bool("verify", false, "only prepare everything and compare verdicts")
	list := flag.Bool("list", false, "print the names of the trials")
	dir := flag.String("dir", ".", "write the results below this `directory`")
	flag.Parse()
	err := usage(*rounds, *slice, flag.Args())
	if err == nil {
		err = run(*rounds, *slice, *only, *quick, *kernel, *list, *verify, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		if _, ok := errors.AsType[usageError](err); ok {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// usageError is what is wrong with the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func usage(rounds int, slice time.Duration, args []string) error {
	switch {
	case len(args) > 0:
		return usageError(fmt.Sprintf("unexpected argument %q: -only says which trials", args[0]))
	case rounds < 1 || slice <= 0:
		return usageError("-rounds and -time: at least one round, longer than nothing")
	}
	return nil
}

// choose returns the trials whose name matches only, of those that anybody
// takes part in.
func choose(trials []trial, only string) ([]trial, error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return nil, usageError("-only: " + err.Error())
	}
	var chosen []trial
	var names []string
	for _, t := range trials {
		if len(t.contestants) == 0 {
			continue
		}
		names = append(names, t.name)
		if pattern.MatchString(t.name) {
			chosen = append(chosen, t)
		}
	}
	if len(chosen) == 0 {
		return nil, usageError(fmt.Sprintf("-only %s: no trial has such a name; there are\n  %s", only, strings.Join(names, "\n  ")))
	}
	return chosen, nil
}

func run(rounds int, slice time.Duration, only string, quick, kernel, list, verify bool, dir string) error {
	s := fullScale()
	if quick {
		s, rounds, slice = quickScale(), min(rounds, 3), min(slice, 5*time.Millisecond)
	}
	trials := allTrials(s)
	if kernel {
		var err error
		if trials, err = withKernel(trials, s); err != nil {
			return fmt.Errorf("the kernel's part (-kernel=false leaves it out): %w", err)
		}
	}
	chosen, err := choose(trials, only)
	if err != nil {
		return err
	}
	if list {
		for _, t := range chosen {
			fmt.Printf("%-32s %s\n", t.name, t.about)
		}
		return nil
	}
	// One thread does all the work, so that what the process uses is what the
	// engine used.
	runtime.LockOSThread()
	begun := time.Now()
	r := runner{rounds: rounds, slice: slice, progress: os.Stderr, verify: verify}
	samples, err := r.run(chosen)
	if err != nil {
		return err
	}
	if verify {
		fmt.Printf("%d trials prepared: all verdicts are those of the reference\n", len(chosen))
		return nil
	}
	out := report{samples, chosen, conditions(rounds, slice), cpuModel()}
	fmt.Print(out.markdown())
	fmt.Fprintf(os.Stderr, "%d trials in %v, with %v of CPU\n", len(chosen), time.Since(begun).Round(time.Second), cpu().Round(time.Second))
	if only != "" || quick {
		return nil
	}
	return out.save(dir)
}

// allTrials are those of this process, in the order of the report. What memory
// they keep comes first: garbage of the others would be counted.
func allTrials(s scale) []trial {
	var out []trial
	for _, t := range [][]trial{
		memoryTrials(s), ruleTrials(s), establishedTrials(s), setTrials(s), tableTrials(s), prefixTrials(s), decodeTrials(), coreTrials(),
		buildTrials(s), updateTrials(s), collectTrials(s), ageTrials(s),
	} {
		out = append(out, t...)
	}
	return out
}
