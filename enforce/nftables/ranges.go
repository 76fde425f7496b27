package nftables

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// addrRange is a range of addresses and what applies to it.
type addrRange struct {
	first, last netip.Addr
	rules       []int // ascending
}

// flatten cuts prefixes, which nest or are disjoint, into disjoint ranges,
// ascending. prefixes[i] belongs to rule i; a range has every rule whose prefix
// covers it.
func flatten(prefixes []netip.Prefix) []addrRange {
	order := make([]int, len(prefixes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(prefixes[a].Masked().Compare(prefixes[b].Masked()), cmp.Compare(a, b))
	})
	type open struct {
		last  netip.Addr
		rules []int
	}
	var out []addrRange
	var stack []open
	var at netip.Addr // what is covered by the stack and not yet in out starts here
	emit := func(last netip.Addr) {
		if at.Compare(last) <= 0 {
			rules := stack[len(stack)-1].rules
			if n := len(out); n > 0 && out[n-1].last.Next() == at && slices.Equal(out[n-1].rules, rules) {
				out[n-1].last = last
			} else {
				out = append(out, addrRange{at, last, rules})
			}
		}
	}
	closeUntil := func(before netip.Addr) {
		for len(stack) > 0 && (!before.IsValid() || stack[len(stack)-1].last.Less(before)) {
			last := stack[len(stack)-1].last
			emit(last)
			stack = stack[:len(stack)-1]
			at = last.Next() // invalid after the last address there is
			if !at.IsValid() {
				return // everything still open ends here too
			}
		}
	}
	for _, i := range order {
		p := prefixes[i].Masked()
		closeUntil(p.Addr())
		var rules []int
		if n := len(stack); n > 0 {
			if p.Addr() != at && at.Less(p.Addr()) {
				emit(p.Addr().Prev())
			}
			rules = stack[n-1].rules
		}
		at = p.Addr()
		k, _ := slices.BinarySearch(rules, i)
		stack = append(stack, open{lastAddr(p), slices.Insert(slices.Clone(rules), k, i)})
	}
	closeUntil(netip.Addr{})
	return out
}

// lastAddr returns the last address of a prefix.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// String writes a range as nft does.
func (r addrRange) String() string {
	if r.first == r.last {
		return r.first.String()
	}
	for bits := range r.first.BitLen() {
		if p := netip.PrefixFrom(r.first, bits); p.Masked() == p && lastAddr(p) == r.last {
			return p.String()
		}
	}
	return r.first.String() + "-" + r.last.String()
}

// mask returns the netmask of a prefix length, written as an address.
func mask(f sg.Family, bits int) string {
	b := make([]byte, addrBits(f)/8)
	for i := range bits {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

// addrBits is the length of an address.
func addrBits(f sg.Family) int {
	if f == sg.IPv4 {
		return 32
	}
	return 128
}

// setName names the set of the prefixes of one length of a selector.
func setName(s ir.SelectorNum, f sg.Family, bits int) string {
	return "set" + strconv.Itoa(int(s)) + "_v" + strconv.Itoa(int(f)) + "_" + strconv.Itoa(bits)
}
