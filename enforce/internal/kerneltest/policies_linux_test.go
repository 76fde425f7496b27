package kerneltest

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

var (
	rounds  = flag.Int("rounds", 30, "random policies to judge, each with one that replaces it")
	perPair = flag.Int("walks-per-policy", 100, "random walks under each of them")
	collect = flag.Int("collect", 0, "write the shortest walk to each difference, out of so many, to "+differencesFile)
)

// TestPolicies walks random packets of all kinds through the engine and the
// kernel, under random policies that change on the way. A difference without a
// name fails, and is shown with the shortest walk that leads to it, which
// TestDifferences can play again.
func TestPolicies(t *testing.T) {
	j := newJudge(t)
	c := count{named: map[string]int{}, kinds: map[string]*[2]int{}}
	failures, shortest := 0, examples{}
	for round := range *rounds {
		g := random{rand.New(rand.NewPCG(*seed, uint64(round)))}
		pair := [2]rules{g.policy()}
		pair[1] = g.next(pair[0])
		c.policies += 2
		var trials []trial
		for range *perPair {
			trials = append(trials, g.trial(pair))
		}
		j.reserve(len(trials))
		for i, r := range j.judge(trials) {
			tr := trials[i]
			differ := r.differ(tr)
			for _, k := range differ {
				name := j.look(tr, r, k).name()
				c.named[name]++
				switch {
				case name == "":
					failures++
					t.Errorf("seed %d, round %d, walk %d: a difference without a name:\n%s", *seed, round, i, j.shortest(tr, name))
				case c.named[name] <= *collect:
					shortest.add(name, j.shortest(tr, name))
				}
				if failures == 10 {
					t.FailNow()
				}
			}
			c.add(tr, r, differ)
		}
		if (round+1)%50 == 0 {
			t.Logf("%d policies, %d packets", c.policies, c.packets)
		}
	}
	c.log(t)
	if *collect > 0 {
		require.NoError(t, shortest.write(j))
	}
	require.Greater(t, c.accepted, c.equal/10)
}

// trial returns a random walk under a pair of policies, which change at no
// time when a datagram is under way.
func (g random) trial(pair [2]rules) trial {
	w := g.newWorld(10+g.IntN(40), pair)
	tr := trial{pair, g.IntN(len(w) + 1), w, g.oneIn(2)}
	for tr.straddles() {
		tr.swap++
	}
	return tr
}

// straddles reports whether the policy changes while a datagram is under way.
func (tr trial) straddles() bool {
	for i, done := range completed(tr.steps) {
		if i < tr.swap && tr.swap <= done {
			return true
		}
	}
	return false
}

// differ returns the step of the first packet of each cluster that is judged
// differently.
func (r result) differ(tr trial) (out []int) {
	var parted [clusters]bool
	for k, s := range tr.steps {
		if !parted[s.cluster] && (r.engine[k].Action == sg.Accept) != r.kernel[k] {
			parted[s.cluster] = true
			out = append(out, k)
		}
	}
	return out
}

// shortest returns the shortest walk to a difference of that name, as text.
func (j *judge) shortest(tr trial, name string) string {
	tr = j.shrink(tr, func(tr trial, r result) bool {
		if tr.straddles() {
			return false
		}
		for _, k := range r.differ(tr) {
			if j.look(tr, r, k).name() == name {
				return true
			}
		}
		return false
	})
	r := j.judge([]trial{tr})[0]
	return tr.text(&r)
}

// count is what became of packets.
type count struct {
	policies, walks, packets int
	equal, accepted          int
	parted                   int // packets of connections that differed before
	named                    map[string]int
	kinds                    map[string]*[2]int // judged alike: refused, accepted
}

func (c *count) add(tr trial, r result, differ []int) {
	var parted [clusters]bool
	c.walks++
	c.packets += len(tr.steps)
	for k, s := range tr.steps {
		switch {
		case parted[s.cluster]:
			c.parted++
		case slices.Contains(differ, k):
			parted[s.cluster] = true
		default:
			c.equal++
			c.accepted += btoi(r.kernel[k])
			kind := kindOf(s)
			if c.kinds[kind] == nil {
				c.kinds[kind] = new([2]int)
			}
			c.kinds[kind][btoi(r.kernel[k])]++
		}
	}
}

// kindOf sorts packets.
func kindOf(s step) string {
	kind := "IPv4 "
	if s.six() {
		kind = "IPv6 "
	}
	var p packet.Packet
	err := packet.Decode(s.b, &p)
	switch {
	case err != nil:
		return kind + "malformed"
	case p.Trailing():
		return kind + "trailing fragment"
	case p.Fragment:
		return kind + "first fragment"
	case p.IsICMPError():
		return kind + "ICMP error"
	case p.L4 != 20 && p.L4 != 40:
		return kind + "options or extension headers"
	}
	name := map[uint8]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMP", 132: "SCTP"}[p.Tuple.Proto]
	if name == "" {
		name = "other protocols"
	}
	return kind + name
}

func (c *count) log(t *testing.T) {
	t.Logf("%d policies, %d walks, %d packets: %d judged alike (%d accepted), %d differences, %d packets of connections that had differed before",
		c.policies, c.walks, c.packets, c.equal, c.accepted, total(c.named), c.parted)
	for _, kind := range slices.Sorted(maps.Keys(c.kinds)) {
		n := c.kinds[kind]
		t.Logf("  %-33s judged alike: %7d accepted, %7d refused", kind, n[1], n[0])
	}
	t.Log("differences by reason:")
	for _, name := range slices.Sorted(maps.Keys(c.named)) {
		t.Logf("%7d %s", c.named[name], name)
	}
	for name, n := range c.named {
		if open(name) {
			t.Logf("%d packets differ that should not: %s", n, name)
		}
	}
}
