package dialect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/aws"
	"example.com/secgroup/sg/dialect/hypervisor"
	"example.com/secgroup/sg/dialect/kakao"
	"example.com/secgroup/sg/dialect/nfyio"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// Documents of one rule. edit is what differs from a sound rule, as pairs of a
// field and its JSON; "" takes the field away.

func nfyioRule(edit ...string) string {
	return inboundRule([]string{"protocol", `"tcp"`, "port_range", `"443"`, "source", `"0.0.0.0/0"`}, edit)
}

func kakaoRule(edit ...string) string {
	return inboundRule([]string{"protocol", `"TCP"`, "port", `"443"`, "source", `"0.0.0.0/0"`}, edit)
}

func panelRule(edit ...string) string {
	return `{"name": "g", "rules": [` + object([]string{
		"direction", `"Ingress"`, "protocol", `"TCP"`, "port_range_min", "443", "port_range_max", "443", "ip_version", `"IPv4"`,
		"source_type", `"cidr"`, "cidr", `"0.0.0.0/0"`,
	}, edit) + `]}`
}

func stackitRule(edit ...string) string {
	return `{"name": "g", "rules": [` + object([]string{
		"direction", `"ingress"`, "protocol", `{"name": "tcp"}`, "portRange", `{"min": 443, "max": 443}`, "ipRange", `"0.0.0.0/0"`,
	}, edit) + `]}`
}

func awsRule(edit ...string) string {
	return `{"SecurityGroups": [{"GroupId": "sg-1", "GroupName": "g", "Description": "", "IpPermissionsEgress": [], "IpPermissions": [` + object([]string{
		"IpProtocol", `"tcp"`, "FromPort", "443", "ToPort", "443", "IpRanges", `[{"CidrIp": "0.0.0.0/0"}]`,
	}, edit) + `]}]}`
}

func inboundRule(fields, edit []string) string {
	return `{"name": "g", "vpc_id": "v", "inbound_rules": [` + object(fields, edit) + `], "outbound_rules": []}`
}

func object(fields, edit []string) string {
	for ; len(edit) > 0; edit = edit[2:] {
		found := false
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == edit[0] {
				fields[i+1], found = edit[1], true
			}
		}
		if !found {
			fields = append(fields, edit[0], edit[1])
		}
	}
	var w []string
	for i := 0; i < len(fields); i += 2 {
		if fields[i+1] != "" {
			w = append(w, fmt.Sprintf("%q: %s", fields[i], fields[i+1]))
		}
	}
	return "{" + strings.Join(w, ", ") + "}"
}

type decoder func([]byte) ([]*sg.Group, []sg.Warning, error)

// says is a document of one rule that means rule.
func says(d decoder, in, rule string) wireCase {
	return wireCase{decode: d, in: in, rules: []string{rule}}
}

// refuses is a document with a fault.
func refuses(d decoder, in string, kind error, path string) wireCase {
	return wireCase{decode: d, in: in, kind: kind, path: path}
}

// kakao documents name their VPC differently.
func kakaoDoc(in string) string { return strings.Replace(in, `"vpc_id"`, `"vpc"`, 1) }

// ruleClaims are those of section 1.2 about direction, protocol and ports.
func ruleClaims() []claim {
	inf := "inbound_rules[0]."
	k := func(edit ...string) string { return kakaoDoc(kakaoRule(edit...)) }
	return []claim{
		{
			id: "RU-01",
			wire: []wireCase{
				says(nfyio.Decode, `{"direction": "inbound", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0", "description": "HTTPS from internet"}`, "in tcp 443 0.0.0.0/0"),
				says(nfyio.Decode, `{"direction": "outbound", "protocol": "tcp", "port_range": "443", "destination": "0.0.0.0/0"}`, "out tcp 443 0.0.0.0/0"),
				refuses(nfyio.Decode, `{"direction": "sideways", "protocol": "tcp", "port_range": "443", "source": "0.0.0.0/0"}`, sg.ErrInvalid, "direction"),
				says(kakao.Decode, k(), "in tcp 443 0.0.0.0/0"),
				says(aws.Decode, awsRule(), "in tcp 443 0.0.0.0/0"),
			},
			under: under(nfyio.Profile()), policy: []policy.Change{nic("i")},
			then: func(_ *testing.T, s *scene) {
				g := newGroup("g", "r: in tcp 443 0.0.0.0/0")
				g.Rules[0].Direction = 0
				s.refusePut(sg.ErrRequired, `groups["g"].rules[0].direction`, policy.PutGroup{Group: g})
			},
		},
		{
			id: "RU-02",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule(), "in v4 tcp 443 0.0.0.0/0"),
				says(hypervisor.Decode, panelRule("direction", `"Egress"`), "out v4 tcp 443 0.0.0.0/0"),
				says(hypervisor.Decode, panelRule("direction", `"inbound"`), "in v4 tcp 443 0.0.0.0/0"),
				says(stackit.Decode, stackitRule(), "in tcp 443 0.0.0.0/0"),
				says(stackit.Decode, stackitRule("direction", `"egress"`), "out tcp 443 0.0.0.0/0"),
				refuses(hypervisor.Decode, panelRule("direction", `"sideways"`), sg.ErrInvalid, "rules[0].direction"),
				refuses(hypervisor.Decode, panelRule("direction", ""), sg.ErrRequired, "rules[0].direction"),
			},
		},
		{
			id: "RU-03",
			wire: []wireCase{
				says(nfyio.Decode, nfyioRule(), "in tcp 443 0.0.0.0/0"),
				says(nfyio.Decode, nfyioRule("protocol", `"udp"`), "in udp 443 0.0.0.0/0"),
				says(nfyio.Decode, nfyioRule("protocol", `"icmp"`, "port_range", ""), "in icmp 0.0.0.0/0"),
				says(kakao.Decode, k("protocol", `"UDP"`), "in udp 443 0.0.0.0/0"),
				says(kakao.Decode, k("protocol", `"ICMP"`, "port", ""), "in icmp 0.0.0.0/0"),
				says(stackit.Decode, stackitRule("protocol", `{"name": "udp"}`), "in udp 443 0.0.0.0/0"),
				says(stackit.Decode, stackitRule("protocol", `{"name": "icmp"}`, "portRange", ""), "in icmp 0.0.0.0/0"),
				refuses(nfyio.Decode, nfyioRule("protocol", `"carrier pigeon"`), sg.ErrInvalid, inf+"protocol"),
				refuses(nfyio.Decode, nfyioRule("protocol", ""), sg.ErrRequired, inf+"protocol"),
			},
			under:  under(nfyio.Profile(), kakao.Profile(), stackit.Profile()),
			policy: []policy.Change{group("g", "t: in tcp 7 0.0.0.0/0", "u: in udp 8 0.0.0.0/0", "p: in icmp 10.0.0.0/8"), nic("i", "g")},
			ask: []string{
				"i in tcp/7 192.0.2.1 -> accept rule g/t", "i in udp/7 192.0.2.1 -> drop no_rule", "i in udp/8 192.0.2.1 -> accept rule g/u",
				"i in icmp/8 10.1.1.1 -> accept rule g/p", "i in icmp/13 10.1.1.1 -> accept rule g/p", "i in icmp/8 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "RU-04",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule("protocol", `"ICMPv6"`, "port_range_min", "", "port_range_max", "", "ip_version", `"IPv6"`, "cidr", `"::/0"`), "in v6 icmpv6 ::/0"),
				refuses(hypervisor.Decode, panelRule("protocol", `"ICMPv6"`, "port_range_min", "", "port_range_max", ""), sg.ErrFamily, "rules[0].protocol"),
			},
			under:  under(hypervisor.Profile()),
			policy: []policy.Change{group("g", "p: in v4 icmp 0.0.0.0/0"), group("h", "p: in v6 icmpv6 ::/0"), nic("i", "g"), nic("j 10.0.0.6 fd00::6", "h")},
			ask: []string{
				"i in icmp/8 192.0.2.1 -> accept rule g/p", "i in icmpv6/128 2001:db8::1 -> drop no_rule",
				"j in icmp/8 192.0.2.1 -> drop no_rule", "j in icmpv6/128 2001:db8::1 -> accept rule h/p",
			},
		},
		{
			id: "RU-05",
			wire: []wireCase{
				says(nfyio.Decode, nfyioRule("protocol", `"all"`, "port_range", ""), "in any 0.0.0.0/0"),
				says(hypervisor.Decode, panelRule("protocol", `"All"`, "port_range_min", "", "port_range_max", ""), "in v4 any 0.0.0.0/0"),
				says(kakao.Decode, k("protocol", `"ALL"`, "port", `"ALL"`), "in any 0.0.0.0/0"),
				says(stackit.Decode, stackitRule("protocol", `{"name": "any"}`, "portRange", ""), "in any 0.0.0.0/0"),
				says(aws.Decode, awsRule("IpProtocol", `"-1"`, "FromPort", "", "ToPort", ""), "in any 0.0.0.0/0"),
			},
			without: func(t *testing.T) {
				for _, s := range []string{"all", "ALL", "All", "any"} {
					require.Equal(t, sg.AnyProtocol, must(sg.ParseProtocol(s)))
				}
			},
		},
		{
			id: "RU-06",
			wire: []wireCase{
				says(nfyio.Decode, nfyioRule("protocol", `"TCP"`), "in tcp 443 0.0.0.0/0"),
				says(nfyio.Decode, nfyioRule("protocol", `"Tcp"`), "in tcp 443 0.0.0.0/0"),
				says(hypervisor.Decode, panelRule("protocol", `"tcp"`), "in v4 tcp 443 0.0.0.0/0"),
				says(kakao.Decode, k("protocol", `"tcp"`), "in tcp 443 0.0.0.0/0"),
				says(stackit.Decode, stackitRule("protocol", `{"name": "TCP"}`), "in tcp 443 0.0.0.0/0"),
				says(aws.Decode, awsRule("IpProtocol", `"TCP"`), "in tcp 443 0.0.0.0/0"),
			},
		},
		{
			id: "RU-07", under: under(aws.Profile()), policy: []policy.Change{group("g"), nic("i", "g")},
			then: func(t *testing.T, s *scene) {
				for _, name := range []string{"HTTP", "https", "Ssh"} {
					service, ok := sg.FindService(name)
					require.True(t, ok, name)
					s.edit(func(tx *policy.Tx) error {
						return tx.AddRules("g", service.Rule(sg.Ingress, readRule("r: in any 0.0.0.0/0").Peer))
					})
				}
				s.ask(
					"i in tcp/80 192.0.2.1 -> accept rule g/http", "i in tcp/443 192.0.2.1 -> accept rule g/https", "i in tcp/22 192.0.2.1 -> accept rule g/ssh",
					"i in udp/80 192.0.2.1 -> drop no_rule", "i in tcp/80 2001:db8::1 -> drop no_rule", // "any IPv4 based instance"
				)
				_, ok := sg.FindService("no such type")
				require.False(t, ok)
			},
		},
		{
			id: "RU-08",
			without: func(t *testing.T) {
				for port, name := range map[uint16]string{
					22: "SSH", 80: "HTTP", 443: "HTTPS", 5432: "PostgreSQL", 6379: "Redis", 7007: "S3 Storage Proxy", 7010: "Agent Service",
					3000: "Gateway", 3306: "MySQL", 1433: "MSSQL", 3389: "RDP",
				} {
					s, ok := sg.FindService(name)
					require.True(t, ok, name)
					require.Equal(t, sg.Port(port), s.Ports, name)
					require.Equal(t, sg.TCP, s.Protocol, name)
				}
			},
		},
		{
			id: "RU-09",
			wire: []wireCase{
				says(nfyio.Decode, nfyioRule("port_range", `"443"`), "in tcp 443 0.0.0.0/0"),
				says(nfyio.Decode, nfyioRule("port_range", `"8000-9000"`), "in tcp 8000-9000 0.0.0.0/0"),
				refuses(nfyio.Decode, nfyioRule("port_range", `"http"`), sg.ErrInvalid, inf+"port_range"),
				refuses(nfyio.Decode, nfyioRule("port_range", `"65536"`), sg.ErrInvalid, inf+"port_range"),
				refuses(nfyio.Decode, nfyioRule("port_range", `443`), sg.ErrInvalid, inf+"port_range"),
				refuses(nfyio.Decode, nfyioRule("port_range", ""), sg.ErrRequired, inf+"port_range"), // never every port
			},
			under: under(nfyio.Profile()), policy: []policy.Change{group("g", "r: in tcp 8000-9000 0.0.0.0/0"), nic("i", "g")},
			ask: []string{
				"i in tcp/7999 192.0.2.1 -> drop no_rule", "i in tcp/8000 192.0.2.1 -> accept rule", "i in tcp/8500 192.0.2.1 -> accept rule",
				"i in tcp/9000 192.0.2.1 -> accept rule", "i in tcp/9001 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "RU-10",
			wire: []wireCase{
				says(hypervisor.Decode, panelRule("port_range_min", "1", "port_range_max", "65535"), "in v4 tcp 1-65535 0.0.0.0/0"),
				refuses(hypervisor.Decode, panelRule("port_range_min", "0"), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(hypervisor.Decode, panelRule("port_range_max", "65536"), sg.ErrInvalid, "rules[0].port_range_max"),
				refuses(hypervisor.Decode, panelRule("port_range_min", "-1"), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(hypervisor.Decode, panelRule("port_range_min", `"443"`), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(hypervisor.Decode, panelRule("port_range_min", ""), sg.ErrRequired, "rules[0].port_range_min"),
			},
		},
		{
			id:    "RU-11",
			wire:  []wireCase{says(hypervisor.Decode, panelRule("port_range_min", "22", "port_range_max", "22"), "in v4 tcp 22 0.0.0.0/0")},
			under: under(hypervisor.Profile()), policy: []policy.Change{group("g", "ssh: in v4 tcp 22-22 0.0.0.0/0"), nic("i", "g")},
			ask: []string{
				"i in tcp/21 192.0.2.1 -> drop no_rule", "i in tcp/22 192.0.2.1 -> accept rule g/ssh", "i in tcp/23 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "RU-12",
			wire: []wireCase{
				refuses(hypervisor.Decode, panelRule("port_range_min", "444"), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(nfyio.Decode, nfyioRule("port_range", `"9000-8000"`), sg.ErrInvalid, inf+"port_range"),
			},
			under: under(hypervisor.Profile()), policy: []policy.Change{nic("i")},
			then: func(_ *testing.T, s *scene) {
				g := newGroup("g", "r: in v4 tcp 443 0.0.0.0/0")
				g.Rules[0].Ports = sg.PortRange{First: 444, Last: 443}
				s.refusePut(sg.ErrInvalid, `groups["g"].rules[0].ports`, policy.PutGroup{Group: g})
			},
		},
		{
			id: "RU-13",
			wire: []wireCase{
				refuses(hypervisor.Decode, panelRule("protocol", `"ICMP"`), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(hypervisor.Decode, panelRule("protocol", `"All"`), sg.ErrInvalid, "rules[0].port_range_max"),
				refuses(hypervisor.Decode, panelRule("protocol", `"ICMPv6"`, "ip_version", `"IPv6"`, "cidr", `"::/0"`), sg.ErrInvalid, "rules[0].port_range_min"),
				refuses(nfyio.Decode, nfyioRule("protocol", `"icmp"`), sg.ErrInvalid, inf+"port_range"),
				refuses(stackit.Decode, stackitRule("protocol", `{"name": "any"}`), sg.ErrInvalid, "rules[0].portRange"),
				says(hypervisor.Decode, panelRule("protocol", `"ICMP"`, "port_range_min", "", "port_range_max", ""), "in v4 icmp 0.0.0.0/0"),
			},
			under: under(hypervisor.Profile(), stackit.Profile()), policy: []policy.Change{group("ok", "r: in v4 udp 53 0.0.0.0/0"), nic("i", "ok")},
			then: func(_ *testing.T, s *scene) {
				for _, text := range []string{"r: in v4 icmp 0.0.0.0/0", "r: in v6 icmpv6 ::/0", "r: in v4 any 0.0.0.0/0", "r: in v4 gre 0.0.0.0/0"} {
					g := newGroup("g", text)
					g.Rules[0].Ports = sg.Port(443)
					s.refusePut(sg.ErrInvalid, `groups["g"].rules[0].ports`, policy.PutGroup{Group: g})
				}
				g := newGroup("g", "r: in v4 tcp 443 0.0.0.0/0")
				g.Rules[0].Ports = sg.PortRange{}
				s.refusePut(sg.ErrRequired, `groups["g"].rules[0].ports`, policy.PutGroup{Group: g})
			},
		},
		{
			id: "RU-14",
			wire: []wireCase{
				says(kakao.Decode, k("port", `"ALL"`), "in tcp 0-65535 0.0.0.0/0"),
				says(kakao.Decode, k("protocol", `"ALL"`, "port", `"ALL"`), "in any 0.0.0.0/0"),
				refuses(kakao.Decode, k("port", ""), sg.ErrRequired, inf+"port"),
			},
			under: under(kakao.Profile()), policy: []policy.Change{group("g", "r: in tcp ALL 0.0.0.0/0"), nic("i", "g")},
			ask: []string{
				"i in tcp/1 192.0.2.1 -> accept rule g/r", "i in tcp/65535 192.0.2.1 -> accept rule g/r", "i in udp/1 192.0.2.1 -> drop no_rule",
			},
		},
		{
			id: "RU-15",
			wire: []wireCase{
				says(nfyio.Decode, `{"name": "g", "inbound": [], "outbound": [{"protocol": "all", "destination": "0.0.0.0/0"}]}`, "out any 0.0.0.0/0"),
				refuses(nfyio.Decode, nfyioRule("protocol", `"all"`), sg.ErrInvalid, inf+"port_range"),
				says(hypervisor.Decode, panelRule("protocol", `"All"`, "port_range_min", "", "port_range_max", "", "cidr", `"10.0.0.0/8"`), "in v4 any 10.0.0.0/8"),
			},
		},
	}
}
