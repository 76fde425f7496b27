package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

type (
	fileJSON struct {
		Profile    string          `json:"profile"`
		Groups     []groupJSON     `json:"security_groups"`
		Sets       []setJSON       `json:"ip_sets"`
		Instances  []instanceJSON  `json:"instances,omitempty"`
		Owners     []ownerJSON     `json:"owners,omitempty"`
		Interfaces []interfaceJSON `json:"interfaces"`
	}
	groupJSON struct {
		ID          sg.GroupID `json:"id"`
		Name        string     `json:"name"`
		Description string     `json:"description"`
		VPC         sg.VPCID   `json:"vpc_id"`
		Owner       sg.OwnerID `json:"owner"`
		Stateful    bool       `json:"stateful"`
		Default     bool       `json:"default,omitempty"`
		Created     string     `json:"created_at,omitempty"`
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
	instanceJSON struct {
		ID     sg.InstanceID `json:"id"`
		Owner  sg.OwnerID    `json:"owner"`
		Kind   string        `json:"kind"`
		Groups []sg.GroupID  `json:"security_group_ids"`
	}
	ownerJSON struct {
		ID     sg.OwnerID `json:"id"`
		Exempt []string   `json:"exempt"`
	}
	interfaceJSON struct {
		ID       sg.InterfaceID `json:"id"`
		VPC      sg.VPCID       `json:"vpc_id"`
		Owner    sg.OwnerID     `json:"owner"`
		Kind     string         `json:"kind"`
		Addrs    []string       `json:"addresses"`
		Groups   []sg.GroupID   `json:"security_group_ids"`
		Exempt   []string       `json:"exempt"`
		Instance sg.InstanceID  `json:"instance_id,omitempty"`
		Guard    bool           `json:"source_guard,omitempty"`
		Allowed  []string       `json:"allowed_addresses,omitempty"`
	}
)

// Encode writes s as a document. Objects stand in order of id, both rule lists
// of every group are there, and rules keep their order and get their origin as
// ordinary rules: decoding the document gives a policy with the same meaning.
// It fails with sg.ErrUnsupported for what a document can not say: a group or
// set whose id looks like an address or a @name or is that of another, and text
// that is not UTF-8.
func Encode(s *policy.Snapshot) ([]byte, error) {
	if err := encodable(s); err != nil {
		return nil, err
	}
	file := fileJSON{Profile: s.Profile().Name, Groups: []groupJSON{}, Sets: []setJSON{}, Interfaces: []interfaceJSON{}}
	for g := range s.Groups() {
		file.Groups = append(file.Groups, encodeGroup(g))
	}
	for set := range s.Sets() {
		file.Sets = append(file.Sets, encodeSet(set))
	}
	for n := range s.Instances() {
		file.Instances = append(file.Instances, instanceJSON{n.ID, n.Owner, n.Kind, append([]sg.GroupID{}, n.Groups...)})
	}
	for o := range s.Owners() {
		file.Owners = append(file.Owners, ownerJSON{o.ID, append([]string{}, o.Exempt...)})
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

// encodable reports what Decode would refuse, or read as something else.
func encodable(s *policy.Snapshot) error {
	var errs sg.Errors
	refuse := func(kind, id, field, value, why string) {
		errs.Add(fmt.Sprintf("%s[%q].%s", kind, id, field), value, sg.ErrUnsupported, why)
	}
	text := func(kind, id, field, value string) {
		if !utf8.ValidString(value) {
			refuse(kind, id, field, value, "not valid UTF-8")
		}
	}
	for g := range s.Groups() {
		id, owner := string(g.ID), ownerOf(g.Scope)
		if !isReference(id) {
			refuse("groups", id, "id", id, "looks like an address or a @name")
		}
		text("groups", id, "vpc", string(g.VPC))
		text("groups", id, "scope", owner)
		text("groups", id, "description", g.Description)
		if y := g.Created.UTC().Year(); y < 0 || y > 9999 {
			refuse("groups", id, "created", g.Created.String(), "the year does not have four digits")
		}
		for i, r := range g.Rules {
			text("groups", id, fmt.Sprintf("rules[%d].description", i), r.Description)
		}
	}
	for set := range s.Sets() {
		id := string(set.ID)
		if !isReference(id) {
			refuse("sets", id, "id", id, "looks like an address or a @name")
		}
		if _, ok := s.Group(sg.GroupID(id)); ok {
			refuse("sets", id, "id", id, "a group has the same id")
		}
		text("sets", id, "vpc", string(set.VPC))
		text("sets", id, "scope", ownerOf(set.Scope))
		text("sets", id, "description", set.Description)
		for e := range set.All() {
			text("sets", id, "entries", e.Description)
		}
	}
	for n := range s.Instances() {
		text("instances", string(n.ID), "owner", string(n.Owner))
		text("instances", string(n.ID), "kind", n.Kind)
	}
	for o := range s.Owners() {
		for n, e := range o.Exempt {
			text("owners", string(o.ID), fmt.Sprintf("exempt[%d]", n), e)
		}
	}
	for i := range s.Interfaces() {
		id := string(i.ID)
		text("interfaces", id, "vpc", string(i.VPC))
		text("interfaces", id, "owner", string(i.Owner))
		text("interfaces", id, "kind", i.Kind)
		for n, e := range i.Exempt {
			text("interfaces", id, fmt.Sprintf("exempt[%d]", n), e)
		}
	}
	return errs.Err()
}

func ownerOf(s sg.Scope) string {
	owner, _ := s.Owner()
	return string(owner)
}

func encodeGroup(g *sg.Group) groupJSON {
	owner, _ := g.Scope.Owner()
	out := groupJSON{
		ID: g.ID, Name: g.Name, Description: g.Description, VPC: g.VPC, Owner: owner, Stateful: !g.Stateless,
		Default: g.Default, Inbound: []ruleJSON{}, Outbound: []ruleJSON{},
	}
	if !g.Created.IsZero() {
		out.Created = g.Created.UTC().Format(time.RFC3339Nano)
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
	} else if r.Peer.IsAny() {
		remote = anyPeer
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
		ID: i.ID, VPC: i.VPC, Owner: i.Owner, Kind: i.Kind, Instance: i.Instance, Guard: i.SourceGuard,
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
