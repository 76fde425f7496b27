package nftables

import (
	"maps"
	"slices"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// delta plans to change what differs, of which d tells. It looks at nothing
// else, and takes time for nothing else.
func (b *Backend) delta(m *compile.Matcher, d ir.Delta) (*steps, error) {
	now := b.now
	next, t, err := now.after(m, d)
	if err != nil {
		return b.whole(m) // which finds all the faults, or none any more
	}
	if narrowed(now.layout.prog, next.layout.prog) {
		if _, err := b.refresh(now.layout.epoch); err != nil {
			return nil, err
		}
		next.layout.epoch = nextEpoch(now.layout.epoch)
		b.fresh--
	}
	b.tag++
	return stepsTo(now, next, t, d, tag(b.tag)), nil
}

// after is the state that follows with m, which differs by d, still without
// names and in the same epoch, and what of it may differ. Devices are looked up
// for interfaces that differ, and for all if m is the same.
func (s *state) after(m *compile.Matcher, d ir.Delta) (next *state, t *touched, err error) {
	interfaces := d.Interfaces
	if m == s.matcher {
		interfaces = s.layout.everyInterface()
	}
	l := s.layout.clone()
	l.prog = m.Program()
	if t, err = l.change(d, interfaces); err != nil {
		return nil, nil, err
	}
	if !s.layout.sameVPCs(l, t) {
		l.zones = assignZones(s.layout.zonesByVPC(), l)
	}
	return &state{matcher: m, layout: l}, t, nil
}

// everyInterface are the interfaces that have devices or may have them.
func (l *layout) everyInterface() []sg.InterfaceID {
	all := map[sg.InterfaceID]bool{}
	for id := range l.named.All() {
		all[id] = true
	}
	for i := range l.prog.Interfaces() {
		all[i.ID] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// stepsTo plans the way to a state that differs by t, and gives it names.
func stepsTo(now, next *state, t *touched, d ir.Delta, suffix string) *steps {
	if keeps := func(s *state) bool { return s.layout.prog.Established() == sg.Keep }; keeps(now) != keeps(next) {
		t.all(now.layout) // the chains that all use are others
		t.all(next.layout)
	}
	for {
		was, is := now.layout.only(t), next.layout.only(t)
		p := newPlan(now, next, was, is, d, suffix)
		if !next.layout.widen(t, p.given, now.names) {
			return p.steps(d)
		}
	}
}

// all adds everything that l has but devices: policies bring theirs.
func (t *touched) all(l *layout) {
	for num := range l.policies.All() {
		t.policies[num] = true
	}
	for s := range l.selectors.All() {
		t.selectors[s] = true
	}
	for u := range l.uses.All() {
		t.uses[u] = true
	}
	for name := range l.ports.All() {
		t.ports[name] = true
	}
}

// widen adds the policies to t whose chains look into a set that gets another
// name, and so become others. It reports whether there were such.
func (l *layout) widen(t *touched, given map[string]string, was names) bool {
	n := len(t.policies)
	for s := range t.selectors {
		m := l.counts(s)
		if m == nil {
			continue
		}
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			for bits := range m.of(f) {
				name := setName(s, f, bits)
				if k := was.known(name); k == "" || k == given[name] {
					continue
				}
				for num := range l.readersOf(s) {
					t.policies[num] = true
				}
			}
		}
	}
	return len(t.policies) > n
}

// plan leads from one state to the next. It is about pieces of both, outside
// which they are alike.
type plan struct {
	now, next *state
	was, is   *layout // the pieces
	old, new  *ruleset
	given     map[string]string // what the new pieces are called
}

func newPlan(now, next *state, was, is *layout, d ir.Delta, suffix string) *plan {
	p := &plan{now: now, next: next, was: was, is: is, old: was.ruleset(), new: is.ruleset()}
	p.given = successor(p.old, p.new, now.names, is.memberChanges(was, d), suffix)
	return p
}

// steps gives names to the next state, and plans.
func (p *plan) steps(d ir.Delta) *steps {
	now, next := p.now, p.next
	next.names = now.names.with(p.given, p.old)
	// What there is has its rules: only what is new is written.
	before := now.names.rename(p.old, func(string) bool { return true })
	there := byName(before.chains, chain.key)
	after := next.names.rename(p.new, func(name string) bool { return there[name] != nil })
	s := &steps{how: "changing the table", next: next, departed: departed(p.was, next.layout)}
	s.stage = p.is.large(next.names, now.names)
	staged(after, s.stage)
	s.beside = script(func(w *writer) { besides(w, before, after) })
	s.turns = &turnEdit{dispatch: dispatchEdits(before, after)}
	had, has := byName(before.sets, set.key), byName(after.sets, set.key)
	for _, m := range d.Members {
		if p.is.counts(m.Selector) == nil || p.was.counts(m.Selector) == nil {
			continue
		}
		join, leave := split(setEdits(next.names, m))
		s.join = append(s.join, slices.DeleteFunc(join, func(e setEdit) bool { return had[e.name] == nil })...)
		s.turns.leave = append(s.turns.leave, slices.DeleteFunc(leave, func(e setEdit) bool { return had[e.name] == nil || has[e.name] == nil })...)
	}
	if epoch := next.layout.epochNames(next.names); next.layout.epoch != now.layout.epoch {
		if now.names.known(epochSetName) != epoch.set {
			epoch.set = "" // it is new
		}
		s.turns.epoch = &epochEdit{names: epoch, from: now.layout.epoch, to: next.layout.epoch}
	}
	s.gone, s.touched = missingFrom(after, before), missingFrom(before, after)
	for _, d := range s.turns.dispatch {
		s.touched.sets = append(s.touched.sets, namedSet{name: d.name})
	}
	s.nothing = s.beside == nil && s.turns.empty() && len(s.join) == 0 && len(s.stage) == 0 && s.gone.empty() && len(s.departed) == 0
	return s
}

func (in *installed) empty() bool {
	return len(in.chains)+len(in.sets)+len(in.objects)+len(in.flowtables) == 0
}
