package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// textPrinter prints what a person wants to read.
type textPrinter struct {
	w       *bufio.Writer
	capture string
	drops   int
}

func newTextPrinter(w io.Writer) *textPrinter { return &textPrinter{w: bufio.NewWriter(w)} }

func (p *textPrinter) begin(s *policy.Snapshot, capture string) {
	p.capture = capture
	rules := 0
	for g := range s.Groups() {
		rules += len(g.Rules)
	}
	n := s.Size()
	fmt.Fprintf(p.w, "policy   %s: %s, %s, %s, %s\n", s.Profile().Name, count(n.Groups, "group"), count(rules, "rule"),
		count(n.Sets, "IP set"), count(n.Interfaces, "interface"))
	fmt.Fprintf(p.w, "capture  %s\n", capture)
}

func (p *textPrinter) verdict(j judged) {
	if j.iface == "" || j.verdict.Action == sg.Accept {
		return
	}
	if p.drops++; p.drops == 1 {
		fmt.Fprintf(p.w, "\ndropped\n")
	}
	t := &j.packet.Tuple
	what := fmt.Sprintf("%s %s > %s", protocolText(t), endText(t, t.SrcAddrPort()), endText(t, t.DstAddrPort()))
	fmt.Fprintf(p.w, "%5d  %-8s %-7s %s\n%14s %s: %s\n", j.n, j.iface, j.direction, what, "", j.verdict.Reason, j.why)
}

func (p *textPrinter) end(t *totals, flows []flow) error {
	if len(flows) > 0 {
		fmt.Fprintf(p.w, "\nflows\n")
		tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  interface\topened by\tflow\tstate\tpackets\tbytes\trule")
		for _, f := range flows {
			packets, bytes := f.entry.Total()
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%d\t%d\t%s\n", f.iface, opener(f.entry.OrigSide), f.entry.Orig, f.entry.Status, packets, bytes, ruleText(f.rule))
		}
		tw.Flush()
	}
	dropped, reasons := 0, []string{}
	for _, r := range ir.Reasons() {
		if n := t.dropped[r]; n > 0 {
			dropped += n
			reasons = append(reasons, fmt.Sprintf("%s %d", r, n))
		}
	}
	fmt.Fprintf(p.w, "\ntotals   %s spanning %v: %s accepted, %d dropped", count(t.packets, "packet"), max(0, t.last.Sub(t.first).Round(time.Millisecond)),
		count(t.accepted, "verdict"), dropped)
	if dropped > 0 {
		fmt.Fprintf(p.w, " (%s)", strings.Join(reasons, ", "))
	}
	fmt.Fprintf(p.w, "; %s of no interface; %s\n", count(t.none, "packet"), count(t.flows, "flow"))
	if t.truncated {
		fmt.Fprintf(p.w, "         the capture ends in the middle of a packet\n")
	}
	return p.w.Flush()
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func opener(s conntrack.Side) string {
	if s == conntrack.Local {
		return "itself"
	}
	return "remote"
}

func ruleText(r ir.RuleRef) string {
	if s := r.String(); s != "" {
		return s
	}
	return "-"
}
