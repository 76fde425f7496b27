package sg_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

// TestServices: RU-07, RU-08. Every named service makes a valid rule.
func TestServices(t *testing.T) {
	for _, s := range sg.Services() {
		require.NoError(t, s.Rule(sg.Ingress, sg.PeerAny()).Validate(), s.Name)
		found, ok := sg.FindService(s.Name)
		require.True(t, ok)
		require.Equal(t, s, found)
	}
	https, ok := sg.FindService("https")
	require.True(t, ok)
	require.Equal(t, sg.Port(443), https.Ports)
	_, ok = sg.FindService("gopher")
	require.False(t, ok)
}

// TestAssignIDs: an id depends on what the rule says, not on its place.
func TestAssignIDs(t *testing.T) {
	https := sg.Rule{Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerAny()}
	ping := sg.Rule{Direction: sg.Egress, Protocol: sg.ICMP, ICMP: sg.ICMPType(8), Peer: sg.PeerGroup("sg web"), Family: sg.IPv4}
	named := https
	named.ID = "https"
	rules := []sg.Rule{https, named, ping, https}
	sg.AssignIDs(rules)
	require.Equal(t, sg.RuleID("in-tcp-443-from-any"), rules[0].ID)
	require.Equal(t, sg.RuleID("https"), rules[1].ID)
	require.Equal(t, sg.RuleID("out-icmp-type-8-ipv4-to-group-sg web"), rules[2].ID)
	require.Equal(t, sg.RuleID("in-tcp-443-from-any-2"), rules[3].ID)
	swapped := []sg.Rule{ping, https}
	sg.AssignIDs(swapped)
	require.Equal(t, rules[2].ID, swapped[0].ID)
	require.Equal(t, rules[0].ID, swapped[1].ID)
}

// TestAssignNewIDs: what rules get beside others is what they get among them.
func TestAssignNewIDs(t *testing.T) {
	rule := func(id sg.RuleID, port uint16) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(port), Peer: sg.PeerAny()}
	}
	have := []sg.Rule{rule("in-tcp-1-from-any", 9), rule("in-tcp-1-from-any-2", 8), rule("x", 7)}
	fresh := []sg.Rule{rule("", 1), rule("", 1), rule("x", 2), rule("", 3), rule("in-tcp-1-from-any-4", 4)}
	all := append(slices.Clone(have), fresh...)
	sg.AssignIDs(all)
	sg.AssignNewIDs(fresh, func(id sg.RuleID) bool {
		return slices.ContainsFunc(have, func(r sg.Rule) bool { return r.ID == id })
	})
	require.Equal(t, all[len(have):], fresh)
	require.Equal(t, sg.RuleID("in-tcp-1-from-any-3"), fresh[0].ID)
	require.Equal(t, sg.RuleID("in-tcp-1-from-any-5"), fresh[1].ID)
}
