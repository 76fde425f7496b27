package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite golden files")

// call runs the command with its standard input empty.
func call(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "if this is meant: go test ./examples/replay -update")
}

func TestDemo(t *testing.T) {
	status, stdout, stderr := call(t)
	require.Zero(t, status)
	require.Empty(t, stderr)
	golden(t, "demo.txt", stdout)

	status, stdout, stderr = call(t, "-json")
	require.Zero(t, status)
	require.Empty(t, stderr)
	golden(t, "demo.jsonl", stdout)
}

// TestREADME: what the README shows is what the command prints; … stands for
// lines left out.
func TestREADME(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "$ go run ./examples/replay\n")
	require.True(t, ok)
	shown, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	_, output, _ := call(t)
	left := strings.Split(output, "\n")
	skipping := false
	for _, want := range strings.Split(strings.TrimSpace(shown), "\n") {
		if want == "…" {
			skipping = true
			continue
		}
		if want == "" {
			continue
		}
		for len(left) > 0 && left[0] != want && (skipping || left[0] == "") {
			left = left[1:]
		}
		require.NotEmpty(t, left, "the command does not print: %s", want)
		require.Equal(t, want, left[0])
		left, skipping = left[1:], false
	}
}

// TestJSON: one object per packet and verdict, a sender's before a receiver's,
// and a summary that adds up.
func TestJSON(t *testing.T) {
	_, stdout, _ := call(t, "-json")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var sum summaryLine
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &sum))
	counts := map[string]int{}
	last, prev := 0, line{}
	for _, text := range lines[:len(lines)-1] {
		var l line
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		require.NoError(t, dec.Decode(&l))
		switch {
		case l.N == last:
			require.Equal(t, "egress", prev.Direction)
			require.Equal(t, "accept", prev.Action)
			require.Equal(t, "ingress", l.Direction)
		default:
			require.Equal(t, last+1, l.N)
		}
		if l.Action == "drop" {
			counts[l.Reason]++
			require.NotEmpty(t, l.Why)
		} else {
			counts[l.Action]++
		}
		if l.Reason == "rule" {
			require.NotEmpty(t, l.Rule)
			require.NotEmpty(t, l.Group)
		}
		last, prev = l.N, l
	}
	require.Equal(t, sum.Summary.Packets, last)
	require.Equal(t, sum.Summary.Accepted, counts["accept"])
	require.Equal(t, sum.Summary.None, counts["none"])
	for reason, n := range sum.Summary.Dropped {
		require.Equal(t, n, counts[reason], reason)
	}
	require.Contains(t, stdout, `"proto":"tcp","src":"192.0.2.7:40001","dst":"10.0.0.5:80","action":"accept","reason":"rule","group":"sg-web","rule":"http"}`)
}

// TestLinkTypes: the same packets in other files get the same verdicts.
func TestLinkTypes(t *testing.T) {
	verdicts := func(args ...string) (out []string) {
		status, stdout, stderr := call(t, append(args, "-json")...)
		require.Zero(t, status, stderr)
		for _, text := range strings.Split(strings.TrimSpace(stdout), "\n") {
			var l line
			require.NoError(t, json.Unmarshal([]byte(text), &l))
			if l.Action != "" && l.Proto != "" {
				out = append(out, fmt.Sprint(l.Interface, l.Direction, l.Proto, l.Src, l.Dst, l.Action, l.Reason, l.Rule))
			}
		}
		return out
	}
	want := verdicts()[:8] // packets 1 to 10 without the two of ARP
	for _, name := range []string{"sll.pcap", "sll2.pcap", "vlan.pcap", "qinq.pcap", "raw.pcap"} {
		require.Equal(t, want, verdicts("-pcap", filepath.Join("testdata", "variants", name)), name)
	}
	require.NotEmpty(t, verdicts("-pcap", filepath.Join("testdata", "variants", "mixed.pcapng")))
}

// TestTwelveFaults: a policy with twelve different faults lists twelve errors
// with paths.
func TestTwelveFaults(t *testing.T) {
	status, stdout, stderr := call(t, "-policy", "testdata/faults.json")
	require.Equal(t, 1, status)
	require.Empty(t, stdout)
	golden(t, "faults.txt", stderr)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	require.Len(t, lines, 13)
	require.Equal(t, "replay: testdata/faults.json: 12 faults:", lines[0])
}

// TestTruncated: wherever a capture ends, what is whole is replayed, and the
// rest is said.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile("testdata/variants/raw.pcap")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "cut.pcap")
	for n := 24; n < len(whole); n++ {
		require.NoError(t, os.WriteFile(file, whole[:n], 0o600))
		status, stdout, stderr := call(t, "-pcap", file, "-json")
		require.Zero(t, status, "%d bytes: %s", n, stderr)
		var sum summaryLine
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &sum))
		require.Equal(t, wholeRecords(whole[:n]), sum.Summary.Packets)
		if sum.Summary.Truncated {
			require.Contains(t, stderr, "ends in the middle of a packet")
		} else {
			require.Empty(t, stderr)
		}
	}
}

// TestCutHeader: a capture of which not even the beginning is there is a fault.
func TestCutHeader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cut")
	for name, header := range map[string]int{"raw.pcap": 24, "mixed.pcapng": 28} {
		whole, err := os.ReadFile(filepath.Join("testdata/variants", name))
		require.NoError(t, err)
		for n := range header {
			require.NoError(t, os.WriteFile(file, whole[:n], 0o600))
			status, stdout, stderr := call(t, "-pcap", file)
			require.Equal(t, 1, status, "%s, %d bytes", name, n)
			require.Empty(t, stdout)
			if n >= 4 {
				require.Equal(t, "replay: cut: the file header is cut\n", stderr)
			}
		}
	}
}

// wholeRecords counts the records that a little-endian pcap file has in full.
func wholeRecords(b []byte) (n int) {
	for b = b[24:]; len(b) >= 16; n++ {
		size := 16 + int(binary.LittleEndian.Uint32(b[8:]))
		if len(b) < size {
			break
		}
		b = b[size:]
	}
	return n
}

// TestWrongUse: each mistake is told in words, on standard error, with a status.
func TestWrongUse(t *testing.T) {
	whole, err := os.ReadFile("testdata/variants/raw.pcap")
	require.NoError(t, err)
	odd := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(odd[20:], 105)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"link type":       {[]string{"-pcap", write("wifi.pcap", odd)}, 1, "105"},
		"no capture":      {[]string{"-pcap", "testdata/policy.json"}, 1, "policy.json: "},
		"empty capture":   {[]string{"-pcap", write("empty.pcap", nil)}, 1, "empty.pcap"},
		"no such capture": {[]string{"-pcap", filepath.Join(dir, "none.pcap")}, 1, "none.pcap"},
		"no such policy":  {[]string{"-policy", filepath.Join(dir, "none.json")}, 1, "none.json"},
		"no JSON":         {[]string{"-policy", write("broken.json", []byte("{\"profile\":\n  oops}"))}, 1, "line 2, column"},
		"unknown field":   {[]string{"-policy", write("field.json", []byte(`{"profile":"aws","security_group":[]}`))}, 1, "security_group: unknown field"},
		"faults' file":    {[]string{"-policy", filepath.Join(dir, "field.json")}, 1, "replay: " + filepath.Join(dir, "field.json") + ": "},
		"profile":         {[]string{"-profile", "azure"}, 2, `no "azure"; there are aws, hypervisor, kakao, nfyio, openstack, stackit, strict`},
		"its profile":     {[]string{"-policy", write("profile.json", []byte(`{"profile":"azure"}`))}, 1, `not found "azure": no such profile; there are aws, `},
		"interface":       {[]string{"-interface", "web-9"}, 1, `the embedded policy: the policy has no interface "web-9"`},
		"two inputs":      {[]string{"-policy", "-", "-pcap", "-"}, 2, "-policy and -pcap can not both be standard input"},
		"empty input":     {[]string{"-policy", "-"}, 1, "replay: standard input: "},
		"flag":            {[]string{"-quiet"}, 2, "-quiet"},
		"argument":        {[]string{"x.pcap"}, 2, "x.pcap"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := call(t, c.args...)
			require.Equal(t, c.status, status, stderr)
			require.Contains(t, stderr, c.want)
			require.Empty(t, stdout)
		})
	}
}

// TestFlags: other profiles, one interface, standard input.
func TestFlags(t *testing.T) {
	_, aws, _ := call(t, "-json")
	status, strict, _ := call(t, "-json", "-profile", "Strict")
	require.Zero(t, status)
	require.NotEqual(t, aws, strict, "strict has no platform rule for neighbour discovery")

	status, db, _ := call(t, "-json", "-interface", "db-1")
	require.Zero(t, status)
	require.NotContains(t, db, `"interface":"web-1"`)
	require.Contains(t, db, `"interface":"db-1","direction":"ingress"`)

	capture, err := os.Open("testdata/demo.pcap")
	require.NoError(t, err)
	defer capture.Close()
	var out, errs bytes.Buffer
	require.Zero(t, run([]string{"-pcap", "-", "-json"}, capture, &out, &errs))
	require.Equal(t, aws, out.String())

	document, err := os.Open("testdata/policy.json")
	require.NoError(t, err)
	defer document.Close()
	out.Reset()
	require.Zero(t, run([]string{"-policy", "-", "-json"}, document, &out, &errs))
	require.Equal(t, aws, out.String())
}

// TestBadInTheMiddle: what is whole is shown before a fault is reported.
func TestBadInTheMiddle(t *testing.T) {
	whole, err := os.ReadFile("testdata/demo.pcap")
	require.NoError(t, err)
	bad := append(bytes.Clone(whole), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(bad[len(bad)-8:], 0x7fffffff)
	binary.LittleEndian.PutUint32(bad[len(bad)-4:], 0x7fffffff)
	file := filepath.Join(t.TempDir(), "bad.pcap")
	require.NoError(t, os.WriteFile(file, bad, 0o600))
	for _, mode := range [][]string{{"-json"}, nil} {
		status, stdout, stderr := call(t, append(mode, "-pcap", file)...)
		require.Equal(t, 1, status)
		require.Contains(t, stderr, "after 110 packets")
		_, want, _ := call(t, mode...)
		require.Equal(t, strings.ReplaceAll(want, "demo.pcap", "bad.pcap"), stdout)
	}
}

// failing is a writer that has no room.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestNoRoom: output that can not be written is a fault.
func TestNoRoom(t *testing.T) {
	for _, mode := range [][]string{{"-json"}, nil} {
		var errs bytes.Buffer
		require.Equal(t, 1, run(mode, strings.NewReader(""), failing{}, &errs))
		require.Contains(t, errs.String(), "no space left")
	}
}
