package document_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
	"example.com/secgroup/sg/policy/document"
)

// TestHostile plays the control-plane cases of the threat catalogue against a
// whole document: what is refused is named by its path, and a store that was
// given it keeps the policy that it had.
func TestHostile(t *testing.T) {
	rule := func(fields string) string {
		return `{"profile": "strict", "security_groups": [{"id": "g", "name": "g", "vpc_id": "v", "inbound_rules": [{"id": "r", ` + fields + `}]}]}`
	}
	const tcp80 = `"protocol": "tcp", "port_range": "80", `
	refused := func(t *testing.T, doc string, want error, paths ...string) {
		t.Helper()
		_, err := document.Decode([]byte(doc), options())
		require.ErrorIs(t, err, want, doc)
		for _, p := range paths {
			require.ErrorContains(t, err, p)
		}
	}
	t.Run("API-01", func(t *testing.T) { // one spelling of an address, or none
		for _, peer := range []string{"10.0.0.1/8", "010.0.0.0/8", "10.0.0.0/08", "::ffff:10.0.0.0/104", "fe80::1%eth0/128", "fd00::1/8"} {
			refused(t, rule(tcp80+fmt.Sprintf(`"source": %q`, peer)), sg.ErrInvalid, "security_groups[0].inbound_rules[0].source")
		}
		one, err := document.Decode([]byte(rule(tcp80+`"source": "FD00:0:0::/16"`)), options())
		require.NoError(t, err)
		other, err := document.Decode([]byte(rule(tcp80+`"source": "fd00::/16"`)), options())
		require.NoError(t, err)
		require.Empty(t, one.Diff(other))
	})
	t.Run("API-02", func(t *testing.T) { // one typed protocol, and ports only where there are some
		for _, protocol := range []string{" tcp", "tcp ", "256", "-1", "tpc"} {
			refused(t, rule(fmt.Sprintf(`"protocol": %q, "port_range": "80", "source": "any"`, protocol)), sg.ErrInvalid, "inbound_rules[0].protocol")
		}
		upper, err := document.Decode([]byte(rule(`"protocol": "TCP", "port_range": "80", "source": "any"`)), options())
		require.NoError(t, err)
		lower, err := document.Decode([]byte(rule(tcp80+`"source": "any"`)), options())
		require.NoError(t, err)
		require.Empty(t, upper.Diff(lower))
		for _, p := range []string{"icmp", "47", "any"} {
			_, err := document.Decode([]byte(rule(fmt.Sprintf(`"protocol": %q, "port_range": "80", "source": "any"`, p))), options())
			require.ErrorContains(t, err, "inbound_rules[0].port_range", p)
		}
		for _, ports := range []string{"90-80", "65536", "-1", "80-", "1-2-3"} {
			refused(t, rule(fmt.Sprintf(`"protocol": "tcp", "port_range": %q, "source": "any"`, ports)), sg.ErrInvalid, "inbound_rules[0].port_range")
		}
		_, err = document.Decode([]byte(rule(`"protocol": "tcp", "port_range": "0-65535", "source": "any"`)), options())
		require.NoError(t, err)
	})
	t.Run("API-03", func(t *testing.T) { // one unusable rule among a thousand
		var rules []string
		for i := range 1000 {
			port := fmt.Sprint(i + 1)
			if i == 500 {
				port = "no"
			}
			rules = append(rules, fmt.Sprintf(`{"id": "r%d", "protocol": "tcp", "port_range": %q, "source": "any"}`, i, port))
		}
		doc := `{"profile": "strict", "security_groups": [{"id": "g", "name": "g", "vpc_id": "v", "inbound_rules": [` + strings.Join(rules, ",") + `]}]}`
		_, err := document.Decode([]byte(doc), options())
		var all sg.Errors
		require.ErrorAs(t, err, &all)
		require.Len(t, all, 1)
		require.ErrorContains(t, err, "security_groups[0].inbound_rules[500].port_range")

		store, err := policy.NewStore(sg.Profile{Name: "test"})
		require.NoError(t, err)
		web := &sg.Group{ID: "web", Name: "web", VPC: "v"}
		_, err = store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: web}) })
		require.NoError(t, err)
		before, rev := store.Snapshot()
		bad := web.Clone()
		for i := range 1000 {
			bad.Rules = append(bad.Rules, sg.Rule{ID: sg.RuleID(fmt.Sprint(i)), Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: uint16(i), Last: uint16(i)}, Peer: sg.PeerAny()})
		}
		bad.Rules[500].Ports = sg.PortRange{First: 9, Last: 8}
		_, err = store.Update(sg.Actor{Admin: true}, func(tx *policy.Tx) error { return tx.Apply(policy.PutGroup{Group: bad}) })
		require.ErrorContains(t, err, `groups["web"].rules[500].port`)
		after, now := store.Snapshot()
		require.Equal(t, rev, now)
		require.Same(t, before, after)
	})
	t.Run("API-05", func(t *testing.T) { // a peer that is not there is an error, one without members nobody
		refused(t, rule(tcp80+`"source": "nobody"`), sg.ErrNotFound, "inbound_rules[0].source")
		s, err := document.Decode([]byte(rule(tcp80+`"source": "g"`)), options()) // itself
		require.NoError(t, err)
		_, _, err = s.With(policy.PutGroup{Group: &sg.Group{ID: "h", VPC: "v", Rules: []sg.Rule{
			{ID: "x", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.PortRange{First: 1, Last: 1}, Peer: sg.PeerGroup("g")}}}}, policy.DeleteGroup{ID: "g"})
		require.ErrorIs(t, err, sg.ErrInUse, "deleted while it is named")
	})
}
