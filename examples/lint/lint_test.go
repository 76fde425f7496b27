package main

import (
	"bytes"
	"os"
	"path/filepath"
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
	require.Equal(t, `LI-03 info groups["sg"].rules[0] "ssh": the rule has no description; say who needs it
LI-05 critical groups["sg"].rules[0] "ssh": port 22 is open to everybody; allow it from the addresses of administrators
`, out)

	status, out, _ = call(open, "-json", "-min", "critical")
	require.Equal(t, 1, status)
	require.Equal(t, `{"code":"LI-05","severity":"critical","path":"groups[\"sg\"].rules[0]","rule":"ssh","message":"port 22 is open to everybody","suggestion":"allow it from the addresses of administrators"}
`, out)

	status, out, _ = call(`{"profile": "strict"}`)
	require.Zero(t, status)
	require.Empty(t, out)
}

func TestWrongUse(t *testing.T) {
	for args, want := range map[string]string{
		"-min all":     "lint: -min wants info, warning or critical, not \"all\"\n",
		"a b":          "lint: unexpected argument \"b\"\n",
		"-what":        "lint: flag provided but not defined: -what (-help lists the flags)\n",
		"-profile gcp": "lint: -profile: there is no \"gcp\"; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict\n",
	} {
		status, out, errs := call(open, strings.Fields(args)...)
		require.Equal(t, 2, status, args)
		require.Empty(t, out)
		require.Equal(t, want, errs)
	}
}

// TestFaults: every fault of a policy is told, with its file.
func TestFaults(t *testing.T) {
	status, out, errs := call("", "/nonexistent/policy.json")
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Equal(t, "lint: open /nonexistent/policy.json: no such file or directory\n", errs)

	faulty := `{"profile": "azure", "groups": []}`
	file := filepath.Join(t.TempDir(), "policy.json")
	require.NoError(t, os.WriteFile(file, []byte(faulty), 0o600))
	for name, args := range map[string][]string{"standard input": nil, file: {file}} {
		status, out, errs = call(faulty, args...)
		require.Equal(t, 1, status)
		require.Empty(t, out)
		require.Equal(t, "lint: "+name+`: 2 faults:
  groups: unknown field
  profile: not found "azure": no such profile; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict
`, errs)
	}
}
