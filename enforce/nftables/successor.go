package nftables

import (
	"slices"
	"strings"
)

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
func successor(old, next *ruleset, was names, members map[string]elementChange, suffix string) map[string]string {
	place := inPlace()
	n := map[string]string{}
	var queue []string
	rename := func(name string) {
		if place[name] && was.known(name) != "" {
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
	for name := range next.names {
		if n[name] == "" {
			n[name] = was.of(name)
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
