package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain is the program itself if the test below asks for it: a network
// namespace belongs to a thread, and a program has many.
func TestMain(m *testing.M) {
	if os.Getenv("NFTAPPLY_TEST") == "main" {
		main()
	}
	os.Exit(m.Run())
}

// TestWatch: every edit becomes a change of what is in the kernel, and one that
// can not be applied is said, with what comes of it.
func TestWatch(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	if _, err := exec.LookPath("nft"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("needs nft")
	}
	text, err := os.ReadFile("testdata/policy.json")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "policy.json")
	write := func(old, new string) {
		// Renamed into its place, as editors do it: nobody reads half of it.
		require.NoError(t, os.WriteFile(path+"~", []byte(strings.Replace(string(text), old, new, 1)), 0o600))
		require.NoError(t, os.Rename(path+"~", path))
	}
	write("", "")
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-policy", path, "-device", "web-1=tap0", "-watch")
	cmd.Env = append(os.Environ(), "NFTAPPLY_TEST=main")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	log, err := cmd.StderrPipe()
	require.NoError(t, err)
	if err := cmd.Start(); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), err)
		t.Skipf("no network namespace here: %v", err)
	}
	lines := bufio.NewScanner(log)
	next := func() string {
		require.True(t, lines.Scan(), "it ended: %v", lines.Err())
		return strings.ReplaceAll(lines.Text(), path, "policy.json")
	}

	first := next()
	if strings.Contains(first, "nftables: apply: ") && os.Getenv("CI") != "true" {
		_ = cmd.Wait()
		t.Skip(first)
	}
	require.Contains(t, first, `generation=1 epoch=1 by="replacing the table"`)
	write(`"port_range": "443"`, `"port_range": "8443"`)
	require.Contains(t, next(), `generation=2 epoch=2 by="changing the table"`)
	write(`"id": "web-1"`, `"id": "web-2"`)
	require.Equal(t, `nftapply: policy.json: -device web-1=tap0: not found "web-1": the policy has no such interface`, next())
	require.Equal(t, "nftapply: the policy before stays in force", next())
	require.NoError(t, os.Remove(path))
	require.Equal(t, "nftapply: open policy.json: no such file or directory", next())
	require.Equal(t, "nftapply: the policy before stays in force", next())

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.False(t, lines.Scan(), lines.Text())
	require.NoError(t, cmd.Wait(), "exit status 0")
}
