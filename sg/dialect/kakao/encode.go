package kakao

import (
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type (
	groupJSON struct {
		ID          string     `json:"id,omitempty"` // if it is not the name
		Name        string     `json:"name"`
		Description string     `json:"description"`
		VPC         sg.VPCID   `json:"vpc,omitempty"`
		Inbound     []ruleJSON `json:"inbound_rules"`
		Outbound    []ruleJSON `json:"outbound_rules"`
	}
	ruleJSON struct {
		Protocol    string `json:"protocol"`
		Source      string `json:"source,omitempty"`
		Destination string `json:"destination,omitempty"`
		Port        string `json:"port"`
		Description string `json:"description"`
	}
)

type encoder struct {
	*wire.Writer
	names names
	byID  map[sg.GroupID]*sg.Group
}

func (e *encoder) group(g *sg.Group) groupJSON {
	out := groupJSON{Name: g.Name, Description: g.Description, VPC: g.VPC, Inbound: []ruleJSON{}, Outbound: []ruleJSON{}}
	if string(g.ID) != g.Name {
		out.ID = string(g.ID)
	}
	if g.Default != (g.Name == defaultName) {
		e.Refuse(wire.Path(g)+".default", g.Default, `the default group is the one named "default"`)
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
	out := ruleJSON{Protocol: strings.ToUpper(r.Protocol.String()), Port: r.Ports.String(), Description: r.Description}
	switch r.Protocol {
	case sg.TCP, sg.UDP, sg.ICMP:
	case sg.AnyProtocol:
		out.Protocol, out.Port = "ALL", "ALL"
	default:
		e.Refuse(wire.RulePath(g, n, "protocol"), r.Protocol.String(), "only TCP, UDP, ICMP and ALL")
	}
	if r.Ports.IsAll() {
		out.Port = "ALL"
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
	if id, ok := r.Peer.Group(); ok {
		if any := r; r.Family != sg.FamilyAny {
			if any.Family = sg.FamilyAny; any.Key() != r.Key() {
				e.Refuse(wire.RulePath(g, n, "family"), r.Family.String(), "a rule for a group is for both families")
			}
		}
		return "@" + e.name(g, n, id)
	}
	p := wire.CIDR(r)
	switch {
	case p.IsValid():
		return p.String()
	case r.Peer.IsAny():
		e.Refuse(wire.RulePath(g, n, "family"), r.Family.String(), `any address is written "0.0.0.0/0" or "::/0", one rule each`)
	default:
		e.Refuse(wire.RulePath(g, n, "peer"), r.Peer.String(), "only a CIDR or a group")
	}
	return ""
}

// name returns what a rule of g calls the group id.
func (e *encoder) name(g *sg.Group, n int, id sg.GroupID) string {
	name := string(id)
	remote, ok := e.byID[id]
	if ok {
		name = remote.Name
	}
	if found, many := e.names.find(name, g.VPC); many || found != "" && found != id {
		e.Refuse(wire.RulePath(g, n, "peer"), "group "+string(id), "its name means another group here")
	}
	return name
}
