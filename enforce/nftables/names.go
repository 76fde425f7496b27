package nftables

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"example.com/secgroup/sg/cow"
)

// A packet that is on its way through the table when a transaction commits
// meets the rules that were there when it entered the base chain, but what sets
// and maps hold now. So nothing that a packet can meet is ever edited, but for
// elements of sets: what is to be different gets a new name and is laid beside,
// then one transaction leads packets there, and when no packet can be in the
// old part any more it goes.

// names says what objects are called in the kernel, by the names that the
// renderer gives them. What it does not know keeps its name. A copy costs
// little.
type names struct{ m *cow.Map[string, string] }

func newNames() names { return names{cow.New[string, string](cmp.Compare[string])} }

func (n names) of(name string) string {
	if k, ok := n.m.Get(name); ok {
		return k
	}
	return name
}

// known is what the kernel calls something, "" if it is not known.
func (n names) known(name string) string {
	k, _ := n.m.Get(name)
	return k
}

// with are the names after those of some things were replaced: what is in gone
// and not in given has none any more.
func (n names) with(given map[string]string, gone *ruleset) names {
	out := names{n.m.Clone()}
	for name := range gone.names {
		if _, ok := given[name]; !ok {
			out.m.Delete(name)
		}
	}
	for name, k := range given {
		if out.known(name) != k {
			out.m.Set(name, k)
		}
	}
	return out
}

// names yields the names of everything but base chains.
func (r *ruleset) names(yield func(string) bool) {
	for _, c := range r.counters {
		if !yield(c.name) {
			return
		}
	}
	for _, s := range r.sets {
		if !yield(s.name) {
			return
		}
	}
	for _, c := range r.chains {
		if c.hook == "" && !yield(c.name) {
			return
		}
	}
}

// tag is the end of the names of one generation.
func tag(n uint64) string { return "_x" + strconv.FormatUint(n, 10) }

// tagOf returns the number of the generation that gave the name, 0 if none did.
func tagOf(name string) uint64 {
	i := strings.LastIndex(name, "_x")
	if i < 0 {
		return 0
	}
	n, err := strconv.ParseUint(name[i+2:], 10, 48)
	if err != nil {
		return 0
	}
	return n
}

// untagged is the renderer's name of what the kernel has.
func untagged(name string) string {
	if n := tagOf(name); n != 0 {
		return strings.TrimSuffix(name, tag(n))
	}
	return name
}

// rewrite replaces the names of chains, sets and counters in a rule, or in an
// element of a map, by what of returns for them.
func rewrite(rule string, of func(string) string) string {
	var b strings.Builder
	for from := 0; ; {
		at, n := nextName(rule, from)
		if n == 0 {
			if from == 0 {
				return rule
			}
			b.WriteString(rule[from:])
			return b.String()
		}
		b.WriteString(rule[from:at])
		b.WriteString(of(rule[at : at+n]))
		from = at + n
	}
}

// nextName finds the first name at or after from: its place and its length,
// which is 0 if there is none.
func nextName(rule string, from int) (at, n int) {
	for i := from; i < len(rule); i++ {
		switch c := rule[i]; {
		case c == '"':
			end := strings.IndexByte(rule[i+1:], '"')
			if end < 0 {
				return 0, 0
			}
			i += end + 1
		case c == '@':
			return i + 1, nameLength(rule[i+1:])
		case i == 0 || rule[i-1] == ' ':
			if n := keyword(rule[i:]); n > 0 {
				return i + n, nameLength(rule[i+n:])
			}
		}
	}
	return 0, 0
}

// keyword returns the length of what stands before a name, if s begins with it.
func keyword(s string) int {
	for _, k := range []string{"goto ", "jump ", "counter name "} {
		if strings.HasPrefix(s, k) {
			return len(k)
		}
	}
	return 0
}

func nameLength(s string) int {
	for i, c := range []byte(s) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return i
		}
	}
	return len(s)
}

// refs calls f with every name in a rule or an element.
func refs(rule string, f func(name string)) {
	for from := 0; ; {
		at, n := nextName(rule, from)
		if n == 0 {
			return
		}
		f(rule[at : at+n])
		from = at + n
	}
}

// rename returns r with the names of the kernel, without the rules of those
// chains for whose name without says so; it may be nil.
func (n names) rename(r *ruleset, without func(name string) bool) *ruleset {
	out := &ruleset{table: r.table}
	for _, c := range r.counters {
		c.name = n.of(c.name)
		out.counters = append(out.counters, c)
	}
	for _, s := range r.sets {
		s.name = n.of(s.name)
		if elements := s.elements; elements != nil && s.verdicts {
			s.elements = func(yield func(string) bool) {
				for e := range elements {
					if !yield(rewrite(e, n.of)) {
						return
					}
				}
			}
		}
		out.sets = append(out.sets, s)
	}
	for _, c := range r.chains {
		c.name = n.of(c.name)
		var rules []string
		if without == nil || !without(c.name) {
			rules = make([]string, len(c.rules))
			for i, rule := range c.rules {
				rules[i] = rewrite(rule, n.of)
			}
		}
		c.rules = rules
		out.chains = append(out.chains, c)
	}
	return out
}

// all names everything in r but base chains anew.
func (n names) all(r *ruleset, suffix string) {
	for name := range r.names {
		n.m.Set(name, name+suffix)
	}
}

// parseHook reads what the renderer writes of a base chain: "type filter hook
// forward priority 0; policy accept;".
func parseHook(s string) (b baseChain, err error) {
	var policy string
	_, err = fmt.Sscanf(strings.NewReplacer(";", " ").Replace(s), "type %s hook %s priority %d policy %s", &b.typ, &b.hook, &b.priority, &policy)
	b.accept = policy == "accept"
	return b, err
}
