package nftables

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// historian makes up changes.
type historian struct{ *rand.Rand }

func (r historian) host() string {
	if r.IntN(3) == 0 {
		return fmt.Sprintf("2001:db8::%x", r.IntN(6))
	}
	return fmt.Sprintf("203.0.113.%d", r.IntN(8))
}

func (r historian) prefix() string {
	switch r.IntN(6) {
	case 0:
		return fmt.Sprintf("198.51.%d.0/24", r.IntN(5))
	case 1:
		return fmt.Sprintf("2001:db8:%d::/48", r.IntN(5))
	case 2:
		return []string{"192.0.2.0/28", "192.0.2.16/28", "10.0.0.0/8", "0.0.0.0/0", "::/0"}[r.IntN(5)]
	}
	return r.host()
}

func (r historian) peer() sg.Peer {
	switch r.IntN(5) {
	case 0:
		return sg.PeerAny()
	case 1:
		return sg.PeerCIDR(prefix(r.prefix()).Masked())
	case 2:
		return sg.PeerGroup(r.group())
	}
	return sg.PeerSet(r.set())
}

func (r historian) group() sg.GroupID { return []sg.GroupID{"g0", "g1", "g2"}[r.IntN(3)] }
func (r historian) set() sg.SetID     { return []sg.SetID{"s0", "s1", "s2"}[r.IntN(3)] }

func (r historian) putGroup(id sg.GroupID) policy.Change {
	g := &sg.Group{ID: id, Name: string(id), VPC: "a"}
	for k := range r.IntN(7) {
		rule := sg.Rule{ID: sg.RuleID(fmt.Sprintf("r%d", k)), Direction: []sg.Direction{sg.Ingress, sg.Egress}[r.IntN(2)], Peer: r.peer()}
		switch r.IntN(4) {
		case 0:
			rule.Protocol = sg.AnyProtocol
		case 1:
			rule.Protocol, rule.ICMP = sg.ICMP, sg.ICMPType(8)
		case 2:
			first := uint16(r.IntN(900))
			rule.Protocol, rule.Ports = sg.TCP, sg.PortRange{First: first, Last: first + uint16(r.IntN(100))}
		default:
			rule.Protocol, rule.Ports = sg.UDP, sg.Port(uint16(1+r.IntN(900)))
		}
		g.Rules = append(g.Rules, rule)
	}
	return policy.PutGroup{Group: g}
}

// member is a prefix of the family of a set: s2 is of IPv6.
func (r historian) member(id sg.SetID) string {
	for {
		if p := r.prefix(); prefix(p).Addr().Is6() == (id == "s2") {
			return p
		}
	}
}

func (r historian) putSet(id sg.SetID) policy.Change {
	members := map[string]bool{}
	for range r.IntN(9) {
		members[r.member(id)] = true
	}
	return policy.PutSet{Set: swapSet(id, sortedKeys(members)...)}
}

func (r historian) putInterface(n int) policy.Change {
	i := &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("%s%d", []string{"sg", "far"}[n%2], n)), VPC: "a", SourceGuard: r.IntN(3) == 0,
		Addrs: prefixes(fmt.Sprintf("10.0.%d.%d", r.IntN(2), n), fmt.Sprintf("fd00::%d", n))}
	for _, g := range []sg.GroupID{"g0", "g1", "g2"} {
		if r.IntN(2) == 0 {
			i.Groups = append(i.Groups, g)
		}
	}
	return policy.PutInterface{Interface: i}
}

func (r historian) change() []policy.Change {
	var out []policy.Change
	for range 1 + r.IntN(3)*r.IntN(3) {
		switch r.IntN(8) {
		case 0:
			out = append(out, r.putGroup(r.group()))
		case 1:
			out = append(out, r.putSet(r.set()))
		case 2:
			out = append(out, r.putInterface(r.IntN(6)))
		case 3:
			n := r.IntN(6)
			out = append(out, policy.DeleteInterface{ID: sg.InterfaceID(fmt.Sprintf("%s%d", []string{"sg", "far"}[n%2], n))})
		case 4:
			id := r.set()
			out = append(out, leaves(id, r.member(id), r.member(id)))
		default:
			id := r.set()
			out = append(out, joins(id, r.member(id)))
		}
	}
	return out
}

// TestDeltasLeadThere: whatever changes led there, the table is the one that a
// Backend makes that knows nothing else.
func TestDeltasLeadThere(t *testing.T) {
	devices := map[sg.InterfaceID]string{}
	o := Options{Device: func(id sg.InterfaceID) (string, bool) { d, ok := devices[id]; return d, ok }}
	h, fresh := newHost(t, o), newHost(t, o)
	how := map[string]int{}
	for seed := range uint64(6) {
		r := historian{rand.New(rand.NewPCG(seed, 1))}
		for n := range 6 {
			id := sg.InterfaceID(fmt.Sprintf("%s%d", []string{"sg", "far"}[n%2], n))
			if delete(devices, id); n%2 == 0 {
				devices[id] = fmt.Sprintf("dev%d", n)
			}
		}
		s := newSourceOf(t, []sg.Profile{stackit.Profile(), keepProfile()}[seed%2], r.putSet("s0"), r.putSet("s1"), r.putSet("s2"),
			policy.PutGroup{Group: &sg.Group{ID: "g0", Name: "g0", VPC: "a"}}, policy.PutGroup{Group: &sg.Group{ID: "g1", Name: "g1", VPC: "a"}},
			policy.PutGroup{Group: &sg.Group{ID: "g2", Name: "g2", VPC: "a"}}, r.putInterface(0), r.putInterface(1), r.putInterface(2))
		h.apply(s.matcher())
		for step := range 30 {
			next, done, err := s.snapshot.With(r.change()...)
			if err != nil {
				continue // no such interface, or two rules for the same
			}
			m, err := s.c.Apply(policy.Batch{Changes: done})
			require.NoError(t, err)
			s.snapshot = next
			was := h.now.names
			if step%10 == 9 { // a device appears or goes
				const id = "sg2"
				if _, ok := devices[id]; ok {
					delete(devices, id)
				} else {
					devices[id] = "other"
				}
				h.apply(m)
			}
			h.apply(m)
			switch {
			case was.m.Len() == h.now.names.m.Len() && was.of("refuse") == h.now.names.of("refuse"):
				how["changed"]++
			default:
				how["made"]++
			}
			if step%4 != 0 {
				continue
			}
			fresh.do(fresh.Remove)
			fresh.apply(m)
			if want, got := fresh.table(), h.table(); want != got {
				require.Fail(t, "another table", "seed %d, step %d: %s", seed, step, diff(want, got))
			}
			require.Equal(t, blocksOf(fresh.nft("-s", "list", "table", "inet", "secgroup")), blocksOf(h.nft("-s", "list", "table", "inet", "secgroup")))
			require.Empty(t, h.verify())
		}
	}
	require.NotZero(t, how["changed"])
}

// keepProfile lets connections live.
func keepProfile() sg.Profile {
	p := stackit.Profile()
	p.Established = sg.Keep
	return p
}

// diff are the lines that only one of two texts has.
func diff(want, got string) string {
	var out []string
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range a {
		if !slices.Contains(b, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			out = append(out, "+ "+line)
		}
	}
	return strings.Join(out, "\n")
}

// TestRulesetSize: what there is does not grow with members, and hardly with
// interfaces that have a policy in common.
func TestRulesetSize(t *testing.T) {
	h := newHost(t, Options{})
	rules := func(members, interfaces int) int {
		changes := town(many(members), []string{friend})
		for i := range interfaces {
			changes = append(changes, policy.PutInterface{Interface: &sg.Interface{ID: sg.InterfaceID(fmt.Sprintf("sgx%d", i)), VPC: "a",
				Addrs: prefixes(fmt.Sprintf("10.1.%d.%d", i>>8, i&255)), Groups: []sg.GroupID{"web"}}})
		}
		h.apply(newSource(t, changes...).matcher())
		listing := h.nft("-a", "-t", "list", "table", "inet", "secgroup")
		return strings.Count(listing, "# handle")
	}
	want := rules(1, 0)
	require.Equal(t, want, rules(5_000, 0))
	require.Equal(t, want, rules(1, 150))
}

// TestMixedChange: a change of rules and of members at once keeps what the old
// rules look up until nobody is in them.
func TestMixedChange(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	set := ""
	for logical := range h.now.names.m.All() {
		if isMemberSet(logical) {
			set = logical
		}
	}
	old := h.now.names.known(set)
	h.apply(s.change(joins("one", guest), joins("two", guest)))
	require.Equal(t, old, h.now.names.known(set), "members only")
	web, _ := s.snapshot.Group("web")
	more := web.Clone()
	more.Rules = append(more.Rules, sg.Rule{ID: "more", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(8080), Peer: sg.PeerSet("one")})
	h.apply(s.change(policy.PutGroup{Group: more}))
	require.Equal(t, old, h.now.names.known(set), "rules only")
	h.apply(s.change(policy.PutGroup{Group: web.Clone()}, leaves("one", guest), leaves("two", guest)))
	require.NotEqual(t, old, h.now.names.known(set), "both")
	require.Empty(t, h.verify())
}

func TestRewrite(t *testing.T) {
	of := func(s string) string { return "<" + s + ">" }
	for rule, want := range map[string]string{
		"accept":                      "accept",
		"goto refuse":                 "goto <refuse>",
		`"sg0" : goto p1_from`:        `"sg0" : goto <p1_from>`,
		`"goto x" : jump y`:           `"goto x" : jump <y>`,
		"ip saddr @set1_v4_32 goto a": "ip saddr @<set1_v4_32> goto <a>",
		"counter name rule5 goto b":   "counter name <rule5> goto <b>",
		`iifname "tap*" goto discard`: `iifname "tap*" goto <discard>`,
		`goto c comment "goto d @e"`:  `goto <c> comment "goto d @e"`,
		"iifname vmap @egress_of":     "iifname vmap @<egress_of>",
		"tcp dport { 1-2, 3 } goto f": "tcp dport { 1-2, 3 } goto <f>",
		"ip saddr vmap { 10.0.0.0/8 : jump g, 11.0.0.0/8 : goto h }": "ip saddr vmap { 10.0.0.0/8 : jump <g>, 11.0.0.0/8 : goto <h> }",
		"ct mark & 0x1 @epoch accept":                                "ct mark & 0x1 @<epoch> accept",
		"ct original ip saddr & 255.0.0.0 @s jump i":                 "ct original ip saddr & 255.0.0.0 @<s> jump <i>",
	} {
		require.Equal(t, want, rewrite(rule, of))
	}
	require.Equal(t, "a_x", untagged("a_x"))
	require.Equal(t, "a", untagged("a"+tag(12)))
	require.Equal(t, uint64(12), tagOf("a_x1_x12"))
	require.Zero(t, tagOf("a_x99999999999999999999"))
	require.Zero(t, tagOf("a_xx"))
}

// TestNamesAreDistinct: chains, sets and counters share one list of names.
func TestNamesAreDistinct(t *testing.T) {
	l, err := newLayout(shopProgram(t), Options{Device: deviceOf})
	require.NoError(t, err)
	r := l.ruleset()
	seen := map[string]bool{}
	all := slices.Collect(r.names)
	for _, c := range r.chains {
		if c.hook != "" {
			all = append(all, c.name)
		}
	}
	for _, name := range all {
		require.False(t, seen[name], name)
		seen[name] = true
		require.Zero(t, tagOf(name))
	}
	for _, c := range r.chains { // whatever a rule names is there
		for _, rule := range c.rules {
			refs(rule, func(name string) { require.True(t, seen[name], "%s: %s", c.name, rule) })
		}
	}
}
