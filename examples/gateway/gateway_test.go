package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/examples/internal/cli"
)

// TestUsage: what is wrong is told once, and nothing is opened.
func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                            "want -demo alone, or -policy FILE",
		"-demo -reject":               "want -demo alone, or -policy FILE",
		"-policy x more":              `unexpected argument "more"`,
		"-nonsense":                   "not defined: -nonsense",
		"-policy x":                   "neither side has an interface",
		"-policy - -a a=b":            "standard input does not change",
		"-policy x -a tun0=":          `not "tun0="`,
		"-policy x -a a=b -b =b":      `not "=b"`,
		"-policy x -a a=b -queues 0":  "-queues 0: want at least 1",
		"-policy x -a a=b -queues -1": "-queues -1: want at least 1",
	} {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(args), &out, &out)
		_, usage := err.(*cli.UsageError)
		require.True(t, usage, "%q: %v", args, err)
		require.ErrorContains(t, err, want, args)
		require.Empty(t, out.String())
	}
}

// TestFaults: a faulty policy is told with its file, before anything is opened.
func TestFaults(t *testing.T) {
	var out strings.Builder
	require.ErrorIs(t, run(t.Context(), []string{"-policy", "testdata/none.json", "-a", "tun0=web-1"}, &out, &out), fs.ErrNotExist)
	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"profile": "gcp", "groups": []}`), 0o600))
	err := run(t.Context(), []string{"-policy", bad, "-a", "tun0=web-1"}, &out, &out)
	require.Empty(t, out.String())
	require.Equal(t, 1, cli.Exit(&out, "gateway", err))
	require.Equal(t, "gateway: "+bad+`: 2 faults:
  groups: unknown field
  profile: not found "gcp": no such profile; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict
`, out.String())
}

func TestDemo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	var out strings.Builder
	err := run(context.Background(), []string{"-demo"}, &out, &out)
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("no network namespaces or TUN interfaces here: %v", err)
	}
	require.NoError(t, err, out.String())
	for _, want := range []string{
		"connect to 10.0.0.5 port 443: answered",
		"rule sg-web/https",
		"connect to 10.0.0.5 port 8080: connect: connection refused",
		"connect to 192.0.2.7 port 443: answered",
		"connect to 192.0.2.7 port 25: connect: connection refused",
		"Gbit/s there and back",
	} {
		require.Contains(t, out.String(), want)
	}
	require.Regexp(t, "the connection that was open: (i/o timeout|.*connection reset by peer)", out.String())

	// What the log says of a connection stands above what became of it.
	lines := strings.Split(out.String(), "\n")
	for i, line := range lines {
		if _, to, ok := strings.Cut(line, "  connect to "); ok {
			addr, port, _ := strings.Cut(strings.SplitN(to, ":", 2)[0], " port ")
			require.Regexp(t, "^  (opened|denied) .* > "+addr+":"+port+" ", lines[i-1])
		}
	}
}
