package nftables

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

var swaps = flag.Int("nftables.swaps", 600, "policy swaps of TestAtomicUnderLoad")

// swapper holds a policy in which the same is always allowed and always
// refused, and says it in ever other ways.
type swapper struct {
	t         testing.TB
	r         *rand.Rand
	snapshots []*policy.Snapshot // one per compiler
	compilers []*compile.Compiler
	at        int
}

// Peers of the swapper: friend is always allowed, by different rules; foe never
// is, and guest now and then.
const (
	friend = "198.51.100.9"
	foe    = "198.51.100.66"
	guest  = "198.51.100.77"
)

func swapGroup(variant int) *sg.Group {
	g := &sg.Group{ID: "web", Name: "web", VPC: "a"}
	add := func(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16, peer sg.Peer) {
		g.Rules = append(g.Rules, sg.Rule{ID: id, Direction: d, Protocol: p, Ports: sg.Port(port), Peer: peer})
	}
	peer := []sg.Peer{sg.PeerCIDR(prefix(friend)), sg.PeerSet("one"), sg.PeerSet("two"), sg.PeerCIDR(prefix("198.51.100.0/27"))}
	add("web-in", sg.Ingress, sg.TCP, 443, peer[variant%4])
	add("dns-in", sg.Ingress, sg.UDP, 53, peer[(variant+1)%4])
	add("web-out", sg.Egress, sg.TCP, 443, peer[(variant+2)%4])
	add("dns-out", sg.Egress, sg.UDP, 53, peer[(variant+3)%4])
	for k := range variant % 7 {
		add(sg.RuleID(fmt.Sprintf("more-%d", k)), sg.Ingress, sg.TCP, uint16(9000+k+variant), sg.PeerCIDR(prefix(fmt.Sprintf("203.0.113.%d/32", k))))
	}
	return g
}

func swapSet(id sg.SetID, members ...string) *ipset.Set {
	s := &ipset.Set{ID: id, Name: string(id)}
	for _, m := range members {
		if err := s.Add(ipset.Entry{Prefix: prefix(m)}); err != nil {
			panic(err)
		}
	}
	return s
}

func newSwapper(t testing.TB) *swapper {
	s := &swapper{t: t, r: rand.New(rand.NewPCG(1, 2))}
	for k := range 2 {
		var extra []policy.Change
		if k == 1 { // other numbers for everything
			extra = append(extra, policy.PutSet{Set: swapSet("a-first", "192.0.2.1")}, policy.PutGroup{Group: &sg.Group{ID: "aaa", Name: "aaa", VPC: "a", Rules: []sg.Rule{
				{ID: "x", Direction: sg.Ingress, Protocol: sg.TCP, Ports: sg.Port(1), Peer: sg.PeerSet("a-first")}}}})
		}
		snap := build(t, stackit.Profile(), append(extra,
			policy.PutSet{Set: swapSet("one", friend, "192.0.2.0/24")}, policy.PutSet{Set: swapSet("two", friend)},
			policy.PutGroup{Group: swapGroup(k)},
			policy.PutInterface{Interface: &sg.Interface{ID: "sg0", VPC: "a", Addrs: prefixes("10.0.0.5"), Groups: []sg.GroupID{"web"}}},
		)...)
		c := new(compile.Compiler)
		_, err := c.Reset(snap)
		require.NoError(t, err)
		s.snapshots, s.compilers = append(s.snapshots, snap), append(s.compilers, c)
	}
	return s
}

// next returns the next matcher.
func (s *swapper) next(n int) (*compile.Matcher, error) {
	var c policy.Change
	var more []policy.Change
	switch n % 8 {
	case 0:
		s.at = 1 - s.at
		fallthrough
	case 1:
		c = policy.PutGroup{Group: swapGroup(s.r.IntN(1000))}
	case 2:
		c = policy.EditSet{ID: "one", Add: []ipset.Entry{{Prefix: prefix(guest)}}}
	case 3:
		c = policy.EditSet{ID: "two", Add: []ipset.Entry{{Prefix: prefix(guest)}}}
	case 6: // rules and members at once
		c, more = policy.PutGroup{Group: swapGroup(s.r.IntN(1000))}, []policy.Change{joins("one", guest), joins("two", guest)}
	case 7:
		c, more = policy.PutGroup{Group: swapGroup(s.r.IntN(1000))}, []policy.Change{leaves("one", guest), leaves("two", guest)}
	case 4: // narrows
		c = policy.EditSet{ID: "one", Remove: []netip.Prefix{prefix(guest)}}
	case 5:
		c = policy.EditSet{ID: "two", Remove: []netip.Prefix{prefix(guest)}}
	}
	snap, done, err := s.snapshots[s.at].With(append(more, c)...)
	if err != nil {
		return nil, err
	}
	s.snapshots[s.at] = snap
	return s.compilers[s.at].Apply(policy.Batch{Changes: done})
}

func TestAtomicUnderLoad(t *testing.T) {
	lab := netlabtest.Start(t, netlabtest.Config{
		Ports:   []netlabtest.Port{{Device: "sg0", Addrs: prefixes("10.0.0.5")}},
		Uplinks: []netlabtest.Uplink{{Device: "up0"}},
	})
	b, err := New(Options{Device: deviceOf, Uplinks: map[string]sg.VPCID{"up0": "a"}})
	require.NoError(t, err)
	s := newSwapper(t)
	require.NoError(t, lab.Do(func() error {
		m, err := s.next(0)
		if err != nil {
			return err
		}
		return b.Apply(t.Context(), m)
	}))

	var done atomic.Int64
	result := make(chan error, 1)
	go func() {
		result <- lab.Do(func() error {
			defer b.Close()
			for n := range *swaps {
				m, err := s.next(n)
				if err == nil {
					err = b.Apply(t.Context(), m)
				}
				if err != nil {
					return fmt.Errorf("swap %d: %w", n, err)
				}
				done.Add(1)
			}
			return nil
		})
	}()

	in := func(p []byte) netlabtest.Step { return netlabtest.Step{From: "up0", To: "sg0", Packet: p} }
	out := func(p []byte) netlabtest.Step { return netlabtest.Step{From: "sg0", To: "up0", Packet: p} }
	here, there, enemy := addr("10.0.0.5"), addr(friend), addr(foe)
	end := netip.AddrPortFrom
	oldIn := enforcetest.Conn{Client: end(there, 999), Server: end(here, 443), ISN: 1000}
	oldOut := enforcetest.Conn{Client: end(here, 999), Server: end(there, 443), ISN: 1000}
	established := []netlabtest.Step{
		in(oldIn.FromClient(segACK)), out(oldIn.FromServer(segACK)), out(oldOut.FromClient(segACK)), in(oldOut.FromServer(segACK)),
		in(enforcetest.UDP(end(there, 999), end(here, 53))), out(enforcetest.UDP(end(here, 53), end(there, 999))),
		out(enforcetest.UDP(end(here, 999), end(there, 53))), in(enforcetest.UDP(end(there, 53), end(here, 999))),
	}
	setup := []netlabtest.Step{
		in(oldIn.FromClient(segSYN)), out(oldIn.FromServer(segSYNACK)), in(oldIn.FromClient(segACK)),
		out(oldOut.FromClient(segSYN)), in(oldOut.FromServer(segSYNACK)), out(oldOut.FromClient(segACK)),
	}
	pass := make([]bool, len(setup))
	for i := range pass {
		pass[i] = true
	}
	got, err := lab.Send(setup)
	require.NoError(t, err)
	require.Equal(t, pass, got)

	lost, leaked, sent := map[string]int{}, map[string]int{}, 0
	var ended error
	port := uint16(1024)
	for running := true; running; {
		select {
		case ended = <-result:
			running = false
		default:
		}
		var steps []netlabtest.Step
		var want []string // "" must not pass
		may := func(what string, list ...netlabtest.Step) {
			for i, p := range list {
				steps, want = append(steps, p), append(want, fmt.Sprintf("%s %d", what, i))
			}
		}
		never := func(list ...netlabtest.Step) {
			for _, p := range list {
				steps, want = append(steps, p), append(want, "")
			}
		}
		for range 8 {
			may("established", established...)
			if port++; port < 1024 {
				port = 1024
			}
			newIn := enforcetest.Conn{Client: end(there, port), Server: end(here, 443), ISN: 1000}
			newOut := enforcetest.Conn{Client: end(here, port), Server: end(there, 443), ISN: 1000}
			may("new in", in(newIn.FromClient(segSYN)), out(newIn.FromServer(segSYNACK)), in(newIn.FromClient(segACK)))
			may("new out", out(newOut.FromClient(segSYN)), in(newOut.FromServer(segSYNACK)), out(newOut.FromClient(segACK)))
			may("new udp", in(enforcetest.UDP(end(there, port), end(here, 53))), out(enforcetest.UDP(end(here, port), end(there, 53))))
			never(
				in(enforcetest.TCP(end(enemy, port), end(here, 443), segSYN, 1, 0)), out(enforcetest.TCP(end(here, port), end(enemy, 443), segSYN, 1, 0)),
				in(enforcetest.UDP(end(enemy, port), end(here, 53))), out(enforcetest.UDP(end(here, port), end(enemy, 53))),
				in(enforcetest.TCP(end(there, port), end(here, 22), segSYN, 1, 0)), in(enforcetest.TCP(end(there, port), end(here, 22), segACK, 1, 0)),
				in(enforcetest.UDP(end(there, port), end(here, 54))), out(enforcetest.TCP(end(here, port), end(there, 22), segSYN, 1, 0)),
			)
		}
		got, err := lab.Send(steps)
		require.NoError(t, err)
		sent += len(got)
		for i, passed := range got {
			switch {
			case passed && want[i] == "":
				leaked[fmt.Sprintf("step %d", i%24)]++
			case !passed && want[i] != "":
				lost[want[i]]++
			}
		}
	}
	require.NoError(t, ended)
	t.Logf("%d packets during %d swaps", sent, done.Load())
	assert.Empty(t, lost, "what old and new policy allow was lost")
	require.Empty(t, leaked, "what old and new policy refuse passed")
}
