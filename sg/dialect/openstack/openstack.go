// Package openstack is the OpenStack Neutron dialect.
// Source: the Networking API v2.0 reference, security groups and rules.
package openstack

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/infra"
)

// Profile returns Neutron's semantics and default quotas: 10 groups per
// project and 100 rules per project, the latter counted per group here. A new
// group may send anything over IPv4 and IPv6 and receive nothing; the default
// group also receives from its own members. Groups may be stateless. Deleting
// a group deletes the rules that name it.
func Profile() sg.Profile {
	egress := func(origin string) []sg.Rule {
		var out []sg.Rule
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			out = append(out, sg.Rule{
				ID: sg.RuleID("default-egress-" + f.String()), Direction: sg.Egress, Family: f,
				Protocol: sg.AnyProtocol, Peer: sg.PeerAny(), Origin: origin,
			})
		}
		return out
	}
	var self []sg.Rule
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		self = append(self, sg.Rule{
			ID: sg.RuleID("default-self-" + f.String()), Direction: sg.Ingress, Family: f,
			Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup), Origin: "openstack: default group",
		})
	}
	return sg.Profile{
		Name:           "openstack",
		AllowStateless: true,
		OnReferenced:   sg.Cascade,
		NewGroup:       egress("openstack: new group"),
		DefaultGroup:   append(self, egress("openstack: default group")...),
		Platform:       infra.Unfiltered("openstack: not filtered"),
		Quota:          sg.Quota{GroupsPerOwner: 10, RulesPerGroup: 100},
	}
}
