package dialect_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// enforcementClaims are those of section 1.6, Enforcement and propagation.
func enforcementClaims() []claim {
	https := "https: in v4 tcp 443 0.0.0.0/0"
	guarded := newNIC("i", "g")
	guarded.SourceGuard = true
	return []claim{
		{
			// The verdict is a function of policy and packets at the port: nothing
			// that the guest claims or forges takes part.
			id: "EN-01", under: under(hypervisor.Profile()),
			policy: []policy.Change{group("g", https, "out: out v4 tcp 443 0.0.0.0/0"), policy.PutInterface{Interface: guarded}},
			then: func(t *testing.T, s *scene) {
				s.pass("i out tcp/80 192.0.2.1 -> drop no_rule", "i out tcp/443 192.0.2.1 -> accept rule g/out")
				q := readQuestion("i out tcp/443 192.0.2.1")
				_, forged := q.packet(readQuestion("i in tcp/1 10.0.0.66").flow.Remote)
				require.Equal(t, "drop spoofed", say(s.compiler.Matcher().Program(), s.engine.Port("i").Filter(sg.Egress, forged)))
				_, b := q.packet(s.local(q))
				other := newEngine(func() time.Time { return time.Unix(0, 0) }) // on another machine
				require.NoError(t, other.Apply(t.Context(), s.compiler.Matcher()))
				require.Equal(t, "accept rule g/out", say(s.compiler.Matcher().Program(), other.Port("i").Filter(sg.Egress, b)))
			},
		},
		{
			// Nobody but the loop over Watch, in scene.follow, carries the change.
			id: "EN-02", under: under(hypervisor.Profile()), policy: []policy.Change{group("g", https), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				require.LessOrEqual(t, s.snapshot().Profile().Propagation, time.Minute)
				s.pass("i in tcp/22 10.1.1.1 -> drop no_rule")
				at := s.at
				s.edit(func(tx *policy.Tx) error { return tx.AddRules("g", readRule("ssh: in v4 tcp 22 10.0.0.0/8")) })
				require.Equal(t, at+1, s.at)
				s.pass("i in tcp/22 10.1.1.2 -> accept rule g/ssh")
				for _, text := range []string{"a: in v4 tcp 1 any", "b: in v4 tcp 2 any", "c: in v4 tcp 3 any"} { // several, then one look
					_, err := s.store.Update(admin(), func(tx *policy.Tx) error { return tx.AddRules("g", readRule(text)) })
					require.NoError(t, err)
				}
				s.follow()
				s.pass("i in tcp/1 10.1.1.3 -> accept rule g/a", "i in tcp/3 10.1.1.3 -> accept rule g/c")
			},
		},
		{
			id: "EN-03", under: under(aws.Profile(), stackit.Profile()), policy: []policy.Change{group("g", https), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				require.Zero(t, s.snapshot().Profile().Propagation)
				s.connect("i in tcp/443 192.0.2.1")
				began := s.clock
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "https") })
				s.pass("i in tcp/443 192.0.2.2 -> drop empty_direction", "i in tcp/443 192.0.2.1 go -> drop")
				s.edit(func(tx *policy.Tx) error { return tx.AddRules("g", readRule(https)) })
				s.pass("i in tcp/443 192.0.2.3 -> accept rule g/https")
				require.Equal(t, began, s.clock)
			},
		},
		{
			id: "EN-04", under: under(aws.Profile()),
			policy: []policy.Change{group("g", "bad: in tcp 443 198.51.100.0/24", "good: in tcp 443 192.0.2.0/24", "out: out any 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 198.51.100.66")
				s.connect("i in tcp/443 192.0.2.1")
				s.connect("i out tcp/443 192.0.2.1")
				s.edit(func(tx *policy.Tx) error { return tx.RemoveRule("g", "bad") })
				s.pass(
					"i in tcp/443 198.51.100.66 go -> drop", "i in tcp/443 198.51.100.66 back -> drop", "i in tcp/443 198.51.100.66 -> drop no_rule",
					"i in tcp/443 192.0.2.1 go -> accept established", "i out tcp/443 192.0.2.1 back -> accept established",
				)
			},
		},
		{
			id: "EN-05", under: under(kakao.Profile()), policy: []policy.Change{group("g", https, "dns: in udp 53 0.0.0.0/0"), nic("i", "g")},
			then: func(_ *testing.T, s *scene) {
				s.connect("i in tcp/443 192.0.2.1")
				s.pass("i in udp/53 192.0.2.1 -> accept rule g/dns", "i in udp/53 192.0.2.1 reply -> accept established")
				s.put(group("g"))
				s.pass("i in tcp/443 192.0.2.2 -> drop empty_direction", "i in udp/53 192.0.2.2 -> drop empty_direction") // new ones
				s.clock += time.Minute
				s.pass("i in tcp/443 192.0.2.1 go -> accept established", "i in tcp/443 192.0.2.1 back -> accept established", "i in udp/53 192.0.2.1 -> accept established")
				s.clock += 3 * time.Minute // two are what an answered UDP flow may be silent
				s.pass("i in udp/53 192.0.2.1 -> drop empty_direction", "i in tcp/443 192.0.2.1 go -> accept established")
				s.clock += 6 * 24 * time.Hour // five days are TCP's
				s.pass("i in tcp/443 192.0.2.1 go -> drop")
			},
		},
		{
			// Other layers stand before and behind: what they drop is not seen,
			// opens nothing, and what passes goes on as it came.
			id: "EN-06", under: under(aws.Profile()), policy: []policy.Change{group("g", https, "out: out tcp 443 0.0.0.0/0"), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				s.pass("i out tcp/443 192.0.2.1 back -> drop") // the SYN was dropped by a NACL before it came here
				require.Zero(t, s.engine.Table().Len())
				q := readQuestion("i out tcp/443 192.0.2.1")
				d, b := q.packet(s.local(q))
				before := bytes.Clone(b)
				require.Equal(t, sg.Accept, s.engine.Port("i").Filter(d, b).Action)
				require.Equal(t, before, b, "the packet is left as it is")
				s.pass("i out tcp/443 192.0.2.1 reply -> accept established") // no layer behind dropped it
			},
		},
	}
}
