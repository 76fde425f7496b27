package nfyio

import (
	"net/netip"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// Unnamed is the id and name of a group that a document gives neither: the
// config form may leave both out, and a single rule has none.
const Unnamed = "unnamed"

// groupPrefix begins the ids of groups.
const groupPrefix = "sg_"

// Decode reads NFYio's JSON, after its document "Security Groups". A document
// is a group as the API takes and returns it (RU-32, GR-02, GR-06),
//
//	{"id": "sg_web", "name": "web", "description": "", "vpc_id": "vpc_1",
//	 "inbound_rules":  [{"protocol": "tcp", "port_range": "8000-9000", "source": "10.0.0.0/8", "description": ""}],
//	 "outbound_rules": [{"protocol": "all", "destination": "sg_db"}],
//	 "created_at": "2026-03-01T12:00:00Z"}
//
// or in the style of configurations (GR-07), which may go without a name,
//
//	{"inbound": [{"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}], "outbound": []}
//
// or several groups, {"security_groups": [...]}, each in either style, or one
// rule with its direction,
//
//	{"direction": "inbound", "protocol": "icmp", "source": "10.0.0.0/8"}
//
// which is a group of that rule and no other. A list of rules implies their
// direction; a rule that names one must agree.
//
//   - Protocols are tcp, udp, icmp and all, in any letter case (RU-06). tcp and
//     udp need a port_range; icmp and all must not have one (RU-13, RU-15). Every
//     port is "0-65535".
//   - A source or destination is a CIDR or an address, an id that begins with
//     "sg_", or the id of a group of the document (RU-18). What is an address is
//     never an id. "0.0.0.0/0" is every IPv4 address, "::/0" every IPv6 one.
//   - An absent list is not an empty one (GR-08, GR-09): it gets the rules of the
//     profile for new groups, which for outbound is all to 0.0.0.0/0.
//   - A group without an id has its name for one. Rules have no ids; they get
//     those of sg.AssignIDs.
//   - created_at may have any offset and is kept in UTC.
//
// Errors are sg.Errors with every fault, up to 1,000, and paths such as
// security_groups[1].inbound_rules[0].source.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	r, root, err := wire.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	d := &decoder{r: r}
	switch {
	case root.Has("security_groups"):
		list, _ := root.Objects("security_groups")
		list.Each(d.group)
		root.Done()
	case root.Has("direction") || root.Has("protocol"):
		d.single(root)
	default:
		d.group(root)
	}
	return r.Result(d.finish())
}

// Encode writes groups as the API returns them: one as an object, none or
// several under "security_groups", with both lists. It is deterministic, and
// Decode gives groups of the same meaning.
//
// It fails with sg.ErrUnsupported for what the format can not say: other
// protocols, ICMP types, IP sets, any address of both families (write two
// rules), the family of a rule for a group, the id of a group that is neither
// in groups nor begins with "sg_", and stateless groups. Owners, rule ids that
// are not those of sg.AssignIDs, and the mark of the default group are lost
// with a warning.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	e := &encoder{Writer: wire.Check(groups, wire.Has{VPC: true, Created: true}), known: map[sg.GroupID]bool{}}
	for _, g := range groups {
		if g != nil {
			e.known[g.ID] = true
		}
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

// isAddress reports whether s, as a source or destination, is an address or a
// CIDR, be it a wrong one.
func isAddress(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isGroupID reports whether s has the form of the id of a group.
func isGroupID(s string) bool { return strings.HasPrefix(s, groupPrefix) && s != groupPrefix }

// remoteKey is the field that holds the remote end, by direction (RU-16).
func remoteKey(d sg.Direction) string {
	if d == sg.Egress {
		return "destination"
	}
	return "source"
}

// fieldOf is what the format calls a field of sg.Rule.
func fieldOf(r sg.Rule, field string) string {
	switch field {
	case "ports":
		return "port_range"
	case "peer", "family":
		return remoteKey(r.Direction)
	}
	return field
}
