package main

import (
	"bytes"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
)

func call(in string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(in), &out, &errs)
	return status, out.String(), errs.String()
}

// web is a group that every format can say.
const web = `{"profile": "strict", "security_groups": [{"id": "web", "name": "web",
  "inbound_rules": [{"id": "https", "protocol": "tcp", "port_range": "443", "ip_version": "ipv4", "source": "0.0.0.0/0", "description": "for all"}],
  "outbound_rules": []}]}`

// TestEveryPair: a group goes from native to any format, on to any other, and
// back to native, and still allows the same.
func TestEveryPair(t *testing.T) {
	status, want, errs := call(web, "-from", "native", "-to", "native", "-profile", "strict")
	require.Zero(t, status, errs)
	for _, a := range dialect.Codecs() {
		status, one, errs := call(web, "-from", "native", "-to", a.Name)
		require.Zero(t, status, "%s: %s", a.Name, errs)
		for _, b := range dialect.Codecs() {
			status, two, errs := call(one, "-from", a.Name, "-to", b.Name)
			require.Zero(t, status, "%s to %s: %s", a.Name, b.Name, errs)
			status, back, errs := call(two, "-from", b.Name, "-to", "native", "-profile", "strict")
			require.Zero(t, status, "%s to %s: %s", a.Name, b.Name, errs)
			for _, text := range []string{`"protocol": "tcp"`, `"port_range": "443"`, `"source": "0.0.0.0/0"`, `"outbound_rules": []`, "for all"} {
				require.Contains(t, want, text)
				require.Contains(t, back, text, "%s to %s", a.Name, b.Name)
			}
		}
	}
}

// TestRefused: what the target can not say is an error with its place, and
// nothing is written.
func TestRefused(t *testing.T) {
	stateless := strings.Replace(web, `"name": "web",`, `"name": "web", "stateful": false,`, 1)
	status, out, errs := call(stateless, "-from", "native", "-to", "aws")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, `groups["web"]`)

	status, out, errs = call(`{"SecurityGroups": [{"GroupId": 7}]}`, "-from", "aws", "-to", "native")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, errs, "convert: standard input: 4 faults:\n  SecurityGroups[0].GroupId: ")
}

// sample is what describe-security-groups answers for three groups of a VPC,
// the default one among them.
func sample(t *testing.T) string {
	b, err := os.ReadFile("testdata/aws.json")
	require.NoError(t, err)
	return string(b)
}

// TestAWS: what AWS says can be written in every format, if need be without its
// VPC and with a rule per family; without these flags it is told that they may
// help, and that the rules are counted in another way.
func TestAWS(t *testing.T) {
	for to, flags := range map[string]string{
		"native": "", "aws": "", "aws-rules": "", "kakao": "", "nfyio": "",
		"stackit": "-drop-vpc", "openstack": "-drop-vpc -split-families", "hypervisor": "-drop-vpc -split-families",
	} {
		status, out, errs := call(sample(t), "-from", "aws", "-to", to)
		if flags != "" {
			require.Equal(t, 1, status, to)
			require.Empty(t, out)
			require.Contains(t, errs, "convert: output: ")
			require.Contains(t, errs, "convert: what may help: "+flags+" (see -help)\n")
			if strings.Contains(flags, "-split") {
				require.Contains(t, errs, `  groups["sg-0a11b22c33d44e55f"].rules[3].family: `)
				require.Contains(t, errs, ` (rule "out-tcp-5432-to-group-sg-0f66e55d44c33b22a")`+"\n")
			}
		}
		args := append([]string{"-from", "aws", "-to", to}, strings.Fields(flags)...)
		status, out, errs = call(sample(t), args...)
		require.Zero(t, status, "%s: %s", to, errs)
		require.NotContains(t, errs, "may help")
		require.Equal(t, flags != "", strings.Contains(errs, `convert: warning: output: the VPC "vpc-0b22c33d44e55f66a" is not kept`), errs)
		status, back, errs := call(out, "-from", to, "-to", "native", "-profile", "aws")
		require.Zero(t, status, "%s: %s", to, errs)
		require.Equal(t, flags == "" && to != "aws-rules", strings.Contains(back, "vpc-0b22c33d44e55f66a"))
	}
}

// TestSeveralVPCs: groups of several VPCs do not end up in one place.
func TestSeveralVPCs(t *testing.T) {
	for name, second := range map[string]string{"another": `"VpcId": "vpc-2",`, "none": ""} {
		in := strings.Replace(sample(t), `"VpcId": "vpc-0b22c33d44e55f66a",`, second, 1)
		status, out, errs := call(in, "-from", "aws", "-to", "stackit", "-drop-vpc")
		require.Equal(t, 1, status, name)
		require.Empty(t, out)
		require.Contains(t, errs, "convert: -drop-vpc: groups of several VPCs would become those of one: [")
	}
	status, _, errs := call(web, "-from", "native", "-to", "stackit", "-drop-vpc")
	require.Zero(t, status)
	require.NotContains(t, errs, "VPC")

	set := func(vpc string) string {
		return strings.Replace(web, `"outbound_rules": []}]`, `"vpc_id": "a", "outbound_rules": []}],
  "ip_sets": [{"id": "s", "name": "s", "vpc_id": "`+vpc+`", "ip_version": "ipv4", "entries": []}]`, 1)
	}
	status, _, errs = call(set("b"), "-from", "native", "-to", "native", "-drop-vpc")
	require.Equal(t, 1, status, errs)
	for _, vpc := range []string{"a", ""} {
		status, out, errs := call(set(vpc), "-from", "native", "-to", "native", "-drop-vpc")
		require.Zero(t, status, errs)
		require.NotContains(t, out, `"vpc_id": "a"`)
	}
}

// TestSplit: a rule for both families becomes two that say the same, unless
// another says it already; one that has a family, of its own or by its CIDR,
// protocol or IP set, stays.
func TestSplit(t *testing.T) {
	group := sg.PeerGroup("b")
	tcp := func(id sg.RuleID, f sg.Family, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Family: f, Protocol: sg.TCP, Ports: sg.Port(443), Peer: peer}
	}
	icmp := sg.Rule{ID: "icmp", Direction: sg.Egress, Protocol: sg.ICMPv6, Peer: group}
	b := bundle{sets: []*ipset.Set{ipset.New("six", sg.IPv6, sg.Global())}, groups: []*sg.Group{{ID: "a", Rules: []sg.Rule{
		tcp("both", sg.FamilyAny, group), icmp, tcp("six", sg.FamilyAny, sg.PeerSet("six")), tcp("unknown", sg.FamilyAny, sg.PeerSet("pl")),
		tcp("v4", sg.IPv4, group), tcp("cidr", sg.FamilyAny, sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))),
	}}}}
	warnings := b.splitFamilies()
	require.Equal(t, []sg.Rule{
		tcp("both-ipv6", sg.IPv6, group), icmp, tcp("six", sg.FamilyAny, sg.PeerSet("six")),
		tcp("unknown-ipv4", sg.IPv4, sg.PeerSet("pl")), tcp("unknown-ipv6", sg.IPv6, sg.PeerSet("pl")),
		tcp("v4", sg.IPv4, group), tcp("cidr", sg.FamilyAny, sg.PeerCIDR(netip.MustParsePrefix("10.0.0.0/8"))),
	}, b.groups[0].Rules)
	require.Len(t, warnings, 2)
	require.Equal(t, `groups["a"].rules[0]: rule "both" is written as one for IPv4 and one for IPv6`, warnings[0].String())
}

// TestWarnings: what is lost is said.
func TestWarnings(t *testing.T) {
	in := strings.TrimSuffix(web, "}") + `, "interfaces": [{"id": "nic", "security_group_ids": ["web"]}]}`
	status, _, errs := call(in, "-from", "native", "-to", "stackit")
	require.Zero(t, status)
	require.Contains(t, errs, "warning: input: interfaces: interface nic")
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{}, {"-from", "aws"}, {"-from", "aws", "-to", "gcp"}, {"-what"}, {"-from", "aws", "-to", "aws", "x"}, {"-from", "aws", "-to", "native", "-profile", "gcp"}} {
		status, out, errs := call(web, args...)
		require.Equal(t, 2, status, args)
		require.Empty(t, out)
		require.True(t, strings.HasPrefix(errs, "convert: "), errs)
		require.Equal(t, 1, strings.Count(errs, "\n"), "told once: %s", errs)
	}
	status, out, _ := call("", "-list")
	require.Zero(t, status)
	require.Equal(t, "native\naws\naws-rules\nhypervisor\nkakao\nnfyio\nopenstack\nstackit\n", out)
}
