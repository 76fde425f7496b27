package document_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

func pick[T any](t *rapid.T, label string, from ...T) T {
	return rapid.SampledFrom(from).Draw(t, label)
}

// drawPolicy draws a policy: changes that New or With may refuse are left out.
func drawPolicy(t *rapid.T) *policy.Snapshot {
	p, _ := dialect.Profile(pick(t, "profile", "aws", "nfyio", "strict"))
	p.Quota = sg.Quota{}
	s, err := policy.New(p)
	if err != nil {
		t.Fatal(err)
	}
	groups := []sg.GroupID{"g", "sg \"quoted\"", "世界", "1.2.3.4/x", "</script>\u2028", "set"}
	sets := []sg.SetID{"s", "s,6"}
	note := rapid.StringMatching(`[a-z"\\\n<é]{0,4}`)
	var changes []policy.Change
	for n, id := range sets {
		set := ipset.New(id, []sg.Family{sg.FamilyAny, sg.IPv6}[n], sg.User(pick[sg.OwnerID](t, "set owner", "", "ann")))
		set.Description, set.VPC = note.Draw(t, "set note"), pick[sg.VPCID](t, "set vpc", "", "v")
		for range rapid.IntRange(0, 3).Draw(t, "entries") {
			_ = set.Add(ipset.Entry{Prefix: drawPrefix(t), Description: note.Draw(t, "entry note")})
		}
		changes = append(changes, policy.PutSet{Set: set})
	}
	for _, id := range groups {
		g := &sg.Group{ID: id, Name: string(id), Description: note.Draw(t, "note"), VPC: "v", Scope: sg.User(pick[sg.OwnerID](t, "owner", "", "", "ann\x00"))}
		g.Stateless = p.AllowStateless && rapid.Bool().Draw(t, "stateless")
		seen := map[sg.Rule]bool{}
		for i := range rapid.IntRange(0, 5).Draw(t, "rules") {
			r := drawRule(t, i, groups, sets)
			if r.Validate() == nil && !seen[r.Key()] {
				seen[r.Key()] = true
				g.Rules = append(g.Rules, r)
			}
		}
		changes = append(changes, policy.PutGroup{Group: g})
	}
	for n := range rapid.IntRange(0, 3).Draw(t, "interfaces") {
		i := &sg.Interface{
			ID: sg.InterfaceID(fmt.Sprint("10.0.0.", n)), VPC: "v", Owner: pick[sg.OwnerID](t, "interface owner", "", "ann"), Kind: note.Draw(t, "kind"),
			Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(groups), 1, 3, rapid.ID).Draw(t, "groups"), SourceGuard: rapid.Bool().Draw(t, "guard"),
		}
		for _, list := range []*[]netip.Prefix{&i.Addrs, &i.Allowed} {
			if p := drawPrefix(t); rapid.Bool().Draw(t, "address") && p.Bits() > 0 {
				*list = append(*list, p)
			}
		}
		if rapid.Bool().Draw(t, "exempt") {
			i.Exempt = []string{"smtp", "dhcp"}
		}
		changes = append(changes, policy.PutInterface{Interface: i})
	}
	for len(changes) > 0 { // sets first, then one more group at a time: what does not fit is left out
		next, _, err := s.With(changes...)
		if err == nil {
			return next
		}
		changes = dropFaulty(changes, err)
	}
	return s
}

// dropFaulty leaves out the changes that err names, and every rule of groups.
func dropFaulty(changes []policy.Change, err error) []policy.Change {
	return slices.DeleteFunc(changes, func(c policy.Change) bool {
		switch c := c.(type) {
		case policy.PutGroup:
			if strings.Contains(err.Error(), fmt.Sprintf("groups[%q].rules", c.Group.ID)) {
				c.Group.Rules = nil
			}
			return strings.Contains(err.Error(), fmt.Sprintf("groups[%q].name", c.Group.ID))
		case policy.PutInterface:
			return strings.Contains(err.Error(), fmt.Sprintf("interfaces[%q]", c.Interface.ID))
		}
		return false
	})
}

func drawPrefix(t *rapid.T) netip.Prefix {
	return prefix(pick(t, "prefix", "10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "::/0", "fd00::/8", "fd00::1/128", "::/1"))
}

func drawRule(t *rapid.T, i int, groups []sg.GroupID, sets []sg.SetID) sg.Rule {
	r := sg.Rule{
		ID: sg.RuleID(fmt.Sprintf("r %d", i)), Direction: pick(t, "direction", sg.Ingress, sg.Egress),
		Family:   pick(t, "family", sg.FamilyAny, sg.FamilyAny, sg.IPv4, sg.IPv6),
		Protocol: pick(t, "protocol", sg.TCP, sg.UDP, sg.SCTP, sg.ICMP, sg.ICMPv6, sg.AnyProtocol, 47, 200),
		Origin:   pick(t, "origin", "", "aws: new group"), Description: pick(t, "rule note", "", "x\ty"),
	}
	if r.Protocol.HasPorts() {
		r.Ports = pick(t, "ports", sg.Port(443), sg.AllPorts(), sg.PortRange{First: 0, Last: 9}, sg.PortRange{First: 80, Last: 90})
	}
	if r.Protocol.HasICMP() {
		r.ICMP = pick(t, "icmp", sg.ICMPMatch{}, sg.ICMPType(0), sg.ICMPTypeCode(0, 0), sg.ICMPTypeCode(255, 255))
	}
	switch rapid.IntRange(0, 3).Draw(t, "peer") {
	case 0:
		r.Peer = sg.PeerCIDR(drawPrefix(t))
	case 1:
		r.Peer = sg.PeerGroup(pick(t, "remote", groups...))
	case 2:
		r.Peer = sg.PeerSet(pick(t, "set", sets...))
	default:
		r.Peer = sg.PeerAny()
	}
	return r
}

// meaning writes what a policy says, without the origin of rules.
func meaning(s *policy.Snapshot) string {
	var b strings.Builder
	for g := range s.Groups() {
		fmt.Fprintf(&b, "group %q %q %q %q %v %v\n", g.ID, g.Name, g.Description, g.VPC, g.Scope, g.Stateless)
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			for _, r := range g.ByDirection(d) {
				r.Origin = ""
				fmt.Fprintf(&b, "  %+v\n", r)
			}
		}
	}
	for set := range s.Sets() {
		fmt.Fprintf(&b, "set %q %q %q %q %v %v %q\n", set.ID, set.Name, set.Description, set.VPC, set.Scope, set.Family(), slices.Collect(set.All()))
	}
	for i := range s.Interfaces() {
		fmt.Fprintf(&b, "interface %q %q %q %q %v %q %q %v %v\n", i.ID, i.VPC, i.Owner, i.Kind, i.Addrs, i.Groups, i.Exempt, i.SourceGuard, i.Allowed)
	}
	return b.String()
}

func TestRoundTrip(t *testing.T) { rapid.Check(t, roundTrip) }

func roundTrip(t *rapid.T) {
	s := drawPolicy(t)
	b, err := document.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := document.Decode(b, options())
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if meaning(back) != meaning(s) || back.Profile().Name != s.Profile().Name {
		t.Fatalf("%s\nbecame\n%s\nthrough\n%s", meaning(s), meaning(back), b)
	}
	again, err := document.Encode(back)
	if err != nil || string(again) != string(b) {
		t.Fatalf("%s\nis written again as\n%s\n%v", b, again, err)
	}
}

// TestEncodeRefuses what a document can not say, instead of writing something
// that means something else.
func TestEncodeRefuses(t *testing.T) {
	named := func(id sg.GroupID) policy.Change { return policy.PutGroup{Group: &sg.Group{ID: id, Name: "n"}} }
	set := func(id sg.SetID, edit func(s *ipset.Set)) policy.Change {
		s := ipset.New(id, sg.IPv4, sg.Global())
		edit(s)
		return policy.PutSet{Set: s}
	}
	same := func(*ipset.Set) {}
	for name, c := range map[string]struct {
		changes []policy.Change
		want    string
	}{
		"address":         {[]policy.Change{named("10.0.0.0/8")}, `groups["10.0.0.0/8"].id`},
		"any":             {[]policy.Change{named("any")}, `groups["any"].id`},
		"at":              {[]policy.Change{named("@x")}, `groups["@x"].id`},
		"set":             {[]policy.Change{set("::1", same)}, `sets["::1"].id`},
		"one id":          {[]policy.Change{named("x"), set("x", same)}, `sets["x"].id`},
		"entry note":      {[]policy.Change{set("s", func(s *ipset.Set) { _ = s.Add(ipset.Entry{Prefix: prefix("10.0.0.0/8"), Description: "\xff"}) })}, `sets["s"].entries`},
		"note":            {[]policy.Change{policy.PutGroup{Group: &sg.Group{ID: "g", Name: "n", Description: "\xff"}}}, `groups["g"].description`},
		"created":         {[]policy.Change{policy.PutGroup{Group: &sg.Group{ID: "g", Name: "n", Created: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}}}, `groups["g"].created`},
		"owner":           {[]policy.Change{policy.PutGroup{Group: &sg.Group{ID: "g", Name: "n", Scope: sg.User("\xff")}}}, `groups["g"].scope`},
		"interface owner": {[]policy.Change{policy.PutInterface{Interface: &sg.Interface{ID: "i", Owner: "\xff"}}}, `interfaces["i"].owner`},
		"exempt":          {[]policy.Change{policy.PutInterface{Interface: &sg.Interface{ID: "i", Exempt: []string{"\xff"}}}}, `interfaces["i"].exempt[0]`},
	} {
		s, err := policy.Build(sg.Profile{Name: "strict"}, c.changes...)
		require.NoError(t, err)
		b, err := document.Encode(s)
		require.Nil(t, b)
		require.Equal(t, []string{c.want + ": unsupported"}, lines(t, err), name)
	}
}

// TestInstancesAndOwners: what is attached to instances, what is special about
// owners, default groups and times of creation come back.
func TestInstancesAndOwners(t *testing.T) {
	p := sg.Profile{Name: "panel", Unit: sg.PerInstance, DefaultGroup: []sg.Rule{{ID: "self", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerGroup(sg.SelfGroup)}}}
	profiles := func(string) (sg.Profile, bool) { return p, true }
	doc := `{"profile": "panel",
	 "security_groups": [{"id": "g", "name": "g", "default": true, "created_at": "2026-03-01T12:00:00Z", "inbound_rules": [], "outbound_rules": []}],
	 "instances": [{"id": "vm", "owner": "ann", "kind": "vm", "security_group_ids": ["g"]}],
	 "owners": [{"id": "ann", "exempt": ["smtp"]}],
	 "interfaces": [{"id": "nic", "owner": "ann", "instance_id": "vm", "vpc_id": "v1"}]}`
	s, err := document.Decode([]byte(doc), document.Options{Profiles: profiles})
	require.NoError(t, err)
	i, _ := s.Effective("nic")
	require.Equal(t, []sg.GroupID{"g"}, i.Groups)
	require.Equal(t, []string{"smtp"}, i.Exempt)
	b, err := document.Encode(s)
	require.NoError(t, err)
	again, err := document.Decode(b, document.Options{Profiles: profiles})
	require.NoError(t, err)
	require.Empty(t, s.Diff(again))

	_, err = document.Decode([]byte(`{"profile": "panel",
	 "security_groups": [{"id": "g", "name": "g", "created_at": "yesterday"}, {"id": "h", "name": "h", "created_at": "0000-01-01T00:00:00+01:00"}],
	 "instances": [{"id": "vm", "security_group_ids": ["none"]}, {"id": "vm"}],
	 "owners": [{"exempt": "smtp"}],
	 "interfaces": [{"id": "nic", "instance_id": "no-vm"}]}`), document.Options{Profiles: profiles})
	require.Equal(t, []string{
		`instances[0].security_group_ids[0]: not found`,
		`instances[1].id: duplicate`,
		`interfaces[0].instance_id: not found`,
		`owners[0].exempt: invalid`,
		`owners[0].id: required`,
		`security_groups[0].created_at: invalid`,
		`security_groups[1].created_at: invalid`,
	}, lines(t, err))
}
