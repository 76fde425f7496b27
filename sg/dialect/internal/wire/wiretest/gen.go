package wiretest

import (
	"fmt"
	"net/netip"
	"time"

	"pgregory.net/rapid"

	"example.com/secgroup/sg"
)

// Spec makes arbitrary groups into some that a format can say. A nil function
// changes nothing.
type Spec struct {
	Rule    func(r sg.Rule) sg.Rule // called for each rule; what then is not valid is left out
	Group   func(g *sg.Group)
	IDs     []sg.GroupID // of groups and of peers
	RuleIDs bool         // replace rule ids by those that the rules get by what they say
}

// Groups draws up to three valid groups with ids of their own.
func Groups(s Spec) *rapid.Generator[[]*sg.Group] {
	ids := s.IDs
	if ids == nil {
		ids = []sg.GroupID{"sg_web", "sg_db", "web", "default", "10.0.0.0/8", "::1", "a b", "@x", "sg_", "café", `"]`, "x\u2028y"}
	}
	return rapid.Custom(func(t *rapid.T) []*sg.Group {
		groups := []*sg.Group{}
		for _, id := range rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 0, 3, rapid.ID).Draw(t, "ids") {
			g := &sg.Group{ID: id, Name: string(id), Description: rapid.String().Draw(t, "description")}
			if rapid.IntRange(0, 3).Draw(t, "named") == 0 {
				g.Name = rapid.SampledFrom([]string{"web", "default", "other name"}).Draw(t, "name")
			}
			if rapid.IntRange(0, 2).Draw(t, "odd") == 0 {
				g.VPC = rapid.SampledFrom([]sg.VPCID{"", "vpc_1", "vpc_2"}).Draw(t, "vpc")
				g.Scope = sg.User(sg.OwnerID(rapid.SampledFrom([]string{"", "alice"}).Draw(t, "owner")))
				g.Stateless, g.Default = rapid.Bool().Draw(t, "stateless"), rapid.Bool().Draw(t, "default")
				g.Created = time.Unix(rapid.Int64Range(-1<<37, 1<<39).Draw(t, "created"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
			}
			if s.Group != nil {
				s.Group(g)
			}
			drawRules(t, g, s, ids)
			groups = append(groups, g)
		}
		return groups
	})
}

func drawRules(t *rapid.T, g *sg.Group, s Spec, ids []sg.GroupID) {
	seen := map[sg.Rule]bool{}
	for n := range rapid.IntRange(0, 6).Draw(t, "rules") {
		r := drawRule(t, ids)
		if s.Rule != nil {
			r = s.Rule(r)
		}
		r.ID = sg.RuleID(fmt.Sprint("rule ", n))
		if r.Validate() != nil || seen[r.Key()] {
			continue
		}
		seen[r.Key()] = true
		if s.RuleIDs {
			r.ID = ""
		}
		g.Rules = append(g.Rules, r)
	}
	sg.AssignIDs(g.Rules)
}

func drawRule(t *rapid.T, ids []sg.GroupID) sg.Rule {
	r := sg.Rule{
		Direction:   rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress}).Draw(t, "direction"),
		Family:      rapid.SampledFrom([]sg.Family{sg.FamilyAny, sg.FamilyAny, sg.IPv4, sg.IPv6}).Draw(t, "family"),
		Protocol:    rapid.SampledFrom([]sg.Protocol{sg.AnyProtocol, sg.TCP, sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, sg.SCTP, 47, 200}).Draw(t, "protocol"),
		Description: rapid.OneOf(rapid.Just(""), rapid.String()).Draw(t, "text"),
	}
	if r.Protocol.HasPorts() {
		ports := []sg.PortRange{sg.AllPorts(), sg.Port(22), sg.Port(65535), {First: 0, Last: 80}, {First: 1, Last: 65535}, {First: 8000, Last: 9000}}
		r.Ports = rapid.SampledFrom(ports).Draw(t, "ports")
	}
	if r.Protocol.HasICMP() {
		r.ICMP = rapid.SampledFrom([]sg.ICMPMatch{{}, {}, sg.ICMPType(0), sg.ICMPType(8), sg.ICMPTypeCode(3, 4), sg.ICMPTypeCode(255, 255)}).Draw(t, "icmp")
	}
	switch rapid.IntRange(0, 6).Draw(t, "peer") {
	case 0:
		r.Peer = sg.PeerAny()
	case 1:
		r.Peer = sg.PeerSet("ips-office")
	case 2, 3:
		r.Peer = sg.PeerGroup(rapid.SampledFrom(append([]sg.GroupID{"elsewhere", "sg_elsewhere"}, ids...)).Draw(t, "group"))
	default:
		p := rapid.SampledFrom([]string{"0.0.0.0/0", "::/0", "10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "fe80::1/128"}).Draw(t, "cidr")
		r.Peer = sg.PeerCIDR(netip.MustParsePrefix(p))
	}
	return r
}
