package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
)

func nftapply(args ...string) (stdout, stderr string, err error) {
	var out, log strings.Builder
	err = run(context.Background(), args, &out, &log)
	return out.String(), log.String(), err
}

func TestDryRun(t *testing.T) {
	out, log, err := nftapply("-policy", "testdata/policy.json", "-device", "web-1=tap0", "-dry-run", "-reject", "-table", "t")
	require.NoError(t, err)
	require.Empty(t, log)
	for _, want := range []string{
		"delete table inet t\n", `"tap0" : goto p`, `comment "sg-web/https"`, "reject with tcp reset",
	} {
		require.Contains(t, out, want)
	}
	require.NotContains(t, out, "db-1", "it is on another host")
}

func TestUnknownInterfaceIsSaid(t *testing.T) {
	_, log, err := nftapply("-policy", "testdata/policy.json", "-device", "web-9=tap0", "-dry-run")
	require.NoError(t, err)
	require.Contains(t, log, `no interface "web-9"`)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-policy", "x", "more"}, {"-device", "web-1"}, {"-device", "a=b", "-device", "a=c"}, {"-uplink", "=x"}, {"-nonsense"},
	} {
		_, _, err := nftapply(args...)
		var usage *usageError
		require.True(t, errors.As(err, &usage), "%q: %v", args, err)
	}
}

func TestFaults(t *testing.T) {
	_, _, err := nftapply("-policy", "testdata/policy.json", "-device", "web-1=a device", "-device", "db-1=a device", "-dry-run")
	var errs sg.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, 2, "every fault at once")

	_, _, err = nftapply("-policy", "testdata/none.json", "-dry-run")
	require.ErrorIs(t, err, os.ErrNotExist)

	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"profile": "strict", "security_groups": [{"id": "", "name": ""}]}`), 0o600))
	_, _, err = nftapply("-policy", bad, "-dry-run")
	require.ErrorAs(t, err, &errs)
}
