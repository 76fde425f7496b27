package lint

import (
	"fmt"
	"slices"
	"strings"

	"example.com/secgroup/sg"
)

// wideRange is the number of ports from which on a range is called large.
const wideRange = 100

// admin and data are ports that the documents name for administration and for
// databases and caches; web are those of front ends.
func admin() []uint16 { return []uint16{22, 3389} }
func web() []uint16   { return []uint16{80, 443} }
func data() []uint16  { return []uint16{1433, 3306, 5432, 6379} }

func (c *checker) group(g *sg.Group) {
	path := groupPath(g.ID)
	if c.unattached(g) && !g.Default {
		c.add("LI-12", Info, path, "the group is attached nowhere", "attach it, or delete it")
	}
	if serves(g, web()) && serves(g, data()) {
		c.add("LI-04", Warning, path, "the group opens web ports and database ports", "use a group per tier, and refer from one to the other")
	}
	for n, r := range g.Rules {
		before := len(c.found)
		c.rule(g, fmt.Sprintf("%s.rules[%d]", path, n), r)
		for i := range c.found[before:] {
			c.found[before+i].Rule = r.ID
		}
	}
}

func (c *checker) unattached(g *sg.Group) bool {
	for range c.s.Attached(g.ID) {
		return false
	}
	return true
}

// serves reports whether g lets anybody in on one of these ports alone.
func serves(g *sg.Group, ports []uint16) bool {
	for _, r := range g.ByDirection(sg.Ingress) {
		for _, p := range ports {
			if r.Protocol == sg.TCP && r.Ports == sg.Port(p) {
				return true
			}
		}
	}
	return false
}

func (c *checker) rule(g *sg.Group, path string, r sg.Rule) {
	in, everybody := r.Direction == sg.Ingress, r.Peer.IsAny()
	everything := r.Protocol == sg.AnyProtocol
	if r.Description == "" && r.Origin == "" {
		c.add("LI-03", Info, path, "the rule has no description", "say who needs it")
	}
	if in && everybody && everything {
		c.add("LI-01", Critical, path, "everything is open to everybody", "name the protocol, the ports and who may come")
	}
	if !in && everybody && everything {
		c.add("LI-08", Info, path, "anything may be sent anywhere", "restrict outbound traffic against exfiltration")
	}
	if in && everybody {
		c.openAdmin(path, r)
	}
	if in && everybody && r.Protocol.HasICMP() {
		c.add("LI-09", Warning, path, "ICMP is open to everybody", "allow it from internal networks only")
	}
	if size := int(r.Ports.Last) - int(r.Ports.First) + 1; in && r.Protocol.HasPorts() && size >= wideRange {
		c.add("LI-06", Warning, path, fmt.Sprintf("%d ports are open", size), "open the ports that are served")
	}
	if p, ok := r.Peer.CIDR(); ok {
		if groups := c.members[member{g.VPC, p.String()}]; len(groups) > 0 {
			c.add("LI-02", Info, path, p.String()+" is an interface of this policy", "refer to its group: "+join(groups))
		}
	}
}

// openAdmin finds SSH and RDP that everybody may reach.
func (c *checker) openAdmin(path string, r sg.Rule) {
	for _, p := range admin() {
		if r.Protocol == sg.AnyProtocol || r.Protocol == sg.TCP && r.Ports.Contains(p) {
			c.add("LI-05", Critical, path, fmt.Sprintf("port %d is open to everybody", p), "allow it from the addresses of administrators")
		}
	}
}

func join(ids []sg.GroupID) string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	var out []string
	for _, id := range slices.Compact(ids) {
		out = append(out, string(id))
	}
	return strings.Join(out, ", ")
}

// twins finds groups of a VPC that allow the same: one would do.
func (c *checker) twins() {
	type place struct {
		vpc       sg.VPCID
		stateless bool
		rules     string
	}
	first := map[place]sg.GroupID{}
	for g := range c.s.Groups() {
		if len(g.Rules) == 0 {
			continue
		}
		var keys []string
		for _, r := range g.Rules {
			k := r.Key()
			if id, ok := k.Peer.Group(); ok && id == g.ID {
				k.Peer = sg.PeerGroup(sg.SelfGroup)
			}
			keys = append(keys, fmt.Sprint(k))
		}
		slices.Sort(keys)
		p := place{g.VPC, g.Stateless, strings.Join(keys, "\n")}
		if other, ok := first[p]; ok {
			c.add("LI-07", Info, groupPath(g.ID), "the group allows the same as "+string(other), "use one group for both")
		} else {
			first[p] = g.ID
		}
	}
}
