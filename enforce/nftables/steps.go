package nftables

import (
	"bytes"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// steps lead from what is in force to another state.
type steps struct {
	how     string
	nothing bool // but to remember next
	next    *state

	first    []byte     // makes an empty table
	stage    []stageSet // filled by netlink
	beside   []byte     // lays what is new beside
	join     []setEdit  // members of sets that stay
	turn     []byte     // the transaction that counts, or
	turns    *turnEdit  // this one
	replaced bool       // it deleted the table, or there was none: nothing is left to delete
	lost     *installed // what was in the table that it deleted
	gone     *installed // what is to be deleted; nil: whatever next has not
	touched  *installed // what is new, or has other contents, if gone is not nil
}

// stageSet is a set that is filled by netlink.
type stageSet struct {
	name, comment string
	sel           ir.SelectorNum
	family        sg.Family
	bits          int
}

func (s *stageSet) elements(p *ir.Program) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for m := range p.Members(s.sel, s.family) {
			if m.Bits() == s.bits && !yield(m.Addr()) {
				return
			}
		}
	}
}

// script collects commands.
func script(f func(w *writer)) ([]byte, error) {
	var out bytes.Buffer
	w := newWriter(&out)
	f(w)
	if err := w.flush(); err != nil || out.Len() == 0 {
		return nil, err
	}
	return out.Bytes(), nil
}

// whole plans to replace everything, with what there may be.
func (b *Backend) whole(m *compile.Matcher) (*steps, error) {
	in, err := b.inspect("apply")
	if err != nil {
		return nil, err
	}
	next, err := newLayout(m.Program(), b.o, nil)
	if err != nil {
		return nil, err
	}
	zones, err := b.zonesInUse(in)
	if err != nil {
		return nil, err
	}
	next.zones = assignZones(zones, next.vpcs)
	now, err := b.epochInUse(in)
	if err == nil {
		now, err = b.refresh(now)
	}
	if err != nil {
		return nil, err
	}
	next.epoch = nextEpoch(now)
	b.fresh--

	for name := range in.names {
		b.tag = max(b.tag, tagOf(name))
	}
	b.tag++
	r := next.ruleset()
	n := names{}
	n.all(r, tag(b.tag))
	s := &steps{how: "replacing the table", next: &state{matcher: m, layout: next, names: n}}
	physical := n.rename(r, nil)
	bases := baseChains(next.o)
	if in.exists && (in.dormant || len(in.bases) > 0 && !sameBases(in, next.o)) {
		// Somebody changed the very hooks.
		s.replaced, s.lost = true, in
		s.turn, err = script(func(w *writer) {
			w.printf("table inet %s\ndelete table inet %s\n", b.o.Table, b.o.Table)
			physical.block(w)
		})
		return s, err
	}
	s.stage = next.large(n, nil)
	staged(physical, s.stage)
	if len(s.stage) > 0 && !in.exists {
		s.first, err = script(func(w *writer) {
			w.printf("table inet %s {\n\tcomment %s\n}\n", b.o.Table, quote(marker))
		})
		if err != nil {
			return nil, err
		}
	}
	if len(in.bases) == 0 {
		s.replaced = !in.exists
		s.turn, err = script(physical.block)
		return s, err
	}
	physical.chains = slices.DeleteFunc(physical.chains, func(c chain) bool { return c.hook != "" })
	if s.beside, err = script(physical.block); err != nil {
		return nil, err
	}
	s.turn, err = script(func(w *writer) { turnBases(w, n, b.o.Table, bases) })
	return s, err
}

// turnBases writes the rules of base chains anew.
func turnBases(w *writer, n names, table string, bases []chain) {
	for _, c := range bases {
		w.printf("flush chain inet %s %s\n", table, c.name)
	}
	for _, c := range bases {
		for _, rule := range c.rules {
			w.printf("add rule inet %s %s %s\n", table, c.name, rewrite(rule, n.of))
		}
	}
}

// sameBases reports whether a table has the base chains that it must have.
func sameBases(in *installed, o *Options) bool {
	bases := baseChains(o)
	for _, c := range bases {
		want, err := parseHook(c.hook)
		if got, ok := in.bases[c.name]; err != nil || !ok || got != want {
			return false
		}
	}
	return len(bases) == len(in.bases)
}

// staged takes the elements out of sets that are filled by netlink.
func staged(r *ruleset, list []stageSet) {
	filled := map[string]bool{}
	for _, s := range list {
		filled[s.name] = true
	}
	for i := range r.sets {
		if filled[r.sets[i].name] {
			r.sets[i].elements = nil
		}
	}
}

// large are the sets of members that are filled by netlink: of those that old
// does not know.
func (l *layout) large(n, old names) (out []stageSet) {
	for s, m := range l.selectors {
		sel, _ := l.prog.Selector(s)
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			for _, bits := range m.lengths(f) {
				name := setName(s, f, bits)
				if bits > 0 && m.of(f)[bits] > stageAbove && old[name] != n[name] {
					out = append(out, stageSet{n.of(name), setComment(sel, bits), s, f, bits})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b stageSet) int { return strings.Compare(a.name, b.name) })
	return out
}

// delta plans to change what differs.
func (b *Backend) delta(m *compile.Matcher, d ir.Delta) (*steps, error) {
	prog, now := m.Program(), b.now
	next, err := newLayout(prog, b.o, now.layout.reusable(prog, d))
	if err != nil {
		return nil, err
	}
	next.zones = assignZones(now.layout.zonesByVPC(), next.vpcs)
	if narrowed(now.layout.prog, prog) {
		if _, err := b.refresh(now.layout.epoch); err != nil {
			return nil, err
		}
		next.epoch = nextEpoch(now.layout.epoch)
		b.fresh--
	}
	b.tag++
	old, before := now.rulesets()
	is := next.ruleset()
	members := next.memberChanges(now.layout, d)
	n := successor(old, is, now.names, members, tag(b.tag))
	kept := byName(before.chains, chain.key)
	for name := range inPlace() {
		delete(kept, now.names.of(name))
	}
	after := n.rename(is, kept)
	s := &steps{how: "changing the table", next: &state{matcher: m, layout: next, names: n, is: is, has: after}}
	s.stage = next.large(n, now.names)
	staged(after, s.stage)
	if s.beside, err = script(func(w *writer) { besides(w, before, after) }); err != nil {
		return nil, err
	}
	s.turns = &turnEdit{dispatch: dispatchEdits(before, after)}
	for _, m := range d.Members {
		if next.selectors[m.Selector] == nil || now.layout.selectors[m.Selector] == nil {
			continue
		}
		join, leave := split(setEdits(n, m))
		isNew := func(e setEdit) bool {
			return !slices.ContainsFunc(before.sets, func(s set) bool { return s.name == e.name })
		}
		s.join = append(s.join, slices.DeleteFunc(join, isNew)...)
		s.turns.leave = append(s.turns.leave, slices.DeleteFunc(leave, func(e setEdit) bool {
			return isNew(e) || !slices.ContainsFunc(after.sets, func(s set) bool { return s.name == e.name })
		})...)
	}
	if epoch := next.epochNames(n); next.epoch != now.layout.epoch {
		if now.names[epochSetName] != epoch.set {
			epoch.set = "" // it is new
		}
		s.turns.epoch = &epochEdit{names: epoch, from: now.layout.epoch, to: next.epoch}
	}
	s.gone, s.touched = missingFrom(after, before), missingFrom(before, after)
	for _, d := range s.turns.dispatch {
		s.touched.sets = append(s.touched.sets, namedSet{name: d.name})
	}
	s.nothing = s.beside == nil && s.turns.empty() && len(s.join) == 0 && len(s.stage) == 0 && s.gone.empty()
	if s.nothing && len(departed(now.layout, next)) > 0 {
		s.nothing = false
	}
	return s, nil
}

func (in *installed) empty() bool {
	return len(in.chains)+len(in.sets)+len(in.objects)+len(in.flowtables) == 0
}

// inPlace reports whether a set, or a chain, keeps its name whatever becomes of
// it: packets look up one element of it, or none of its rules has a verdict.
func inPlace() map[string]bool {
	out := map[string]bool{epochSetName: true}
	for _, d := range dispatches() {
		out[d.name] = true
	}
	for _, name := range epochMarkNames() {
		out["mark_"+name] = true
	}
	return out
}

// successor names what next consists of: what is as in old keeps its name, and
// what differs gets a new one, and so does what refers to something that got
// one. members are the sets of members that differ.
func successor(old, next *ruleset, was names, members map[string]elementChange, suffix string) names {
	place := inPlace()
	n := names{}
	var queue []string
	rename := func(name string) {
		if place[name] && was[name] != "" {
			return
		}
		if n[name] == "" {
			n[name] = name + suffix
			queue = append(queue, name)
		}
	}
	oldSets, oldChains, oldCounters := byName(old.sets, set.key), byName(old.chains, chain.key), byName(old.counters, counter.key)
	for _, c := range next.counters {
		if oldCounters[c.name] == nil {
			rename(c.name)
		}
	}
	for _, s := range next.sets {
		if o := oldSets[s.name]; o == nil || o.decl != s.decl || o.comment != s.comment {
			rename(s.name)
		}
	}
	hooked := map[string]bool{}
	for _, c := range next.chains {
		hooked[c.name] = c.hook != ""
		if o := oldChains[c.name]; c.hook == "" && (o == nil || !slices.Equal(o.rules, c.rules) || o.comment != c.comment) {
			rename(c.name)
		}
	}
	var referrers map[string][]string
	spread := func() {
		if len(queue) > 0 && referrers == nil {
			referrers = next.referrers()
		}
		for len(queue) > 0 {
			name := queue[0]
			queue = queue[1:]
			for _, c := range referrers[name] {
				if !hooked[c] {
					rename(c)
				}
			}
		}
	}
	spread()
	// A set whose members change stays as it is for the chains that go.
	newChains := byName(next.chains, chain.key)
	leaving := map[string]bool{}
	for again := true; again; {
		again = false
		clear(leaving)
		for _, c := range old.chains {
			if n[c.name] == "" && newChains[c.name] != nil {
				continue
			}
			for _, rule := range c.rules {
				refs(rule, func(name string) { leaving[name] = true })
			}
		}
		for name, d := range members {
			if n[name] == "" && len(d.add)+len(d.remove) > 0 && (leaving[name] || len(d.add)+len(d.remove) > editBelow) {
				rename(name)
				again = true
			}
		}
		spread()
	}
	for _, list := range [][]string{keysOfSets(next.sets), keysOfChains(next.chains), keysOfCounters(next.counters)} {
		for _, name := range list {
			if n[name] == "" && !hooked[name] {
				n[name] = was.of(name)
			}
		}
	}
	return n
}

// referrers are the chains that refer to a name.
func (r *ruleset) referrers() map[string][]string {
	out := map[string][]string{}
	for _, c := range r.chains {
		for _, rule := range c.rules {
			refs(rule, func(name string) { out[name] = append(out[name], c.name) })
		}
	}
	return out
}

func keysOfSets(list []set) (out []string) {
	for _, s := range list {
		out = append(out, s.name)
	}
	return out
}

func keysOfChains(list []chain) (out []string) {
	for _, c := range list {
		out = append(out, c.name)
	}
	return out
}

func keysOfCounters(list []counter) (out []string) {
	for _, c := range list {
		out = append(out, c.name)
	}
	return out
}

// besides writes what after has and before has not.
func besides(w *writer, before, after *ruleset) {
	sets, chains, counters := byName(before.sets, set.key), byName(before.chains, chain.key), byName(before.counters, counter.key)
	out := &ruleset{
		table:    after.table,
		counters: slices.DeleteFunc(slices.Clone(after.counters), func(c counter) bool { return counters[c.name] != nil }),
		sets:     slices.DeleteFunc(slices.Clone(after.sets), func(s set) bool { return sets[s.name] != nil || s.elements == nil }),
		chains:   slices.DeleteFunc(slices.Clone(after.chains), func(c chain) bool { return chains[c.name] != nil }),
	}
	if len(out.counters)+len(out.sets)+len(out.chains) > 0 {
		out.block(w)
	}
}

// turnEdit is the transaction that leads packets to what is new.
type turnEdit struct {
	dispatch []dispatchEdit
	leave    []setEdit // of sets that stay
	epoch    *epochEdit
}

func (t *turnEdit) empty() bool { return len(t.dispatch)+len(t.leave) == 0 && t.epoch == nil }

// dispatchEdits are the changes of the sets of dispatches.
func dispatchEdits(before, after *ruleset) (out []dispatchEdit) {
	sets := byName(before.sets, set.key)
	isDispatch := map[string]bool{}
	for _, d := range dispatches() {
		isDispatch[d.name] = true
	}
	for _, s := range after.sets {
		old := sets[s.name]
		if old == nil || !isDispatch[untagged(s.name)] {
			continue
		}
		d := compareElements(old.elements, s.elements)
		if len(d.add)+len(d.remove) > 0 {
			out = append(out, dispatchEdit{name: s.name, interval: strings.Contains(s.decl, "interval"), add: d.add, remove: d.remove})
		}
	}
	return out
}

// missingFrom is what r has not of what there is in of.
func missingFrom(r, of *ruleset) *installed {
	sets, chains, counters := byName(r.sets, set.key), byName(r.chains, chain.key), byName(r.counters, counter.key)
	out := new(installed)
	for _, c := range of.chains {
		if chains[c.name] == nil {
			out.chains = append(out.chains, c.name)
		}
	}
	for _, s := range of.sets {
		if sets[s.name] == nil {
			out.sets = append(out.sets, namedSet{s.name, s.verdicts})
		}
	}
	for _, c := range of.counters {
		if counters[c.name] == nil {
			out.objects = append(out.objects, namedObject{name: c.name, typ: counterType})
		}
	}
	return out
}

// counterType is NFT_OBJECT_COUNTER.
const counterType = 1

// dispatchSets are the sets that dispatches describes, without elements.
func dispatchSets() (out []set) {
	for _, d := range dispatches() {
		out = append(out, set{name: d.name, decl: d.decl, verdicts: d.verdicts})
	}
	return out
}

// reusable is what of l holds for next too.
func (l *layout) reusable(next *ir.Program, d ir.Delta) *layout {
	from := l.withMembers(next, d)
	from.policies = maps.Clone(l.policies)
	for _, num := range d.Policies {
		delete(from.policies, num)
	}
	for s, counts := range from.selectors {
		was := l.selectors[s]
		if slices.Equal(was.lengths(sg.IPv4), counts.lengths(sg.IPv4)) && slices.Equal(was.lengths(sg.IPv6), counts.lengths(sg.IPv6)) {
			continue
		}
		for num, part := range from.policies {
			if part.selectors[s] {
				delete(from.policies, num)
			}
		}
	}
	return from
}
