package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// span is a range of services of one protocol: ports, or ICMP type and code as
// one number, type first.
type span struct {
	first, last uint16
	rule        *ir.Rule
}

// services is the first match of an ordered list of rules by protocol and
// port, without their peers.
type services struct {
	spans map[sg.Protocol][]span // disjoint, ascending
	rest  *ir.Rule               // for every protocol, after spans; nil if none
}

// newServices returns what rules, in order, say of each service.
func newServices(rules []*ir.Rule) services {
	s := services{spans: map[sg.Protocol][]span{}}
	byProtocol := map[sg.Protocol][]*ir.Rule{}
	for _, r := range rules {
		if r.Protocol == sg.AnyProtocol {
			s.rest = r
			break // no later rule is the first to match
		}
		byProtocol[r.Protocol] = append(byProtocol[r.Protocol], r)
	}
	for p, list := range byProtocol {
		s.spans[p] = firstMatches(list)
	}
	return s
}

// protocols are those that have spans, in order of number.
func (s *services) protocols() []sg.Protocol { return slices.Sorted(maps.Keys(s.spans)) }

// spanOf returns the services of r as numbers.
func spanOf(r *ir.Rule) span {
	switch {
	case r.Protocol.HasPorts():
		return span{r.Ports.First, r.Ports.Last, r}
	case r.Protocol.HasICMP():
		typ, hasType := r.ICMP.Type()
		code, hasCode := r.ICMP.Code()
		switch {
		case hasCode:
			return span{uint16(typ)<<8 | uint16(code), uint16(typ)<<8 | uint16(code), r}
		case hasType:
			return span{uint16(typ) << 8, uint16(typ)<<8 | 0xff, r}
		}
	}
	return span{0, 0xffff, r}
}

// firstMatches cuts the services of rules of one protocol into disjoint spans,
// each with the first rule that has it.
func firstMatches(rules []*ir.Rule) []span {
	var bounds []uint32
	for _, r := range rules {
		s := spanOf(r)
		bounds = append(bounds, uint32(s.first), uint32(s.last)+1)
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	owner := make([]*ir.Rule, len(bounds))
	free := make([]int, len(bounds)+1) // the first piece at or after i without an owner, in few steps
	for i := range free {
		free[i] = i
	}
	find := func(i int) int {
		for free[i] != i {
			free[i] = free[free[i]]
			i = free[i]
		}
		return i
	}
	for _, r := range rules {
		s := spanOf(r)
		from, _ := slices.BinarySearch(bounds, uint32(s.first))
		to, _ := slices.BinarySearch(bounds, uint32(s.last)+1)
		for i := find(from); i < to; i = find(i) {
			owner[i], free[i] = r, i+1
		}
	}
	var out []span
	for i, r := range owner {
		if r != nil {
			out = append(out, span{uint16(bounds[i]), uint16(bounds[i+1] - 1), r})
		}
	}
	return joined(out, func(a, b *ir.Rule) bool { return a == b })
}

// joined merges neighbours that same takes for one.
func joined(spans []span, same func(a, b *ir.Rule) bool) []span {
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && uint32(out[n-1].last)+1 == uint32(s.first) && same(out[n-1].rule, s.rule) {
			out[n-1].last = s.last
			continue
		}
		out = append(out, s)
	}
	return out
}

// lines returns the rules that send each service where verdict says, by the
// fields of the packet. where is a condition on the peer, or empty.
func (s *services) lines(where string, verdict func(*ir.Rule) string) []string {
	var out []string
	for _, p := range s.protocols() {
		out = append(out, packetLines(p, where, s.spans[p], verdict)...)
	}
	if s.rest != nil {
		out = append(out, statement(where, verdict(s.rest)))
	}
	return out
}

func packetLines(p sg.Protocol, where string, spans []span, verdict func(*ir.Rule) string) []string {
	if len(spans) == 1 && spans[0].first == 0 && spans[0].last == 0xffff || !p.HasPorts() && !p.HasICMP() {
		return []string{statement("meta l4proto "+strconv.Itoa(int(p)), where, verdict(spans[0].rule))}
	}
	var keys, elements []string
	for _, s := range spans {
		for _, k := range keysOf(p, s) {
			keys = append(keys, k)
			elements = append(elements, k+" : "+verdict(s.rule))
		}
	}
	field := p.String() + " dport"
	if p.HasICMP() {
		field = p.String() + " type . " + p.String() + " code"
	}
	one := spans[0].rule
	same := !slices.ContainsFunc(spans, func(s span) bool { return verdict(s.rule) != verdict(one) })
	switch {
	case len(keys) == 1 && p.HasPorts():
		return []string{statement(field+" "+keys[0], where, verdict(one))}
	case same:
		return []string{statement(field+" { "+strings.Join(keys, ", ")+" }", where, verdict(one))}
	}
	return []string{statement(where, field+" vmap { "+strings.Join(elements, ", ")+" }")}
}

// keysOf writes a span as nft does: ports as they are, ICMP as rectangles of
// types and codes.
func keysOf(p sg.Protocol, s span) []string {
	if p.HasPorts() {
		return []string{numbers(uint32(s.first), uint32(s.last))}
	}
	var out []string
	rectangle := func(t1, t2, c1, c2 uint32) {
		out = append(out, numbers(t1, t2)+" . "+numbers(c1, c2))
	}
	first, last := uint32(s.first), uint32(s.last)
	t1, c1, t2, c2 := first>>8, first&0xff, last>>8, last&0xff
	if t1 == t2 {
		rectangle(t1, t1, c1, c2)
		return out
	}
	if c1 != 0 {
		rectangle(t1, t1, c1, 0xff)
		t1++
	}
	whole := t2
	if c2 != 0xff {
		whole-- // t2 > t1 >= 0
	}
	if t1 <= whole {
		rectangle(t1, whole, 0, 0xff)
	}
	if c2 != 0xff {
		rectangle(t2, t2, 0, c2)
	}
	return out
}

func numbers(first, last uint32) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// statement joins the parts of a rule that are not empty.
func statement(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}
