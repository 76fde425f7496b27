package hypervisor

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

// Decode reads security groups with the parameters of the panel's document
// "Security Groups", in JSON. A document is one group,
//
//	{"id": "12", "name": "web", "description": "", "user": null,
//	 "rules": [{"id": "1", "direction": "Ingress", "protocol": "TCP", "port_range_min": 22, "port_range_max": 22,
//	            "ip_version": "IPv4", "source_type": "cidr", "cidr": "10.0.0.0/8", "description": ""}]}
//
// or several, {"security_groups": [...]}.
//
//   - user is the owner; null, "" or absent is global scope (GR-19, GR-21).
//   - Directions are Ingress and Egress, or Inbound and Outbound (RU-02);
//     protocols TCP, UDP, ICMP, ICMPv6 and All; in any letter case (RU-06).
//   - TCP and UDP need both ports, from 1 to 65535, the same for a single port
//     (RU-10, RU-11). On other protocols they are a fault, since they would not be
//     used (RU-13).
//   - ip_version is IPv4 or IPv6, and required (RU-25); a CIDR must be of that
//     version (RU-26).
//   - source_type, for either direction, is "cidr", "remote_group" or "ip_set", and
//     exactly that field is there (RU-22): a CIDR or an address, or the id of a
//     group or an IP set. Sets are objects of their own, beside the document.
//   - A group without an id has its name for one; a rule without one gets that of
//     sg.AssignIDs. A group without rules has none (GR-12).
//   - null means something in user only; elsewhere it is a fault.
//
// Errors are sg.Errors with every fault, up to 1,000, and paths such as
// security_groups[1].rules[0].cidr.
func Decode(b []byte) ([]*sg.Group, []sg.Warning, error) {
	r, root, err := wire.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	groups := []*sg.Group{}
	if root.Has("security_groups") {
		list, _ := root.Objects("security_groups")
		list.Each(func(o *wire.Object) { groups = append(groups, decodeGroup(r, o)) })
		root.Done()
	} else {
		groups = append(groups, decodeGroup(r, root))
	}
	return r.Result(groups)
}

// Encode writes groups in the format of Decode: one as an object, none or
// several under "security_groups". It is deterministic, and Decode gives
// groups of the same meaning.
//
// It fails with sg.ErrUnsupported for what the format can not say: other
// protocols, ICMP types, port 0, and with it every port from 0 on (the panel's
// widest range is 1 to 65535), rules of both families (write two), stateless
// groups, and groups of a VPC. Times of creation and the mark of the default
// group are lost with a warning.
func Encode(groups []*sg.Group) ([]byte, []sg.Warning, error) {
	e := encoder{wire.Check(groups, wire.Has{Owner: true, RuleIDs: true})}
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

// The source types, which are also the fields that hold the remote end.
const (
	sourceCIDR  = "cidr"
	sourceGroup = "remote_group"
	sourceSet   = "ip_set"
)

// fieldOf is what the format calls a field of sg.Rule.
func fieldOf(r sg.Rule, field string) string {
	switch field {
	case "ports":
		return "port_range_min"
	case "family":
		return "ip_version"
	case "peer":
		return sourceOf(r.Peer)
	}
	return field
}

// sourceOf is the source type of a peer.
func sourceOf(p sg.Peer) string {
	switch p.Kind() {
	case sg.PeerIsGroup:
		return sourceGroup
	case sg.PeerIsSet:
		return sourceSet
	case sg.PeerUnset:
		return "source_type"
	}
	return sourceCIDR
}
