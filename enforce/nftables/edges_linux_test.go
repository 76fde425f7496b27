package nftables

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// TestOneRuleBothWays: rules of the platform that are equal but for their
// direction have one number and so one counter, which stays while either is used.
func TestOneRuleBothWays(t *testing.T) {
	profile := stackit.Profile()
	profile.BeyondAny = nil
	for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
		profile.BeyondAny = append(profile.BeyondAny, sg.PlatformRule{Name: "beyond", Action: sg.Drop, Rule: sg.Rule{
			ID: "beyond", Direction: d, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerCIDR(prefix("203.0.113.0/28")),
		}})
	}
	group := func(id sg.GroupID, d sg.Direction) policy.Change {
		return policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: "a", Rules: []sg.Rule{{
			ID: "r", Direction: d, Protocol: sg.TCP, Ports: sg.Port(1), Peer: sg.PeerAny(),
		}}}}
	}
	iface := func(id sg.InterfaceID, g sg.GroupID, addr string) policy.Change {
		return policy.PutInterface{Interface: &sg.Interface{ID: id, VPC: "a", Addrs: prefixes(addr), Groups: []sg.GroupID{g}}}
	}
	o := Options{Device: func(id sg.InterfaceID) (string, bool) { return "x" + string(id), true }}
	first := iface("i1", "in", "10.0.0.1")
	s := newSourceOf(t, profile, group("in", sg.Ingress), group("eg", sg.Egress), first, iface("i2", "eg", "10.0.0.2"))
	p := newPlanner(t, s.matcher(), o)
	h := newHost(t, o)
	h.apply(s.matcher())
	for _, c := range []policy.Change{policy.DeleteInterface{ID: "i1"}, first, iface("i2", "in", "10.0.0.2"), policy.DeleteInterface{ID: "i1"}} {
		m := s.change(c)
		p.take(p.check(m, "planned by what differs, and as a whole"))
		require.NoError(t, h.tryApply(m))
		require.True(t, h.sure)
	}
}

// TestRoomForEdits: more members than a transaction may have here come with new
// sets, which are filled in parts.
func TestRoomForEdits(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	require.NoError(t, unix.SetsockoptInt(h.kernel.s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 50_000))
	n, err := unix.GetsockoptInt(h.kernel.s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	require.NoError(t, err)
	h.kernel.s.limit = n - 4096
	require.NoError(t, h.tryApply(s.change(policy.PutSet{Set: swapSet("two", append(many(9000), friend)...)})))
	require.True(t, h.sure)
	require.NoError(t, h.tryApply(s.change(policy.PutSet{Set: swapSet("two", friend)})))
	require.Empty(t, h.verify())
}
