package hostiletest

import (
	"net/netip"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// Interfaces are those that the cases send through: "a" and "b" of one VPC, and
// "twin", another tenant's with the addresses of "a".
func Interfaces() []sg.Interface {
	return []sg.Interface{
		{ID: "a", VPC: "red", Addrs: prefixes("10.0.0.5", "fd00::5")},
		{ID: "b", VPC: "red", Addrs: prefixes("10.0.0.6", "fd00::6")},
		{ID: "twin", VPC: "blue", Addrs: prefixes("10.0.0.5", "fd00::5")},
	}
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		p, err := sg.ParsePrefix(s)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

// allow is a rule. A port of 0 is all of them; an empty peer is anybody.
func allow(d sg.Direction, p sg.Protocol, first, last uint16, peer string) sg.Rule {
	r := sg.Rule{Direction: d, Protocol: p, Peer: sg.PeerAny()}
	if p.HasPorts() {
		r.Ports = sg.AllPorts()
		if last != 0 {
			r.Ports = sg.PortRange{First: first, Last: last}
		}
	}
	if peer != "" {
		r.Peer = sg.PeerCIDR(prefixes(peer)[0])
	}
	return r
}

func port(d sg.Direction, p sg.Protocol, n uint16) sg.Rule { return allow(d, p, n, n, "") }

func anything(d sg.Direction) sg.Rule { return allow(d, sg.AnyProtocol, 0, 0, "") }

// icmpRule allows a type, and a code unless that is negative.
func icmpRule(p sg.Protocol, typ uint8, code int) sg.Rule {
	r := allow(sg.Ingress, p, 0, 0, "")
	r.ICMP = sg.ICMPType(typ)
	if code >= 0 {
		r.ICMP = sg.ICMPTypeCode(typ, uint8(code))
	}
	return r
}

// world is a policy under which the group of "a" has rules; "b" and "twin" have
// a group without.
func world(rules ...sg.Rule) Policy { return worldOf(strict.Profile(), rules) }

func worldOf(p sg.Profile, rules []sg.Rule, more ...policy.Change) Policy {
	w := Policy{Profile: p}
	for _, vpc := range []sg.VPCID{"red", "blue"} {
		w.Changes = append(w.Changes, policy.PutGroup{Group: &sg.Group{ID: "closed-" + sg.GroupID(vpc), Name: "closed", VPC: vpc, Rules: []sg.Rule{}}})
	}
	w.Changes = append(w.Changes, policy.PutGroup{Group: group("open", rules...)})
	w.Changes = append(w.Changes, more...)
	for _, i := range Interfaces() {
		switch {
		case i.ID == "a":
			i.Groups = []sg.GroupID{"open"}
		case i.VPC == "red":
			i.Groups = []sg.GroupID{"closed-red"}
		default:
			i.Groups = []sg.GroupID{"closed-blue"}
		}
		w.Changes = append(w.Changes, policy.PutInterface{Interface: &i})
	}
	return w
}

// group is a group of VPC red with numbered rules.
func group(id sg.GroupID, rules ...sg.Rule) *sg.Group {
	g := &sg.Group{ID: id, Name: string(id), VPC: "red"}
	for i, r := range rules {
		r.ID = sg.RuleID('a' + rune(i))
		g.Rules = append(g.Rules, r)
	}
	return g
}

// usual lets anybody in at TCP 80 and UDP 53, and everything out.
func usual() []sg.Rule {
	return []sg.Rule{port(sg.Ingress, sg.TCP, 80), port(sg.Ingress, sg.UDP, 53), anything(sg.Egress)}
}

func usually() []Policy { return []Policy{world(usual()...)} }

// pinging is usual with every ICMP message let in.
func pinging() []Policy {
	return []Policy{world(append(usual(), allow(sg.Ingress, sg.ICMP, 0, 0, ""), allow(sg.Ingress, sg.ICMPv6, 0, 0, ""))...)}
}

// opened lets everything in and out, shut nothing.
func opened() []Policy { return []Policy{world(anything(sg.Ingress), anything(sg.Egress))} }

func shut() []Policy { return []Policy{world()} }

// cloud is a deny-all group under a profile with infrastructure rules.
func cloud() []Policy {
	return []Policy{worldOf(aws.Profile(), []sg.Rule{})}
}

// guest is a group that lets everything out, under a profile with infrastructure
// rules.
func guest() Policy { return worldOf(aws.Profile(), []sg.Rule{anything(sg.Egress)}) }
