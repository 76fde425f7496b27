package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect"
	"example.com/secgroup/sg/policy/document"
)

func exit(err error) (status int, said string) {
	var b strings.Builder
	status = Exit(&b, "lint", err)
	return status, b.String()
}

func faults(n int) (errs sg.Errors) {
	for i := range n {
		errs.Add(fmt.Sprintf("rules[%d]", i), nil, sg.ErrRequired, "")
	}
	return errs
}

func TestExit(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		said   string
	}{
		"good":            {nil, 0, ""},
		"help":            {flag.ErrHelp, 0, ""},
		"interrupted":     {context.Canceled, 1, "lint: context canceled\n"},
		"plain":           {errors.New("no room"), 1, "lint: no room\n"},
		"usage":           {Usage("want %d", 1), 2, "lint: want 1\n"},
		"one fault":       {InFile("p.json", faults(1)), 1, "lint: p.json: rules[0]: required\n"},
		"two faults":      {InFile("p.json", faults(2)), 1, "lint: p.json: 2 faults:\n  rules[0]: required\n  rules[1]: required\n"},
		"of no file":      {faults(2), 1, "lint: 2 faults:\n  rules[0]: required\n  rules[1]: required\n"},
		"standard input":  {InFile("-", faults(1)), 1, "lint: standard input: rules[0]: required\n"},
		"of a flag":       {&UsageError{InFile("-x", faults(2))}, 2, "lint: -x: 2 faults:\n  rules[0]: required\n  rules[1]: required\n"},
		"joined":          {errors.Join(faults(1), errors.New("more")), 1, "lint: rules[0]: required\nmore\n"},
		"a profile":       {&sg.FieldError{Path: "profile", Value: "gcp", Err: sg.ErrNotFound}, 1, "lint: profile: not found \"gcp\"\n"},
		"no such profile": {decode(`{"profile": "gcp"}`), 1, "lint: profile: not found \"gcp\": no such profile; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict\n"},
	} {
		t.Run(name, func(t *testing.T) {
			status, said := exit(c.err)
			require.Equal(t, c.status, status)
			require.Equal(t, c.said, said)
		})
	}
	require.NoError(t, InFile("p.json", nil))
}

func decode(text string) error {
	_, err := document.Decode([]byte(text), document.Options{Profiles: dialect.Profile})
	return err
}

// TestManyFaults: that there are more is said before them, and is none of them.
func TestManyFaults(t *testing.T) {
	for n, first := range map[int]string{999: "999 faults:", 1000: "more than 1,000 faults, the first 1,000:", 1200: "more than 1,000 faults, the first 1,000:"} {
		var groups []string
		for i := range n {
			groups = append(groups, fmt.Sprintf(`{"id": "", "name": "n%d"}`, i))
		}
		_, said := exit(InFile("p.json", decode(`{"profile": "strict", "security_groups": [`+strings.Join(groups, ",")+`]}`)))
		lines := strings.Split(strings.TrimSpace(said), "\n")
		require.Equal(t, "lint: p.json: "+first, lines[0])
		require.Len(t, lines, 1+min(n, 1000))
		for _, line := range lines[1:] {
			require.True(t, strings.HasPrefix(line, "  security_groups["), line)
		}
	}
	_, said := exit(faults(1200))
	require.Contains(t, said, "lint: 1200 faults:\n", "told whole")
}

func TestParse(t *testing.T) {
	var out strings.Builder
	parse := func(most int, args ...string) error {
		f := flag.NewFlagSet("lint", flag.ContinueOnError)
		f.SetOutput(&out)
		f.Bool("json", false, "print JSON")
		return Parse(f, args, most)
	}
	for _, c := range []struct {
		most int
		args []string
		want string
	}{
		{0, nil, ""},
		{0, []string{"-json"}, ""},
		{1, []string{"-json", "p.json"}, ""},
		{0, []string{"p.json"}, `unexpected argument "p.json"`},
		{1, []string{"p.json", "-json"}, `unexpected argument "-json"`},
		{0, []string{"-jsn"}, "flag provided but not defined: -jsn (-help lists the flags)"},
	} {
		err := parse(c.most, c.args...)
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.EqualError(t, err, c.want)
		status, _ := exit(err)
		require.Equal(t, 2, status)
	}
	require.Empty(t, out.String(), "Exit tells it")
	require.ErrorIs(t, parse(0, "-help"), flag.ErrHelp)
	require.Contains(t, out.String(), "print JSON")
}

func TestProfile(t *testing.T) {
	require.NoError(t, Profile(""))
	require.NoError(t, Profile("Strict"))
	status, said := exit(Profile("gcp"))
	require.Equal(t, 2, status)
	require.Equal(t, "lint: -profile: there is no \"gcp\"; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict\n", said)
}

func TestRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "p.json")
	require.NoError(t, os.WriteFile(name, []byte("file"), 0o600))
	b, err := Read(name, strings.NewReader("input"))
	require.NoError(t, err)
	require.Equal(t, "file", string(b))
	b, err = Read("-", strings.NewReader("input"))
	require.NoError(t, err)
	require.Equal(t, "input", string(b))
	_, err = Read(name+"x", nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, name+"x")
}

// TestREADME: the files that its commands read are there.
func TestREADME(t *testing.T) {
	const top = "../../../"
	b, err := os.ReadFile(top + "README.md")
	require.NoError(t, err)
	seen := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "$ ") || !strings.Contains(line, " ./examples/") {
			continue
		}
		command, _, _ := strings.Cut(line, " > ") // what it writes need not be there
		for _, word := range strings.Fields(command) {
			if name, isPath := strings.CutPrefix(word, "./"); isPath || strings.HasSuffix(word, ".json") {
				_, err := os.Stat(top + name)
				require.NoError(t, err, line)
				seen++
			}
		}
	}
	require.GreaterOrEqual(t, seen, 9, "there were that many")
}
