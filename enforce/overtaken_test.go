package enforce_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// overtaken returns an engine, and a function that runs what happens between
// the moment a packet gets its policy and the moment it is judged: the clock
// is read in between.
func overtaken(t *testing.T, how sg.Established, c ...policy.Change) (b *bench, between func(func())) {
	b = &bench{t: t}
	var hook func()
	b.Engine = enforce.NewEngine(enforce.Options{Now: func() time.Time {
		if h := hook; h != nil {
			hook = nil
			h()
		}
		return start()
	}})
	m, err := b.compiler.Reset(snapshot(t, profile(how), c...))
	require.NoError(t, err)
	b.apply(m)
	return b, func(f func()) { hook = f }
}

// A packet that a change of policy overtakes is judged by the old policy, but
// does not undo what the new one has decided since.
func TestOvertakenByAPolicy(t *testing.T) {
	f := families()[0]
	for _, how := range []sg.Established{sg.Revalidate, sg.Keep, sg.Cut} {
		noise := both("noise", sg.Ingress, sg.UDP, 1)
		b, between := overtaken(t, how, group("web", noise), nic("i", "web"))
		client, service := at(f.peer, "4000"), at(f.local, "443")
		between(func() {
			b.change(group("web", https("a")))
			b.handshake(f, "443")
		})
		want := map[sg.Established]string{sg.Revalidate: "drop no_rule", sg.Cut: "drop no_rule", sg.Keep: "accept established"}[how]
		require.Equal(t, want, b.in(tcp(client, service, "A")), how)
		require.Equal(t, "accept established web/a-4", b.in(tcp(client, service, "A")), "%v: the connection of the new policy is left alone", how)
		require.Equal(t, 1, b.Table().Len())
	}
}

// A packet that its interface's end overtakes leaves nothing that serves.
func TestOvertakenByTheEndOfTheInterface(t *testing.T) {
	b, between := overtaken(t, sg.Keep, web(), nic("i", "web"))
	between(func() { b.change(policy.DeleteInterface{ID: "i"}) })
	require.Contains(t, b.in(udp("192.0.2.7:1", "10.0.0.5:53", 0)), "accept rule", "by the old policy")
	b.change(nic("i"), web())
	require.Equal(t, "drop unattached", b.out(udp("10.0.0.5:53", "192.0.2.7:1", 0)))
}
