package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/netip"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// timeLayout is RFC 3339 with microseconds, in UTC.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// line is one verdict. Its field names are a promise.
type line struct {
	N         int    `json:"n"`
	Time      string `json:"time"`
	Interface string `json:"interface,omitempty"`
	Direction string `json:"direction,omitempty"`
	Proto     string `json:"proto,omitempty"`
	Src       string `json:"src,omitempty"`
	Dst       string `json:"dst,omitempty"`
	Action    string `json:"action"`
	Reason    string `json:"reason"`
	Group     string `json:"group,omitempty"`
	Rule      string `json:"rule,omitempty"`
	Platform  string `json:"platform,omitempty"`
	Why       string `json:"why,omitempty"`
	Note      string `json:"note,omitempty"`
}

// summaryLine is the last line.
type summaryLine struct {
	Summary struct {
		Packets   int            `json:"packets"`
		Accepted  int            `json:"accepted"`
		Dropped   map[string]int `json:"dropped"`
		None      int            `json:"none"`
		Flows     int            `json:"flows"`
		Truncated bool           `json:"truncated,omitempty"`
	} `json:"summary"`
}

type jsonPrinter struct {
	buf *bufio.Writer
	enc *json.Encoder
}

func newJSONPrinter(w io.Writer) *jsonPrinter {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return &jsonPrinter{buf, enc}
}

func (p *jsonPrinter) begin(*policy.Snapshot, string) {}

func (p *jsonPrinter) verdict(j judged) {
	l := line{N: j.n, Time: j.time.UTC().Format(timeLayout), Action: "none", Reason: j.verdict.Reason.String(), Note: j.note, Why: j.why}
	if t := &j.packet.Tuple; t.Family != 0 {
		l.Proto = protocolText(t)
		l.Src, l.Dst = endText(t, t.SrcAddrPort()), endText(t, t.DstAddrPort())
	}
	if j.iface != "" {
		l.Interface, l.Direction, l.Action = string(j.iface), j.direction.String(), j.verdict.Action.String()
		l.Group, l.Rule, l.Platform = string(j.rule.Group), string(j.rule.Rule), j.rule.Platform
	}
	_ = p.enc.Encode(l) // a failed write shows in end
}

func (p *jsonPrinter) end(t *totals, _ []flow) error {
	var l summaryLine
	l.Summary.Packets, l.Summary.Accepted, l.Summary.None, l.Summary.Flows = t.packets, t.accepted, t.none, t.flows
	l.Summary.Truncated = t.truncated
	l.Summary.Dropped = map[string]int{}
	for r, n := range t.dropped {
		l.Summary.Dropped[r.String()] = n
	}
	_ = p.enc.Encode(l)
	return p.buf.Flush()
}

// protocolText is a lower-case name or a number.
func protocolText(t *packet.Tuple) string {
	if t.Proto == 0 {
		return "0"
	}
	return sg.Protocol(t.Proto).String()
}

// endText is an address, with its port where the packet has ports.
func endText(t *packet.Tuple, a netip.AddrPort) string {
	if t.HasPorts() && (t.SrcPort != 0 || t.DstPort != 0) {
		return a.String()
	}
	return a.Addr().String()
}
