package aws

import (
	"cmp"
	"net/netip"
	"slices"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type (
	groupsJSON struct {
		Groups []groupJSON `json:"SecurityGroups"`
	}
	groupJSON struct {
		ID          sg.GroupID        `json:"GroupId"`
		Name        string            `json:"GroupName"`
		Description string            `json:"Description"`
		Owner       sg.OwnerID        `json:"OwnerId,omitempty"`
		VPC         sg.VPCID          `json:"VpcId,omitempty"`
		Ingress     []*permissionJSON `json:"IpPermissions"`
		Egress      []*permissionJSON `json:"IpPermissionsEgress"`
	}
	permissionJSON struct {
		trafficJSON
		IPv4   []ipv4JSON  `json:"IpRanges"`
		IPv6   []ipv6JSON  `json:"Ipv6Ranges"`
		Lists  []listJSON  `json:"PrefixListIds"`
		Groups []groupPeer `json:"UserIdGroupPairs"`
	}
	trafficJSON struct {
		Protocol string `json:"IpProtocol"`
		From     *int   `json:"FromPort,omitempty"`
		To       *int   `json:"ToPort,omitempty"`
	}
	ipv4JSON struct {
		CIDR        netip.Prefix `json:"CidrIp"`
		Description string       `json:"Description,omitempty"`
	}
	ipv6JSON struct {
		CIDR        netip.Prefix `json:"CidrIpv6"`
		Description string       `json:"Description,omitempty"`
	}
	listJSON struct {
		ID          sg.SetID `json:"PrefixListId"`
		Description string   `json:"Description,omitempty"`
	}
	groupPeer struct {
		ID          sg.GroupID `json:"GroupId"`
		Owner       sg.OwnerID `json:"UserId,omitempty"`
		Description string     `json:"Description,omitempty"`
	}
	rulesJSON struct {
		Rules []ruleJSON `json:"SecurityGroupRules"`
	}
	ruleJSON struct {
		ID     sg.RuleID  `json:"SecurityGroupRuleId"`
		Group  sg.GroupID `json:"GroupId"`
		Owner  sg.OwnerID `json:"GroupOwnerId,omitempty"`
		Egress bool       `json:"IsEgress"`
		trafficJSON
		IPv4        string     `json:"CidrIpv4,omitempty"`
		IPv6        string     `json:"CidrIpv6,omitempty"`
		List        sg.SetID   `json:"PrefixListId,omitempty"`
		Peer        *groupPeer `json:"ReferencedGroupInfo,omitempty"`
		Description string     `json:"Description,omitempty"`
	}
)

// Encode writes groups as describe-security-groups answers; [Decode] shows the
// form. The order of the rules of a group does not show: rules that share
// protocol and ports are one permission, permissions stand in order of
// protocol number (-1 first), FromPort and ToPort, and the peers of each in
// order of address or id.
//
// It fails with sg.ErrUnsupported, at paths such as
// groups["sg-web"].rules[3].peer, for what AWS can not say: stateless groups,
// SCTP rules for some ports, rules for any peer of both families (two rules
// say it), rules for one family whose peer is a group or prefix list, text that
// is not UTF-8.
//
// Listed are rule ids other than those that Decode gives (see [EncodeRules]),
// times of creation, and groups that are a default group by name or by
// [sg.Group].Default but not by both.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	has := place()
	has.RuleIDs = false
	e := newEncoder(groups, has)
	out := groupsJSON{Groups: []groupJSON{}}
	for _, g := range e.groups {
		e.warn(g.Default != (g.Name == defaultName), g, "default", `the default group, and no other, is named "default"`)
		out.Groups = append(out.Groups, groupJSON{
			ID: g.ID, Name: g.Name, Description: g.Description, Owner: e.owners[g.ID], VPC: g.VPC,
			Ingress: e.permissions(g, sg.Ingress), Egress: e.permissions(g, sg.Egress),
		})
	}
	return e.Result(out)
}

// EncodeRules writes the rules of groups as describe-security-group-rules
// answers; [DecodeRules] shows the form. Groups and rules keep their order. It
// fails where [Encode] does, and for a group without rules, which would be
// lost whole. Listed are names other than the id, descriptions, VPCs, times of
// creation and which groups are default ones.
func EncodeRules(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	e := newEncoder(groups, place())
	out := rulesJSON{Rules: []ruleJSON{}}
	for _, g := range e.groups {
		if len(g.Rules) == 0 {
			e.Refuse(wire.Path(g)+".rules", nil, "a list of rules can not tell of a group without any")
		}
		e.warn(g.Name != string(g.ID), g, "name", "not kept")
		e.warn(g.Description != "", g, "description", "not kept")
		e.warn(g.VPC != "", g, "vpc", "not kept")
		e.warn(g.Default, g, "default", "not kept")
		for _, r := range g.Rules {
			out.Rules = append(out.Rules, e.rule(g, r))
		}
	}
	return e.Result(out)
}

// place is what AWS has a place for.
func place() wire.Has { return wire.Has{VPC: true, Owner: true, Default: true, RuleIDs: true} }

type encoder struct {
	*wire.Writer
	groups []*sg.Group // those that are valid
	owners map[sg.GroupID]sg.OwnerID
}

// newEncoder checks groups and notes what AWS can not say.
func newEncoder(groups []*sg.Group, has wire.Has) *encoder {
	e := &encoder{Writer: wire.Check(groups, has), owners: map[sg.GroupID]sg.OwnerID{}}
	for _, g := range groups {
		if g == nil || g.Validate() != nil {
			continue // told by Check
		}
		e.groups = append(e.groups, g)
		e.owners[g.ID], _ = g.Scope.Owner()
		for n, r := range g.Rules {
			e.checkRule(g, n, r)
		}
	}
	return e
}

func (e *encoder) checkRule(g *sg.Group, n int, r sg.Rule) {
	if r.Protocol == sg.SCTP && !r.Ports.IsAll() {
		e.Refuse(wire.RulePath(g, n, "ports"), r.Ports, "AWS opens every port of a protocol other than TCP and UDP")
	}
	switch kind := r.Peer.Kind(); {
	case kind == sg.PeerIsAny && r.EffectiveFamily() == sg.FamilyAny:
		e.Refuse(wire.RulePath(g, n, "peer"), r.Peer, "write one rule for 0.0.0.0/0 and one for ::/0")
	case (kind == sg.PeerIsGroup || kind == sg.PeerIsSet) && r.EffectiveFamily() != r.Protocol.Family():
		e.Refuse(wire.RulePath(g, n, "family"), r.Family, "a rule for a group or prefix list is for both families")
	}
}

// warn lists a field of a group that carries a value and is not written.
func (e *encoder) warn(lost bool, g *sg.Group, field, why string) {
	if lost {
		e.Warn(wire.Path(g)+"."+field, why)
	}
}

// asDecoded returns r with its peer as Decode makes it.
func asDecoded(r sg.Rule) sg.Rule {
	if p := wire.CIDR(r); p.IsValid() {
		r.Peer = sg.PeerCIDR(p)
	}
	return r
}

// permissions returns the rules of g in one direction, grouped.
func (e *encoder) permissions(g *sg.Group, d sg.Direction) []*permissionJSON {
	var rules []sg.Rule
	for _, r := range g.ByDirection(d) {
		rules = append(rules, asDecoded(r))
	}
	slices.SortFunc(rules, func(a, b sg.Rule) int { return cmp.Or(compareTraffic(a, b), comparePeers(a.Peer, b.Peer)) })
	out := []*permissionJSON{}
	for i, r := range rules {
		if i == 0 || compareTraffic(rules[i-1], r) != 0 {
			p := &permissionJSON{trafficJSON: traffic(r), IPv4: []ipv4JSON{}, IPv6: []ipv6JSON{}, Lists: []listJSON{}, Groups: []groupPeer{}}
			if p.Protocol != "tcp" && p.Protocol != "udp" && !r.Protocol.HasICMP() {
				p.From, p.To = nil, nil
			}
			out = append(out, p)
		}
		e.addPeer(out[len(out)-1], r)
	}
	return out
}

func compareTraffic(a, b sg.Rule) int {
	x, y := traffic(a), traffic(b)
	return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(*x.From, *y.From), cmp.Compare(*x.To, *y.To))
}

func comparePeers(a, b sg.Peer) int {
	p, _ := a.CIDR()
	q, _ := b.CIDR()
	return cmp.Or(p.Compare(q), cmp.Compare(a.String(), b.String()))
}

// traffic returns the protocol and ports of r, -1 where there are none.
func traffic(r sg.Rule) trafficJSON {
	from, to := -1, -1
	switch {
	case r.Protocol == sg.TCP, r.Protocol == sg.UDP:
		from, to = int(r.Ports.First), int(r.Ports.Last)
	case r.Protocol.HasICMP():
		if t, ok := r.ICMP.Type(); ok {
			from = int(t)
		}
		if c, ok := r.ICMP.Code(); ok {
			to = int(c)
		}
	}
	return trafficJSON{Protocol: protocolName(r.Protocol), From: &from, To: &to}
}

func (e *encoder) addPeer(p *permissionJSON, r sg.Rule) {
	if cidr, ok := r.Peer.CIDR(); ok && cidr.Addr().Is4() {
		p.IPv4 = append(p.IPv4, ipv4JSON{cidr, r.Description})
	} else if ok {
		p.IPv6 = append(p.IPv6, ipv6JSON{cidr, r.Description})
	}
	if id, ok := r.Peer.Set(); ok {
		p.Lists = append(p.Lists, listJSON{id, r.Description})
	}
	if id, ok := r.Peer.Group(); ok {
		p.Groups = append(p.Groups, groupPeer{id, e.owners[id], r.Description})
	}
}

func (e *encoder) rule(g *sg.Group, r sg.Rule) ruleJSON {
	out := ruleJSON{
		ID: r.ID, Group: g.ID, Owner: e.owners[g.ID], Egress: r.Direction == sg.Egress, trafficJSON: traffic(r), Description: r.Description,
	}
	peer := asDecoded(r).Peer
	if p, ok := peer.CIDR(); ok && p.Addr().Is4() {
		out.IPv4 = p.String()
	} else if ok {
		out.IPv6 = p.String()
	}
	out.List, _ = peer.Set()
	if id, ok := peer.Group(); ok {
		out.Peer = &groupPeer{ID: id, Owner: e.owners[id]}
	}
	return out
}
