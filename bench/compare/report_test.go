package main

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata anew")

// someReport is a run of two trials, and of two that targets are about.
func someReport() *report {
	r := &report{about: "Conditions.", cpu: "a <processor>"}
	add := func(name string, engines map[string][]float64, order ...string) {
		t := trial{name: name, about: "what it is"}
		for _, e := range order {
			t.contestants = append(t.contestants, contestant{engine: e})
			for i, v := range engines[e] {
				r.samples = append(r.samples, sample{i + 1, name, e, value{perPacket, v}}, sample{i + 1, name, e, value{allocsPer, 0}})
			}
		}
		r.trials = append(r.trials, t)
	}
	add("deny/v4/rules=10", map[string][]float64{"secgroup": {20, 22, 21}, "tailscale": {60, 55, 210}}, "secgroup", "tailscale")
	add("deny/v4/rules=10k", map[string][]float64{"secgroup": {40, 42, 41}, "tailscale": {50_000, 42_000, 45_000}, "nftables linear": {1e6, 3e6, 2e6}},
		"secgroup", "tailscale", "nftables linear")
	t := trial{name: "cores-deny/v4/rules=100", about: "two"}
	for i, e := range []string{"secgroup", "peer"} {
		t.contestants = append(t.contestants, contestant{engine: e})
		r.samples = append(r.samples, sample{1, t.name, e, value{mpps + "-1", float64(10 - 5*i)}}, sample{1, t.name, e, value{speedup, float64(2 - i)}})
	}
	r.trials = append(r.trials, t)
	return r
}

// TestGolden: what is written about a run is what it was, or is to be looked
// at and renewed with -update.
func TestGolden(t *testing.T) {
	r := someReport()
	benchstat := r.benchstat()
	i := strings.Index(benchstat, "pkg:") // before it stands the platform
	for name, got := range map[string]string{
		"results.csv": r.csv(), "benchstat.txt": benchstat[i:], "results.md": r.markdown(), "results.svg": r.chart(),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs:\n%s", name, got)
		}
	}
}

func TestJudge(t *testing.T) {
	met := make(map[string]string)
	for _, o := range judge(someReport().samples) {
		switch {
		case len(o.rounds) == 0:
			met[o.what] = "not measured"
		case o.met():
			met[o.what] = "pass"
		default:
			met[o.what] = "fail"
		}
	}
	for what, want := range map[string]string{
		"deny, 10,000 rules, against tailscale":              "pass", // 1,250, 1,000, 1,098
		"deny, 10 rules, against tailscale":                  "pass", // 3, 2.5, 10
		"deny, 10,000 rules, against 10 rules":               "fail", // 2, 1.9, 2
		"deny, 10,000 rules":                                 "fail",
		"deny, 10,000 rules, against linear nftables":        "pass",
		"two cores, deny, against one":                       "pass",
		"established, hot":                                   "not measured",
		"established, 1M flows, batch":                       "not measured",
		"deny, 10,000 rules, against an nftables pipapo set": "not measured",
	} {
		if met[what] != want {
			t.Errorf("%s: %q, not %q", what, met[what], want)
		}
	}
}

// TestChart: the chart is XML, needs nothing from elsewhere, and every bar lies
// within it.
func TestChart(t *testing.T) {
	svg := someReport().chart()
	d := xml.NewDecoder(strings.NewReader(svg))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 6 { // five, and the ground
		t.Errorf("%d rectangles", bars)
	}
	for _, from := range []string{"href", "@import", "url(", "NaN", "Inf", `width="-`} {
		if strings.Contains(svg, from) {
			t.Errorf("the chart has %q", from)
		}
	}
	empty := (&report{}).chart()
	if strings.Contains(empty, "NaN") || strings.Contains(empty, "Inf") {
		t.Error("a chart of nothing is broken")
	}
}

// TestSave writes all files.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	if err := someReport().save(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"results.csv", "benchstat.txt", "results.md", "results.svg"} {
		if b, err := os.ReadFile(filepath.Join(dir, "results", name)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
