package enforce_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func (p *probe) bytes() []byte {
	src, dst := p.remote, p.local
	sport, dport := p.rport, p.lport
	if p.d == sg.Egress {
		src, dst, sport, dport = dst, src, dport, sport
	}
	from, to := netip.AddrPortFrom(src, sport).String(), netip.AddrPortFrom(dst, dport).String()
	switch {
	case p.about != nil:
		return unreachable(src.String(), dst.String(), p.about.bytes())
	case p.proto == sg.TCP:
		return tcp(from, to, p.flags)
	case p.proto == sg.UDP && p.part == 0:
		return udp(from, to, 8)
	case p.proto == sg.UDP:
		first, rest := split(udp(from, to, 64), 40, p.id)
		return [][]byte{nil, first, rest}[p.part]
	}
	return ping(src.String(), dst.String(), p.reply, p.lport)
}

// walk is two engines, one that gets packets one by one and one that gets them
// in batches, the oracle, and a policy that changes.
type walk struct {
	clock    time.Duration
	engines  [2]*enforce.Engine
	events   [2]map[enforce.EventKind]int
	oracle   oracle
	compiler *compile.Compiler
	profile  sg.Profile
	groups   map[sg.GroupID]*sg.Group
	nics     map[sg.InterfaceID]*sg.Interface
	applied  []*compile.Matcher
	id       uint16
	split    []probe // first fragments that were sent
	counted  map[ir.RuleRef]enforce.Counter
}

func newWalk() *walk {
	w := &walk{groups: map[sg.GroupID]*sg.Group{}, nics: map[sg.InterfaceID]*sg.Interface{}, counted: map[ir.RuleRef]enforce.Counter{}}
	w.oracle.nics = map[sg.InterfaceID]*oracleNIC{}
	for i := range w.engines {
		w.events[i] = map[enforce.EventKind]int{}
		w.engines[i] = enforce.NewEngine(enforce.Options{
			Conntrack: conntrack.Options{MaxEntries: 4096, Shards: 1 << i, MaxFragments: 256, MaxFragmentsPerZone: 256},
			Now:       func() time.Time { return start().Add(w.clock) },
			OnEvent:   func(e *enforce.Event) { w.events[i][e.Kind]++ },
		})
		w.engines[i].Port("i")
	}
	return w
}

func (w *walk) apply(t require.TestingT, m *compile.Matcher) {
	for _, e := range w.engines {
		require.NoError(t, e.Apply(context.Background(), m))
	}
	if len(w.applied) == 0 || w.engines[0].Matcher() != nil {
		w.applied = append(w.applied, m)
	}
	w.oracle.apply(m.Program())
}

func (w *walk) drawRule(t *rapid.T, n int) sg.Rule {
	d := rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Ingress, sg.Egress}).Draw(t, "direction")
	proto := rapid.SampledFrom([]sg.Protocol{sg.TCP, sg.UDP, sg.AnyProtocol, sg.ICMP, sg.ICMPv6}).Draw(t, "protocol")
	peers := []string{"0.0.0.0/0", "192.0.2.7/32", "192.0.2.0/24", "group:a"}
	if proto == sg.ICMPv6 {
		peers = []string{"::/0", "2001:db8::7/128", "group:a"}
	} else if proto != sg.ICMP {
		peers = append(peers, "::/0")
	}
	return allow(sg.RuleID(fmt.Sprint("r", n)), d, proto, rapid.SampledFrom([]uint16{0, 80, 4000}).Draw(t, "port"), rapid.SampledFrom(peers).Draw(t, "peer"))
}

func (w *walk) drawGroup(t *rapid.T) *sg.Group {
	id := rapid.SampledFrom([]sg.GroupID{"a", "b", "s"}).Draw(t, "group")
	g := &sg.Group{ID: id, Name: string(id), Stateless: id == "s" && rapid.Bool().Draw(t, "stateless")}
	seen := map[sg.Rule]bool{}
	for n := range rapid.IntRange(0, 4).Draw(t, "rules") {
		if r := w.drawRule(t, n); !seen[r.Key()] {
			seen[r.Key()] = true
			g.Rules = append(g.Rules, r)
		}
	}
	return g
}

func (w *walk) drawNIC(t *rapid.T) *sg.Interface {
	n := nic(rapid.SampledFrom([]sg.InterfaceID{"i", "i", "j"}).Draw(t, "interface")).Interface
	if n.ID == "j" {
		n.Addrs = []netip.Prefix{mustPrefix("10.0.0.6/32")}
	}
	n.Groups = rapid.SliceOfNDistinct(rapid.SampledFrom([]sg.GroupID{"a", "b", "s"}), 0, 3, rapid.ID).Draw(t, "groups")
	return n
}

func (w *walk) drawProfile(t *rapid.T) sg.Profile {
	p := profile(rapid.SampledFrom([]sg.Established{sg.Revalidate, sg.Revalidate, sg.Keep, sg.Cut}).Draw(t, "established"))
	p.AllowStateless = true
	if rapid.IntRange(0, 3).Draw(t, "open") == 0 {
		p.Unattached, p.EmptyDirection = sg.Accept, sg.Accept
	}
	if rapid.IntRange(0, 3).Draw(t, "platform") == 0 {
		p.Platform = []sg.PlatformRule{
			{Name: "no", Action: sg.Drop, Rule: allow("no", sg.Egress, sg.TCP, 80, "0.0.0.0/0")},
			{Name: "yes", Action: sg.Accept, Rule: allow("yes", sg.Ingress, sg.ICMP, 0, "0.0.0.0/0")},
		}
	}
	return p
}

// recompile makes a policy of all there is, by a new compiler.
func (w *walk) recompile(t *rapid.T) {
	w.profile = w.drawProfile(t)
	var c []policy.Change
	for _, id := range slices.Sorted(maps.Keys(w.groups)) {
		c = append(c, policy.PutGroup{Group: w.groups[id]})
	}
	for _, id := range slices.Sorted(maps.Keys(w.nics)) {
		c = append(c, policy.PutInterface{Interface: w.nics[id]})
	}
	s, err := policy.Build(w.profile, c...)
	require.NoError(t, err)
	w.compiler = new(compile.Compiler)
	m, err := w.compiler.Reset(s)
	require.NoError(t, err)
	w.apply(t, m)
}

// edit changes a thing or two by the same compiler.
func (w *walk) edit(t *rapid.T) {
	var b policy.Batch
	for range rapid.IntRange(1, 2).Draw(t, "changes") {
		switch rapid.IntRange(0, 6).Draw(t, "change") {
		case 0, 1, 2:
			g := w.drawGroup(t)
			w.groups[g.ID] = g
			b.Changes = append(b.Changes, policy.PutGroup{Group: g})
		case 3, 4, 5:
			n := w.drawNIC(t)
			w.nics[n.ID] = n
			b.Changes = append(b.Changes, policy.PutInterface{Interface: n})
		case 6:
			id := rapid.SampledFrom([]sg.InterfaceID{"i", "j"}).Draw(t, "interface")
			if w.nics[id] == nil || len(b.Changes) > 0 {
				continue
			}
			delete(w.nics, id)
			b.Changes = append(b.Changes, policy.DeleteInterface{ID: id})
		}
	}
	m, err := w.compiler.Apply(b)
	require.NoError(t, err)
	w.apply(t, m)
}

func (w *walk) drawProbe(t *rapid.T, iface sg.InterfaceID, d sg.Direction) probe {
	p := probe{iface: iface, d: d}
	if rapid.IntRange(0, 5).Draw(t, "trail") == 0 && len(w.split) > 0 {
		p = rapid.SampledFrom(w.split).Draw(t, "datagram")
		p.part, p.d, p.iface = 2, d, iface
		return p
	}
	p.remote = netip.MustParseAddr(rapid.SampledFrom([]string{"192.0.2.7", "192.0.2.7", "10.0.0.6", "2001:db8::7"}).Draw(t, "remote"))
	p.local = netip.MustParseAddr("10.0.0.5")
	p.proto = rapid.SampledFrom([]sg.Protocol{sg.TCP, sg.TCP, sg.UDP, sg.ICMP}).Draw(t, "protocol")
	if p.remote.Is6() {
		p.local = netip.MustParseAddr("fd00::5")
		if p.proto == sg.ICMP {
			p.proto = sg.ICMPv6
		}
	}
	switch p.proto {
	case sg.ICMP, sg.ICMPv6:
		p.rport = 7
		p.lport = 7
		p.reply = rapid.Bool().Draw(t, "reply")
		if rapid.Bool().Draw(t, "error") {
			about := w.drawProbe(t, iface, rapid.SampledFrom([]sg.Direction{d, d.Opposite(), d.Opposite(), d.Opposite()}).Draw(t, "quoted direction"))
			if about.about == nil && about.part == 0 {
				p = probe{iface: iface, d: d, remote: about.remote, local: about.local, proto: sg.ICMP, about: &about}
				if p.remote.Is6() {
					p.proto = sg.ICMPv6
				}
			}
		}
		return p
	case sg.TCP:
		p.flags = rapid.SampledFrom([]string{"S", "S", "SA", "SA", "A", "A", "A", "R", "RA", "", "FPU"}).Draw(t, "flags")
	}
	p.rport, p.lport = 4000, 80
	if rapid.IntRange(0, 3).Draw(t, "ports") == 0 {
		p.rport, p.lport = 80, 4000
	}
	if p.proto == sg.UDP && rapid.IntRange(0, 2).Draw(t, "fragment") == 0 {
		w.id++
		p.part, p.id = 1, w.id
	}
	return p
}

// packets sends a batch of packets, often of one.
func (w *walk) packets(t *rapid.T) {
	iface := rapid.SampledFrom([]sg.InterfaceID{"i", "i", "i", "j", "none"}).Draw(t, "interface")
	d := rapid.SampledFrom([]sg.Direction{sg.Ingress, sg.Egress}).Draw(t, "direction")
	var pkts [][]byte
	var want []ir.Verdict
	for range rapid.SampledFrom([]int{1, 1, 1, 3}).Draw(t, "packets") {
		p := w.drawProbe(t, iface, d)
		if p.part == 1 {
			w.split = append(w.split, p)
		}
		b := p.bytes()
		before := w.events[0][enforce.FlowOpened]
		denied := w.events[0][enforce.FlowDenied]
		got := w.engines[0].Port(iface).Filter(d, b)
		v, flow, opened := w.oracle.filter(&p)
		say := fmt.Sprintf("%+v about %+v", p, p.about)
		switch {
		case flow != nil || p.part == 2:
			require.Equal(t, [2]any{v.Action, v.Reason}, [2]any{got.Action, got.Reason}, say)
			if flow != nil && w.oracle.prog.Established() != sg.Keep {
				require.True(t, w.oracle.names(iface, flow, got.Rule), "rule %d does not allow it: %s", got.Rule, say)
			}
		default:
			require.Equal(t, v, got, say)
		}
		require.Equal(t, opened, w.events[0][enforce.FlowOpened] == before+1, say)
		require.Equal(t, got.Action == sg.Drop, w.events[0][enforce.FlowDenied] == denied+1, say)
		if ref, ok := w.engines[0].Rule(got.Rule); ok {
			c := w.counted[ref]
			c.Packets++
			c.Bytes += uint64(len(b))
			if opened {
				c.Flows++
			}
			w.counted[ref] = c
		} else {
			require.Zero(t, got.Rule, "a rule without a name: %s", say)
		}
		pkts, want = append(pkts, b), append(want, got)
	}
	got := make([]ir.Verdict, len(pkts))
	n := w.engines[1].Port(iface).FilterBatch(d, pkts, got)
	require.Equal(t, want, got, "FilterBatch")
	for _, v := range got {
		n -= int(v.Action)
	}
	require.Zero(t, n, "FilterBatch counts what it accepts")
}

// check compares what both engines hold with the oracle.
func (w *walk) check(t *rapid.T) {
	for i, e := range w.engines {
		counted := maps.Collect(e.Counters())
		require.Equal(t, w.counted, counted)
		n := 0
		for range e.Table().All(conntrack.Time(w.clock) + 1) {
			n++
		}
		require.Equal(t, w.oracle.flows(), n, "connections")
		require.Equal(t, w.events[i][enforce.FlowOpened], w.events[i][enforce.FlowClosed]+e.Table().Len(), "events of connections")
		var drops uint64
		for _, n := range e.Drops() {
			drops += n
		}
		require.EqualValues(t, w.events[i][enforce.FlowDenied], drops)
	}
}

func walks(t *rapid.T) {
	w := newWalk()
	for _, id := range []sg.GroupID{"a", "b", "s"} {
		w.groups[id] = group(id).Group
	}
	w.groups["a"] = group("a", both("r", sg.Ingress, sg.TCP, 80), both("u", sg.Ingress, sg.UDP, 80)).Group
	w.nics["i"] = nic("i", "a").Interface
	w.recompile(t)
	t.Repeat(map[string]func(*rapid.T){
		"packets": w.packets, "more packets": w.packets, "most packets": w.packets, "still more packets": w.packets, "and more": w.packets,
		"edit":      w.edit,
		"recompile": w.recompile,
		"roll back": func(t *rapid.T) { w.apply(t, rapid.SampledFrom(w.applied).Draw(t, "matcher")) },
		"sleep": func(t *rapid.T) {
			w.clock += time.Duration(rapid.SampledFrom([]int{1, 9, 30, 61, 120}).Draw(t, "seconds")) * time.Second
			w.oracle.now = w.clock
		},
		"sweep": func(t *rapid.T) {
			for _, e := range w.engines {
				e.Sweep(10000)
			}
		},
		"": w.check,
	})
}

func TestWalk(t *testing.T) { rapid.Check(t, walks) }

func FuzzWalk(f *testing.F) { f.Fuzz(rapid.MakeFuzz(walks)) }
