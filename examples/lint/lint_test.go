package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const open = `{"profile": "strict",
 "security_groups": [{"id": "sg", "name": "sg",
   "inbound_rules": [{"id": "ssh", "protocol": "tcp", "port_range": "22", "source": "0.0.0.0/0"}]}],
 "interfaces": [{"id": "nic", "security_group_ids": ["sg"]}]}`

func call(in string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(in), &out, &errs)
	return status, out.String(), errs.String()
}

func TestLint(t *testing.T) {
	status, out, _ := call(open)
	require.Equal(t, 1, status)
	require.Equal(t, `LI-03 info groups["sg"].rules[0]: the rule has no description; say who needs it
LI-05 critical groups["sg"].rules[0]: port 22 is open to everybody; allow it from the addresses of administrators
`, out)

	status, out, _ = call(open, "-json", "-min", "critical")
	require.Equal(t, 1, status)
	require.Equal(t, `{"code":"LI-05","severity":"critical","path":"groups[\"sg\"].rules[0]","message":"port 22 is open to everybody","suggestion":"allow it from the addresses of administrators"}
`, out)

	status, out, _ = call(`{"profile": "strict"}`)
	require.Zero(t, status)
	require.Empty(t, out)
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{"-min", "all"}, {"a", "b"}, {"/nonexistent/policy.json"}, {"-what"}} {
		status, out, errs := call(open, args...)
		require.Equal(t, 2, status, args)
		require.Empty(t, out)
		require.NotEmpty(t, errs)
	}
	status, _, errs := call(`{"profile": "azure"}`)
	require.Equal(t, 2, status)
	require.Contains(t, errs, `profile: not found "azure"`)
}
