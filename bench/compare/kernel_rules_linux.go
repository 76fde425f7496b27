package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/secgroup/sg"
)

// withKernel adds nftables and the kernel's conntrack to the trials where they
// can take part.
func withKernel(trials []trial, s scale) ([]trial, error) {
	p, err := newWire(quietWorld(), bareRuleset) // can this process do it?
	if err != nil {
		return nil, err
	}
	p.close()
	add := func(name string, c contestant) {
		for i := range trials {
			if trials[i].name == name {
				trials[i].contestants = append(trials[i].contestants, c)
			}
		}
	}
	for _, n := range s.rules {
		for _, f := range families {
			l := &lazy{make: func() *world { return ruleWorld(n) }}
			add(fmt.Sprintf("deny/v%d/rules=%s", f, count(n)), contestant{"nftables linear", opensNft(l, f, linearRuleset)})
		}
		l := &lazy{make: func() *world { return disjointWorld(n) }}
		add("deny/v4/rules="+count(n), contestant{"nftables pipapo", opensNft(l, sg.IPv4, pipapoRuleset)})
	}
	for _, n := range s.sets {
		if n <= kernelPrefixes {
			l := &lazy{make: func() *world { return setWorld(sg.IPv4, n) }}
			add("set-new/v4/prefixes="+count(n), contestant{"nftables set", opensNftSet(l, true)})
			add("set-deny/v4/prefixes="+count(n), contestant{"nftables set", opensNftSet(l, false)})
		}
	}
	for _, n := range s.tables {
		if n <= kernelFlows {
			add("hit/v4/flows="+count(n), contestant{"kernel conntrack", opensKernelHits(n)})
			add("insert/v4/flows="+count(n), contestant{"kernel conntrack", opensKernelInserts(n)})
		}
	}
	return trials, nil
}

// kernelPrefixes is how many prefixes nft is asked to load at most.
const kernelPrefixes = 100_000

// bareRuleset drops everything where rulesets of the others begin: what a
// packet costs up to there is subtracted.
const bareRuleset = `table inet t {
	counter dropped {}
	chain c { type filter hook prerouting priority -300; policy accept; counter name dropped drop; }
}
`

// linearRuleset is a rule for every rule, as iptables had it.
func linearRuleset(w *world) string {
	var b strings.Builder
	b.WriteString("table inet t {\n\tcounter dropped {}\n\tchain c { type filter hook prerouting priority -300; policy accept;\n")
	for _, r := range w.rules {
		for _, p := range r.sources {
			family := "ip"
			if p.Addr().Is6() {
				family = "ip6"
			}
			fmt.Fprintf(&b, "\t\t%s saddr %v ", family, p)
			switch {
			case r.Protocol.HasPorts():
				fmt.Fprintf(&b, "%s dport %d-%d accept\n", strings.ToLower(r.Protocol.String()), r.Ports.First, r.Ports.Last)
			default:
				fmt.Fprintf(&b, "meta l4proto %d accept\n", int(r.Protocol))
			}
		}
	}
	b.WriteString("\t\tcounter name dropped drop\n\t}\n}\n")
	return b.String()
}

// disjointWorld is n rules for IPv4 that do not overlap: nft puts no others
// into one set of concatenated ranges.
func disjointWorld(n int) *world {
	r := rand.New(rand.NewPCG(uint64(n), 3))
	var rules []sg.Rule
	for i := range n {
		a := netip.AddrFrom4([4]byte{byte(20 + i>>16), byte(i >> 8), byte(i), byte(r.IntN(256))})
		p, _ := a.Prefix(24 + r.IntN(9))
		first := 1 + r.IntN(64_000)
		rules = append(rules, sg.Rule{ID: sg.RuleID(fmt.Sprint("r", i)), Direction: sg.Ingress,
			Protocol: []sg.Protocol{sg.TCP, sg.UDP}[r.IntN(2)], Peer: sg.PeerCIDR(p),
			Ports: sg.PortRange{First: uint16(first), Last: uint16(first + r.IntN(1_000))}})
	}
	return newWorld(rules)
}

// pipapoRuleset is one look-up in a set of address, protocol and ports.
func pipapoRuleset(w *world) string {
	var b strings.Builder
	b.WriteString("table inet t {\n\tcounter dropped {}\n\tset s { type ipv4_addr . inet_proto . inet_service; flags interval; elements = {\n")
	for _, r := range w.rules {
		fmt.Fprintf(&b, "\t\t%v . %d . %d-%d,\n", r.sources[0], int(r.Protocol), r.Ports.First, r.Ports.Last)
	}
	b.WriteString("\t} }\n\tchain c { type filter hook prerouting priority -300; policy accept;\n" +
		"\t\tip saddr . meta l4proto . th dport @s accept\n\t\tcounter name dropped drop\n\t}\n}\n")
	return b.String()
}

// difference measures packets on a wire beside the same packets on a bare one.
type difference struct {
	wire, bare *wire
	counter    string // counts what wire drops
	ring       *ring
	views      [][]byte
	at, size   int
}

func opensNft(l *lazy, f sg.Family, ruleset func(*world) string) func() (meter, error) {
	return func() (meter, error) {
		defer l.drop()
		w := l.get()
		denied, err := w.flows(f, hotFlows, false)
		if err != nil {
			return nil, err
		}
		allowed, err := w.flows(f, 64, true)
		if err != nil {
			return nil, err
		}
		return openDifference(w, ruleset(w), w.opening(denied, hotFlows), w.opening(allowed, len(allowed)))
	}
}

// sink ends what a ruleset accepts, behind it: an answer to it, or an error about
// that, would be counted too.
const sink = `table inet sink {
	chain c { type filter hook prerouting priority -299; policy drop; }
}
`

// openDifference loads a ruleset that drops the packets of one ring and not
// those of the other, and sees to it that it does.
func openDifference(w *world, ruleset string, dropped, passed *ring) (meter, error) {
	m := &difference{counter: "dropped", ring: dropped}
	var err error
	if m.bare, err = newWire(w, bareRuleset); err != nil {
		return nil, err
	}
	if m.wire, err = newWire(w, sink+ruleset); err == nil {
		err = m.agrees(passed)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// opensNftSet looks up sources in an interval set: from the set, or from
// elsewhere. Either are dropped, so that nothing behind the look-up costs more.
func opensNftSet(l *lazy, inside bool) func() (meter, error) {
	return func() (meter, error) {
		defer l.drop()
		w := l.get()
		in, out := w.opening(setFlows(w, true), freshFlows), w.opening(setFlows(w, false), freshFlows)
		if inside {
			return openDifference(w, setRuleset(w, "counter name dropped drop", "accept"), in, out)
		}
		return openDifference(w, setRuleset(w, "accept", "counter name dropped drop"), out, in)
	}
}

// setRuleset has the prefixes merged: a set takes none that overlap.
func setRuleset(w *world, inside, outside string) string {
	var b strings.Builder
	b.WriteString("table inet t {\n\tcounter dropped {}\n\tset s { type ipv4_addr; flags interval; elements = {\n")
	for _, p := range sg.MergePrefixes(slices.Clone(w.rules[0].sources)) {
		fmt.Fprintf(&b, "\t\t%v,\n", p)
	}
	fmt.Fprintf(&b, "\t} }\n\tchain c { type filter hook prerouting priority -300; policy accept;\n"+
		"\t\tip saddr @s tcp dport 443 %s\n\t\t%s\n\t}\n}\n", inside, outside)
	return b.String()
}

// agrees compares verdicts with the reference: none of allowed is dropped, all
// of the ring are.
func (m *difference) agrees(allowed *ring) error {
	before, err := m.wire.count(m.counter)
	if err != nil {
		return err
	}
	if err := m.wire.send(allowed.views(nil, 0, allowed.len())); err != nil {
		return err
	}
	if err := m.wire.send(m.ring.views(nil, 0, m.ring.len())); err != nil {
		return err
	}
	return m.wire.counts(m.counter, before, m.ring.len())
}

// measure sends over both wires in turns.
func (m *difference) measure(d time.Duration) ([]value, error) {
	before, err := m.wire.count(m.counter)
	if err != nil {
		return nil, err
	}
	m.size = max(m.size, 64)
	var took, bare time.Duration
	sent := 0
	for took < d {
		n := min(m.size, m.ring.len()-m.at)
		m.views = m.ring.views(m.views[:0], m.at, n)
		m.at = (m.at + n) % m.ring.len()
		one, err := timedSend(m.wire, m.views)
		if err != nil {
			return nil, err
		}
		other, err := timedSend(m.bare, m.views)
		if err != nil {
			return nil, err
		}
		if one < time.Millisecond && m.size < most {
			m.size *= 2
		}
		took, bare, sent = took+one, bare+other, sent+n
	}
	if err := m.wire.counts(m.counter, before, sent); err != nil {
		return nil, err
	}
	return []value{{perPacket, max(1, float64((took-bare).Nanoseconds())/float64(sent))}}, nil
}

func timedSend(p *wire, packets [][]byte) (time.Duration, error) {
	t := cpu()
	err := p.send(packets)
	return cpu() - t, err
}

func (m *difference) close() {
	for _, p := range []*wire{m.wire, m.bare} {
		if p != nil {
			p.close()
		}
	}
}

// raised is the machine's limit of connections while a trial needs a higher
// one: the kernel has one for all namespaces.
type raised struct{ before string }

const limitFile = "/proc/sys/net/netfilter/nf_conntrack_max"

func raise(n int) (*raised, error) {
	b, err := os.ReadFile(limitFile)
	if err != nil {
		return nil, err
	}
	var now int
	if _, err := fmt.Sscan(string(b), &now); err != nil || now >= n {
		return nil, err
	}
	return &raised{strings.TrimSpace(string(b))}, os.WriteFile(limitFile, fmt.Append(nil, n), 0)
}

// restore puts the limit back.
func (r *raised) restore() {
	if r != nil {
		_ = os.WriteFile(limitFile, []byte(r.before), 0) // it was written before: it can be again
	}
}
