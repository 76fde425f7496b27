package nftables

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/stackit"
	"example.com/secgroup/sg/policy"
)

// host is a router with a backend: sg0 and sg1 are its interfaces, 10.0.0.5
// and 10.0.0.6, up0 is the rest of the world.
type host struct {
	t   testing.TB
	lab *netlabtest.Lab
	*Backend
}

func newHost(t testing.TB, o Options) *host {
	lab := netlabtest.Start(t, netlabtest.Config{
		Ports:   []netlabtest.Port{{Device: "sg0", Addrs: prefixes("10.0.0.5")}, {Device: "sg1", Addrs: prefixes("10.0.0.6")}},
		Uplinks: []netlabtest.Uplink{{Device: "up0"}},
	})
	return &host{t, lab, newBackend(t, o)}
}

func newBackend(t testing.TB, o Options) *Backend {
	if o.Device == nil {
		o.Device = deviceOf
	}
	if o.Uplinks == nil {
		o.Uplinks = map[string]sg.VPCID{"up0": "a"}
	}
	b, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// another is the host after a restart: a Backend that knows nothing.
func (h *host) another(o Options) *host { return &host{h.t, h.lab, newBackend(h.t, o)} }

func (h *host) tryApply(m *compile.Matcher) error { return h.applyWithin(h.t.Context(), m) }

func (h *host) applyWithin(ctx context.Context, m *compile.Matcher) error {
	return h.lab.Do(func() error { return h.Backend.Apply(ctx, m) })
}

func (h *host) apply(m *compile.Matcher) {
	h.t.Helper()
	require.NoError(h.t, h.tryApply(m))
}

func (h *host) do(f func(context.Context) error) {
	h.t.Helper()
	require.NoError(h.t, h.lab.Do(func() error { return f(h.t.Context()) }))
}

// verify returns what Verify finds.
func (h *host) verify() (out []string) {
	h.t.Helper()
	h.do(func(ctx context.Context) (err error) {
		out, err = h.Verify(ctx)
		return err
	})
	return out
}

func (h *host) nft(args ...string) string {
	h.t.Helper()
	out, err := h.lab.Run(h.t.Context(), "", "nft", args...)
	require.NoError(h.t, err)
	return out
}

func (h *host) script(text string) {
	h.t.Helper()
	require.NoError(h.t, h.lab.Ruleset(h.t.Context(), text))
}

// table is what can be seen of the table.
func (h *host) table() string { return canonical(h.nft("-s", "list", "table", "inet", h.o.Table)) }

func inward(p []byte) netlabtest.Step  { return netlabtest.Step{From: "up0", To: "sg0", Packet: p} }
func outward(p []byte) netlabtest.Step { return netlabtest.Step{From: "sg0", To: "up0", Packet: p} }

func (h *host) send(steps ...netlabtest.Step) []bool {
	h.t.Helper()
	got, err := h.lab.Send(steps)
	require.NoError(h.t, err)
	return got
}

// pass and stop send packets that must arrive, or must not.
func (h *host) pass(steps ...netlabtest.Step) {
	h.t.Helper()
	require.NotContains(h.t, h.send(steps...), false)
}

func (h *host) stop(steps ...netlabtest.Step) {
	h.t.Helper()
	require.NotContains(h.t, h.send(steps...), true)
}

// tcp is a connection into sg0 from a host of the world.
func tcp(from string, port, to uint16) enforcetest.Conn {
	return enforcetest.Conn{Client: endpoint(from, port), Server: endpoint("10.0.0.5", to), ISN: 1000}
}

// opened sends the handshake.
func (h *host) opened(c enforcetest.Conn) enforcetest.Conn {
	h.t.Helper()
	h.pass(inward(c.FromClient(segSYN)), outward(c.FromServer(segSYNACK)), inward(c.FromClient(segACK)))
	return c
}

// goesOn sends a segment in either direction.
func goesOn(c enforcetest.Conn) []netlabtest.Step {
	return []netlabtest.Step{inward(c.FromClient(segACK)), outward(c.FromServer(segACK))}
}

// town is a policy in VPC a: group web serves TCP 443 to everybody, 22 to set
// "one" and UDP 53 to set "two", and asks what it likes.
func town(one, two []string, more ...policy.Change) []policy.Change {
	rule := func(id sg.RuleID, p sg.Protocol, port uint16, peer sg.Peer) sg.Rule {
		return sg.Rule{ID: id, Direction: sg.Ingress, Protocol: p, Ports: sg.Port(port), Peer: peer}
	}
	return append([]policy.Change{
		policy.PutSet{Set: swapSet("one", one...)}, policy.PutSet{Set: swapSet("two", two...)},
		policy.PutGroup{Group: &sg.Group{ID: "web", Name: "web", VPC: "a", Rules: []sg.Rule{
			rule("https", sg.TCP, 443, sg.PeerCIDR(prefix("0.0.0.0/0"))), rule("ssh", sg.TCP, 22, sg.PeerSet("one")), rule("dns", sg.UDP, 53, sg.PeerSet("two")),
			{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()},
		}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "sg0", VPC: "a", Addrs: prefixes("10.0.0.5"), Groups: []sg.GroupID{"web"}}},
		policy.PutInterface{Interface: &sg.Interface{ID: "sg1", VPC: "a", Addrs: prefixes("10.0.0.6"), Groups: []sg.GroupID{"web"}}},
	}, more...)
}

// source is a compiler and the policy that it has.
type source struct {
	t        testing.TB
	snapshot *policy.Snapshot
	c        compile.Compiler
}

func newSource(t testing.TB, changes ...policy.Change) *source {
	return newSourceOf(t, stackit.Profile(), changes...)
}

func newSourceOf(t testing.TB, p sg.Profile, changes ...policy.Change) *source {
	s := &source{t: t, snapshot: build(t, p, changes...)}
	_, err := s.c.Reset(s.snapshot)
	require.NoError(t, err)
	return s
}

func (s *source) matcher() *compile.Matcher { return s.c.Matcher() }

func (s *source) change(c ...policy.Change) *compile.Matcher {
	s.t.Helper()
	next, done, err := s.snapshot.With(c...)
	require.NoError(s.t, err)
	m, err := s.c.Apply(policy.Batch{Changes: done})
	require.NoError(s.t, err)
	s.snapshot = next
	return m
}

func joins(id sg.SetID, list ...string) policy.Change {
	e := policy.EditSet{ID: id}
	for _, p := range list {
		e.Add = append(e.Add, ipset.Entry{Prefix: prefix(p)})
	}
	return e
}

func leaves(id sg.SetID, list ...string) policy.Change {
	return policy.EditSet{ID: id, Remove: prefixes(list...)}
}

// many are n addresses.
func many(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("100.%d.%d.%d", 64+i>>16, i>>8&0xff, i&0xff))
	}
	return out
}

var (
	listed    = regexp.MustCompile(`(?:goto |jump |@|counter name ")(\w+)`)
	nameIn    = regexp.MustCompile(`NAME\(\w+\)`)
	generated = regexp.MustCompile(`_x\d+\b`)
)

// canonical is a listing of a table without what nothing refers to, which
// generation gave the names and what epoch it is, with elements in order.
func canonical(listing string) string {
	blocks, hooks := map[string][]string{}, []string(nil)
	name := ""
	for line := range strings.Lines(listing) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "\t\t"):
			blocks[name] = append(blocks[name], strings.TrimSpace(line))
			if strings.HasPrefix(line, "\t\ttype filter hook") {
				hooks = append(hooks, name)
			}
		case strings.HasSuffix(line, "{") && strings.HasPrefix(line, "\t"):
			name = strings.Fields(line)[1]
			blocks[name] = []string{strings.TrimSpace(line)}
		}
	}
	seen := map[string]bool{}
	for queue := hooks; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] || blocks[queue[0]] == nil {
			continue
		}
		seen[queue[0]] = true
		for _, line := range blocks[queue[0]] {
			for _, m := range listed.FindAllStringSubmatch(line, -1) {
				queue = append(queue, m[1])
			}
		}
	}
	var out []string
	for name := range seen {
		b := blocks[name]
		switch plain := untagged(name); {
		case plain == epochSetName || strings.HasPrefix(plain, "mark_"):
			b = b[:1]
		default:
			b = elementsSorted(b)
		}
		out = append(out, strings.Join(b, "\n\t"))
	}
	slices.Sort(out)
	return generated.ReplaceAllString(strings.Join(out, "\n"), "")
}

// elementsSorted sorts the elements of a set's lines.
func elementsSorted(lines []string) []string {
	i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, "elements = {") })
	if i < 0 {
		return lines
	}
	text := strings.Join(lines[i:], " ")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "elements = {"), "}")
	elements := strings.Split(strings.ReplaceAll(text, "\n", " "), ",")
	for i, e := range elements {
		elements[i] = strings.TrimSpace(e)
	}
	slices.Sort(elements)
	return append(slices.Clone(lines[:i]), elements...)
}

func endpoint(a string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(a), port)
}

// Flags of TCP segments.
const (
	segSYN    = packet.SYN
	segSYNACK = packet.SYN | packet.ACK
	segACK    = packet.ACK
)
