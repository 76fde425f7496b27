package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what is written about a run.
type report struct {
	samples series
	trials  []trial
	about   string // under what conditions: one line
	cpu     string // the name of the processor
}

// conditions says what the figures depend on.
func conditions(rounds int, slice time.Duration) string {
	return fmt.Sprintf("%s/%s, %s, %d CPUs, %s; %d rounds, %v for each engine and trial in a round.",
		runtime.GOOS, runtime.GOARCH, cpuModel(), runtime.NumCPU(), runtime.Version(), rounds, slice)
}

// csv is every value of every round.
func (r *report) csv() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"trial", "round", "engine", "unit", "value"}) // a Builder takes everything
	for _, s := range r.samples {
		_ = w.Write([]string{s.trial, strconv.Itoa(s.round), s.engine, s.unit, strconv.FormatFloat(s.of, 'g', 6, 64)})
	}
	w.Flush()
	return b.String()
}

// benchstat is what the tool of that name reads: compare the engines with
// benchstat -col /engine.
func (r *report) benchstat() string {
	var b strings.Builder
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: example.com/secgroup/bench/compare\ncpu: %s\n", runtime.GOOS, runtime.GOARCH, r.cpu)
	for _, t := range r.trials {
		for _, c := range t.contestants {
			for round := 1; ; round++ {
				line := ""
				for _, s := range r.samples {
					if s.trial == t.name && s.engine == c.engine && s.round == round {
						line += fmt.Sprintf(" %s %s", strconv.FormatFloat(s.of, 'g', 6, 64), s.unit)
					}
				}
				if line == "" {
					break
				}
				topic, rest, _ := strings.Cut(t.name, "/")
				fmt.Fprintf(&b, "Benchmark%s/%s/engine=%s 1%s\n", strings.ToUpper(topic[:1])+topic[1:], rest, strings.ReplaceAll(c.engine, " ", "_"), line)
			}
		}
	}
	return b.String()
}

// markdown is the targets, and a table for every topic.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Results\n\n" + r.about + "\n\n")
	b.WriteString("CPU time, decode included, unless a unit says otherwise. Medians of the rounds, in brackets the least and half the spread. × is by how\n" +
		"much secgroup is ahead: the median over the rounds of the ratio in the same round; below 1 it is behind.\n\n## Targets\n\n")
	b.WriteString("| what | target | measured | rounds | |\n| --- | --- | --- | --- | --- |\n")
	for _, o := range judge(r.samples) {
		sign := "≥"
		if o.most {
			sign = "≤"
		}
		fmt.Fprintf(&b, "| %s | %s %s %s | ", o.what, sign, short(o.limit), o.unit)
		switch {
		case len(o.rounds) == 0:
			b.WriteString("not measured | | – |\n")
			continue
		case o.met():
			fmt.Fprintf(&b, "**%s** %s | %s–%s | pass |\n", short(o.measured()), o.unit, short(slices.Min(o.rounds)), short(slices.Max(o.rounds)))
		default:
			fmt.Fprintf(&b, "**%s** %s | %s–%s | FAIL |\n", short(o.measured()), o.unit, short(slices.Min(o.rounds)), short(slices.Max(o.rounds)))
		}
	}
	topic := ""
	for _, t := range r.trials {
		if now, _, _ := strings.Cut(t.name, "/"); now != topic {
			topic = now
			fmt.Fprintf(&b, "\n## %s: %s\n\n| trial | engine | | |\n| --- | --- | --- | --- |\n", topic, t.about)
		}
		for i, c := range t.contestants {
			name := ""
			if i == 0 {
				_, name, _ = strings.Cut(t.name, "/")
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, c.engine, r.cells(t.name, c.engine))
		}
	}
	return b.String()
}

// cells are all values of an engine in a trial, and its ratio.
func (r *report) cells(trial, engine string) string {
	var parts []string
	ratio := ""
	for _, k := range r.samples.keys() {
		if k.trial != trial || k.engine != engine {
			continue
		}
		v := r.samples.values(k)
		if k.unit == allocsPer {
			parts = append(parts, amount(median(v), k.unit))
			continue
		}
		parts = append(parts, fmt.Sprintf("**%s** [%s, ±%.0f %%]", amount(median(v), k.unit), amount(slices.Min(v), k.unit), spread(v)))
		own := key{trial, "secgroup", k.unit}
		q := r.samples.ratios(k, own)
		if more(k.unit) {
			q = r.samples.ratios(own, k)
		}
		if len(q) > 0 && engine != "secgroup" && ratio == "" {
			ratio = "× " + short(median(q))
		}
	}
	return strings.Join(parts, ", ") + " | " + ratio
}

// amount writes a value with its unit.
func amount(f float64, unit string) string {
	if per, ok := strings.CutPrefix(unit, "ns"); ok {
		return duration(f) + per
	}
	return short(f) + " " + unit
}

// save writes everything below dir/results.
func (r *report) save(dir string) error {
	dir = filepath.Join(dir, "results")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"results.csv": r.csv(), "benchstat.txt": r.benchstat(), "results.md": r.markdown(), "results.svg": r.chart(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// cpuModel is what the processor calls itself, if it is known.
func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // no such file elsewhere
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t: "))
		}
	}
	return "unknown processor"
}
