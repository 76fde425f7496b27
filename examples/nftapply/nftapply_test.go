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
	"example.com/secgroup/sg"
)

func nftapply(args ...string) (stdout, stderr string, err error) {
	var out, log strings.Builder
	err = run(context.Background(), args, strings.NewReader(""), &out, &log)
	return out.String(), log.String(), err
}

// said is what the program prints about err.
func said(err error) string {
	var b strings.Builder
	cli.Exit(&b, "nftapply", err)
	return b.String()
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

// TestStrangers: what the policy does not have is a fault, for its device would
// be open; all are told at once, whatever is asked for, and nothing is done.
func TestStrangers(t *testing.T) {
	for _, mode := range []string{"-dry-run", "-check", "-watch", "-reject"} {
		out, log, err := nftapply("-policy", "testdata/policy.json", mode,
			"-device", "web1=tap0", "-device", "db-1=a device", "-device", "web-9=tap9", "-uplink", "up0=vpc-9", "-uplink", "up1=vpc-1")
		require.Empty(t, out)
		require.Empty(t, log)
		require.Equal(t, `nftapply: testdata/policy.json: 4 faults:
  -device web-9=tap9: not found "web-9": the policy has no such interface
  -device web1=tap0: not found "web1": the policy has no such interface
  -uplink up0=vpc-9: not found "vpc-9": no interface of the policy is in such a VPC
  interfaces["db-1"].device: invalid "a device": a device name here is printable ASCII without blanks, quotes, stars, colons and slashes
`, said(err), mode)
	}
	out, _, err := nftapply("-policy", "testdata/policy.json", "-dry-run", "-device", "web-1=tap0", "-uplink", "up0=vpc-1")
	require.NoError(t, err)
	require.Contains(t, out, "up0")
}

// TestUsage: flags that are wrong, contradict each other or leave the host open
// are refused before anything is read or done.
func TestUsage(t *testing.T) {
	const exclusive = "-remove, -check, -dry-run and -watch exclude each other"
	for args, want := range map[string]string{
		"":                                    "-policy is missing",
		"-check":                              "-policy is missing",
		"-policy x more":                      `unexpected argument "more"`,
		"-device web-1":                       "want interface=device",
		"-device a=b -device a=":              "want interface=device",
		"-device a=b -device a=c -policy x":   "a has the device b already",
		"-uplink =x":                          "want device=vpc",
		"-uplink up0=a -uplink up0=b":         "up0 leads to a already",
		"-nonsense":                           "-nonsense",
		"-policy x":                           "-device is missing",
		"-policy x -check":                    "-device is missing",
		"-policy x -watch -uplink up0=a":      "-device is missing",
		"-policy - -device a=b -watch":        "standard input does not change",
		"-policy x -device a=b -profile nope": `there is no "nope"; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict`,
		"-policy x -device a=b -profile nope -table 9":             `there is no "nope"`,
		"-policy testdata/policy.json -device web-1=tap0 -table 9": `table: invalid "9"`,
		"-remove -policy x":                                    "-remove takes away the whole table",
		"-remove -device a=b":                                  "-remove takes away the whole table",
		"-remove -reject":                                      "-remove takes away the whole table",
		"-remove -protect a":                                   "-remove takes away the whole table",
		"-remove -dry-run":                                     exclusive,
		"-remove -check":                                       exclusive,
		"-policy x -device a=b -remove -dry-run":               exclusive,
		"-policy x -device a=b -remove -check":                 exclusive,
		"-policy x -device a=b -remove -watch":                 exclusive,
		"-policy x -device a=b -check -dry-run":                exclusive,
		"-policy x -device a=b -check -watch":                  exclusive,
		"-policy x -device a=b -dry-run -watch":                exclusive,
		"-policy x -device a=b -dry-run -check -watch -remove": exclusive,
	} {
		out, log, err := nftapply(strings.Fields(args)...)
		_, usage := err.(*cli.UsageError)
		require.True(t, usage, "%q: %v", args, err)
		require.ErrorContains(t, err, want, args)
		require.Empty(t, out+log, "it is told once")
	}
}

func TestFaults(t *testing.T) {
	_, _, err := nftapply("-policy", "testdata/policy.json", "-device", "web-1=a device", "-device", "db-1=a device", "-dry-run")
	var errs sg.Errors
	require.ErrorAs(t, err, &errs)
	require.Len(t, errs, 2, "every fault at once")

	_, _, err = nftapply("-policy", "testdata/none.json", "-dry-run")
	require.ErrorIs(t, err, fs.ErrNotExist)

	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{"profile": "strict", "security_groups": [{"id": "", "name": ""}]}`), 0o600))
	_, _, err = nftapply("-policy", bad, "-dry-run")
	require.Equal(t, "nftapply: "+bad+`: 2 faults:
  security_groups[0].id: required: must not be empty
  security_groups[0].name: required: must not be empty
`, said(err))
}
