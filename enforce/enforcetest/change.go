package enforcetest

import (
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// serve is a group of red-1 that lets TCP and UDP to some ports in and out.
func serve(ports ...string) policy.PutGroup {
	var rules [][]sg.Rule
	for _, p := range ports {
		rules = append(rules, twice(sg.RuleID("tcp-"+p), sg.TCP, p, "any"), twice(sg.RuleID("udp-"+p), sg.UDP, p, "any"))
	}
	return group("g", rules...)
}

// flows is open flows to a port, each way and family.
type flows struct {
	ways []way
	tcp  []Conn
	udp  []Conn
}

func (b *bench) flows(port uint16) (fl flows) {
	b.eachWay(func(w way) {
		c, u := w.conn(port), w.conn(port)
		b.handshake(w.iface, w.d, c)
		w.send(UDP(u.Client, u.Server), true, "a rule allows it")
		w.answer(UDP(u.Server, u.Client), true, "an answer")
		fl.ways, fl.tcp, fl.udp = append(fl.ways, w), append(fl.tcp, c), append(fl.udp, u)
	})
	return fl
}

// check queues packets of the flows, the opener's first.
func (f flows) check(want bool, why string) {
	for i, w := range f.ways {
		w.send(f.tcp[i].FromClient(ack), want, why)
		w.answer(f.tcp[i].FromServer(ack), want, why)
		w.send(UDP(f.udp[i].Client, f.udp[i].Server), want, why)
		w.answer(UDP(f.udp[i].Server, f.udp[i].Client), want, why)
	}
}

// checkAnswers is check, the other side first.
func (f flows) checkAnswers(want bool, why string) {
	for i, w := range f.ways {
		w.answer(f.tcp[i].FromServer(ack), want, why)
		w.send(f.tcp[i].FromClient(ack), want, why)
		w.answer(UDP(f.udp[i].Server, f.udp[i].Client), want, why)
		w.send(UDP(f.udp[i].Client, f.udp[i].Server), want, why)
	}
}

// checkErrors queues ICMP errors about the flows.
func (f flows) checkErrors(want bool, why string) {
	for i, w := range f.ways {
		c, u := f.tcp[i], f.udp[i]
		w.answer(Unreachable(c.Server.Addr(), c.Client.Addr(), c.FromClient(ack)), want, why)
		w.send(Unreachable(u.Client.Addr(), u.Server.Addr(), UDP(u.Server, u.Client)), want, why)
	}
}

// exchange is a UDP flow of red-1.
type exchange struct {
	way
	Conn
}

// turned opens UDP flows to port 53 of red-1 and removes their rule; another
// rule allows the workload to send datagrams anywhere.
func (b *bench) turned(e sg.Established) (list []exchange) {
	out := anyPeer("out", sg.Egress, sg.UDP, "all")
	b.start(profile(e), group("g", out, anyPeer("dns", sg.Ingress, sg.UDP, "53")), iface("red-1", "g"))
	for _, f := range families() {
		for range 2 {
			w := way{b, "red-1", f, sg.Ingress}
			x := exchange{w, w.conn(53)}
			x.send(UDP(x.Client, x.Server), true, "a rule allows it")
			x.answer(UDP(x.Server, x.Client), true, "an answer")
			list = append(list, x)
		}
	}
	b.change(group("g", out))
	return list
}

func changeCases() (cases []Case) {
	for _, e := range []sg.Established{sg.Revalidate, sg.Keep, sg.Cut} {
		kept := e == sg.Keep
		add := func(name, doc string, run func(*bench)) {
			cases = append(cases, Case{Name: "change/" + name + "-" + e.String(), Doc: doc, run: run})
		}
		after := map[sg.Established]string{
			sg.Revalidate: " Established flows are judged again.", sg.Keep: " Established flows go on.", sg.Cut: " Established flows are cut.",
		}[e]
		add("rule", "A rule is removed: nothing new passes by it, and flows of other rules are not touched."+after, func(b *bench) {
			b.start(profile(e), serve("443", "22"), iface("red-1", "g"))
			lost, lostToo, other := b.flows(443), b.flows(443), b.flows(22)
			b.change(serve("22"))
			other.check(true, "its rule is still there")
			lost.check(kept, "its rule was removed")
			lostToo.checkAnswers(kept, "its rule was removed")
			b.tryPorts("red-1", sg.TCP, 443, 22)
			b.change(serve("443", "22"))
			other.checkAnswers(true, "its rule is still there")
			for i, w := range lost.ways {
				w.send(lost.tcp[i].FromClient(ack), kept, "its rule is back, the connection is not")
			}
			b.tryPorts("red-1", sg.TCP, 443, 22)
		})
		add("error", "A rule is removed: ICMP errors about its flows are worth what the flows are."+after, func(b *bench) {
			b.start(profile(e), serve("443", "22"), iface("red-1", "g"))
			lost, other := b.flows(443), b.flows(22)
			b.change(serve("22"))
			other.checkErrors(true, "an error about a flow whose rule is still there")
			lost.checkErrors(kept, "an error about a flow whose rule was removed")
			b.eachWay(func(w way) {
				c := w.conn(22)
				w.answer(Unreachable(c.Server.Addr(), c.Client.Addr(), c.FromClient(ack)), false, "an error about no flow")
			})
		})
		add("syn", "A SYN opens a connection: after its rule was removed it is refused, established or not (TCP-25)."+after, func(b *bench) {
			b.start(profile(e), serve("443", "22"), iface("red-1", "g"))
			lost := b.flows(443)
			var half []Conn
			b.eachWay(func(w way) {
				c := w.conn(443)
				w.send(c.FromClient(syn), true, "a rule allows it")
				half = append(half, c)
			})
			b.change(serve("22"))
			for i, w := range lost.ways {
				w.send(lost.tcp[i].FromClient(syn), false, "a SYN is judged by today's rules")
				w.send(half[i].FromClient(syn), false, "a SYN is judged by today's rules")
			}
			lost.check(kept, "its rule was removed")
		})
		add("turned", "A rule is removed, and another one allows what its flows are answered with: an answer is a flow of its own by now, and has answers."+after, func(b *bench) {
			for n, x := range b.turned(e) {
				if n%2 == 0 {
					x.send(UDP(x.Client, x.Server), kept, "its rule was removed")
				}
				x.answer(UDP(x.Server, x.Client), true, "another rule allows it")
				x.send(UDP(x.Client, x.Server), true, "an answer to what another rule allows")
				x.send(UDP(x.conn(53).Client, x.Server), false, "its rule was removed")
			}
		})
		add("turned-error", "As turned, with an ICMP error for an answer.", func(b *bench) {
			for n, x := range b.turned(e) {
				if n%2 == 0 {
					x.send(UDP(x.Client, x.Server), kept, "its rule was removed")
				}
				x.answer(UDP(x.Server, x.Client), true, "another rule allows it")
				x.send(Unreachable(x.Client.Addr(), x.Server.Addr(), UDP(x.Server, x.Client)), true, "an error about what another rule allows")
				c := x.conn(53)
				x.send(Unreachable(c.Client.Addr(), c.Server.Addr(), UDP(c.Server, c.Client)), false, "an error about no flow")
			}
		})
		add("add", "Adding rules, groups, members and interfaces disturbs no flow.", func(b *bench) {
			b.start(profile(e), serve("443"), iface("red-1", "g"))
			fl := b.flows(443)
			b.change(serve("1-1000", "443"))
			fl.check(true, "a rule was added before its own")
			b.change(group("other", twice("r", sg.AnyProtocol, "", "group:g")), iface("red-1", "other", "g"))
			fl.checkAnswers(true, "a group was attached before its own")
			b.change(member("m", "192.0.2.7 2001:db8:a::7", "g"), iface("red-2", "other"), iface("blue-1"))
			fl.check(true, "interfaces and members were added")
			fl.checkErrors(true, "interfaces and members were added")
			b.tryPeers("red-1", sg.UDP, 1000, "198.51.100.9", "2001:db8:b::9")
			b.tryPeers("red-1", sg.UDP, 1001, "198.51.100.9", "2001:db8:b::9")
		})
		add("widen", "A rule is replaced by a wider one of another id: its flows go on.", func(b *bench) {
			b.start(profile(e), serve("443"), iface("red-1", "g"))
			fl := b.flows(443)
			b.tryPorts("red-1", sg.TCP, 443, 444)
			b.change(group("g", twice("wide", sg.AnyProtocol, "", "any")))
			b.tryPorts("red-1", sg.TCP, 443, 444)
			fl.check(true, "the wider rule allows it")
			fl.checkAnswers(true, "the wider rule allows it")
		})
		add("member", "A member leaves the group that a rule names (SEM-03)."+after, func(b *bench) {
			open := [][]sg.Rule{twice("tcp", sg.TCP, "443", "group:app"), twice("udp", sg.UDP, "443", "group:app"), twice("noise", sg.TCP, "1", "any")}
			b.start(profile(e), group("g", open...), group("app"), iface("red-1", "g"), member("m", "192.0.2.7 2001:db8:a::7", "app"), member("n", "192.0.2.8 2001:db8:a::8", "app"))
			fl := b.flows(443)
			b.change(policy.DeleteInterface{ID: "n"})
			fl.check(true, "another member left")
			b.change(member("m", "192.0.2.9 2001:db8:a::9", "app"))
			fl.check(kept, "the member has another address")
			b.tryPeers("red-1", sg.TCP, 443, "192.0.2.7", "192.0.2.9", "2001:db8:a::7", "2001:db8:a::9")
			b.change(member("m", "192.0.2.7 2001:db8:a::7", "app"))
			b.flows(443)
		})
		add("detach", "A group is detached from an interface, and its flows are judged as if its rules were removed; another interface keeps both."+after, func(b *bench) {
			b.start(profile(e), serve("443"), group("h", twice("tcp", sg.TCP, "22", "any"), twice("udp", sg.UDP, "22", "any")), iface("red-1", "g", "h"), iface("red-2", "g"))
			lost, other := b.flows(443), b.flows(22)
			b.change(iface("red-1", "h"))
			other.check(true, "its group is still attached")
			lost.check(kept, "its group was detached")
			b.tryPorts("red-1", sg.UDP, 22, 443)
			b.change(iface("red-1", "g", "h"))
			b.flows(443)
		})
		add("interface", "An interface is deleted and put again under the same id: it inherits no state (API-06).", func(b *bench) {
			b.start(profile(e), serve("443"), iface("red-1", "g"), iface("red-2", "g"))
			fl := b.flows(443)
			b.change(policy.DeleteInterface{ID: "red-1"})
			fl.check(false, "its interface is gone")
			b.change(iface("red-1", "g"))
			for i, w := range fl.ways {
				w.answer(fl.tcp[i].FromServer(ack), false, "its interface is another one by now")
				w.send(fl.tcp[i].FromClient(ack), false, "its interface is another one by now")
				w.answer(Unreachable(fl.tcp[i].Server.Addr(), fl.tcp[i].Client.Addr(), fl.tcp[i].FromClient(ack)), false, "its interface is another one by now")
				w.answer(UDP(fl.udp[i].Server, fl.udp[i].Client), false, "its interface is another one by now")
			}
			b.flows(443)
			// In one step.
			fl = b.flows(443)
			b.change(policy.DeleteInterface{ID: "red-1"}, iface("red-1", "g"))
			for i, w := range fl.ways {
				w.answer(fl.tcp[i].FromServer(ack), false, "its interface is another one by now")
				w.answer(UDP(fl.udp[i].Server, fl.udp[i].Client), false, "its interface is another one by now")
			}
		})
	}
	return cases
}
