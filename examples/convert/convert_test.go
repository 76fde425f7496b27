package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
	require.Contains(t, errs, "SecurityGroups[0].GroupId")
}

// TestWarnings: what is lost is said.
func TestWarnings(t *testing.T) {
	in := strings.TrimSuffix(web, "}") + `, "interfaces": [{"id": "nic", "security_group_ids": ["web"]}]}`
	status, _, errs := call(in, "-from", "native", "-to", "stackit")
	require.Zero(t, status)
	require.Contains(t, errs, "warning: input: interfaces: interface nic")
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{}, {"-from", "aws"}, {"-from", "aws", "-to", "gcp"}, {"-what"}, {"-from", "aws", "-to", "aws", "x"}} {
		status, out, errs := call(web, args...)
		require.Equal(t, 2, status, args)
		require.Empty(t, out)
		require.NotEmpty(t, errs)
	}
	status, out, _ := call("", "-list")
	require.Zero(t, status)
	require.Equal(t, "native\naws\naws-rules\nhypervisor\nkakao\nnfyio\nopenstack\nstackit\n", out)
}
