package dialect_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// many returns n groups and their ids.
func many(n int) (groups []policy.Change, ids []sg.GroupID) {
	for k := range n {
		id := sg.GroupID(fmt.Sprintf("g%02d", k))
		groups = append(groups, group(id, fmt.Sprintf("r: in v4 tcp %d 0.0.0.0/0", k+1)))
		ids = append(ids, id)
	}
	return groups, ids
}

// attachmentClaims are those of section 1.4, Attachment.
func attachmentClaims() []claim {
	ssh := group("g", "ssh: in v4 tcp 22 10.0.0.0/8")
	eleven, ids := many(11)
	return []claim{
		{
			id: "AT-01", under: under(nfyio.Profile()),
			policy: []policy.Change{
				ssh, nicOf(sg.Interface{Kind: "bucket"}, "bucket 10.0.0.5", "g"), nicOf(sg.Interface{Kind: "agent"}, "agent 10.0.0.6", "g"),
				nicOf(sg.Interface{Kind: "api"}, "api 10.0.0.7"), nicOf(sg.Interface{Kind: "database"}, "database 10.0.0.8", "g"),
			},
			ask: []string{ // resources of one subnet, each for itself
				"bucket in tcp/22 10.1.1.1 -> accept rule g/ssh", "agent in tcp/22 10.1.1.1 -> accept rule g/ssh", "database in tcp/22 10.1.1.1 -> accept rule g/ssh",
				"api in tcp/22 10.1.1.1 -> drop unattached",
			},
		},
		{
			id: "AT-02", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				ssh, policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"g"}}},
				nicOf(sg.Interface{Instance: "vm"}, "public 203.0.113.5"), nicOf(sg.Interface{Instance: "vm", VPC: "v"}, "private 10.0.0.5"),
			},
			ask: []string{
				"public in tcp/22 10.1.1.1 -> accept rule g/ssh", "public in tcp/22 192.0.2.1 -> drop no_rule",
				"private in tcp/22 10.1.1.1 -> accept rule g/ssh", "private in tcp/80 10.1.1.1 -> drop no_rule",
			},
			then: func(_ *testing.T, s *scene) {
				s.put(nicOf(sg.Interface{Instance: "vm", VPC: "w"}, "later 10.0.0.9"))
				s.ask("later in tcp/80 10.1.1.1 -> drop no_rule")
			},
		},
		{
			id: "AT-03", under: under(kakao.Profile(), aws.Profile(), stackit.Profile()),
			policy: []policy.Change{ssh, group("h", "http: in tcp 80 0.0.0.0/0"), nic("eth0 10.0.0.5", "g"), nic("eth1 10.0.0.6", "h")},
			ask: []string{
				"eth0 in tcp/22 10.1.1.1 -> accept rule g/ssh", "eth0 in tcp/80 10.1.1.1 -> drop no_rule",
				"eth1 in tcp/22 10.1.1.1 -> drop no_rule", "eth1 in tcp/80 10.1.1.1 -> accept rule h/http",
			},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrUnsupported, `instances["vm"].groups`, policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"g"}}})
			},
		},
		{
			id: "AT-04", under: under(aws.Profile()),
			policy: []policy.Change{
				ssh, nicOf(sg.Interface{Kind: "vm"}, "vm 10.0.0.5", "g"), nicOf(sg.Interface{Kind: "load-balancer"}, "lb 10.0.0.6", "g"),
				nicOf(sg.Interface{Kind: "rds"}, "rds 10.0.0.7", "g"), nicOf(sg.Interface{Kind: "ecs"}, "ecs 10.0.0.8", "g"),
			},
			ask: []string{
				"vm in tcp/22 10.1.1.1 -> accept rule g/ssh", "lb in tcp/22 10.1.1.1 -> accept rule g/ssh", "rds in tcp/22 10.1.1.1 -> accept rule g/ssh",
				"ecs in tcp/22 10.1.1.1 -> accept rule g/ssh", "ecs in tcp/23 10.1.1.1 -> drop no_rule",
			},
		},
		{
			id: "AT-05", under: under(nfyio.Profile()),
			policy: []policy.Change{ssh, group("h", "http: in tcp 80 0.0.0.0/0"), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.edit(func(tx *policy.Tx) error { return tx.SetGroups("i", "h") })
				s.ask("i in tcp/22 10.1.1.1 -> drop no_rule", "i in tcp/80 10.1.1.1 -> accept rule h/http")
				s.edit(func(tx *policy.Tx) error { return tx.SetGroups("i") })
				s.ask("i in tcp/80 10.1.1.1 -> drop unattached")
				s.refuse(admin(), sg.ErrNotFound, `interfaces["i"].groups[0]`, func(tx *policy.Tx) error { return tx.SetGroups("i", "sg_nobody") })
				s.refuse(admin(), sg.ErrDuplicate, `interfaces["i"].groups[1]`, func(tx *policy.Tx) error { return tx.SetGroups("i", "g", "g") })
			},
		},
		{
			id: "AT-06", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				ssh, policy.PutInstance{Instance: &sg.Instance{ID: "a"}}, policy.PutInstance{Instance: &sg.Instance{ID: "b"}},
				nicOf(sg.Interface{Instance: "a"}, "i 10.0.0.5"), nicOf(sg.Interface{Instance: "b"}, "j 10.0.0.6"),
			},
			then: func(t *testing.T, s *scene) {
				closed := []string{"i in tcp/23 10.1.1.1 -> drop no_rule", "j in tcp/23 10.1.1.1 -> drop no_rule"}
				open := []string{"i in tcp/23 10.1.1.1 -> accept unattached", "j in tcp/23 10.1.1.1 -> accept unattached"}
				for _, id := range []sg.InstanceID{"a", "b"} { // the page of an instance
					s.edit(func(tx *policy.Tx) error { return tx.AttachInstance(id, "g") })
				}
				s.ask(closed...)
				n := 0
				for range s.snapshot().Attached("g") {
					n++
				}
				require.Equal(t, 2, n)
				for _, id := range []sg.InstanceID{"a", "b"} {
					s.edit(func(tx *policy.Tx) error { return tx.DetachInstance(id, "g") })
				}
				s.ask(open...)
				s.edit(func(tx *policy.Tx) error { return tx.AttachInterfaces("g", "i", "j") }) // the page of the group
				s.ask(closed...)
				s.edit(func(tx *policy.Tx) error { return tx.DetachInterfaces("g", "i", "j") })
				s.ask(open...)
			},
		},
		{
			id: "AT-07", under: under(kakao.Profile()), policy: []policy.Change{ssh, nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.refusePut(sg.ErrRequired, `interfaces["j"].groups`, nic("j 10.0.0.6"))
				s.refuse(admin(), sg.ErrRequired, `interfaces["i"].groups`, func(tx *policy.Tx) error { return tx.Detach("i", "g") })
				s.refusePut(sg.ErrRequired, `interfaces["i"].groups`, policy.DeleteGroup{ID: "g"})
				s.put(nicOf(sg.Interface{Kind: "bare-metal"}, "metal 10.0.0.7"))
				s.ask("metal in tcp/22 10.1.1.1 -> drop unattached")
			},
		},
		{
			id: "AT-08", under: under(hypervisor.Profile()), policy: eleven,
			then: func(_ *testing.T, s *scene) {
				vm := func(n int) policy.Change {
					return policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: ids[:n]}}
				}
				s.put(vm(hypervisor.MaxGroups), nicOf(sg.Interface{Instance: "vm"}, "i"))
				s.ask("i in tcp/10 192.0.2.1 -> accept rule g09/r")
				s.refusePut(sg.ErrQuota, `instances["vm"].groups`, vm(11))
				s.refuse(admin(), sg.ErrQuota, `instances["vm"].groups`, func(tx *policy.Tx) error { return tx.AttachInstance("vm", ids[10]) })
				s.refuse(admin(), sg.ErrQuota, `instances["vm"].groups`, func(tx *policy.Tx) error { return tx.Attach("i", ids[10]) })
			},
		},
		{
			id: "AT-08", under: under(hypervisor.Profile()), policy: append(eleven, policy.PutInstance{Instance: &sg.Instance{ID: "vm"}},
				nicOf(sg.Interface{Instance: "vm"}, "a 10.0.0.5", ids[:6]...)),
			then: func(_ *testing.T, s *scene) { // six at one interface and five at another are eleven of the instance
				_, err := s.store.Update(admin(), func(tx *policy.Tx) error {
					return tx.Apply(nicOf(sg.Interface{Instance: "vm"}, "b 10.0.0.6", ids[6:]...))
				})
				require.ErrorIs(s.t, err, sg.ErrQuota)
			},
		},
		{
			id: "AT-09", under: five(), policy: []policy.Change{
				group("a", "1: in v4 tcp 1 0.0.0.0/0"), group("b", "2: in v4 tcp 2 0.0.0.0/0"), group("c", "3: out v4 tcp 3 0.0.0.0/0"), nic("i", "a", "b", "c"),
			},
			ask: []string{
				"i in tcp/1 192.0.2.1 -> accept rule a/1", "i in tcp/2 192.0.2.1 -> accept rule b/2", "i out tcp/3 192.0.2.1 -> accept rule c/3",
				"i in tcp/3 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "AT-10", under: under(hypervisor.Profile()),
			policy: []policy.Change{ssh, policy.PutInstance{Instance: &sg.Instance{ID: "vm"}}, nicOf(sg.Interface{Instance: "vm"}, "i")},
			then: func(t *testing.T, s *scene) {
				require.Equal(t, time.Minute, s.snapshot().Profile().Propagation, "the promise")
				began := s.clock
				s.pass("i in tcp/23 10.1.1.1 -> accept unattached")
				s.edit(func(tx *policy.Tx) error { return tx.AttachInstance("vm", "g") })
				s.pass("i in tcp/23 10.1.1.2 -> drop no_rule", "i in tcp/22 10.1.1.2 -> accept rule g/ssh")
				s.edit(func(tx *policy.Tx) error { return tx.DetachInstance("vm", "g") })
				s.pass("i in tcp/23 10.1.1.3 -> accept unattached")
				require.Equal(t, began, s.clock, "at once: no time passed")
			},
		},
		{
			id: "AT-11", under: under(hypervisor.Profile()), policy: []policy.Change{ssh, nic("other 10.0.0.9")},
			then: func(t *testing.T, s *scene) {
				e := newEngine(func() time.Time { return time.Unix(1_000_000, 0) })
				send := func(text string) string {
					q := readQuestion(text)
					d, b := q.packet(s.local(q))
					v := e.Port(q.iface).Filter(d, b)
					return v.Action.String() + " " + v.Reason.String()
				}
				for _, text := range []string{"i in tcp/22 10.1.1.1", "i out tcp/443 192.0.2.1", "i out udp/53 2001:db8::1"} {
					require.Equal(t, "drop no_policy", send(text), "an engine that just started")
				}
				require.NoError(t, e.Apply(t.Context(), must(compile.Compile(s.snapshot()))))
				require.Equal(t, "drop unknown_interface", send("i in tcp/22 10.1.1.1"), "an instance that just started")
				require.Equal(t, "accept unattached", send("other in tcp/22 10.1.1.1"))
				s.put(policy.PutInstance{Instance: &sg.Instance{ID: "vm", Groups: []sg.GroupID{"g"}}}, nicOf(sg.Interface{Instance: "vm"}, "i"))
				require.NoError(t, e.Apply(t.Context(), must(compile.Compile(s.snapshot()))))
				require.Equal(t, "accept rule", send("i in tcp/22 10.1.1.1"), "judged by its groups from its first packet on")
				require.Equal(t, "drop no_rule", send("i in tcp/23 10.1.1.1"))
			},
		},
		{
			id: "AT-12", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("web", "in: in v4 tcp 443 0.0.0.0/0"), group("db", "sql: in v4 tcp 3306 group:web", "sql6: in v6 tcp 3306 group:web"),
				policy.PutInstance{Instance: &sg.Instance{ID: "w", Groups: []sg.GroupID{"web"}}},
				nicOf(sg.Interface{Instance: "w"}, "w0 10.0.0.7 10.0.0.8 10.7.0.0/24 fd00::7"), nicOf(sg.Interface{Instance: "w"}, "w1 10.0.0.9"), nic("d 10.0.0.5 fd00::5", "db"),
			},
			ask: []string{
				"d in tcp/3306 10.0.0.7 -> accept rule db/sql", "d in tcp/3306 10.0.0.8 -> accept rule db/sql", "d in tcp/3306 10.0.0.9 -> accept rule db/sql",
				"d in tcp/3306 10.7.0.200 -> accept rule db/sql", "d in tcp/3306 fd00::7 -> accept rule db/sql6",
				"d in tcp/3306 10.0.0.10 -> drop no_rule", "d in tcp/3306 10.7.1.0 -> drop no_rule", "d in tcp/3306 fd00::8 -> drop no_rule", "d in tcp/22 10.0.0.7 -> drop no_rule",
			},
			then: func(_ *testing.T, s *scene) { // the same addresses in another VPC are others
				s.put(nicOf(sg.Interface{VPC: "v", Instance: "w"}, "w2 10.0.0.50"))
				s.ask("d in tcp/3306 10.0.0.50 -> drop no_rule")
			},
		},
		{
			id: "AT-13", under: under(hypervisor.Profile()),
			policy: []policy.Change{
				group("web", "in: in v4 tcp 443 0.0.0.0/0"), group("db", "sql: in v4 tcp 3306 group:web"), nic("w 10.0.0.7", "web"), nic("d 10.0.0.5", "db"),
				policy.PutInstance{Instance: &sg.Instance{ID: "vm"}}, nicOf(sg.Interface{Instance: "vm"}, "x 10.0.0.8"),
			},
			then: func(_ *testing.T, s *scene) {
				s.ask("d in tcp/3306 10.0.0.8 -> drop no_rule")
				s.connect("d in tcp/3306 10.0.0.7")
				s.edit(func(tx *policy.Tx) error { return tx.AttachInstance("vm", "web") }) // joins
				s.ask("d in tcp/3306 10.0.0.8 -> accept rule db/sql")
				s.pass("d in tcp/3306 10.0.0.7 go -> accept established")
				s.edit(func(tx *policy.Tx) error { // moves to another address
					i, _ := tx.Interface("x")
					c := i.Clone()
					c.Addrs = []netip.Prefix{netip.MustParsePrefix("10.0.0.88/32")}
					return tx.Apply(policy.PutInterface{Interface: c})
				})
				s.ask("d in tcp/3306 10.0.0.8 -> drop no_rule", "d in tcp/3306 10.0.0.88 -> accept rule db/sql")
				s.connect("d in tcp/3306 10.0.0.88")
				s.edit(func(tx *policy.Tx) error { return tx.DetachInstance("vm", "web") }) // leaves
				s.pass("d in tcp/3306 10.0.0.88 go -> drop", "d in tcp/3306 10.0.0.7 go -> accept established")
				s.ask("d in tcp/3306 10.0.0.88 -> drop no_rule", "d in tcp/3306 10.0.0.7 -> accept rule db/sql")
				s.put(policy.DeleteInterface{ID: "w"})
				s.ask("d in tcp/3306 10.0.0.7 -> drop no_rule")
				s.pass("d in tcp/3306 10.0.0.7 go -> drop")
			},
		},
	}
}
