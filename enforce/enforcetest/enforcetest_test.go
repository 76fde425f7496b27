package enforcetest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/strict"
	"example.com/secgroup/sg/policy"
)

// userspace is the engine as a lab, with a clock of its own.
type userspace struct {
	*enforce.Engine
	clock atomic.Int64
}

func newUserspace() *userspace {
	u := new(userspace)
	u.Engine = enforce.NewEngine(enforce.Options{Now: func() time.Time { return time.Unix(1_000_000, u.clock.Load()) }})
	return u
}

func (u *userspace) Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (bool, error) {
	return u.Port(i).Filter(d, pkt).Action == sg.Accept, nil
}

func (u *userspace) Advance(d time.Duration) { u.clock.Add(int64(d)) }

// batches sends steps of one interface and direction together, stamped as a
// lab does that must know its packets again.
type batches struct{ *userspace }

func (b batches) SendAll(steps []enforcetest.Step) ([]bool, error) {
	var out []bool
	for len(steps) > 0 {
		first := steps[0]
		n := slices.IndexFunc(steps, func(s enforcetest.Step) bool { return s.Interface != first.Interface || s.Direction != first.Direction })
		if n < 0 {
			n = len(steps)
		}
		var pkts [][]byte
		for i, s := range steps[:n] {
			enforcetest.Stamp(s.Packet, uint16(len(out)+i))
			pkts = append(pkts, s.Packet)
		}
		verdicts := make([]ir.Verdict, n)
		b.Port(first.Interface).FilterBatch(first.Direction, pkts, verdicts)
		for _, v := range verdicts {
			out = append(out, v.Action == sg.Accept)
		}
		steps = steps[n:]
	}
	return out, nil
}

// alive is an engine that takes packets while Apply runs.
type alive struct{ *userspace }

func (alive) Concurrent() {}

// aliveBatches is one that takes them in batches.
type aliveBatches struct{ batches }

func (aliveBatches) Concurrent() {}

// TestEngine: the engine passes its own suite.
func TestEngine(t *testing.T) {
	t.Run("packets", func(t *testing.T) {
		enforcetest.Run(t, enforcetest.Options{
			New: func(_ *testing.T, i []enforcetest.Interface) enforcetest.Lab {
				require.Equal(t, enforcetest.Interfaces(), i)
				return newUserspace()
			},
		})
	})
	t.Run("batches", func(t *testing.T) {
		enforcetest.Run(t, enforcetest.Options{
			New:  func(*testing.T, []enforcetest.Interface) enforcetest.Lab { return batches{newUserspace()} },
			Seed: 2, Policies: 30, Packets: 600, Walks: 15, Steps: 600,
		})
	})
	t.Run("concurrent", func(t *testing.T) {
		for c := range enforcetest.Cases(enforcetest.Options{Turns: 100}) {
			if strings.HasPrefix(c.Name, "concurrent/") {
				require.NoError(t, c.Run(t.Context(), alive{newUserspace()}), c.Name)
				require.NoError(t, c.Run(t.Context(), aliveBatches{batches{newUserspace()}}), c.Name)
				require.ErrorIs(t, c.Run(t.Context(), newUserspace()), errors.ErrUnsupported)
			}
		}
	})
}

// mutant is a lab with a fault: what it does is the engine's but for what its
// functions change.
type mutant struct {
	*userspace
	apply func(u *mutant, ctx context.Context, m *compile.Matcher) error
	close func(u *mutant) error
	send  func(u *mutant, s enforcetest.Step, v ir.Verdict) bool
	front func(s enforcetest.Step) enforcetest.Step // before the engine sees it
	fails func(u *mutant, m *compile.Matcher) error // Apply after Break

	broken  bool
	judged  *atomic.Int64 // packets; may be nil
	stuck   bool          // its clock
	seen    map[key]bool  // flows that passed
	applied int
	closed  bool
}

type key struct {
	i sg.InterfaceID
	t packet.Tuple
}

func (u *mutant) Apply(ctx context.Context, m *compile.Matcher) error {
	u.applied++
	if u.broken {
		u.broken = false
		if u.fails != nil {
			return u.fails(u, m)
		}
		return errors.New("broken")
	}
	if u.apply != nil {
		return u.apply(u, ctx, m)
	}
	return u.Engine.Apply(ctx, m)
}

func (u *mutant) Close() error {
	u.closed = true
	if u.close != nil {
		return u.close(u)
	}
	return u.Engine.Close()
}

func (u *mutant) Send(i sg.InterfaceID, d sg.Direction, pkt []byte) (bool, error) {
	s := enforcetest.Step{Interface: i, Direction: d, Packet: pkt}
	if u.front != nil {
		s = u.front(s)
	}
	v := u.Port(s.Interface).Filter(s.Direction, s.Packet)
	if u.judged != nil {
		u.judged.Add(1)
	}
	passed := v.Action == sg.Accept
	if u.send != nil {
		passed = u.send(u, s, v)
	}
	if p := decode(s.Packet); passed {
		u.seen[key{i, p.Tuple}], u.seen[key{i, p.Tuple.Reverse()}] = true, true
	}
	return passed, nil
}

func (u *mutant) Concurrent() {}

func (u *mutant) Break() error {
	u.broken = true
	return nil
}

// moment has a policy in force until packets have been judged by it, if any
// come, before it applies another one.
func moment(c ...policy.Change) func(*mutant, context.Context, *compile.Matcher) error {
	return func(u *mutant, ctx context.Context, next *compile.Matcher) error {
		if u.Matcher() != nil {
			s, err := policy.Build(strict.Profile(), c...)
			if err != nil {
				return err
			}
			m, err := compile.Compile(s)
			if err != nil {
				return err
			}
			if err := u.Engine.Apply(ctx, m); err != nil {
				return err
			}
			for before, n := u.judged.Load(), 0; u.judged.Load() < before+2 && n < 100_000; n++ {
				runtime.Gosched()
			}
		}
		return u.Engine.Apply(ctx, next)
	}
}

// everything is a policy that allows it.
func everything() (c []policy.Change) {
	for _, i := range enforcetest.Interfaces() {
		g := &sg.Group{ID: sg.GroupID(i.ID), Name: string(i.ID), VPC: i.VPC}
		for _, d := range []sg.Direction{sg.Ingress, sg.Egress} {
			g.Rules = append(g.Rules, sg.Rule{ID: sg.RuleID(d.String()), Direction: d, Protocol: sg.AnyProtocol, Peer: sg.PeerAny()})
		}
		c = append(c, policy.PutGroup{Group: g},
			policy.PutInterface{Interface: &sg.Interface{ID: i.ID, VPC: i.VPC, Addrs: i.Addrs, Groups: []sg.GroupID{g.ID}}})
	}
	return c
}

func (u *mutant) Advance(d time.Duration) {
	if !u.stuck {
		u.userspace.Advance(d)
	}
}

// knows reports whether a packet of the same flow passed before.
func (u *mutant) knows(s enforcetest.Step) bool {
	return u.seen[key{s.Interface, decode(s.Packet).Tuple}]
}

func decode(b []byte) (p packet.Packet) {
	_ = packet.Decode(b, &p)
	return p
}

// unless passes what v does, and packets refused for a reason.
func unless(reasons ...ir.Reason) func(*mutant, enforcetest.Step, ir.Verdict) bool {
	return func(_ *mutant, _ enforcetest.Step, v ir.Verdict) bool {
		return v.Action == sg.Accept || slices.Contains(reasons, v.Reason)
	}
}

// ports changes the ports of a TCP or UDP packet.
func ports(b []byte, f func(src, dst uint16) (uint16, uint16)) []byte {
	p := decode(b)
	if p.Inner.Tuple.Family != 0 || !p.Tuple.HasPorts() {
		return b
	}
	b = slices.Clone(b)
	src, dst := f(p.Tuple.SrcPort, p.Tuple.DstPort)
	l := b[p.L4:]
	l[0], l[1], l[2], l[3] = byte(src>>8), byte(src), byte(dst>>8), byte(dst)
	return b
}

// TestMutants: a backend with a fault does not pass the suite.
func TestMutants(t *testing.T) {
	type m = mutant
	type step = enforcetest.Step
	accept := func(v ir.Verdict) bool { return v.Action == sg.Accept }
	stale := func(u *m, ctx context.Context, next *compile.Matcher) error { // what a half-done Apply may leave
		if next == nil || u.applied%2 == 1 {
			return u.Engine.Apply(ctx, next)
		}
		return nil
	}
	for name, c := range map[string]struct {
		m    mutant
		want string // cases that catch it, among others
	}{
		"passes everything": {m{send: func(*m, step, ir.Verdict) bool { return true }}, "apply/first verdict/ports-tcp"},
		"passes nothing":    {m{send: func(*m, step, ir.Verdict) bool { return false }}, "apply/first verdict/ports-tcp"},
		"ignores ports": {m{front: func(s step) step {
			s.Packet = ports(s.Packet, func(src, _ uint16) (uint16, uint16) { return src, 443 })
			return s
		}}, "verdict/ports-tcp verdict/ports-udp verdict/overlap verdict/random state/no-trace"},
		"takes the last port for the one before": {m{front: func(s step) step {
			s.Packet = ports(s.Packet, func(src, dst uint16) (uint16, uint16) { return src, min(dst, 65534) })
			return s
		}}, "verdict/ports-tcp verdict/ports-udp"},
		"forgets replies": {m{send: func(u *m, s step, v ir.Verdict) bool {
			return accept(v) && v.Reason != ir.ReasonEstablished
		}}, "state/tcp state/udp state/ping state/other apply/again walk/udp walk/tcp walk/icmp"},
		"passes invalid packets":    {m{send: unless(ir.ReasonInvalidState)}, "state/tcp-midstream state/tcp-flags state/ping state/no-trace"},
		"passes malformed packets":  {m{send: unless(ir.ReasonMalformed)}, ""},
		"ignores the source guard":  {m{send: unless(ir.ReasonSpoofed)}, "state/guard"},
		"ignores platform rules":    {m{send: unless(ir.ReasonPlatform)}, "verdict/platform verdict/beyond-any"},
		"opens without groups":      {m{send: unless(ir.ReasonUnattached)}, "verdict/defaults"},
		"opens empty directions":    {m{send: unless(ir.ReasonEmptyDirection)}, "verdict/defaults verdict/beyond-any"},
		"passes unknown interfaces": {m{send: unless(ir.ReasonUnknownInterface)}, "apply/unknown"},
		"passes without a policy":   {m{send: unless(ir.ReasonNoPolicy)}, "apply/first apply/nil"},
		"refuses ICMP errors":       {m{send: func(_ *m, _ step, v ir.Verdict) bool { return accept(v) && v.Reason != ir.ReasonRelated }}, "state/icmp-error"},
		"passes every ICMP error":   {m{send: func(_ *m, s step, v ir.Verdict) bool { p := decode(s.Packet); return accept(v) || p.IsICMPError() }}, "state/icmp-error state/two-vpcs"},
		"passes all IPv6":           {m{send: func(_ *m, s step, v ir.Verdict) bool { return accept(v) || s.Packet[0]>>4 == 6 }}, "verdict/families apply/first"},
		"filters no egress":         {m{send: func(_ *m, s step, v ir.Verdict) bool { return accept(v) || s.Direction == sg.Egress }}, "verdict/directions apply/first"},
		"loses the policy by an error": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			if next == nil {
				u.userspace = newUserspace()
				return errors.New("lost")
			}
			return u.Engine.Apply(ctx, next)
		}}, "apply/nil"},
		"takes no matcher for a policy": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			if next == nil {
				return nil
			}
			return u.Engine.Apply(ctx, next)
		}}, "apply/nil"},
		"minds the context half way": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			err := u.Engine.Apply(ctx, next)
			return errors.Join(err, ctx.Err())
		}}, "apply/cancelled"},
		"loses state by Apply": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			if next != nil {
				u.userspace = newUserspace()
			}
			return u.Engine.Apply(ctx, next)
		}}, "apply/again change/add-revalidate change/rule-keep change/rule-cut walk/udp"},
		"closes for a moment": {m{apply: moment()}, "concurrent/established concurrent/new"},
		"opens for a moment":  {m{apply: moment(everything()...)}, "concurrent/closed"},
		"cuts connections by Apply": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			err := u.Engine.Apply(ctx, next)
			u.Table().Update(0, func(*conntrack.Entry) (conntrack.Mark, uint32, bool) { return 0, 0, false })
			return err
		}}, "concurrent/established apply/again"},
		"fails now and then": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			if u.applied > 10 {
				return errors.New("no")
			}
			return u.Engine.Apply(ctx, next)
		}}, "concurrent/established concurrent/new concurrent/closed"},
		"fails when it is done": {m{fails: func(u *m, next *compile.Matcher) error {
			return errors.Join(errors.New("broken"), u.Engine.Apply(context.Background(), next))
		}}, "apply/failed"},
		"loses the policy by a failure": {m{fails: func(u *m, _ *compile.Matcher) error {
			u.userspace = newUserspace()
			return errors.New("broken")
		}}, "apply/failed"},
		"hides a failure": {m{fails: func(*m, *compile.Matcher) error { return nil }}, "apply/failed"},
		"skips policies":  {m{apply: stale}, "verdict/groups verdict/sets verdict/union change/rule-revalidate walk/tcp"},
		"keeps its first policy": {m{apply: func(u *m, ctx context.Context, next *compile.Matcher) error {
			if next != nil && u.Matcher() != nil {
				return nil
			}
			return u.Engine.Apply(ctx, next)
		}}, "apply/compilers verdict/union change/rule-revalidate"},
		"closes everything by Close": {m{send: func(u *m, _ step, v ir.Verdict) bool { return accept(v) && !u.closed }}, "apply/close"},
		"opens everything by Close":  {m{send: func(u *m, _ step, v ir.Verdict) bool { return accept(v) || u.closed }}, "apply/close"},
		"can not be closed":          {m{close: func(*m) error { return errors.New("no") }}, "apply/first apply/close state/tcp"},
		"never ends a flow": {m{send: func(u *m, s step, v ir.Verdict) bool { return accept(v) || u.knows(s) }},
			"change/rule-revalidate change/rule-cut change/member-revalidate change/detach-cut change/interface-keep state/timeout walk/udp walk/tcp walk/icmp apply/back"},
		"takes a SYN for a part of its connection": {m{send: func(u *m, s step, v ir.Verdict) bool {
			return accept(v) || u.knows(s) && decode(s.Packet).Flags == packet.SYN
		}}, "change/syn-revalidate change/syn-keep change/syn-cut"},
		"tells no VPCs apart": {m{front: func(s step) step {
			s.Interface = sg.InterfaceID(strings.Replace(string(s.Interface), "blue", "red", 1))
			return s
		}}, "state/two-vpcs verdict/vpcs"},
		"tracks by port only": {m{send: func(u *m, s step, v ir.Verdict) bool {
			p := decode(s.Packet)
			for k := range u.seen {
				if k.t.SrcPort == p.Tuple.SrcPort && k.t.DstPort == p.Tuple.DstPort && k.i == s.Interface && p.Tuple.HasPorts() {
					return true
				}
			}
			return accept(v)
		}}, "state/udp state/no-licence"},
		"answers the wrong identifier": {m{send: func(u *m, s step, v ir.Verdict) bool {
			p := decode(s.Packet)
			return accept(v) || p.IsICMPQuery() && (p.ICMPType == 0 || p.ICMPType == 129)
		}}, "state/ping"},
		"time stands still":    {m{stuck: true}, "state/timeout walk/udp"},
		"none, but for a test": {m{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want, tried := make(map[string]bool), 0
			for _, name := range strings.Fields(c.want) {
				want[name] = true
			}
			for k := range enforcetest.Cases(enforcetest.Options{Policies: 5, Walks: 6, Turns: 20}) {
				if len(want) > 0 && !want[k.Name] {
					continue
				}
				u := c.m
				u.userspace, u.seen, u.judged = newUserspace(), make(map[key]bool), new(atomic.Int64)
				err := k.Run(t.Context(), &u)
				require.True(t, u.closed, "%s leaves the lab open", k.Name)
				require.Equal(t, want[k.Name], err != nil, "%s: %v", k.Name, err)
				tried++
			}
			require.True(t, len(want) == 0 || tried == len(want), "no such case")
		})
	}
}

// TestEveryCaseExpectsBoth: each case has packets that must pass and packets
// that must not, so that neither a cable nor a cut cable passes it.
func TestEveryCaseExpectsBoth(t *testing.T) {
	names := make(map[string]bool)
	for c := range enforcetest.Cases(enforcetest.Options{Policies: 1, Walks: 1}) {
		require.False(t, names[c.Name], "%s twice", c.Name)
		require.NotEmpty(t, c.Doc)
		names[c.Name] = true
		for _, pass := range []bool{false, true} {
			err := c.Run(t.Context(), &mutant{userspace: newUserspace(), seen: make(map[key]bool), send: func(*mutant, enforcetest.Step, ir.Verdict) bool { return pass }})
			word := map[bool]string{true: "should not come out, and did", false: "should come out, and did not"}[pass]
			require.ErrorContains(t, err, word, c.Name)
		}
	}
	require.Greater(t, len(names), 60)
}

// TestErrors: what goes wrong is told, with the packet and the reason.
func TestErrors(t *testing.T) {
	find := func(name string) enforcetest.Case {
		for c := range enforcetest.Cases(enforcetest.Options{}) {
			if c.Name == name {
				return c
			}
		}
		t.Fatal("no case ", name)
		return enforcetest.Case{}
	}
	cable := &mutant{userspace: newUserspace(), seen: make(map[key]bool), send: func(*mutant, enforcetest.Step, ir.Verdict) bool { return true }}
	err := find("verdict/families").Run(t.Context(), cable)
	require.ErrorContains(t, err, "packet 2 of 12: red-1 ingress tcp 192.0.2.7:20002 > 198.18.0.10:6 S should not come out, and did: no rule for tcp 6 from 192.0.2.7; nearest: g/")
	err = find("verdict/random").Run(t.Context(), cable)
	require.ErrorContains(t, err, "seed 1, policy 0: packet ")
	require.ErrorContains(t, err, "…")
	err = find("walk/udp").Run(t.Context(), cable)
	require.ErrorContains(t, err, "seed 1, walk 0: packet ")

	for _, name := range []string{"state/timeout", "apply/failed", "concurrent/new"} {
		err = find(name).Run(t.Context(), struct{ enforcetest.Lab }{newUserspace()})
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
	broken := errors.New("broken")
	err = find("state/tcp").Run(t.Context(), failing{newUserspace(), broken})
	require.ErrorIs(t, err, broken)
	err = find("state/tcp").Run(t.Context(), short{newUserspace()})
	require.ErrorContains(t, err, "SendAll: 0 answers to ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, find("state/tcp").Run(ctx, newUserspace()), context.Canceled)
}

type failing struct {
	*userspace
	err error
}

func (f failing) Send(sg.InterfaceID, sg.Direction, []byte) (bool, error) { return false, f.err }

type short struct{ *userspace }

func (short) SendAll([]enforcetest.Step) ([]bool, error) { return nil, nil }

// TestDiffers: a lab that differs in a case skips it; one that lacks what a
// case needs, too.
func TestDiffers(t *testing.T) {
	ran := 0
	enforcetest.Run(t, enforcetest.Options{
		Policies: 1, Walks: 1,
		New: func(*testing.T, []enforcetest.Interface) enforcetest.Lab {
			ran++
			return struct{ enforcetest.Lab }{newUserspace()} // its clock can not be set
		},
		Differs: map[string]string{"state/tcp": "it is only an example"},
	})
	all := 0
	for range enforcetest.Cases(enforcetest.Options{}) {
		all++
	}
	require.Equal(t, all-1, ran)
}

// The engine tried without package testing: Run does the same with subtests.
func ExampleCases() {
	tried := 0
	for c := range enforcetest.Cases(enforcetest.Options{Policies: 2, Walks: 2}) {
		err := c.Run(context.Background(), newUserspace())
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			fmt.Println(c.Name, err)
		}
		tried++
	}
	fmt.Println(tried > 0)
	// Output: true
}
