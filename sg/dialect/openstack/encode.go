package openstack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"example.com/secgroup/sg"
)

type (
	groupsJSON struct {
		Groups []groupJSON `json:"security_groups"`
	}
	groupJSON struct {
		ID          sg.GroupID `json:"id"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		Project     sg.OwnerID `json:"project_id"`
		Tenant      sg.OwnerID `json:"tenant_id"`
		Stateful    bool       `json:"stateful"`
		Created     string     `json:"created_at,omitempty"`
		Rules       []ruleJSON `json:"security_group_rules"`
	}
	ruleJSON struct {
		ID          sg.RuleID   `json:"id"`
		Group       sg.GroupID  `json:"security_group_id"`
		Project     sg.OwnerID  `json:"project_id"`
		Tenant      sg.OwnerID  `json:"tenant_id"`
		Direction   string      `json:"direction"`
		Ethertype   string      `json:"ethertype"`
		Protocol    *string     `json:"protocol"`
		Min         *int        `json:"port_range_min"`
		Max         *int        `json:"port_range_max"`
		Prefix      *string     `json:"remote_ip_prefix"`
		RemoteGroup *sg.GroupID `json:"remote_group_id"`
		RemoteSet   *sg.SetID   `json:"remote_address_group_id"`
		Description string      `json:"description"`
	}
)

// Encode writes groups as the Networking API lists them, groups and rules in
// the order given; [Decode] shows the form.
//
// It fails with sg.ErrUnsupported, at paths such as
// groups["sg-web"].rules[3].family, for what Neutron can not say: rules for
// both IP versions (an ethertype is one, so two rules with an id each say it),
// port 0 but for all ports, protocols that it has in IPv6 only in a rule for
// IPv4, VPCs, ids with blanks, text that is not UTF-8.
//
// Listed are groups that are a default group by name or by [sg.Group].Default
// but not by both.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	var e encoder
	e.check(groups)
	if err := e.errs.Err(); err != nil {
		return nil, nil, err
	}
	out := groupsJSON{Groups: []groupJSON{}}
	for _, g := range groups {
		out.Groups = append(out.Groups, e.group(g))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(out)
	return b.Bytes(), e.warnings, err
}

type encoder struct {
	errs     sg.Errors
	warnings []sg.Warning
}

func groupPath(g *sg.Group) string { return fmt.Sprintf("groups[%q]", string(g.ID)) }

// check reports invalid groups and what Neutron can not say.
func (e *encoder) check(groups []*sg.Group) {
	seen := map[sg.GroupID]bool{}
	for i, g := range groups {
		if g == nil {
			e.errs.Add(fmt.Sprintf("groups[%d]", i), nil, sg.ErrRequired, "nil")
			continue
		}
		path := groupPath(g)
		if seen[g.ID] {
			e.errs.Add(path, nil, sg.ErrDuplicate, "another group has this id")
		}
		seen[g.ID] = true
		if err := g.Validate(); err != nil {
			e.errs.Merge(path, err)
			continue
		}
		owner, _ := g.Scope.Owner()
		e.checkID(path+".id", string(g.ID))
		e.checkText(path+".description", g.Description)
		e.checkText(path+".scope", string(owner))
		if g.VPC != "" {
			e.unsupported(path+".vpc", string(g.VPC), "Neutron has no VPC: the group would stand in another one")
		}
		if y := g.Created.UTC().Year(); y < 0 || y > 9999 {
			e.unsupported(path+".created", g.Created, "a year has four digits")
		}
		for i, r := range g.Rules {
			e.checkRule(fmt.Sprintf("%s.rules[%d]", path, i), r)
		}
	}
}

func (e *encoder) checkRule(path string, r sg.Rule) {
	e.checkText(path+".description", r.Description)
	switch f := r.EffectiveFamily(); {
	case f == sg.FamilyAny:
		e.unsupported(path+".family", r.Family, "a rule is for IPv4 or for IPv6: write two")
	case f == sg.IPv4 && onlyIPv6(r.Protocol):
		e.unsupported(path+".protocol", r.Protocol, "exists in IPv6 only")
	}
	if r.Protocol.HasPorts() && r.Ports.First == 0 && !r.Ports.IsAll() {
		e.unsupported(path+".ports", r.Ports, "port 0 can not be named")
	}
	if id, ok := r.Peer.Group(); ok {
		e.checkID(path+".peer", string(id))
	}
	if id, ok := r.Peer.Set(); ok {
		e.checkID(path+".peer", string(id))
	}
}

func (e *encoder) unsupported(path string, value any, why string) {
	e.errs.Add(path, value, sg.ErrUnsupported, why)
}

func (e *encoder) checkText(path, s string) {
	if !utf8.ValidString(s) {
		e.unsupported(path, s, "not valid UTF-8")
	}
}

func (e *encoder) checkID(path, s string) {
	switch {
	case hasBlank(s):
		e.unsupported(path, s, "an id of Neutron has no blanks")
	case s == string(sg.SelfGroup):
		e.unsupported(path, s, "no id of Neutron")
	}
}

func (e *encoder) group(g *sg.Group) groupJSON {
	path := groupPath(g)
	if g.Default != (g.Name == defaultName) {
		e.warnings = append(e.warnings, sg.Warning{Path: path + ".default", Detail: `the default group, and no other, is named "default"`})
	}
	owner, _ := g.Scope.Owner()
	out := groupJSON{
		ID: g.ID, Name: g.Name, Description: g.Description, Project: owner, Tenant: owner, Stateful: !g.Stateless,
		Rules: []ruleJSON{},
	}
	if !g.Created.IsZero() {
		out.Created = g.Created.UTC().Format(time.RFC3339Nano)
	}
	for _, r := range g.Rules {
		out.Rules = append(out.Rules, rule(g, owner, r))
	}
	return out
}

func rule(g *sg.Group, owner sg.OwnerID, r sg.Rule) ruleJSON {
	out := ruleJSON{
		ID: r.ID, Group: g.ID, Project: owner, Tenant: owner, Direction: r.Direction.String(), Ethertype: "IPv4",
		Description: r.Description,
	}
	if r.EffectiveFamily() == sg.IPv6 {
		out.Ethertype = "IPv6"
	}
	if r.Protocol != sg.AnyProtocol {
		out.Protocol = new(protocolName(r.Protocol))
	}
	if r.Protocol.HasPorts() && !r.Ports.IsAll() {
		out.Min, out.Max = new(int(r.Ports.First)), new(int(r.Ports.Last))
	}
	if t, ok := r.ICMP.Type(); ok {
		out.Min = new(int(t))
	}
	if c, ok := r.ICMP.Code(); ok {
		out.Max = new(int(c))
	}
	if p, ok := r.Peer.CIDR(); ok {
		out.Prefix = new(p.String())
	}
	if id, ok := r.Peer.Group(); ok {
		out.RemoteGroup = &id
	}
	if id, ok := r.Peer.Set(); ok {
		out.RemoteSet = &id
	}
	return out
}
