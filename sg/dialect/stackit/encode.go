package stackit

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

type (
	groupJSON struct {
		ID          sg.GroupID `json:"id"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		Stateful    bool       `json:"stateful"`
		Created     string     `json:"createdAt,omitempty"`
		Rules       []ruleJSON `json:"rules"`
	}
	ruleJSON struct {
		ID          sg.RuleID     `json:"id"`
		Direction   sg.Direction  `json:"direction"`
		Family      string        `json:"ethertype,omitempty"`
		Protocol    *protocolJSON `json:"protocol,omitempty"`
		Ports       *portsJSON    `json:"portRange,omitempty"`
		ICMP        *icmpJSON     `json:"icmpParameters,omitempty"`
		CIDR        string        `json:"ipRange,omitempty"`
		RemoteGroup sg.GroupID    `json:"remoteSecurityGroupId,omitempty"`
		Description string        `json:"description"`
		Group       sg.GroupID    `json:"securityGroupId"`
	}
	protocolJSON struct {
		Name   string `json:"name,omitempty"`
		Number int    `json:"number"`
	}
	portsJSON struct {
		Min uint16 `json:"min"`
		Max uint16 `json:"max"`
	}
	icmpJSON struct {
		Type uint8 `json:"type"`
		Code uint8 `json:"code"`
	}
)

type encoder struct{ *wire.Writer }

func (e encoder) group(g *sg.Group) groupJSON {
	out := groupJSON{
		ID: g.ID, Name: g.Name, Description: g.Description, Stateful: !g.Stateless, Created: wire.Time(g.Created),
		Rules: []ruleJSON{},
	}
	for n, r := range g.Rules {
		out.Rules = append(out.Rules, e.rule(g, n, r))
	}
	return out
}

func (e encoder) rule(g *sg.Group, n int, r sg.Rule) ruleJSON {
	out := ruleJSON{ID: r.ID, Direction: r.Direction, Description: r.Description, Group: g.ID}
	switch familyOf(r) {
	case sg.IPv4:
		out.Family = "IPv4"
	case sg.IPv6:
		out.Family = "IPv6"
	}
	if r.Protocol != sg.AnyProtocol {
		out.Protocol = &protocolJSON{Name: nameOf(r.Protocol), Number: int(r.Protocol)}
	}
	if !r.Ports.IsZero() && !r.Ports.IsAll() {
		out.Ports = &portsJSON{r.Ports.First, r.Ports.Last}
	}
	if typ, ok := r.ICMP.Type(); ok {
		code, ok := r.ICMP.Code()
		if !ok {
			e.Refuse(wire.RulePath(g, n, "icmp"), r.ICMP.String(), "a type needs its code")
		}
		out.ICMP = &icmpJSON{typ, code}
	}
	out.RemoteGroup, _ = r.Peer.Group()
	if p, ok := r.Peer.CIDR(); ok {
		out.CIDR = p.String()
	} else if _, ok := r.Peer.Set(); ok {
		e.Refuse(wire.RulePath(g, n, "peer"), r.Peer.String(), "only a CIDR, a group, or any")
	}
	return out
}

// nameOf returns what the API calls p, or "".
func nameOf(p sg.Protocol) string {
	for _, n := range protocolNames() {
		if n.p == p {
			return n.name
		}
	}
	return ""
}
