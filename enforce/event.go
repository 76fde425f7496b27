package enforce

import (
	"log/slog"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

// Event is a flow opened or closed, or a packet refused.
type Event struct {
	Time      time.Time
	Kind      EventKind
	Interface sg.InterfaceID
	Direction sg.Direction     // of the packet; of the first one when closed
	Tuple     packet.Tuple     // likewise; as far as it could be read of a malformed packet
	Status    conntrack.Status // when closed: the last state of the connection
	End       conntrack.End    // when closed: why
	Verdict   ir.Verdict       // when closed: the rule that the connection stood on
	Rule      ir.RuleRef       // zero if no rule decided
	Packets   uint64           // both ways, when closed; else 1
	Bytes     uint64           // likewise; IP headers included

	Adopted    bool   // when opened or closed: TCP picked up in the middle, see Engine.Adopt
	Suppressed uint64 // when denied: events like this one that an EventLimiter kept back before it
}

// EventKind is what happened to a flow.
type EventKind uint8

const (
	FlowOpened EventKind = iota + 1
	FlowDenied
	FlowClosed
)

// String is "opened", "denied" or "closed".
func (k EventKind) String() string {
	switch k {
	case FlowOpened:
		return "opened"
	case FlowDenied:
		return "denied"
	case FlowClosed:
		return "closed"
	}
	return "none"
}

// LogValue lets an Event be logged as a group.
func (e *Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("kind", e.Kind.String()),
		slog.String("interface", string(e.Interface)),
		slog.String("direction", e.Direction.String()),
		slog.String("flow", e.Tuple.String()),
		slog.String("action", e.Verdict.Action.String()),
		slog.String("reason", e.Verdict.Reason.String()),
	}
	if rule := e.Rule.String(); rule != "" {
		attrs = append(attrs, slog.String("rule", rule))
	}
	if e.Kind == FlowClosed {
		attrs = append(attrs, slog.String("end", e.End.String()), slog.String("status", e.Status.String()))
	}
	attrs = append(attrs, slog.Uint64("packets", e.Packets), slog.Uint64("bytes", e.Bytes))
	if e.Adopted {
		attrs = append(attrs, slog.Bool("adopted", true))
	}
	if e.Suppressed != 0 {
		attrs = append(attrs, slog.Uint64("suppressed", e.Suppressed))
	}
	return slog.GroupValue(attrs...)
}

// event reports a packet. Events are pooled: none is allocated per packet.
func (p *Port) event(st *portState, k EventKind, now conntrack.Time, d sg.Direction, pkt *packet.Packet, v ir.Verdict) {
	e := p.engine
	if e.opts.OnEvent == nil {
		return
	}
	ev := e.events.Get().(*Event)
	*ev = Event{
		Time: e.Wall(now), Kind: k, Interface: p.id, Direction: d, Tuple: pkt.Tuple, Verdict: v,
		Packets: 1, Bytes: uint64(pkt.Length),
		Adopted: k == FlowOpened && sg.Protocol(pkt.Tuple.Proto) == sg.TCP && pkt.Flags&packet.SYN == 0,
	}
	if v.Rule != 0 {
		ev.Rule, _ = st.gen.book.ref(st.gen.matcher.Program(), v.Rule)
	}
	e.opts.OnEvent(ev)
	e.events.Put(ev)
}

// ended accounts for a connection that left the table, and reports it.
func (e *Engine) ended(c *conntrack.Entry, why conntrack.End) {
	packets, bytes := c.Total()
	b := e.bookOf(c.Epoch)
	rule := ir.RuleNum(c.Mark)
	if rule != 0 {
		b.add(nil, rule, 0, packets, bytes)
	}
	if e.opts.OnEvent == nil {
		return
	}
	ev := e.events.Get().(*Event)
	*ev = Event{
		Time: e.Wall(c.LastSeen), Kind: FlowClosed, Direction: sg.Ingress, Tuple: c.Orig, Status: c.Status, End: why,
		Verdict: ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRule, Rule: rule}, Packets: packets, Bytes: bytes,
		Adopted: c.Adopted,
	}
	if c.OrigSide == conntrack.Local {
		ev.Direction = sg.Egress
	}
	if rule != 0 {
		ev.Rule, _ = b.ref(nil, rule)
	}
	ev.Interface, _ = e.Interface(c.Zone)
	e.opts.OnEvent(ev)
	e.events.Put(ev)
}
