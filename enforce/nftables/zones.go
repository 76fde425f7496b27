package nftables

import (
	"strconv"
	"strings"
)

// A VPC keeps its conntrack zone as long as the table has it, whatever number
// its Compiler gives it: another process numbers VPCs anew, and connections
// stay in the zone in which they began.

// zonesByVPC are the zones of a layout.
func (l *layout) zonesByVPC() map[string]int {
	out := map[string]int{}
	for num, v := range l.vpcs.All() {
		out[string(v.id)] = l.zoneOf(num)
	}
	return out
}

// zonesInUse are the zones of the table that there is, by VPC.
func (b *Backend) zonesInUse(in *installed) (map[string]int, error) {
	if b.now != nil {
		return b.now.layout.zonesByVPC(), nil
	}
	out := map[string]int{}
	for _, c := range in.chains {
		num, ok := strings.CutPrefix(untagged(c), "vpc")
		n, err := strconv.Atoi(num)
		if !ok || err != nil {
			continue
		}
		comment, err := b.kernel.ruleComment(c)
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(comment, '?') || strings.HasSuffix(comment, "...") {
			comment = "?" + strconv.Itoa(n) // may be shortened: nobody's, but taken
		}
		out[comment] = n + 1
	}
	return out, nil
}

// assignZones gives every VPC a zone: that which it has, else one that no other
// VPC has or had.
func assignZones(have map[string]int, next *layout) map[uint16]int {
	taken := map[int]bool{}
	for _, z := range have {
		taken[z] = true
	}
	out := map[uint16]int{}
	for num, v := range next.vpcs.All() {
		if z, ok := have[string(v.id)]; ok {
			out[num] = z
		}
	}
	free := 1
	for num := range next.vpcs.All() {
		if out[num] != 0 {
			continue
		}
		z := int(num) + 1
		for ; taken[z] && free <= maxZone; free++ {
			z = free
		}
		taken[z], out[num] = true, z
	}
	return out
}

// maxZone is the last conntrack zone.
const maxZone = 1<<16 - 1
