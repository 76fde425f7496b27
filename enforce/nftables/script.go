package nftables

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// ruleset is a table before it is text: what there is, by name.
type ruleset struct {
	table    string
	counters []counter
	sets     []set
	chains   []chain
}

// counter is a named counter.
type counter struct{ name, comment string }

// set is a named set, or a verdict map.
type set struct {
	name, decl, comment string
	verdicts            bool             // a verdict map
	elements            iter.Seq[string] // in a fixed order; nil for a set that is filled before the script runs
}

func (s *set) kind() string {
	if s.verdicts {
		return "map"
	}
	return "set"
}

// chain is a base chain if hook is not empty.
type chain struct {
	name, comment, hook string
	rules               []string
}

// writer remembers the first error, so that printing reads as text.
type writer struct {
	w   *bufio.Writer
	err error
}

func newWriter(w io.Writer) *writer { return &writer{w: bufio.NewWriterSize(w, 1<<16)} }

func (w *writer) printf(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format, args...)
	}
}

func (w *writer) string(s string) {
	if w.err == nil {
		_, w.err = w.w.WriteString(s)
	}
}

func (w *writer) flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// list writes elements, a few to a line, between two texts; nothing if there
// are none.
func (w *writer) list(before string, elements iter.Seq[string], after string) {
	const perLine = 8
	n := 0
	for e := range elements {
		switch {
		case n == 0:
			w.string(before)
		case n%perLine == 0:
			w.string(",\n\t\t\t")
		default:
			w.string(", ")
		}
		w.string(e)
		n++
	}
	if n > 0 {
		w.string(after)
	}
}

// block writes the whole table, as a person would.
func (r *ruleset) block(w *writer) {
	w.printf("table inet %s {\n\tcomment %s\n", r.table, quote(marker))
	for _, c := range r.counters {
		w.printf("\n\tcounter %s {\n%s\t}\n", c.name, commentLine(c.comment))
	}
	for _, s := range r.sets {
		if s.elements == nil {
			continue
		}
		w.printf("\n\t%s %s {\n\t\t%s\n%s", s.kind(), s.name, strings.ReplaceAll(s.decl, "; ", "\n\t\t"), commentLine(s.comment))
		w.list("\t\telements = { ", s.elements, " }\n")
		w.string("\t}\n")
	}
	for _, c := range r.chains {
		w.printf("\n\tchain %s {\n%s", c.name, commentLine(c.comment))
		if c.hook != "" {
			w.printf("\t\t%s\n", c.hook)
		}
		for _, rule := range c.rules {
			w.printf("\t\t%s\n", rule)
		}
		w.string("\t}\n")
	}
	w.string("}\n")
}

// commentLine is a comment inside a block, or nothing.
func commentLine(s string) string {
	if s == "" {
		return ""
	}
	return "\t\tcomment " + quote(s) + "\n"
}

// change writes the commands that lead from r to next, in an order in which
// nothing is named before it exists or deleted while it is named. elements
// tells the changes of sets that both have, by name; where it has no entry the
// sets are compared.
func (r *ruleset) change(w *writer, next *ruleset, elements map[string]elementChange) {
	at := "inet " + r.table + " "
	oldCounters, newCounters := byName(r.counters, counter.key), byName(next.counters, counter.key)
	oldSets, newSets := byName(r.sets, set.key), byName(next.sets, set.key)
	oldChains, newChains := byName(r.chains, chain.key), byName(next.chains, chain.key)

	for _, c := range next.counters {
		if oldCounters[c.name] == nil {
			w.printf("add counter %s%s%s\n", at, c.name, inBraces("", c.comment))
		}
	}
	for _, c := range next.chains {
		if oldChains[c.name] == nil {
			w.printf("add chain %s%s%s\n", at, c.name, inBraces(c.hook, c.comment))
		}
	}
	for _, s := range next.sets {
		old := oldSets[s.name]
		if old == nil {
			if s.elements != nil {
				w.printf("add %s %s%s%s\n", s.kind(), at, s.name, inBraces(s.decl+";", s.comment))
				w.list("add element "+at+s.name+" { ", s.elements, " }\n")
			}
			continue
		}
		d, told := elements[s.name]
		if !told && s.elements != nil && old.elements != nil {
			d = compareElements(old.elements, s.elements)
		}
		// What goes, goes first: intervals must not overlap, and a map's
		// element is known by its key, which may come back with another verdict.
		gone := slices.Clone(d.remove)
		if s.verdicts {
			for i, e := range gone {
				gone[i], _, _ = strings.Cut(e, " : ")
			}
		}
		w.list("delete element "+at+s.name+" { ", slices.Values(gone), " }\n")
		w.list("add element "+at+s.name+" { ", slices.Values(d.add), " }\n")
	}
	for _, c := range next.chains {
		old := oldChains[c.name]
		if old != nil {
			if slices.Equal(old.rules, c.rules) {
				continue
			}
			w.printf("flush chain %s%s\n", at, c.name)
		}
		for _, rule := range c.rules {
			w.printf("add rule %s%s %s\n", at, c.name, rule)
		}
	}
	for _, c := range r.chains {
		if newChains[c.name] == nil {
			w.printf("flush chain %s%s\n", at, c.name)
		}
	}
	for _, c := range r.chains {
		if newChains[c.name] == nil {
			w.printf("delete chain %s%s\n", at, c.name)
		}
	}
	for _, s := range r.sets {
		if newSets[s.name] == nil {
			w.printf("delete %s %s%s\n", s.kind(), at, s.name)
		}
	}
	for _, c := range r.counters {
		if newCounters[c.name] == nil {
			w.printf("delete counter %s%s\n", at, c.name)
		}
	}
}

// elementChange is what a set gains and loses.
type elementChange struct{ add, remove []string }

func compareElements(old, next iter.Seq[string]) elementChange {
	had := map[string]bool{}
	for e := range old {
		had[e] = true
	}
	var d elementChange
	for e := range next {
		if had[e] {
			delete(had, e)
		} else {
			d.add = append(d.add, e)
		}
	}
	for e := range old {
		if had[e] {
			d.remove = append(d.remove, e)
		}
	}
	return d
}

func (c counter) key() string { return c.name }
func (s set) key() string     { return s.name }
func (c chain) key() string   { return c.name }

func byName[T any](list []T, name func(T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for i := range list {
		m[name(list[i])] = &list[i]
	}
	return m
}

// inBraces is the body of an add command, or nothing.
func inBraces(body, comment string) string {
	if comment != "" {
		body = strings.TrimSpace(body + " comment " + quote(comment) + ";")
	}
	if body == "" {
		return ""
	}
	return " { " + body + " }"
}
