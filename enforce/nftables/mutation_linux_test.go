package nftables

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// mutation is a change of rulesets: of a statement of a chain, or of an element
// of a set.
type mutation struct {
	kind   string // "delete", "accept", "refuse", "unhook"
	object string // chain or set
	text   string // statement or element
}

func (m mutation) String() string { return fmt.Sprintf("%s %s: %s", m.kind, m.object, m.text) }

// details are what statements of one kind differ in.
var details = strings.NewReplacer("icmpv6", "icmp", "ip6", "ip", "ipv6", "ipv4", "_v6", "_v4", "tcp dport", "port", "udp dport", "port", "l4proto tcp", "l4proto P", "l4proto udp", "l4proto P")

var numbersOf = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(` comment "[^"]*"`), ""},
	{regexp.MustCompile(`\{[^}]*\}`), "{}"},
	{regexp.MustCompile(`_v[46]_c\d+`), "_class"},
	{regexp.MustCompile(`@set\d+_v\d+_\d+`), "@set"},
	{regexp.MustCompile(`@ports_\w+`), "N"},
	{regexp.MustCompile(`\b(ip6?) ([sd]addr) & [0-9a-f.:]+`), "$1 $2 & MASK"},
	{regexp.MustCompile(`\b(ip6?) ([sd]addr) [0-9a-f]+[.:][0-9a-f.:/-]*`), "$1 $2 ADDR"},
	{regexp.MustCompile(`(dport|l4proto|protocol|proto-dst) \d+(-\d+)?`), "$1 N"},
	{regexp.MustCompile(`rule\d+`), "ruleN"},
	{regexp.MustCompile(`\bp\d+_`), "pN_"},
	{regexp.MustCompile(`zone set \d+`), "zone set N"},
	{regexp.MustCompile(`\bvpc\d+`), "vpcN"},
	{regexp.MustCompile(`^set\d+_v\d+_\d+`), "setN"},
	{regexp.MustCompile(`^ports_\w+`), "ports"},
	{regexp.MustCompile(`& 0x(0000ffff|ffff0000) \| 0x[0-9a-f]+`), "& 0x$1 | EPOCH"},
	{regexp.MustCompile(`"sg\d+"`), "DEV"},
}

// template is what kind of statement a mutation concerns: statements of one
// template differ in numbers and names only.
func (m mutation) template() string {
	text, object := m.text, m.object
	if strings.Contains(object, "own") || !strings.Contains(text, " ") {
		text = regexp.MustCompile(`\d[0-9a-f.:/]*$`).ReplaceAllString(text, "ADDR")
	}
	for _, n := range numbersOf {
		text, object = n.re.ReplaceAllString(text, n.to), n.re.ReplaceAllString(object, n.to)
	}
	text, object = details.Replace(text), details.Replace(object)
	if strings.HasPrefix(object, "setN") || object == "ports" || strings.HasPrefix(object, "ends") || strings.HasPrefix(object, "home") || strings.HasPrefix(object, "own") {
		text = "ELEMENT"
	}
	return m.kind + " " + object + ": " + text
}

var end = regexp.MustCompile(`(goto \w+|jump \w+|accept|drop|return|reject with .*)$`)

// mutations are those of a ruleset.
func mutations(r *ruleset) (out []mutation) {
	for _, c := range r.chains {
		if c.hook != "" {
			out = append(out, mutation{"unhook", c.name, c.hook})
		}
		for _, rule := range c.rules {
			out = append(out, mutation{"delete", c.name, rule})
			if strings.HasPrefix(rule, "ct zone set ") {
				out = append(out, mutation{"share", c.name, rule})
			}
			bare, _, _ := strings.Cut(rule, " comment ")
			switch e := end.FindString(bare); {
			case e == "drop", e == "goto discard", e == "goto refuse", strings.HasPrefix(e, "reject"), strings.HasSuffix(e, "_stateless"), strings.HasSuffix(e, "_no"):
				out = append(out, mutation{"accept", c.name, rule})
			case e == "accept", strings.HasPrefix(e, "goto "):
				out = append(out, mutation{"refuse", c.name, rule})
			}
		}
	}
	for _, s := range r.sets {
		for e := range s.elements {
			out = append(out, mutation{"delete", s.name, e})
		}
	}
	return out
}

// concerns reports whether a mutation makes a difference only to packets that
// match a statement.
func (m mutation) concerns(chain, statement string) bool {
	switch {
	case m.kind == "share":
		return strings.HasPrefix(chain, "vpc")
	case chain == m.object:
		return statement == m.text
	}
	return strings.Contains(statement+" ", "@"+m.object+" ")
}

// wide reports whether it may make a difference to packets of any kind: to
// those that do not match, first of all.
func (m mutation) wide() bool {
	return m.kind == "unhook" || strings.HasPrefix(m.object, "own_")
}

// scripts returns what makes the mutation in the table of a phase, and what
// takes it back; nil if it has no such statement.
func (m mutation) scripts(p *phase) (change, undo func(*writer)) {
	mutated, ok := m.apply(p.rules)
	if !ok {
		return nil, nil
	}
	if m.kind == "unhook" {
		c := p.rules.chains[slices.IndexFunc(p.rules.chains, func(c chain) bool { return c.name == m.object })]
		anew := func(hook string) func(*writer) {
			return func(w *writer) {
				at := "inet " + p.table + " " + c.name
				w.printf("flush chain %[1]s\ndelete chain %[1]s\nadd chain %[1]s%[2]s\n", at, inBraces(hook, c.comment))
				for _, rule := range c.rules {
					w.printf("add rule %s %s\n", at, rule)
				}
			}
		}
		return anew(""), anew(c.hook)
	}
	good := *p.rules
	good.table, mutated.table = p.table, p.table
	return func(w *writer) { good.change(w, mutated, nil) }, func(w *writer) { mutated.change(w, &good, nil) }
}

// apply returns the ruleset with the mutation, and whether it has the statement.
func (m mutation) apply(r *ruleset) (*ruleset, bool) {
	next := *r
	for i, c := range r.chains {
		if c.name != m.object {
			continue
		}
		if m.kind == "unhook" {
			next.chains = slices.Clone(r.chains)
			next.chains[i].hook = ""
			return &next, true
		}
		at := slices.Index(c.rules, m.text)
		if at < 0 {
			return r, false
		}
		next.chains = slices.Clone(r.chains)
		rules := slices.Clone(c.rules)
		bare, _, _ := strings.Cut(m.text, " comment ")
		switch m.kind {
		case "delete":
			rules = slices.Delete(rules, at, at+1)
		case "accept":
			rules[at] = end.ReplaceAllString(bare, "accept")
		case "share":
			rules[at] = "ct zone set 77"
			for j := range next.chains { // all of them
				if strings.HasPrefix(next.chains[j].name, "vpc") {
					next.chains[j].rules = rules
				}
			}
		case "refuse":
			rules[at] = end.ReplaceAllString(bare, "goto refuse")
		}
		next.chains[i].rules = rules
		return &next, true
	}
	for i, s := range r.sets {
		if s.name != m.object {
			continue
		}
		elements := slices.Collect(s.elements)
		at := slices.Index(elements, m.text)
		if at < 0 {
			return r, false
		}
		next.sets = slices.Clone(r.sets)
		next.sets[i].elements = slices.Values(slices.Delete(elements, at, at+1))
		return &next, true
	}
	return r, false
}
