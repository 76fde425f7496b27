package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"example.com/secgroup/bench/workload"
	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// world is a policy that every engine can hold: one interface, ingress rules
// for addresses, and all that leaves allowed.
type world struct {
	rules  []rule
	policy *policy.Snapshot
	local  map[sg.Family]netip.Addr
}

// rule is an ingress rule with the prefixes of its peer, none left out.
type rule struct {
	sg.Rule
	sources []netip.Prefix
}

// newWorld makes the world of those ingress rules, with the sets they name.
func newWorld(ingress []sg.Rule, sets ...*ipset.Set) *world {
	out := []sg.Rule{
		{ID: "out-4", Direction: sg.Egress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0"))},
		{ID: "out-6", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("::/0"))},
	}
	w := &world{policy: workload.Single(append(out, ingress...), sets...), local: make(map[sg.Family]netip.Addr)}
	i, _ := w.policy.Interface(workload.SingleInterface)
	for _, a := range i.Addrs {
		w.local[sg.FamilyOf(a.Addr())] = a.Addr()
	}
	for _, r := range ingress {
		var from []netip.Prefix
		if p, ok := r.Peer.CIDR(); ok {
			from = []netip.Prefix{p}
		} else if id, ok := r.Peer.Set(); ok {
			s, _ := w.policy.Set(id)
			for e := range s.All() {
				from = append(from, e.Prefix)
			}
		}
		w.rules = append(w.rules, rule{r, from})
	}
	return w
}

// ruleWorld is the workload W10 to W10k, by number of rules.
func ruleWorld(n int) *world {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	return newWorld(workload.Rules(r, n))
}

// setWorld is one rule, TCP 443 from a set of n prefixes.
func setWorld(f sg.Family, n int) *world {
	r := rand.New(rand.NewPCG(uint64(n), uint64(f)))
	return newWorld([]sg.Rule{{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerSet("ips")}},
		workload.Set(r, "ips", f, n))
}

// quietWorld lets SSH in from one network, and everything out.
func quietWorld() *world {
	return newWorld([]sg.Rule{{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22),
		Peer: sg.PeerCIDR(netip.MustParsePrefix("192.0.2.0/24"))}})
}

// allows is the reference: the obvious scan of all rules and prefixes. What
// the generators ask of it has ports.
func (w *world) allows(f ir.Flow) bool {
	for _, r := range w.rules {
		if uint8(r.Protocol) != f.Protocol || !r.Protocol.HasPorts() || !r.Ports.Contains(f.Port) {
			continue
		}
		for _, p := range r.sources {
			if p.Contains(f.Remote) {
				return true
			}
		}
	}
	return false
}

// flows makes n different flows of a family that the rules allow, or refuse,
// all TCP or UDP: of ICMP the peers have ideas of their own. Half of the
// refused ones come from an address that some rule names. Each is asked of the
// reference.
func (w *world) flows(f sg.Family, n int, allowed bool) ([]ir.Flow, error) {
	m, err := compile.Compile(w.policy)
	if err != nil {
		return nil, err
	}
	hit := 0.0
	if allowed {
		hit = 1
	}
	r := rand.New(rand.NewPCG(uint64(n), 7))
	seen := make(map[ir.Flow]bool)
	var out []ir.Flow
	for try := 0; len(out) < n && try < 64; try++ {
		for _, flow := range workload.Flows(r, m.Program(), n, hit) {
			p := sg.Protocol(flow.Protocol)
			if flow.Direction != sg.Ingress || !p.HasPorts() || sg.FamilyOf(flow.Remote) != f || seen[flow.Flow] ||
				len(out) == n || w.allows(flow.Flow) != allowed {
				continue
			}
			seen[flow.Flow] = true
			out = append(out, flow.Flow)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no flow is to be had with allowed = %v", allowed)
	}
	for i := 0; len(out) < n; i++ {
		out = append(out, out[i]) // few services: the same ones again
	}
	return out, nil
}
