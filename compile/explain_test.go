package compile_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestExplain: every verdict is explained in words, the nearest rule is that
// of the fewest and closest faults, and defaults are named by their origin.
func TestExplain(t *testing.T) {
	any4, any6 := sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")), sg.PeerCIDR(netip.MustParsePrefix("::/0"))
	office := ipset.New("ips-office", sg.IPv4, sg.Global())
	require.NoError(t, office.Add(ipset.Entry{Prefix: netip.MustParsePrefix("198.51.100.0/24")}))
	web := &sg.Group{ID: "sg-web", Name: "web", Rules: []sg.Rule{
		{ID: "http", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(80), Peer: any4},
		{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: any4},
		{ID: "ssh", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerSet("ips-office")},
		{ID: "ping", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPTypeCode(8, 0), Peer: any4},
		{ID: "dns", Direction: sg.Ingress, Protocol: sg.UDP, Ports: sg.Port(53), Peer: any4},
		{ID: "gre", Direction: sg.Ingress, Protocol: 47, Peer: any4},
	}}
	open := &sg.Group{ID: "sg-open", Name: "open", Rules: []sg.Rule{
		{ID: "default", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: any4, Origin: "made up: new group"},
		{ID: "high", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.AllPorts(), Peer: any6},
	}}
	profile := sg.Profile{Name: "p", Platform: []sg.PlatformRule{
		{Name: "smtp", Action: sg.Drop, Rule: sg.Rule{ID: "smtp", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(25), Peer: any4}},
	}}
	iface := func(id sg.InterfaceID, g ...sg.GroupID) policy.Change {
		return policy.PutInterface{Interface: &sg.Interface{ID: id, Groups: g}}
	}
	s, err := policy.Build(profile, policy.PutSet{Set: office}, policy.PutGroup{Group: web}, policy.PutGroup{Group: open},
		iface("web", "sg-web"), iface("open", "sg-open"), iface("bare"))
	require.NoError(t, err)
	m, err := compile.Compile(s)
	require.NoError(t, err)

	flow := func(remote string, proto sg.Protocol, port uint16) ir.Flow {
		return ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(proto), Port: port}
	}
	echo := flow("192.0.2.7", sg.ICMP, 0)
	echo.ICMPType = 13
	blank := flow("192.0.2.7", sg.TCP, 0)
	blank.NoPorts = true
	for _, c := range []struct {
		iface sg.InterfaceID
		d     sg.Direction
		f     ir.Flow
		want  string
	}{
		{"web", sg.Ingress, flow("192.0.2.7", sg.TCP, 80), "sg-web/http allows tcp 80 from any ipv4"},
		{"web", sg.Ingress, flow("192.0.2.7", sg.TCP, 81), "no rule for tcp 81 from 192.0.2.7; nearest: sg-web/http allows tcp 80 from any ipv4 (port 81 is outside)"},
		{"web", sg.Ingress, flow("192.0.2.7", sg.TCP, 400), "no rule for tcp 400 from 192.0.2.7; nearest: sg-web/https allows tcp 443 from any ipv4 (port 400 is outside)"},
		{"web", sg.Ingress, flow("192.0.2.7", sg.TCP, 22), "no rule for tcp 22 from 192.0.2.7; nearest: sg-web/ssh allows tcp 22 from set ips-office (192.0.2.7 is not in its peer)"},
		{"web", sg.Ingress, flow("192.0.2.7", sg.UDP, 443), "no rule for udp 443 from 192.0.2.7; nearest: sg-web/dns allows udp 53 from any ipv4 (port 443 is outside)"},
		{"web", sg.Ingress, flow("192.0.2.7", sg.SCTP, 443), "no rule for sctp 443 from 192.0.2.7; nearest: sg-web/https allows tcp 443 from any ipv4 (the packet is sctp)"},
		{"web", sg.Ingress, flow("2001:db8::7", sg.TCP, 443), "no rule for tcp 443 from 2001:db8::7; nearest: sg-web/https allows tcp 443 from any ipv4 (the packet is ipv6)"},
		{"web", sg.Ingress, echo, "no rule for icmp type 13 code 0 from 192.0.2.7; nearest: sg-web/ping allows icmp type 8/0 from any ipv4 (type 13 code 0 is another message)"},
		{"web", sg.Ingress, blank, "no rule for tcp without ports from 192.0.2.7; nearest: sg-web/http allows tcp 80 from any ipv4 (the packet has no ports)"},
		{"web", sg.Ingress, flow("192.0.2.7", 50, 0), "no rule for esp from 192.0.2.7"},
		{"web", sg.Egress, flow("192.0.2.7", sg.TCP, 443), "no group of the interface has any egress rule"},
		{"open", sg.Egress, flow("192.0.2.7", sg.TCP, 443), "sg-open/default allows any to any ipv4 [made up: new group]"},
		{"open", sg.Egress, flow("2001:db8::7", sg.TCP, 443), "sg-open/high allows tcp all ports to any ipv6"},
		{"open", sg.Egress, flow("192.0.2.7", sg.TCP, 25), "platform smtp drops tcp 25 to any ipv4"},
		{"bare", sg.Ingress, flow("192.0.2.7", sg.TCP, 443), "the interface has no group"},
		{"none", sg.Ingress, flow("192.0.2.7", sg.TCP, 443), "the policy has no such interface"},
	} {
		e := m.Explain(c.iface, c.d, c.f)
		require.Equal(t, c.want, e.Why())
		if i, ok := m.Interface(c.iface); ok {
			require.Equal(t, m.Match(i.Index, c.d, c.f), e.Verdict)
		}
		lines := slices.Collect(e.All())
		require.Len(t, lines, 1+len(e.Matches)+len(e.Misses)+len(e.Selectors))
	}
	e := m.Explain("web", sg.Ingress, flow("198.51.100.3", sg.TCP, 22))
	require.Equal(t, "sg-web/ssh allows tcp 22 from set ips-office", e.Why())
	require.Len(t, e.Selectors, 1)
	require.Contains(t, slices.Collect(e.All()), "member of: set ips-office")
}

// TestExplainAll: all of an explanation is listed, as far as it is asked for.
func TestExplainAll(t *testing.T) {
	a, b := ipset.New("a", sg.IPv4, sg.Global()), ipset.New("b", sg.IPv4, sg.Global())
	for _, s := range []*ipset.Set{a, b} {
		require.NoError(t, s.Add(ipset.Entry{Prefix: netip.MustParsePrefix("198.51.100.0/24")}))
	}
	rule := func(id string, port uint16, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: sg.RuleID(id), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: peer}
	}
	g := &sg.Group{ID: "g", Name: "g", Rules: []sg.Rule{
		rule("r1", 80, sg.PeerSet("a")), rule("r2", 80, sg.PeerSet("b")), rule("r3", 81, sg.PeerSet("a")), rule("r4", 82, sg.PeerSet("b")),
	}}
	s, err := policy.Build(sg.Profile{Name: "p"}, policy.PutSet{Set: a}, policy.PutSet{Set: b}, policy.PutGroup{Group: g},
		policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g"}}})
	require.NoError(t, err)
	m, err := compile.Compile(s)
	require.NoError(t, err)
	e := m.Explain("i", sg.Ingress, ir.Flow{Remote: netip.MustParseAddr("198.51.100.3"), Protocol: uint8(sg.TCP), Port: 80})
	want := []string{
		"accept (rule): g/r1 allows tcp 80 from set a",
		"match: g/r1 allows tcp 80 from set a", "match: g/r2 allows tcp 80 from set b",
		"miss on ports: g/r3 allows tcp 81 from set a", "miss on ports: g/r4 allows tcp 82 from set b",
		"member of: set a", "member of: set b",
	}
	require.Equal(t, want, slices.Collect(e.All()))
	for n := range want {
		var got []string
		for line := range e.All() {
			if got = append(got, line); len(got) == n+1 {
				break
			}
		}
		require.Equal(t, want[:n+1], got)
	}
}

// TestNoAllocation: a verdict costs no garbage, whoever is asked.
func TestNoAllocation(t *testing.T) {
	m, err := compile.Compile(webPolicy())
	require.NoError(t, err)
	i, _ := m.Interface("db-1")
	for _, remote := range []string{"10.0.0.5", "192.0.2.7", "2001:db8::7"} {
		f := ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.TCP), Port: 5432}
		require.Zero(t, testing.AllocsPerRun(100, func() { m.Match(i.Index, sg.Ingress, f) }))
	}
}

// TestWrongUse: a Compiler without a policy says so, and a refused batch
// leaves the matcher in force.
func TestWrongUse(t *testing.T) {
	var c compile.Compiler
	_, err := c.Apply(policy.Batch{})
	require.ErrorIs(t, err, sg.ErrRequired)
	_, err = c.Reset(nil)
	require.ErrorIs(t, err, sg.ErrRequired)
	require.Nil(t, c.Matcher())
	m, err := c.Reset(webPolicy())
	require.NoError(t, err)
	_, err = c.Apply(policy.Batch{Changes: []policy.Change{policy.DeleteGroup{ID: "sg-web"}}})
	require.ErrorIs(t, err, sg.ErrInUse)
	require.Same(t, m, c.Matcher())
}

// TestAnotherProfile: a Compiler that is reset to the same groups under another
// profile forgets what the old one meant, and connections are judged again.
func TestAnotherProfile(t *testing.T) {
	icmp := &sg.Group{ID: "g", Name: "g", Rules: []sg.Rule{{ID: "icmp", Direction: sg.Ingress, Protocol: sg.ICMP, Peer: sg.PeerAny()}}}
	changes := []policy.Change{policy.PutGroup{Group: icmp}, policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g"}}}}
	echo := ir.Flow{Remote: netip.MustParseAddr("2001:db8::7"), Protocol: uint8(sg.ICMPv6), ICMPType: 128}
	var c compile.Compiler
	epoch := ^uint32(0)
	for _, covers := range []bool{true, false, true, false} {
		s, err := policy.Build(sg.Profile{Name: "p", ICMPCoversIPv6: covers}, changes...)
		require.NoError(t, err)
		m, err := c.Reset(s)
		require.NoError(t, err)
		i, _ := m.Interface("i")
		require.Equal(t, covers, m.Match(i.Index, sg.Ingress, echo).Action == sg.Accept)
		require.NotEqual(t, epoch, m.Program().Epoch())
		epoch = m.Program().Epoch()
	}
}

// TestReborn: an interface that is deleted and put again in one batch is
// another interface (API-06).
func TestReborn(t *testing.T) {
	var c compile.Compiler
	m, err := c.Reset(webPolicy())
	require.NoError(t, err)
	old, _ := m.Interface("web-1")
	same := sg.Interface{ID: "web-1", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}, Groups: []sg.GroupID{"sg-web"}}
	m, err = c.Apply(policy.Batch{Changes: []policy.Change{policy.DeleteInterface{ID: "web-1"}, policy.PutInterface{Interface: &same}}})
	require.NoError(t, err)
	now, _ := m.Interface("web-1")
	require.NotEqual(t, old.Serial, now.Serial)
}
