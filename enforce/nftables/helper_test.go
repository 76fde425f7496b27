package nftables

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

func prefix(s string) netip.Prefix {
	if !strings.Contains(s, "/") {
		a := netip.MustParseAddr(s)
		return netip.PrefixFrom(a, a.BitLen())
	}
	return netip.MustParsePrefix(s)
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, prefix(s))
	}
	return out
}

// deviceOf puts every interface on this host whose id starts with "sg".
func deviceOf(id sg.InterfaceID) (string, bool) {
	return string(id), strings.HasPrefix(string(id), "sg")
}

func build(t testing.TB, p sg.Profile, changes ...policy.Change) *policy.Snapshot {
	t.Helper()
	s, err := policy.Build(p, changes...)
	require.NoError(t, err)
	return s
}

func render(t testing.TB, p *ir.Program, o Options) string {
	t.Helper()
	if o.Device == nil {
		o.Device = deviceOf
	}
	var b bytes.Buffer
	require.NoError(t, Render(&b, p, o))
	return b.String()
}

// shop is a small policy with something of everything.
func shop(t testing.TB) []policy.Change {
	set := &ipset.Set{ID: "office", Name: "office"}
	for _, p := range []string{"192.0.2.0/24", "198.51.100.0/28", "203.0.113.9"} {
		require.NoError(t, set.Add(ipset.Entry{Prefix: prefix(p)}))
	}
	web := &sg.Group{ID: "web", Name: "web", VPC: "vpc-a", Rules: []sg.Rule{
		{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerCIDR(prefix("0.0.0.0/0"))},
		{ID: "http", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: 80, Last: 81}, Peer: sg.PeerAny()},
		{ID: "ssh", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerSet("office")},
		{ID: "ping", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPType(8), Peer: sg.PeerGroup("db")},
		{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
	}}
	db := &sg.Group{ID: "db", Name: "db", VPC: "vpc-a", Rules: []sg.Rule{
		{ID: "pg", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(5432), Peer: sg.PeerGroup("web")},
		{ID: "a", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(9100), Peer: sg.PeerCIDR(prefix("10.0.0.0/8"))},
		{ID: "b", Direction: sg.Ingress, Protocol: sg.UDP, Ports: sg.Port(161), Peer: sg.PeerCIDR(prefix("10.1.0.0/16"))},
		{ID: "c", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: 9000, Last: 9200}, Peer: sg.PeerCIDR(prefix("10.1.2.0/24"))},
		{ID: "d", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(prefix("172.16.0.1/32"))},
	}}
	return []policy.Change{
		policy.PutSet{Set: set}, policy.PutGroup{Group: web}, policy.PutGroup{Group: db},
		policy.PutInterface{Interface: &sg.Interface{ID: "sg0", VPC: "vpc-a", Addrs: prefixes("10.0.0.5", "fd00::5"), Groups: []sg.GroupID{"web"}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "sg1", VPC: "vpc-a", Addrs: prefixes("10.0.0.6", "fd00::6"), Groups: []sg.GroupID{"db"}, SourceGuard: true}},
		policy.PutInterface{Interface: &sg.Interface{ID: "far", VPC: "vpc-a", Addrs: prefixes("10.0.9.6"), Groups: []sg.GroupID{"db"}}},
	}
}

func compiled(t testing.TB, s *policy.Snapshot) *compile.Matcher {
	t.Helper()
	m, err := compile.Compile(s)
	require.NoError(t, err)
	return m
}

func shopProgram(t testing.TB) *ir.Program {
	return compiled(t, build(t, stackit.Profile(), shop(t)...)).Program()
}
