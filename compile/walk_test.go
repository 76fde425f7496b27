package compile_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestWalk: where sets overlap in so many ways that lists are not merged for
// every class, the lists of each selector answer, before and after an edit; and
// beside them, in another policy, classes that no rule names.
func TestWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const hosts, sets, rules = 1024, 40, 400
	host := func(f sg.Family, n int) netip.Addr {
		if f == sg.IPv4 {
			return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		}
		return netip.AddrFrom16([16]byte{0xfd, 14: byte(n >> 8), 15: byte(n)})
	}
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		var changes []policy.Change
		for i := range sets {
			s := ipset.New(sg.SetID(fmt.Sprint("s", i)), f, sg.Global())
			for n := range hosts {
				if a := host(f, n); r.IntN(2) == 0 {
					require.NoError(t, s.Add(ipset.Entry{Prefix: netip.PrefixFrom(a, a.BitLen())}))
				}
			}
			changes = append(changes, policy.PutSet{Set: s})
		}
		g := &sg.Group{ID: "g", Name: "g"}
		for i := range rules {
			g.Rules = append(g.Rules, sg.Rule{
				ID: sg.RuleID(fmt.Sprint("r", i)), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(uint16(1 + 7*i%997)),
				Peer: sg.PeerSet(sg.SetID(fmt.Sprint("s", i%sets))),
			})
		}
		s, err := policy.Build(sg.Profile{Name: "p"}, append(changes,
			policy.PutGroup{Group: g}, policy.PutGroup{Group: &sg.Group{ID: "h", Name: "h", Rules: []sg.Rule{{
				ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(9), Peer: sg.PeerSet("s0"),
			}}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g"}}},
			policy.PutInterface{Interface: &sg.Interface{ID: "k", Groups: []sg.GroupID{"h"}}})...)
		require.NoError(t, err)
		var c compile.Compiler
		m, err := c.Reset(s)
		require.NoError(t, err)
		check := func(m *compile.Matcher) {
			accepted := 0
			for range 150 {
				flow := ir.Flow{Remote: host(f, r.IntN(hosts+50)), Protocol: 6, Port: uint16(1 + 7*r.IntN(rules+20)%997)}
				for _, id := range []sg.InterfaceID{"i", "k"} {
					i, _ := m.Interface(id)
					want := m.Program().Eval(id, sg.Ingress, flow)
					require.Equal(t, want, m.Match(i.Index, sg.Ingress, flow), "%+v", flow)
					out := make([]ir.Verdict, 1)
					m.MatchBatch(i.Index, sg.Ingress, []ir.Flow{flow}, out)
					require.Equal(t, want, out[0])
					if want.Action == sg.Accept {
						accepted++
					}
				}
			}
			require.NotZero(t, accepted)
		}
		check(m)
		before := m
		m, err = c.Apply(policy.Batch{Changes: []policy.Change{policy.EditGroup{ID: "g", Remove: []sg.RuleID{"r7"}, Add: []sg.Rule{{
			ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(3), Peer: sg.PeerSet("s7"),
		}}}}})
		require.NoError(t, err)
		check(m)
		check(before)
	}
}
