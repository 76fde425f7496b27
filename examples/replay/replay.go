package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/examples/internal/cli"
	"example.com/secgroup/examples/replay/internal/capture"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// printer shows a replay as it goes.
type printer interface {
	begin(s *policy.Snapshot, capture string)
	verdict(v judged)
	end(t *totals, flows []flow) error // of any write so far
}

// judged is one packet, at one interface or at none.
type judged struct {
	n         int
	time      time.Time
	iface     sg.InterfaceID // empty: it touches no interface
	direction sg.Direction
	packet    packet.Packet
	note      string // what the frame is, if it is no IP packet that can be judged
	verdict   ir.Verdict
	rule      ir.RuleRef
	why       string // of a dropped packet
}

// totals sums a replay up.
type totals struct {
	packets, accepted, none, flows int
	dropped                        map[ir.Reason]int
	first, last                    time.Time
	truncated                      bool // the capture ends in the middle of a packet
}

// flow is one tracked connection at its end, or at the end of the capture.
type flow struct {
	iface sg.InterfaceID
	entry conntrack.Entry
	rule  ir.RuleRef
}

// player replays packets through an engine whose clock is the capture's.
type player struct {
	out     printer
	engine  *enforce.Engine
	matcher *compile.Matcher
	local   *locator
	now     time.Time
	totals  totals
	opened  map[opening]int // in which order
	closed  []conntrack.Entry
}

// opening is the first packet of a flow, at an interface.
type opening struct {
	iface sg.InterfaceID
	tuple packet.Tuple
}

func replay(o options, stdin io.Reader, stdout, stderr io.Writer) error {
	snapshot, matcher, err := loadPolicy(o, stdin)
	if err != nil {
		return err
	}
	local, err := newLocator(snapshot, sg.InterfaceID(o.iface))
	if err != nil {
		return cli.InFile(o.policyName(), err)
	}
	file, name, size, err := openCapture(o, stdin)
	if err != nil {
		return err
	}
	defer file.Close()
	packets, err := capture.Open(file)
	if errors.Is(err, capture.ErrTruncated) {
		return fmt.Errorf("%s: the file header is cut", name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p := &player{matcher: matcher, local: local, totals: totals{dropped: map[ir.Reason]int{}}}
	if o.json {
		p.out = newJSONPrinter(stdout)
	} else {
		p.out = newTextPrinter(stdout)
	}
	p.out.begin(snapshot, name)
	err = p.play(packets, newProgress(stderr, size))
	if written := p.out.end(&p.totals, p.flows()); written != nil {
		return written
	}
	if err != nil {
		return fmt.Errorf("%s: after %d packets: %w", name, p.totals.packets, err)
	}
	if p.totals.truncated {
		fmt.Fprintf(stderr, "replay: %s ends in the middle of a packet; the %d whole packets before it were replayed\n", name, p.totals.packets)
	}
	return nil
}

// play replays packets to the end of the capture.
func (p *player) play(packets *capture.Reader, progress *progress) error {
	defer progress.done()
	var unknown *capture.LinkTypeError // of some packets of a pcapng file: said at the end
	for {
		c, err := packets.Next()
		var link *capture.LinkTypeError
		switch {
		case errors.Is(err, io.EOF):
			if unknown != nil {
				return unknown
			}
			return nil
		case errors.As(err, &link) && c.N > 0:
			unknown = link
		case errors.Is(err, capture.ErrTruncated):
			p.totals.truncated = true
			return nil
		case err != nil:
			return err
		}
		if p.engine == nil {
			p.start(c.Time)
		}
		p.now = c.Time
		p.totals.packets++
		p.totals.last = c.Time
		p.judge(c)
		progress.at(packets.Offset(), p.totals.packets)
	}
}

// start makes the engine once the capture's clock is known.
func (p *player) start(at time.Time) {
	p.now, p.totals.first, p.opened = at, at, map[opening]int{}
	p.engine = enforce.NewEngine(enforce.Options{
		// A capture may be of a loopback device.
		Hygiene: enforce.Hygiene{AllowLand: true, AllowMartians: true},
		Now:     func() time.Time { return p.now },
		OnEvent: func(e *enforce.Event) {
			if e.Kind == enforce.FlowOpened {
				p.totals.flows++
				p.opened[opening{e.Interface, e.Tuple}] = p.totals.flows
			}
		},
		Conntrack: conntrack.Options{OnEnd: func(e *conntrack.Entry, _ conntrack.End) { p.closed = append(p.closed, *e) }},
	})
	_ = p.engine.Apply(context.Background(), p.matcher) // never fails
}

// judge replays one packet at each interface that it passes: the sender's
// first, then, if it got out, the receiver's.
func (p *player) judge(c capture.Packet) {
	j := judged{n: c.N, time: c.Time, note: c.Note}
	err := errNotIP
	if c.IP != nil {
		err = packet.Decode(c.IP, &j.packet)
	}
	if c.Truncated && err != nil {
		j.note = "cut by the capture's snap length"
		err = errNotIP
	}
	var from, to sg.InterfaceID
	if !errors.Is(err, errNotIP) && j.packet.Tuple.Family != 0 {
		from, to = p.local.find(&j.packet.Tuple)
	}
	if from == "" && to == "" {
		p.totals.none++
		p.out.verdict(j)
		return
	}
	if from != "" && !p.at(j, from, sg.Egress, c.IP, err) {
		return
	}
	if to != "" && to != from {
		p.at(j, to, sg.Ingress, c.IP, err)
	}
}

var errNotIP = errors.New("no IP packet")

// at judges a packet at one interface and reports whether it passed.
func (p *player) at(j judged, id sg.InterfaceID, d sg.Direction, b []byte, decode error) bool {
	j.iface, j.direction = id, d
	j.verdict = p.engine.Port(id).Filter(d, b)
	j.rule, _ = p.engine.Rule(j.verdict.Rule)
	if j.verdict.Action == sg.Accept {
		p.totals.accepted++
	} else {
		p.totals.dropped[j.verdict.Reason]++
		j.why = p.why(&j, decode)
	}
	p.out.verdict(j)
	return j.verdict.Action == sg.Accept
}

// why says in words why a packet was dropped.
func (p *player) why(j *judged, decode error) string {
	switch j.verdict.Reason {
	case ir.ReasonMalformed:
		return decode.Error()
	case ir.ReasonSourceRoute:
		return "the sender chose its route"
	case ir.ReasonIPOptions, ir.ReasonRoutingHeader, ir.ReasonFragmentHeader, ir.ReasonOffLink, ir.ReasonFragmentedDiscovery, ir.ReasonICMPType:
		return "no honest packet has that: " + j.verdict.Reason.String()
	case ir.ReasonICMPRedirect:
		return "a redirect about no tracked flow"
	case ir.ReasonInvalidState:
		if j.packet.IsICMPError() {
			return "an ICMP error about no tracked flow"
		}
		if j.packet.IsICMPQuery() {
			return "an answer that nobody asked for"
		}
		return "no connection that it fits, and it may not open one"
	case ir.ReasonFragment:
		return "the first fragment was refused or not seen, or fragments overlap"
	case ir.ReasonSpoofed:
		return "the interface may not use this address"
	case ir.ReasonTableFull:
		return "no room for another flow"
	}
	return p.matcher.Explain(j.iface, j.direction, enforce.FlowOf(&j.packet, j.direction)).Why()
}

// flows returns every flow of the replay in the order in which they began.
func (p *player) flows() []flow {
	if p.engine == nil {
		return nil
	}
	entries := p.closed
	for e := range p.engine.Table().All(conntrack.Time(p.now.Sub(p.totals.first)) + 1) {
		entries = append(entries, e)
	}
	return sortFlows(p.engine, entries, p.opened)
}
