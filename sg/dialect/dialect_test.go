package dialect_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

func TestProfiles(t *testing.T) {
	var names []string
	for _, p := range dialect.Profiles() {
		require.NoError(t, p.Validate(), p.Name)
		names = append(names, p.Name)
		for _, n := range []string{p.Name, strings.ToUpper(p.Name)} {
			got, ok := dialect.Profile(n)
			require.True(t, ok, n)
			require.Equal(t, p, got)
		}
		for _, rules := range [][]sg.Rule{p.NewGroup, p.DefaultGroup} {
			for _, r := range rules {
				require.Contains(t, r.Origin, p.Name, "Explain names what added %s", r.ID)
			}
		}
		for _, r := range p.Platform {
			require.Contains(t, r.Rule.Origin, p.Name, r.Rule.ID)
		}
	}
	require.True(t, slices.IsSorted(names))
	for _, n := range []string{"", "aws ", "amazon", "ſtrict", "aw"} {
		_, ok := dialect.Profile(n)
		require.False(t, ok, n)
	}
}

// TestProfilesAreFresh: what one caller does to a profile reaches no other.
func TestProfilesAreFresh(t *testing.T) {
	for n, p := range dialect.Profiles() {
		for _, rules := range [][]sg.Rule{p.NewGroup, p.DefaultGroup} {
			for i := range rules {
				rules[i].Protocol = 0
			}
		}
		for i := range p.Platform {
			p.Platform[i].Name = ""
		}
		again := dialect.Profiles()[n]
		require.NoError(t, again.Validate(), p.Name)
	}
}

// program compiles a document of one interface, "i" with 10.0.0.5 and fd00::5,
// that has the groups of the text.
func program(t *testing.T, profile, groups, attached string) (*ir.Program, error) {
	t.Helper()
	s, err := document.Decode([]byte(fmt.Sprintf(`{"profile": %q, "security_groups": [%s], "interfaces": [
		{"id": "i", "addresses": ["10.0.0.5", "fd00::5"], "security_group_ids": [%s]},
		{"id": "peer", "addresses": ["10.0.0.6", "fd00::6"], "security_group_ids": [%s]}]}`, profile, groups, attached, attached)),
		document.Options{Profiles: dialect.Profile})
	if err != nil {
		return nil, err
	}
	m, err := compile.Compile(s)
	require.NoError(t, err)
	return m.Program(), nil
}

func tcp(remote string, port uint16) ir.Flow {
	return ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.TCP), Port: port}
}

func udp(remote string, port uint16) ir.Flow {
	return ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.UDP), Port: port}
}

func icmp6(remote string, typ uint8) ir.Flow {
	return ir.Flow{Remote: netip.MustParseAddr(remote), Protocol: uint8(sg.ICMPv6), ICMPType: typ}
}

// TestAnswers is the table of profiles in the design: what each answers where
// clouds differ.
func TestAnswers(t *testing.T) {
	const (
		fresh   = `{"id": "g", "name": "g"}`                                                                                                // GR-08, GR-10 to GR-12
		noOut   = `{"id": "g", "name": "g", "outbound_rules": []}`                                                                          // GR-09, C3
		https   = `{"id": "g", "name": "g", "inbound_rules": [{"id": "https", "protocol": "tcp", "port_range": "443", "source": "any"}]}`   // EV-06
		self    = `{"id": "g", "name": "g", "inbound_rules": [{"id": "self", "protocol": "any", "source": "@g"}], "outbound_rules": []}`    // EV-19
		onlyOut = `{"id": "g", "name": "g", "inbound_rules": [], "outbound_rules": [{"id": "o", "protocol": "any", "destination": "any"}]}` // EV-08
	)
	in, out := sg.Ingress, sg.Egress
	drop := func(reason ir.Reason) string { return "drop " + reason.String() }
	accept := func(rule string) string { return "accept " + rule }
	for _, c := range []struct {
		profile, name, groups string
		direction             sg.Direction
		flow                  ir.Flow
		want                  string
	}{
		// C1, EV-12: no group attached; aws refuses, see TestUnattachedIsRefused.
		{"nfyio", "no group", "", in, tcp("192.0.2.1", 443), drop(ir.ReasonUnattached)},
		{"nfyio", "no group", "", out, tcp("192.0.2.1", 443), drop(ir.ReasonUnattached)},
		{"strict", "no group", "", in, tcp("192.0.2.1", 443), drop(ir.ReasonUnattached)},
		{"strict", "no group", "", out, tcp("fd00::1", 443), drop(ir.ReasonUnattached)},

		// C2: groups attached, but no rule in the direction.
		{"aws", "empty direction", fresh, in, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},
		{"nfyio", "empty direction", fresh, in, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},
		{"strict", "empty direction", fresh, in, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},
		{"strict", "empty direction", onlyOut, in, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},

		// C3, C4, C14: outbound absent, or a new group.
		{"aws", "outbound absent", fresh, out, tcp("192.0.2.1", 443), accept("g/default-egress-ipv4")},
		{"aws", "outbound absent", fresh, out, tcp("2001:db8::1", 443), accept("g/default-egress-ipv6")},
		{"aws", "outbound absent", https, out, udp("192.0.2.1", 53), accept("g/default-egress-ipv4")},
		{"nfyio", "outbound absent", fresh, out, tcp("192.0.2.1", 443), accept("g/default-egress")},
		{"nfyio", "outbound absent", fresh, out, tcp("2001:db8::1", 443), drop(ir.ReasonNoRule)},
		{"strict", "outbound absent", fresh, out, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},

		// C3: outbound [].
		{"aws", "outbound empty", noOut, out, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},
		{"aws", "outbound empty", noOut, out, tcp("2001:db8::1", 443), drop(ir.ReasonEmptyDirection)},
		{"nfyio", "outbound empty", noOut, out, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},
		{"strict", "outbound empty", noOut, out, tcp("192.0.2.1", 443), drop(ir.ReasonEmptyDirection)},

		// EV-06, and members of the same group, EV-19.
		{"aws", "rule", https, in, tcp("192.0.2.1", 443), accept("g/https")},
		{"aws", "no rule", https, in, tcp("192.0.2.1", 80), drop(ir.ReasonNoRule)},
		{"nfyio", "rule", https, in, tcp("2001:db8::1", 443), accept("g/https")},
		{"strict", "rule", https, in, tcp("2001:db8::1", 443), accept("g/https")},
		{"aws", "self", self, in, tcp("10.0.0.6", 443), accept("g/self")},
		{"nfyio", "self", self, in, udp("fd00::6", 1), accept("g/self")},
		{"strict", "self", self, in, tcp("10.0.0.7", 443), drop(ir.ReasonNoRule)},

		// Platform rules of aws: neighbour discovery and DHCP, in their one direction.
		{"aws", "neighbour solicitation", noOut, out, icmp6("ff02::1:ff00:1", 135), accept("platform neighbour-discovery")},
		{"aws", "neighbour solicitation", noOut, in, icmp6("fe80::1", 135), accept("platform neighbour-discovery")},
		{"aws", "neighbour advertisement", noOut, in, icmp6("fe80::1", 136), accept("platform neighbour-discovery")},
		{"aws", "neighbour advertisement", noOut, out, icmp6("fe80::1", 136), accept("platform neighbour-discovery")},
		{"aws", "router solicitation", noOut, out, icmp6("ff02::2", 133), accept("platform neighbour-discovery")},
		{"aws", "router advertisement", noOut, in, icmp6("fe80::1", 134), accept("platform neighbour-discovery")},
		{"aws", "rogue router", noOut, out, icmp6("ff02::1", 134), "drop platform router-guard"}, // RFC 6105
		{"aws", "asked to be a router", noOut, in, icmp6("fe80::1", 133), drop(ir.ReasonEmptyDirection)},
		{"aws", "redirect", noOut, in, icmp6("fe80::1", 137), drop(ir.ReasonEmptyDirection)},
		{"aws", "echo", noOut, in, icmp6("fe80::1", 128), drop(ir.ReasonEmptyDirection)},
		{"aws", "DHCP request", noOut, out, udp("255.255.255.255", 67), accept("platform dhcp")},
		{"aws", "DHCP reply", noOut, in, udp("10.0.0.1", 68), accept("platform dhcp")},
		{"aws", "DHCPv6 request", noOut, out, udp("ff02::1:2", 547), accept("platform dhcp")},
		{"aws", "DHCPv6 reply", noOut, in, udp("fe80::1", 546), accept("platform dhcp")},
		{"aws", "rogue DHCP server", noOut, out, udp("10.0.0.6", 68), "drop platform dhcp-guard"},
		{"aws", "DHCP to the interface", noOut, in, udp("10.0.0.6", 67), drop(ir.ReasonEmptyDirection)},
		{"aws", "DHCP port of the other family", noOut, out, udp("fd00::1", 67), drop(ir.ReasonEmptyDirection)},
		{"aws", "DHCP over TCP", noOut, out, tcp("10.0.0.1", 67), drop(ir.ReasonEmptyDirection)},
		{"nfyio", "no platform rules", noOut, out, udp("255.255.255.255", 67), drop(ir.ReasonEmptyDirection)},
		{"strict", "no platform rules", noOut, in, icmp6("fe80::1", 135), drop(ir.ReasonEmptyDirection)},
	} {
		attached := `"g"`
		if c.groups == "" {
			attached = ""
		}
		prog, err := program(t, c.profile, c.groups, attached)
		require.NoError(t, err, "%s %s", c.profile, c.name)
		v := prog.Eval("i", c.direction, c.flow)
		got := v.Action.String() + " " + v.Reason.String()
		if r, ok := prog.Rule(v.Rule); ok {
			got = v.Action.String() + " " + r.Ref.String()
		}
		require.Equal(t, c.want, got, "%s, %s, %v %v", c.profile, c.name, c.direction, c.flow)
		require.False(t, v.Stateless, "every group is stateful")
	}
}

// TestUnattachedIsRefused: AT-07, C1; aws wants a group, and the limits of
// Amazon VPC quotas.
func TestUnattachedIsRefused(t *testing.T) {
	_, err := program(t, "aws", "", "")
	require.ErrorIs(t, err, sg.ErrRequired)

	var groups, ids []string
	for n := range 6 {
		groups = append(groups, fmt.Sprintf(`{"id": "g%d", "name": "g%d"}`, n, n))
		ids = append(ids, fmt.Sprintf(`"g%d"`, n))
	}
	_, err = program(t, "aws", strings.Join(groups, ","), strings.Join(ids, ","))
	require.ErrorIs(t, err, sg.ErrQuota)
	for _, profile := range []string{"nfyio", "strict"} {
		_, err = program(t, profile, strings.Join(groups, ","), strings.Join(ids, ","))
		require.NoError(t, err)
	}

	rules := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"protocol": "tcp", "port_range": "%d", "source": "0.0.0.0/0"}`, i+1))
			list = append(list, fmt.Sprintf(`{"protocol": "tcp", "port_range": "%d", "source": "::/0"}`, i+1))
		}
		return `{"id": "g", "name": "g", "inbound_rules": [` + strings.Join(list, ",") + `]}`
	}
	_, err = program(t, "aws", rules(60), `"g"`) // 60 for each family
	require.NoError(t, err)
	_, err = program(t, "aws", rules(61), `"g"`)
	require.ErrorContains(t, err, "limit 60, usage 61")
}

// TestStateful: C7; only strict lets groups be stateless.
func TestStateful(t *testing.T) {
	const group = `{"id": "g", "name": "g", "stateful": false, "inbound_rules": [{"protocol": "any", "source": "any"}]}`
	for _, profile := range []string{"aws", "nfyio"} {
		_, err := program(t, profile, group, `"g"`)
		require.ErrorIs(t, err, sg.ErrUnsupported)
		require.ErrorContains(t, err, "security_groups[0].stateful")
	}
	prog, err := program(t, "strict", group, `"g"`)
	require.NoError(t, err)
	require.True(t, prog.Eval("i", sg.Ingress, tcp("192.0.2.1", 1)).Stateless)
}

// TestEstablished: C8; every one of these judges flows again after a change.
func TestEstablished(t *testing.T) {
	for _, name := range []string{"aws", "nfyio", "strict"} {
		p, ok := dialect.Profile(name)
		require.True(t, ok)
		require.Equal(t, sg.Revalidate, p.Established, name)
		require.Equal(t, sg.Drop, p.Unattached, name)
		require.Equal(t, sg.Drop, p.EmptyDirection, name)
	}
}

// TestDefaultGroup: C5, GR-14; aws has one that its members reach each other in.
func TestDefaultGroup(t *testing.T) {
	p, _ := dialect.Profile("aws")
	in := sg.Template(p.DefaultGroup, "sg-default", sg.Ingress)
	require.Len(t, in, 1)
	require.Equal(t, sg.PeerGroup("sg-default"), in[0].Peer)
	require.Equal(t, sg.AnyProtocol, in[0].Protocol)
	require.Len(t, sg.Template(p.DefaultGroup, "sg-default", sg.Egress), 2)
	for _, name := range []string{"nfyio", "strict"} {
		p, _ := dialect.Profile(name)
		require.Empty(t, p.DefaultGroup, name)
	}
}
