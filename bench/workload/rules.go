package workload

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// Rules makes n different ingress rules: 65 % TCP, 25 % UDP, 10 % ICMP;
// single ports (60 %), ranges up to 1,000 ports (30 %) and all ports (10 %);
// 70 % for IPv4 prefixes of 8 to 32 bits, the others for IPv6 prefixes of 32
// to 128 bits, every length as often as the next. With n of 10, 100, 1,000
// and 10,000 these are the workloads W10, W100, W1k and W10k. It panics if n
// is negative.
func Rules(r *rand.Rand, n int) []sg.Rule {
	return rules(r, n, func() sg.Rule {
		family := familyOf(r)
		rule := sg.Rule{Direction: sg.Ingress, Peer: sg.PeerCIDR(prefix(r, family))}
		service(r, &rule, family)
		return rule
	})
}

// Names in the policies that Single makes.
const (
	SingleInterface sg.InterfaceID = "if-0"
	SingleGroup     sg.GroupID     = "sg-0"
	SingleVPC       sg.VPCID       = "vpc-0"
)

// Single makes the policy of one interface with one group that has those
// rules, and the sets that they name. The interface has an IPv4 and an IPv6
// address. It panics if the rules and sets are no valid policy.
func Single(rules []sg.Rule, sets ...*ipset.Set) *policy.Snapshot {
	c := []policy.Change{
		policy.PutGroup{Group: &sg.Group{ID: SingleGroup, Name: "single", VPC: SingleVPC, Rules: rules}},
		policy.PutInterface{Interface: &sg.Interface{
			ID: SingleInterface, VPC: SingleVPC, Addrs: hostAddrs(0, 5), Groups: []sg.GroupID{SingleGroup},
		}},
	}
	for _, s := range sets {
		c = append(c, policy.PutSet{Set: s})
	}
	return mustBuild(c)
}

// Set makes a set of n different prefixes of family f, which is IPv4 or IPv6:
// half of them hosts, the others up to 8 bits wider for IPv4 and up to 80 bits
// wider for IPv6. It panics if n is negative or above 16,777,216.
func Set(r *rand.Rand, id sg.SetID, f sg.Family, n int) *ipset.Set {
	if n < 0 || n > 1<<24 || f != sg.IPv4 && f != sg.IPv6 {
		panic(fmt.Sprintf("workload: no set has %d entries of family %v", n, f))
	}
	s := ipset.New(id, f, sg.Global())
	for s.Len() < n {
		a := address(r, f)
		bits := a.BitLen()
		if r.IntN(2) == 0 {
			wider := 8
			if f == sg.IPv6 {
				wider = 80
			}
			bits -= 1 + r.IntN(wider)
		}
		p, _ := a.Prefix(bits)
		if !s.Has(p) {
			if err := s.Add(ipset.Entry{Prefix: p}); err != nil {
				panic(err) // masked, of the right family and new: it can not fail
			}
		}
	}
	return s
}

// rules calls next until it has n rules that are different traffic, and
// numbers them.
func rules(r *rand.Rand, n int, next func() sg.Rule) []sg.Rule {
	if n < 0 {
		panic(fmt.Sprintf("workload: %d rules", n))
	}
	out := make([]sg.Rule, 0, n)
	seen := make(map[sg.Rule]bool, n)
	for len(out) < n {
		rule := next()
		if seen[rule.Key()] {
			continue
		}
		seen[rule.Key()] = true
		rule.ID = sg.RuleID(fmt.Sprintf("r-%06d", len(out)))
		out = append(out, rule)
	}
	return out
}

// service gives a rule of family f its protocol and ports.
func service(r *rand.Rand, rule *sg.Rule, f sg.Family) {
	switch k := r.IntN(100); {
	case k < 65:
		rule.Protocol = sg.TCP
	case k < 90:
		rule.Protocol = sg.UDP
	default:
		icmp(r, rule, f)
		return
	}
	switch k := r.IntN(10); {
	case k < 6:
		rule.Ports = sg.Port(port(r))
	case k < 9:
		first := 1 + r.IntN(64_000)
		rule.Ports = sg.PortRange{First: uint16(first), Last: uint16(first + 1 + r.IntN(999))}
	default:
		rule.Ports = sg.AllPorts()
	}
}

// icmp gives a rule every message, one type, or one type and code.
func icmp(r *rand.Rand, rule *sg.Rule, f sg.Family) {
	rule.Protocol = sg.ICMP
	types := []uint8{8, 13, 3, 11} // echo, timestamp; unreachable, time exceeded
	if f == sg.IPv6 {
		rule.Protocol = sg.ICMPv6
		types = []uint8{128, 1, 2, 3} // echo; unreachable, too big, time exceeded
	}
	switch typ := types[r.IntN(len(types))]; r.IntN(3) {
	case 0:
		rule.ICMP = sg.ICMPType(typ)
	case 1:
		rule.ICMP = sg.ICMPTypeCode(typ, uint8(r.IntN(4)))
	}
}

// port returns a port, every second time a well-known one.
func port(r *rand.Rand) uint16 {
	known := [...]uint16{22, 25, 53, 80, 123, 443, 3306, 3389, 5432, 6379, 8080, 8443}
	if r.IntN(2) == 0 {
		return known[r.IntN(len(known))]
	}
	return uint16(1 + r.IntN(65_535))
}

func familyOf(r *rand.Rand) sg.Family {
	if r.IntN(10) < 7 {
		return sg.IPv4
	}
	return sg.IPv6
}

// prefix returns a prefix of 8 to 32 bits for IPv4, 32 to 128 for IPv6.
func prefix(r *rand.Rand, f sg.Family) netip.Prefix {
	bits := 8 + r.IntN(25)
	if f == sg.IPv6 {
		bits = 32 + r.IntN(97)
	}
	return netip.PrefixFrom(address(r, f), bits).Masked()
}

// address returns a unicast address: of 1.0.0.0 to 223.255.255.255, or of
// 2000::/3.
func address(r *rand.Rand, f sg.Family) netip.Addr {
	if f == sg.IPv4 {
		v := r.Uint32()
		return netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), byte(v >> 16), byte(v >> 8), byte(v)})
	}
	a := address16(r)
	a[0] = 0x20 | a[0]&0x1f
	return netip.AddrFrom16(a)
}

func address16(r *rand.Rand) (a [16]byte) {
	hi, lo := r.Uint64(), r.Uint64()
	for i := range 8 {
		a[i], a[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	return a
}

func unspecified(f sg.Family) netip.Addr {
	if f == sg.IPv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
