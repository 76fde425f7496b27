package nftables

import (
	"context"
	"strconv"
	"strings"
	"time"

	"example.com/secgroup/sg"
)

// difference is in what a table is not what Apply left.
type difference struct{ gone, changed, added []string }

func (d *difference) empty() bool { return len(d.gone)+len(d.changed)+len(d.added) == 0 }

// list says it in words.
func (d *difference) list() (out []string) {
	for _, part := range []struct {
		names []string
		what  string
	}{{d.gone, " is gone"}, {d.changed, " was changed"}, {d.added, " was added"}} {
		for _, name := range part.names {
			out = append(out, name+part.what)
		}
	}
	return out
}

// summary is list for a line of a log.
func (d *difference) summary() string {
	list := d.list()
	const most = 8
	if more := len(list) - most; more > 1 {
		list = append(list[:most], "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(list, "; ")
}

// skip reports what a fingerprint leaves out: what an epoch and members change.
func (s *state) skip() func(string) bool {
	epoch := s.layout.epochNames(s.names)
	return func(name string) bool { return isMemberSet(name) || epoch.has(name) }
}

// lookAgain compares the table with what Apply left, unless nobody has changed
// it since.
func (b *Backend) lookAgain(gen uint32) error {
	b.kernel.listen() // or it piles up
	if b.now == nil || !b.sure || gen == b.now.gen {
		return nil
	}
	if b.kernel.onlyOthers(b.now.gen, gen) {
		b.now.gen = gen
		return nil
	}
	before := b.kernel.listen()
	diff, err := b.compare()
	if err != nil {
		return err
	}
	if diff.empty() { // it was another table
		b.now.gen = gen
		if last, ok := b.kernel.onlyOwn(before, 0); ok {
			b.now.gen = last
			b.kernel.caughtUp(last)
		}
		return nil
	}
	b.sure = false
	b.o.Logger.Warn("nftables: the table was changed by somebody else", "differences", diff.summary())
	return nil
}

// compare compares the table with what Apply left.
func (b *Backend) compare() (*difference, error) {
	diff := new(difference)
	in, err := b.kernel.inspect()
	if err != nil {
		return nil, err
	}
	if !in.exists || !in.ours {
		diff.gone = []string{"the table"}
		return diff, nil
	}
	print, err := b.kernel.fingerprint(b.now.skip())
	if err != nil {
		return nil, err
	}
	for _, name := range sortedKeys(b.now.print) {
		if h, ok := print[name]; !ok {
			diff.gone = append(diff.gone, name)
		} else if h != b.now.print[name] {
			diff.changed = append(diff.changed, name)
		}
	}
	for _, name := range sortedKeys(print) {
		if _, ok := b.now.print[name]; !ok {
			diff.added = append(diff.added, name)
		}
	}
	if len(diff.gone)+len(diff.changed) > 0 {
		return diff, nil // enough to replace it
	}
	ok, err := b.kernel.epochInForce(b.now.layout.epochNames(b.now.names), b.now.layout.epoch)
	if err != nil {
		return nil, err
	}
	if !ok {
		diff.changed = append(diff.changed, "the epoch")
	}
	return diff, b.compareMembers(diff)
}

// compareMembers compares the sets of members with the policy.
func (b *Backend) compareMembers(diff *difference) error {
	type content struct {
		n   int
		sum uint64
	}
	l := b.now.layout
	for s := range l.selectors.All() {
		wants := map[string]content{}
		for p := range l.prog.Members(s, sg.FamilyAny) {
			if p.Bits() > 0 {
				name := b.now.names.of(setName(s, sg.FamilyOf(p.Addr()), p.Bits()))
				w := wants[name]
				wants[name] = content{w.n + 1, w.sum + b.kernel.hashOf(p.Addr().AsSlice())}
			}
		}
		for _, name := range sortedKeys(wants) {
			n, err := b.kernel.size(name)
			sum := uint64(0)
			if err == nil && n == wants[name].n {
				n, sum, err = b.kernel.contents(name)
			}
			if err != nil {
				return err
			}
			if (content{n, sum}) != wants[name] {
				diff.changed = append(diff.changed, "set "+name)
			}
		}
	}
	return nil
}

// Verify reports whether the table in the kernel is what the last Apply left:
// nothing if it is, else what differs. It repairs nothing: Apply does. Before
// the first Apply it has nothing to compare with and reports nothing.
//
// What counters count is no difference, nor what others do to their tables.
// Everything is read: of a set of a million members that takes the kernel half
// a minute.
func (b *Backend) Verify(ctx context.Context) (differences []string, err error) {
	err = b.do("verify", func() error {
		if err := ctx.Err(); err != nil || b.now == nil {
			return err
		}
		diff, err := b.compare()
		if err != nil {
			return err
		}
		if differences = diff.list(); len(differences) > 0 {
			b.sure = false
		}
		return nil
	})
	return differences, err
}

// Run looks for drift every Options.Interval until ctx is done, whose error it
// returns, and repairs what it finds by applying the last policy again: a table
// that somebody flushed or edited is whole again within that interval and the
// time of an Apply. It tells Options.Logger, also of what it can not repair,
// and tries again.
//
// To look costs next to nothing while nobody changes the table, whatever they do
// to others.
func (b *Backend) Run(ctx context.Context) error {
	t := time.NewTicker(b.o.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if err := b.repair(ctx); err != nil && ctx.Err() == nil {
			b.o.Logger.Error("nftables: drift can not be repaired", "error", err)
		}
	}
}

// repair applies the last policy again if it is not in force as it was.
func (b *Backend) repair(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now == nil {
		return nil
	}
	return b.locked("apply", func() error {
		if b.sure {
			gen, err := b.kernel.generation()
			if err != nil {
				return err
			}
			if err := b.lookAgain(gen); err != nil {
				return err
			}
		}
		if b.sure && b.due.nothing() {
			return nil
		}
		return b.apply(ctx, b.now.matcher)
	})
}
