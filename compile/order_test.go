package compile

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// TestChainOrder: rules for any peer come first, then those of prefixes, then those
// of groups and sets, each in the order of the group; and what the platform drops
// beyond a rule for any is dropped behind those of a peer.
func TestChainOrder(t *testing.T) {
	const inside, outside = "10.1.2.3", "192.0.2.7"
	all := ipset.New("all", sg.IPv4, sg.Global())
	require.NoError(t, all.Add(ipset.Entry{Prefix: netip.MustParsePrefix("0.0.0.0/1")}))
	egress := func(id string, peer sg.Peer) sg.Rule {
		r := tcpFrom(id, 80, peer)
		r.Direction = sg.Egress
		return r
	}
	any, set, self := egress("any", sg.PeerAny()), egress("set", sg.PeerSet("all")), egress("self", sg.PeerGroup("g"))
	cidr, wide := egress("cidr", sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))), egress("wide", sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/1")))
	beyond := []sg.PlatformRule{{Name: "metadata", Rule: sg.Rule{
		ID: "metadata", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerCIDR(netip.MustParsePrefix("10.1.2.0/24")),
	}}}
	for _, c := range []struct {
		name            string
		beyond          []sg.PlatformRule
		rules           []sg.Rule
		inside, outside string // the rule that decides, or "" for none
	}{
		{"any is first", nil, []sg.Rule{set, cidr, any}, "any", "any"},
		{"cidr is next", nil, []sg.Rule{self, set, cidr}, "cidr", ""},
		{"in order", nil, []sg.Rule{set, self}, "set", ""},
		{"in order too", nil, []sg.Rule{self, set}, "self", ""},
		{"cidrs in order", nil, []sg.Rule{wide, cidr}, "wide", ""},
		{"beyond any", beyond, []sg.Rule{any}, "metadata", "any"},
		{"beyond any but a peer", beyond, []sg.Rule{any, cidr}, "cidr", "any"},
		{"beyond any but a set", beyond, []sg.Rule{any, set}, "set", "any"},
		{"no any", beyond, []sg.Rule{cidr}, "cidr", ""},
		{"no any, no cidr", beyond, []sg.Rule{self}, "self", ""},
	} {
		s, err := policy.Build(sg.Profile{Name: "p", BeyondAny: c.beyond}, policy.PutSet{Set: all},
			policy.PutGroup{Group: &sg.Group{ID: "g", Name: "g", Rules: c.rules}},
			policy.PutInterface{Interface: &sg.Interface{ID: "i", Groups: []sg.GroupID{"g"}, Addrs: []netip.Prefix{netip.MustParsePrefix(inside + "/32")}}})
		require.NoError(t, err)
		m, err := Compile(s)
		require.NoError(t, err)
		i, _ := m.Interface("i")
		for remote, want := range map[string]string{inside: c.inside, outside: c.outside} {
			v := m.Match(i.Index, sg.Egress, ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.TCP), Port: 80})
			r, _ := m.Program().Rule(v.Rule)
			require.Equal(t, sg.RuleID(want), r.Ref.Rule, "%s, %s", c.name, remote)
			require.Equal(t, want != "" && want != "metadata", v.Action == sg.Accept, "%s, %s", c.name, remote)
		}
	}
}

// TestEpochStays: connections are judged again only if some may be refused now.
func TestEpochStays(t *testing.T) {
	var c Compiler
	s := spread(t, 2, tcpFrom("a", 80, sg.PeerSet("office")), tcpFrom("b", 81, sg.PeerAny()))
	m, err := c.Reset(s)
	require.NoError(t, err)
	group := func(rules ...sg.Rule) policy.Change {
		return policy.PutGroup{Group: &sg.Group{ID: "g0", Name: "g0", VPC: "v0", Rules: rules}}
	}
	iface := func(addrs ...string) policy.Change {
		i := &sg.Interface{ID: "i0", VPC: "v0", Groups: []sg.GroupID{"g0"}}
		for _, a := range addrs {
			i.Addrs = append(i.Addrs, netip.MustParsePrefix(a+"/32"))
		}
		return policy.PutInterface{Interface: i}
	}
	self, a, b := tcpFrom("self", 1, sg.PeerGroup("g0")), tcpFrom("a", 80, sg.PeerSet("office")), tcpFrom("b", 81, sg.PeerAny())
	entry := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, n}), 32) }
	for _, step := range []struct {
		name   string
		change policy.Change
		moves  bool
	}{
		{"a rule more", group(self, a, b, tcpFrom("c", 82, sg.PeerAny())), false},
		{"in another order", group(b, a, self, tcpFrom("c", 82, sg.PeerAny())), false},
		{"a rule less", group(self, a, b), true},
		{"another rule", group(self, a, tcpFrom("b", 83, sg.PeerAny())), true},
		{"an entry more", policy.EditSet{ID: "office", Add: []ipset.Entry{{Prefix: entry(1)}}}, false},
		{"an entry less", policy.EditSet{ID: "office", Remove: []netip.Prefix{entry(1)}}, true},
		{"an address more", iface("10.0.0.0", "10.0.0.9"), false},
		{"an address less", iface("10.0.0.9"), true},
		{"nothing", iface("10.0.0.9"), false},
		{"an interface less, whose group nobody is in", policy.DeleteInterface{ID: "i1"}, true},
		{"no rule", group(), true},
		{"still none", group(), false},
		{"the first rule", group(a), false},
	} {
		next, err := c.Apply(policy.Batch{Changes: []policy.Change{step.change}})
		require.NoError(t, err, step.name)
		require.Equal(t, step.moves, next.Program().Epoch() != m.Program().Epoch(), step.name)
		m = next
	}
}
