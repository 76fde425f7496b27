package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// locator finds the interfaces that a packet passes, by their addresses.
type locator struct {
	hosts    map[netip.Addr]sg.InterfaceID
	prefixes []owned // the longest first
}

type owned struct {
	prefix netip.Prefix
	id     sg.InterfaceID
}

// newLocator locates among the interfaces of s, or, if only is not empty, finds
// that one alone. Of interfaces that share an address (in different VPCs) the
// first by id gets the packets: restrict the replay to get the other's.
func newLocator(s *policy.Snapshot, only sg.InterfaceID) (*locator, error) {
	if _, ok := s.Interface(only); only != "" && !ok {
		return nil, fmt.Errorf("the policy has no interface %q", only)
	}
	l := &locator{hosts: map[netip.Addr]sg.InterfaceID{}}
	for i := range s.Interfaces() {
		if only != "" && i.ID != only {
			continue
		}
		for _, p := range i.Addrs {
			if !p.IsSingleIP() {
				l.prefixes = append(l.prefixes, owned{p, i.ID})
			} else if _, taken := l.hosts[p.Addr()]; !taken {
				l.hosts[p.Addr()] = i.ID
			}
		}
	}
	slices.SortStableFunc(l.prefixes, func(a, b owned) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	return l, nil
}

// find returns the interfaces that send and receive a packet; empty where it
// is none of the policy's.
func (l *locator) find(t *packet.Tuple) (from, to sg.InterfaceID) {
	return l.at(t.SrcAddr()), l.at(t.DstAddr())
}

func (l *locator) at(a netip.Addr) sg.InterfaceID {
	if id, ok := l.hosts[a]; ok {
		return id
	}
	for _, o := range l.prefixes {
		if o.prefix.Contains(a) {
			return o.id
		}
	}
	return ""
}

// sortFlows names the interface and rule of each connection and orders them by
// beginning. The times of a table are coarser than that: opened tells.
func sortFlows(e *enforce.Engine, entries []conntrack.Entry, opened map[opening]int) []flow {
	var flows []flow
	for _, c := range entries {
		f := flow{entry: c}
		f.iface, _ = e.Interface(c.Zone)
		f.rule, _ = e.Rule(ir.RuleNum(c.Mark))
		flows = append(flows, f)
	}
	slices.SortStableFunc(flows, func(a, b flow) int {
		return cmp.Or(cmp.Compare(a.entry.Created, b.entry.Created),
			cmp.Compare(opened[opening{a.iface, a.entry.Orig}], opened[opening{b.iface, b.entry.Orig}]))
	})
	return flows
}
