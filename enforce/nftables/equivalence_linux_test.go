package nftables

import (
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var (
	equivalencePolicies = flag.Int("equivalence.policies", 320, "random policies whose first packets are compared")
	equivalenceWalks    = flag.Int("equivalence.walks", 60, "random walks through packets and changes of policy")
	equivalenceSeed     = flag.Uint64("equivalence.seed", 1, "seed of both")
)

const (
	syn    = packet.SYN
	ack    = packet.ACK
	synAck = packet.SYN | packet.ACK
	rstAck = packet.RST | packet.ACK
)

// TestEquivalence compares what Eval, the matcher, the engine, the filter of a
// TUN device and the kernel make of packets that open flows, under random
// policies, at the edges of their rules, between hosts outside and interfaces
// and between two interfaces.
func TestEquivalence(t *testing.T) {
	netlabtest.Require(t)
	w := newWorld(t, Options{})
	for n := range *equivalencePolicies {
		g := newRandom(*equivalenceSeed, uint64(n))
		d := g.draft()
		s, err := policy.Build(d.profile, d.all()...)
		require.NoError(t, err)
		m := compiled(t, s)
		w.at = nil // as a whole: counters begin anew
		w.apply(m)
		require.NoError(t, w.lab.FlushConntrack())
		engine, through := newReference(false), newReference(true)
		require.NoError(t, engine.apply(m))
		require.NoError(t, through.apply(m))
		used, counts := map[string]bool{}, map[ir.RuleNum]int{}
		for i := range 200 {
			h, pkt := g.probe(m, i)
			if name := engine.name(h.vpc, pkt); used[name] {
				continue
			} else {
				used[name] = true
			}
			want, err := engine.opens(h, pkt, counts)
			require.NoError(t, err)
			j := engine.judge(h, pkt)
			require.Equal(t, want, j.pass, "policy %d: %s: Eval says %v, the engine %v (%s)", n, describe(h, pkt), want, j.pass, j.why)
			require.Equal(t, want, through.judge(h, pkt).pass, "policy %d: %s: the filter of a TUN device", n, describe(h, pkt))
			w.expect(h, pkt, j)
		}
		if faults := w.flush(engine); len(faults) > 0 {
			t.Fatalf("seed %d, policy %d:\n%s", *equivalenceSeed, n, strings.Join(faults, "\n"))
		}
		require.Equal(t, counts, w.counters(), "seed %d, policy %d: the rules that decided", *equivalenceSeed, n)
	}
	t.Logf("%d policies, %d packets, %d arrived", *equivalencePolicies, w.sent, w.arrived)
}

// probe draws a packet that opens a flow. Its port is the packet's own.
func (g random) probe(m *compile.Matcher, n int) (hop, []byte) {
	s := pick(g, sites()...)
	f := g.family()
	d := pick(g, directions()...)
	p := m.Program()
	is, _ := p.Interface(s.id)
	pol, _ := p.Policy(is.Policy)
	proto, port, remote := g.aim(p, pol.Chain(d), f)
	locals := s.addrs
	if g.oneIn(8) && len(s.behind) > 0 {
		locals = s.behind
	}
	local := addressIn(locals, f)
	if g.oneIn(3) { // to another interface, or itself
		other := pick(g, sites()...)
		remote = addressIn(other.addrs, f)
	}
	own := uint16(20_000 + n)
	src, dst := netip.AddrPortFrom(remote, own), netip.AddrPortFrom(local, port)
	h := hop{vpc: s.vpc, from: towards(s.vpc, remote), to: s.id}
	if d == sg.Egress {
		src, dst = netip.AddrPortFrom(local, own), netip.AddrPortFrom(remote, port)
		h.from, h.to = s.id, towards(s.vpc, remote)
	}
	if src.Addr() == dst.Addr() { // kernels drop what comes from where it goes
		src = netip.AddrPortFrom(src.Addr().Next(), src.Port())
		h.from = towards(s.vpc, src.Addr())
	}
	if g.oneIn(20) && h.from != "" { // a spoofed source
		src = netip.AddrPortFrom(addressIn(prefixes("203.0.113.66", "2001:db8:a::66"), f), own)
	}
	return h, opener(proto, src, dst)
}

func addressIn(list []netip.Prefix, f sg.Family) netip.Addr {
	for _, p := range list {
		if sg.FamilyOf(p.Addr()) == f {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// TestEquivalenceWalk sends packets of a few flows in any order, between
// random changes of policy: the kernel does what the engine does, and so does
// the filter of a TUN device.
//
// The scripts of Render and RenderDelta alone do not end connections; the walks
// of TestEquivalenceBackend know interfaces that are deleted, and sg.Cut.
func TestEquivalenceWalk(t *testing.T) {
	netlabtest.Require(t)
	walks(t, newWorld(t, Options{}), *equivalenceWalks)
}

// TestEquivalenceBackend is TestEquivalenceWalk by a Backend.
func TestEquivalenceBackend(t *testing.T) {
	netlabtest.Require(t)
	walks(t, newWorld(t, Options{}).withBackend(), max(1, *equivalenceWalks/6))
}

func walks(t *testing.T, w *world, number int) {
	changes := 0
	for n := range number {
		changes += walkOnce(t, w, n)
	}
	t.Logf("%d walks, %d changes of policy, %d packets, %d arrived, %d excused", number, changes, w.sent, w.arrived, w.excused)
}

func walkOnce(t *testing.T, w *world, n int) (changes int) {
	g := newRandom(*equivalenceSeed, uint64(n)|1<<32)
	d := g.draft()
	if d.plain = w.backend == nil; d.plain && d.profile.Established == sg.Cut {
		d.profile.Established = sg.Revalidate
	}
	s, err := policy.Build(d.profile, d.all()...)
	require.NoError(t, err)
	var c compile.Compiler
	m, err := c.Reset(s)
	require.NoError(t, err)
	w.apply(m)
	require.NoError(t, w.lab.FlushConntrack())
	engine, through := newReference(false), newReference(true)
	require.NoError(t, engine.apply(m))
	require.NoError(t, through.apply(m))
	flows := g.flows(engine)
	check := func() {
		if faults := w.flush(engine); len(faults) > 0 {
			t.Fatalf("seed %d, walk %d, change %d, established %v:\n%s", *equivalenceSeed, n, changes, d.profile.Established, strings.Join(faults, "\n"))
		}
	}
	for range 25 {
		for range 40 {
			g.move(flows, engine, func(h hop, pkt []byte) judgement {
				j := engine.judge(h, pkt)
				require.Equal(t, j.pass, through.judge(h, pkt).pass, "walk %d: %s: the filter of a TUN device", n, describe(h, pkt))
				return j
			}, w)
		}
		check()
		m, err = c.Apply(policy.Batch{Changes: d.edit()})
		require.NoError(t, err)
		w.apply(m)
		changes++
		require.NoError(t, engine.apply(m))
		require.NoError(t, through.apply(m))
	}
	return changes
}

// flows draws flows, most of which the policy allows.
func (g random) flows(r *reference) (out []*way) {
	for len(out) < 24 {
		for range 12 {
			w := g.flow(r.matcher, len(out))
			if w == nil {
				continue
			}
			if ok, err := r.opens(w.hop, w.forth(syn), map[ir.RuleNum]int{}); err == nil && ok || g.oneIn(24) {
				out = append(out, w)
				break
			}
		}
	}
	return out
}

// flow draws a flow, nil if it makes no sense.
func (g random) flow(m *compile.Matcher, n int) *way {
	s := pick(g, sites()...)
	f := g.family()
	d := pick(g, directions()...)
	p := m.Program()
	is, _ := p.Interface(s.id)
	pol, _ := p.Policy(is.Policy)
	proto, port, remote := g.aim(p, pol.Chain(d), f)
	if proto == sg.SCTP { // its state machine is another matter
		proto = sg.UDP
	}
	port = max(port, 1)
	local := addressIn(s.addrs, f)
	if g.oneIn(4) && len(s.behind) > 0 {
		local = addressIn(s.behind, f).Next()
	}
	if other := pick(g, sites()...); g.oneIn(3) && other.id != s.id && other.vpc == s.vpc {
		remote = addressIn(other.addrs, f)
	}
	if remote == local || towards(s.vpc, remote) == s.id {
		return nil
	}
	own := uint16(30_000 + n)
	w := &way{hop: hop{s.vpc, towards(s.vpc, remote), s.id}, proto: proto, Conn: enforcetest.Conn{Client: netip.AddrPortFrom(remote, own), Server: netip.AddrPortFrom(local, port), ISN: 1000}}
	if d == sg.Egress {
		w.from, w.to = w.to, w.from
		w.Client, w.Server = netip.AddrPortFrom(local, own), netip.AddrPortFrom(remote, port)
	}
	return w
}

// move draws a packet of some flow, has it judged, and queues it.
func (g random) move(flows []*way, r *reference, judge func(hop, []byte) judgement, w *world) (hop, []byte) {
	f := pick(g, flows...)
	forth := g.oneIn(2) || f.dead
	h, flags := f.hop, pick[uint8](g, syn, syn, ack, ack, ack, rstAck)
	if !forth {
		h, flags = f.back(), pick[uint8](g, synAck, synAck, ack, ack, ack, rstAck)
	}
	switch {
	case f.dead:
		flags = syn
	case f.asked && forth:
		flags = syn // anything else would acknowledge what nobody sent
	case f.asked && flags == ack:
		flags = synAck
	}
	pkt := f.forth(flags)
	if !forth {
		pkt = f.answer(flags)
	}
	kind := ""
	if g.oneIn(5) && !f.dead {
		// Not the packet, but an error about it, from its destination, or from
		// somebody else.
		kind = "error"
		src, dst := f.Server.Addr(), f.Client.Addr()
		if !forth {
			src, dst = dst, src
		}
		h = hop{h.vpc, h.to, h.from}
		if g.oneIn(3) {
			other := pick(g, sites()...)
			from := sg.InterfaceID("")
			src = map[bool]netip.Addr{true: ip("203.0.113.99"), false: ip("2001:db8:a::99")}[src.Is4()]
			if g.oneIn(2) && other.vpc == h.vpc {
				from, src = other.id, addressIn(other.addrs, sg.FamilyOf(dst))
			}
			if from != h.to && towards(h.vpc, src) == from {
				h.from = from
			} else {
				src = map[bool]netip.Addr{true: f.Server.Addr(), false: f.Client.Addr()}[forth]
			}
		}
		pkt = enforcetest.Unreachable(src, dst, pkt)
	}
	j := judge(h, pkt)
	if kind == "" && f.proto == sg.TCP && j.pass {
		f.dead = flags == rstAck
		f.asked = flags == syn || f.asked && flags != synAck && flags != rstAck
	}
	w.expect(h, pkt, j)
	return h, pkt
}

var _ = fmt.Sprint
