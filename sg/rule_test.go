package sg_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

func cidr(s string) sg.Peer { return sg.PeerCIDR(netip.MustParsePrefix(s)) }

// httpsRule is valid; tests spoil one field at a time.
func httpsRule() sg.Rule {
	return sg.Rule{ID: "r1", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: cidr("0.0.0.0/0")}
}

func TestRuleValidate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(r *sg.Rule)
		want  []fault
	}{
		"valid": {func(r *sg.Rule) {}, nil},

		"no id":                {func(r *sg.Rule) { r.ID = "" }, []fault{{"id", sg.ErrRequired}}},
		"control in id":        {func(r *sg.Rule) { r.ID = "a\nb" }, []fault{{"id", sg.ErrInvalid}}},
		"quotes in id":         {func(r *sg.Rule) { r.ID = `a"}; flush ruleset` }, nil},
		"no direction":         {func(r *sg.Rule) { r.Direction = 0 }, []fault{{"direction", sg.ErrRequired}}},
		"impossible direction": {func(r *sg.Rule) { r.Direction = 3 }, []fault{{"direction", sg.ErrInvalid}}},
		"egress":               {func(r *sg.Rule) { r.Direction = sg.Egress }, nil},

		// RU-25, RU-26, RU-28.
		"impossible family": {func(r *sg.Rule) { r.Family = 7 }, []fault{{"family", sg.ErrInvalid}}},
		"explicit family":   {func(r *sg.Rule) { r.Family = sg.IPv4 }, nil},
		"other family":      {func(r *sg.Rule) { r.Family = sg.IPv6 }, []fault{{"peer", sg.ErrFamily}}},
		"v6 peer, v4 rule":  {func(r *sg.Rule) { r.Family, r.Peer = sg.IPv4, cidr("::/0") }, []fault{{"peer", sg.ErrFamily}}},
		"v6 peer":           {func(r *sg.Rule) { r.Peer = cidr("::/0") }, nil},

		// RU-13, API-02.
		"no protocol":        {func(r *sg.Rule) { r.Protocol = 0 }, []fault{{"protocol", sg.ErrRequired}}},
		"protocol -2":        {func(r *sg.Rule) { r.Protocol = -2 }, []fault{{"protocol", sg.ErrInvalid}}},
		"protocol 256":       {func(r *sg.Rule) { r.Protocol = 256 }, []fault{{"protocol", sg.ErrInvalid}}},
		"no ports on tcp":    {func(r *sg.Rule) { r.Ports = sg.PortRange{} }, []fault{{"ports", sg.ErrRequired}}},
		"no ports on udp":    {func(r *sg.Rule) { r.Protocol, r.Ports = sg.UDP, sg.PortRange{} }, []fault{{"ports", sg.ErrRequired}}},
		"no ports on sctp":   {func(r *sg.Rule) { r.Protocol, r.Ports = sg.SCTP, sg.PortRange{} }, []fault{{"ports", sg.ErrRequired}}},
		"from above to":      {func(r *sg.Rule) { r.Ports = sg.PortRange{First: 9, Last: 5} }, []fault{{"ports", sg.ErrInvalid}}}, // RU-12
		"from above to 0":    {func(r *sg.Rule) { r.Ports = sg.PortRange{First: 9} }, []fault{{"ports", sg.ErrInvalid}}},
		"all ports":          {func(r *sg.Rule) { r.Ports = sg.AllPorts() }, nil}, // RU-14
		"ports on icmp":      {func(r *sg.Rule) { r.Protocol = sg.ICMP }, []fault{{"ports", sg.ErrInvalid}}},
		"ports on icmpv6":    {func(r *sg.Rule) { r.Protocol, r.Peer = sg.ICMPv6, cidr("::/0") }, []fault{{"ports", sg.ErrInvalid}}},
		"ports on gre":       {func(r *sg.Rule) { r.Protocol = 47 }, []fault{{"ports", sg.ErrInvalid}}},
		"ports on any":       {func(r *sg.Rule) { r.Protocol = sg.AnyProtocol }, []fault{{"ports", sg.ErrInvalid}}},
		"all ports on any":   {func(r *sg.Rule) { r.Protocol, r.Ports = sg.AnyProtocol, sg.AllPorts() }, []fault{{"ports", sg.ErrInvalid}}},
		"inverted on any":    {func(r *sg.Rule) { r.Protocol, r.Ports = sg.AnyProtocol, sg.PortRange{First: 1} }, []fault{{"ports", sg.ErrInvalid}}},
		"any without ports":  {func(r *sg.Rule) { r.Protocol, r.Ports = sg.AnyProtocol, sg.PortRange{} }, nil}, // RU-15, EV-15
		"gre without ports":  {func(r *sg.Rule) { r.Protocol, r.Ports = 47, sg.PortRange{} }, nil},
		"icmp type on tcp":   {func(r *sg.Rule) { r.ICMP = sg.ICMPType(8) }, []fault{{"icmp", sg.ErrInvalid}}},
		"icmp type 0 on tcp": {func(r *sg.Rule) { r.ICMP = sg.ICMPType(0) }, []fault{{"icmp", sg.ErrInvalid}}},
		"icmp type on any":   {func(r *sg.Rule) { r.Protocol, r.Ports, r.ICMP = sg.AnyProtocol, sg.PortRange{}, sg.ICMPType(8) }, []fault{{"icmp", sg.ErrInvalid}}},
		"icmp":               {func(r *sg.Rule) { r.Protocol, r.Ports, r.ICMP = sg.ICMP, sg.PortRange{}, sg.ICMPTypeCode(3, 4) }, nil},
		"icmp to a v6 peer":  {func(r *sg.Rule) { r.Protocol, r.Ports, r.Peer = sg.ICMP, sg.PortRange{}, cidr("::/0") }, []fault{{"protocol", sg.ErrFamily}}},
		"icmp for v6": {func(r *sg.Rule) {
			r.Protocol, r.Ports, r.Family, r.Peer = sg.ICMP, sg.PortRange{}, sg.IPv6, sg.PeerGroup("g")
		}, []fault{{"protocol", sg.ErrFamily}}},
		"icmpv6 to a v4 peer": {func(r *sg.Rule) { r.Protocol, r.Ports = sg.ICMPv6, sg.PortRange{} }, []fault{{"protocol", sg.ErrFamily}}}, // RU-04
		"icmpv6 for v4": {func(r *sg.Rule) {
			r.Protocol, r.Ports, r.Family, r.Peer = sg.ICMPv6, sg.PortRange{}, sg.IPv4, sg.PeerSet("s")
		}, []fault{{"protocol", sg.ErrFamily}}},
		"icmpv6 to a group": {func(r *sg.Rule) { r.Protocol, r.Ports, r.Peer = sg.ICMPv6, sg.PortRange{}, sg.PeerGroup("g") }, nil},

		// RU-17 to RU-24, API-01.
		"no peer":             {func(r *sg.Rule) { r.Peer = sg.Peer{} }, []fault{{"peer", sg.ErrRequired}}},
		"zero prefix":         {func(r *sg.Rule) { r.Peer = sg.PeerCIDR(netip.Prefix{}) }, []fault{{"peer", sg.ErrInvalid}}},
		"host bits":           {func(r *sg.Rule) { r.Peer = cidr("10.0.0.1/8") }, []fault{{"peer", sg.ErrInvalid}}},
		"host bits, other v":  {func(r *sg.Rule) { r.Family, r.Peer = sg.IPv6, cidr("10.0.0.1/8") }, []fault{{"peer", sg.ErrInvalid}}},
		"mapped peer":         {func(r *sg.Rule) { r.Peer = cidr("::ffff:10.0.0.0/104") }, []fault{{"peer", sg.ErrInvalid}}},
		"group peer":          {func(r *sg.Rule) { r.Peer = sg.PeerGroup("sg-web") }, nil},
		"group without id":    {func(r *sg.Rule) { r.Peer = sg.PeerGroup("") }, []fault{{"peer", sg.ErrRequired}}},
		"control in group id": {func(r *sg.Rule) { r.Peer = sg.PeerGroup("a\x00") }, []fault{{"peer", sg.ErrInvalid}}},
		"set peer":            {func(r *sg.Rule) { r.Peer = sg.PeerSet("office") }, nil},
		"set without id":      {func(r *sg.Rule) { r.Peer = sg.PeerSet("") }, []fault{{"peer", sg.ErrRequired}}},
		"invalid UTF-8 in id": {func(r *sg.Rule) { r.Peer = sg.PeerSet("\xff") }, []fault{{"peer", sg.ErrInvalid}}},

		// RU-29: free text; whoever renders it quotes it.
		"description": {func(r *sg.Rule) { r.Description, r.Origin = "\"\n}\xff", "profile" }, nil},

		// Every fault at once, in path order.
		"zero rule": {func(r *sg.Rule) { *r = sg.Rule{} }, []fault{
			{"direction", sg.ErrRequired}, {"id", sg.ErrRequired}, {"peer", sg.ErrRequired}, {"protocol", sg.ErrRequired}}},
		"all wrong": {func(r *sg.Rule) {
			*r = sg.Rule{ID: "\n", Direction: 9, Family: 5, Protocol: 47, Ports: sg.Port(80), ICMP: sg.ICMPType(0), Peer: cidr("10.0.0.1/8")}
		}, []fault{
			{"direction", sg.ErrInvalid}, {"family", sg.ErrInvalid}, {"icmp", sg.ErrInvalid}, {"id", sg.ErrInvalid},
			{"peer", sg.ErrInvalid}, {"ports", sg.ErrInvalid}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httpsRule()
			c.spoil(&r)
			requireFaults(t, r.Validate(), c.want...)
		})
	}
}

func TestRuleValidateSaysWhatWasMeant(t *testing.T) {
	r := httpsRule()
	r.Direction, r.Family, r.Peer = 9, 7, cidr("10.0.0.1/8")
	require.EqualError(t, r.Validate(), `direction: invalid "9": want ingress or egress
family: invalid "7": want ipv4, ipv6 or any
peer: invalid "10.0.0.1/8": has host bits; did you mean 10.0.0.0/8?`)
}

func TestRuleEffectiveFamily(t *testing.T) {
	icmp := sg.Rule{Protocol: sg.ICMP, Peer: sg.PeerGroup("g")}
	for _, c := range []struct {
		rule sg.Rule
		want sg.Family
	}{
		{sg.Rule{}, sg.FamilyAny},
		{sg.Rule{Peer: sg.PeerCIDR(netip.Prefix{})}, sg.FamilyAny},
		{sg.Rule{Peer: sg.PeerGroup("g"), Protocol: sg.TCP}, sg.FamilyAny},
		{sg.Rule{Peer: sg.PeerSet("s"), Protocol: sg.AnyProtocol}, sg.FamilyAny},
		{sg.Rule{Peer: cidr("0.0.0.0/0"), Protocol: sg.AnyProtocol}, sg.IPv4}, // RU-24, EV-14
		{sg.Rule{Peer: cidr("::/0"), Protocol: sg.AnyProtocol}, sg.IPv6},
		{icmp, sg.IPv4},
		{sg.Rule{Protocol: sg.ICMPv6, Peer: sg.PeerSet("s")}, sg.IPv6},
		{sg.Rule{Family: sg.IPv6, Peer: sg.PeerGroup("g"), Protocol: sg.TCP}, sg.IPv6},
	} {
		require.Equal(t, c.want, c.rule.EffectiveFamily(), "%+v", c.rule)
	}
}

// RU-30: what is, and what is not, in the key.
func TestRuleKey(t *testing.T) {
	base := httpsRule()
	same := map[string]func(r *sg.Rule){
		"id":             func(r *sg.Rule) { r.ID = "r2" },
		"description":    func(r *sg.Rule) { r.Description = "web" },
		"origin":         func(r *sg.Rule) { r.Origin = "aws: new group" },
		"derived family": func(r *sg.Rule) { r.Family = sg.IPv4 },
	}
	for name, change := range same {
		r := base
		change(&r)
		require.Equal(t, base.Key(), r.Key(), name)
	}
	differ := map[string]func(r *sg.Rule){
		"direction": func(r *sg.Rule) { r.Direction = sg.Egress },
		"protocol":  func(r *sg.Rule) { r.Protocol = sg.UDP },
		"ports":     func(r *sg.Rule) { r.Ports = sg.AllPorts() },
		"icmp":      func(r *sg.Rule) { r.ICMP = sg.ICMPType(0) },
		"peer":      func(r *sg.Rule) { r.Peer = cidr("0.0.0.0/1") },
		"peer kind": func(r *sg.Rule) { r.Peer = sg.PeerGroup("0.0.0.0/0") },
		"family":    func(r *sg.Rule) { r.Peer = cidr("::/0") },
	}
	for name, change := range differ {
		r := base
		change(&r)
		require.NotEqual(t, base.Key(), r.Key(), name)
	}
	require.Equal(t, sg.RuleID("r1"), base.ID, "Key changes a copy")
}
