package nftables

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/internal/netlabtest"
)

var kills = flag.Int("nftables.kills", 100, "kills of TestAPI07KilledApply")

// childOf says what a child of the test is to do.
const childOf = "SECGROUP_NFTABLES_CHILD"

// killPolicies are what a child applies in turn: the last has a set that is
// filled before it is used.
func killPolicies(t testing.TB) []*compile.Matcher {
	var out []*compile.Matcher
	for _, changes := range [][]string{{friend}, {friend, guest, "192.0.2.0/24"}, append(many(20_500), friend)} {
		out = append(out, newSource(t, town(changes, []string{friend, foe})...).matcher())
	}
	return out
}

// TestKilledApplyChild applies policies for ever, and says so.
func TestKilledApplyChild(t *testing.T) {
	if os.Getenv(childOf) != "apply" {
		t.Skip("part of TestAPI07KilledApply")
	}
	b := newBackend(t, Options{})
	list := killPolicies(t)
	for n := 0; ; n++ {
		require.NoError(t, b.Apply(t.Context(), list[n%len(list)]))
		fmt.Println("applied", n)
	}
}

// API-07: a process that is killed in the middle of Apply leaves the old policy or
// the new one, and the next process takes over from there without a gap.
func TestAPI07KilledApply(t *testing.T) {
	const workers = 3
	for w := range workers {
		t.Run(fmt.Sprint(w), func(t *testing.T) {
			t.Parallel()
			killing(t, uint64(w), (*kills+workers-1)/workers)
		})
	}
}

// killing kills children and looks at what they leave.
func killing(t *testing.T, seed uint64, n int) {
	list := killPolicies(t)
	h := newHost(t, Options{})
	want, blocks := map[string]int{"": -1}, map[int][]string{} // or no policy, where there was none
	for i, m := range list {
		h.apply(m)
		want[h.table()] = i
		blocks[i] = blocksOf(h.nft("-s", "list", "table", "inet", "secgroup"))
	}
	require.Len(t, want, len(list)+1)
	require.NoError(t, h.Close())

	r := rand.New(rand.NewPCG(3, seed))
	seen, repaired := map[int]int{}, 0
	kept := h.opened(tcp(friend, 999, 443))
	for n := range n {
		fresh := n%5 == 4
		if fresh {
			h.do(h.Remove)
		}
		killChild(t, h.lab, r)
		listing, _ := h.lab.Run(t.Context(), "", "nft", "-s", "list", "table", "inet", "secgroup")
		policy, known := want[canonical(listing)]
		if !known || policy < 0 && !fresh {
			require.Fail(t, "neither the old nor the new policy", "kill %d: %s", n, listing)
		}
		seen[policy]++
		h.pass(goesOn(kept)...)
		next := h.another(Options{})
		next.apply(list[n%len(list)])
		require.Empty(t, next.verify())
		whole := next.nft("-s", "list", "table", "inet", "secgroup")
		require.Equal(t, n%len(list), want[canonical(whole)])
		require.Equal(t, blocks[n%len(list)], blocksOf(whole), "left behind")
		if len(blocksOf(listing)) > len(blocks[policy]) {
			repaired++
		}
		h.pass(goesOn(kept)...)
		require.NoError(t, next.Close())
	}
	t.Logf("found %v; something was left behind %d times", seen, repaired)
	require.Greater(t, len(seen), 1, "every kill came at the same moment")
}

// blocksOf are the names of the chains, sets, maps and counters of a listing,
// without the generation that gave them.
func blocksOf(listing string) (out []string) {
	for line := range strings.Lines(listing) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "{" && (f[0] == "chain" || f[0] == "set" || f[0] == "map" || f[0] == "counter") {
			out = append(out, f[0]+" "+untagged(f[1]))
		}
	}
	slices.Sort(out)
	return out
}

// killChild lets a child apply policies and kills it, and nft, at a moment that
// nobody knows before.
func killChild(t *testing.T, lab *netlabtest.Lab, r *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := lab.Command(ctx, "/proc/self/exe", "-test.run=^TestKilledApplyChild$")
	child.Env = append(os.Environ(), childOf+"=apply")
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(pipe)
	for left := r.IntN(4); left > 0 && lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "applied") {
			left--
		}
	}
	sum := 0
	for n := r.IntN(150_000_000); n > 0; n-- { // some 50 ms at most
		sum += n & 1
	}
	require.GreaterOrEqual(t, sum, 0)
	require.NoError(t, syscall.Kill(-child.Process.Pid, syscall.SIGKILL))
	_ = child.Wait()
	awaitNoNFT(t, lab)
}

// awaitNoNFT waits until no nft is left in the lab: one that was killed in the
// kernel finishes there.
func awaitNoNFT(t *testing.T, lab *netlabtest.Lab) {
	var space string
	require.NoError(t, lab.Do(func() (err error) {
		space, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}))
	for range 1_000_000 {
		found := false
		all, err := filepath.Glob("/proc/[0-9]*/comm")
		require.NoError(t, err)
		for _, p := range all {
			comm, err := os.ReadFile(p)
			if err != nil || strings.TrimSpace(string(comm)) != "nft" {
				continue
			}
			ns, err := os.Readlink(filepath.Join(filepath.Dir(p), "ns", "net"))
			found = found || err == nil && ns == space
		}
		if !found {
			return
		}
	}
	require.Fail(t, "nft does not end")
}
