package nftables

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// largeCIDRs is a group of n rules with n CIDRs, every other one of a service
// of its own.
func largeCIDRs(t testing.TB, n int) *ir.Program {
	g := &sg.Group{ID: "g", Name: "g", VPC: "v"}
	for i := range n {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i >> 12), byte(i >> 4), byte(i << 4)}), 28+i%5)
		g.Rules = append(g.Rules, sg.Rule{ID: sg.RuleID(fmt.Sprint("r", i)), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(uint16(1 + i%100)), Peer: sg.PeerCIDR(p.Masked())})
	}
	return large(t, policy.PutGroup{Group: g})
}

// largeGroups is a group with a rule for each of n other groups, which have a
// member each.
func largeGroups(t testing.TB, n int) *ir.Program {
	g := &sg.Group{ID: "g", Name: "g", VPC: "v"}
	changes := []policy.Change{policy.PutGroup{Group: g}}
	for i := range n {
		id := sg.GroupID(fmt.Sprint("peer", i))
		changes = append(changes, policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: "v"}},
			policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprint("m", i)), VPC: "v", Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 32)}, Groups: []sg.GroupID{id}}})
		g.Rules = append(g.Rules, sg.Rule{ID: sg.RuleID(fmt.Sprint("r", i)), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(uint16(1 + i%100)), Peer: sg.PeerGroup(id)})
	}
	return large(t, changes...)
}

func large(t testing.TB, changes ...policy.Change) *ir.Program {
	changes = append(changes, policy.PutInterface{Interface: &sg.Interface{ID: "sg0", VPC: "v", Addrs: prefixes("10.0.0.5"), Groups: []sg.GroupID{"g"}}})
	m, err := compile.Compile(build(t, sg.Profile{Name: "large"}, changes...))
	require.NoError(t, err)
	return m.Program()
}

// TestLargeIsLinear: twice the rules are about twice the script.
func TestLargeIsLinear(t *testing.T) {
	size := func(p *ir.Program) float64 {
		var b bytes.Buffer
		require.NoError(t, Render(&b, p, Options{Device: deviceOf}))
		return float64(b.Len())
	}
	require.InDelta(t, 2, size(largeCIDRs(t, 4000))/size(largeCIDRs(t, 2000)), 0.2)
	require.InDelta(t, 2, size(largeGroups(t, 400))/size(largeGroups(t, 200)), 0.2)
}

func BenchmarkRender(b *testing.B) {
	for _, c := range []struct {
		name string
		make func(testing.TB, int) *ir.Program
		n    int
	}{{"cidrs", largeCIDRs, 1000}, {"cidrs", largeCIDRs, 10_000}, {"groups", largeGroups, 100}, {"groups", largeGroups, 1000}} {
		b.Run(fmt.Sprintf("%s=%d", c.name, c.n), func(b *testing.B) {
			p := c.make(b, c.n)
			var text bytes.Buffer
			require.NoError(b, Render(&text, p, Options{Device: deviceOf}))
			b.ReportMetric(float64(text.Len()), "bytes")
			for b.Loop() {
				require.NoError(b, Render(io.Discard, p, Options{Device: deviceOf}))
			}
		})
	}
}
