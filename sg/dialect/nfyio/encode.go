package nfyio

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type (
	groupJSON struct {
		ID          sg.GroupID `json:"id"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		VPC         sg.VPCID   `json:"vpc_id,omitempty"`
		Inbound     []ruleJSON `json:"inbound_rules"`
		Outbound    []ruleJSON `json:"outbound_rules"`
		Created     string     `json:"created_at,omitempty"`
	}
	ruleJSON struct {
		Protocol    string `json:"protocol"`
		Ports       string `json:"port_range,omitempty"`
		Source      string `json:"source,omitempty"`
		Destination string `json:"destination,omitempty"`
		Description string `json:"description"`
	}
)

type encoder struct {
	*wire.Writer
	known map[sg.GroupID]bool
}

func (e *encoder) group(g *sg.Group) groupJSON {
	out := groupJSON{
		ID: g.ID, Name: g.Name, Description: g.Description, VPC: g.VPC, Created: wire.Time(g.Created),
		Inbound: []ruleJSON{}, Outbound: []ruleJSON{},
	}
	for n, r := range g.ByDirection(sg.Ingress) {
		out.Inbound = append(out.Inbound, e.rule(g, n, r))
	}
	for n, r := range g.ByDirection(sg.Egress) {
		out.Outbound = append(out.Outbound, e.rule(g, n, r))
	}
	return out
}

func (e *encoder) rule(g *sg.Group, n int, r sg.Rule) ruleJSON {
	out := ruleJSON{Protocol: r.Protocol.String(), Ports: r.Ports.String(), Description: r.Description}
	switch r.Protocol {
	case sg.TCP, sg.UDP, sg.ICMP:
	case sg.AnyProtocol:
		out.Protocol = "all"
	default:
		e.Refuse(wire.RulePath(g, n, "protocol"), r.Protocol.String(), "only tcp, udp, icmp and all")
	}
	if !r.ICMP.IsAny() {
		e.Refuse(wire.RulePath(g, n, "icmp"), r.ICMP.String(), "the format has no ICMP types")
	}
	if r.Direction == sg.Egress {
		out.Destination = e.remote(g, n, r)
	} else {
		out.Source = e.remote(g, n, r)
	}
	return out
}

func (e *encoder) remote(g *sg.Group, n int, r sg.Rule) string {
	peer := wire.RulePath(g, n, "peer")
	if id, ok := r.Peer.Group(); ok {
		switch {
		case isAddress(string(id)):
			e.Refuse(peer, r.Peer.String(), "the id looks like an address")
		case !isGroupID(string(id)) && !e.known[id]:
			e.Refuse(peer, r.Peer.String(), `the group is not among those written, and its id does not begin with "sg_"`)
		}
		if any := r; r.Family != sg.FamilyAny {
			if any.Family = sg.FamilyAny; any.Key() != r.Key() {
				e.Refuse(wire.RulePath(g, n, "family"), r.Family.String(), "a rule for a group is for both families")
			}
		}
		return string(id)
	}
	p := wire.CIDR(r)
	switch {
	case p.IsValid():
		return p.String()
	case r.Peer.IsAny():
		e.Refuse(wire.RulePath(g, n, "family"), r.Family.String(), `any address is written "0.0.0.0/0" or "::/0", one rule each`)
	default:
		e.Refuse(peer, r.Peer.String(), "only a CIDR or a group")
	}
	return ""
}
