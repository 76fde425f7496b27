package document

import (
	"bytes"
	"encoding/json"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

type (
	fileJSON struct {
		Profile    string          `json:"profile"`
		Groups     []groupJSON     `json:"security_groups"`
		Sets       []setJSON       `json:"ip_sets"`
		Interfaces []interfaceJSON `json:"interfaces"`
	}
	groupJSON struct {
		ID          sg.GroupID `json:"id"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		VPC         sg.VPCID   `json:"vpc_id"`
		Owner       sg.OwnerID `json:"owner"`
		Stateful    bool       `json:"stateful"`
		Inbound     []ruleJSON `json:"inbound_rules"`
		Outbound    []ruleJSON `json:"outbound_rules"`
	}
	ruleJSON struct {
		ID          sg.RuleID   `json:"id"`
		Protocol    sg.Protocol `json:"protocol"`
		Ports       string      `json:"port_range,omitempty"`
		Family      string      `json:"ip_version,omitempty"`
		ICMPType    *int        `json:"icmp_type,omitempty"`
		ICMPCode    *int        `json:"icmp_code,omitempty"`
		Source      string      `json:"source,omitempty"`
		Destination string      `json:"destination,omitempty"`
		Description string      `json:"description"`
	}
	setJSON struct {
		ID          sg.SetID    `json:"id"`
		Name        string      `json:"name"`
		Description string      `json:"description"`
		VPC         sg.VPCID    `json:"vpc_id,omitempty"`
		Owner       sg.OwnerID  `json:"owner"`
		Family      sg.Family   `json:"ip_version"`
		Entries     []entryJSON `json:"entries"`
	}
	entryJSON struct {
		CIDR        string `json:"cidr"`
		Description string `json:"description"`
	}
	interfaceJSON struct {
		ID      sg.InterfaceID `json:"id"`
		VPC     sg.VPCID       `json:"vpc_id"`
		Owner   sg.OwnerID     `json:"owner"`
		Kind    string         `json:"kind"`
		Addrs   []string       `json:"addresses"`
		Groups  []sg.GroupID   `json:"security_group_ids"`
		Exempt  []string       `json:"exempt"`
		Guard   bool           `json:"source_guard,omitempty"`
		Allowed []string       `json:"allowed_addresses,omitempty"`
	}
)

// Encode writes s as a document. Objects stand in order of id, both rule lists
// of every group are there, and rules keep their order and get their origin as
// ordinary rules: decoding the document gives a policy with the same meaning.
func Encode(s *policy.Snapshot) ([]byte, error) {
	file := fileJSON{Profile: s.Profile().Name, Groups: []groupJSON{}, Sets: []setJSON{}, Interfaces: []interfaceJSON{}}
	for g := range s.Groups() {
		file.Groups = append(file.Groups, encodeGroup(g))
	}
	for set := range s.Sets() {
		file.Sets = append(file.Sets, encodeSet(set))
	}
	for i := range s.Interfaces() {
		file.Interfaces = append(file.Interfaces, encodeInterface(i))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(file); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func encodeGroup(g *sg.Group) groupJSON {
	owner, _ := g.Scope.Owner()
	out := groupJSON{
		ID: g.ID, Name: g.Name, Description: g.Description, VPC: g.VPC, Owner: owner, Stateful: !g.Stateless,
		Inbound: []ruleJSON{}, Outbound: []ruleJSON{},
	}
	for _, r := range g.ByDirection(sg.Ingress) {
		out.Inbound = append(out.Inbound, encodeRule(r))
	}
	for _, r := range g.ByDirection(sg.Egress) {
		out.Outbound = append(out.Outbound, encodeRule(r))
	}
	return out
}

func encodeRule(r sg.Rule) ruleJSON {
	out := ruleJSON{ID: r.ID, Protocol: r.Protocol, Ports: r.Ports.String(), Description: r.Description}
	if r.Family != sg.FamilyAny {
		out.Family = r.Family.String()
	}
	if t, ok := r.ICMP.Type(); ok {
		n := int(t)
		out.ICMPType = &n
	}
	if c, ok := r.ICMP.Code(); ok {
		n := int(c)
		out.ICMPCode = &n
	}
	remote := ""
	if p, ok := r.Peer.CIDR(); ok {
		remote = p.String()
	} else if id, ok := r.Peer.Group(); ok {
		remote = string(id)
	} else if id, ok := r.Peer.Set(); ok {
		remote = string(id)
	}
	if r.Direction == sg.Egress {
		out.Destination = remote
	} else {
		out.Source = remote
	}
	return out
}

func encodeSet(s *ipset.Set) setJSON {
	owner, _ := s.Scope.Owner()
	out := setJSON{ID: s.ID, Name: s.Name, Description: s.Description, VPC: s.VPC, Owner: owner, Family: s.Family(), Entries: []entryJSON{}}
	for e := range s.All() {
		out.Entries = append(out.Entries, entryJSON{e.Prefix.String(), e.Description})
	}
	return out
}

func encodeInterface(i *sg.Interface) interfaceJSON {
	out := interfaceJSON{
		ID: i.ID, VPC: i.VPC, Owner: i.Owner, Kind: i.Kind, Guard: i.SourceGuard,
		Addrs: []string{}, Groups: []sg.GroupID{}, Exempt: []string{},
	}
	for _, p := range i.Addrs {
		out.Addrs = append(out.Addrs, p.String())
	}
	for _, p := range i.Allowed {
		out.Allowed = append(out.Allowed, p.String())
	}
	out.Groups = append(out.Groups, i.Groups...)
	out.Exempt = append(out.Exempt, i.Exempt...)
	return out
}
