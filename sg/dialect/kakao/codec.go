package kakao

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// defaultName is the name of the group that every project has.
const defaultName = "default"

// Decode reads security groups as the tables of KakaoCloud's document
// "Security Group" show them, in JSON. A document is one group,
//
//	{"name": "web", "description": "", "vpc": "vpc-1",
//	 "inbound_rules":  [{"protocol": "TCP", "source": "@default", "port": "1000-2000", "description": ""}],
//	 "outbound_rules": [{"protocol": "ALL", "destination": "0.0.0.0/0", "port": "ALL", "description": ""}]}
//
// or several, {"security_groups": [...]}.
//
//   - Protocols are TCP, UDP, ICMP and ALL, in any letter case (RU-06). TCP and
//     UDP need a port, a range or "ALL" (RU-14). For ICMP and ALL the port is
//     absent, "" or "ALL"; a number is a fault, since it would be ignored (RU-13).
//   - A source or destination is a CIDR or an address, or @name (RU-20). A name
//     means the group of the rule's own VPC, else the only one of that name in the
//     document. A name that no group of the document has is taken for an id, so
//     that a part of a project can be read; such an id can be attached to the
//     group itself when that is known.
//   - Groups have names only, unique within a VPC (GR-05): the name is the id. A
//     document may give an "id" of its own, which two groups of one name in
//     different VPCs need.
//   - The group named "default" is the default group of its VPC (GR-13).
//   - An absent list is not an empty one: it gets the rules of the profile for
//     new groups (GR-10), or for the default group (GR-14).
//   - Rules have no ids; they get those of sg.AssignIDs.
//
// Errors are sg.Errors with every fault, up to 1,000, and paths such as
// security_groups[1].inbound_rules[0].port.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	r, root, err := wire.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	d := &decoder{r: r, names: names{}}
	if root.Has("security_groups") {
		list, _ := root.Objects("security_groups")
		list.Each(d.group)
		root.Done()
	} else {
		d.group(root)
	}
	return r.Result(d.finish())
}

// Encode writes groups in the format of Decode: one as an object, none or
// several under "security_groups", with both lists. It is deterministic, and
// Decode gives groups of the same meaning.
//
// It fails with sg.ErrUnsupported for what the format can not say: other
// protocols, ICMP types, IP sets, any address of both families (write two
// rules), the family of a rule for a group, groups that a name does not tell
// from others, a default group not named "default" or another one of that
// name, and stateless groups. Owners, times of creation and rule ids that are
// not those of sg.AssignIDs are lost with a warning.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	e := &encoder{Writer: wire.Check(groups, wire.Has{VPC: true, Default: true}), names: names{}, byID: map[sg.GroupID]*sg.Group{}}
	for _, g := range groups {
		if g == nil {
			continue
		}
		if !e.names.add(g) {
			e.Refuse(wire.Path(g)+".name", g.Name, "another group of the VPC has it")
		}
		e.byID[g.ID] = g
	}
	out := []groupJSON{}
	for _, g := range groups {
		if g != nil {
			out = append(out, e.group(g))
		}
	}
	if len(out) == 1 {
		return e.Result(out[0])
	}
	return e.Result(map[string]any{"security_groups": out})
}

// names finds groups by name and VPC.
type names map[string]map[sg.VPCID]sg.GroupID

// add notes g; ok is false if its VPC has a group of that name (GR-05).
func (n names) add(g *sg.Group) (ok bool) {
	if n[g.Name] == nil {
		n[g.Name] = map[sg.VPCID]sg.GroupID{}
	}
	_, taken := n[g.Name][g.VPC]
	if !taken {
		n[g.Name][g.VPC] = g.ID
	}
	return !taken
}

// find returns what a name means in a rule of a group in vpc: the group of the
// same VPC, else the only one. many is true if there are several to choose
// from.
func (n names) find(name string, vpc sg.VPCID) (id sg.GroupID, many bool) {
	if id, ok := n[name][vpc]; ok {
		return id, false
	}
	for _, id = range n[name] {
	}
	return id, len(n[name]) > 1
}

// remoteKey is the field that holds the remote end, by direction (RU-16).
func remoteKey(d sg.Direction) string {
	if d == sg.Egress {
		return "destination"
	}
	return "source"
}

// listKey is the list of the rules of a direction.
func listKey(d sg.Direction) string {
	if d == sg.Egress {
		return "outbound_rules"
	}
	return "inbound_rules"
}

// fieldOf is what the format calls a field of sg.Rule.
func fieldOf(r sg.Rule, field string) string {
	switch field {
	case "ports":
		return "port"
	case "peer", "family":
		return remoteKey(r.Direction)
	}
	return field
}
