package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// panel is a group of bars of the chart.
type panel struct {
	title, trial, unit string
}

// panels are the trials that the chart shows, as far as they were run.
func panels() []panel {
	return []panel{
		{"A packet that no rule allows, 10 rules", "deny/v4/rules=10", perPacket},
		{"A packet that no rule allows, 10,000 rules", "deny/v4/rules=10k", perPacket},
		{"A packet that opens a flow, 10,000 rules", "new/v4/rules=10k", perPacket},
		{"A packet of an established flow, hot", "established/v4/rules=1k", perPacket},
		{"A packet of one of a million flows", "hit/v4/flows=1M", perPacket},
		{"The opening of a flow, up to a million", "insert/v4/flows=1M", perPacket},
		{"A new flow from a set of a million prefixes", "set-new/v4/prefixes=1M", perPacket},
	}
}

// chart is horizontal bars of medians with a logarithmic scale, and a line from
// the least to the greatest round. It needs no font and no file of others, and
// follows the reader's colour scheme, or stands on white where it can not.
func (r *report) chart() string {
	const (
		width, left, right = 900, 190, 120
		bar, gap           = 18, 5
		head, foot, top    = 34, 12, 56
	)
	type row struct {
		engine string
		v      []float64
	}
	var shown []panel
	rows := make(map[string][]row)
	least, greatest := math.Inf(1), 0.0
	height := top
	for _, p := range panels() {
		for _, t := range r.trials {
			if t.name != p.trial {
				continue
			}
			for _, c := range t.contestants {
				if v := r.samples.values(key{t.name, c.engine, p.unit}); len(v) > 0 && slices.Min(v) > 0 {
					rows[p.trial] = append(rows[p.trial], row{c.engine, v})
					least, greatest = min(least, slices.Min(v)), max(greatest, slices.Max(v))
				}
			}
		}
		if n := len(rows[p.trial]); n > 0 {
			shown = append(shown, p)
			height += head + n*(bar+gap) + foot
		}
	}
	height += 24
	lo, hi := math.Floor(math.Log10(max(1, least))), math.Ceil(math.Log10(max(10, greatest)))
	at := func(f float64) float64 {
		return left + (math.Log10(max(1, f))-lo)/(hi-lo)*(width-left-right)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="sans-serif" font-size="13">`+"\n",
		width, height, width, height)
	b.WriteString(`<title>CPU time per packet of secgroup and its peers</title>
<style>
.bg{fill:#ffffff}.t{fill:#1f2328}.s{fill:#59636e}.g{stroke:#d1d9e0}.r{stroke:#1f2328}.own{fill:#1a7f37}.peer{fill:#8c959f}.kernel{fill:#bf8700}
@media (prefers-color-scheme:dark){.bg{fill:#0d1117}.t{fill:#e6edf3}.s{fill:#9198a1}.g{stroke:#30363d}.r{stroke:#e6edf3}.own{fill:#3fb950}.peer{fill:#6e7681}.kernel{fill:#d29922}}
</style>
<rect class="bg" width="100%" height="100%"/>
`)
	fmt.Fprintf(&b, `<text class="t" x="8" y="24" font-size="16" font-weight="bold">CPU time per packet</text>`+"\n")
	fmt.Fprintf(&b, `<text class="s" x="8" y="44">less is better; the scale is logarithmic; medians, the line is from the least to the greatest round</text>`+"\n")
	axis := map[float64]string{0: "1 ns", 1: "10 ns", 2: "100 ns", 3: "1 µs", 4: "10 µs", 5: "100 µs", 6: "1 ms", 7: "10 ms"}
	for e := lo; e <= hi; e++ {
		x := at(math.Pow(10, e))
		fmt.Fprintf(&b, `<line class="g" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="s" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, top, x, height-20, x, height-6, axis[e])
	}
	y := top
	for _, p := range shown {
		fmt.Fprintf(&b, `<text class="t" x="8" y="%d" font-weight="bold">%s</text>`+"\n", y+22, html.EscapeString(p.title))
		y += head
		for _, w := range rows[p.trial] {
			class := "peer"
			switch {
			case strings.HasPrefix(w.engine, "secgroup"):
				class = "own"
			case strings.HasPrefix(w.engine, "nftables"), strings.HasPrefix(w.engine, "kernel"):
				class = "kernel"
			}
			m := median(w.v)
			fmt.Fprintf(&b, `<text class="t" x="%d" y="%d" text-anchor="end">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`,
				left-8, y+14, html.EscapeString(w.engine), class, left, y, max(1, at(m)-left), bar)
			fmt.Fprintf(&b, `<line class="r" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, at(slices.Min(w.v)), y+bar/2, at(slices.Max(w.v)), y+bar/2)
			label := duration(m)
			if q := r.samples.ratios(key{p.trial, w.engine, p.unit}, key{p.trial, "secgroup", p.unit}); len(q) > 0 && class != "own" {
				label += " ×" + short(median(q))
			}
			fmt.Fprintf(&b, `<text class="t" x="%.1f" y="%d">%s</text>`+"\n", at(slices.Max(w.v))+6, y+14, label)
			y += bar + gap
		}
		y += foot
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// duration writes nanoseconds.
func duration(ns float64) string {
	switch {
	case ns >= 1e9:
		return short(ns/1e9) + " s"
	case ns >= 1e6:
		return short(ns/1e6) + " ms"
	case ns >= 1e4:
		return short(ns/1e3) + " µs"
	}
	return short(ns) + " ns"
}
