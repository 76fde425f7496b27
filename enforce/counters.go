package enforce

import (
	"iter"
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
)

// Counter counts what a rule decided: flows that it opened, and packets and
// bytes of those flows, or that it let pass or refused one by one.
type Counter struct{ Flows, Packets, Bytes uint64 }

// book is the accounts of the rules of one compiler, by number. Packets of a
// connection are not counted here while it lives: its table entry has them.
type book struct {
	since uint32 // the engine's epoch from which on marks are numbers of this book
	mu    sync.Mutex
	pages atomic.Pointer[[]*bookPage]
}

const bookPageSize = 256

type bookPage [bookPageSize]account

type account struct {
	ref                   atomic.Pointer[ir.RuleRef]
	flows, packets, bytes atomic.Uint64
}

func (e *Engine) newBook(since uint32) *book {
	b := &book{since: since}
	b.pages.Store(new([]*bookPage))
	e.mu.Lock()
	e.books = append(e.books, b)
	e.mu.Unlock()
	return b
}

// bookOf returns the book that a connection of that epoch is in.
func (e *Engine) bookOf(epoch uint32) *book {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := len(e.books) - 1; i > 0; i-- {
		if e.books[i].since <= epoch {
			return e.books[i]
		}
	}
	return e.books[0]
}

// at returns the account of rule n, made on first use.
func (b *book) at(n ir.RuleNum) *account {
	i := int(n / bookPageSize)
	pages := *b.pages.Load()
	if i >= len(pages) || pages[i] == nil {
		pages = b.grow(i)
	}
	return &pages[i][n%bookPageSize]
}

func (b *book) grow(i int) []*bookPage {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := *b.pages.Load()
	pages := make([]*bookPage, max(i+1, len(old)))
	copy(pages, old)
	if pages[i] == nil {
		pages[i] = new(bookPage)
	}
	b.pages.Store(&pages)
	return pages
}

// add counts for rule n of p. What it adds may be negative in two's
// complement: sums come out right.
func (b *book) add(p *ir.Program, n ir.RuleNum, flows, packets, bytes uint64) {
	a := b.at(n)
	if a.ref.Load() == nil && p != nil {
		a.name(p, n)
	}
	if flows != 0 {
		a.flows.Add(flows)
	}
	if packets != 0 || bytes != 0 {
		a.packets.Add(packets)
		a.bytes.Add(bytes)
	}
}

// name remembers where a rule came from: it may outlive its rule.
func (a *account) name(p *ir.Program, n ir.RuleNum) {
	if r, ok := p.Rule(n); ok {
		ref := r.Ref
		a.ref.CompareAndSwap(nil, &ref)
	}
}

// ref returns where rule n came from, by the book or else by p.
func (b *book) ref(p *ir.Program, n ir.RuleNum) (ir.RuleRef, bool) {
	a := b.at(n)
	if a.ref.Load() == nil && p != nil {
		a.name(p, n)
	}
	if ref := a.ref.Load(); ref != nil {
		return *ref, true
	}
	return ir.RuleRef{}, false
}

// rebook moves what a connection has counted so far to the rule that it was
// opened by, before another one takes over: the new rule's account is lowered
// by as much as the connection's own counters will add to it.
func (e *Engine) rebook(prev *conntrack.Entry, g *generation, rule ir.RuleNum) {
	from := e.bookOf(prev.Epoch)
	old := ir.RuleNum(prev.Mark)
	if from == g.book && old == rule {
		return
	}
	packets, bytes := prev.Total()
	if old != 0 {
		from.add(nil, old, 0, packets, bytes)
	}
	if rule != 0 {
		g.book.add(g.matcher.Program(), rule, 0, -packets, -bytes)
	}
}

// Counters yields flows, packets and bytes per rule since the engine was made,
// in no order. It walks the connection table; while traffic flows, sums are
// of slightly different moments.
func (e *Engine) Counters() iter.Seq2[ir.RuleRef, Counter] {
	return func(yield func(ir.RuleRef, Counter) bool) {
		sum := make(map[ir.RuleRef]Counter)
		add := func(b *book, n ir.RuleNum, c Counter) {
			if ref, ok := b.ref(nil, n); ok && c != (Counter{}) {
				s := sum[ref]
				sum[ref] = Counter{s.Flows + c.Flows, s.Packets + c.Packets, s.Bytes + c.Bytes}
			}
		}
		for c := range e.table.All(e.now()) {
			packets, bytes := c.Total()
			if c.Mark != 0 {
				add(e.bookOf(c.Epoch), ir.RuleNum(c.Mark), Counter{0, packets, bytes})
			}
		}
		e.mu.RLock()
		books := e.books
		e.mu.RUnlock()
		for _, b := range books {
			for i, page := range *b.pages.Load() {
				for k := range page {
					a := &page[k]
					add(b, ir.RuleNum(i*bookPageSize+k), Counter{a.flows.Load(), a.packets.Load(), a.bytes.Load()})
				}
			}
		}
		for ref, c := range sum {
			if !yield(ref, c) {
				return
			}
		}
	}
}

// Drops yields how many packets were refused for each reason, in order of
// reason, since the engine was made.
func (e *Engine) Drops() iter.Seq2[ir.Reason, uint64] {
	return func(yield func(ir.Reason, uint64) bool) {
		e.mu.RLock()
		sum := make(map[ir.Reason]uint64)
		for _, p := range e.ports {
			for _, r := range ir.Reasons() {
				sum[r] += p.drops[r].Load()
			}
		}
		e.mu.RUnlock()
		for _, r := range ir.Reasons() {
			if sum[r] > 0 && !yield(r, sum[r]) {
				return
			}
		}
	}
}
