// Package workload makes policies, flows and packets for benchmarks and
// property tests: deterministic, sized by parameters, shaped like clouds.
//
// Equal seeds and equal parameters give equal results. What a generator makes
// is valid by construction, so generators return no errors: they panic on a
// fault of the caller, such as a negative size, and on nothing else.
//
// [Policy] makes whole policies. [Rules] and [Single] make the workloads W10
// to W10k, one group on one interface, in which the number of rules is all
// that varies. [Flows] makes flows that a program accepts or refuses, and
// [Flow.Packet] the packets that open them.
package workload

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// Shape sizes a policy. The zero Shape is an empty policy.
type Shape struct {
	VPCs               int // 0 is 1
	Groups             int // spread over the VPCs
	RulesPerGroup      int // two of three for ingress
	Interfaces         int // spread over the VPCs
	GroupsPerInterface int // as far as the VPC has so many
	Sets               int // two of three for IPv4; every fourth belongs to a VPC
	EntriesPerSet      int
}

func (s Shape) check() {
	for _, n := range []int{s.VPCs, s.Groups, s.RulesPerGroup, s.Interfaces, s.GroupsPerInterface, s.Sets, s.EntriesPerSet} {
		if n < 0 || n > 1<<24 {
			panic(fmt.Sprintf("workload: no policy has the shape %+v", s))
		}
	}
}

// Policy makes a valid policy of that shape under the strict profile. Half of
// the rules name a CIDR, the others a group of their VPC or an IP set; one
// CIDR of eight is any address. Address ranges of VPCs overlap, as those of
// tenants do. It panics if a number in s is negative or above 16,777,216.
func Policy(r *rand.Rand, s Shape) *policy.Snapshot {
	s.check()
	s.VPCs = max(1, s.VPCs)
	m := &maker{r: r, shape: s}
	for i := range s.Sets {
		m.set(i)
	}
	for i := range s.Groups {
		m.group(i)
	}
	for i := range s.Interfaces {
		m.iface(i)
	}
	return mustBuild(m.changes)
}

func mustBuild(c []policy.Change) *policy.Snapshot {
	p, err := policy.Build(strict.Profile(), c...)
	if err != nil {
		panic(err) // a fault of this package: its tests would show it
	}
	return p
}

// maker makes one policy.
type maker struct {
	r       *rand.Rand
	shape   Shape
	sets    []*ipset.Set
	changes []policy.Change
}

func vpcID(n int) sg.VPCID     { return sg.VPCID(fmt.Sprintf("vpc-%03d", n)) }
func groupID(n int) sg.GroupID { return sg.GroupID(fmt.Sprintf("sg-%05d", n)) }

func (m *maker) set(n int) {
	family := sg.IPv4
	if n%3 == 2 {
		family = sg.IPv6
	}
	set := Set(m.r, sg.SetID(fmt.Sprintf("ips-%05d", n)), family, m.shape.EntriesPerSet)
	if n%4 == 3 {
		set.VPC = vpcID(n % m.shape.VPCs)
	}
	m.sets = append(m.sets, set)
	m.changes = append(m.changes, policy.PutSet{Set: set})
}

func (m *maker) group(n int) {
	vpc := n % m.shape.VPCs
	g := &sg.Group{ID: groupID(n), Name: fmt.Sprintf("group %d", n), VPC: vpcID(vpc)}
	var sets []*ipset.Set
	for _, s := range m.sets {
		if s.VPC == "" || s.VPC == g.VPC {
			sets = append(sets, s)
		}
	}
	g.Rules = rules(m.r, m.shape.RulesPerGroup, func() sg.Rule {
		rule := sg.Rule{Direction: sg.Ingress}
		if m.r.IntN(3) == 0 {
			rule.Direction = sg.Egress
		}
		family := familyOf(m.r)
		switch k := m.r.IntN(8); {
		case k < 3: // a group of the same VPC, perhaps this one
			remote := vpc + m.shape.VPCs*m.r.IntN((m.shape.Groups-vpc-1)/m.shape.VPCs+1)
			rule.Peer, rule.Family = sg.PeerGroup(groupID(remote)), family
		case k == 3 && len(sets) > 0:
			set := sets[m.r.IntN(len(sets))]
			rule.Peer, family = sg.PeerSet(set.ID), set.Family()
		case m.r.IntN(8) == 0:
			rule.Peer = sg.PeerCIDR(netip.PrefixFrom(unspecified(family), 0))
		default:
			rule.Peer = sg.PeerCIDR(prefix(m.r, family))
		}
		service(m.r, &rule, family)
		return rule
	})
	m.changes = append(m.changes, policy.PutGroup{Group: g})
}

func (m *maker) iface(n int) {
	vpc, host := n%m.shape.VPCs, n/m.shape.VPCs+4 // the first addresses of a network are taken
	i := &sg.Interface{
		ID:    sg.InterfaceID(fmt.Sprintf("if-%06d", n)),
		VPC:   vpcID(vpc),
		Kind:  "vm",
		Addrs: hostAddrs(vpc, host),
	}
	groups := (m.shape.Groups - vpc + m.shape.VPCs - 1) / m.shape.VPCs // of this VPC
	for _, g := range pick(m.r, groups, m.shape.GroupsPerInterface) {
		i.Groups = append(i.Groups, groupID(vpc+g*m.shape.VPCs))
	}
	m.changes = append(m.changes, policy.PutInterface{Interface: i})
}

// hostAddrs returns the IPv4 and the IPv6 address of a host in a VPC.
func hostAddrs(vpc, host int) []netip.Prefix {
	four := netip.AddrFrom4([4]byte{10, byte(host >> 16), byte(host >> 8), byte(host)})
	six := netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x5e, 2: byte(vpc >> 8), 3: byte(vpc), 13: byte(host >> 16), 14: byte(host >> 8), 15: byte(host)})
	return []netip.Prefix{netip.PrefixFrom(four, 32), netip.PrefixFrom(six, 128)}
}

// pick returns k different numbers below n, fewer if there are not so many.
func pick(r *rand.Rand, n, k int) []int {
	if n <= 0 {
		return nil
	}
	k = min(k, n)
	taken := make(map[int]bool, k)
	out := make([]int, 0, k)
	for i := n - k; i < n; i++ { // Floyd's sampling: no list of all n
		v := r.IntN(i + 1)
		if taken[v] {
			v = i
		}
		taken[v] = true
		out = append(out, v)
	}
	return out
}
