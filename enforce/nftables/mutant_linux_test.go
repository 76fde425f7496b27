package nftables

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

var (
	mutants    = flag.Bool("mutants", false, "run TestMutants, which takes many minutes")
	mutantsPer = flag.Int("mutants.per", 1, "mutants of each kind of statement that must be caught; 0: every statement is tried")
	mutantList = flag.Bool("mutants.list", false, "list the mutants that are not caught")
)

// battery is a history of a policy, with packets for each of its phases and what
// the ruleset does with them, which is what the reference says.
type battery struct {
	w      *world
	phases []phase
}

type phase struct {
	rules   *ruleset
	steps   []netlabtest.Step
	results []string // what becomes of them
}

// perLook is how many packets are sent before their results are looked at.
const perLook = 800

// run loads rules and sends the packets of a phase, as long as their results are
// those wanted, if any are. A result names every packet that arrived and every
// answer of the host.
func (b *battery) run(p *phase, rules *ruleset, want []string) (results []string, loaded bool) {
	t := b.w.t
	var text bytes.Buffer
	out := newWriter(&text)
	out.printf("table inet %s\ndelete table inet %s\n", rules.table, rules.table)
	rules.block(out)
	require.NoError(t, out.flush())
	if b.w.lab.Ruleset(t.Context(), text.String()) != nil {
		return nil, false
	}
	for part := range slices.Chunk(p.steps, perLook) {
		report, err := b.w.lab.Exchange(part)
		require.NoError(t, err)
		var r strings.Builder
		for i, ok := range report.Arrived {
			if ok {
				fmt.Fprintf(&r, "%d ", i)
			}
		}
		for _, o := range report.Outputs {
			if o.Forwarded < 0 {
				fmt.Fprintf(&r, "%d:%s:%d:%d ", o.Step, o.Device, len(o.Packet), o.Packet[0]>>4)
			}
		}
		results = append(results, r.String())
		if n := len(results); want != nil && results[n-1] != want[n-1] {
			return results, true
		}
	}
	return append(results, b.w.hostTalk(), fmt.Sprint(b.w.counters())), true
}

// newBattery goes through a history of a policy and records what becomes of its
// packets.
func newBattery(t *testing.T, w *world, established sg.Established) *battery {
	b := &battery{w: w}
	var c compile.Compiler
	require.NoError(t, w.lab.FlushConntrack())
	r := newReference(false)
	var flows []*scenario
	for k, changes := range [][]policy.Change{rich(exempt, allRules), rich(nil, noSpare), rich(nil, halfOfThem), rich(nil, allRules), rich(nil, noSpare)} {
		var m *compile.Matcher
		var err error
		if k == 0 {
			m, err = c.Reset(build(t, richProfile(established), changes...))
		} else {
			m, err = c.Apply(policy.Batch{Changes: changes})
		}
		require.NoError(t, err)
		require.NoError(t, r.apply(m))
		if k == 0 {
			flows = scenarios(m.Program())
		}
		w.queue = nil
		for _, f := range flows {
			f.play(k, func(h hop, pkt []byte) bool {
				j := r.judge(h, pkt)
				w.expect(h, pkt, j)
				return j.pass
			})
		}
		l, err := newLayout(m.Program(), w.options, nil)
		require.NoError(t, err)
		p := phase{rules: l.ruleset()}
		for _, q := range w.queue {
			p.steps = append(p.steps, w.step(q))
		}
		p.steps = append(p.steps, strays()...)
		var loaded bool
		p.results, loaded = b.run(&p, p.rules, nil)
		require.True(t, loaded)
		arrived := map[[2]int]bool{}
		for i, r := range p.results {
			for _, f := range strings.Fields(r) {
				if n, err := strconv.Atoi(f); err == nil {
					arrived[[2]int{i, n}] = true
				}
			}
		}
		n := 0
		for i, q := range w.queue {
			if got := arrived[[2]int{i / perLook, i % perLook}]; got != q.want.pass && !(q.want.strange || q.want.unlisted || q.want.outlives) {
				t.Fatalf("established %v, phase %d: %s: arrived is %v; %s", established, k, describe(q.hop, q.pkt), got, q.want.why)
			}
			if q.want.pass {
				n++
			}
		}
		t.Logf("established %v, phase %d: %d packets, %d of them pass", established, k, len(p.steps), n)
		b.phases = append(b.phases, p)
	}
	w.queue = nil
	return b
}

// scenario is a flow and what happens to it, first of all after a change of
// policy: a packet of its opener (0), an answer (1), an error about either (2,
// 3), or no answer ever (4).
type scenario struct {
	way
	first int
}

// play sends the packets of a phase.
func (f *scenario) play(phase int, send func(hop, []byte) bool) {
	forth := func(flags uint8) bool { return send(f.hop, f.forth(flags)) }
	back := func(flags uint8) bool { return send(f.back(), f.answer(flags)) }
	about := func(pkt []byte, h hop, src, dst netip.Addr) {
		send(hop{h.vpc, h.to, h.from}, enforcetest.Unreachable(src, dst, pkt))
	}
	errorForth := func() { about(f.forth(ack), f.hop, f.Server.Addr(), f.Client.Addr()) }
	errorBack := func() { about(f.answer(ack), f.back(), f.Client.Addr(), f.Server.Addr()) }
	if phase == 0 {
		if f.first == 1 { // an answer to nothing
			back(ack)
			errorForth()
		}
		forth(syn)
		if f.first == 4 {
			errorBack()
			return
		}
		back(synAck)
		forth(ack)
	}
	switch f.first {
	case 0:
		forth(ack)
	case 1:
		back(ack)
	case 2:
		errorForth()
	case 3:
		errorBack()
	case 4:
		errorBack()
		forth(syn)
		return
	}
	back(ack)
	forth(ack)
	errorForth()
	errorBack()
	if f.from != "" && f.vpc == "red" { // errors of somebody else
		other := sg.InterfaceID("red-2")
		if f.from == other || f.to == other {
			other = "red-1"
		}
		src := addressIn(siteOf(other).addrs, sg.FamilyOf(f.Client.Addr()))
		send(hop{f.vpc, other, f.to}, enforcetest.Unreachable(src, f.Server.Addr(), f.answer(ack)))
		send(hop{f.vpc, other, f.from}, enforcetest.Unreachable(src, f.Client.Addr(), f.forth(ack)))
	}
	if phase > 0 && f.first < 2 {
		forth(syn)
		back(ack)
		forth(ack)
	}
}

func allRules(int, sg.Rule) bool       { return true }
func noSpare(_ int, r sg.Rule) bool    { return !strings.HasPrefix(string(r.ID), "spare") }
func halfOfThem(n int, r sg.Rule) bool { return n%2 == 0 && noSpare(n, r) }

func richProfile(e sg.Established) sg.Profile {
	rule := func(name string, a sg.Action, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.PlatformRule {
		return sg.PlatformRule{Name: name, Action: a, Rule: ruleOf(sg.RuleID(name), d, p, port, peer)}
	}
	p := sg.Profile{Name: "rich", AllowStateless: true, Established: e, EmptyDirection: sg.Accept}
	for _, d := range directions() {
		p.Platform = append(p.Platform,
			rule("no smtp "+d.String(), sg.Drop, d, sg.TCP, 25, "any"),
			rule("mdns "+d.String(), sg.Accept, d, sg.UDP, 5353, "any"),
			rule("no part "+d.String(), sg.Drop, d, sg.UDP, 2004, "192.0.2.128/25"),
			rule("no part6 "+d.String(), sg.Drop, d, sg.UDP, 2005, "2001:db8:a:0:8000::/65"))
		p.BeyondAny = append(p.BeyondAny, rule("beyond "+d.String(), sg.Drop, d, sg.TCP, 80, "198.51.100.0/28"))
	}
	return p
}

func ruleOf(id sg.RuleID, d sg.Direction, p sg.Protocol, port uint16, peer string) sg.Rule {
	r := sg.Rule{ID: id, Direction: d, Protocol: p}
	if err := r.Peer.UnmarshalText([]byte(peer)); err != nil {
		panic(err)
	}
	if p.HasPorts() {
		r.Ports = sg.Port(port)
	}
	return r
}

// exempt lifts the platform's rules.
func exempt(i *sg.Interface) {
	for _, d := range directions() {
		i.Exempt = append(i.Exempt, "no smtp "+d.String(), "no part "+d.String(), "no part6 "+d.String())
	}
}

// rich is a policy with something of everything, and nothing twice: no rule
// allows what another one does. keep says which rules of each group are there.
func rich(edit func(*sg.Interface), keep func(n int, r sg.Rule) bool) (out []policy.Change) {
	set := func(id sg.SetID, f sg.Family, list ...string) {
		s := ipset.New(id, f, sg.Global())
		for _, p := range prefixes(list...) {
			if err := s.Add(ipset.Entry{Prefix: p}); err != nil {
				panic(err)
			}
		}
		out = append(out, policy.PutSet{Set: s})
	}
	set("s4", sg.IPv4, "192.0.2.240/29", "192.0.2.250")
	set("s6", sg.IPv6, "2001:db8:b:1::/64", "2001:db8:b::9")
	group := func(vpc sg.VPCID, id sg.GroupID, stateless bool, rules func(d sg.Direction, add func(sg.Protocol, uint16, string)), dirs ...sg.Direction) {
		g := &sg.Group{ID: id, Name: string(id), VPC: vpc, Stateless: stateless}
		n := 0
		for _, d := range dirs {
			rules(d, func(p sg.Protocol, port uint16, peer string) {
				r := ruleOf(sg.RuleID(fmt.Sprint(d, n)), d, p, port, peer)
				if port == 9999 {
					r.ID = sg.RuleID("spare " + d.String())
				}
				if n++; keep(n, r) {
					g.Rules = append(g.Rules, r)
				}
			})
		}
		out = append(out, policy.PutGroup{Group: g})
	}
	group("red", "many", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		for _, p := range []sg.Protocol{sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6, 47} {
			add(p, 80, "any")
			if p == sg.TCP {
				for port := range uint16(5) {
					add(p, 1000+2*port, "any")
				}
			}
		}
		for i, peer := range []string{"group:peers", "set:s4", "set:s6", "192.0.2.0/24", "2001:db8:a::/64"} {
			add(sg.UDP, 2001+uint16(i), peer)
		}
		add(sg.TCP, 25, "any")
		add(sg.TCP, 80, "198.51.100.0/29")
		add(sg.UDP, 2201, "any")
		if d == sg.Egress { // what lets an answer out that is no answer any more
			add(sg.AnyProtocol, 0, "203.0.113.128/28")
		} else {
			add(sg.AnyProtocol, 0, "203.0.113.144/28")
		}
	}, directions()...)
	group("red", "nets", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		for _, list := range [][]string{{"192.0.2.0/24", "192.0.2.64/26", "198.51.100.32/27", "100.64.0.0/16", "100.64.8.0/24"}, {"2001:db8:a::/48", "2001:db8:a:1::/64", "2001:db8:b::/64", "fd00:a::/64", "fd00:a::8/125"}} {
			add(sg.TCP, 4000, list[0])
			add(sg.UDP, 4000, list[0])
			add(sg.UDP, 4001, list[1])
			add(sg.AnyProtocol, 0, list[2])
			add(sg.TCP, 4002, list[3])
			add(sg.TCP, 4003, list[4])
		}
	}, directions()...)
	group("red", "plain", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 80, "any")
		add(sg.TCP, 80, "any")
		add(sg.TCP, 9999, "any")
	}, directions()...)
	group("red", "less", true, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 3001, "any")
		add(sg.TCP, 3001, "any")
		add(sg.AnyProtocol, 0, "100.64.0.0/17")
		add(sg.AnyProtocol, 0, "2001:db8:a::/64")
	}, directions()...)
	group("red", "full", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 3003, "100.64.1.0/24")
		add(sg.TCP, 3003, "100.64.1.0/24")
		add(sg.UDP, 3003, "2001:db8:a::/80")
		add(sg.UDP, 3002, "any")
		add(sg.TCP, 3002, "any")
	}, directions()...)
	group("blue", "in", false, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.UDP, 80, "any")
		add(sg.TCP, 80, "any")
	}, sg.Ingress)
	group("gray", "gray", true, func(d sg.Direction, add func(sg.Protocol, uint16, string)) {
		add(sg.TCP, 80, "any")
		add(sg.UDP, 80, "any")
	}, directions()...)
	group("red", "peers", false, func(sg.Direction, func(sg.Protocol, uint16, string)) {}, directions()...)
	out = append(out,
		attach("red-1", edit, "many"), attach("red-2", guarded("198.18.2.0/29", "2001:db8:1:2::/65"), "plain", "nets"), attach("red-3", nil, "less", "full"),
		attach("blue-1", nil, "in"), attach("gray-1", guarded(), "gray"),
		policy.PutInterface{Interface: &sg.Interface{ID: "far", VPC: "red", Addrs: prefixes("198.51.100.64/30", "198.51.100.77", "2001:db8:b:2::/64", "2001:db8:b:3::9"), Groups: []sg.GroupID{"peers"}}})
	return out
}

// scenarios are flows for every rule: what it allows, and what is next to it.
func scenarios(p *ir.Program) (out []*scenario) {
	n := uint16(0)
	add := func(s site, d sg.Direction, proto sg.Protocol, port uint16, remote netip.Addr, copies int) {
		for first := range copies {
			n++
			local := addressIn(s.addrs, sg.FamilyOf(remote))
			if first == 3 && len(s.behind) > 0 {
				local = addressIn(s.behind, sg.FamilyOf(remote)).Next()
			}
			if !proto.HasPorts() && !proto.HasICMP() { // told apart by the addresses alone
				for range n % 16 {
					remote = remote.Next()
				}
			}
			f := &scenario{first: first, way: way{hop: hop{s.vpc, towards(s.vpc, remote), s.id}, proto: proto, Conn: enforcetest.Conn{Client: netip.AddrPortFrom(remote, 20_000+n), Server: netip.AddrPortFrom(local, port), ISN: 1000}}}
			if d == sg.Egress {
				f.from, f.to = f.to, f.from
				f.Client, f.Server = netip.AddrPortFrom(local, 20_000+n), netip.AddrPortFrom(remote, port)
			}
			out = append(out, f)
		}
	}
	for _, s := range sites() {
		i, _ := p.Interface(s.id)
		pol, _ := p.Policy(i.Policy)
		for _, d := range directions() {
			for _, num := range pol.Chain(d).Rules {
				r, _ := p.Rule(num)
				protos := []sg.Protocol{r.Protocol}
				if r.Protocol == sg.AnyProtocol {
					protos = []sg.Protocol{sg.TCP, sg.UDP, 253}
				}
				remotes := []netip.Addr{map[sg.Family]netip.Addr{sg.IPv4: ip("198.51.100.200"), sg.IPv6: ip("2001:db8:c::200")}[r.Family]}
				if r.Peer != ir.Any {
					remotes = nil
					for m := range p.Members(r.Peer, r.Family) {
						remotes = append(remotes, m.Addr())
						if last := lastAddr(m); last != m.Addr() {
							remotes = append(remotes, last)
						}
					}
				}
				for _, proto := range protos {
					port := max(r.Ports.First, 1)
					if r.Protocol == sg.AnyProtocol {
						port = 4999
					}
					for k, remote := range remotes {
						copies := 5
						if k > 0 || s.id == "red-1" && 1000 < port && port < 2000 {
							copies = 1
						}
						add(s, d, proto, port, remote, copies)
						if k == 0 {
							add(s, d, proto, port+1, remote, 1)
						} else {
							add(s, d, proto, port, remote.Next(), 1)
						}
					}
				}
			}
			for _, f := range []sg.Family{sg.IPv4, sg.IPv6} { // to other interfaces, and what no rule allows
				for _, other := range sites()[:3] {
					if other.id != s.id && other.vpc == s.vpc {
						add(s, d, sg.TCP, 80, addressIn(other.addrs, f), 5)
						add(s, d, sg.UDP, 80, addressIn(other.addrs, f), 5)
						add(s, d, sg.UDP, 3001, addressIn(other.addrs, f), 1)
					}
				}
				far := map[sg.Family]netip.Addr{sg.IPv4: ip("198.51.100.7"), sg.IPv6: ip("2001:db8:c::7")}[f]
				for _, proto := range []sg.Protocol{sg.TCP, sg.UDP, 50} {
					add(s, d, proto, 80, far, 5)
				}
			}
		}
	}
	return out
}

// strays are packets of which only the answers and the counters matter, or that
// no connection should come of.
func strays() (out []netlabtest.Step) {
	send := func(from, to string, pkt []byte) {
		out = append(out, netlabtest.Step{From: from, To: to, Packet: pkt})
	}
	at := netip.AddrPortFrom
	for i, stray := range strayAddrs() {
		far, host := prefixes("198.51.100.200", "2001:db8:c::200")[i].Addr(), hostAddrs()[i].Addr()
		// A device that belongs to nobody.
		send(strayDevice, "up0", enforcetest.IP(stray.Addr(), far, 253, []byte("stray")))
		send("up0", strayDevice, enforcetest.IP(far, stray.Addr(), 253, []byte("stray")))
		var addrs []netip.Addr
		for _, s := range sites()[:3] {
			addrs = append(addrs, s.addrs[i].Addr())
		}
		for n, own := range addrs {
			dev := fmt.Sprintf("sg%d", n)
			// To the host, and with a hop limit that ends there.
			send(dev, "", enforcetest.Echo(own, host, false, 77))
			for _, port := range []uint16{80, 443, 1} {
				send(dev, "", enforcetest.TCP(at(own, 777), at(host, port), syn, 1, 0))
				p := enforcetest.UDP(at(own, 778), at(far, port), 1)
				expire(p)
				send(dev, "", p)
			}
			// From addresses of others, of nobody, and of every interface.
			for k, src := range []netip.Addr{addrs[(n+1)%3], addrs[(n+2)%3], far.Next(), prefixes("203.0.113.200", "fd00:b::200")[i].Addr(),
				prefixes("198.18.2.1", "2001:db8:1:2::1")[i].Addr(), prefixes("198.18.2.9", "2001:db8:1:2:8000::1")[i].Addr(),
				prefixes("0.0.0.0", "::")[i].Addr(), prefixes("0.0.0.0", "fe80::5")[i].Addr()} {
				port := uint16(900 + 10*k + n)
				up := func(pkt []byte) { send(dev, "up0", pkt) }
				for _, to := range []uint16{80, 3001, 3002, 4000} {
					up(enforcetest.UDP(at(src, port), at(far, to), 1))
					send("up0", fmt.Sprintf("sg%d", (n+1)%3), enforcetest.UDP(at(far, to), at(src, port), 1))
					send("up0", fmt.Sprintf("sg%d", (n+2)%3), enforcetest.UDP(at(far, to), at(src, port), 2))
					up(enforcetest.UDP(at(src, port), at(far, to), 3))
				}
				up(enforcetest.TCP(at(src, port), at(far, 80), syn, 1, 0))
				up(enforcetest.TCP(at(src, port+1000), at(far, 80), ack, 1, 1))
				up(enforcetest.TCP(at(src, port+2000), at(far, 3001), ack, 1, 1))
				up(enforcetest.Echo(src, far, true, port))
				up(enforcetest.Unreachable(src, far, enforcetest.UDP(at(far, 80), at(src, port), 2)))
				// To addresses behind, from outside and from its own.
				send("up0", dev, enforcetest.UDP(at(far, port), at(src, 80), 1))
				send("up0", dev, enforcetest.UDP(at(own, port), at(src, 80), 1))
			}
		}
		// The same connection in two VPCs.
		one := addrs[0]
		for k, dev := range []string{"sg3", "sg0"} {
			up, other := []string{"up1", "up0"}[k], []string{"up0", "up1"}[k]
			otherDev := []string{"sg0", "sg3"}[k]
			c := connBetween(far, one, 80)
			c.Client = at(far, uint16(600+k))
			send(up, dev, c.FromClient(syn))
			send(dev, up, c.FromServer(synAck))
			send(otherDev, other, c.FromServer(ack))
			send(other, otherDev, c.FromClient(ack))
			send(up, dev, c.FromClient(ack))
		}
		// Flags that nobody sends, where no state is asked for.
		for _, flags := range []uint8{0, syn | packet.FIN, 0x3f} {
			send("up0", "sg2", enforcetest.TCP(at(far, 650+uint16(flags)), at(addrs[2], 3001), flags, 1, 1))
			send("sg2", "up0", enforcetest.TCP(at(addrs[2], 650+uint16(flags)), at(far, 3001), flags, 1, 1))
		}
	}
	return out
}

// hostTalk has the host itself send, and says what it may: to ports of
// interfaces, to a device that belongs to nobody, to groups, and as the answer
// to what interfaces sent it before.
func (w *world) hostTalk() string {
	var r strings.Builder
	note := func(what any, err error) {
		if err == nil {
			fmt.Fprintf(&r, "%v ", what)
		}
	}
	for _, s := range sites()[:3] {
		for _, a := range s.addrs {
			for _, port := range []uint16{80, 81, 3001} {
				to := netip.AddrPortFrom(a.Addr(), port)
				note(to, w.sendUDP(to, ""))
			}
		}
	}
	for _, a := range strayAddrs() {
		to := netip.AddrPortFrom(a.Addr(), 80)
		note(to, w.sendUDP(to, ""))
	}
	to := netip.MustParseAddrPort("224.0.0.9:80")
	note(to, w.sendUDP(to, "sg1"))
	return r.String()
}

// expire sets a packet's hop limit to one.
func expire(p []byte) {
	if p[0]>>4 == 6 {
		p[7] = 1
		return
	}
	p[8] = 1
	enforcetest.Stamp(p, 1) // mends the checksum
}

// mutation is a change of rulesets: of a statement of a chain, or of an element
// of a set.
type mutation struct {
	kind   string // "delete", "accept", "refuse", "unhook"
	object string // chain or set
	text   string // statement or element
}

func (m mutation) String() string { return fmt.Sprintf("%s %s: %s", m.kind, m.object, m.text) }

// details are what statements of one kind differ in.
var details = strings.NewReplacer("icmpv6", "icmp", "ip6", "ip", "ipv6", "ipv4", "_v6", "_v4", "tcp dport", "port", "udp dport", "port", "l4proto tcp", "l4proto P", "l4proto udp", "l4proto P")

var numbersOf = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(` comment "[^"]*"`), ""},
	{regexp.MustCompile(`\{[^}]*\}`), "{}"},
	{regexp.MustCompile(`_v[46]_c\d+`), "_class"},
	{regexp.MustCompile(`@set\d+_v\d+_\d+`), "@set"},
	{regexp.MustCompile(`@ports_\w+`), "N"},
	{regexp.MustCompile(`\b(ip6?) ([sd]addr) & [0-9a-f.:]+`), "$1 $2 & MASK"},
	{regexp.MustCompile(`\b(ip6?) ([sd]addr) [0-9a-f]+[.:][0-9a-f.:/-]*`), "$1 $2 ADDR"},
	{regexp.MustCompile(`(dport|l4proto|protocol|proto-dst) \d+(-\d+)?`), "$1 N"},
	{regexp.MustCompile(`rule\d+`), "ruleN"},
	{regexp.MustCompile(`\bp\d+_`), "pN_"},
	{regexp.MustCompile(`zone set \d+`), "zone set N"},
	{regexp.MustCompile(`\bvpc\d+`), "vpcN"},
	{regexp.MustCompile(`^set\d+_v\d+_\d+`), "setN"},
	{regexp.MustCompile(`^ports_\w+`), "ports"},
	{regexp.MustCompile(`& 0x(0000ffff|ffff0000) \| 0x[0-9a-f]+`), "& 0x$1 | EPOCH"},
	{regexp.MustCompile(`"sg\d+"`), "DEV"},
}

// template is what kind of statement a mutation concerns: statements of one
// template differ in numbers and names only.
func (m mutation) template() string {
	text, object := m.text, m.object
	if strings.Contains(object, "own") || !strings.Contains(text, " ") {
		text = regexp.MustCompile(`\d[0-9a-f.:/]*$`).ReplaceAllString(text, "ADDR")
	}
	for _, n := range numbersOf {
		text, object = n.re.ReplaceAllString(text, n.to), n.re.ReplaceAllString(object, n.to)
	}
	text, object = details.Replace(text), details.Replace(object)
	if strings.HasPrefix(object, "setN") || object == "ports" || strings.HasPrefix(object, "ends") || strings.HasPrefix(object, "home") || strings.HasPrefix(object, "own") {
		text = "ELEMENT"
	}
	return m.kind + " " + object + ": " + text
}

var end = regexp.MustCompile(`(goto \w+|jump \w+|accept|drop|return|reject with .*)$`)

// mutations are those of a ruleset.
func mutations(r *ruleset) (out []mutation) {
	for _, c := range r.chains {
		if c.hook != "" {
			out = append(out, mutation{"unhook", c.name, c.hook})
		}
		for _, rule := range c.rules {
			out = append(out, mutation{"delete", c.name, rule})
			if strings.HasPrefix(rule, "ct zone set ") {
				out = append(out, mutation{"share", c.name, rule})
			}
			bare, _, _ := strings.Cut(rule, " comment ")
			switch e := end.FindString(bare); {
			case e == "drop", e == "goto discard", e == "goto refuse", strings.HasPrefix(e, "reject"), strings.HasSuffix(e, "_stateless"), strings.HasSuffix(e, "_no"):
				out = append(out, mutation{"accept", c.name, rule})
			case e == "accept", strings.HasPrefix(e, "goto "):
				out = append(out, mutation{"refuse", c.name, rule})
			}
		}
	}
	for _, s := range r.sets {
		for e := range s.elements {
			out = append(out, mutation{"delete", s.name, e})
		}
	}
	return out
}

// apply returns the ruleset with the mutation, and whether it has the statement.
func (m mutation) apply(r *ruleset) (*ruleset, bool) {
	next := *r
	for i, c := range r.chains {
		if c.name != m.object {
			continue
		}
		if m.kind == "unhook" {
			next.chains = slices.Clone(r.chains)
			next.chains[i].hook = ""
			return &next, true
		}
		at := slices.Index(c.rules, m.text)
		if at < 0 {
			return r, false
		}
		next.chains = slices.Clone(r.chains)
		rules := slices.Clone(c.rules)
		bare, _, _ := strings.Cut(m.text, " comment ")
		switch m.kind {
		case "delete":
			rules = slices.Delete(rules, at, at+1)
		case "accept":
			rules[at] = end.ReplaceAllString(bare, "accept")
		case "share":
			rules[at] = "ct zone set 77"
			for j := range next.chains { // all of them
				if strings.HasPrefix(next.chains[j].name, "vpc") {
					next.chains[j].rules = rules
				}
			}
		case "refuse":
			rules[at] = end.ReplaceAllString(bare, "goto refuse")
		}
		next.chains[i].rules = rules
		return &next, true
	}
	for i, s := range r.sets {
		if s.name != m.object {
			continue
		}
		elements := slices.Collect(s.elements)
		at := slices.Index(elements, m.text)
		if at < 0 {
			return r, false
		}
		next.sets = slices.Clone(r.sets)
		next.sets[i].elements = slices.Values(slices.Delete(elements, at, at+1))
		return &next, true
	}
	return r, false
}

// outcome of a mutant.
type outcome uint8

const (
	caught outcome = iota
	missed
	unreadable // nft or the kernel refuses it
)

// try runs a mutant through the history until a packet fares differently.
func (b *battery) try(m mutation) outcome {
	require.NoError(b.w.t, b.w.lab.FlushConntrack())
	for i := range b.phases {
		p := &b.phases[i]
		rules, _ := m.apply(p.rules)
		got, loaded := b.run(p, rules, p.results)
		switch {
		case !loaded:
			return unreadable
		case !slices.Equal(got, p.results):
			return caught
		}
	}
	return missed
}

var policyOf = regexp.MustCompile(`^p\d+_`)

// inOrderOfInterest puts chains of policies with many rules first.
func inOrderOfInterest(r *ruleset) []mutation {
	list := mutations(r)
	size := map[string]int{}
	for _, m := range list {
		size[policyOf.FindString(m.object)]++
	}
	slices.SortStableFunc(list, func(a, b mutation) int {
		return size[policyOf.FindString(b.object)] - size[policyOf.FindString(a.object)]
	})
	return list
}

// TestMutants: a ruleset that lacks a statement, or whose statement says the
// opposite, is told from the right one by the packets of the tests.
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("takes many minutes: run it with -args -mutants")
	}
	netlabtest.Require(t)
	w := newWorld(t, Options{Reject: true})
	byTemplate := map[string]outcome{}
	examples := map[string]mutation{}
	seen := map[string]bool{}
	counts := map[outcome]int{}
	tried := map[string]int{}
	for n, e := range []sg.Established{sg.Revalidate, sg.Keep} {
		b := newBattery(t, w, e)
		// The history again, as it is: the result must be the same.
		began := time.Now()
		require.Equal(t, missed, b.try(mutation{"delete", "nothing", ""}), "history %d is not repeatable", n)
		t.Log("history", n, time.Since(began), len(mutations(b.phases[0].rules)))
		for _, p := range b.phases {
			for _, m := range inOrderOfInterest(p.rules) {
				k := m.template()
				if seen[fmt.Sprint(n, m)] {
					continue
				}
				seen[fmt.Sprint(n, m)] = true
				if _, known := byTemplate[k]; *mutantsPer > 0 && known && byTemplate[k] != missed {
					continue
				}
				of := m.object
				if at := policyOf.FindString(m.object); at != "" {
					of = at
				}
				if *mutantsPer > 0 && tried[fmt.Sprint(n, k, of)] >= *mutantsPer {
					continue
				}
				tried[fmt.Sprint(n, k, of)]++
				o := b.try(m)
				counts[o]++
				if old, known := byTemplate[k]; !known || old == missed {
					byTemplate[k] = o
					examples[k] = m
				}
				if o == missed && *mutantList {
					t.Logf("history %d: not caught: %v", n, m)
				}
			}
		}
	}
	templates := map[outcome]int{}
	var holes []string
	for k, o := range byTemplate {
		templates[o]++
		if o == missed {
			holes = append(holes, k+"   e.g. "+examples[k].text)
		}
	}
	slices.Sort(holes)
	t.Logf("%d mutants caught, %d not, %d that nft refuses; of %d templates: %d caught, %d not, %d refused", counts[caught], counts[missed], counts[unreadable],
		len(byTemplate), templates[caught], templates[missed], templates[unreadable])
	require.Empty(t, holes, "%d:\n%s", len(holes), strings.Join(holes, "\n"))
}
