package enforcetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"example.com/secgroup/compile"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/ipset"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

// bench is a lab in use by one case. After its first error it does nothing any
// more, so that cases need not look.
type bench struct {
	ctx      context.Context
	lab      Lab
	options  Options
	compiler compile.Compiler
	matcher  *compile.Matcher // in force
	closed   bool
	err      error

	queue []check
	used  map[packet.Tuple]bool // by packets that may have opened a flow
	last  uint16                // port handed out
	met   int                   // strangers
}

// check is a packet, and whether it should come out.
type check struct {
	Step
	want bool
	why  string
	more func() string // of a walk: how it came to this
}

func newBench(ctx context.Context, l Lab, o Options) *bench {
	return &bench{ctx: ctx, lab: l, options: o, used: make(map[packet.Tuple]bool), last: 20_000}
}

func (b *bench) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// port returns a port that no packet had before, or not for long.
func (b *bench) port() uint16 {
	if b.last++; b.last == 60_000 {
		b.last = 20_001
	}
	return b.last
}

// stranger returns a remote address that no packet had before: flows without
// ports are told apart by it alone.
func (b *bench) stranger(f ends) netip.Addr {
	a := f.peer
	for range 20 + b.met {
		a = a.Next()
	}
	b.met = (b.met + 1) % 200
	return a
}

// start makes p and c the policy, as the first one or a new one altogether.
func (b *bench) start(p sg.Profile, c ...policy.Change) {
	s, err := policy.Build(p, c...)
	if err != nil {
		b.fail("the policy of the case: %w", err)
		return
	}
	m, err := b.compiler.Reset(s)
	if err != nil {
		b.fail("the policy of the case: %w", err)
		return
	}
	b.apply(m)
}

// change changes the policy.
func (b *bench) change(c ...policy.Change) {
	if b.err != nil {
		return
	}
	m, err := b.compiler.Apply(policy.Batch{Changes: c})
	if err != nil {
		b.fail("the policy of the case: %w", err)
		return
	}
	b.apply(m)
}

// apply puts m in force, after the packets that are queued.
func (b *bench) apply(m *compile.Matcher) {
	b.flush()
	if b.err != nil {
		return
	}
	if err := b.lab.Apply(b.ctx, m); err != nil {
		b.fail("Apply: %w", err)
		return
	}
	b.matcher = m
}

func (b *bench) close() {
	if b.closed {
		return
	}
	b.closed = true
	if err := b.lab.Close(); err != nil {
		b.fail("Close: %w", err)
	}
}

// in and out queue a packet to, and from, the workload of an interface.
func (b *bench) in(i sg.InterfaceID, pkt []byte, want bool, why string) {
	b.send(i, sg.Ingress, pkt, want, why)
}

func (b *bench) out(i sg.InterfaceID, pkt []byte, want bool, why string) {
	b.send(i, sg.Egress, pkt, want, why)
}

func (b *bench) send(i sg.InterfaceID, d sg.Direction, pkt []byte, want bool, why string) {
	b.queue = append(b.queue, check{Step: Step{i, d, slices.Clone(pkt)}, want: want, why: why})
	if len(b.queue) == MaxBatch {
		b.flush()
	}
}

// explain has the last packet that was queued tell how it came to this, if it
// goes astray.
func (b *bench) explain(more func() string) {
	if n := len(b.queue); n > 0 {
		b.queue[n-1].more = more
	}
}

// eval queues a packet that opens a flow: it should come out if the policy in
// force says so. A packet that belongs to a flow opened before is left out.
func (b *bench) eval(i sg.InterfaceID, d sg.Direction, pkt []byte) {
	var p packet.Packet
	if err := packet.Decode(pkt, &p); err != nil {
		b.fail("a packet of the case: %w", err)
	}
	// The same addresses in two VPCs are the lab's business, not this one's.
	if b.err != nil || b.used[p.Tuple] || b.used[p.Tuple.Reverse()] {
		return
	}
	b.used[p.Tuple] = true
	e := b.matcher.Explain(i, d, enforce.FlowOf(&p, d))
	b.send(i, d, pkt, e.Verdict.Action == sg.Accept, e.Why())
}

// flush sends what is queued and compares.
func (b *bench) flush() {
	queue := b.queue
	b.queue = nil
	if b.err != nil || len(queue) == 0 {
		return
	}
	if err := b.ctx.Err(); err != nil {
		b.fail("%w", err)
		return
	}
	steps := make([]Step, len(queue))
	for i, c := range queue {
		steps[i] = c.Step
		steps[i].Packet = slices.Clone(c.Packet)
	}
	passed, err := b.sendAll(steps)
	switch {
	case err != nil:
		b.fail("sending: %w", err)
	case len(passed) != len(steps):
		b.fail("SendAll: %d answers to %d steps", len(passed), len(steps))
	}
	if b.err != nil {
		return
	}
	const most = 8
	var faults []string
	for i, c := range queue {
		if passed[i] == c.want {
			continue
		}
		if len(faults) == most {
			faults = append(faults, "…")
			break
		}
		faults = append(faults, fmt.Sprintf("packet %d of %d: %v", i+1, len(queue), c))
	}
	if len(faults) > 0 {
		b.err = errors.New(strings.Join(faults, "\n"))
	}
}

func (b *bench) sendAll(steps []Step) ([]bool, error) {
	if l, ok := b.lab.(Batcher); ok {
		return l.SendAll(steps)
	}
	passed := make([]bool, len(steps))
	for i, s := range steps {
		var err error
		if passed[i], err = b.lab.Send(s.Interface, s.Direction, s.Packet); err != nil {
			return nil, err
		}
	}
	return passed, nil
}

// String says what went wrong with c.
func (c check) String() string {
	what := "should not come out, and did"
	if c.want {
		what = "should come out, and did not"
	}
	s := fmt.Sprintf("%s %v %s %s: %s", c.Interface, c.Direction, describe(c.Packet), what, c.why)
	if c.more != nil {
		s += "\n" + c.more()
	}
	return s
}

// describe returns a packet as text: "tcp 192.0.2.7:4000 > 198.18.0.10:443 SA".
func describe(b []byte) string {
	var p packet.Packet
	if packet.Decode(b, &p) != nil {
		return fmt.Sprintf("% x", b)
	}
	s := p.Tuple.String()
	switch {
	case sg.Protocol(p.Tuple.Proto) == sg.TCP:
		s += " "
		for i, f := range "FSRPAU" {
			if p.Flags&(1<<i) != 0 {
				s += string(f)
			}
		}
	case sg.Protocol(p.Tuple.Proto).HasICMP():
		s += fmt.Sprintf(" type %d code %d", p.ICMPType, p.ICMPCode)
	}
	if p.Inner.Tuple.Family != 0 {
		s += fmt.Sprintf(" about (%v)", p.Inner.Tuple)
	}
	return s
}

// ends is the addresses of a case in one family: of the workload behind red-1
// and of two remote hosts.
type ends struct {
	name             string
	local, peer, far netip.Addr
	icmp             sg.Protocol
	echo, reply      uint8 // types
	any              netip.Prefix
}

func families() []ends {
	return []ends{
		{"ipv4", addr("198.18.0.10"), addr("192.0.2.7"), addr("198.51.100.9"), sg.ICMP, 8, 0, prefix("0.0.0.0/0")},
		{"ipv6", addr("2001:db8:1::10"), addr("2001:db8:a::7"), addr("2001:db8:b::9"), sg.ICMPv6, 128, 129, prefix("::/0")},
	}
}

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// Policies. Interfaces and groups of the cases are in VPC "red" where nothing
// else is said.

func profile(e sg.Established) sg.Profile {
	return sg.Profile{Name: "enforcetest", AllowStateless: true, Established: e}
}

// group returns a group of VPC "red".
func group(id sg.GroupID, rules ...[]sg.Rule) policy.PutGroup { return groupIn("red", id, rules...) }

func groupIn(vpc sg.VPCID, id sg.GroupID, rules ...[]sg.Rule) policy.PutGroup {
	g := &sg.Group{ID: id, Name: string(id), VPC: vpc}
	for _, r := range rules {
		g.Rules = append(g.Rules, r...)
	}
	return policy.PutGroup{Group: g}
}

func stateless(g policy.PutGroup) policy.PutGroup {
	g.Group.Stateless = true
	return g
}

// iface returns an interface of the suite with groups.
func iface(id sg.InterfaceID, groups ...sg.GroupID) policy.PutInterface {
	for _, i := range Interfaces() {
		if i.ID == id {
			return policy.PutInterface{Interface: &sg.Interface{ID: id, VPC: i.VPC, Addrs: i.Addrs, Groups: groups}}
		}
	}
	panic("no interface " + id)
}

// member returns an interface of another host, in VPC "red".
func member(id sg.InterfaceID, addrs string, groups ...sg.GroupID) policy.PutInterface {
	i := &sg.Interface{ID: id, VPC: "red", Groups: groups}
	for _, s := range strings.Fields(addrs) {
		p, err := sg.ParsePrefix(s)
		if err != nil {
			panic(err)
		}
		i.Addrs = append(i.Addrs, p)
	}
	return policy.PutInterface{Interface: i}
}

func set(id sg.SetID, f sg.Family, entries string) policy.PutSet {
	s := ipset.New(id, f, sg.Global())
	for _, e := range strings.Fields(entries) {
		p, err := ipset.ParseEntry(e)
		if err != nil {
			panic(err)
		}
		if err := s.Add(ipset.Entry{Prefix: p}); err != nil {
			panic(err)
		}
	}
	return policy.PutSet{Set: s}
}

// peer reads "any", a CIDR, "group:x" or "set:x".
func peer(s string) sg.Peer {
	var p sg.Peer
	if err := p.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return p
}

// rule returns a rule for ports, "443", "1-9" or "all", of a protocol.
func rule(id sg.RuleID, d sg.Direction, p sg.Protocol, ports, from string) sg.Rule {
	r := sg.Rule{ID: id, Direction: d, Protocol: p, Peer: peer(from)}
	if p.HasPorts() {
		var err error
		if r.Ports, err = sg.ParsePortRange(ports); err != nil {
			panic(err)
		}
	}
	return r
}

func icmpRule(id sg.RuleID, d sg.Direction, f ends, m sg.ICMPMatch) sg.Rule {
	return sg.Rule{ID: id, Direction: d, Protocol: f.icmp, ICMP: m, Peer: sg.PeerCIDR(f.any)}
}

// anyPeer returns a rule for any peer, of either family.
func anyPeer(id sg.RuleID, d sg.Direction, p sg.Protocol, ports string) []sg.Rule {
	if p == sg.ICMP {
		return []sg.Rule{rule(id+"-4", d, sg.ICMP, "", "any"), rule(id+"-6", d, sg.ICMPv6, "", "any")}
	}
	return []sg.Rule{rule(id, d, p, ports, "any")}
}

// opener returns a packet that opens a flow of a protocol: with ports, or an
// echo request whose identifier is the source port.
func opener(p sg.Protocol, src, dst netip.AddrPort) []byte {
	switch {
	case p == sg.TCP:
		return TCP(src, dst, packet.SYN, 1000, 0)
	case p == sg.UDP:
		return UDP(src, dst, []byte("enforcetest")...)
	case p == sg.SCTP:
		return SCTP(src, dst)
	case p.HasICMP():
		return Echo(src.Addr(), dst.Addr(), false, src.Port())
	}
	return IP(src.Addr(), dst.Addr(), uint8(p), []byte("enforcetest"))
}

// open queues a packet by which remote and the workload at local open a flow
// to port, which should come out if the policy says so.
func (b *bench) open(i sg.InterfaceID, d sg.Direction, p sg.Protocol, remote, local netip.Addr, port uint16) {
	src, dst := at(remote, b.port()), at(local, port)
	if d == sg.Egress {
		src, dst = at(local, src.Port()), at(remote, port)
	}
	b.eval(i, d, opener(p, src, dst))
}
