// Package ir is the lowered policy that every enforcer runs: ordered rules
// over selectors, with all profile defaults made explicit.
//
// The meaning of a policy is Program.Eval. The userspace matcher and the
// nftables renderer are correct if and only if they agree with it.
package ir

import (
	"net/netip"

	"example.com/secgroup/sg"
)

// RuleNum numbers a rule for the life of a Compiler. Zero is no rule. A number
// is never reused, so it can outlive its rule in a ct mark or a log.
type RuleNum uint32

// SelectorNum numbers a set of peers; Any matches every address.
type SelectorNum uint32

const Any SelectorNum = 0

// RuleRef is where a rule came from.
type RuleRef struct {
	Group    sg.GroupID // empty for platform rules
	Rule     sg.RuleID
	Platform string // name of a platform rule, else empty
	Origin   string // sg.Rule.Origin: what added the rule, if no person did
}

// String is "sg-web/https", or "platform smtp".
func (r RuleRef) String() string {
	switch {
	case r.Platform != "":
		return "platform " + r.Platform
	case r.Group == "" && r.Rule == "":
		return ""
	}
	return string(r.Group) + "/" + string(r.Rule)
}

// Rule is one lowered rule. It has exactly one family.
type Rule struct {
	Num       RuleNum
	Ref       RuleRef
	Action    sg.Action
	Family    sg.Family
	Protocol  sg.Protocol
	Ports     sg.PortRange // of TCP, UDP and SCTP
	ICMP      sg.ICMPMatch
	Peer      SelectorNum
	Stateless bool // what it allows is not tracked
}

// Selector is a set of prefixes within one VPC that rules name as a peer.
type Selector struct {
	Num  SelectorNum
	VPC  sg.VPCID
	Peer sg.Peer
}

// Chain is the rules of one direction; the first match wins, else Default.
// Platform rules come first, then rules for any peer, for CIDRs, and for groups
// and IP sets, each in the order in which groups are attached.
type Chain struct {
	Rules   []RuleNum
	Default sg.Action
	Reason  Reason // why Default applies
}

// Policy is a pair of chains, shared by every interface with the same groups.
type Policy struct {
	Num             uint32
	Ingress, Egress Chain
}

// Chain returns the chain of direction d.
func (p *Policy) Chain(d sg.Direction) *Chain {
	if d == sg.Ingress {
		return &p.Ingress
	}
	return &p.Egress
}

// Interface binds an interface to its policy.
type Interface struct {
	ID     sg.InterfaceID
	Index  uint32 // dense, stable while the interface exists
	Serial uint64 // never reused within a Compiler: another serial is another interface, even of the same ID
	VPC    sg.VPCID
	VPCNum uint16 // dense, stable while the VPC is in use; ct zone in package nftables
	Policy uint32
	Guard  bool           // see sg.Interface.SourceGuard
	Addrs  []netip.Prefix // as in sg.Interface
	Allow  []netip.Prefix // further addresses that the guard lets pass
}

// Flow is what a rule can see of a packet: the remote end and the service.
type Flow struct {
	Remote             netip.Addr // zones are ignored; an IPv4-mapped IPv6 address is IPv6
	Protocol           uint8
	Port               uint16 // destination port; for TCP, UDP and SCTP
	ICMPType, ICMPCode uint8  // for ICMP and ICMPv6
	NoPorts            bool   // ports unknown: only rules for all ports can match
}

// Verdict is a decision and its cause. It is comparable; the zero value drops.
type Verdict struct {
	Action    sg.Action
	Reason    Reason
	Stateless bool    // accepted by stateless rules only: not to be tracked
	Rule      RuleNum // the first matching rule, else zero
}
