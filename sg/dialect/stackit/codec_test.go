package stackit_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
	"example.com/secgroup/sg/dialect/internal/wire/wiretest"
	"example.com/secgroup/sg/dialect/stackit"
)

var codec = wiretest.Codec{Decode: stackit.Decode, Encode: stackit.Encode}

const response = `{
  "id": "8f0c6b1e-0000-4000-8000-000000000001", "name": "web", "description": "front", "stateful": false,
  "labels": {"team": "edge", "n": 1}, "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "2026-03-02T12:00:00Z",
  "rules": [
    {"id": "r-http", "direction": "ingress", "ethertype": "IPv4", "protocol": {"name": "tcp", "number": 6}, "portRange": {"min": 80, "max": 443},
     "ipRange": "0.0.0.0/0", "description": "web", "securityGroupId": "8f0c6b1e-0000-4000-8000-000000000001",
     "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "2026-03-01T12:00:00Z"},
    {"id": "r-ping", "direction": "ingress", "ethertype": "IPv4", "protocol": {"name": "icmp"}, "icmpParameters": {"type": 8, "code": 0}, "ipRange": "10.0.0.0/8"},
    {"id": "r-db", "direction": "egress", "ethertype": "IPv6", "protocol": {"number": 6}, "remoteSecurityGroupId": "8f0c6b1e-0000-4000-8000-000000000002"},
    {"id": "r-all", "direction": "egress", "ethertype": "IPv4"}
  ]}`

// TestResponse reads a group as the API returns it, with everything that the
// model can not hold as a warning (RU-02, RU-15, RU-16, RU-17).
func TestResponse(t *testing.T) {
	groups, warnings, err := stackit.Decode([]byte(`{"items": [` + response + `]}`))
	require.NoError(t, err)
	require.Equal(t, []*sg.Group{{
		ID: "8f0c6b1e-0000-4000-8000-000000000001", Name: "web", Description: "front", Stateless: true, Created: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Rules: []sg.Rule{
			{ID: "r-http", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.TCP, Ports: sg.PortRange{First: 80, Last: 443}, Peer: sg.PeerCIDR(netip.MustParsePrefix("0.0.0.0/0")), Description: "web"},
			{ID: "r-ping", Direction: sg.Ingress, Family: sg.IPv4, Protocol: sg.ICMP, ICMP: sg.ICMPTypeCode(8, 0), Peer: sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))},
			{ID: "r-db", Direction: sg.Egress, Family: sg.IPv6, Protocol: sg.TCP, Ports: sg.AllPorts(), Peer: sg.PeerGroup("8f0c6b1e-0000-4000-8000-000000000002")},
			{ID: "r-all", Direction: sg.Egress, Family: sg.IPv4, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
		},
	}}, groups)
	require.Equal(t, []string{
		"items[0].labels: the model has no labels", "items[0].updatedAt: the model has no such time",
		"items[0].rules[0].createdAt: the model has no such time", "items[0].rules[0].updatedAt: the model has no such time",
	}, wiretest.Warnings(warnings))
	_, warnings, err = stackit.Decode([]byte(`{"name": "a", "labels": {}, "updatedAt": "", "rules": []}`))
	require.NoError(t, err)
	require.Empty(t, warnings, "what says nothing is not lost")
}

// TestNewGroup: absent rules are those of a new group, an empty list is empty
// (C3, GR-11, EV-19).
func TestNewGroup(t *testing.T) {
	g := codec.Groups(t, `{"name": "a"}`)[0]
	require.Equal(t, sg.GroupID("a"), g.ID)
	require.False(t, g.Stateless)
	require.Len(t, g.Rules, 2)
	require.Equal(t, sg.PeerGroup("a"), g.Rules[0].Peer)
	require.Equal(t, sg.PeerAny(), g.Rules[1].Peer)
	require.Empty(t, codec.Groups(t, `{"name": "a", "rules": []}`)[0].Rules)
	require.Empty(t, codec.Groups(t, `{"items": []}`))
}

// TestProtocolAndFamily reads what decides both (RU-28, C14, C15).
func TestProtocolAndFamily(t *testing.T) {
	for rule, want := range map[string]sg.Rule{
		``:                            {Protocol: sg.AnyProtocol},
		`"protocol": {"name": "any"}`: {Protocol: sg.AnyProtocol},
		`"ethertype": "ipv6"`:         {Protocol: sg.AnyProtocol, Family: sg.IPv6},
		`"protocol": {"name": "TCP"}`: {Protocol: sg.TCP, Ports: sg.AllPorts()},
		`"protocol": {"name": "sctp", "number": 132}, "portRange": {"min": 0, "max": 7}`: {Protocol: sg.SCTP, Ports: sg.PortRange{First: 0, Last: 7}},
		`"protocol": {"name": "ipv6-encap", "number": 41}`:                               {Protocol: 41},
		`"protocol": {"number": 200}`:                                                    {Protocol: 200},
		`"protocol": {"name": "icmp"}`:                                                   {Protocol: sg.ICMP},
		`"protocol": {"name": "icmp"}, "ethertype": "IPv4"`:                              {Protocol: sg.ICMP, Family: sg.IPv4},
		`"protocol": {"name": "icmp"}, "ethertype": "IPv6"`:                              {Protocol: sg.ICMPv6, Family: sg.IPv6},
		`"protocol": {"name": "icmp", "number": 1}, "ethertype": "IPv6"`:                 {Protocol: sg.ICMPv6, Family: sg.IPv6},
		`"protocol": {"name": "icmp", "number": 58}, "ethertype": "IPv6"`:                {Protocol: sg.ICMPv6, Family: sg.IPv6},
		`"protocol": {"number": 1}, "ethertype": "IPv6"`:                                 {Protocol: sg.ICMPv6, Family: sg.IPv6},
		`"protocol": {"name": "icmpv6"}`:                                                 {Protocol: sg.ICMPv6, Family: sg.IPv6},
		`"protocol": {"name": "icmp"}, "ipRange": "fe80::/10"`:                           {Protocol: sg.ICMPv6, Family: sg.IPv6, Peer: sg.PeerCIDR(netip.MustParsePrefix("fe80::/10"))},
		`"protocol": {"name": "icmp"}, "icmpParameters": {"type": 0, "code": 255}`:       {Protocol: sg.ICMP, ICMP: sg.ICMPTypeCode(0, 255)},
		`"ipRange": "192.0.2.1"`:                                                         {Protocol: sg.AnyProtocol, Family: sg.IPv4, Peer: sg.PeerCIDR(netip.MustParsePrefix("192.0.2.1/32"))},
		`"remoteSecurityGroupId": "x"`:                                                   {Protocol: sg.AnyProtocol, Peer: sg.PeerGroup("x")},
	} {
		want.ID, want.Direction = "1", sg.Egress
		if want.Peer == (sg.Peer{}) {
			want.Peer = sg.PeerAny()
		}
		if rule != "" {
			rule = ", " + rule
		}
		require.Equal(t, want, codec.Groups(t, `{"name": "a", "rules": [{"id": "1", "direction": "egress"`+rule+`}]}`)[0].Rules[0], rule)
	}
}

func TestGroupFaults(t *testing.T) {
	for doc, want := range map[string]string{
		`{}`:                                                              `name: required`,
		`{"name": "a", "stateful": "true"}`:                               `stateful: invalid: want a boolean, not a string`,
		`{"name": "a", "labels": []}`:                                     `labels: invalid: want an object, not an array`,
		`{"name": "a", "rules": null}`:                                    `rules: invalid: want an array, not null`,
		`{"name": "a", "created_at": "x"}`:                                `created_at: unknown field`,
		`{"name": "a", "createdAt": "x"}`:                                 `createdAt: invalid "x": want a time as in RFC 3339, such as 2026-03-01T12:00:00Z`,
		`{"name": "a", "updatedAt": 1}`:                                   `updatedAt: invalid: want a string, not a number`,
		`{"name": "a", "createdAt": "0000-01-01T00:00:00+01:00"}`:         `createdAt: invalid "0000-01-01T00:00:00+01:00": in UTC, the year does not have four digits`,
		`{"items": [{"id": "1", "name": "a"}, {"id": "1", "name": "a"}]}`: `items[1].id: duplicate "1": the id of items[0].id`,
	} {
		codec.Faults(t, doc, want)
	}
}

// TestRuleFaults checks each fault of a rule alone.
func TestRuleFaults(t *testing.T) {
	const in = `"direction": "ingress"`
	for rule, want := range map[string][]string{
		``:                                                                      {`direction: required`},
		`"direction": "up"`:                                                     {`direction: invalid "up": want a direction: ingress, egress`},
		in + `, "ethertype": "any"`:                                             {`ethertype: invalid "any": want IPv4 or IPv6; absent is both`},
		in + `, "ethertype": null`:                                              {`ethertype: invalid: want a string, not null`},
		in + `, "protocol": "tcp"`:                                              {`protocol: invalid: want an object, not a string`},
		in + `, "protocol": {}`:                                                 {`protocol: required: a name or a number`},
		in + `, "protocol": {"name": "6"}`:                                      {`protocol.name: invalid "6": want a protocol such as tcp, udp or icmp, or only its number`},
		in + `, "protocol": {"name": ""}`:                                       {`protocol.name: required: must not be empty`},
		in + `, "protocol": {"number": 0}`:                                      {`protocol.number: invalid "0": want a whole number from 1 to 255`},
		in + `, "protocol": {"number": 256}`:                                    {`protocol.number: invalid "256": want a whole number from 1 to 255`},
		in + `, "protocol": {"number": "6"}`:                                    {`protocol.number: invalid: want a number, not a string`},
		in + `, "protocol": {"name": "tcp", "number": 17}`:                      {`protocol.number: conflict "17": not the number of "tcp"`},
		in + `, "protocol": {"name": "icmp", "number": 58}`:                     {`protocol.number: conflict "58": not the number of "icmp"`},
		in + `, "protocol": {"name": "any", "number": 6}`:                       {`protocol.number: conflict "6": not the number of "any"`},
		in + `, "protocol": {"name": "tcp", "port": 1}`:                         {`protocol.port: unknown field`},
		in + `, "protocol": {"name": "icmpv6"}, "ethertype": "IPv4"`:            {`protocol: address family mismatch "icmpv6": icmpv6 exists in ipv6 only`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": 1}`:           {`portRange.max: required`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": 2, "max": 1}`: {`portRange.min: invalid "2": above max, which is 1`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": 0, "max": 0}`: {`portRange.max: invalid "0": port 0 alone can not be named`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": -1, "max": 99999}`: {
			`portRange.max: invalid "99999": want a whole number from 0 to 65535`, `portRange.min: invalid "-1": want a whole number from 0 to 65535`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": -0, "max": 1}`:           {`portRange.min: invalid "-0": want a whole number from 0 to 65535`},
		in + `, "protocol": {"name": "tcp"}, "portRange": "80"`:                            {`portRange: invalid: want an object, not a string`},
		in + `, "protocol": {"name": "tcp"}, "portRange": {"min": 1, "max": 1, "step": 1}`: {`portRange.step: unknown field`},
		// RU-13: never widened
		in + `, "portRange": {"min": 80, "max": 80}`:                                      {`portRange: invalid: protocol any has no ports`},
		in + `, "protocol": {"name": "icmp"}, "portRange": {"min": 8, "max": 0}`:          {`portRange: invalid: protocol icmp has no ports`},
		in + `, "icmpParameters": {"type": 8, "code": 0}`:                                 {`icmpParameters: invalid "8/0": protocol any has no ICMP types`},
		in + `, "protocol": {"name": "icmp"}, "icmpParameters": {"type": 8}`:              {`icmpParameters.code: required`},
		in + `, "protocol": {"name": "icmp"}, "icmpParameters": {"code": 8, "type": 256}`: {`icmpParameters.type: invalid "256": want a whole number from 0 to 255`},
		in + `, "ipRange": ""`:                                   {`ipRange: required: must not be empty`},
		in + `, "ipRange": "10.0.0.1/8"`:                         {`ipRange: invalid "10.0.0.1/8": has host bits; did you mean 10.0.0.0/8?`},
		in + `, "ipRange": "0.0.0.0/0", "ethertype": "IPv6"`:     {`ipRange: address family mismatch "0.0.0.0/0": the rule is for ipv6`},
		in + `, "ipRange": "::/0", "remoteSecurityGroupId": "x"`: {`remoteSecurityGroupId: conflict: the rule has an ipRange`}, // RU-22
		in + `, "remoteSecurityGroupId": "@self"`:                {`remoteSecurityGroupId: invalid "@self": stands for any group, in profiles`},
		in + `, "remoteSecurityGroupId": null`:                   {`remoteSecurityGroupId: invalid: want a string, not null`},
		in + `, "securityGroupId": "b"`:                          {`securityGroupId: conflict "b": the rule stands in group a`},
		in + `, "action": "deny"`:                                {`action: unknown field`}, // EV-05, EV-16
		in + `, "updatedAt": 1`:                                  {`updatedAt: invalid: want a string, not a number`},
	} {
		for i := range want {
			want[i] = "rules[0]." + want[i]
		}
		codec.Faults(t, `{"name": "a", "rules": [{`+rule+`}]}`, want...)
	}
	codec.Faults(t, `{"name": "a", "rules": [{`+in+`, "ipRange": "::/0"}, {`+in+`, "ethertype": "IPv6"}]}`, `rules[1]: duplicate: same traffic as rules[0]`)
	codec.Faults(t, `{"name": "a", "rules": [{"id": "1", `+in+`}, {"id": "1", "direction": "egress"}]}`, `rules[1].id: duplicate "1": the id of rules[0]`)
}

func TestManyFaultsAtOnce(t *testing.T) {
	codec.Faults(t, `{"items": [{"stateful": 1, "rules": [
	    {"direction": "x", "protocol": {"name": "x", "number": 0, "zz": 1}, "portRange": {"min": "1"}, "icmpParameters": {"type": 8, "code": 0}, "ipRange": "x", "securityGroupId": 1}]}, []]}`,
		`items[0].name: required`,
		`items[0].rules[0].direction: invalid "x": want a direction: ingress, egress`,
		`items[0].rules[0].ipRange: invalid "x": want an address or a CIDR`,
		`items[0].rules[0].portRange.max: required`,
		`items[0].rules[0].portRange.min: invalid: want a number, not a string`,
		`items[0].rules[0].protocol.name: invalid "x": want a protocol such as tcp, udp or icmp, or only its number`,
		`items[0].rules[0].protocol.number: invalid "0": want a whole number from 1 to 255`,
		`items[0].rules[0].protocol.zz: unknown field`,
		`items[0].rules[0].securityGroupId: invalid: want a string, not a number`,
		`items[0].stateful: invalid: want a boolean, not a number`,
		`items[1]: invalid: want an object, not an array`,
	)
}

func TestWrongInput(t *testing.T) {
	codec.Wrong(t, response, nil, []string{"labels"})
	codec.Wrong(t, `{"items": [`+response+`]}`, nil, []string{"items[0].labels"})
}

func TestHostileDocuments(t *testing.T) {
	codec.Hostile(t, `{"name": "a", "rules": [`, `{"direction": "ingress", "remoteSecurityGroupId": "%d", "updatedAt": "x"}`, `]}`)
}

// TestManyWarnings: they are bounded, and say how many more there are.
func TestManyWarnings(t *testing.T) {
	groups := make([]*sg.Group, 0, wire.MaxWarnings+5)
	for range cap(groups) {
		groups = append(groups, &sg.Group{ID: sg.GroupID(time.Duration(len(groups)).String()), Name: "a", Default: true})
	}
	_, warnings, err := stackit.Encode(groups)
	require.NoError(t, err)
	require.Len(t, warnings, wire.MaxWarnings+1)
	require.Equal(t, "5 more warnings of the same kinds are not listed", warnings[wire.MaxWarnings].String())
}

func sayable() *rapid.Generator[[]*sg.Group] {
	return wiretest.Groups(wiretest.Spec{
		Group: func(g *sg.Group) {
			g.VPC, g.Scope, g.Default = "", sg.Global(), false
			if wire.Time(g.Created) == "" {
				g.Created = time.Time{}
			}
		},
		Rule: func(r sg.Rule) sg.Rule {
			if r.Protocol == sg.ICMPv6 {
				r.Family = sg.IPv6
			}
			r.Family = r.AddressFamily() // ICMP without a family stays so
			if typ, ok := r.ICMP.Type(); ok {
				r.ICMP = sg.ICMPTypeCode(typ, 1)
			}
			if r.Peer.Kind() == sg.PeerIsSet {
				r.Peer = sg.PeerAny()
			}
			return r
		},
	})
}

func TestRoundTrip(t *testing.T) { codec.RoundTrip(t, sayable()) }
func TestAnyGroups(t *testing.T) { codec.Anything(t) }

// TestRefuses checks what the format can not say.
func TestRefuses(t *testing.T) {
	codec.Refuses(t, []*sg.Group{{ID: "a", Name: "a", VPC: "v", Rules: []sg.Rule{
		{ID: "1", Direction: sg.Ingress, Protocol: sg.ICMP, ICMP: sg.ICMPType(8), Peer: sg.PeerAny()},
		{ID: "2", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerSet("s")},
	}}},
		`groups["a"].rules[0].icmp: a type needs its code`,
		`groups["a"].rules[1].peer: only a CIDR, a group, or any`,
		`groups["a"].vpc: the format has no VPC: the group would stand in another one`,
	)
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		response, `{"items": [` + response + `, {"name": "b"}]}`,
		`{"name": "a", "rules": [{"direction": "egress", "protocol": {"name": "icmp", "number": 58}, "ethertype": "IPv6"}, {"direction": "ingress", "protocol": {"number": 255}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { codec.Check(t, b) })
}
