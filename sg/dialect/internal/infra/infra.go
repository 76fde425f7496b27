// Package infra holds the platform rules that several clouds share.
package infra

import "example.com/secgroup/sg"

// RouterGuard is the name of the rules that keep a workload from posing as a
// router.
const RouterGuard = "router-guard"

// DHCPGuard is the name of the rules that keep a workload from posing as a DHCP
// server.
const DHCPGuard = "dhcp-guard"

// Unfiltered returns what clouds let pass whatever the groups say: neighbour
// discovery, an interface's own DHCP, and what it says of the multicast groups
// that it listens to (MLD, RFC 3810; snooping switches need it). IGMP is not
// part of it. Router advertisements and redirects come from the network only:
// those that a workload sends are dropped (RFC 6105), unless it is exempt from
// RouterGuard. An interface is a DHCP client, never a server (RFC 2131, RFC
// 8415): what it sends to clients is dropped, unless it is exempt from
// DHCPGuard. origin stands on every rule.
func Unfiltered(origin string) []sg.PlatformRule {
	nd := func(id sg.RuleID, d sg.Direction, typ uint8) sg.PlatformRule {
		return sg.PlatformRule{Name: "neighbour-discovery", Action: sg.Accept, Rule: sg.Rule{
			ID: id, Direction: d, Protocol: sg.ICMPv6, ICMP: sg.ICMPType(typ), Peer: sg.PeerAny(), Origin: origin,
		}}
	}
	dhcp := func(id sg.RuleID, d sg.Direction, f sg.Family, port uint16) sg.PlatformRule {
		return sg.PlatformRule{Name: "dhcp", Action: sg.Accept, Rule: sg.Rule{
			ID: id, Direction: d, Family: f, Protocol: sg.UDP, Ports: sg.Port(port), Peer: sg.PeerAny(), Origin: origin,
		}}
	}
	noDHCP := func(id sg.RuleID, f sg.Family, port uint16) sg.PlatformRule {
		r := dhcp(id, sg.Egress, f, port)
		r.Name, r.Action = DHCPGuard, sg.Drop
		return r
	}
	mld := func(id sg.RuleID, d sg.Direction, typ uint8) sg.PlatformRule {
		r := nd(id, d, typ)
		r.Name = "mld"
		return r
	}
	guard := func(id sg.RuleID, typ uint8) sg.PlatformRule {
		r := nd(id, sg.Egress, typ)
		r.Name, r.Action = RouterGuard, sg.Drop
		return r
	}
	return []sg.PlatformRule{
		guard("router-advertisement-out", 134),
		guard("redirect-out", 137),
		noDHCP("dhcpv4-server", sg.IPv4, 68),
		noDHCP("dhcpv6-server", sg.IPv6, 546),
		nd("router-solicitation", sg.Egress, 133),
		nd("router-advertisement", sg.Ingress, 134),
		nd("neighbour-solicitation-out", sg.Egress, 135),
		nd("neighbour-solicitation-in", sg.Ingress, 135),
		nd("neighbour-advertisement-out", sg.Egress, 136),
		nd("neighbour-advertisement-in", sg.Ingress, 136),
		mld("mld-query", sg.Ingress, 130),
		mld("mld-report", sg.Egress, 131),
		mld("mld-done", sg.Egress, 132),
		mld("mld2-report", sg.Egress, 143),
		dhcp("dhcpv4-request", sg.Egress, sg.IPv4, 67),
		dhcp("dhcpv4-reply", sg.Ingress, sg.IPv4, 68),
		dhcp("dhcpv6-request", sg.Egress, sg.IPv6, 547),
		dhcp("dhcpv6-reply", sg.Ingress, sg.IPv6, 546),
	}
}
