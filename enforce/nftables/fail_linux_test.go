package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// fakeNFT is a program in nft's place.
func fakeNFT(t *testing.T, script string) string {
	path := filepath.Join(t.TempDir(), "nft")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755))
	return path
}

// TestFailures: every failure says what to do, and the policy of before stays.
func TestFailures(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, []string{friend})...)
	h.apply(s.matcher())
	want, kept := h.table(), h.opened(tcp(friend, 999, 22))
	blocks := blocksOf(h.nft("-s", "list", "table", "inet", "secgroup"))
	next := s.change(policy.DeleteInterface{ID: "sg1"}, leaves("one", friend), policy.PutSet{Set: swapSet("two", many(3_000)...)})
	real, err := exec.LookPath("nft")
	require.NoError(t, err)
	noScript := filepath.Join(t.TempDir(), "nft")
	require.NoError(t, os.WriteFile(noScript, nil, 0o644))
	// nft works, but for scripts with a word in them.
	without := func(word, says string) string {
		return fakeNFT(t, fmt.Sprintf("s=$(cat)\ncase \"$s\" in *%q*) echo %q >&2; exit 1;; esac\nprintf '%%s\\n' \"$s\" | %s \"$@\"\n", word, says, real))
	}
	for _, c := range []struct {
		what, program string
		err           error
		says          []string
	}{
		{"there is no nft", filepath.Join(t.TempDir(), "nft"), ErrNoNFT, []string{"install nftables"}},
		{"nft can not be run", noScript, ErrNoNFT, []string{"not a program that this process may run"}},
		{"the disk is full", fakeNFT(t, "echo 'internal:0:0-0: Error: No space left on device' >&2\nexit 1\n"), ErrNotApplied, []string{"make room", "No space left on device"}},
		{"nft refuses", fakeNFT(t, "echo 'Error: syntax error, unexpected string' >&2\nexit 1\n"), ErrNotApplied, []string{"syntax error", "nftables 1.0 or newer"}},
		{"nft crashes", fakeNFT(t, "kill -SEGV $$\n"), ErrNotApplied, []string{"segmentation fault"}},
		{"no route look-ups", without("fib saddr", "Error: Could not process rule: No such file or directory"), ErrKernel, []string{"CONFIG_NFT_FIB_INET"}},
		{"no marks", without("ct mark", "Error: Could not process rule: Operation not supported"), ErrKernel, []string{"CONFIG_NF_CONNTRACK_MARK"}},
		{"no family inet", fakeNFT(t, "echo 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n"), ErrKernel, []string{"CONFIG_NF_TABLES_INET"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, b := range []*Backend{h.Backend, h.another(Options{}).Backend} { // a change, and all
				good := b.program
				b.program = c.program
				err := h.lab.Do(func() error { return b.Apply(t.Context(), next) })
				b.program = good
				require.ErrorIs(t, err, c.err)
				var e *Error
				require.True(t, errors.As(err, &e))
				require.Equal(t, "apply", e.Op)
				for _, says := range c.says {
					require.Contains(t, err.Error(), says)
				}
				require.Equal(t, want, h.table())
				h.pass(goesOn(kept)...)
			}
			require.Empty(t, h.verify())
			require.True(t, h.sure, "what is in force is known")
			h.program = c.program
			require.ErrorIs(t, h.lab.Do(func() error { return h.Check(t.Context(), next) }), c.err)
			h.program = "nft"
		})
	}
	t.Run("nothing is left behind", func(t *testing.T) {
		require.Equal(t, blocks, blocksOf(h.nft("-s", "list", "table", "inet", "secgroup")))
	})
	t.Run("nft hangs", func(t *testing.T) {
		started := filepath.Join(t.TempDir(), "started")
		require.NoError(t, syscall.Mkfifo(started, 0o600))
		h.program = fakeNFT(t, "sleep 1000 &\necho $! $$ > "+started+"\nwait\n")
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- h.applyWithin(ctx, next) }()
		pids, err := os.ReadFile(started)
		require.NoError(t, err)
		cancel()
		err = <-result
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, ErrNotApplied)
		require.Equal(t, "nftables: apply: the ruleset was not applied (context canceled): called off before nft had finished", err.Error())
		for _, pid := range strings.Fields(string(pids)) {
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			require.True(t, err != nil || strings.Contains(string(stat), ") Z "), "a child is left: %s", stat)
		}
		h.program = "nft"
		require.Equal(t, want, h.table())
		require.Empty(t, h.verify())
	})
	t.Run("no table before", func(t *testing.T) {
		bare := newHost(t, Options{})
		bare.program = fakeNFT(t, "s=$(cat)\ncase \"$s\" in *chain*) exit 1;; esac\nprintf '%s\\n' \"$s\" | "+real+" \"$@\"\n")
		require.ErrorIs(t, bare.tryApply(next), ErrNotApplied)
		require.Empty(t, bare.nft("list", "ruleset"))
	})
	t.Run("too late", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, h.applyWithin(ctx, next), context.Canceled)
		require.Equal(t, want, h.table())
	})
	h.apply(next)
	require.Empty(t, h.verify())
	h.stop(goesOn(kept)...)
}

// TestUnprivilegedChild tries what a user may not.
func TestUnprivilegedChild(t *testing.T) {
	if os.Getenv(childOf) != "unprivileged" {
		t.Skip("part of TestUnprivileged")
	}
	m := newSource(t, town([]string{friend}, nil)...).matcher()
	b := newBackend(t, Options{})
	for _, err := range []error{b.Apply(t.Context(), m), b.Prepare(t.Context()), b.Remove(t.Context()), b.Check(t.Context(), m)} {
		require.ErrorIs(t, err, ErrPermission)
		require.Contains(t, err.Error(), "CAP_NET_ADMIN")
	}
}

func TestUnprivileged(t *testing.T) {
	h := newHost(t, Options{})
	h.apply(newSource(t, town([]string{friend}, nil)...).matcher())
	want := h.table()
	exe, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("/tmp", "") // which others may enter
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.WriteFile(dir+"/test", exe, 0o755))
	cmd := h.lab.Command(t.Context(), dir+"/test", "-test.run=^TestUnprivilegedChild$", "-test.v")
	// Without the means to become root of a namespace of its own, too.
	cmd.Env = append(os.Environ(), childOf+"=unprivileged", "NETLABTEST_REEXECUTED=1", "CI=")
	cmd.Dir = dir
	if os.Getuid() == 0 && os.Getenv("NETLABTEST_REEXECUTED") == "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else {
		t.Skip("there is no other user in this user namespace")
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestUnprivilegedChild")
	require.Equal(t, want, h.table())
}

// TestDeviceGone: rules go by name. A device may vanish and come back.
func TestDeviceGone(t *testing.T) {
	h := newHost(t, Options{})
	s := newSource(t, town([]string{friend}, nil, policy.PutInterface{Interface: &sg.Interface{ID: "sg7", VPC: "a", Addrs: prefixes("10.0.0.7"), Groups: []sg.GroupID{"web"}}})...)
	h.apply(s.matcher())
	want := h.table()
	run := func(args ...string) {
		_, err := h.lab.Run(t.Context(), "", "ip", args...)
		require.NoError(t, err)
	}
	hook := h.nft("list", "chain", "inet", "secgroup", "egress")
	// The device comes late, goes and comes again.
	for range 2 {
		run("link", "add", "sg7", "type", "veth", "peer", "name", "sg7far")
		require.Empty(t, h.verify())
		run("link", "del", "sg7")
		require.Empty(t, h.verify())
		h.apply(s.change(joins("one", guest)))
		h.apply(s.change(leaves("one", guest)))
		h.apply(s.matcher())
	}
	// Between two halves of an Apply.
	real, err := exec.LookPath("nft")
	require.NoError(t, err)
	run("link", "add", "sg7", "type", "veth", "peer", "name", "sg7far")
	h.program = fakeNFT(t, "ip link del sg7\nexec "+real+" \"$@\"\n")
	next := newSource(t, town([]string{friend}, nil, policy.PutInterface{Interface: &sg.Interface{ID: "sg7", VPC: "a", Addrs: prefixes("10.0.0.7"), Groups: []sg.GroupID{"web"}}})...).matcher()
	h.apply(next)
	h.program = "nft"
	require.Equal(t, want, h.table())
	require.Equal(t, generated.ReplaceAllString(hook, ""), generated.ReplaceAllString(h.nft("list", "chain", "inet", "secgroup", "egress"), ""))
	require.Empty(t, h.verify())
	h.opened(tcp(friend, 999, 22))
}

func TestOptionsFaults(t *testing.T) {
	_, err := New(Options{Table: "9 lives", Uplinks: map[string]sg.VPCID{"a b": "v", "": "w"}, Protect: []string{"much-too-long-for-a-device", "x/*"}, Interval: -1})
	var errs sg.Errors
	require.True(t, errors.As(err, &errs))
	for _, path := range []string{"table", "device", `uplinks["a b"]`, `uplinks[""]`, `protect["much-too-long-for-a-device"]`, `protect["x/*"]`, "interval"} {
		require.Contains(t, err.Error(), path)
	}
	require.Len(t, errs, 7)
	b := newBackend(t, Options{})
	for _, err := range []error{b.Apply(t.Context(), nil), b.Check(t.Context(), nil)} {
		require.ErrorIs(t, err, sg.ErrRequired)
	}
}

// TestLoadsWhole: however many members there are, all of them arrive.
func TestLoadsWhole(t *testing.T) {
	h := newHost(t, Options{})
	count := func(m *compile.Matcher) {
		t.Helper()
		require.Empty(t, h.verify())
		want := map[string]int{}
		for s := range h.now.layout.selectors.All() {
			for p := range m.Program().Members(s, sg.FamilyAny) {
				want[h.now.names.of(setName(s, sg.FamilyOf(p.Addr()), p.Bits()))]++
			}
		}
		for name, n := range want {
			h.do(func(context.Context) error {
				got, _, err := h.kernel.contents(name)
				require.Equal(t, n, got, name)
				return err
			})
		}
	}
	all := many(100_000)
	s := newSource(t, town(all[:1], all[:2_500])...)
	h.apply(s.matcher())
	count(s.matcher())
	count2 := func(m *compile.Matcher) {
		t.Helper()
		h.apply(m)
		count(m)
	}
	count2(s.change(joins("one", all[1:3_000]...)))              // one transaction
	count2(s.change(joins("one", all[3_000:]...)))               // too many for one
	count2(s.change(leaves("one", all[10:90_000]...)))           // as well
	count2(s.change(leaves("one", all[90_000:]...)))             // one
	count2(s.change(policy.PutSet{Set: swapSet("one", "::/1")})) // and none at all of before
	count2(newSource(t, town(all, all[:60_000])...).matcher())
}
