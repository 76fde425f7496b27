package nftables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// random makes policies and packets, the same for the same seed.
type random struct{ *rand.Rand }

func newRandom(seed, n uint64) random { return random{rand.New(rand.NewPCG(seed, n))} }

func pick[T any](g random, list ...T) T { return list[g.IntN(len(list))] }

func (g random) oneIn(n int) bool { return g.IntN(n) == 0 }

// site is an interface of the tests that is on this host. The host routes its
// addresses, and those behind it, to its device.
type site struct {
	id     sg.InterfaceID
	vpc    sg.VPCID
	addrs  []netip.Prefix
	behind []netip.Prefix // further addresses: allowed by the guard, or those of networks that it routes
}

// sites are three interfaces of one VPC, one with the addresses of the first in
// another VPC, and one of a third VPC, which has no uplink of its own: its zone
// is found by the route.
func sites() []site {
	return []site{
		{"red-1", "red", prefixes("198.18.0.10", "2001:db8:1::10"), prefixes("198.18.1.0/28", "2001:db8:1:1::/64")},
		{"red-2", "red", prefixes("198.18.0.11", "2001:db8:1::11"), prefixes("198.18.2.0/28", "2001:db8:1:2::/64")},
		{"red-3", "red", prefixes("198.18.0.12/31", "2001:db8:1::12/127"), nil},
		{"blue-1", "blue", prefixes("198.18.0.10", "2001:db8:1::10"), nil},
		{"gray-1", "gray", prefixes("198.18.0.20", "2001:db8:1::20"), nil},
	}
}

func siteOf(id sg.InterfaceID) *site {
	for _, s := range sites() {
		if s.id == id {
			return &s
		}
	}
	return nil
}

// deviceOfSite puts the sites on this host.
func deviceOfSite(id sg.InterfaceID) (string, bool) {
	for i, s := range sites() {
		if s.id == id {
			return fmt.Sprintf("sg%d", i), true
		}
	}
	return "", false
}

// cidrs are peers of rules, entries of sets and addresses of members: nested,
// adjacent, and with the first and last addresses there are.
func (g random) cidr(f sg.Family) netip.Prefix {
	list := "0.0.0.0/0 0.0.0.0/1 128.0.0.0/1 100.64.0.0/10 100.64.0.0/17 100.64.128.0/17 192.0.2.0/24 192.0.2.0/25 192.0.2.128/25 192.0.2.64/26 192.0.2.7/32 192.0.2.8/31 192.0.2.255/32 198.51.100.0/24 198.51.100.9/32 198.51.100.128/29 203.0.113.1/32 198.18.0.0/24 198.18.0.11/32 198.18.0.10/31 198.18.1.0/28 255.255.255.255/32"
	if f == sg.IPv6 {
		list = "::/0 ::/1 8000::/1 2000::/3 2001:db8:a::/48 2001:db8:a:8000::/49 2001:db8:a::/64 2001:db8:a::7/128 2001:db8:a::8/127 2001:db8:b::/48 2001:db8:b::9/128 2001:db8:b::80/121 fd00:a::/64 fd00:a::1/128 2001:db8:1::/64 2001:db8:1::11/128 2001:db8:1::10/127 2001:db8:1:1::/64 ffff::/16"
	}
	return prefix(pick(g, strings.Fields(list)...))
}

// narrow is cidr for what can be a member: not half the world, and no address
// that nobody can have.
func (g random) narrow(f sg.Family) netip.Prefix {
	for {
		if p := g.cidr(f); p.Bits() > 3 && routable(p.Addr()) {
			return p
		}
	}
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func (g random) family() sg.Family { return pick(g, sg.IPv4, sg.IPv6) }

func directions() []sg.Direction { return []sg.Direction{sg.Ingress, sg.Egress} }

func (g random) ports() sg.PortRange {
	if g.oneIn(8) {
		a, b := uint16(g.Uint32()), uint16(g.Uint32())
		return sg.PortRange{First: min(a, b), Last: max(a, b)}
	}
	return pick(g, sg.AllPorts(), sg.Port(80), sg.Port(443), sg.Port(1), sg.Port(65535), sg.PortRange{First: 0, Last: 79}, sg.PortRange{First: 80, Last: 90},
		sg.PortRange{First: 85, Last: 8000}, sg.PortRange{First: 443, Last: 444}, sg.PortRange{First: 8001, Last: 65535})
}

// protocols are those of rules and packets: with ports, without, and ICMP.
func (g random) protocol() sg.Protocol {
	return pick(g, sg.TCP, sg.TCP, sg.TCP, sg.UDP, sg.UDP, sg.UDP, sg.SCTP, sg.AnyProtocol, sg.ICMP, sg.ICMPv6, 47, 50, 253)
}

func (g random) rule(id sg.RuleID, protocol sg.Protocol, peers []sg.Peer) sg.Rule {
	r := sg.Rule{ID: id, Direction: pick(g, directions()...), Protocol: protocol}
	if r.Protocol.HasPorts() {
		r.Ports = g.ports()
	}
	family := r.Protocol.Family()
	if family == sg.FamilyAny {
		family = g.family()
	}
	if r.Protocol.HasICMP() {
		r.Family = family
		echo := map[sg.Family]uint8{sg.IPv4: 8, sg.IPv6: 128}[family]
		r.ICMP = pick(g, sg.ICMPMatch{}, sg.ICMPMatch{}, sg.ICMPType(echo), sg.ICMPTypeCode(echo, 0), sg.ICMPTypeCode(echo, 1), sg.ICMPType(0), sg.ICMPType(13), sg.ICMPType(135))
	}
	switch n := g.IntN(4); {
	case n == 0:
		r.Peer = sg.PeerAny()
	case n < 3 || len(peers) == 0:
		r.Peer = sg.PeerCIDR(g.cidr(family))
	default:
		r.Peer = pick(g, peers...)
		if set, ok := r.Peer.Set(); ok && r.Protocol.HasICMP() && (set == "s4") != (r.Protocol == sg.ICMP) {
			r.Peer = sg.PeerAny() // the set's family goes before that of the protocol
		}
	}
	return r
}

// profile draws a profile.
func (g random) profile() sg.Profile {
	p := sg.Profile{Name: "random", AllowStateless: true, Established: pick(g, sg.Revalidate, sg.Revalidate, sg.Keep, sg.Cut)}
	if g.oneIn(3) {
		p.Unattached, p.EmptyDirection = pick(g, sg.Drop, sg.Accept), pick(g, sg.Drop, sg.Accept)
	}
	platform := func(name string, a sg.Action) sg.PlatformRule {
		return sg.PlatformRule{Name: name, Action: a, Rule: g.rule(sg.RuleID(name), pick(g, sg.TCP, sg.UDP, sg.AnyProtocol, 47), nil)}
	}
	if g.oneIn(3) {
		p.Platform = append(p.Platform, platform("no", sg.Drop), platform("yes", sg.Accept), platform("not", sg.Drop))
	}
	if g.oneIn(3) {
		p.BeyondAny = append(p.BeyondAny, platform("beyond", sg.Drop))
	}
	return p
}

func (g random) set(id sg.SetID, f sg.Family) policy.PutSet {
	s := ipset.New(id, f, sg.Global())
	seen := map[netip.Prefix]bool{}
	for range g.IntN(7) {
		if p := g.narrow(f); !seen[p] {
			seen[p] = true
			if err := s.Add(ipset.Entry{Prefix: p}); err != nil {
				panic(err)
			}
		}
	}
	return policy.PutSet{Set: s}
}

// draft is a policy in the making.
type draft struct {
	random
	profile sg.Profile
	groups  map[sg.VPCID][]sg.GroupID
	plain   bool // nothing that takes more than a ruleset: connections that end at once
}

func (g random) draft() *draft {
	d := &draft{random: g, profile: g.profile(), groups: map[sg.VPCID][]sg.GroupID{}}
	for _, vpc := range []sg.VPCID{"red", "blue", "gray"} {
		for n := range 1 + g.IntN(4) {
			d.groups[vpc] = append(d.groups[vpc], sg.GroupID(fmt.Sprintf("%s-g%d", vpc, n)))
		}
	}
	return d
}

// group draws the rules of a group.
func (d *draft) group(vpc sg.VPCID, id sg.GroupID) policy.PutGroup {
	peers := []sg.Peer{sg.PeerSet("s4"), sg.PeerSet("s6")}
	for _, g := range d.groups[vpc] {
		peers = append(peers, sg.PeerGroup(g), sg.PeerGroup(g))
	}
	g := &sg.Group{ID: id, Name: string(id), VPC: vpc, Stateless: d.oneIn(5)}
	keys := map[sg.Rule]bool{}
	for n := range d.IntN(pick(d.random, 3, 6, 12)) {
		if r := d.rule(sg.RuleID(fmt.Sprint("r", n)), d.protocol(), peers); !keys[r.Key()] {
			keys[r.Key()] = true
			g.Rules = append(g.Rules, r)
		}
	}
	return policy.PutGroup{Group: g}
}

// some draws groups to attach.
func (d *draft) some(vpc sg.VPCID) (out []sg.GroupID) {
	ids := d.groups[vpc]
	for _, n := range d.Perm(len(ids))[:d.IntN(len(ids)+1)] {
		out = append(out, ids[n])
	}
	return out
}

// iface draws an interface of this host.
func (d *draft) iface(s site) policy.PutInterface {
	i := &sg.Interface{ID: s.id, VPC: s.vpc, Addrs: s.addrs, Groups: d.some(s.vpc)}
	if d.oneIn(3) {
		i.SourceGuard = true
	}
	if d.oneIn(2) {
		i.Allowed = s.behind
	}
	if len(d.profile.Platform) > 0 && d.oneIn(4) {
		i.Exempt = []string{"no"}
	}
	return policy.PutInterface{Interface: i}
}

// member draws an interface of another host.
func (d *draft) member(vpc sg.VPCID, n int) policy.PutInterface {
	i := &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("%s-m%d", vpc, n)), VPC: vpc, Groups: d.some(vpc)}
	for range 1 + d.IntN(2) {
		if p := d.narrow(d.family()); !slices.Contains(i.Addrs, p) {
			i.Addrs = append(i.Addrs, p)
		}
	}
	return policy.PutInterface{Interface: i}
}

// all draws everything.
func (d *draft) all() []policy.Change {
	c := []policy.Change{d.set("s4", sg.IPv4), d.set("s6", sg.IPv6)}
	for _, vpc := range []sg.VPCID{"red", "blue", "gray"} {
		for _, id := range d.groups[vpc] {
			c = append(c, d.group(vpc, id))
		}
		for n := range d.IntN(6) {
			c = append(c, d.member(vpc, n))
		}
	}
	for _, s := range sites() {
		c = append(c, d.iface(s))
	}
	return c
}

// edit draws a small change.
func (d *draft) edit() []policy.Change {
	vpc := pick[sg.VPCID](d.random, "red", "red", "red", "blue", "gray")
	s := pick(d.random, sites()...)
	switch d.IntN(10) {
	case 0, 1:
		return []policy.Change{d.iface(s)}
	case 2:
		if d.plain {
			break
		}
		return []policy.Change{policy.DeleteInterface{ID: s.id}, d.iface(s)}
	case 3, 4:
		return []policy.Change{d.member(vpc, d.IntN(6))}
	case 5:
		return []policy.Change{d.set("s4", sg.IPv4)}
	case 6:
		return []policy.Change{d.set("s6", sg.IPv6)}
	}
	return []policy.Change{d.group(vpc, pick(d.random, d.groups[vpc]...))}
}

// routable reports whether a host may send to an address and a router passes it
// on.
func routable(a netip.Addr) bool {
	switch {
	case !a.IsValid(), a.IsMulticast(), a.IsLoopback(), a.IsUnspecified(), a.IsLinkLocalUnicast(), a.Is4In6():
		return false
	case a.Is4():
		first := a.As4()[0]
		return first != 0 && first < 224
	}
	return prefix("2000::/3").Contains(a) || prefix("fc00::/7").Contains(a)
}

// edge returns an address at, or one off, an edge of p.
func (g random) edge(p netip.Prefix) netip.Addr {
	first, last := p.Masked().Addr(), lastAddr(p)
	for range 6 {
		if a := pick(g, first.Prev(), first, last, last.Next(), first.Next()); routable(a) {
			return a
		}
	}
	return map[bool]netip.Addr{true: ip("203.0.113.77"), false: ip("fd00:b::77")}[p.Addr().Is4()]
}

// aim returns a service and a far end at the edges of some rule of a chain.
func (g random) aim(p *ir.Program, c *ir.Chain, f sg.Family) (proto sg.Protocol, port uint16, remote netip.Addr) {
	proto = g.protocol()
	port = pick[uint16](g, 1, 2, 79, 80, 81, 84, 85, 90, 91, 442, 443, 444, 445, 8000, 8001, 65534, 65535)
	target := g.cidr(f)
	if len(c.Rules) > 0 && !g.oneIn(4) {
		r, _ := p.Rule(pick(g, c.Rules...))
		if r.Protocol != sg.AnyProtocol {
			proto = r.Protocol
		}
		if r.Protocol.HasPorts() && !g.oneIn(4) {
			port = pick(g, r.Ports.First-1, r.Ports.First, r.Ports.Last, r.Ports.Last+1)
		}
		var members []netip.Prefix
		for m := range p.Members(r.Peer, r.Family) {
			members = append(members, m)
		}
		if r.Peer != ir.Any && r.Family == f && len(members) > 0 {
			target = pick(g, members...)
		}
	}
	for proto == sg.AnyProtocol {
		proto = g.protocol()
	}
	if proto.HasICMP() {
		proto = map[sg.Family]sg.Protocol{sg.IPv4: sg.ICMP, sg.IPv6: sg.ICMPv6}[f]
	}
	if proto == sg.SCTP && port == 0 {
		port = 1 // it has no port 0 (RFC 9260 3.1)
	}
	return proto, port, g.edge(target)
}
