// Package portmap answers which of many rules for the same peer is the first
// to match a service, at a cost that does not grow with their number.
package portmap

import (
	"cmp"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// None is the rule index of no match.
const None = ^uint32(0)

// Hit is the outcome of a look-up.
type Hit struct {
	Index   uint32 // the lowest index of the rules that match, or None
	Tracked bool   // a rule that matches accepts and is not stateless
}

// Map holds the rules of one family for one peer. It is immutable.
//
// Every protocol has a 16-bit key: the port, or type<<8|code of an ICMP
// message, else zero. The key space is cut where the set of matching rules
// changes; a look-up finds its piece by binary search.
type Map struct {
	protocols []protocol // tcp, udp and icmp first
	other     Hit        // protocols that no rule names
}

type protocol struct {
	number  uint8
	blank   Hit // the rules for all keys: what unknown ports can match
	starts  []uint16
	matches []Hit // of the keys from starts[i] to before starts[i+1]
}

// Rule is a rule and its place in its chain.
type Rule struct {
	Index uint32
	Rule  ir.Rule
}

// New returns the map of rules, which are in order of Index.
func New(rules []Rule) *Map {
	m := &Map{other: Hit{Index: None}}
	var numbers []uint8
	for _, r := range rules {
		if r.Rule.Protocol == sg.AnyProtocol {
			m.other = m.other.plus(r)
		} else if n := uint8(r.Rule.Protocol); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, func(a, b uint8) int { return cmp.Compare(rank(a), rank(b)) })
	for _, n := range numbers {
		m.protocols = append(m.protocols, newProtocol(n, rules))
	}
	return m
}

// rank puts the protocols that most packets have first.
func rank(n uint8) int {
	switch sg.Protocol(n) {
	case sg.TCP:
		return -3
	case sg.UDP:
		return -2
	case sg.ICMP, sg.ICMPv6:
		return -1
	}
	return int(n)
}

func (h Hit) plus(r Rule) Hit {
	h.Index = min(h.Index, r.Index)
	h.Tracked = h.Tracked || r.Rule.Action == sg.Accept && !r.Rule.Stateless
	return h
}

// span returns the keys that r matches.
func span(r ir.Rule) (first, last uint16) {
	switch {
	case r.Protocol.HasPorts():
		return r.Ports.First, r.Ports.Last
	case r.Protocol.HasICMP():
		t, hasType := r.ICMP.Type()
		c, hasCode := r.ICMP.Code()
		switch {
		case hasCode:
			return uint16(t)<<8 | uint16(c), uint16(t)<<8 | uint16(c)
		case hasType:
			return uint16(t) << 8, uint16(t)<<8 | 255
		}
	}
	return 0, 65535
}

func newProtocol(number uint8, all []Rule) protocol {
	p := protocol{number: number, blank: Hit{Index: None}}
	var rules []Rule
	cuts := []uint32{0}
	for _, r := range all {
		if r.Rule.Protocol != sg.AnyProtocol && uint8(r.Rule.Protocol) != number {
			continue
		}
		first, last := span(r.Rule)
		if first == 0 && last == 65535 {
			p.blank = p.blank.plus(r)
			continue // counts for every piece
		}
		rules = append(rules, r)
		cuts = append(cuts, uint32(first), uint32(last)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	if cuts[len(cuts)-1] == 65536 {
		cuts = cuts[:len(cuts)-1]
	}
	hits := make([]Hit, len(cuts))
	for i := range hits {
		hits[i] = p.blank
	}
	for _, r := range rules {
		first, last := span(r.Rule)
		i, _ := slices.BinarySearch(cuts, uint32(first))
		for ; i < len(cuts) && cuts[i] <= uint32(last); i++ {
			hits[i] = hits[i].plus(r)
		}
	}
	for i, h := range hits {
		if i == 0 || h != p.matches[len(p.matches)-1] {
			p.starts = append(p.starts, uint16(cuts[i]))
			p.matches = append(p.matches, h)
		}
	}
	return p
}

// Lookup returns what matches the service of f, whatever its remote address.
func (m *Map) Lookup(f *ir.Flow) Hit {
	for i := range m.protocols {
		p := &m.protocols[i]
		if p.number != f.Protocol {
			continue
		}
		var key uint16
		switch sg.Protocol(f.Protocol) {
		case sg.TCP, sg.UDP, sg.SCTP:
			if f.NoPorts {
				return p.blank
			}
			key = f.Port
		case sg.ICMP, sg.ICMPv6:
			key = uint16(f.ICMPType)<<8 | uint16(f.ICMPCode)
		}
		lo, hi := 0, len(p.starts)
		for hi-lo > 1 {
			if mid := int(uint(lo+hi) / 2); p.starts[mid] <= key {
				lo = mid
			} else {
				hi = mid
			}
		}
		return p.matches[lo]
	}
	return m.other
}
