package ir

import (
	"cmp"
	"iter"
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// SelectorTable holds selectors by number, those of a CIDR in 36 bytes each.
// Any number of goroutines may read and clone one while none writes to it; a
// clone is independent of its origin.
type SelectorTable struct {
	m      *cow.Map[SelectorNum, packedSelector]
	recent *selectorHome // of the CIDR that was set last
}

// packedSelector is a Selector without its number.
type packedSelector struct {
	addr [16]byte // of a CIDR
	bits uint8    // of a CIDR, at most 128, else noCIDR
	four bool     // the CIDR is of IPv4
	home *selectorHome
}

// selectorHome is the VPC of a selector, and its peer if that is no CIDR.
// Those of CIDRs share one.
type selectorHome struct {
	vpc  sg.VPCID
	peer sg.Peer
}

const noCIDR = 255

func newSelectorTable() *SelectorTable {
	return &SelectorTable{m: cow.New[SelectorNum, packedSelector](cmp.Compare[SelectorNum])}
}

// Clone returns a table of the same selectors, at a cost of one pointer per 128
// to 256 of them.
func (t *SelectorTable) Clone() *SelectorTable {
	return &SelectorTable{m: t.m.Clone(), recent: t.recent}
}

// Len returns the number of selectors.
func (t *SelectorTable) Len() int { return t.m.Len() }

// Get returns selector n.
func (t *SelectorTable) Get(n SelectorNum) (Selector, bool) {
	p := t.m.Ref(n)
	if p == nil {
		return Selector{}, false
	}
	return p.selector(n), true
}

// All yields every selector in order of number.
func (t *SelectorTable) All() iter.Seq2[SelectorNum, Selector] {
	return func(yield func(SelectorNum, Selector) bool) {
		for n, p := range t.m.All() {
			if !yield(n, p.selector(n)) {
				return
			}
		}
	}
}

func (p *packedSelector) selector(n SelectorNum) Selector {
	s := Selector{Num: n, VPC: p.home.vpc, Peer: p.home.peer}
	if p.bits == noCIDR {
		return s
	}
	a := netip.AddrFrom16(p.addr)
	if p.four {
		a = a.Unmap()
	}
	s.Peer = sg.PeerCIDR(netip.PrefixFrom(a, int(p.bits)))
	return s
}

// Set stores s as selector n.
func (t *SelectorTable) Set(n SelectorNum, s Selector) {
	c, ok := s.Peer.CIDR()
	if !ok || !c.IsValid() || c.Addr().Zone() != "" {
		t.m.Set(n, packedSelector{bits: noCIDR, home: &selectorHome{s.VPC, s.Peer}})
		return
	}
	if t.recent == nil || t.recent.vpc != s.VPC {
		t.recent = &selectorHome{vpc: s.VPC}
	}
	p := packedSelector{bits: uint8(c.Bits()), four: c.Addr().Is4(), home: t.recent}
	if p.four {
		b := c.Addr().As4()
		p.addr[10], p.addr[11] = 0xff, 0xff
		copy(p.addr[12:], b[:])
	} else {
		_, _ = c.Addr().AppendBinary(p.addr[:0]) // it never fails; not As16, which is waited for
	}
	t.m.Set(n, p)
}

// Delete removes selector n and reports whether it was there.
func (t *SelectorTable) Delete(n SelectorNum) bool { return t.m.Delete(n) }
