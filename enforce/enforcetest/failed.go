package enforcetest

import (
	"errors"

	"example.com/secgroup/compile"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// failedCase is that of a Breaker.
func failedCase() Case {
	return Case{Name: "apply/failed", Doc: "An Apply that fails leaves what is in force, and the next one succeeds.", run: func(b *bench) {
		l, ok := b.lab.(Breaker)
		if !ok {
			b.fail("the lab can not have Apply fail: %w", errors.ErrUnsupported)
			return
		}
		next := func(c ...policy.Change) (m *compile.Matcher) {
			m, err := b.compiler.Apply(policy.Batch{Changes: c})
			if err != nil {
				b.fail("the policy of the case: %w", err)
			}
			return m
		}
		refuse := func(m *compile.Matcher) {
			b.flush()
			if b.err != nil {
				return
			}
			if err := l.Break(); err != nil {
				b.fail("Break: %w", err)
				return
			}
			if b.lab.Apply(b.ctx, m) == nil {
				b.fail("Apply succeeds after Break")
			}
		}
		s, err := policy.Build(profile(sg.Revalidate), web()...)
		if err != nil {
			b.fail("the policy of the case: %w", err)
			return
		}
		first, err := b.compiler.Reset(s)
		if err != nil {
			b.fail("the policy of the case: %w", err)
			return
		}
		refuse(first)
		b.tryWeb("red-1", false, "the first Apply failed")
		b.apply(first)
		b.tryWeb("red-1", true, "Apply succeeded after it had failed")
		conns := b.handshakes("red-1", 443)
		keeps := func(why string) {
			b.goOn("red-1", conns, true, why)
			b.tryWeb("red-1", true, why)
			b.tryWebAt("red-2", false)
		}
		wider := next(group("web", anyPeer("all", sg.Ingress, sg.AnyProtocol, ""), anyPeer("all-out", sg.Egress, sg.AnyProtocol, "")), iface("red-2", "web"))
		refuse(wider)
		keeps("an Apply failed that would have allowed everything")
		none := next(group("web"), policy.DeleteInterface{ID: "red-2"})
		refuse(none)
		keeps("an Apply failed that would have allowed nothing")
		refuse(none)
		keeps("an Apply failed again")
		b.apply(none)
		b.goOn("red-1", conns, false, "the policy was emptied, after that had failed")
		b.tryWeb("red-1", false, "the policy was emptied, after that had failed")
	}}
}
