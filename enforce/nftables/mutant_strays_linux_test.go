package nftables

import (
	"fmt"
	"net/netip"
	"strings"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"github.com/stretchr/testify/require"
)

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
		out = append(out, zoned(far, one, sites()[3].addrs[i].Addr())...)
		// Flags that nobody sends, where no state is asked for.
		for _, flags := range []uint8{0, syn | packet.FIN, 0x3f} {
			send("up0", "sg2", enforcetest.TCP(at(far, 650+uint16(flags)), at(addrs[2], 3001), flags, 1, 1))
			send("sg2", "up0", enforcetest.TCP(at(addrs[2], 650+uint16(flags)), at(far, 3001), flags, 1, 1))
		}
	}
	return append(out, unfit()...)
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

// zoned are packets that tell which zone a device is in.
func zoned(far, red, blue netip.Addr) (out []netlabtest.Step) {
	send := func(from, to string, pkt []byte) {
		out = append(out, netlabtest.Step{From: from, To: to, Packet: pkt})
	}
	at := netip.AddrPortFrom
	unanswered := func(up, dev string, local netip.Addr, port uint16) {
		send(up, dev, enforcetest.UDP(at(far, port), at(local, 80)))
		send(up, dev, enforcetest.Unreachable(far, local, enforcetest.UDP(at(local, 80), at(far, port))))
	}
	// What the uplink brings and takes away again is in the zone of its VPC:
	// the interface's answer, as far as anybody can tell.
	send("up0", "sg0", enforcetest.UDP(at(far, 610), at(red, 80)))
	send("up0", "up0", enforcetest.UDP(at(red, 80), at(far, 610)))
	unanswered("up0", "sg0", red, 610)
	// What an uplink without a VPC does so is in the host's zone: it answers
	// nothing in the others.
	for k, c := range []struct {
		up, dev string
		local   netip.Addr
	}{{"up0", "sg0", red}, {"up1", "sg3", blue}} {
		port := uint16(611 + k)
		send("up2", "up2", enforcetest.UDP(at(far, port), at(c.local, 80)))
		send("up2", "up2", enforcetest.UDP(at(c.local, 80), at(far, port)))
		unanswered(c.up, c.dev, c.local, port)
	}
	return out
}

// unfit are packets of red-3 that fit no connection, of services and peers of
// all its rules: segments in the middle, and datagrams with a wrong checksum,
// which are invalid to connection tracking.
func unfit() (out []netlabtest.Step) {
	s := sites()[2]
	for _, remote := range prefixes("100.64.0.1", "100.64.1.0", "192.0.2.200", "198.51.100.1", "203.0.113.1", "198.51.100.200", "2001:db8:a::1", "2001:db8:a:1::1", "2001:db8:a:0:8000::1", "2001:db8:c::7") {
		for n, port := range []uint16{25, 80, 2004, 2005, 3001, 3002, 3003, 3004, 5353} {
			far := netip.AddrPortFrom(remote.Addr(), uint16(700+n))
			near := netip.AddrPortFrom(addressIn(s.addrs, sg.FamilyOf(remote.Addr())), port)
			for _, proto := range []sg.Protocol{sg.TCP, sg.UDP} {
				make := func(src, dst netip.AddrPort) []byte {
					if proto == sg.TCP {
						return enforcetest.TCP(src, dst, ack, 1, 1)
					}
					p := enforcetest.UDP(src, dst, 1)
					p[len(p)-1]++
					return p
				}
				out = append(out, netlabtest.Step{From: "up0", To: "sg2", Packet: make(far, near)},
					netlabtest.Step{From: "sg2", To: "up0", Packet: make(netip.AddrPortFrom(near.Addr(), far.Port()), netip.AddrPortFrom(far.Addr(), port))})
			}
		}
	}
	return out
}

// hostTalks are flows of the host itself with interfaces, which either end
// opened: what the one or the other sends first after a change differs. Ports
// are those that mute does not let the host answer from.
func hostTalks(phase int) (out []netlabtest.Step) {
	n := uint16(0)
	add := func(s site, host netip.Addr, proto sg.Protocol, port uint16, firsts ...int) {
		local := addressIn(s.addrs, sg.FamilyOf(host))
		for _, first := range firsts {
			n++
			own := netip.AddrPortFrom(host, 6000+n)
			for _, f := range []*scenario{
				{first: first, way: way{hop: hop{s.vpc, "", s.id}, proto: proto, Conn: enforcetest.Conn{Client: own, Server: netip.AddrPortFrom(local, port), ISN: 1000}}},
				{first: first, way: way{hop: hop{s.vpc, s.id, ""}, proto: proto, Conn: enforcetest.Conn{Client: netip.AddrPortFrom(local, 6000+n), Server: netip.AddrPortFrom(host, port), ISN: 1000}}},
			} {
				f.play(phase, func(h hop, pkt []byte) bool {
					out = append(out, hostStep(h, pkt))
					return true
				})
			}
		}
	}
	for _, s := range sites()[:3] {
		for _, a := range hostAddrs() {
			for _, port := range []uint16{80, 3001, 3002, 81} {
				add(s, a.Addr(), sg.UDP, port, everyWay...)
				add(s, a.Addr(), sg.TCP, port, everyWay...)
			}
		}
	}
	for _, a := range prefixes(hostOutward, hostInward) {
		for _, port := range []uint16{80, 1000, 1002} {
			add(sites()[0], a.Addr(), sg.TCP, port, reopened, reopenedBack)
		}
	}
	return out
}

// More addresses of the host: red-1 may send everything to the one, and get
// everything from the other.
const hostOutward, hostInward = "203.0.113.141", "203.0.113.157"

// hostStep sends a packet from, or to, the host.
func hostStep(h hop, pkt []byte) netlabtest.Step {
	if h.from == "" {
		enforcetest.Stamp(pkt, 1)
		to, _ := deviceOfSite(h.to)
		return netlabtest.Step{From: netlabtest.Host, To: to, Packet: pkt}
	}
	from, _ := deviceOfSite(h.from)
	return netlabtest.Step{From: from, Packet: pkt}
}

// mute gives the host the addresses of hostTalks, and has it send no resets of
// their connections, of which no socket of it knows.
func (w *world) mute() {
	for _, a := range []string{hostOutward, hostInward} {
		_, err := w.lab.Run(w.t.Context(), "", "ip", "addr", "add", a, "dev", "lo")
		require.NoError(w.t, err)
	}
	require.NoError(w.t, w.lab.Ruleset(w.t.Context(), `table inet mute {
	chain output {
		type filter hook output priority -1000
		tcp sport 6001-6999 tcp flags & rst == rst drop
		tcp dport 6001-6999 tcp flags & rst == rst drop
	}
}
`))
}
