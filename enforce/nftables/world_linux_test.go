package nftables

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
)

// world is a host with sites and an uplink per VPC.
type world struct {
	t       testing.TB
	lab     *netlabtest.Lab
	options Options
	backend *Backend    // nil: there are scripts only
	at      *ir.Program // in force
	queue   []queued
	sent    int
	arrived int
	excused int // otherwise than the reference says, for a reason that has a name
}

// queued is a packet to send and what should become of it.
type queued struct {
	hop
	pkt  []byte
	want judgement
}

func uplinkOf(vpc sg.VPCID) string {
	return map[sg.VPCID]string{"red": "up0", "blue": "up1", "gray": "up2"}[vpc]
}

// strayDevice is a device that no interface has, behind which strayAddrs are.
const strayDevice = "sg9"

func strayAddrs() []netip.Prefix { return prefixes("198.18.9.9", "2001:db8:1:9::9") }

// hostAddrs are those of the host itself.
func hostAddrs() []netip.Prefix { return prefixes("198.18.255.1", "2001:db8:1:ff::1") }

func newWorld(t testing.TB, o Options) *world {
	vpcs := map[sg.VPCID]int{"red": 0, "blue": 1, "gray": 2}
	c := netlabtest.Config{HostAddrs: hostAddrs()}
	for vpc, n := range vpcs {
		c.Uplinks = append(c.Uplinks, netlabtest.Uplink{Device: uplinkOf(vpc), VPC: n})
	}
	for _, s := range sites() {
		dev, _ := deviceOfSite(s.id)
		c.Ports = append(c.Ports, netlabtest.Port{Device: dev, VPC: vpcs[s.vpc], Addrs: append(s.addrs[:len(s.addrs):len(s.addrs)], s.behind...)})
	}
	c.Ports = append(c.Ports, netlabtest.Port{Device: strayDevice, VPC: 0, Addrs: strayAddrs()})
	o.Uplinks = map[string]sg.VPCID{"up0": "red", "up1": "blue"}
	o.Device = deviceOfSite
	o.Protect = []string{"sg*"}
	return &world{t: t, lab: netlabtest.Start(t, c), options: o}
}

// withBackend has policies applied by a Backend.
func (w *world) withBackend() *world {
	b, err := New(w.options)
	require.NoError(w.t, err)
	w.backend = b
	return w
}

// apply puts m in force: by the backend if there is one, else by the scripts
// of Render and RenderDelta.
func (w *world) apply(m *compile.Matcher) {
	w.t.Helper()
	if w.backend != nil {
		require.NoError(w.t, w.lab.Do(func() error { return w.backend.Apply(w.t.Context(), m) }))
		return
	}
	next := m.Program()
	if w.at != nil && next.SameLineage(w.at) {
		require.NoError(w.t, w.lab.Ruleset(w.t.Context(), delta(w.t, w.at, next, w.options)))
	} else {
		require.NoError(w.t, w.lab.Ruleset(w.t.Context(), render(w.t, next, w.options)))
	}
	w.at = next
}

// towards says where the host sends what goes to an address.
func towards(vpc sg.VPCID, a netip.Addr) sg.InterfaceID {
	for _, s := range sites() {
		if s.vpc == vpc && within(a, s.addrs, s.behind) {
			return s.id
		}
	}
	return ""
}

func (w *world) step(q queued) netlabtest.Step {
	device := func(id sg.InterfaceID) string {
		if d, ok := deviceOfSite(id); ok {
			return d
		}
		return uplinkOf(q.vpc)
	}
	return netlabtest.Step{From: device(q.from), To: device(q.to), Packet: q.pkt}
}

// expect queues a packet.
func (w *world) expect(h hop, pkt []byte, want judgement) {
	w.queue = append(w.queue, queued{h, pkt, want})
}

// flush sends what is queued and returns what became of it otherwise than it
// should.
func (w *world) flush(r *reference) (faults []string) {
	w.t.Helper()
	if len(w.queue) == 0 {
		return nil
	}
	steps := make([]netlabtest.Step, len(w.queue))
	for i, q := range w.queue {
		steps[i] = w.step(q)
	}
	got, err := w.lab.Send(steps)
	require.NoError(w.t, err)
	for i, q := range w.queue {
		w.sent++
		if got[i] {
			w.arrived++
		}
		switch {
		case got[i] == q.want.pass:
		case got[i] && q.want.strange && r.allowed(q.hop, q.pkt):
			w.excused++
		case !got[i] && q.want.strange && q.want.established, got[i] && q.want.unlisted, q.want.outlives:
			w.excused++
		default:
			faults = append(faults, fmt.Sprintf("packet %d of %d, %s: arrived is %v; %s", i, len(w.queue), describe(q.hop, q.pkt), got[i], q.want.why))
		}
	}
	w.queue = w.queue[:0]
	return faults
}

var counterLine = regexp.MustCompile(`counter rule(\d+) \{[^}]*packets (\d+)`)

// counters returns how many packets each rule decided.
func (w *world) counters() map[ir.RuleNum]int {
	w.t.Helper()
	out, err := w.lab.Run(w.t.Context(), "", "nft", "list", "counters", "table", "inet", "secgroup")
	require.NoError(w.t, err)
	counts := map[ir.RuleNum]int{}
	for _, m := range counterLine.FindAllStringSubmatch(out, -1) {
		num, err := strconv.Atoi(m[1])
		require.NoError(w.t, err)
		packets, err := strconv.Atoi(m[2])
		require.NoError(w.t, err)
		if packets > 0 {
			counts[ir.RuleNum(num)] = packets
		}
	}
	return counts
}

// describe returns a packet as text.
func describe(h hop, b []byte) string {
	var p packet.Packet
	where := fmt.Sprintf("%s from %q to %q", h.vpc, h.from, h.to)
	if packet.Decode(b, &p) != nil {
		return fmt.Sprintf("%s: % x", where, b)
	}
	s := p.Tuple.String()
	switch {
	case sg.Protocol(p.Tuple.Proto) == sg.TCP:
		s += " "
		for i, f := range "FSRPAU" {
			if p.Flags&(1<<i) != 0 {
				s += string(f)
			}
		}
	case sg.Protocol(p.Tuple.Proto).HasICMP():
		s += fmt.Sprintf(" type %d code %d", p.ICMPType, p.ICMPCode)
	}
	if p.Inner.Tuple.Family != 0 {
		s += fmt.Sprintf(" about %v", p.Inner.Tuple)
	}
	return where + ": " + s
}

// way is a flow that may be: its first packet goes from Client to Server.
type way struct {
	hop
	proto sg.Protocol
	enforcetest.Conn
	dead  bool // it was reset: only a SYN makes sense
	asked bool // a SYN passed, and no answer to it yet: nothing else makes sense
}

func (w *way) back() hop { return hop{w.vpc, w.to, w.from} }

// forth and answer are packets of the flow.
func (w *way) forth(flags uint8) []byte {
	switch {
	case w.proto == sg.TCP:
		return w.FromClient(flags)
	default:
		return opener(w.proto, w.Client, w.Server)
	}
}

func (w *way) answer(flags uint8) []byte {
	switch {
	case w.proto == sg.TCP:
		return w.FromServer(flags)
	case w.proto.HasICMP():
		return enforcetest.Echo(w.Server.Addr(), w.Client.Addr(), true, w.Client.Port())
	case w.proto == sg.SCTP:
		return enforcetest.SCTP(w.Server, w.Client)
	}
	return opener(w.proto, w.Server, w.Client)
}
