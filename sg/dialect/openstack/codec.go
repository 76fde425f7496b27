package openstack

import (
	"strconv"
	"strings"
	"unicode"

	"example.com/secgroup/sg"
)

// defaultName is the name of the group that every project has, and of no
// other.
const defaultName = "default"

type protocolText struct {
	name string
	p    sg.Protocol
}

// protocols holds the names that Neutron knows, by the Networking API v2.0
// reference; the first of a number is the one written.
func protocols() []protocolText {
	return []protocolText{
		{"tcp", sg.TCP}, {"udp", sg.UDP}, {"icmp", sg.ICMP}, {"ipv6-icmp", sg.ICMPv6}, {"icmpv6", sg.ICMPv6}, {"sctp", sg.SCTP},
		{"any", sg.AnyProtocol}, {"0", sg.AnyProtocol},
		{"ah", 51}, {"dccp", 33}, {"egp", 8}, {"esp", 50}, {"gre", 47}, {"igmp", 2}, {"ipip", 4}, {"ipv6-encap", 41},
		{"ipv6-frag", 44}, {"ipv6-nonxt", 59}, {"ipv6-opts", 60}, {"ipv6-route", 43}, {"ospf", 89}, {"pgm", 113}, {"rsvp", 46},
		{"udplite", 136}, {"vrrp", 112},
	}
}

// parseProtocol reads a name, in any letter case (RU-06), or a number; 0 is
// any. Names that Neutron does not know, such as "all", are refused.
func parseProtocol(s string) (sg.Protocol, error) {
	for _, t := range protocols() {
		if t.name == strings.ToLower(s) {
			return t.p, nil
		}
	}
	if p, err := sg.ParseProtocol(s); err == nil && strconv.Itoa(int(p)) == s {
		return p, nil
	}
	return 0, &sg.FieldError{Value: s, Err: sg.ErrInvalid, Detail: "want a protocol that Neutron knows, a number from 0 to 255, or null for every protocol"}
}

// protocolName returns p as Neutron writes it.
func protocolName(p sg.Protocol) string {
	for _, t := range protocols() {
		if t.p == p {
			return t.name
		}
	}
	return strconv.Itoa(int(p))
}

// onlyIPv6 reports whether Neutron refuses p in rules for IPv4.
func onlyIPv6(p sg.Protocol) bool {
	switch p {
	case 41, 43, 44, sg.ICMPv6, 59, 60:
		return true
	}
	return false
}

// portsLost reports whether Neutron has ports for p and the model has none.
func portsLost(p sg.Protocol) bool { return p == 33 || p == 136 }

// hasBlank reports whether s can not be an id of Neutron. Ids without blanks
// also keep the rule ids that sg.AssignIDs makes of them apart.
func hasBlank(s string) bool { return strings.ContainsFunc(s, unicode.IsSpace) }
