package sg_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

func webGroup() *sg.Group {
	https := httpsRule()
	ssh := sg.Rule{ID: "r2", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(22), Peer: sg.PeerGroup("sg-bastion")}
	out := sg.Rule{ID: "r3", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: cidr("0.0.0.0/0")}
	return &sg.Group{ID: "sg-web", Name: "web", VPC: "vpc-1", Rules: []sg.Rule{https, ssh, out}}
}

func TestGroupValidate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(g *sg.Group)
		want  []fault
	}{
		"valid":    {func(g *sg.Group) {}, nil},
		"no rules": {func(g *sg.Group) { g.Rules = nil }, nil}, // GR-12
		"no vpc":   {func(g *sg.Group) { g.VPC = "" }, nil},

		"no id":         {func(g *sg.Group) { g.ID = "" }, []fault{{"id", sg.ErrRequired}}},
		"long id":       {func(g *sg.Group) { g.ID = sg.GroupID(strings.Repeat("a", 256)) }, []fault{{"id", sg.ErrInvalid}}},
		"no name":       {func(g *sg.Group) { g.Name = "" }, []fault{{"name", sg.ErrRequired}}}, // GR-01
		"newline":       {func(g *sg.Group) { g.Name = "a\nb" }, []fault{{"name", sg.ErrInvalid}}},
		"quotes, brace": {func(g *sg.Group) { g.Name = `"}; flush ruleset` }, nil}, // API-04: renderers quote
		"description":   {func(g *sg.Group) { g.Description = strings.Repeat("\n\"", 5_000) }, nil},

		"bad rule":      {func(g *sg.Group) { g.Rules[1].Ports = sg.PortRange{} }, []fault{{"rules[1].ports", sg.ErrRequired}}},
		"same rule id":  {func(g *sg.Group) { g.Rules[2].ID = "r1" }, []fault{{"rules[2].id", sg.ErrDuplicate}}},
		"rule ids fold": {func(g *sg.Group) { g.Rules[2].ID = "R1" }, nil},
		"empty rule ids are not duplicates": {func(g *sg.Group) { g.Rules[1].ID, g.Rules[2].ID = "", "" },
			[]fault{{"rules[1].id", sg.ErrRequired}, {"rules[2].id", sg.ErrRequired}}},

		// RU-30.
		"same traffic": {func(g *sg.Group) {
			again := g.Rules[0]
			again.ID, again.Description = "r4", "another description"
			g.Rules = append(g.Rules, again)
		}, []fault{{"rules[3]", sg.ErrDuplicate}}},
		"same traffic, family named": {func(g *sg.Group) {
			again := g.Rules[0]
			again.ID, again.Family = "r4", sg.IPv4
			g.Rules = append(g.Rules, again)
		}, []fault{{"rules[3]", sg.ErrDuplicate}}},
		"same but for the direction": {func(g *sg.Group) {
			other := g.Rules[0]
			other.ID, other.Direction = "r4", sg.Egress
			g.Rules = append(g.Rules, other)
		}, nil},
		"overlap is no duplicate": {func(g *sg.Group) {
			other := g.Rules[0]
			other.ID, other.Ports = "r4", sg.AllPorts()
			g.Rules = append(g.Rules, other)
		}, nil},
		"three times": {func(g *sg.Group) {
			g.Rules = []sg.Rule{g.Rules[0], g.Rules[0], g.Rules[0]}
		}, []fault{{"rules[1]", sg.ErrDuplicate}, {"rules[1].id", sg.ErrDuplicate},
			{"rules[2]", sg.ErrDuplicate}, {"rules[2].id", sg.ErrDuplicate}}},

		"zero group": {func(g *sg.Group) { *g = sg.Group{} }, []fault{{"id", sg.ErrRequired}, {"name", sg.ErrRequired}}},
		"everything": {func(g *sg.Group) {
			g.ID, g.Name = "\x00", ""
			g.Rules[0].Direction = 0
			g.Rules[1].Peer = sg.Peer{}
			g.Rules[2].ID = "r2"
		}, []fault{{"id", sg.ErrInvalid}, {"name", sg.ErrRequired}, {"rules[0].direction", sg.ErrRequired},
			{"rules[1].peer", sg.ErrRequired}, {"rules[2].id", sg.ErrDuplicate}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := webGroup()
			c.spoil(g)
			requireFaults(t, g.Validate(), c.want...)
		})
	}
}

// API-03: the unusable rule is named, wherever it stands; rules[2] is told
// before rules[10].
func TestGroupValidateNamesTheRule(t *testing.T) {
	g := &sg.Group{ID: "g", Name: "g"}
	for i := range 1000 {
		r := httpsRule()
		r.ID, r.Ports = sg.RuleID(fmt.Sprint("r", i)), sg.Port(uint16(i+1))
		g.Rules = append(g.Rules, r)
	}
	require.NoError(t, g.Validate())
	for _, i := range []int{999, 10, 100, 2} {
		g.Rules[i].Protocol = 0
	}
	requireFaults(t, g.Validate(), fault{"rules[2].protocol", sg.ErrRequired}, fault{"rules[10].protocol", sg.ErrRequired},
		fault{"rules[100].protocol", sg.ErrRequired}, fault{"rules[999].protocol", sg.ErrRequired})
}

// API-04: the first of two duplicates may have a hostile id of its own.
func TestGroupDuplicateOfHostileRule(t *testing.T) {
	g := webGroup()
	g.Rules[1] = g.Rules[0]
	g.Rules[0].ID = sg.RuleID("\n" + strings.Repeat("a", 10_000))
	err := g.Validate()
	requireFaults(t, err, fault{"rules[0].id", sg.ErrInvalid}, fault{"rules[1]", sg.ErrDuplicate})
	require.Less(t, len(err.Error()), 4<<10)
}

func TestGroupByDirection(t *testing.T) { // RU-32
	g := webGroup()
	g.Rules = append(g.Rules, sg.Rule{ID: "unset"})
	ids := func(d sg.Direction) (out []string) {
		for i, r := range g.ByDirection(d) {
			require.Equal(t, g.Rules[i], r)
			out = append(out, string(r.ID))
		}
		return out
	}
	require.Equal(t, []string{"r1", "r2"}, ids(sg.Ingress))
	require.Equal(t, []string{"r3"}, ids(sg.Egress))
	for i := range g.ByDirection(sg.Ingress) {
		require.Zero(t, i)
		break // a caller may stop
	}
	for range (&sg.Group{}).ByDirection(sg.Ingress) {
		t.Fatal("a group without rules yields one")
	}
}

func TestGroupCloneIsIndependent(t *testing.T) { // GR-16
	g := webGroup()
	c := g.Clone()
	require.Equal(t, g, c)
	c.Name = "other"
	c.Rules[0].Protocol = sg.UDP
	c.Rules = append(c.Rules, httpsRule())
	require.Equal(t, webGroup(), g)
	require.Equal(t, &sg.Group{}, (&sg.Group{}).Clone())
}

func nic() *sg.Interface {
	return &sg.Interface{
		ID: "nic-1", VPC: "vpc-1", Owner: "alice", Kind: "vm",
		Addrs:   []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32"), netip.MustParsePrefix("2001:db8::5/128"), netip.MustParsePrefix("2001:db8:1::/64")},
		Groups:  []sg.GroupID{"sg-web", "sg-ops"},
		Exempt:  []string{"smtp"},
		Allowed: []netip.Prefix{netip.MustParsePrefix("10.0.0.100/32")},
	}
}

func TestInterfaceValidate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(i *sg.Interface)
		want  []fault
	}{
		"valid":          {func(i *sg.Interface) {}, nil},
		"bare":           {func(i *sg.Interface) { *i = sg.Interface{ID: "nic"} }, nil},
		"zero":           {func(i *sg.Interface) { *i = sg.Interface{} }, []fault{{"id", sg.ErrRequired}}},
		"control in id":  {func(i *sg.Interface) { i.ID = "a\tb" }, []fault{{"id", sg.ErrInvalid}}},
		"zero addr":      {func(i *sg.Interface) { i.Addrs[0] = netip.Prefix{} }, []fault{{"addrs[0]", sg.ErrInvalid}}},
		"host bits":      {func(i *sg.Interface) { i.Addrs[0] = netip.MustParsePrefix("10.0.0.5/24") }, []fault{{"addrs[0]", sg.ErrInvalid}}}, // API-01
		"mapped":         {func(i *sg.Interface) { i.Addrs[1] = netip.MustParsePrefix("::ffff:10.0.0.5/128") }, []fault{{"addrs[1]", sg.ErrInvalid}}},
		"addr twice":     {func(i *sg.Interface) { i.Addrs[2] = i.Addrs[0] }, []fault{{"addrs[2]", sg.ErrDuplicate}}},
		"bad addr twice": {func(i *sg.Interface) { i.Addrs = make([]netip.Prefix, 2) }, []fault{{"addrs[0]", sg.ErrInvalid}, {"addrs[1]", sg.ErrInvalid}}},
		"allowed bad":    {func(i *sg.Interface) { i.Allowed[0] = netip.MustParsePrefix("10.0.0.5/8") }, []fault{{"allowed[0]", sg.ErrInvalid}}},
		"allowed twice":  {func(i *sg.Interface) { i.Allowed = append(i.Allowed, i.Allowed[0]) }, []fault{{"allowed[1]", sg.ErrDuplicate}}},
		"in both lists":  {func(i *sg.Interface) { i.Allowed[0] = i.Addrs[0] }, nil},
		"allow anything": {func(i *sg.Interface) { i.Allowed[0] = netip.MustParsePrefix("0.0.0.0/0") }, nil},
		"group twice":    {func(i *sg.Interface) { i.Groups = []sg.GroupID{"a", "b", "a", "a"} }, []fault{{"groups[2]", sg.ErrDuplicate}, {"groups[3]", sg.ErrDuplicate}}},
		"no groups":      {func(i *sg.Interface) { i.Groups = nil }, nil}, // AT-07 is a matter of the profile
		"many at a time": {func(i *sg.Interface) {
			i.ID, i.Addrs[2], i.Allowed[0], i.Groups[1] = "", i.Addrs[0], netip.Prefix{}, "sg-web"
		}, []fault{{"addrs[2]", sg.ErrDuplicate}, {"allowed[0]", sg.ErrInvalid}, {"groups[1]", sg.ErrDuplicate}, {"id", sg.ErrRequired}}},
		"10,000 groups":   {func(i *sg.Interface) { i.Groups = manyGroups(10_000) }, nil},
		"twice in 10,000": {func(i *sg.Interface) { i.Groups = append(manyGroups(10_000), "g7") }, []fault{{"groups[10000]", sg.ErrDuplicate}}},
	} {
		t.Run(name, func(t *testing.T) {
			i := nic()
			c.spoil(i)
			requireFaults(t, i.Validate(), c.want...)
		})
	}
}

func manyGroups(n int) []sg.GroupID {
	out := make([]sg.GroupID, n)
	for i := range out {
		out[i] = sg.GroupID(fmt.Sprint("g", i))
	}
	return out
}

func TestInterfaceCloneIsIndependent(t *testing.T) {
	i := nic()
	c := i.Clone()
	require.Equal(t, i, c)
	c.Addrs[0], c.Groups[0], c.Exempt[0], c.Allowed[0] = netip.Prefix{}, "x", "x", netip.Prefix{}
	c.SourceGuard = true
	require.Equal(t, nic(), i)
	require.Equal(t, &sg.Interface{}, (&sg.Interface{}).Clone())
}

// profile has a self ingress rule and open egress, as new groups of some
// clouds do (GR-10, GR-11), and a guard on port 25 (EV-13).
func profile() *sg.Profile {
	self := sg.Rule{ID: "self", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup), Origin: "test: new group"}
	out := sg.Rule{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: cidr("0.0.0.0/0"), Origin: "test: new group"}
	smtp := sg.Rule{ID: "smtp", Direction: sg.Egress, Protocol: sg.TCP, Ports: sg.Port(25), Peer: cidr("0.0.0.0/0")}
	return &sg.Profile{
		Name: "test", NewGroup: []sg.Rule{self, out}, DefaultGroup: []sg.Rule{out},
		Platform:     []sg.PlatformRule{{Name: "smtp", Rule: smtp}},
		RequireGroup: true, UngroupedKinds: []string{"bare-metal"},
		Propagation: time.Minute, Quota: sg.Quota{GroupsPerInterface: 10},
	}
}

func TestProfileValidate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p *sg.Profile)
		want  []fault
	}{
		"valid":           {func(p *sg.Profile) {}, nil},
		"only a name":     {func(p *sg.Profile) { *p = sg.Profile{Name: "strict"} }, nil},
		"zero":            {func(p *sg.Profile) { *p = sg.Profile{} }, []fault{{"name", sg.ErrRequired}}},
		"control in name": {func(p *sg.Profile) { p.Name = "\x1b" }, []fault{{"name", sg.ErrInvalid}}},
		"unattached":      {func(p *sg.Profile) { p.Unattached = 2 }, []fault{{"unattached", sg.ErrInvalid}}},
		"empty direction": {func(p *sg.Profile) { p.EmptyDirection = 9 }, []fault{{"empty_direction", sg.ErrInvalid}}},
		"established":     {func(p *sg.Profile) { p.Established = 3 }, []fault{{"established", sg.ErrInvalid}}},
		"new group":       {func(p *sg.Profile) { p.NewGroup[1].Protocol = 0 }, []fault{{"new_group[1].protocol", sg.ErrRequired}}},
		"default group":   {func(p *sg.Profile) { p.DefaultGroup[0].Peer = sg.Peer{} }, []fault{{"default_group[0].peer", sg.ErrRequired}}},
		"template twice":  {func(p *sg.Profile) { p.NewGroup = append(p.NewGroup, p.NewGroup[0]) }, []fault{{"new_group[2]", sg.ErrDuplicate}, {"new_group[2].id", sg.ErrDuplicate}}},
		"default id twice": {func(p *sg.Profile) {
			p.DefaultGroup = []sg.Rule{p.NewGroup[0], p.NewGroup[1]}
			p.DefaultGroup[1].ID = "self"
		}, []fault{{"default_group[1].id", sg.ErrDuplicate}}},
		"platform name":       {func(p *sg.Profile) { p.Platform[0].Name = "" }, []fault{{"platform[0].name", sg.ErrRequired}}},
		"platform action":     {func(p *sg.Profile) { p.Platform[0].Action = 2 }, []fault{{"platform[0].action", sg.ErrInvalid}}},
		"platform rule":       {func(p *sg.Profile) { p.Platform[0].Rule.Ports = sg.PortRange{} }, []fault{{"platform[0].rule.ports", sg.ErrRequired}}},
		"platform peer":       {func(p *sg.Profile) { p.Platform[0].Rule.Peer = sg.Peer{} }, []fault{{"platform[0].rule.peer", sg.ErrRequired}}},
		"platform group":      {func(p *sg.Profile) { p.Platform[0].Rule.Peer = sg.PeerGroup("g") }, []fault{{"platform[0].rule.peer", sg.ErrUnsupported}}},
		"platform set":        {func(p *sg.Profile) { p.Platform[0].Rule.Peer = sg.PeerSet("s") }, []fault{{"platform[0].rule.peer", sg.ErrUnsupported}}},
		"one name, two rules": {func(p *sg.Profile) { p.Platform = append(p.Platform, p.Platform[0]) }, nil}, // IPv4 and IPv6 of one guard
		"everything": {func(p *sg.Profile) {
			p.Name, p.Unattached, p.Established = "", 9, 9
			p.NewGroup[0].Direction, p.Platform[0].Name = 0, "\n"
		}, []fault{{"established", sg.ErrInvalid}, {"name", sg.ErrRequired}, {"new_group[0].direction", sg.ErrRequired},
			{"platform[0].name", sg.ErrInvalid}, {"unattached", sg.ErrInvalid}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := profile()
			c.spoil(p)
			requireFaults(t, p.Validate(), c.want...)
		})
	}
}

// GR-08 to GR-11, GR-14, EV-19, C3, C4: a template fills one direction at a
// time, and its self reference becomes the new group's id.
func TestTemplate(t *testing.T) {
	p := profile()
	before := slices.Clone(p.NewGroup)

	in := sg.Template(p.NewGroup, "sg-new", sg.Ingress)
	want := before[0]
	want.Peer = sg.PeerGroup("sg-new")
	require.Equal(t, []sg.Rule{want}, in)
	require.Equal(t, before[1:], sg.Template(p.NewGroup, "sg-new", sg.Egress))
	require.Empty(t, sg.Template(p.NewGroup, "sg-new", 0))
	require.Empty(t, sg.Template(nil, "sg-new", sg.Ingress))
	require.Empty(t, sg.Template(p.DefaultGroup, "sg-new", sg.Ingress))
	require.Equal(t, before, p.NewGroup, "the template stays as it was")

	in[0].Peer = sg.Peer{}
	require.Equal(t, before, p.NewGroup, "and shares nothing with its rules")

	// Neither another group nor a set of that name is the group itself.
	others := []sg.Rule{
		{ID: "a", Direction: sg.Ingress, Peer: sg.PeerGroup("sg-other")}, {ID: "b", Direction: sg.Ingress, Peer: sg.PeerSet("@self")},
	}
	require.Equal(t, others, sg.Template(others, "sg-new", sg.Ingress))

	g := sg.Group{ID: "sg-new", Name: "new", Rules: append(sg.Template(p.NewGroup, "sg-new", sg.Ingress), sg.Template(p.NewGroup, "sg-new", sg.Egress)...)}
	require.NoError(t, g.Validate())
}

func TestProfileQuestions(t *testing.T) {
	p := profile()
	require.True(t, p.MayBeUngrouped("bare-metal")) // AT-07, C6
	require.False(t, p.MayBeUngrouped("vm"))
	require.False(t, p.MayBeUngrouped(""))
	require.True(t, (&sg.Profile{}).MayBeUngrouped("vm"))
	require.True(t, p.HasPlatform("smtp")) // EV-13
	require.False(t, p.HasPlatform("SMTP"))
	require.False(t, p.HasPlatform(""))
}

// GR-19 to GR-22, IP-03: who sees and who edits.
func TestRights(t *testing.T) {
	admin, alice, bob := sg.Actor{ID: "root", Admin: true}, sg.Actor{ID: "alice"}, sg.Actor{ID: "bob"}
	adminAlice, nameless := sg.Actor{ID: "alice", Admin: true}, sg.Actor{}
	for _, c := range []struct {
		name       string
		actor      sg.Actor
		scope      sg.Scope
		view, edit bool
	}{
		{"GR-19 admin, global", admin, sg.Global(), true, true},
		{"GR-19 GR-22 user, global", alice, sg.Global(), true, false},
		{"GR-19 nameless, global", nameless, sg.Global(), true, false},
		{"GR-20 admin, user", admin, sg.User("alice"), true, true},
		{"GR-20 owner", alice, sg.User("alice"), true, true},
		{"GR-20 owner who is admin", adminAlice, sg.User("alice"), true, true},
		{"GR-20 other user", bob, sg.User("alice"), false, false},
		{"GR-20 nameless, user", nameless, sg.User("alice"), false, false},
		{"GR-20 case matters", sg.Actor{ID: "Alice"}, sg.User("alice"), false, false},
		{"GR-21 blank user is global", alice, sg.User(""), true, false},
		{"GR-21 blank user is global, nameless", nameless, sg.User(""), true, false},
		{"GR-21 blank user is global, admin", admin, sg.User(""), true, true},
		{"zero scope", alice, sg.Scope{}, true, false},
	} {
		require.Equal(t, c.view, c.actor.CanView(c.scope), "%s: view", c.name)
		require.Equal(t, c.edit, c.actor.CanEdit(c.scope), "%s: edit", c.name)
	}
}

func TestScope(t *testing.T) {
	require.Equal(t, sg.Global(), sg.Scope{})
	require.Equal(t, sg.Global(), sg.User("")) // GR-21
	require.Equal(t, "global", sg.Global().String())
	require.Equal(t, "user alice", sg.User("alice").String())
	o, ok := sg.User("alice").Owner()
	require.True(t, ok)
	require.Equal(t, sg.OwnerID("alice"), o)
	_, ok = sg.Global().Owner()
	require.False(t, ok)
}
