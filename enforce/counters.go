package enforce

import (
	"iter"
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
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

// maxBooks bounds the books that are kept. Of more compilers than that, one
// after the other, the oldest one's sums are kept and its numbers forgotten.
const maxBooks = 16

func (e *Engine) newBook(since uint32) *book {
	b := &book{since: since}
	b.pages.Store(new([]*bookPage))
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.books) == maxBooks {
		e.books[0].each(func(n ir.RuleNum, c Counter) {
			if ref, ok := e.books[0].ref(nil, n); ok {
				e.retired[ref] = e.retired[ref].plus(c)
			}
		})
		e.books = e.books[1:]
	}
	e.books = append(e.books[:len(e.books):len(e.books)], b) // readers keep the old list
	return b
}

// bookOf returns the book that a connection of that epoch is in, nil if it is
// no longer kept.
func (e *Engine) bookOf(epoch uint32) *book {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for i := len(e.books) - 1; i >= 0; i-- {
		if e.books[i].since <= epoch {
			return e.books[i]
		}
	}
	return nil
}

// each calls f for every account that has counted anything.
func (b *book) each(f func(ir.RuleNum, Counter)) {
	for i, page := range *b.pages.Load() {
		if page == nil {
			continue
		}
		for k := range page {
			a := &page[k]
			if c := (Counter{a.flows.Load(), a.packets.Load(), a.bytes.Load()}); c != (Counter{}) {
				f(ir.RuleNum(i*bookPageSize+k), c)
			}
		}
	}
}

func (c Counter) plus(d Counter) Counter {
	return Counter{c.Flows + d.Flows, c.Packets + d.Packets, c.Bytes + d.Bytes}
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
	if b == nil {
		return
	}
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
	if b == nil {
		return ir.RuleRef{}, false
	}
	pages := *b.pages.Load() // no account is made for a mere question: n may be anything
	if i := int(n / bookPageSize); i < len(pages) && pages[i] != nil {
		if ref := pages[i][n%bookPageSize].ref.Load(); ref != nil {
			return *ref, true
		}
	}
	if p != nil {
		r, ok := p.Rule(n)
		return r.Ref, ok
	}
	return ir.RuleRef{}, false
}

// rebook moves packets and bytes that a connection has counted so far to the
// rule that it stood on, before another one takes over: the new rule's account
// is lowered by as much as the connection's own counters will add to it.
func (e *Engine) rebook(prev *conntrack.Entry, g *generation, rule ir.RuleNum, packets, bytes uint64) {
	from := e.bookOf(prev.Epoch)
	old := ir.RuleNum(prev.Mark)
	if from == g.book && old == rule {
		return
	}
	if old != 0 {
		from.add(nil, old, 0, packets, bytes)
	}
	if rule != 0 {
		g.book.add(g.matcher.Program(), rule, 0, -packets, -bytes)
	}
}

// uncount takes back a packet that the table has counted for a connection,
// but that was refused or passes by a rule of its own.
func (e *Engine) uncount(c conntrack.Conn, pkt *packet.Packet) {
	if c.State == conntrack.Established && c.Mark != 0 {
		e.bookOf(c.Epoch).add(nil, ir.RuleNum(c.Mark), 0, ^uint64(0), -uint64(pkt.Length))
	}
}

// Counters yields flows, packets and bytes per rule since the engine was made,
// in no order. It walks the connection table and frees what has expired. While
// traffic flows, sums are of slightly different moments, but none is ever less
// than one yielded before.
func (e *Engine) Counters() iter.Seq2[ir.RuleRef, Counter] {
	return func(yield func(ir.RuleRef, Counter) bool) {
		for ref, c := range e.count() {
			if !yield(ref, c) {
				return
			}
		}
	}
}

// count adds up. A connection that has expired but not been freed is neither
// listed by the table nor in a book, hence the sweep. One that ends between the
// books and the table is missed this time.
func (e *Engine) count() map[ir.RuleRef]Counter {
	var sum map[ir.RuleRef]Counter
	add := func(b *book, n ir.RuleNum, c Counter) {
		if ref, ok := b.ref(nil, n); ok {
			sum[ref] = sum[ref].plus(c)
		}
	}
	e.readers.Lock()
	defer e.readers.Unlock()
	now := e.now()
	e.table.Sweep(now, math.MaxInt)
	e.mu.RLock()
	books := e.books
	sum = maps.Clone(e.retired)
	e.mu.RUnlock()
	for _, b := range books {
		b.each(func(n ir.RuleNum, c Counter) { add(b, n, c) })
	}
	for c := range e.table.All(now) {
		if c.Mark != 0 {
			packets, bytes := c.Total()
			add(e.bookOf(c.Epoch), ir.RuleNum(c.Mark), Counter{0, packets, bytes})
		}
	}
	for ref, c := range sum {
		was := e.shown[ref]
		c = Counter{later(was.Flows, c.Flows), later(was.Packets, c.Packets), later(was.Bytes, c.Bytes)}
		if sum[ref] = c; c == (Counter{}) {
			delete(sum, ref)
		}
	}
	for ref, c := range e.shown {
		if _, ok := sum[ref]; !ok {
			sum[ref] = c
		}
	}
	e.shown = maps.Clone(sum)
	return sum
}

// later returns the reading now of a count that was, or was itself if now is
// behind it or below zero for a moment: see rebook.
func later(was, now uint64) uint64 {
	if int64(now) < 0 {
		return was
	}
	return max(was, now)
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
