package main

import (
	"encoding/csv"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measurement is what one gateway did in one round.
type measurement struct {
	name        string
	round       int
	gbits       float64 // TCP that arrived, Gbit/s
	nsPerKB     float64 // CPU time of the gateway per 1,024 bytes of it
	kpps        float64 // small UDP packets that arrived, thousands per second
	nsPerPacket float64 // CPU time of the gateway per packet of them
}

// column is one thing that was measured.
type column struct {
	title string
	of    func(m measurement) float64
	more  bool // is better
}

func columns() []column {
	return []column{
		{"TCP Gbit/s", func(m measurement) float64 { return m.gbits }, true},
		{"gateway CPU ns/KB", func(m measurement) float64 { return m.nsPerKB }, false},
		{"small UDP kpps", func(m measurement) float64 { return m.kpps }, true},
		{"gateway CPU ns/packet", func(m measurement) float64 { return m.nsPerPacket }, false},
	}
}

// series is all rounds of all gateways.
type series struct {
	names, titles []string
	all           []measurement
}

// values returns one column of one gateway, by round.
func (s *series) values(name string, c column) []float64 {
	var out []float64
	for _, m := range s.all {
		if m.name == name {
			out = append(out, c.of(m))
		}
	}
	return out
}

// ratio is the median over the rounds of a gateway's value against that of the
// baseline in the same round; 0 if there is none.
func (s *series) ratio(name string, c column) float64 {
	mine, base := s.values(name, c), s.values(baseline, c)
	var out []float64
	for i := range min(len(mine), len(base)) {
		if base[i] != 0 {
			out = append(out, mine[i]/base[i])
		}
	}
	return median(out)
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// short writes three digits.
func short(f float64) string {
	switch {
	case f >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case f >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// table is markdown: medians, in brackets the least and the greatest round, and
// the ratio to the baseline.
func (s *series) table() string {
	var b strings.Builder
	b.WriteString("|")
	rule := "| ---"
	for _, c := range columns() {
		b.WriteString(" | " + c.title)
		rule += " | ---"
	}
	b.WriteString(" |\n" + rule + " |\n")
	for i, name := range s.names {
		b.WriteString("| " + s.titles[i])
		for _, c := range columns() {
			v := s.values(name, c)
			if len(v) == 0 {
				b.WriteString(" | –")
				continue
			}
			fmt.Fprintf(&b, " | **%s** [%s–%s]", short(median(v)), short(slices.Min(v)), short(slices.Max(v)))
			if r := s.ratio(name, c); r != 0 && name != baseline {
				fmt.Fprintf(&b, " ×%.2f", r)
			}
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

func (s *series) csv() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"round", "gateway", "tcp_gbit_per_s", "cpu_ns_per_kb", "udp_kpps", "cpu_ns_per_packet"})
	for _, m := range s.all {
		row := []string{strconv.Itoa(m.round + 1), m.name}
		for _, c := range columns() {
			row = append(row, strconv.FormatFloat(c.of(m), 'f', 3, 64))
		}
		_ = w.Write(row)
	}
	w.Flush()
	return b.String()
}

// svg is a bar chart: a panel per column, a bar per gateway, medians, with a
// line from the least to the greatest round.
func (s *series) svg() string {
	const (
		width, label, value = 860, 300, 90
		bar, gap, head      = 20, 6, 40
		bars                = width - label - value
	)
	panel := head + len(s.names)*(bar+gap) + 10
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", width, panel*len(columns()))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	for i, c := range columns() {
		y := i * panel
		better := "less is better"
		if c.more {
			better = "more is better"
		}
		fmt.Fprintf(&b, `<text x="8" y="%d" font-weight="bold">%s</text><text x="%d" y="%d" fill="#666666">%s</text>`+"\n",
			y+24, html.EscapeString(c.title), label, y+24, better)
		most := 0.0
		for _, name := range s.names {
			most = max(most, slices.Max(append(s.values(name, c), 0)))
		}
		for j, name := range s.names {
			v := s.values(name, c)
			if len(v) == 0 || most == 0 {
				continue
			}
			at := func(f float64) float64 { return label + f/most*bars }
			top, fill := y+head+j*(bar+gap), "#4e79a7"
			if name == baseline {
				fill = "#9c9c9c"
			}
			fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", top+15, html.EscapeString(s.titles[j]))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", label, top, at(median(v))-label, bar, fill)
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222222" stroke-width="2"/>`+"\n",
				at(slices.Min(v)), top+bar/2, at(slices.Max(v)), top+bar/2)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", at(slices.Max(v))+6, top+15, short(median(v)))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// Where the table stands in the README.
const (
	beginTable = "<!-- begin of results: written by the program -->"
	endTable   = "<!-- end of results -->"
)

// inReadme puts text between the marks.
func inReadme(readme, text string) (string, error) {
	before, rest, ok := strings.Cut(readme, beginTable)
	_, after, ok2 := strings.Cut(rest, endTable)
	if !ok || !ok2 {
		return "", fmt.Errorf("the README lacks the marks %q and %q", beginTable, endTable)
	}
	return before + beginTable + "\n" + text + endTable + after, nil
}

// about says under what conditions the figures arose.
func about(rounds int, d time.Duration) string {
	return fmt.Sprintf("Medians of %d rounds of %v each, [least–greatest], × against no filter in the same round; %s/%s, %d CPUs, %s.\n\n",
		rounds, d, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// save writes the results below dir and into its README.
func (s *series) save(dir, about string) error {
	readme := filepath.Join(dir, "README.md")
	old, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	text, err := inReadme(string(old), "\n"+about+s.table()+"\n![bars](results/results.svg)\n\n")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "results"), 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"results/results.csv": s.csv(), "results/results.svg": s.svg(), "results/results.md": about + s.table(), "README.md": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
