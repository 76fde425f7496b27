package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// open is a rule for one port of TCP and UDP, any peer.
func open(d sg.Direction, port uint16) []sg.Rule {
	rule := func(p sg.Protocol) sg.Rule {
		return sg.Rule{ID: sg.RuleID(fmt.Sprint(p, d, port)), Direction: d, Protocol: p, Ports: sg.Port(port), Peer: sg.PeerAny()}
	}
	return []sg.Rule{rule(sg.TCP), rule(sg.UDP)}
}

func groupOf(vpc sg.VPCID, id sg.GroupID, rules ...[]sg.Rule) policy.PutGroup {
	return policy.PutGroup{Group: &sg.Group{ID: id, Name: string(id), VPC: vpc, Rules: slices.Concat(rules...)}}
}

// attach puts a site's interface.
func attach(id sg.InterfaceID, edit func(*sg.Interface), groups ...sg.GroupID) policy.PutInterface {
	s := siteOf(id)
	i := &sg.Interface{ID: id, VPC: s.vpc, Addrs: s.addrs, Groups: groups}
	if edit != nil {
		edit(i)
	}
	return policy.PutInterface{Interface: i}
}

func guarded(allow ...string) func(*sg.Interface) {
	return func(i *sg.Interface) { i.SourceGuard, i.Allowed = true, prefixes(allow...) }
}

// try sends one packet.
func (w *world) try(h hop, pkt []byte) bool {
	w.t.Helper()
	got, err := w.lab.Send([]netlabtest.Step{w.step(queued{hop: h, pkt: pkt})})
	require.NoError(w.t, err)
	return got[0]
}

// handshake sends the segments of a connection's beginning and one more each
// way, and says which arrived.
func (w *world) handshake(h hop, c enforcetest.Conn) []bool {
	back := hop{h.vpc, h.to, h.from}
	return []bool{w.try(h, c.FromClient(syn)), w.try(back, c.FromServer(synAck)), w.try(h, c.FromClient(ack)), w.try(back, c.FromServer(ack)), w.try(h, c.FromClient(ack))}
}

func all(n int) []bool { return slices.Repeat([]bool{true}, n) }

func connBetween(a, b netip.Addr, port uint16) enforcetest.Conn {
	return enforcetest.Conn{Client: netip.AddrPortFrom(a, 50_000+port), Server: netip.AddrPortFrom(b, port), ISN: 1000}
}

// both runs a test in either family, with the addresses of red-1 and red-2, and
// one outside.
func bothFamilies(t *testing.T, run func(t *testing.T, one, two, far netip.Addr)) {
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		t.Run(fmt.Sprintf("IPv%d", f), func(t *testing.T) {
			far := map[sg.Family]netip.Addr{sg.IPv4: ip("203.0.113.5"), sg.IPv6: ip("2001:db8:a::5")}[f]
			run(t, addressIn(siteOf("red-1").addrs, f), addressIn(siteOf("red-2").addrs, f), far)
		})
	}
}

// edited is the text of a ruleset after edits, each of which must find its
// place.
func edited(t testing.TB, text string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		require.Contains(t, text, oldnew[i])
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// TestTrapZone: a reply between two interfaces of one VPC belongs to the
// connection. With a zone per interface, which the mutant has, it would not:
// the kernel tracks a packet once, and the reply enters by the other interface.
func TestTrapZone(t *testing.T) {
	netlabtest.Require(t)
	p := compiled(t, build(t, sg.Profile{Name: "trap"},
		groupOf("red", "client", open(sg.Egress, 80)), groupOf("red", "server", open(sg.Ingress, 80)),
		attach("red-1", nil, "client"), attach("red-2", nil, "server"))).Program()
	bothFamilies(t, func(t *testing.T, one, two, _ netip.Addr) {
		w := newWorld(t, Options{})
		text := render(t, p, w.options)
		require.NoError(t, w.lab.Ruleset(t.Context(), text))
		between := hop{"red", "red-1", "red-2"}
		require.Equal(t, all(5), w.handshake(between, connBetween(one, two, 80)))
		mutant := edited(t, text,
			`"sg0" : goto vpc0, "sg1" : goto vpc0`, `"sg0" : goto vpc0, "sg1" : goto vpc9`,
			"\tchain vpc0 {\n", "\tchain vpc9 {\n\t\tct zone set 99\n\t}\n\n\tchain vpc0 {\n")
		require.NoError(t, w.lab.Ruleset(t.Context(), mutant))
		require.NoError(t, w.lab.FlushConntrack())
		require.Equal(t, []bool{true, false, false, false, false}, w.handshake(between, connBetween(one, two, 80)), "the trap is there")
	})
}

// TestTrapChains: a packet between two interfaces passes egress of the one and
// ingress of the other. With both in one base chain, which the mutant has,
// accept of the first ends the chain, and everything gets in.
func TestTrapChains(t *testing.T) {
	netlabtest.Require(t)
	p := compiled(t, build(t, sg.Profile{Name: "trap"},
		groupOf("red", "client", open(sg.Egress, 80), open(sg.Egress, 81)), groupOf("red", "server", open(sg.Ingress, 80), open(sg.Ingress, 82)),
		attach("red-1", nil, "client"), attach("red-2", nil, "server"))).Program()
	bothFamilies(t, func(t *testing.T, one, two, _ netip.Addr) {
		w := newWorld(t, Options{})
		text := render(t, p, w.options)
		require.NoError(t, w.lab.Ruleset(t.Context(), text))
		between := hop{"red", "red-1", "red-2"}
		open := func(port uint16) bool { return w.try(between, connBetween(one, two, port).FromClient(syn)) }
		require.Equal(t, []bool{true, false, false, false}, []bool{open(80), open(81), open(82), open(83)})
		mutant := edited(t, text,
			"\t\ttype filter hook prerouting priority -150; policy accept;\n", "",
			"\t\toifname @guarded jump guard_to\n\t\toifname vmap @ingress_of\n", "\t\tiifname vmap @egress_of\n\t\toifname vmap @ingress_of\n")
		require.NoError(t, w.lab.Ruleset(t.Context(), mutant))
		require.NoError(t, w.lab.FlushConntrack())
		require.Equal(t, []bool{true, true, false, false}, []bool{open(80), open(81), open(82), open(83)}, "the trap is there")
	})
}

// TestStolenAddress: an interface without a source guard that takes another's
// address gets no further than its own rules let it: it does not ride on the
// other's connections, nor does it send errors about them in its own name.
func TestStolenAddress(t *testing.T) {
	netlabtest.Require(t)
	bothFamilies(t, func(t *testing.T, one, two, far netip.Addr) {
		w := newWorld(t, Options{})
		w.apply(compiled(t, build(t, sg.Profile{Name: "stolen"},
			groupOf("red", "open", open(sg.Egress, 80), open(sg.Ingress, 80)), groupOf("red", "none", open(sg.Egress, 9)),
			attach("red-1", nil, "open"), attach("red-2", nil, "none"), attach("red-3", nil, "open"))))
		out, in := hop{"red", "red-1", ""}, hop{"red", "", "red-1"}
		thief, local := hop{"red", "red-2", ""}, hop{"red", "red-2", "red-3"}
		three := addressIn(siteOf("red-3").addrs, sg.FamilyOf(one))

		tcp := connBetween(one, far, 80)
		require.Equal(t, all(5), w.handshake(out, tcp))
		require.False(t, w.try(thief, tcp.FromClient(ack)), "a segment of another's connection")
		require.False(t, w.try(thief, tcp.FromClient(syn)), "a SYN")
		served := connBetween(far, one, 80)
		require.Equal(t, all(5), w.handshake(in, served))
		require.False(t, w.try(thief, served.FromServer(ack)), "an answer on another's connection")
		require.True(t, w.try(out, served.FromServer(ack)), "the connection lives on")

		udp := connBetween(one, far, 80)
		require.True(t, w.try(out, enforcetest.UDP(udp.Client, udp.Server)))
		require.True(t, w.try(in, enforcetest.UDP(udp.Server, udp.Client)))
		require.False(t, w.try(thief, enforcetest.UDP(udp.Client, udp.Server)), "a datagram of another's exchange")
		require.True(t, w.try(in, enforcetest.UDP(udp.Server, udp.Client)), "the exchange goes on")

		require.True(t, w.try(in, enforcetest.Unreachable(far, one, tcp.FromClient(ack))), "an error from the other end")
		require.True(t, w.try(out, enforcetest.Unreachable(one, far, tcp.FromServer(ack))), "an error from this end")
		require.False(t, w.try(thief, enforcetest.Unreachable(two, far, tcp.FromServer(ack))), "an error about another's connection")
		require.False(t, w.try(thief, enforcetest.Unreachable(one, far, tcp.FromServer(ack))), "the same in the other's name")

		between := connBetween(three, one, 80)
		require.Equal(t, all(5), w.handshake(hop{"red", "red-3", "red-1"}, between))
		require.False(t, w.try(local, enforcetest.Unreachable(two, three, between.FromClient(ack))), "an error about a connection of two others")
		require.False(t, w.try(local, between.FromServer(ack)), "an answer on a connection of two others")

		// What its own rules allow from any address is no licence for what
		// comes back to the address's owner.
		own := connBetween(one, far, 9)
		require.True(t, w.try(thief, enforcetest.UDP(own.Client, own.Server)), "its own rules")
		require.False(t, w.try(in, enforcetest.UDP(own.Server, own.Client)), "the owner asked for nothing")
		require.True(t, w.try(thief, own.FromClient(syn)), "its own rules")
		require.False(t, w.try(in, own.FromServer(synAck)), "the owner asked for nothing")
	})
}

// TestSpoofedSegments: with a source guard, packets from another's address never
// reach connection tracking: they can not end what they do not own.
func TestSpoofedSegments(t *testing.T) {
	netlabtest.Require(t)
	bothFamilies(t, func(t *testing.T, one, two, far netip.Addr) {
		w := newWorld(t, Options{})
		w.apply(compiled(t, build(t, sg.Profile{Name: "spoofed"},
			groupOf("red", "open", open(sg.Egress, 80)), attach("red-1", nil, "open"), attach("red-2", guarded(), "open"))))
		out, thief := hop{"red", "red-1", ""}, hop{"red", "red-2", ""}
		c := connBetween(one, far, 80)
		require.Equal(t, all(5), w.handshake(out, c))
		require.False(t, w.try(thief, c.FromClient(rstAck)))
		require.True(t, w.try(hop{"red", "", "red-1"}, c.FromServer(ack)), "the connection lives on")
		require.True(t, w.try(out, c.FromClient(ack)))
		require.False(t, w.try(thief, enforcetest.UDP(netip.AddrPortFrom(one, 1), netip.AddrPortFrom(far, 80))))
		require.True(t, w.try(thief, enforcetest.UDP(netip.AddrPortFrom(two, 1), netip.AddrPortFrom(far, 80))))
		list, err := w.lab.Conntrack()
		if err == nil {
			require.Len(t, list, 2, "%q", list)
		}
	})
}

// TestRouterVM: what is routed through an interface without a source guard is
// tracked as its own; with one it takes Allowed.
func TestRouterVM(t *testing.T) {
	netlabtest.Require(t)
	bothFamilies(t, func(t *testing.T, one, two, far netip.Addr) {
		w := newWorld(t, Options{})
		behind := addressIn(siteOf("red-2").behind, sg.FamilyOf(one)).Next()
		group := groupOf("red", "router", open(sg.Egress, 80), open(sg.Ingress, 81))
		out, in, local := hop{"red", "red-2", ""}, hop{"red", "", "red-2"}, hop{"red", "red-1", "red-2"}
		for _, c := range []struct {
			name string
			edit func(*sg.Interface)
			pass bool
		}{
			{"unguarded", nil, true},
			{"guarded", guarded(), false},
			{"guarded, and allowed", guarded("198.18.2.0/28", "2001:db8:1:2::/64"), true},
		} {
			w.apply(compiled(t, build(t, sg.Profile{Name: "router"}, group, groupOf("red", "client", open(sg.Egress, 81)), attach("red-2", c.edit, "router"), attach("red-1", nil, "client"))))
			require.NoError(t, w.lab.FlushConntrack())
			want := slices.Repeat([]bool{c.pass}, 5)
			require.Equal(t, want, w.handshake(out, connBetween(behind, far, 80)), "%s: out", c.name)
			require.Equal(t, want, w.handshake(in, connBetween(far, behind, 81)), "%s: in", c.name)
			between := w.handshake(local, connBetween(one, behind, 81))
			require.Equal(t, want, between, "%s: from another interface", c.name)
			require.False(t, w.try(in, connBetween(far, behind, 80).FromClient(syn)), c.name)
			require.False(t, w.try(out, connBetween(behind, far, 81).FromClient(syn)), c.name)
			require.Equal(t, all(5), w.handshake(out, connBetween(two, far, 80)), "%s: its own address", c.name)
		}
	})
}

// TestGuardExceptions: DHCP and neighbour discovery pass the guard, if the rules
// let them.
func TestGuardExceptions(t *testing.T) {
	netlabtest.Require(t)
	w := newWorld(t, Options{})
	any := groupOf("red", "any", []sg.Rule{{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}, {ID: "in", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}})
	w.apply(compiled(t, build(t, sg.Profile{Name: "guard"}, any, attach("red-1", guarded("198.18.1.0/28"), "any"))))
	out, in := hop{"red", "red-1", ""}, hop{"red", "", "red-1"}
	from := func(src, dst string) bool { return w.try(out, enforcetest.IP(ip(src), ip(dst), 253, []byte("guard"))) }
	to := func(src, dst string) bool { return w.try(in, enforcetest.IP(ip(src), ip(dst), 253, []byte("guard"))) }
	require.True(t, from("198.18.0.10", "203.0.113.5"))
	require.True(t, from("198.18.1.7", "203.0.113.5"), "allowed beside")
	require.False(t, from("198.18.1.16", "203.0.113.5"), "not any more")
	require.False(t, from("198.18.0.11", "203.0.113.5"), "another's")
	require.True(t, from("2001:db8:1::10", "2001:db8:a::5"))
	require.False(t, from("2001:db8:1:1::1", "2001:db8:a::5"))
	require.True(t, to("203.0.113.5", "198.18.0.10"))
	require.True(t, to("203.0.113.5", "198.18.1.7"))
	require.False(t, to("198.18.0.10", "198.18.1.7"), "from its own address")
	require.True(t, to("198.18.1.6", "198.18.1.7"), "an address that is only allowed may be elsewhere")
	require.False(t, to("2001:db8:a::5", "2001:db8:1:1::1"), "not its own")
	require.False(t, to("2001:db8:1::10", "2001:db8:1::10"))
}

// TestProtect: a device that no interface has passes nothing in any direction,
// by its name or the beginning of it; others are left alone.
func TestProtect(t *testing.T) {
	netlabtest.Require(t)
	for _, c := range []struct {
		protect []string
		pass    bool
	}{{nil, true}, {[]string{"sg*"}, false}, {[]string{strayDevice}, false}, {[]string{"sg", "tap*"}, true}} {
		w := newWorld(t, Options{})
		w.options.Protect = c.protect
		any := groupOf("red", "any", []sg.Rule{{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}, {ID: "in", Direction: sg.Ingress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}})
		w.apply(compiled(t, build(t, sg.Profile{Name: "protect"}, any, attach("red-1", nil, "any"))))
		for i, stray := range strayAddrs() {
			far, one := prefixes("203.0.113.5", "2001:db8:a::5")[i].Addr(), siteOf("red-1").addrs[i].Addr()
			send := func(from, to string, src, dst netip.Addr) bool {
				got, err := w.lab.Send([]netlabtest.Step{{From: from, To: to, Packet: enforcetest.IP(src, dst, 253, []byte("protect"))}})
				require.NoError(t, err)
				return got[0]
			}
			require.Equal(t, c.pass, send(strayDevice, "up0", stray.Addr(), far), "%q: out", c.protect)
			require.Equal(t, c.pass, send("up0", strayDevice, far, stray.Addr()), "%q: in", c.protect)
			require.Equal(t, c.pass, send("sg0", strayDevice, one, stray.Addr()), "%q: from an interface", c.protect)
			require.True(t, send("sg0", "up0", one, far), "%q: the interface itself", c.protect)
		}
	}
}

// TestNoUplinks: with one VPC on a host, or addresses that are all different,
// zones are found by the route.
func TestNoUplinks(t *testing.T) {
	netlabtest.Require(t)
	lab := netlabtest.Start(t, netlabtest.Config{
		Ports:   []netlabtest.Port{{Device: "sg0", Addrs: siteOf("red-1").addrs}, {Device: "sg1", Addrs: siteOf("red-2").addrs}},
		Uplinks: []netlabtest.Uplink{{Device: "up0"}},
	})
	w := &world{t: t, lab: lab, options: Options{Device: deviceOfSite}}
	w.apply(compiled(t, build(t, sg.Profile{Name: "route"}, groupOf("red", "g", open(sg.Egress, 80), open(sg.Ingress, 81)), attach("red-1", nil, "g"), attach("red-2", nil, "g"))))
	bothFamilies(t, func(t *testing.T, one, two, far netip.Addr) {
		require.Equal(t, all(5), w.handshake(hop{"red", "red-1", ""}, connBetween(one, far, 80)))
		require.Equal(t, all(5), w.handshake(hop{"red", "", "red-1"}, connBetween(far, one, 81)))
		require.False(t, w.try(hop{"red", "red-1", "red-2"}, connBetween(one, two, 80).FromClient(syn)))
		c := connBetween(far, one, 81)
		require.True(t, w.try(hop{"red", "red-1", ""}, enforcetest.Unreachable(one, far, c.FromClient(ack))))
	})
	list, err := lab.Conntrack()
	if err == nil {
		for _, line := range list {
			require.Contains(t, line, "zone=1")
		}
	}
}

// TestICMPTypes: where the kernel's connection tracking does not know an ICMP
// type, it refuses what the engine leaves to the rules (ICMP-12), and there is
// no other difference.
func TestICMPTypes(t *testing.T) {
	netlabtest.Require(t)
	w := newWorld(t, Options{})
	anything := groupOf("red", "any", []sg.Rule{{ID: "out", Direction: sg.Egress, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()}})
	m := compiled(t, build(t, sg.Profile{Name: "icmp"}, anything, attach("red-1", nil, "any")))
	w.apply(m)
	r := newReference(false)
	require.NoError(t, r.apply(m))
	out := hop{"red", "red-1", ""}
	bothFamilies(t, func(t *testing.T, one, _, far netip.Addr) {
		known := map[bool][]int{true: {0, 3, 4, 5, 8, 11, 12, 13, 14, 15, 16, 17, 18}, false: {128, 129}}[one.Is4()]
		for typ := range 256 {
			if !one.Is4() && (typ < 128 || 130 <= typ && typ <= 153) {
				continue // errors; messages that stay on the link
			}
			pkt := enforcetest.ICMP(one, far, uint8(typ), 0, make([]byte, 24))
			want := r.judge(out, pkt).pass && slices.Contains(known, typ)
			require.Equal(t, want, w.try(out, pkt), "type %d", typ)
		}
	})
}
