package enforcetest

import (
	"context"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// web lets HTTPS, DNS and ping in at red-1, and HTTPS out.
func web() []policy.Change {
	return []policy.Change{
		group("web",
			anyPeer("https", sg.Ingress, sg.TCP, "443"), anyPeer("dns", sg.Ingress, sg.UDP, "53"), anyPeer("ping", sg.Ingress, sg.ICMP, ""),
			anyPeer("out", sg.Egress, sg.TCP, "443")),
		iface("red-1", "web"),
	}
}

// tryWeb queues new flows that web allows, and some that it does not, for an
// interface that should pass all that web allows, or nothing.
func (b *bench) tryWeb(i sg.InterfaceID, allowed bool, why string) {
	for _, f := range families() {
		from := at(f.peer, b.port())
		b.in(i, opener(sg.TCP, from, at(f.local, 443)), allowed, why)
		b.in(i, opener(sg.UDP, from, at(f.local, 53)), allowed, why)
		b.in(i, opener(f.icmp, from, at(f.local, 0)), allowed, why)
		b.in(i, opener(sg.TCP, from, at(f.local, 80)), false, why)
		b.out(i, opener(sg.TCP, at(f.local, b.port()), at(f.peer, 443)), allowed, why)
		b.out(i, opener(sg.TCP, at(f.local, b.port()), at(f.peer, 80)), false, why)
		b.out(i, opener(sg.UDP, at(f.local, b.port()), at(f.peer, 53)), false, why)
	}
}

func applyCases() []Case {
	return []Case{
		{Name: "apply/first", Doc: "Nothing passes before the first Apply, and what is allowed passes after it.", run: func(b *bench) {
			for _, i := range Interfaces() {
				b.tryWeb(i.ID, false, "before the first Apply")
			}
			b.flush()
			b.start(profile(sg.Revalidate), web()...)
			b.tryWeb("red-1", true, "after the first Apply")
		}},
		{Name: "apply/again", Doc: "Apply is idempotent: the same matcher once more disturbs nothing.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), web()...)
			conns := b.handshakes("red-1", 443)
			for range 3 {
				b.apply(b.matcher)
				b.goOn("red-1", conns, true, "the same matcher was applied again")
				b.tryWeb("red-1", true, "the same matcher was applied again")
			}
		}},
		{Name: "apply/nil", Doc: "Apply without a matcher is an error, and leaves what is in force.", run: func(b *bench) {
			refuse := func() {
				b.flush()
				if b.err == nil && b.lab.Apply(b.ctx, nil) == nil {
					b.fail("Apply(nil) is no error")
				}
			}
			refuse()
			b.tryWeb("red-1", false, "only Apply(nil) was called, and failed")
			b.start(profile(sg.Revalidate), web()...)
			conns := b.handshakes("red-1", 443)
			refuse()
			b.goOn("red-1", conns, true, "Apply(nil) failed")
			b.tryWeb("red-1", true, "Apply(nil) failed")
		}},
		{Name: "apply/cancelled", Doc: "Apply under a context that is done either succeeds or leaves what is in force.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), web()...)
			b.tryWeb("red-1", true, "a rule allows it")
			b.flush()
			if b.err != nil {
				return
			}
			m, err := b.compiler.Apply(policy.Batch{Changes: []policy.Change{group("web")}})
			if err != nil {
				b.fail("the policy of the case: %w", err)
				return
			}
			ctx, cancel := context.WithCancel(b.ctx)
			cancel()
			err = b.lab.Apply(ctx, m)
			b.tryWeb("red-1", err != nil, "Apply under a context that is done")
			b.apply(m)
			b.tryWeb("red-1", false, "the policy was emptied")
		}},
		failedCase(),
		{Name: "apply/unknown", Doc: "An interface that the policy does not know passes nothing.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), web()...)
			for _, i := range Interfaces() {
				if i.ID != "red-1" {
					b.tryWeb(i.ID, false, "the policy has no such interface")
				}
			}
			b.change(iface("red-2", "web"))
			b.tryWebAt("red-2", true)
			b.change(policy.DeleteInterface{ID: "red-2"})
			b.tryWebAt("red-2", false)
			b.tryWeb("red-1", true, "another interface came and went")
		}},
		{Name: "apply/compilers", Doc: "A matcher of another compiler replaces the policy as a whole; what both allow goes on.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), web()...)
			conns := b.handshakes("red-1", 443)
			b.compiler = compile.Compiler{}
			b.start(profile(sg.Revalidate), append(web(), group("aaa", anyPeer("noise", sg.Ingress, sg.TCP, "1")), iface("red-1", "aaa", "web"))...)
			b.goOn("red-1", conns, true, "the other policy allows it too")
			b.tryWeb("red-1", true, "the other policy allows it too")
			b.compiler = compile.Compiler{}
			b.start(profile(sg.Revalidate), group("aaa", anyPeer("noise", sg.Ingress, sg.TCP, "1")), iface("red-1", "aaa"))
			b.goOn("red-1", conns, false, "the other policy does not allow it")
			b.tryWeb("red-1", false, "the other policy does not allow it")
		}},
		{Name: "apply/back", Doc: "An older matcher can be applied again: what only newer ones allowed is refused.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), group("web", anyPeer("ssh", sg.Ingress, sg.TCP, "22")), iface("red-1", "web"))
			old := b.matcher
			kept := b.handshakes("red-1", 22)
			b.change(group("web", anyPeer("ssh", sg.Ingress, sg.TCP, "22"), anyPeer("https", sg.Ingress, sg.TCP, "443")))
			lost := b.handshakes("red-1", 443)
			b.apply(old)
			b.goOn("red-1", kept, true, "both policies allow it")
			b.goOn("red-1", lost, false, "only the policy that was taken back allowed it")
		}},
		{Name: "apply/close", Doc: "Close leaves the last policy in force.", run: func(b *bench) {
			b.start(profile(sg.Revalidate), web()...)
			conns := b.handshakes("red-1", 443)
			b.flush()
			b.close()
			b.goOn("red-1", conns, true, "the backend was closed")
			b.tryWeb("red-1", true, "the backend was closed")
		}},
	}
}

// tryWebAt is tryWeb for red-2, in a word.
func (b *bench) tryWebAt(i sg.InterfaceID, allowed bool) {
	for _, a := range iface(i).Interface.Addrs {
		for _, f := range families() {
			if f.local.BitLen() != a.Addr().BitLen() {
				continue
			}
			b.in(i, opener(sg.TCP, at(f.peer, b.port()), at(a.Addr(), 443)), allowed, "the policy knows the interface, or does not")
			b.out(i, opener(sg.TCP, at(a.Addr(), b.port()), at(f.peer, 443)), allowed, "the policy knows the interface, or does not")
		}
	}
}

// handshakes opens a TCP connection per family to a port of an interface with
// the addresses of red-1.
func (b *bench) handshakes(i sg.InterfaceID, port uint16) (conns []Conn) {
	for _, f := range families() {
		c := Conn{Client: at(f.peer, b.port()), Server: at(f.local, port), ISN: 1000}
		b.handshake(i, sg.Ingress, c)
		conns = append(conns, c)
	}
	return conns
}

// handshake opens c, whose first packet goes in direction d.
func (b *bench) handshake(i sg.InterfaceID, d sg.Direction, c Conn) {
	b.send(i, d, c.FromClient(packet.SYN), true, "a rule allows the connection")
	b.send(i, d.Opposite(), c.FromServer(packet.SYN|packet.ACK), true, "the answer to a SYN")
	b.send(i, d, c.FromClient(packet.ACK), true, "the end of a handshake")
}

// goOn queues segments both ways of connections that came in.
func (b *bench) goOn(i sg.InterfaceID, conns []Conn, want bool, why string) {
	for _, c := range conns {
		b.in(i, c.FromClient(packet.ACK), want, why)
		b.out(i, c.FromServer(packet.ACK), want, why)
	}
}
