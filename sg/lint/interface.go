package lint

import (
	"fmt"

	"example.com/secgroup/sg"
)

func (c *checker) iface(i *sg.Interface) {
	path := interfacePath(i.ID)
	if len(i.Groups) == 0 {
		open := ""
		severity := Info
		if c.profile.Unattached == sg.Accept {
			open, severity = ": all traffic is allowed", Critical
		}
		if c.profile.MayBeUngrouped(i.Kind) {
			c.add("LI-12", severity, path, "the interface has no group"+open, "attach one")
		}
		return
	}
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		total, by := c.count(i, d)
		switch {
		case total == 0 && c.profile.EmptyDirection == sg.Accept:
			c.add("LI-10", Critical, path, fmt.Sprintf("no attached group has an %s rule: all %s traffic is allowed", d, d), "add a rule, and the rest is refused")
		case total > 0:
			c.families(i, path, d, by)
		}
	}
}

// count returns how many rules of i's groups apply in a direction, and how
// many to each family.
func (c *checker) count(i *sg.Interface, d sg.Direction) (total int, by map[sg.Family]int) {
	by = map[sg.Family]int{}
	for _, id := range i.Groups {
		g, ok := c.s.Group(id)
		if !ok {
			continue
		}
		for _, r := range g.ByDirection(d) {
			total++
			for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
				if c.applies(r, f) {
					by[f]++
				}
			}
		}
	}
	return total, by
}

// applies reports whether r lets pass anything of family f.
func (c *checker) applies(r sg.Rule, f sg.Family) bool {
	if id, ok := r.Peer.Set(); ok {
		if set, ok := c.s.Set(id); ok && !set.Family().Matches(f) {
			return false
		}
	}
	if c.profile.ICMPCoversIPv6 && r.Protocol == sg.ICMP && r.ICMP.IsAny() {
		return r.AddressFamily().Matches(f)
	}
	return r.EffectiveFamily().Matches(f)
}

// families finds an interface with addresses of a family that no rule of a
// direction applies to, while those of the other family do.
func (c *checker) families(i *sg.Interface, path string, d sg.Direction, by map[sg.Family]int) {
	has := map[sg.Family]bool{}
	for _, p := range i.Addrs {
		has[sg.FamilyOf(p.Addr())] = true
	}
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		if has[f] && by[f] == 0 {
			c.add("LI-11", Warning, path, fmt.Sprintf("it has %s addresses, but no %s rule of its groups applies to %s", f, d, f),
				"add rules for "+f.String()+" if that traffic is wanted")
		}
	}
}
