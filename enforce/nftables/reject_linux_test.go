package nftables

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/internal/netlabtest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// rejectPolicy lets port 80 in and out everywhere in VPC red, and nothing else.
func rejectPolicy(t testing.TB, guard bool) *policy.Snapshot {
	var rules []sg.Rule
	for _, d := range directions() {
		rules = append(rules, sg.Rule{ID: sg.RuleID(d.String()), Direction: d, Protocol: sg.TCP, Ports: sg.Port(80), Peer: sg.PeerAny()})
		rules = append(rules, sg.Rule{ID: sg.RuleID(d.String() + "-udp"), Direction: d, Protocol: sg.UDP, Ports: sg.Port(80), Peer: sg.PeerAny()})
	}
	changes := []policy.Change{policy.PutGroup{Group: &sg.Group{ID: "g", Name: "g", VPC: "red", Rules: rules}}}
	for _, s := range sites() {
		if s.vpc == "red" {
			changes = append(changes, policy.PutInterface{Interface: &sg.Interface{ID: s.id, VPC: s.vpc, Addrs: s.addrs, Groups: []sg.GroupID{"g"}, SourceGuard: guard}})
		}
	}
	return build(t, sg.Profile{Name: "reject"}, changes...)
}

// answers returns what the host answered to a packet: "RA" flags of TCP, or type
// and code of ICMP.
func answers(t testing.TB, w *world, h hop, pkt []byte) (arrived bool, out []string) {
	t.Helper()
	r, err := w.lab.Exchange([]netlabtest.Step{w.step(queued{hop: h, pkt: pkt})})
	require.NoError(t, err)
	for _, o := range r.Outputs {
		if o.Forwarded >= 0 {
			continue
		}
		require.Equal(t, w.step(queued{hop: h}).From, o.Device, "an answer goes to the sender")
		out = append(out, answerText(t, o.Packet))
	}
	return r.Arrived[0], out
}

func answerText(t testing.TB, b []byte) string {
	var p packet.Packet
	require.NoError(t, packet.Decode(b, &p))
	if p.Tuple.Proto == packet.ProtoTCP {
		if p.Flags&packet.RST != 0 {
			return "reset"
		}
		return "tcp"
	}
	if sg.Protocol(p.Tuple.Proto).HasICMP() {
		return map[[2]uint8]string{{3, 13}: "prohibited", {1, 1}: "prohibited", {0, 0}: "pong", {129, 0}: "pong"}[[2]uint8{p.ICMPType, p.ICMPCode}]
	}
	return p.Tuple.String()
}

func TestReject(t *testing.T) {
	netlabtest.Require(t)
	for _, guard := range []bool{false, true} {
		w := newWorld(t, Options{Reject: true})
		w.apply(compiled(t, rejectPolicy(t, guard)))
		port := uint16(40_000)
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			remote := map[sg.Family]netip.Addr{sg.IPv4: ip("203.0.113.5"), sg.IPv6: ip("2001:db8:a::5")}[f]
			one, two := addressIn(siteOf("red-1").addrs, f), addressIn(siteOf("red-2").addrs, f)
			for _, c := range []struct {
				name     string
				hop      hop
				src, dst netip.Addr
			}{
				{"egress", hop{"red", "red-1", ""}, one, remote},
				{"ingress", hop{"red", "", "red-1"}, remote, one},
				{"between interfaces", hop{"red", "red-1", "red-2"}, one, two},
			} {
				at := func(p uint16) (netip.AddrPort, netip.AddrPort) {
					port++
					return netip.AddrPortFrom(c.src, port), netip.AddrPortFrom(c.dst, p)
				}
				expect := func(what string, pkt []byte, pass bool, want ...string) {
					t.Helper()
					arrived, got := answers(t, w, c.hop, pkt)
					require.Equal(t, pass, arrived, "%s: %s", c.name, what)
					require.Equal(t, want, got, "guard %v, %s, IPv%d: %s", guard, c.name, f, what)
				}
				src, dst := at(81)
				expect("TCP refused", enforcetest.TCP(src, dst, packet.SYN, 1, 0), false, "reset")
				expect("TCP refused, again", enforcetest.TCP(src, dst, packet.SYN, 1, 0), false, "reset")
				src, dst = at(81)
				expect("UDP refused", enforcetest.UDP(src, dst, 1), false, "prohibited")
				src, dst = at(80)
				expect("TCP allowed", enforcetest.TCP(src, dst, packet.SYN, 1, 0), true)
				src, dst = at(80)
				expect("UDP allowed", enforcetest.UDP(src, dst, 1), true)
				src, dst = at(80)
				expect("TCP invalid", enforcetest.TCP(src, dst, packet.ACK, 1, 1), false)
				src, dst = at(80)
				expect("TCP with flags that nobody sends", enforcetest.TCP(src, dst, packet.SYN|packet.FIN, 1, 0), false)
				src, dst = at(80)
				expect("an error about nothing", enforcetest.Unreachable(c.src, c.dst, enforcetest.UDP(dst, src, 1)), false)
				if guard && c.hop.from != "" {
					src = netip.AddrPortFrom(remote.Next(), port)
					_, got := answers(t, w, c.hop, enforcetest.UDP(src, dst, 1))
					require.Empty(t, got, "spoofed")
				}
			}
		}
	}
}

// TestRejectLocal: what the host itself sends is judged as ingress, and refused
// with an error of the socket.
func TestRejectLocal(t *testing.T) {
	netlabtest.Require(t)
	w := newWorld(t, Options{Reject: true})
	w.apply(compiled(t, rejectPolicy(t, false)))
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		one := addressIn(siteOf("red-1").addrs, f)
		require.NoError(t, w.sendUDP(netip.AddrPortFrom(one, 80), ""))
		require.ErrorIs(t, w.sendUDP(netip.AddrPortFrom(one, 81), ""), syscall.EPERM)
	}
}

// sendUDP sends a datagram from the host itself, by a device if one is named.
func (w *world) sendUDP(to netip.AddrPort, device string) error {
	return w.lab.Do(func() error {
		family := syscall.AF_INET
		var sa syscall.Sockaddr
		if to.Addr().Is4() {
			sa = &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		} else {
			family, sa = syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
		}
		fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		if device != "" {
			if err := syscall.SetsockoptString(fd, syscall.SOL_SOCKET, syscall.SO_BINDTODEVICE, device); err != nil {
				return err
			}
		}
		return syscall.Sendto(fd, []byte("host"), 0, sa)
	})
}
