package nftables

import (
	"net/netip"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// editBelow is the number of members that are changed in one transaction. Where
// more change the sets are made anew.
const editBelow = 20_000

// memberEdit is a change of members and nothing else.
type memberEdit struct {
	prog  *ir.Program
	delta ir.Delta
	edits []setEdit
	epoch *epochEdit
}

// membersOnly returns the changes of sets if there are no others.
func (b *Backend) membersOnly(next *ir.Program, d ir.Delta, m *compile.Matcher) (*memberEdit, bool) {
	old := b.now.layout
	if m == b.now.matcher || old.prog.Established() != next.Established() {
		return nil, false
	}
	for _, p := range d.Policies {
		if old.has(p) {
			return nil, false
		}
	}
	for _, id := range d.Interfaces {
		if _, here := b.o.Device(id); here || old.here(id) {
			return nil, false
		}
	}
	out := &memberEdit{prog: next, delta: d}
	n := 0
	for _, m := range d.Members {
		counts := old.counts(m.Selector)
		if counts == nil {
			continue
		}
		if !counts.keepsLengths(m) {
			return nil, false // sets come or go
		}
		if n += len(m.Add) + len(m.Remove); n > editBelow {
			return nil, false
		}
		out.edits = append(out.edits, setEdits(b.now.names, m)...)
	}
	if narrowed(old.prog, next) {
		out.epoch = &epochEdit{names: old.epochNames(b.now.names), from: old.epoch, to: nextEpoch(old.epoch)}
	}
	return out, n*perElement < b.kernel.room()
}

// fits reports whether what d edits in sets that stay goes into a transaction. If
// not, everything is replaced, for new sets are filled in parts.
func (b *Backend) fits(d ir.Delta) bool {
	n := 0
	for _, m := range d.Members {
		if edits := len(m.Add) + len(m.Remove); edits <= editBelow && b.now.layout.counts(m.Selector) != nil {
			n += edits
		}
	}
	return n*perElement < b.kernel.room()
}

// perElement is more than the bytes that an element has in a message.
const perElement = 40

// keepsLengths reports whether, after a change, there are prefixes of just the
// lengths of which there were before.
func (m *memberLengths) keepsLengths(d ir.MemberDelta) bool {
	for _, p := range d.Add {
		if m.of(sg.FamilyOf(p.Addr()))[p.Bits()] == 0 {
			return false
		}
	}
	left := map[netip.Prefix]int{} // by the prefix of that length of the zero address
	for _, list := range []struct {
		of []netip.Prefix
		by int
	}{{d.Add, 1}, {d.Remove, -1}} {
		for _, p := range list.of {
			zero := netip.IPv4Unspecified()
			if p.Addr().Is6() {
				zero = netip.IPv6Unspecified()
			}
			left[netip.PrefixFrom(zero, p.Bits())] += list.by
		}
	}
	for p, n := range left {
		if m.of(sg.FamilyOf(p.Addr()))[p.Bits()]+n == 0 {
			return false
		}
	}
	return true
}

// setEdits are a change of members by set.
func setEdits(n names, m ir.MemberDelta) []setEdit {
	var out []setEdit
	at := func(p netip.Prefix) *setEdit {
		name := n.of(setName(m.Selector, sg.FamilyOf(p.Addr()), p.Bits()))
		for i := range out {
			if out[i].name == name {
				return &out[i]
			}
		}
		out = append(out, setEdit{name: name, family: sg.FamilyOf(p.Addr())})
		return &out[len(out)-1]
	}
	for _, p := range m.Add {
		if p.Bits() > 0 {
			e := at(p)
			e.add = append(e.add, p.Addr())
		}
	}
	for _, p := range m.Remove {
		if p.Bits() > 0 {
			e := at(p)
			e.remove = append(e.remove, p.Addr())
		}
	}
	return out
}

// applyMembers changes members. Those who join do so before others leave: who
// moves from one set to another is not in neither, however a packet's look-ups
// fall.
func (b *Backend) applyMembers(e *memberEdit, m *compile.Matcher) error {
	if e.epoch != nil {
		if _, err := b.refresh(e.epoch.from); err != nil {
			return err
		}
	}
	join, leave := split(e.edits)
	switch {
	case len(join) > 0 && len(leave) > 0:
		if err := b.kernel.edit(join, nil); err != nil {
			return err
		}
		b.kernel.settle()
		if err := b.kernel.edit(leave, e.epoch); err != nil {
			return err
		}
	case len(e.edits) > 0 || e.epoch != nil:
		if err := b.kernel.edit(e.edits, e.epoch); err != nil {
			return err
		}
	}
	b.now.matcher, b.now.layout.prog = m, e.prog
	for _, d := range e.delta.Members {
		if counts := b.now.layout.counts(d.Selector); counts != nil {
			for _, p := range d.Add {
				counts.add(p, 1)
			}
			for _, p := range d.Remove {
				counts.add(p, -1)
			}
		}
	}
	if e.epoch != nil {
		b.fresh--
		b.now.layout.epoch = e.epoch.to
		b.due.add(nil, e.epoch.from, b.now.layout)
	}
	return nil
}

// split separates who joins from who leaves.
func split(edits []setEdit) (join, leave []setEdit) {
	for _, e := range edits {
		if len(e.add) > 0 {
			join = append(join, setEdit{name: e.name, family: e.family, add: e.add})
		}
		if len(e.remove) > 0 {
			leave = append(leave, setEdit{name: e.name, family: e.family, remove: e.remove})
		}
	}
	return join, leave
}
