package nftables

import (
	"bytes"
	"iter"
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
	departed []place    // of interfaces that are no more
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
func script(f func(w *writer)) []byte {
	var out bytes.Buffer // writing to it can not fail
	w := newWriter(&out)
	f(w)
	_ = w.flush()
	if out.Len() == 0 {
		return nil
	}
	return out.Bytes()
}

// whole plans to replace everything, with what there may be.
func (b *Backend) whole(m *compile.Matcher) (*steps, error) {
	in, err := b.inspect("apply")
	if err != nil {
		return nil, err
	}
	next, err := newLayout(m.Program(), b.o)
	if err != nil {
		return nil, err
	}
	zones, err := b.zonesInUse(in)
	if err != nil {
		return nil, err
	}
	next.zones = assignZones(zones, next)
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
	n := newNames()
	n.all(r, tag(b.tag))
	s := &steps{how: "replacing the table", next: &state{matcher: m, layout: next, names: n}}
	if b.now != nil {
		s.departed = departed(b.now.layout, next)
	}
	physical := n.rename(r, nil)
	bases := baseChains(next.o)
	if in.exists && (in.dormant || len(in.bases) > 0 && !sameBases(in, next.o)) {
		// Somebody changed the very hooks.
		s.replaced, s.lost = true, in
		s.turn = script(func(w *writer) {
			w.printf("table inet %s\ndelete table inet %s\n", b.o.Table, b.o.Table)
			physical.block(w)
		})
		return s, nil
	}
	s.stage = next.large(n, newNames())
	staged(physical, s.stage)
	if len(s.stage) > 0 && !in.exists {
		s.first = script(func(w *writer) {
			w.printf("table inet %s {\n\tcomment %s\n}\n", b.o.Table, quote(marker))
		})
	}
	if len(in.bases) == 0 {
		s.replaced = !in.exists
		s.turn = script(physical.block)
		return s, nil
	}
	physical.chains = slices.DeleteFunc(physical.chains, func(c chain) bool { return c.hook != "" })
	s.beside = script(physical.block)
	s.turn = script(func(w *writer) { turnBases(w, n, b.o.Table, bases) })
	return s, nil
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
	for s, m := range l.selectors.All() {
		sel, _ := l.prog.Selector(s)
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			for _, bits := range m.lengths(f) {
				name := setName(s, f, bits)
				if bits > 0 && m.of(f)[bits] > stageAbove && old.known(name) != n.known(name) {
					out = append(out, stageSet{n.of(name), setComment(sel, bits), s, f, bits})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b stageSet) int { return strings.Compare(a.name, b.name) })
	return out
}

// dispatchSets are the sets that dispatches describes, without elements.
func dispatchSets() (out []set) {
	for _, d := range dispatches() {
		out = append(out, set{name: d.name, decl: d.decl, verdicts: d.verdicts})
	}
	return out
}
