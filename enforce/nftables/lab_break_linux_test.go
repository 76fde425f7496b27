package nftables

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var (
	_ enforcetest.Batcher    = (*kernelLab)(nil)
	_ enforcetest.Concurrent = (*kernelLab)(nil)
	_ enforcetest.Breaker    = (*kernelLab)(nil)
)

// Concurrent says that packets may be sent while Apply runs: they enter by a
// thread of the peer namespace, and Apply has one of the host's.
func (l *kernelLab) Concurrent() {}

// breakage is a way in which an Apply fails: with everything that is new laid
// beside, and nothing led there yet.
type breakage struct {
	name    string
	program string                                // in nft's place; "" for nft
	context func(context.Context) context.Context // nil: as it is
}

// breakages are the ways that Break takes in turns.
func breakages(t testing.TB, b *Backend) []breakage {
	real, err := exec.LookPath("nft")
	require.NoError(t, err)
	dir := t.TempDir()
	program := func(name, script string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nset -e\nscript=$(cat)\nnft() { %s \"$@\"; }\n%s", real, script), 0o755))
		return path
	}
	return []breakage{
		{name: "nft did what it should, and says that it did not",
			program: program("liar", "printf '%s\\n' \"$script\" | nft \"$@\"\necho 'Error: No space left on device' >&2\nexit 1\n")},
		{name: "the caller loses patience before the last transaction",
			context: func(ctx context.Context) context.Context { return &impatient{ctx, b, b.commits()} }},
		// Of the whole, nft refuses the last script; of a change, the kernel
		// refuses to lead packets to a chain that somebody deleted.
		{name: "the last transaction is refused", program: program("spoiler", `
case "$script" in "flush chain"*) echo 'Error: Could not process rule: Cannot allocate memory' >&2; exit 1;; esac
printf '%s\n' "$script" | nft "$@"
table=$(printf '%s\n' "$script" | sed -n 's/^table inet \([a-z]*\) {$/\1/p')
case "$script" in *" egress_of_x"*) exit 0;; esac
chain=$(printf '%s\n' "$script" | sed -n 's/.*chain \(p[0-9]*_to_local_x[0-9]*\) {$/\1/p' | head -n 1)
printf 'flush chain inet %s %s\ndelete chain inet %s %s\n' "$table" "$chain" "$table" "$chain" | nft -f -
`)},
	}
}

// commits is how many transactions the connection of b has made.
func (b *Backend) commits() uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kernel == nil {
		return 0
	}
	return b.kernel.commits
}

// impatient is a context that is done when an Apply of b has made its first
// transaction. Only the goroutine of Apply asks it.
type impatient struct {
	context.Context
	b    *Backend
	from uint32
}

func (c *impatient) Err() error {
	if c.b.kernel != nil && c.b.kernel.commits != c.from {
		return context.Canceled
	}
	return c.Context.Err()
}

// Break has the next Apply fail, in another way than the one before.
func (l *kernelLab) Break() error {
	l.broken = &l.breakages[l.breaks%len(l.breakages)]
	l.breaks++
	return nil
}

// applyBroken is Apply after Break.
func (l *kernelLab) applyBroken(ctx context.Context, m *compile.Matcher) error {
	how := l.broken
	l.broken = nil
	if how.program != "" {
		defer func(good string) { l.Backend.program = good }(l.Backend.program)
		l.Backend.program = how.program
	}
	if how.context != nil {
		ctx = how.context(ctx)
	}
	err := l.lab.Do(func() error { return l.Backend.Apply(ctx, m) })
	l.t.Logf("%s: %v", how.name, err)
	return err
}

// TestBreak: whichever way an Apply fails, the first or a later one, it leaves
// the table as it was.
func TestBreak(t *testing.T) {
	netlabtest.Require(t)
	l := newKernelLab(t, enforcetest.Interfaces(), Options{})
	one := enforcetest.Interfaces()[0]
	s := newSource(t,
		policy.PutGroup{Group: &sg.Group{ID: "web", Name: "web", VPC: one.VPC, Rules: []sg.Rule{
			{ID: "https", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(443), Peer: sg.PeerAny()}}}},
		policy.PutInterface{Interface: &sg.Interface{ID: one.ID, VPC: one.VPC, Addrs: one.Addrs, Groups: []sg.GroupID{"web"}}})
	table := func() string {
		out, err := l.lab.Run(t.Context(), "", "nft", "-s", "list", "ruleset")
		require.NoError(t, err)
		return out
	}
	for _, next := range []*compile.Matcher{s.matcher(), s.change(policy.PutGroup{Group: &sg.Group{ID: "web", Name: "web", VPC: one.VPC}})} {
		before := table()
		for range l.breakages {
			require.NoError(t, l.Break())
			require.Error(t, l.Apply(t.Context(), next))
			require.Equal(t, before, table())
		}
		require.NoError(t, l.Apply(t.Context(), next))
		require.NotEqual(t, before, table())
	}
}
