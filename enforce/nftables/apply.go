package nftables

import (
	"context"
	"maps"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// stageAbove is the number of members above which a new set is filled by
// netlink, which is several times faster than nft.
const stageAbove = 2_000

// apply makes m the policy in force.
func (b *Backend) apply(ctx context.Context, m *compile.Matcher) error {
	const attempts = 3 // with somebody else at work on the ruleset, of whatever table
	for i := 1; ; i++ {
		alone, err := b.attempt(ctx, m)
		if err != nil {
			return err
		}
		if alone || i == attempts {
			break
		}
		b.sure = false
	}
	return b.endConnections()
}

// attempt makes m the policy in force and reports whether nobody else changed
// the ruleset meanwhile: otherwise their change may be in what it remembers of
// the table.
func (b *Backend) attempt(ctx context.Context, m *compile.Matcher) (alone bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	gen, err := b.kernel.generation()
	if err != nil {
		return false, err
	}
	if err := b.lookAgain(gen); err != nil {
		return false, err
	}
	commits := b.kernel.commits
	prog := m.Program()
	if b.sure && prog.SameLineage(b.now.layout.prog) {
		if d, ok := prog.Since(b.now.layout.prog); ok {
			if edit, ok := b.membersOnly(prog, d, m); ok {
				err := b.applyMembers(edit, m)
				if err != nil {
					b.settleFailure(nil, err)
					return true, err
				}
				b.now.gen = gen + b.kernel.commits - commits // anything else is a reason to look again
				return true, nil
			}
			if b.fits(d) {
				return b.applySteps(ctx, gen, commits, func() (*steps, error) { return b.delta(m, d) })
			}
		}
	}
	return b.applySteps(ctx, gen, commits, func() (*steps, error) { return b.whole(m) })
}

// applySteps changes more than members.
func (b *Backend) applySteps(ctx context.Context, gen, commits uint32, plan func() (*steps, error)) (alone bool, err error) {
	start := time.Now()
	before := b.kernel.listen()
	s, err := plan()
	if err != nil {
		return true, err
	}
	if s.nothing {
		s.next.print, s.next.gen = b.now.print, b.now.gen
		b.now = s.next
		return true, nil
	}
	if err := b.execute(ctx, s); err != nil {
		b.settleFailure(s, err)
		return true, err
	}
	old := b.now
	b.now, b.sure = s.next, true
	epoch := uint16(0)
	if old != nil {
		epoch = old.layout.epoch
	}
	b.due.add(s.departed, epoch, b.now.layout)
	if err := b.cleanUp(old, s); err != nil {
		b.sure = false // the next Apply, or Run, tries again
		b.o.Logger.Warn("nftables: what the last policy left can not be deleted yet", "error", err)
	}
	if err = b.readBack(old, s); err != nil {
		b.sure = false
		return true, &Error{Op: "apply", Err: ErrCleanup, Detail: "it can not be read back: " + err.Error()}
	}
	if b.now.gen, err = b.kernel.generation(); err != nil {
		b.sure = false
		return true, err
	}
	b.o.Logger.Info("nftables: policy applied", "generation", b.now.layout.prog.Generation(), "epoch", b.now.layout.epoch, "by", s.how, "took", time.Since(start))
	own := b.kernel.commits - commits
	if b.now.gen == gen+own {
		b.kernel.caughtUp(b.now.gen)
		return true, nil
	}
	last, alone := b.kernel.onlyOwn(before, int(own))
	if alone { // others were at their tables
		b.now.gen = last
		b.kernel.caughtUp(last)
	}
	return alone, nil
}

// readBack notes what the table looks like. Where steps changed parts of a table
// that was known, it reads those; if somebody else changed others meanwhile,
// that is found by the kernel's generation.
func (b *Backend) readBack(old *state, s *steps) (err error) {
	if s.gone == nil || !b.sure {
		b.now.print, err = b.kernel.fingerprint(b.now.skip())
		return err
	}
	b.now.print = old.print
	for _, c := range s.gone.chains {
		delete(b.now.print, "chain "+c)
	}
	for _, set := range s.gone.sets {
		delete(b.now.print, "set "+set.name)
	}
	for _, o := range s.gone.objects {
		delete(b.now.print, "object "+o.name)
	}
	touched, err := b.kernel.fingerprintOf(s.touched, b.now.skip())
	maps.Copy(b.now.print, touched)
	return err
}

// execute lays what is new beside and turns to it.
func (b *Backend) execute(ctx context.Context, s *steps) error {
	if s.first != nil {
		if err := b.run(ctx, "apply", s.first); err != nil {
			return err
		}
	}
	for _, set := range s.stage {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.kernel.fill(set.name, set.family, set.comment, set.elements(s.next.layout.prog)); err != nil {
			return err
		}
	}
	if s.beside != nil {
		if err := b.run(ctx, "apply", s.beside); err != nil {
			return err
		}
	}
	if err := b.kernel.edit(s.join, nil); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.turns != nil {
		return b.kernel.turn(s.turns.dispatch, s.turns.leave, s.turns.epoch)
	}
	return b.run(ctx, "apply", s.turn)
}

// settleFailure takes away what an Apply that failed laid beside, and finds out
// what is in force.
func (b *Backend) settleFailure(s *steps, cause error) {
	was := b.sure
	b.sure = false
	_ = b.locked("apply", func() error {
		if s != nil {
			if err := b.takeAway(s, cause); err != nil {
				return err
			}
		}
		if b.now == nil || !was {
			return nil // whatever there is, the next Apply replaces it
		}
		diff, err := b.compare()
		if err != nil || !diff.empty() {
			return err
		}
		b.now.gen, err = b.kernel.generation()
		b.sure = err == nil
		return err
	})
}

// takeAway deletes what has the names of the last generation, if nothing leads
// to it.
func (b *Backend) takeAway(s *steps, cause error) error {
	in, err := b.inspect("apply")
	if err != nil || isTimeout(cause) || !in.exists {
		return err
	}
	if s.first != nil && len(in.bases) == 0 {
		return b.kernel.remove() // it made the table
	}
	if s.replaced {
		return nil
	}
	used, err := b.kernel.lookups("egress")
	for _, name := range used {
		if tagOf(name) == b.tag {
			return nil // it failed too late
		}
	}
	if err != nil {
		return err
	}
	stays := map[string]bool{}
	for name := range in.names {
		stays[name] = tagOf(name) != b.tag
	}
	in = in.without(stays)
	in.flowtables = nil
	return b.kernel.discard(in)
}

// cleanUp deletes what the policy before left, and keeps its counts.
func (b *Backend) cleanUp(old *state, s *steps) error {
	if s.replaced {
		if s.lost != nil {
			b.keepCounts(old, s.next, s.lost, s.lost.objects)
		}
		return nil
	}
	b.kernel.settle()
	in := s.gone
	if in == nil {
		all, err := b.inspect("apply")
		if err != nil {
			return err
		}
		in = all.without(s.next.taken())
	}
	if len(in.objects) > 0 {
		now, err := b.lastCounts(s, in)
		if err != nil {
			return err
		}
		b.keepCounts(old, s.next, in, now)
	}
	return b.kernel.discard(in)
}

// lastCounts reads what goes: one by one if that is known to be all there is to
// read, so that it does not take longer where there are many others.
func (b *Backend) lastCounts(s *steps, in *installed) (out []namedObject, err error) {
	if s.gone == nil {
		return b.kernel.objects()
	}
	for _, o := range in.objects {
		o, err := b.kernel.object(o)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// without is what of in is not taken.
func (in *installed) without(taken map[string]bool) *installed {
	out := new(installed)
	for _, c := range in.chains {
		if !taken[c] {
			out.chains = append(out.chains, c)
		}
	}
	for _, s := range in.sets {
		if !taken[s.name] {
			out.sets = append(out.sets, s)
		}
	}
	for _, o := range in.objects {
		if !taken[o.name] {
			out.objects = append(out.objects, o)
		}
	}
	out.flowtables = in.flowtables
	return out
}

// taken are the names that a state has in the kernel.
func (s *state) taken() map[string]bool {
	out := map[string]bool{}
	for name := range s.layout.ruleset().names {
		out[s.names.of(name)] = true
	}
	for _, c := range baseChains(s.layout.o) {
		out[c.name] = true
	}
	return out
}

// narrowed reports whether connections must be judged again.
func narrowed(old, next *ir.Program) bool {
	return next.Epoch() != old.Epoch() || next.Generation() < old.Generation() || old.Established() == sg.Keep && next.Established() != sg.Keep
}

// run hands a script to nft.
func (b *Backend) run(ctx context.Context, op string, script []byte, args ...string) error {
	err := runNFT(ctx, b.program, script, append(args, "-f", "-")...)
	if err == nil {
		if len(args) == 0 {
			b.kernel.commits++
		}
		return nil
	}
	e := classify(op, err)
	if e.Err == ErrNotApplied {
		if missing := missing(ctx, b.program); missing != "" {
			e.Err, e.Detail = ErrKernel, missing
		}
	}
	return e
}
