package enforce

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/sg"
)

// Options configure an Engine. The zero value is ready to use.
type Options struct {
	// Conntrack sizes the connection table. Its OnEnd and OnPressure are called
	// as package conntrack says; from within, Engine.Interface may be asked whose
	// zone it is.
	Conntrack conntrack.Options

	// Hygiene says what is let through to the rules although filters refuse it.
	Hygiene Hygiene

	// Checksums are those that Filter and FilterBatch verify. Where sources
	// differ, there is Port.FilterWith.
	Checksums Checksums

	// OnEvent, if set, is called for every flow that opens or closes and every
	// packet that is refused. It runs on the packet path, sometimes with a
	// lock held: it must not block, must not call the Engine, and must not
	// keep its argument.
	OnEvent func(*Event)

	// Now is the clock. By default it is the process's monotonic clock, read
	// once per packet or batch, and only every few milliseconds while Run runs.
	Now func() time.Time

	// Logger hears of policies that are applied. By default nobody does.
	Logger *slog.Logger
}

// Engine is the userspace Backend: decode, conntrack, match, verdict. It is
// safe for concurrent use, starts no goroutine, and drops everything until its
// first Apply. It must be made by NewEngine.
type Engine struct {
	opts    Options
	refuse  hygiene
	table   *conntrack.Table
	start   time.Time
	coarse  atomic.Int64 // the clock while Run runs, else 0
	gen     atomic.Pointer[generation]
	events  sync.Pool // *Event
	batches sync.Pool // *batch

	apply sync.Mutex // serialises Apply

	mu      sync.RWMutex // guards what follows up to gone
	ports   map[sg.InterfaceID]*Port
	zones   []*Port // by zone, from 1: who has it, or had it
	books   []*book
	retired map[ir.RuleRef]Counter // sums of books that are no longer kept
	gone    []conntrack.Zone       // given up since the last Apply

	fragZones atomic.Uint32 // zones of fragments handed out: see portState

	readers sync.Mutex             // guards shown
	shown   map[ir.RuleRef]Counter // what Counters yielded last
}

var _ Backend = (*Engine)(nil)

// generation is one applied policy. A packet is judged by one generation from
// beginning to end.
type generation struct {
	matcher *compile.Matcher
	epoch   uint32 // of the Engine: a connection of another one is judged again
	keep    bool   // sg.Keep
	book    *book
}

// NewEngine returns an engine without a policy.
func NewEngine(o Options) *Engine {
	e := &Engine{opts: o, refuse: newHygiene(o.Hygiene), start: time.Now(), ports: make(map[sg.InterfaceID]*Port), zones: []*Port{nil}, retired: make(map[ir.RuleRef]Counter)}
	if o.Now != nil {
		e.start = o.Now()
	}
	if o.Logger == nil {
		e.opts.Logger = slog.New(slog.DiscardHandler)
	}
	e.events.New = func() any { return new(Event) }
	e.batches.New = func() any { return new(batch) }
	ct := o.Conntrack
	onEnd := ct.OnEnd
	ct.OnEnd = func(entry *conntrack.Entry, why conntrack.End) {
		e.ended(entry, why)
		if onEnd != nil {
			onEnd(entry, why)
		}
	}
	e.table = conntrack.NewTable(ct)
	return e
}

// Table returns the connection table, for listing and statistics.
func (e *Engine) Table() *conntrack.Table { return e.table }

// Interface returns the interface that a zone of the connection table belongs
// to, or belonged to.
func (e *Engine) Interface(z conntrack.Zone) (sg.InterfaceID, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if z == 0 || uint64(z) >= uint64(len(e.zones)) {
		return "", false
	}
	return e.zones[z].id, true
}

// Apply makes m the policy in force, at once and as a whole: every packet is
// judged by the old policy or by the new one. Connections of an older policy
// are kept, judged again or cut as the profile of m says.
//
// Matchers of one Compiler number rules alike. A matcher of another Compiler
// is as good: connections go on, and are judged again on their next packet.
// Apply fails only where there is no matcher, with sg.ErrRequired; it does not
// wait, so it does not ask ctx.
func (e *Engine) Apply(_ context.Context, m *compile.Matcher) error {
	if m == nil || m.Program() == nil { // or a zero one
		return &sg.FieldError{Path: "matcher", Err: sg.ErrRequired}
	}
	e.apply.Lock()
	defer e.apply.Unlock()
	old := e.gen.Load()
	if old != nil && old.matcher == m {
		return nil
	}
	p := m.Program()
	g := &generation{matcher: m, epoch: 1, keep: p.Established() == sg.Keep}
	switch {
	case old == nil:
		g.book = e.newBook(g.epoch)
	case !p.SameLineage(old.matcher.Program()):
		g.epoch = old.epoch + 1
		g.book = e.newBook(g.epoch)
	case p.Epoch() != old.matcher.Program().Epoch(), old.keep && !g.keep, p.Generation() < old.matcher.Program().Generation():
		// Going back to an older matcher takes away what was added since, and
		// what was kept without judging is judged now: neither moves the
		// compiler's epoch.
		g.epoch, g.book = old.epoch+1, old.book
	default:
		g.epoch, g.book = old.epoch, old.book
	}
	e.gen.Store(g)
	gone := e.resolvePorts()
	if cut := p.Established() == sg.Cut && old != nil && g.epoch != old.epoch; cut || len(gone) > 0 {
		e.cut(g, gone, cut)
	}
	e.opts.Logger.Info("policy applied", "generation", p.Generation(), "epoch", g.epoch)
	return nil
}

// Close does nothing: an Engine holds no resources, and its policy stays in
// force.
func (e *Engine) Close() error { return nil }

// Matcher returns the policy in force, nil before the first Apply.
func (e *Engine) Matcher() *compile.Matcher {
	if g := e.gen.Load(); g != nil {
		return g.matcher
	}
	return nil
}

// cut forgets the connections of zones given up and, if all, those that g
// refuses.
func (e *Engine) cut(g *generation, gone map[conntrack.Zone]bool, all bool) {
	e.table.Update(e.now(), func(c *conntrack.Entry) (conntrack.Mark, uint32, bool) {
		if gone[c.Zone] {
			return 0, 0, false
		}
		if !all || c.Epoch == g.epoch {
			return c.Mark, c.Epoch, true
		}
		st := e.stateOf(c.Zone)
		if st == nil || st.gen != g || !st.known {
			return c.Mark, c.Epoch, true // judged on its next packet
		}
		d, f := entryFlow(c)
		v := st.match(d, f)
		if v.Action == sg.Drop || v.Stateless {
			return 0, 0, false
		}
		packets, bytes := c.Total()
		e.rebook(c, g, v.Rule, packets, bytes)
		return conntrack.Mark(v.Rule), g.epoch, true
	})
}

// Rule returns where a rule of the policy in force came from.
func (e *Engine) Rule(n ir.RuleNum) (ir.RuleRef, bool) {
	g := e.gen.Load()
	if g == nil || n == 0 {
		return ir.RuleRef{}, false
	}
	return g.book.ref(g.matcher.Program(), n)
}
