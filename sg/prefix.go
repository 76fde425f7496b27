package sg

import (
	"net/netip"
	"slices"
)

// MergePrefixes returns the addresses of list as the fewest disjoint prefixes,
// sorted: nested ones are absorbed and neighbours joined. It reorders list and
// may return a part of it.
func MergePrefixes(list []netip.Prefix) []netip.Prefix {
	slices.SortFunc(list, netip.Prefix.Compare)
	// Sorted, wider first, only the last of the disjoint ones so far can cover
	// the next one or be its other half.
	out := list[:0]
	for _, p := range list {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue
		}
		for n := len(out); n > 0; n = len(out) {
			joined, ok := joinPrefixes(out[n-1], p)
			if !ok {
				break
			}
			out, p = out[:n-1], joined
		}
		out = append(out, p)
	}
	return out
}

// joinPrefixes returns the prefix whose two halves are a and b.
func joinPrefixes(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a.Addr().BitLen() != b.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	up := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return up, up == netip.PrefixFrom(b.Addr(), b.Bits()-1).Masked()
}
