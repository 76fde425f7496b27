package enforcetest

import (
	"errors"
	"fmt"
	"time"

	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
)

const (
	syn    = packet.SYN
	synAck = packet.SYN | packet.ACK
	ack    = packet.ACK
	finAck = packet.FIN | packet.ACK
	rstAck = packet.RST | packet.ACK
)

// stateful is a policy by which red-1 serves TCP 443, UDP 53 and pings, and
// may ask for the same; its workload's other ports are closed both ways.
func (b *bench) stateful(e sg.Established) {
	b.start(profile(e), group("g", twice("tcp", sg.TCP, "443", "any"), twice("udp", sg.UDP, "53", "any"),
		anyPeer("ping", sg.Ingress, sg.ICMP, ""), anyPeer("pong", sg.Egress, sg.ICMP, "")), iface("red-1", "g"))
}

// eachWay runs f for both families and for flows opened from either side: send
// offers a packet of the opener, answer one of the other end.
func (b *bench) eachWay(f func(w way)) {
	for _, e := range families() {
		for _, d := range both() {
			f(way{b, "red-1", e, d})
		}
	}
}

// way is a family and the direction in which flows are opened, at an
// interface.
type way struct {
	b     *bench
	iface sg.InterfaceID
	ends
	d sg.Direction
}

func (w way) send(pkt []byte, want bool, why string) { w.b.send(w.iface, w.d, pkt, want, why) }
func (w way) answer(pkt []byte, want bool, why string) {
	w.b.send(w.iface, w.d.Opposite(), pkt, want, why)
}

// conn returns a TCP connection to a port, that the opener begins.
func (w way) conn(port uint16) Conn {
	c := Conn{Client: at(w.peer, w.b.port()), Server: at(w.local, port), ISN: 1000}
	if w.d == sg.Egress {
		c.Client, c.Server = at(w.local, c.Client.Port()), at(w.peer, port)
	}
	return c
}

func stateCases() []Case {
	cases := []Case{
		{Name: "state/tcp", Doc: "A TCP connection that a rule allows passes both ways, from its handshake to its end, whoever opens it.", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			b.eachWay(func(w way) {
				c := w.conn(443)
				b.handshake(w.iface, w.d, c)
				for range 2 {
					w.answer(c.FromServer(ack), true, "an established connection")
					w.send(c.FromClient(ack), true, "an established connection")
				}
				w.send(c.FromClient(finAck), true, "the end of a connection")
				w.answer(c.FromServer(finAck), true, "the end of a connection")
				w.send(c.FromClient(ack), true, "the end of a connection")
				reset := w.conn(443)
				b.handshake(w.iface, w.d, reset)
				w.answer(reset.FromServer(rstAck), true, "a reset of a connection")
				refused := w.conn(443)
				w.send(refused.FromClient(syn), true, "a rule allows it")
				w.answer(refused.FromServer(rstAck), true, "a reset in answer to a SYN")
				w.send(w.conn(80).FromClient(syn), false, "no rule")
			})
		}},
		{Name: "state/tcp-midstream", Doc: "A segment that fits no connection is refused though the port is open (TCP-02, TCP-03).", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			b.eachWay(func(w way) {
				for _, flags := range []uint8{ack, synAck, finAck, rstAck, packet.RST, ack | packet.PSH} {
					c := w.conn(443)
					w.send(c.FromClient(flags), false, "it belongs to no connection")
					w.answer(c.FromServer(flags), false, "it belongs to no connection")
				}
				c := w.conn(443)
				w.send(c.FromClient(syn), true, "a rule allows it")
				w.send(c.FromClient(ack), false, "it acknowledges what was not sent")
			})
		}},
		{Name: "state/tcp-flags", Doc: "Combinations of flags that no host sends are refused though the port is open (TCP-01).", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			const f, s, r, p, u = packet.FIN, packet.SYN, packet.RST, packet.PSH, packet.URG
			b.eachWay(func(w way) {
				for _, flags := range []uint8{0, f, f | p | u, s | f, s | r, s | f | r, f | r, 0x3f} {
					w.send(w.conn(443).FromClient(flags), false, "no host sends these flags")
				}
				for _, flags := range []uint8{s | u, s | p, s | packet.ECE | packet.CWR} {
					w.send(w.conn(443).FromClient(flags), true, "a SYN is a SYN (TCP-04)")
				}
			})
		}},
		{Name: "state/udp", Doc: "An answer to a UDP datagram passes from the address and port that were asked only (UDP-03).", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			b.eachWay(func(w way) {
				c := w.conn(53)
				w.send(UDP(c.Client, c.Server), true, "a rule allows it")
				w.answer(UDP(at(c.Server.Addr(), 54), c.Client), false, "from another port than asked")
				w.answer(UDP(c.Server, at(c.Client.Addr(), c.Client.Port()+5000)), false, "to another port than asked from")
				if w.d == sg.Egress {
					w.answer(UDP(at(w.far, 53), c.Client), false, "from another host than asked")
				} else {
					w.answer(UDP(c.Server, at(w.far, c.Client.Port())), false, "to another host than asked")
				}
				for range 2 {
					w.answer(UDP(c.Server, c.Client), true, "an answer")
					w.send(UDP(c.Client, c.Server), true, "an established exchange")
				}
			})
		}},
		{Name: "state/ping", Doc: "An echo reply passes for a request with its identifier, between the same hosts, and unasked not at all (ICMP-09, ICMP-10).", run: func(b *bench) {
			for _, f := range families() {
				for _, d := range both() {
					// Only requests of one direction are allowed: a reply that
					// is wrong must not pass for a request of the other.
					b.start(profile(sg.Revalidate), group("g", anyPeer("ping", d, sg.ICMP, "")), iface("red-1", "g"))
					w := way{b, "red-1", f, d}
					c, id := w.conn(0), b.port()
					client, server := c.Client.Addr(), c.Server.Addr()
					w.answer(Echo(server, client, true, id), false, "nobody asked")
					w.send(Echo(client, server, true, id), false, "nobody asked")
					w.send(Echo(client, server, false, id), true, "a rule allows it")
					w.answer(Echo(server, client, true, id+1000), false, "another identifier")
					if d == sg.Egress {
						w.answer(Echo(w.far, client, true, id), false, "from another host than asked")
					} else {
						w.answer(Echo(server, w.far, true, id), false, "to another host than asked")
					}
					w.answer(Echo(server, client, true, id), true, "an answer")
					w.answer(Echo(server, client, true, id), true, "an answer, duplicated (ICMP-11)")
					w.answer(Echo(server, client, false, id), false, "a request of the other side needs a rule (ICMP-16)")
				}
			}
		}},
		{Name: "state/icmp-error", Doc: "An ICMP error about a connection passes, from either end and from routers; one about none does not (ICMP-01 to ICMP-05, ICMP-17).", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("g", twice("tcp", sg.TCP, "443", "any"), twice("udp", sg.UDP, "53", "any")), iface("red-1", "g"))
			b.eachWay(func(w way) {
				for _, p := range []sg.Protocol{sg.TCP, sg.UDP} {
					var c Conn
					var forth, back, other []byte
					if p == sg.TCP {
						c = w.conn(443)
						b.handshake(w.iface, w.d, c)
						o := c
						o.Client = at(c.Client.Addr(), c.Client.Port()+5000)
						forth, back, other = c.FromClient(ack), c.FromServer(ack), o.FromClient(ack)
					} else {
						c = w.conn(53)
						forth, back, other = UDP(c.Client, c.Server), UDP(c.Server, c.Client), UDP(at(c.Client.Addr(), c.Client.Port()+5000), c.Server)
						w.send(forth, true, "a rule allows it")
						w.answer(back, true, "an answer")
					}
					client, server := c.Client.Addr(), c.Server.Addr()
					w.answer(Unreachable(server, client, forth), true, "an error about what the opener sent")
					w.send(Unreachable(client, server, back), true, "an error about what was answered")
					if w.d == sg.Egress {
						w.answer(Unreachable(w.far, client, forth), true, "an error that a router on the way sends")
					} else {
						w.send(Unreachable(w.far, server, back), true, "an error that a router on the way sends")
					}
					w.answer(Unreachable(server, client, other), false, "an error about ports that have no connection (ICMP-04)")
					if w.d == sg.Ingress {
						w.answer(Unreachable(server, w.far, forth), false, "an error to somebody who did not send the packet (ICMP-02)")
					}
					w.send(Unreachable(client, server, forth), false, "an error that travels with what it is about (ICMP-03)")
					w.answer(Unreachable(server, client, Unreachable(client, server, back)), false, "an error about an error (ICMP-07)")
				}
				c := w.conn(53)
				w.answer(Unreachable(c.Server.Addr(), c.Client.Addr(), UDP(c.Client, c.Server)), false, "there is no such connection")
				w.send(UDP(c.Client, c.Server), true, "a rule allows it")
				w.send(Unreachable(c.Client.Addr(), c.Server.Addr(), UDP(c.Server, c.Client)), false, "it is about an answer that was never sent (ICMP-03)")
			})
		}},
		{Name: "state/no-trace", Doc: "A refused packet leaves nothing behind: neither its retry nor an answer to it passes (SEM-10).", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			b.eachWay(func(w way) {
				c := w.conn(80)
				w.send(c.FromClient(syn), false, "no rule")
				w.answer(c.FromServer(synAck), false, "an answer to what was refused")
				w.send(c.FromClient(ack), false, "what follows what was refused")
				w.send(c.FromClient(syn), false, "a retry of what was refused")
				c = w.conn(80)
				w.send(UDP(c.Client, c.Server), false, "no rule")
				w.answer(UDP(c.Server, c.Client), false, "an answer to what was refused")
				w.send(UDP(c.Client, c.Server), false, "a retry of what was refused")
				b.handshake(w.iface, w.d, w.conn(443))
			})
		}},
		{Name: "state/no-licence", Doc: "A connection licenses no other: not on other ports, other way round, nor in another protocol (SEM-08, UDP-06).", run: func(b *bench) {
			b.stateful(sg.Revalidate)
			b.eachWay(func(w way) {
				c := w.conn(443)
				b.handshake(w.iface, w.d, c)
				o := w.conn(80)
				back := Conn{Client: at(c.Server.Addr(), 443), Server: at(c.Client.Addr(), o.Client.Port()), ISN: 9}
				w.answer(back.FromClient(syn), false, "a connection of its own, in the other direction")
				w.answer(back.FromClient(ack), false, "no packet of the connection: another port")
				w.send(o.FromClient(syn), false, "another port")
				w.answer(UDP(c.Server, c.Client), false, "another protocol")
				u := w.conn(53)
				w.send(UDP(u.Client, u.Server), true, "a rule allows it")
				w.answer(TCP(u.Server, u.Client, synAck, 1, 1), false, "another protocol")
				w.answer(Conn{Client: u.Server, Server: u.Client}.FromClient(syn), false, "another protocol")
			})
		}},
		{Name: "state/other", Doc: "A protocol without ports is tracked by its addresses: answers pass.", run: func(b *bench) {
			for _, d := range both() {
				b.start(profile(sg.Revalidate), group("g", []sg.Rule{rule("r", d, 253, "", "any")}), iface("red-1", "g"))
				for _, f := range families() {
					w := way{b, "red-1", f, d}
					client, server := b.stranger(f), f.local
					if d == sg.Egress {
						client, server = server, client
					}
					w.answer(IP(server, client, 253, []byte("enforcetest")), false, "no rule")
					w.send(IP(client, server, 253, []byte("enforcetest")), true, "a rule allows it")
					w.answer(IP(server, client, 253, []byte("enforcetest")), true, "an answer")
					w.answer(IP(server, client, 254, []byte("enforcetest")), false, "another protocol")
				}
			}
		}},
		{Name: "state/two-vpcs", Doc: "Two VPCs with the same addresses share no state (SEM-11).", run: func(b *bench) {
			open := [][]sg.Rule{twice("tcp", sg.TCP, "443", "any"), twice("udp", sg.UDP, "53", "any"), anyPeer("ping", sg.Ingress, sg.ICMP, "")}
			b.start(profile(sg.Revalidate), group("g", open...), groupIn("blue", "none"), iface("red-1", "g"), iface("blue-1", "none"))
			b.eachWay(func(w way) {
				c, u := w.conn(443), w.conn(53)
				b.handshake(w.iface, w.d, c)
				w.send(UDP(u.Client, u.Server), true, "a rule allows it")
				blue := w
				blue.iface = "blue-1"
				blue.send(c.FromClient(ack), false, "the connection is in the other VPC")
				blue.answer(c.FromServer(ack), false, "the connection is in the other VPC")
				blue.send(UDP(u.Client, u.Server), false, "the exchange is in the other VPC")
				blue.answer(UDP(u.Server, u.Client), false, "the exchange is in the other VPC")
				blue.answer(Unreachable(c.Server.Addr(), c.Client.Addr(), c.FromClient(ack)), false, "the connection is in the other VPC")
				w.answer(UDP(u.Server, u.Client), true, "an answer")
				w.answer(c.FromServer(ack), true, "an established connection")
			})
			for _, f := range families() {
				id := b.port()
				b.in("red-1", Echo(f.peer, f.local, false, id), true, "a rule allows it")
				b.out("blue-1", Echo(f.local, f.peer, true, id), false, "the request is in the other VPC")
				b.out("red-1", Echo(f.local, f.peer, true, id), true, "an answer")
			}
		}},
		{Name: "state/two-interfaces", Doc: "An interface does not pass what belongs to another one of its VPC.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("g", twice("tcp", sg.TCP, "443", "any")), group("none"), iface("red-1", "g"), iface("red-2", "none"))
			for i, a := range iface("red-2").Interface.Addrs {
				f := families()[i]
				c := Conn{Client: at(f.peer, b.port()), Server: at(f.local, 443), ISN: 1000}
				b.handshake("red-1", sg.Ingress, c)
				o := Conn{Client: c.Client, Server: at(a.Addr(), 443), ISN: 1000}
				b.in("red-2", o.FromClient(syn), false, "another interface allows it")
				b.out("red-2", o.FromServer(synAck), false, "another interface allows it")
				b.in("red-2", o.FromClient(ack), false, "another interface allows it")
			}
		}},
		{Name: "state/stateless", Doc: "What only stateless groups allow is not tracked: replies need a rule of their own. What a stateful group allows too, is.", run: func(b *bench) {
			less := stateless(group("less", anyPeer("tcp", sg.Ingress, sg.TCP, "443"), anyPeer("udp", sg.Ingress, sg.UDP, "53")))
			full := group("full", anyPeer("tcp", sg.Ingress, sg.TCP, "443"), anyPeer("udp", sg.Ingress, sg.UDP, "53"))
			for _, groups := range [][]sg.GroupID{{"less"}, {"less", "full"}, {"full", "less"}} {
				tracked := len(groups) > 1
				b.start(profile(sg.Revalidate), less, full, iface("red-1", groups...))
				for _, f := range families() {
					w := way{b, "red-1", f, sg.Ingress}
					c, u := w.conn(443), w.conn(53)
					w.send(c.FromClient(syn), true, "a rule allows it")
					w.answer(c.FromServer(synAck), tracked, "an answer, to a flow that is tracked or not")
					w.send(c.FromClient(ack), true, "a rule allows it, or it is established")
					w.send(UDP(u.Client, u.Server), true, "a rule allows it")
					w.answer(UDP(u.Server, u.Client), tracked, "an answer, to a flow that is tracked or not")
					w.send(w.conn(443).FromClient(ack), !tracked, "midstream, where the flow is tracked or not")
				}
			}
			b.start(profile(sg.Revalidate), less, stateless(group("back", []sg.Rule{rule("r", sg.Egress, sg.TCP, "all", "192.0.2.0/24")})), iface("red-1", "less", "back"))
			w := way{b, "red-1", families()[0], sg.Ingress}
			c := w.conn(443)
			w.send(c.FromClient(syn), true, "a rule allows it")
			w.answer(c.FromServer(synAck), true, "a stateless rule allows it")
		}},
		{Name: "state/guard", Doc: "The source guard drops what has addresses that are not the interface's; without it nothing is asked.", run: func(b *bench) {
			open := group("g", twice("r", sg.AnyProtocol, "", "any"))
			i := iface("red-1", "g")
			i.Interface.SourceGuard = true
			i.Interface.Allowed = append(i.Interface.Allowed, prefix("203.0.113.0/28"), prefix("fd00:a::/64"))
			b.start(profile(sg.Revalidate), open, i)
			try := func(guarded bool) {
				for n, f := range families() {
					stranger, virtual := f.far, addr([]string{"203.0.113.5", "fd00:a::5"}[n])
					b.out("red-1", UDP(at(f.local, b.port()), at(f.peer, 9)), true, "its own address")
					b.out("red-1", UDP(at(virtual, b.port()), at(f.peer, 9)), true, "an address that is allowed beside")
					b.out("red-1", UDP(at(stranger, b.port()), at(f.peer, 9)), !guarded, "from an address that is not its own")
					b.in("red-1", UDP(at(f.peer, b.port()), at(f.local, 9)), true, "its own address")
				}
			}
			try(true)
			b.change(iface("red-1", "g"))
			try(false)
		}},
		{Name: "state/timeout", Doc: "Idle UDP exchanges and pings end; an established TCP connection outlives an hour.", run: func(b *bench) {
			l, ok := b.lab.(Advancer)
			if !ok {
				b.err = fmt.Errorf("the lab's clock can not be set forward: %w", errors.ErrUnsupported)
				return
			}
			b.stateful(sg.Revalidate)
			var after []func()
			b.eachWay(func(w way) {
				c, u, id := w.conn(443), w.conn(53), b.port()
				b.handshake(w.iface, w.d, c)
				w.send(UDP(u.Client, u.Server), true, "a rule allows it")
				w.send(Echo(u.Client.Addr(), u.Server.Addr(), false, id), true, "a rule allows it")
				after = append(after, func() {
					w.answer(UDP(u.Server, u.Client), false, "an answer after an hour")
					w.answer(Echo(u.Server.Addr(), u.Client.Addr(), true, id), false, "an answer after an hour")
					w.answer(c.FromServer(ack), true, "an established connection after an hour")
				})
			})
			b.flush()
			l.Advance(time.Hour)
			for _, f := range after {
				f()
			}
		}},
	}
	return cases
}
