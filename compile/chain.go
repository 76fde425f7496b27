package compile

import (
	"encoding/binary"
	"net/netip"

	"example.com/secgroup/compile/internal/chains"
	"example.com/secgroup/compile/internal/pages"
	"example.com/secgroup/compile/internal/ranges"
	"example.com/secgroup/compile/internal/services"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Chain is what a Matcher knows of one direction of one interface: who decides
// packet by packet looks it up once, for as long as the Matcher is in force. It is
// immutable and safe for concurrent use. The zero Chain knows no interface.
type Chain struct {
	index   *chains.Index
	at      [2]*ranges.Map // the classes of the addresses of its VPC, by family; nil where no rule names any
	classes [2]*selectors  // as in Matcher
}

// selectors are those of each class that is no single one.
type selectors = pages.Array[[]ir.SelectorNum]

// Words is a flow of TCP, UDP or SCTP whose ports are known, in words.
type Words struct {
	High, Low uint64    // the remote address as a number; IPv4 has only the low half
	Family    sg.Family // IPv4 or IPv6
	Protocol  uint8
	Port      uint16 // destination port
}

// Chain returns what m knows of a direction of the interface with that index.
func (m *Matcher) Chain(index uint32, d sg.Direction) (c Chain) {
	x, at := m.chain(index, d)
	if x == nil {
		return c
	}
	c.index, c.classes = x, m.classes
	if at != nil {
		c.at = [2]*ranges.Map{at.v4, at.v6}
	}
	return c
}

// chain returns the chain of an interface in a direction, nil if there is
// none, and the addresses of its VPC, nil if rules name none.
func (m *Matcher) chain(index uint32, d sg.Direction) (*chains.Index, *space) {
	i := m.ifaces.At(index)
	p := m.policies.At(i.policy)
	if p == nil || !d.Valid() {
		return nil, nil
	}
	if d == sg.Egress {
		return p.egress, m.spaces.At(uint32(i.space))
	}
	return p.ingress, m.spaces.At(uint32(i.space))
}

// Match is [Matcher.Match] for a flow of that interface and direction.
func (c *Chain) Match(f ir.Flow) ir.Verdict {
	return match(c.index, c.at[0], c.at[1], &c.classes, &f)
}

// Match4 is Match for a flow of TCP, UDP or SCTP to that port, whose remote
// address is of IPv4, as a number.
func (c *Chain) Match4(remote uint32, protocol uint8, port uint16) ir.Verdict {
	return match4(c.index, c.at[0], c.classes[0], uint64(remote), services.PortKey(protocol, port))
}

// Match6 is Match4 for IPv6. The halves of the address are numbers.
func (c *Chain) Match6(high, low uint64, protocol uint8, port uint16) ir.Verdict {
	return match6(c.index, c.at[1], c.classes[1], high, low, services.PortKey(protocol, port))
}

// Wide reports whether its VPC has more addresses that rules name than lie in the
// nearer caches: then many flows are better asked about together. Else one after
// the other is as fast.
func (c *Chain) Wide() bool {
	return c.at[0] != nil && c.at[0].Large() || c.at[1] != nil && c.at[1].Large()
}

// nobody is the verdict where the interface is not known.
func nobody() ir.Verdict { return ir.Verdict{Reason: ir.ReasonUnknownInterface} }

// match is Match. What it is given lies in registers: a Chain that is made for one
// flow would be waited for.
func match(x *chains.Index, v4, v6 *ranges.Map, classes *[2]*selectors, f *ir.Flow) ir.Verdict {
	switch {
	case f.Remote.Is4():
		return match4(x, v4, classes[0], number(f.Remote), services.Key(f))
	case f.Remote.IsValid():
		high, low := halves(f.Remote)
		return match6(x, v6, classes[1], high, low, services.Key(f))
	case x == nil:
		return nobody()
	}
	return x.Fallback()
}

func match4(x *chains.Index, at *ranges.Map, multi *selectors, addr uint64, key uint32) ir.Verdict {
	if x == nil {
		return nobody()
	}
	any := x.Any(0, key)
	if at == nil || x.Decides(any) {
		return x.Verdict(any, 0)
	}
	var peer services.Hit
	if class := at.Find(addr); class != 0 {
		peer = x.Peer(0, class, key, multi)
	}
	if any|peer == 0 {
		return x.Fallback()
	}
	return x.Verdict(any, peer)
}

func match6(x *chains.Index, at *ranges.Map, multi *selectors, high, low uint64, key uint32) ir.Verdict {
	if x == nil {
		return nobody()
	}
	any := x.Any(1, key)
	if at == nil || x.Decides(any) {
		return x.Verdict(any, 0)
	}
	var peer services.Hit
	if class := at.Find2(high, low); class != 0 {
		peer = x.Peer(1, class, key, multi)
	}
	if any|peer == 0 {
		return x.Fallback()
	}
	return x.Verdict(any, peer)
}

// number returns an IPv4 address as a number.
func number(a netip.Addr) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))
}

// halves returns an IPv6 address as two numbers, without its zone.
func halves(a netip.Addr) (high, low uint64) {
	if a.Zone() != "" {
		a = a.WithZone("")
	}
	// Not As16: what it returns is copied at once, before the processor has
	// both halves of it in one piece, and waits.
	var buf [16]byte
	b, _ := a.AppendBinary(buf[:0]) // it never fails
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
