package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// fault is what a test expects of a FieldError; text is a part of it.
type fault struct {
	path string
	kind error
	text string
}

// requireFaults checks that err is an Errors of exactly those faults, in order.
func requireFaults(t *testing.T, err error, want ...fault) {
	t.Helper()
	if len(want) == 0 {
		require.NoError(t, err)
		return
	}
	var all sg.Errors
	require.ErrorAs(t, err, &all)
	var got, wanted []string
	for _, f := range all {
		got = append(got, f.Path+": "+f.Err.Error())
	}
	for _, f := range want {
		wanted = append(wanted, f.path+": "+f.kind.Error())
		require.ErrorIs(t, err, f.kind)
	}
	require.Equal(t, wanted, got, "%v", err)
	for i, f := range want {
		require.Contains(t, all[i].Error(), f.text)
	}
}

func tcp(id sg.RuleID, d sg.Direction, port uint16, peer sg.Peer) sg.Rule {
	return sg.Rule{ID: id, Direction: d, Protocol: sg.TCP, Ports: sg.Port(port), Peer: peer}
}

func ofFamily(f sg.Family, r sg.Rule) sg.Rule {
	r.Family = f
	return r
}

func group(id sg.GroupID, vpc sg.VPCID, rules ...sg.Rule) *sg.Group {
	return &sg.Group{ID: id, Name: string(id), VPC: vpc, Rules: rules}
}

func set(id sg.SetID, vpc sg.VPCID, entries ...string) *ipset.Set {
	s := ipset.New(id, sg.FamilyAny, sg.Global())
	s.VPC = vpc
	for _, e := range entries {
		if err := s.Add(ipset.Entry{Prefix: prefix(e)}); err != nil {
			panic(err)
		}
	}
	return s
}

func iface(id sg.InterfaceID, vpc sg.VPCID, groups ...sg.GroupID) *sg.Interface {
	return &sg.Interface{ID: id, VPC: vpc, Groups: groups}
}

// world is a small valid policy: web refers to db, itself and both sets; x
// stands in another VPC.
func world() []policy.Change {
	return []policy.Change{
		policy.PutGroup{Group: group("web", "v1",
			tcp("all", sg.Ingress, 443, cidr("0.0.0.0/0")), tcp("self", sg.Ingress, 80, sg.PeerGroup("web")),
			ofFamily(sg.IPv4, tcp("office", sg.Ingress, 22, sg.PeerSet("s4"))), tcp("db", sg.Egress, 5432, sg.PeerGroup("db")))},
		policy.PutGroup{Group: group("db", "v1")},
		policy.PutGroup{Group: group("x", "v2")},
		policy.PutSet{Set: set("s4", "", "198.51.100.0/24")},
		policy.PutSet{Set: set("s6", "v1", "2001:db8::/32")},
		policy.PutInterface{Interface: iface("i1", "v1", "web", "db")},
		policy.PutInterface{Interface: iface("i2", "v1", "db")},
	}
}

// TestCrossReferences: one change to a valid policy, exactly one fault.
func TestCrossReferences(t *testing.T) {
	rules := func(n int) []sg.Rule {
		var out []sg.Rule
		for i := range n {
			out = append(out, tcp(sg.RuleID(fmt.Sprint("r", i)), sg.Ingress, uint16(i+1), sg.PeerAny()))
		}
		return out
	}
	rule := func(r sg.Rule) []policy.Change { return []policy.Change{policy.PutGroup{Group: group("n", "v1", r)}} }
	one := func(c policy.Change) []policy.Change { return []policy.Change{c} }
	for name, c := range map[string]struct {
		profile sg.Profile
		changes []policy.Change
		want    []fault
	}{
		"group not found":     {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerGroup("nope"))), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrNotFound, "no such group"}}},
		"set not found":       {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerSet("nope"))), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrNotFound, "no such IP set"}}},
		"a group is no set":   {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerSet("web"))), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrNotFound, "no such IP set"}}},
		"no self in a policy": {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerGroup(sg.SelfGroup))), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrNotFound, "no such group"}}},
		"self reference":      {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerGroup("n")))}, // EV-19
		"cycle": {changes: []policy.Change{ // API-05
			policy.PutGroup{Group: group("db", "v1", tcp("r", sg.Ingress, 1, sg.PeerGroup("web")))},
		}},
		"group of another VPC":   {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerGroup("x"))), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrInvalid, `VPC "v2"`}}},
		"set of another VPC":     {changes: one(policy.PutGroup{Group: group("n", "v2", tcp("r", sg.Ingress, 1, sg.PeerSet("s6")))}), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrInvalid, `VPC "v1"`}}},
		"set of any VPC":         {changes: one(policy.PutGroup{Group: group("n", "v2", tcp("r", sg.Ingress, 1, sg.PeerSet("s4")))})},
		"remote moves":           {changes: one(policy.PutGroup{Group: group("db", "v2")}), want: []fault{{`groups["web"].rules[3].peer`, sg.ErrInvalid, `VPC "v2"`}, {`interfaces["i1"].groups[1]`, sg.ErrInvalid, `VPC "v2"`}, {`interfaces["i2"].groups[0]`, sg.ErrInvalid, `VPC "v2"`}}}, // GR-04
		"set is confined":        {changes: one(policy.PutSet{Set: set("s4", "v2", "10.0.0.0/8")}), want: []fault{{`groups["web"].rules[2].peer`, sg.ErrInvalid, `VPC "v2"`}}},
		"set changes its family": {changes: one(policy.PutSet{Set: set("s4", "", "fd00::/8")}), want: []fault{{`groups["web"].rules[2].peer`, sg.ErrFamily, "the set is for ipv6, the rule for ipv4"}}},                    // IP-09, IP-11
		"family of the protocol": {changes: rule(sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.ICMPv6, Peer: sg.PeerSet("s4")}), want: []fault{{`groups["n"].rules[0].peer`, sg.ErrFamily, "the set is for ipv4"}}}, // RU-27
		"family left open":       {changes: rule(tcp("r", sg.Ingress, 1, sg.PeerSet("s6")))},
		"empty set of no family": {changes: []policy.Change{policy.PutSet{Set: set("e", "")}, rule(sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.ICMPv6, Peer: sg.PeerSet("e")})[0]}},

		"name taken":        {changes: one(policy.PutGroup{Group: &sg.Group{ID: "n", Name: "web", VPC: "v1"}}), want: []fault{{`groups["n"].name`, sg.ErrDuplicate, "taken by group web"}}}, // GR-05
		"lower id, touched": {changes: one(policy.PutGroup{Group: &sg.Group{ID: "a", Name: "web", VPC: "v1"}}), want: []fault{{`groups["a"].name`, sg.ErrDuplicate, "taken by group web"}}},
		"both touched": {changes: []policy.Change{
			policy.PutGroup{Group: &sg.Group{ID: "p", Name: "same", VPC: "v1"}}, policy.PutGroup{Group: &sg.Group{ID: "o", Name: "same", VPC: "v1"}},
		}, want: []fault{{`groups["p"].name`, sg.ErrDuplicate, "taken by group o"}}},
		"name in another VPC":   {changes: one(policy.PutGroup{Group: &sg.Group{ID: "n", Name: "web", VPC: "v2"}})},
		"name in another scope": {profile: sg.Profile{NamesPerScope: true}, changes: one(policy.PutGroup{Group: &sg.Group{ID: "n", Name: "web", VPC: "v1", Scope: sg.User("ann")}})},
		"names swapped": {changes: []policy.Change{
			policy.PutGroup{Group: &sg.Group{ID: "web", Name: "db", VPC: "v1"}}, policy.PutGroup{Group: &sg.Group{ID: "db", Name: "web", VPC: "v1"}},
		}},
		"name set free": {changes: []policy.Change{policy.PutGroup{Group: &sg.Group{ID: "n", Name: "x", VPC: "v2"}}, policy.DeleteGroup{ID: "x"}}},

		"rules per group":      {profile: sg.Profile{Quota: sg.Quota{RulesPerGroup: 4}}, changes: one(policy.PutGroup{Group: group("n", "v1", rules(5)...)}), want: []fault{{`groups["n"].rules`, sg.ErrQuota, "rules per group: limit 4, usage 5"}}}, // GR-24
		"rules per direction":  {profile: sg.Profile{Quota: sg.Quota{RulesPerDirection: 3}}, changes: one(policy.PutGroup{Group: group("n", "v1", append(rules(3), tcp("4", sg.Ingress, 9, cidr("0.0.0.0/0")))...)}), want: []fault{{`groups["n"].rules.ingress`, sg.ErrQuota, "ingress rules per group for ipv4: limit 3, usage 4"}}},
		"groups per interface": {profile: sg.Profile{Quota: sg.Quota{GroupsPerInterface: 2}}, changes: []policy.Change{policy.PutGroup{Group: group("n", "v1")}, policy.PutInterface{Interface: iface("i1", "v1", "web", "db", "n")}}, want: []fault{{`interfaces["i1"].groups`, sg.ErrQuota, "groups per interface: limit 2, usage 3"}}}, // AT-08
		"rules per interface":  {profile: sg.Profile{Quota: sg.Quota{RulesPerInterface: 5}}, changes: one(policy.PutGroup{Group: group("db", "v1", rules(2)...)}), want: []fault{{`interfaces["i1"].groups`, sg.ErrQuota, "rules per interface: limit 5, usage 6"}}},
		"entries per set":      {profile: sg.Profile{Quota: sg.Quota{EntriesPerSet: 1}}, changes: one(policy.EditSet{ID: "s4", Add: []ipset.Entry{{Prefix: prefix("10.0.0.0/8")}}}), want: []fault{{`sets["s4"].entries`, sg.ErrQuota, "entries per set: limit 1, usage 2"}}},
		"groups per owner": {profile: sg.Profile{Quota: sg.Quota{GroupsPerOwner: 1}}, changes: []policy.Change{
			policy.PutGroup{Group: &sg.Group{ID: "n1", Name: "n1", Scope: sg.User("ann")}}, policy.PutGroup{Group: &sg.Group{ID: "n2", Name: "n2", Scope: sg.User("ann")}},
			policy.PutGroup{Group: &sg.Group{ID: "n3", Name: "n3", Scope: sg.User("bob")}},
		}, want: []fault{{`groups["n2"].scope`, sg.ErrQuota, "groups per owner: limit 1, usage 2"}}},

		"group required":      {profile: sg.Profile{RequireGroup: true}, changes: one(policy.PutInterface{Interface: iface("n", "v1")}), want: []fault{{`interfaces["n"].groups`, sg.ErrRequired, "at least one group"}}}, // AT-07
		"last group deleted":  {profile: sg.Profile{RequireGroup: true}, changes: []policy.Change{policy.PutGroup{Group: group("web", "v1")}, policy.DeleteGroup{ID: "db"}}, want: []fault{{`interfaces["i2"].groups`, sg.ErrRequired, "at least one group"}}},
		"bare metal":          {profile: sg.Profile{RequireGroup: true, UngroupedKinds: []string{"bare-metal"}}, changes: one(policy.PutInterface{Interface: &sg.Interface{ID: "n", Kind: "bare-metal"}})},
		"attach missing":      {changes: one(policy.PutInterface{Interface: iface("n", "v1", "web", "nope")}), want: []fault{{`interfaces["n"].groups[1]`, sg.ErrNotFound, "no such group"}}},
		"attach other VPC":    {changes: one(policy.PutInterface{Interface: iface("n", "v2", "web")}), want: []fault{{`interfaces["n"].groups[0]`, sg.ErrInvalid, `the group is in VPC "v1", the interface in "v2"`}}},
		"attach twice":        {changes: one(policy.PutInterface{Interface: iface("n", "v1", "web", "web")}), want: []fault{{`interfaces["n"].groups[1]`, sg.ErrDuplicate, ""}}},
		"stateless":           {profile: sg.Profile{Name: "aws"}, changes: one(policy.PutGroup{Group: &sg.Group{ID: "n", Name: "n", Stateless: true}}), want: []fault{{`groups["n"].stateful`, sg.ErrUnsupported, "profile aws is stateful"}}},
		"stateless allowed":   {profile: sg.Profile{AllowStateless: true}, changes: one(policy.PutGroup{Group: &sg.Group{ID: "n", Name: "n", Stateless: true}})},
		"set in use":          {changes: one(policy.DeleteSet{ID: "s4"}), want: []fault{{`sets["s4"]`, sg.ErrInUse, "refer to it: web"}}}, // IP-10
		"set not in use":      {changes: one(policy.DeleteSet{ID: "s6"})},
		"group in use":        {changes: one(policy.DeleteGroup{ID: "db"}), want: []fault{{`groups["db"]`, sg.ErrInUse, "refer to it: web"}}}, // GR-18
		"own reference":       {changes: one(policy.DeleteGroup{ID: "web"})},
		"referrer goes, too":  {changes: []policy.Change{policy.DeleteGroup{ID: "db"}, policy.DeleteGroup{ID: "web"}}},
		"used before it is":   {changes: []policy.Change{policy.PutGroup{Group: group("a", "v1", tcp("r", sg.Ingress, 1, sg.PeerGroup("b")))}, policy.PutGroup{Group: group("b", "v1")}}},
		"nothing to delete":   {changes: []policy.Change{policy.DeleteGroup{ID: "n"}, policy.DeleteSet{ID: "n"}, policy.DeleteInterface{ID: "n"}, policy.EditSet{ID: "n"}}, want: []fault{{`groups["n"]`, sg.ErrNotFound, ""}, {`interfaces["n"]`, sg.ErrNotFound, ""}, {`sets["n"]`, sg.ErrNotFound, ""}, {`sets["n"]`, sg.ErrNotFound, ""}}},
		"bad entries":         {changes: one(policy.EditSet{ID: "s4", Add: []ipset.Entry{{Prefix: netip.MustParsePrefix("10.0.0.1/8")}, {Prefix: prefix("fd00::/8")}}}), want: []fault{{`sets["s4"].entries`, sg.ErrInvalid, "has host bits"}, {`sets["s4"].entries`, sg.ErrFamily, ""}}},
		"no change at all":    {changes: []policy.Change{nil, policy.PutGroup{}, policy.PutSet{}, policy.PutInterface{}}, want: []fault{{"", sg.ErrInvalid, "not a change"}, {"groups", sg.ErrRequired, ""}, {"interfaces", sg.ErrRequired, ""}, {"sets", sg.ErrRequired, ""}}},
		"odd ids are quoted":  {changes: one(policy.PutInterface{Interface: iface("a\"].b\n", "v1", "nope")}), want: []fault{{`interfaces["a\"].b\n"].groups[0]`, sg.ErrNotFound, ""}, {`interfaces["a\"].b\n"].id`, sg.ErrInvalid, ""}}},
		"one fault in a rule": {changes: rule(sg.Rule{ID: "r", Direction: sg.Ingress, Protocol: sg.TCP, Peer: sg.PeerAny()}), want: []fault{{`groups["n"].rules[0].ports`, sg.ErrRequired, ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.profile.Name == "" {
				c.profile.Name = "test"
			}
			base, err := policy.Build(c.profile, world()...)
			require.NoError(t, err)
			before := content(base)
			next, done, err := base.With(c.changes...)
			requireFaults(t, err, c.want...)
			require.Equal(t, before, content(base), "With changes nothing")
			if err != nil {
				require.Nil(t, next)
				require.Nil(t, done)
				return
			}
			require.NoError(t, next.Validate())
		})
	}
}

// TestRequireFamily: RU-25.
func TestRequireFamily(t *testing.T) {
	p := sg.Profile{Name: "panel", RequireFamily: true}
	_, err := policy.Build(p, policy.PutGroup{Group: group("n", "v1", tcp("r", sg.Ingress, 1, sg.PeerAny()))})
	requireFaults(t, err, fault{`groups["n"].rules[0].family`, sg.ErrRequired, "profile panel wants ipv4 or ipv6"})
	r := tcp("r", sg.Ingress, 1, cidr("0.0.0.0/0"))
	r.Family = sg.IPv4
	_, err = policy.Build(p, policy.PutGroup{Group: group("n", "v1", r)})
	require.NoError(t, err)
}

// TestDeleteDetachesEverywhere: GR-17, and the batch spells it out.
func TestDeleteDetachesEverywhere(t *testing.T) {
	changes := world()
	for n := range 300 {
		changes = append(changes, policy.PutInterface{Interface: iface(sg.InterfaceID(fmt.Sprintf("n%03d", n)), "v1", "web", "db")})
	}
	s, err := policy.Build(sg.Profile{Name: "test"}, changes...)
	require.NoError(t, err)
	next, done, err := s.With(policy.DeleteGroup{ID: "web"})
	require.NoError(t, err)
	require.Len(t, done, 302, "301 interfaces had it")
	require.Equal(t, policy.DeleteGroup{ID: "web"}, done[301])
	for i := range next.Interfaces() {
		require.Equal(t, []sg.GroupID{"db"}, i.Groups, i.ID)
	}
	require.Empty(t, slices.Collect(next.Attached("web")))
	require.Len(t, slices.Collect(next.Attached("db")), 302)
	require.Len(t, slices.Collect(s.Attached("web")), 301, "the old snapshot stays")
	again, _, err := s.With(done...)
	require.NoError(t, err)
	require.Equal(t, content(next), content(again))
}

func TestBuildRefusesProfile(t *testing.T) {
	_, err := policy.Build(sg.Profile{})
	requireFaults(t, err, fault{"profile.name", sg.ErrRequired, ""})
	_, err = policy.NewStore(sg.Profile{Name: "x", Unattached: 7})
	requireFaults(t, err, fault{"profile.unattached", sg.ErrInvalid, ""})
}

// TestProfileIsCopied: what the caller does to its slices later changes nothing.
func TestProfileIsCopied(t *testing.T) {
	p := sg.Profile{Name: "test", NewGroup: []sg.Rule{tcp("r", sg.Egress, 1, sg.PeerAny())}, UngroupedKinds: []string{"x"}}
	s, err := policy.New(p)
	require.NoError(t, err)
	p.NewGroup[0].Ports, p.UngroupedKinds[0] = sg.AllPorts(), "y"
	require.Equal(t, sg.Port(1), s.Profile().NewGroup[0].Ports)
	require.Equal(t, []string{"x"}, s.Profile().UngroupedKinds)
}

func TestIteratorsStop(t *testing.T) {
	s, err := policy.Build(sg.Profile{Name: "test"}, world()...)
	require.NoError(t, err)
	for range s.Groups() {
		break
	}
	for range s.Sets() {
		break
	}
	for range s.Interfaces() {
		break
	}
	for range s.Attached("db") {
		break
	}
	for range s.Referrers(sg.PeerGroup("db")) {
		break
	}
	require.Empty(t, slices.Collect(s.Referrers(sg.PeerAny())))
	require.Empty(t, slices.Collect(s.Referrers(cidr("0.0.0.0/0"))))
	_, ok := s.Group("nope")
	require.False(t, ok)
}

// TestErrorTextIsBounded: ten thousand faults are ten thousand short lines.
func TestErrorTextIsBounded(t *testing.T) {
	long := sg.GroupID(strings.Repeat("x", 100_000))
	_, err := policy.Build(sg.Profile{Name: "test"}, policy.PutInterface{Interface: iface("i", "v1", long)}, policy.DeleteGroup{ID: long})
	require.Error(t, err)
	for _, line := range strings.Split(err.Error(), "\n") {
		require.Less(t, len(line), 3000)
	}
}
