package dialect_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// apiRequest is NFYio's example of creating a group.
const apiRequest = `{"name": "web-servers-sg", "description": "Security group for web and API servers", "vpc_id": "vpc_abc123",
	"inbound_rules": [{"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}]}`

// apiResponse is its answer.
const apiResponse = `{"id": "sg_xyz789", "name": "web-servers-sg", "vpc_id": "vpc_abc123", "inbound_rules": [], "outbound_rules": [],
	"created_at": "2026-03-01T12:00:00Z"}`

// answer decodes a document of NFYio, encodes what it says, and returns that
// as fields.
func answer(t *testing.T, in string) map[string]any {
	t.Helper()
	groups, _, err := nfyio.Decode([]byte(in))
	require.NoError(t, err)
	out, _, err := nfyio.Encode(groups)
	require.NoError(t, err)
	fields := map[string]any{}
	require.NoError(t, json.Unmarshal(out, &fields))
	return fields
}

// groupClaims are those of section 1.3 about what a group is and starts with.
func groupClaims() []claim {
	return []claim{
		{
			id: "GR-01", under: under(nfyio.Profile(), hypervisor.Profile()),
			wire: []wireCase{
				refuses(nfyio.Decode, `{"inbound_rules": []}`, sg.ErrRequired, "name"),
				refuses(nfyio.Decode, `{"name": "", "inbound_rules": []}`, sg.ErrRequired, "name"),
				refuses(hypervisor.Decode, `{"rules": []}`, sg.ErrRequired, "name"),
				{decode: nfyio.Decode, in: apiRequest, check: func(t *testing.T, g []*sg.Group) {
					require.Equal(t, "web-servers-sg", g[0].Name)
					require.Equal(t, "Security group for web and API servers", g[0].Description)
				}},
			},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrRequired, `groups["g"].name`, policy.PutGroup{Group: &sg.Group{ID: "g"}})
				s.put(policy.PutGroup{Group: &sg.Group{ID: "g", Name: "no description"}})
			},
		},
		{
			id: "GR-02",
			wire: []wireCase{
				{decode: nfyio.Decode, in: apiResponse, check: func(t *testing.T, g []*sg.Group) {
					require.Equal(t, sg.GroupID("sg_xyz789"), g[0].ID)
					require.Equal(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), g[0].Created)
				}},
				{decode: nfyio.Decode, in: `{"name": "g", "inbound_rules": [], "created_at": "2026-03-01T13:00:00+01:00"}`, check: func(t *testing.T, g []*sg.Group) {
					require.Equal(t, time.UTC, g[0].Created.Location())
					require.Equal(t, 12, g[0].Created.Hour())
				}},
				refuses(nfyio.Decode, `{"name": "g", "inbound_rules": [], "created_at": "yesterday"}`, sg.ErrInvalid, "created_at"),
			},
			without: func(t *testing.T) {
				a := answer(t, apiResponse)
				require.Equal(t, "sg_xyz789", a["id"])
				require.Equal(t, "2026-03-01T12:00:00Z", a["created_at"])
			},
		},
		{
			id: "GR-03",
			without: func(t *testing.T) {
				require.Equal(t, "vpc_abc123", answer(t, apiRequest)["vpc_id"])
				require.Equal(t, "vpc_abc123", answer(t, apiResponse)["vpc_id"])
			},
		},
		{
			id: "GR-04", under: under(nfyio.Profile(), aws.Profile()),
			policy: []policy.Change{inVPC("a", "in-a"), inVPC("b", "in-b"), nicOf(sg.Interface{VPC: "a"}, "i", "in-a")},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrInvalid, `interfaces["j"].groups[0]`, nicOf(sg.Interface{VPC: "b"}, "j", "in-a"))
				g := newGroup("g", "r: in any group:in-a")
				g.VPC = "b"
				s.refusePut(sg.ErrInvalid, `groups["g"].rules[0].peer`, policy.PutGroup{Group: g})
				s.refusePut(sg.ErrInvalid, `interfaces["i"].groups[0]`, inVPC("b", "in-a")) // it does not move away from who has it
			},
		},
		{
			id: "GR-05", under: under(kakao.Profile()), policy: []policy.Change{inVPC("v", "a")},
			wire: []wireCase{refuses(kakao.Decode, `{"security_groups": [{"name": "a", "vpc": "v"}, {"id": "b", "name": "a", "vpc": "v"}]}`, sg.ErrDuplicate, "security_groups[1].name")},
			then: func(_ *testing.T, s *scene) {
				g := newGroup("b")
				g.VPC, g.Name = "v", "a"
				s.refusePut(sg.ErrDuplicate, `groups["b"].name`, policy.PutGroup{Group: g})
				g = g.Clone()
				g.VPC = "w"
				s.put(policy.PutGroup{Group: g}) // another VPC
				g = g.Clone()
				g.ID, g.VPC, g.Scope = "c", "v", sg.User("alice")
				s.refusePut(sg.ErrDuplicate, `groups["c"].name`, policy.PutGroup{Group: g}) // whoever it belongs to
			},
		},
		{
			id: "GR-06",
			without: func(t *testing.T) {
				a := answer(t, apiRequest) // which has no outbound rules
				require.Len(t, a["inbound_rules"], 1)
				out := a["outbound_rules"].([]any)
				require.Len(t, out, 1)
				require.Equal(t, "0.0.0.0/0", out[0].(map[string]any)["destination"])
				a = answer(t, apiResponse)
				require.Equal(t, []any{}, a["inbound_rules"])
				require.Equal(t, []any{}, a["outbound_rules"])
			},
		},
		{
			id: "GR-07",
			wire: []wireCase{
				{decode: nfyio.Decode, in: `{"inbound": [{"protocol": "tcp", "port_range": "80", "source": "0.0.0.0/0"}, {"protocol": "tcp", "port_range": "22", "source": "10.0.0.0/8"}],
					"outbound": [{"protocol": "all", "destination": "0.0.0.0/0"}]}`, rules: []string{"in tcp 80 0.0.0.0/0", "in tcp 22 10.0.0.0/8", "out any 0.0.0.0/0"}},
				refuses(nfyio.Decode, `{"name": "g", "inbound": [], "outbound_rules": []}`, sg.ErrConflict, "inbound"),
			},
		},
		{
			id: "GR-08", under: under(nfyio.Profile()),
			wire: []wireCase{{
				decode: nfyio.Decode, in: `{"inbound": [{"protocol": "tcp", "port_range": "7007", "source": "10.0.0.0/16"}, {"protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}]}`,
				rules: []string{"in tcp 7007 10.0.0.0/16", "in tcp 443 0.0.0.0/0", "out any 0.0.0.0/0"},
			}},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g", "r: in tcp 443 0.0.0.0/0")) })
				s.put(nic("i", "g"))
				s.ask("i out tcp/443 192.0.2.1 -> accept rule g/default-egress [nfyio: outbound was not given]", "i out gre 192.0.2.1 -> accept rule g/default-egress")
			},
		},
		{
			id: "GR-09", under: under(nfyio.Profile()),
			wire: []wireCase{{
				decode: nfyio.Decode, in: `{"inbound": [{"protocol": "tcp", "port_range": "5432", "source": "sg_app_servers"}], "outbound": []}`,
				rules: []string{"in tcp 5432 group:sg_app_servers"},
			}},
			policy: []policy.Change{group("sg_app_servers"), group("db", "pg: in tcp 5432 group:sg_app_servers"), nic("i", "db"), nic("app 10.0.0.7", "sg_app_servers")},
			ask:    []string{"i out tcp/443 192.0.2.1 -> drop empty_direction", "i out tcp/5432 10.0.0.7 -> drop empty_direction"},
			then:   func(_ *testing.T, s *scene) { s.connect("i in tcp/5432 10.0.0.7") },
		},
		{
			id: "GR-10", under: under(kakao.Profile()),
			wire: []wireCase{{decode: kakao.Decode, in: `{"name": "g"}`, rules: []string{"out any 0.0.0.0/0"}}},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
				s.put(nic("i", "g"))
				s.ask(
					"i in tcp/22 192.0.2.1 -> drop empty_direction", "i in tcp/22 2001:db8::1 -> drop empty_direction",
					"i out tcp/443 192.0.2.1 -> accept rule g/default-egress [kakao: new group]", "i out icmp/8 192.0.2.1 -> accept rule g/default-egress",
					"i out tcp/443 2001:db8::1 -> drop no_rule",
				)
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "default-egress") }) // a rule as any other
				s.ask("i out tcp/443 192.0.2.1 -> drop empty_direction")
			},
		},
		{
			id: "GR-11", under: under(stackit.Profile()),
			wire: []wireCase{{decode: stackit.Decode, in: `{"id": "g", "name": "g"}`, check: func(t *testing.T, g []*sg.Group) {
				require.ElementsMatch(t, []string{"out any any", "in any group:g"}, writeRules(g[0].Rules))
			}}},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
				s.put(nic("i", "g"), nic("j 10.0.0.6", "g"))
				s.ask(
					"i out tcp/443 192.0.2.1 -> accept rule g/default-egress [stackit: new group]", "i out udp/53 2001:db8::1 -> accept rule g/default-egress",
					"i in tcp/22 10.0.0.6 -> accept rule g/default-self", "i in tcp/22 10.0.0.7 -> drop no_rule",
				)
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "default-egress") })
				s.ask("i out tcp/443 192.0.2.1 -> drop empty_direction")
			},
		},
		{
			id: "GR-12", under: under(hypervisor.Profile()),
			wire: []wireCase{{decode: hypervisor.Decode, in: `{"name": "g"}`, check: func(t *testing.T, g []*sg.Group) { require.Empty(t, g[0].Rules) }}},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.NewGroup(newGroup("g")) })
				s.put(nic("i", "g"))
				require.Empty(s.t, s.group("g").Rules)
				s.ask("i in tcp/22 192.0.2.1 -> accept empty_direction", "i out tcp/443 192.0.2.1 -> accept empty_direction")
			},
		},
		{
			id: "GR-13", under: under(kakao.Profile()), policy: []policy.Change{owned("alice", "g")},
			then: func(t *testing.T, s *scene) {
				g, ok := s.snapshot().DefaultGroup("")
				require.True(t, ok, "it is there by itself")
				require.Equal(t, "default", g.Name)
				require.True(t, g.Default)
				s.refuse(admin(), sg.ErrForbidden, `groups["default"]`, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: g.ID}) })
				plain := g.Clone()
				plain.Default = false
				s.refusePut(sg.ErrForbidden, `groups["default"].default`, policy.PutGroup{Group: plain})
				s.edit(func(tx *policy.Tx) error { return tx.AddRules(g.ID, readRule("ssh: in tcp 22 10.0.0.0/8")) })
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule(g.ID, "default-self") })
				require.Len(t, s.group(g.ID).Rules, len(g.Rules))
				s.put(inVPC("v", "h"))
				_, ok = s.snapshot().DefaultGroup("v")
				require.True(t, ok)
			},
		},
		{
			id: "GR-14", under: under(kakao.Profile()), policy: []policy.Change{group("g")},
			wire: []wireCase{{decode: kakao.Decode, in: `{"name": "default", "outbound_rules": []}`, rules: []string{"in tcp 0-65535 group:default"}}},
			then: func(_ *testing.T, s *scene) {
				s.put(nic("a 10.0.0.5", "default"), nic("b 10.0.0.6", "default"), nic("c 10.0.0.7", "g"))
				s.ask(
					"a in tcp/1 10.0.0.6 -> accept rule default/default-self [kakao: default group]", "a in udp/1 10.0.0.6 -> drop no_rule", "a in icmp/8 10.0.0.6 -> drop no_rule",
					"a in tcp/1 10.0.0.7 -> drop no_rule", "a out udp/53 192.0.2.1 -> accept rule default/default-egress", "a out tcp/53 2001:db8::1 -> drop no_rule",
				)
			},
		},
	}
}

func inVPC(vpc sg.VPCID, id sg.GroupID, rules ...string) policy.Change {
	g := newGroup(id, rules...)
	g.VPC = vpc
	return policy.PutGroup{Group: g}
}

// lifecycleClaims are those of section 1.3 about what is done with groups.
func lifecycleClaims() []claim {
	ssh := "ssh: in v4 tcp 22 10.0.0.0/8"
	return []claim{
		{
			id: "GR-15", under: under(hypervisor.Profile(), kakao.Profile(), stackit.Profile()),
			policy: []policy.Change{group("g", ssh), nic("a 10.0.0.5", "g"), nic("b 10.0.0.6", "g"), nic("c 10.0.0.7", "g")},
			ask:    []string{"a in tcp/22 10.1.1.1 -> accept rule g/ssh", "b in tcp/22 10.1.1.1 -> accept rule g/ssh", "c in tcp/22 10.1.1.1 -> accept rule g/ssh", "c in tcp/23 10.1.1.1 -> drop no_rule"},
		},
		{
			id: "GR-16", under: under(kakao.Profile()),
			policy: []policy.Change{group("g", ssh, "self: in tcp 1 group:g", "out: out tcp 443 0.0.0.0/0"), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.CopyGroup("g", "h", "copy", sg.Global()) })
				g, h := s.group("g"), s.group("h")
				require.Equal(t, sg.PeerGroup("h"), h.Rules[1].Peer, "itself")
				require.Equal(t, g.Rules[0], h.Rules[0])
				require.Equal(t, g.Rules[2], h.Rules[2])
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("h", "ssh") })
				require.Len(t, s.group("g").Rules, 3, "a copy is on its own")
				s.edit(func(tx *policy.Tx) error { return tx.CopyGroup("default", "d", "copy of default", sg.Global()) })
				require.False(t, s.group("d").Default)
				s.refuse(admin(), sg.ErrDuplicate, `groups["h"]`, func(tx *policy.Tx) error { return tx.CopyGroup("g", "h", "again", sg.Global()) })
			},
		},
		{
			id: "GR-17", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("g", ssh), group("h", "http: in v4 tcp 80 0.0.0.0/0"), policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"g", "h"}}},
				nicOf(sg.Interface{Instance: "vm"}, "i"), nic("j 10.0.0.6", "g"),
			},
			then: func(t *testing.T, s *scene) {
				s.put(policy.DeleteGroup{ID: "g"})
				vm, _ := s.snapshot().Instance("vm")
				require.Equal(t, []sg.GroupID{"h"}, vm.Groups)
				s.ask("i in tcp/22 10.1.1.1 -> drop no_rule", "i in tcp/80 10.1.1.1 -> accept rule h/http", "j in tcp/22 10.1.1.1 -> accept unattached")
				s.refusePut(sg.ErrNotFound, `groups["g"]`, policy.DeleteGroup{ID: "g"}) // a failure is told
			},
		},
		{
			id: "GR-18", under: under(nfyio.Profile(), hypervisor.Profile(), kakao.Profile(), aws.Profile()),
			policy: []policy.Change{group("web"), group("db", "r: in v4 tcp 3306 group:web")},
			then: func(t *testing.T, s *scene) {
				s.refusePut(sg.ErrInUse, `groups["web"]`, policy.DeleteGroup{ID: "web"})
				_, err := s.store.Update(admin(), func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "web"}) })
				require.ErrorContains(t, err, "db", "who refers is told")
				s.put(policy.DeleteGroup{ID: "db"}, policy.DeleteGroup{ID: "web"}) // together
			},
		},
		{
			id: "GR-18", under: under(stackit.Profile()),
			policy: []policy.Change{group("web"), group("db", "r: in tcp 3306 group:web", ssh), nic("i", "db")},
			then: func(t *testing.T, s *scene) {
				s.put(policy.DeleteGroup{ID: "web"})
				require.Len(t, s.group("db").Rules, 1)
				s.ask("i in tcp/22 10.1.1.1 -> accept rule db/ssh")
			},
		},
		{
			id: "GR-19", under: under(hypervisor.Profile()), policy: []policy.Change{group("shared", ssh), nicOf(sg.Interface{Owner: "alice"}, "i")},
			then: func(t *testing.T, s *scene) {
				at := `groups["shared"]`
				s.refuse(alice(), sg.ErrForbidden, `groups["mine"]`, func(tx *policy.Tx) error { return tx.Apply(group("mine")) })
				s.refuse(alice(), sg.ErrForbidden, at, func(tx *policy.Tx) error { return tx.RemoveRule("shared", "ssh") })
				s.refuse(alice(), sg.ErrForbidden, at, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "shared"}) })
				require.True(t, alice().CanView(s.group("shared").Scope))
				s.do(alice(), func(tx *policy.Tx) error { return tx.Attach("i", "shared") })
				s.ask("i in tcp/22 10.1.1.1 -> accept rule shared/ssh")
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("shared", "ssh") })
				s.put(policy.DeleteGroup{ID: "shared"})
			},
		},
		{
			id: "GR-20", under: under(hypervisor.Profile()), policy: []policy.Change{nicOf(sg.Interface{Owner: "bob"}, "b")},
			then: func(t *testing.T, s *scene) {
				at := `groups["mine"]`
				s.do(alice(), func(tx *policy.Tx) error { return tx.Apply(owned("alice", "mine", ssh)) })
				s.do(alice(), func(tx *policy.Tx) error { return tx.AddRules("mine", readRule("http: in v4 tcp 80 0.0.0.0/0")) })
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("mine", "http") })
				s.refuse(bob(), sg.ErrForbidden, at, func(tx *policy.Tx) error { return tx.RemoveRule("mine", "ssh") })
				s.refuse(bob(), sg.ErrForbidden, at, func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "mine"}) })
				s.refuse(bob(), sg.ErrForbidden, `interfaces["b"].groups[0]`, func(tx *policy.Tx) error { return tx.Attach("b", "mine") })
				s.refuse(bob(), sg.ErrForbidden, `groups["his"].rules[0].peer`, func(tx *policy.Tx) error {
					return tx.Apply(owned("bob", "his", "r: in v4 tcp 1 group:mine"))
				})
				scope := s.group("mine").Scope
				require.Equal(t, []bool{true, false, true}, []bool{alice().CanView(scope), bob().CanView(scope), admin().CanView(scope)})
				s.do(alice(), func(tx *policy.Tx) error { return tx.Apply(policy.DeleteGroup{ID: "mine"}) })
			},
		},
		{
			id: "GR-21", under: under(hypervisor.Profile()),
			wire: []wireCase{
				{decode: hypervisor.Decode, in: `{"name": "g", "user": "alice"}`, check: func(t *testing.T, g []*sg.Group) { require.Equal(t, sg.User("alice"), g[0].Scope) }},
				{decode: hypervisor.Decode, in: `{"name": "g", "user": ""}`, check: func(t *testing.T, g []*sg.Group) { require.Equal(t, sg.Global(), g[0].Scope) }},
				{decode: hypervisor.Decode, in: `{"name": "g"}`, check: func(t *testing.T, g []*sg.Group) { require.Equal(t, sg.Global(), g[0].Scope) }},
			},
			then: func(_ *testing.T, s *scene) {
				for by, ok := range map[string]bool{"alice": true, "bob": false, "": false} {
					create := func(tx *policy.Tx) error { return tx.Apply(owned(sg.OwnerID(by), "g")) }
					if ok {
						s.do(alice(), create)
						s.put(policy.DeleteGroup{ID: "g"})
					} else {
						s.refuse(alice(), sg.ErrForbidden, `groups["g"]`, create)
					}
				}
				s.put(owned("", "blank"), owned("alice", "for-alice"))
				require.Equal(s.t, sg.Global(), s.group("blank").Scope)
				require.Equal(s.t, sg.User("alice"), s.group("for-alice").Scope)
			},
		},
		{
			id: "GR-22", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("shared", ssh), policy.PutInstance{Instance: &sg.Instance{ID: "vm", Owner: "alice"}}, nicOf(sg.Interface{Owner: "alice", Instance: "vm"}, "i"),
			},
			then: func(_ *testing.T, s *scene) {
				s.do(alice(), func(tx *policy.Tx) error { return tx.AttachInstance("vm", "shared") })
				s.ask("i in tcp/22 10.1.1.1 -> accept rule shared/ssh", "i in tcp/23 10.1.1.1 -> drop no_rule")
				s.refuse(alice(), sg.ErrForbidden, `groups["shared"]`, func(tx *policy.Tx) error { return tx.AddRules("shared", readRule("x: in v4 any 0.0.0.0/0")) })
				s.refuse(bob(), sg.ErrForbidden, `instances["vm"]`, func(tx *policy.Tx) error { return tx.DetachInstance("vm", "shared") })
				s.do(alice(), func(tx *policy.Tx) error { return tx.DetachInstance("vm", "shared") })
				s.ask("i in tcp/23 10.1.1.1 -> accept unattached")
			},
		},
		{
			id: "GR-23", under: under(kakao.Profile(), stackit.Profile(), aws.Profile()),
			policy: []policy.Change{group("g", ssh), nic("a 10.0.0.5", "g"), nic("b 10.0.0.6", "g")},
			then: func(_ *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.AddRules("g", readRule("http: in tcp 80 0.0.0.0/0")) })
				s.ask("a in tcp/80 192.0.2.1 -> accept rule g/http", "b in tcp/80 192.0.2.1 -> accept rule g/http")
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "http") })
				s.ask("a in tcp/80 192.0.2.1 -> drop no_rule", "b in tcp/80 192.0.2.1 -> drop no_rule")
				s.put(group("g", "ssh: in tcp 2222 10.0.0.0/8"))
				s.ask("a in tcp/22 10.1.1.1 -> drop no_rule", "b in tcp/2222 10.1.1.1 -> accept rule g/ssh")
			},
		},
		{
			id: "GR-24", under: under(with(kakao.Profile(), func(p *sg.Profile) { p.Quota.GroupsPerOwner, p.Quota.RulesPerGroup = 3, 3 })),
			policy: []policy.Change{owned("alice", "a", "1: in tcp 1 any", "2: in tcp 2 any", "3: in tcp 3 any"), owned("alice", "b")}, // and the default group
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrQuota, `groups["a"].rules`, owned("alice", "a", "1: in tcp 1 any", "2: in tcp 2 any", "3: in tcp 3 any", "4: in tcp 4 any"))
				s.refusePut(sg.ErrQuota, `groups["c"].scope`, owned("alice", "c"))
				s.put(owned("bob", "d"))
			},
		},
		{
			id: "GR-25",
			without: func(t *testing.T) {
				a := answer(t, apiRequest)
				rule := a["inbound_rules"].([]any)[0].(map[string]any)
				require.Equal(t, "tcp 443 0.0.0.0/0", fmt.Sprint(rule["protocol"], " ", rule["port_range"], " ", rule["source"]))
				require.Equal(t, "web-servers-sg", a["name"])
				require.Equal(t, "Security group for web and API servers", a["description"])
				again, err := json.Marshal(a)
				require.NoError(t, err)
				require.Equal(t, a, answer(t, string(again)), "what is written reads back the same")
			},
		},
	}
}
