package hypervisor

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type (
	groupJSON struct {
		ID          sg.GroupID  `json:"id"`
		Name        string      `json:"name"`
		Description string      `json:"description"`
		User        *sg.OwnerID `json:"user"` // null: global
		Rules       []ruleJSON  `json:"rules"`
	}
	ruleJSON struct {
		ID          sg.RuleID  `json:"id"`
		Direction   string     `json:"direction"`
		Protocol    string     `json:"protocol"`
		PortMin     uint16     `json:"port_range_min,omitempty"`
		PortMax     uint16     `json:"port_range_max,omitempty"`
		Family      string     `json:"ip_version"`
		SourceType  string     `json:"source_type"`
		CIDR        string     `json:"cidr,omitempty"`
		RemoteGroup sg.GroupID `json:"remote_group,omitempty"`
		IPSet       sg.SetID   `json:"ip_set,omitempty"`
		Description string     `json:"description"`
	}
)

type encoder struct{ *wire.Writer }

func (e encoder) group(g *sg.Group) groupJSON {
	out := groupJSON{ID: g.ID, Name: g.Name, Description: g.Description, Rules: []ruleJSON{}}
	if owner, ok := g.Scope.Owner(); ok {
		out.User = &owner
	}
	for n, r := range g.Rules {
		out.Rules = append(out.Rules, e.rule(g, n, r))
	}
	return out
}

func (e encoder) rule(g *sg.Group, n int, r sg.Rule) ruleJSON {
	refuse := func(field, value, why string) { e.Refuse(wire.RulePath(g, n, field), value, why) }
	out := ruleJSON{ID: r.ID, Direction: "Ingress", Description: r.Description, SourceType: sourceOf(r.Peer)}
	if r.Direction == sg.Egress {
		out.Direction = "Egress"
	}
	switch r.Protocol {
	case sg.TCP:
		out.Protocol = "TCP"
	case sg.UDP:
		out.Protocol = "UDP"
	case sg.ICMP:
		out.Protocol = "ICMP"
	case sg.ICMPv6:
		out.Protocol = "ICMPv6"
	case sg.AnyProtocol:
		out.Protocol = "All"
	default:
		refuse("protocol", r.Protocol.String(), "only TCP, UDP, ICMP, ICMPv6 and All")
	}
	if !r.ICMP.IsAny() {
		refuse("icmp", r.ICMP.String(), "the format has no ICMP types")
	}
	if !r.Ports.IsZero() && r.Ports.First == 0 {
		refuse("ports", r.Ports.String(), "ports begin at 1")
	}
	out.PortMin, out.PortMax = r.Ports.First, r.Ports.Last
	switch r.EffectiveFamily() {
	case sg.IPv4:
		out.Family = "IPv4"
	case sg.IPv6:
		out.Family = "IPv6"
	default:
		refuse("family", r.Family.String(), "a rule is for IPv4 or IPv6; write two")
	}
	if p := wire.CIDR(r); p.IsValid() {
		out.CIDR = p.String()
	}
	out.RemoteGroup, _ = r.Peer.Group()
	out.IPSet, _ = r.Peer.Set()
	return out
}
