package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/enforce/tun"
	"example.com/secgroup/sg"
)

// hop is a way through the host: from an interface or a network outside, the
// empty id, to another.
type hop struct {
	vpc      sg.VPCID
	from, to sg.InterfaceID
}

// reference says what should become of packets, by an Engine. A packet between
// two interfaces passes the egress of one and the ingress of the other; where
// the second refuses it the first forgets the flow that it opened, for a packet
// that did not arrive leaves no trace (SEM-10).
type reference struct {
	engine  *enforce.Engine
	matcher *compile.Matcher
	filters map[sg.InterfaceID]*wireFilter // nil: ask the ports

	opened packet.Tuple // by the packet under way
	silent bool         // what ends now is the reference's own doing
	cut    []ending

	// Connections of which the kernel knows more than the engine: they were
	// refused, or passed without being tracked.
	strange map[string]bool
	// Connections that the engine has ended, and the kernel has not.
	outlives map[string]bool
}

type ending struct {
	id   sg.InterfaceID
	orig packet.Tuple
}

// newReference returns a reference without a policy; through is true for one
// that sends packets through filters of TUN devices.
func newReference(through bool) *reference {
	r := &reference{strange: map[string]bool{}, outlives: map[string]bool{}}
	epoch := time.Unix(0, 0)
	r.engine = enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 1 << 13, Shards: 1, MaxFragments: 1, OnEnd: r.ended},
		Now:       func() time.Time { return epoch },
		OnEvent: func(e *enforce.Event) {
			if e.Kind == enforce.FlowOpened {
				r.opened = e.Tuple
			}
		},
	})
	if through {
		r.filters = map[sg.InterfaceID]*wireFilter{}
		for _, s := range sites() {
			r.filters[s.id] = newWireFilter(r.engine.Port(s.id))
		}
	}
	return r
}

// connection names a connection of a VPC, whoever began it.
func connectionOf(vpc sg.VPCID, t packet.Tuple) string {
	a, b := t.String(), t.Reverse().String()
	return string(vpc) + " " + min(a, b)
}

func (r *reference) ended(e *conntrack.Entry, why conntrack.End) {
	id, _ := r.engine.Interface(e.Zone)
	s := siteOf(id)
	if r.silent || s == nil {
		return
	}
	switch why {
	case conntrack.EndDeleted, conntrack.EndReplaced: // refused by a policy that narrowed; opened again
		r.strange[connectionOf(s.vpc, e.Orig)] = true
	case conntrack.EndCut:
		r.cut = append(r.cut, ending{id, e.Orig})
		local := e.Orig.DstAddr()
		if e.OrigSide == conntrack.Local {
			local = e.Orig.SrcAddr()
		}
		if !slices.Contains(s.addrs, netip.PrefixFrom(local, local.BitLen())) {
			// The backend finds connections that end by the addresses of
			// interfaces, not by networks behind them.
			r.outlives[connectionOf(s.vpc, e.Orig)] = true
		}
	}
}

// apply makes m the policy. The kernel has one entry for both ends of a
// connection: cut is cut at both.
func (r *reference) apply(m *compile.Matcher) error {
	r.matcher = m
	if err := r.engine.Apply(context.Background(), m); err != nil {
		return err
	}
	for _, c := range r.cut {
		vpc := siteOf(c.id).vpc
		for _, s := range sites() {
			if s.vpc == vpc && s.id != c.id {
				r.forget(s.id, c.orig)
			}
		}
	}
	r.cut = nil
	return nil
}

// forget deletes a connection of an interface, if it has it.
func (r *reference) forget(id sg.InterfaceID, t packet.Tuple) {
	r.silent = true
	defer func() { r.silent = false }()
	for z := conntrack.Zone(1); ; z++ {
		owner, ok := r.engine.Interface(z)
		if !ok {
			return
		}
		if owner == id {
			r.engine.Table().DeleteTuple(1, z, t)
		}
	}
}

// judgement is what the reference says of a packet.
type judgement struct {
	pass    bool
	why     string
	strange bool // the kernel remembers more of the connection than the engine: see strange

	established bool // it passes as part of a connection
	outlives    bool // see reference
	unlisted    bool // an ICMP error about a connection of addresses that no interface lists: the kernel does not know whose it is
}

func (r *reference) filter(id sg.InterfaceID, d sg.Direction, pkt []byte) (pass, stateless bool, why string) {
	r.opened = packet.Tuple{}
	if f := r.filters[id]; f != nil {
		return f.pass(d, pkt), false, "the filter of a TUN device"
	}
	v := r.engine.Port(id).Filter(d, pkt)
	return v.Action == sg.Accept, v.Stateless, fmt.Sprintf("%v of %v: %v", d, id, v.Reason)
}

// judge says what should become of a packet, and moves on the connections.
func (r *reference) judge(h hop, pkt []byte) judgement {
	name := r.name(h.vpc, pkt)
	opened := packet.Tuple{}
	j := judgement{pass: true}
	ends := []struct {
		id sg.InterfaceID
		d  sg.Direction
	}{{h.from, sg.Egress}, {h.to, sg.Ingress}}
	for i, e := range ends {
		if e.id == "" {
			continue
		}
		pass, stateless, why := r.filter(e.id, e.d, pkt)
		j.why = why
		j.established = j.established || pass && (strings.HasSuffix(why, "established") || strings.HasSuffix(why, "related"))
		if stateless { // the kernel tracks it all the same, without a licence
			r.strange[name] = true
		}
		if !pass {
			j.pass = false
			if i == 1 && opened.Family != 0 {
				r.forget(h.from, opened)
			}
			break
		}
		opened = r.opened
	}
	j.strange, j.outlives = r.strange[name], r.outlives[name]
	var p packet.Packet
	if h.from != "" && packet.Decode(pkt, &p) == nil && p.Inner.Tuple.Family != 0 {
		j.unlisted = !slices.ContainsFunc(sites(), func(s site) bool {
			i, ok := r.matcher.Interface(s.id)
			return ok && s.vpc == h.vpc && within(p.Inner.Tuple.DstAddr(), i.Addrs, i.Allow)
		})
	}
	return j
}

// name names the connection that a packet is of, or about.
func (r *reference) name(vpc sg.VPCID, pkt []byte) string {
	var p packet.Packet
	if packet.Decode(pkt, &p) != nil {
		return ""
	}
	if p.Inner.Tuple.Family != 0 {
		return connectionOf(vpc, p.Inner.Tuple)
	}
	return connectionOf(vpc, p.Tuple)
}

// allowed reports whether today's rules allow the packet, or a packet the other
// way, at every end: what a connection may live on.
func (r *reference) allowed(h hop, pkt []byte) bool {
	var p packet.Packet
	if packet.Decode(pkt, &p) != nil {
		return false
	}
	if r.matcher.Program().Established() == sg.Keep {
		return true // once allowed is allowed
	}
	forth := p
	if p.Inner.Tuple.Family != 0 {
		forth = packet.Packet{Tuple: p.Inner.Tuple.Reverse(), L4: 1, ICMPType: p.Inner.ICMPType, ICMPCode: p.Inner.ICMPCode}
	}
	back := forth
	back.Tuple = forth.Tuple.Reverse()
	prog := r.matcher.Program()
	accepts := func(id sg.InterfaceID, d sg.Direction) bool {
		for _, c := range []struct {
			p *packet.Packet
			d sg.Direction
		}{{&forth, d}, {&back, d.Opposite()}} {
			q := *c.p
			for _, typ := range []uint8{q.ICMPType, 8, 128} {
				if q.ICMPType = typ; prog.Eval(id, c.d, enforce.FlowOf(&q, c.d)).Action == sg.Accept {
					return true
				}
			}
		}
		return false
	}
	return (h.from == "" || accepts(h.from, sg.Egress)) && (h.to == "" || accepts(h.to, sg.Ingress))
}

// opens says what Eval and the matcher make of a packet that opens a flow, and
// counts the rules that decide it.
func (r *reference) opens(h hop, pkt []byte, counts map[ir.RuleNum]int) (bool, error) {
	var p packet.Packet
	if err := packet.Decode(pkt, &p); err != nil {
		return false, err
	}
	judge := func(id sg.InterfaceID, d sg.Direction) (bool, error) {
		if id == "" {
			return true, nil
		}
		f := enforce.FlowOf(&p, d)
		i, _ := r.matcher.Interface(id)
		want := r.matcher.Program().Eval(id, d, f)
		if got := r.matcher.Match(i.Index, d, f); got != want {
			return false, fmt.Errorf("%v of %v, %+v: the matcher says %+v, Eval %+v", d, id, f, got, want)
		}
		src, dst := p.Tuple.SrcAddr(), p.Tuple.DstAddr()
		if i.Guard && (d == sg.Egress && !within(src, i.Addrs, i.Allow) || d == sg.Ingress && (within(src, i.Addrs) || !within(dst, i.Addrs, i.Allow))) {
			return false, nil
		}
		if want.Rule != 0 {
			counts[want.Rule]++
		}
		return want.Action == sg.Accept, nil
	}
	out, err := judge(h.from, sg.Egress)
	if err != nil || !out {
		return out, err
	}
	return judge(h.to, sg.Ingress)
}

func within(a netip.Addr, lists ...[]netip.Prefix) bool {
	return slices.ContainsFunc(slices.Concat(lists...), func(p netip.Prefix) bool { return p.Contains(a) })
}

// wireFilter is a tun.Filter of a device in memory.
type wireFilter struct {
	*tun.Filter
	dev *memoryDevice
}

func newWireFilter(p *enforce.Port) *wireFilter {
	d := new(memoryDevice)
	return &wireFilter{tun.New(d, p, tun.FilterOptions{}), d}
}

// pass reports whether a packet comes out at the other side.
func (f *wireFilter) pass(d sg.Direction, pkt []byte) bool {
	if d == sg.Ingress {
		f.dev.out = nil
		_, err := f.Write([][]byte{slices.Clone(pkt)}, 0)
		return err == nil && len(f.dev.out) == 1
	}
	f.dev.in = pkt
	n, _ := f.Read([][]byte{make([]byte, 2048)}, make([]int, 1), 0)
	return n == 1
}

// memoryDevice is a device that carries one packet at a time.
type memoryDevice struct {
	in  []byte
	out [][]byte
}

var errNoPacket = errors.New("no packet")

func (d *memoryDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	if d.in == nil {
		return 0, errNoPacket
	}
	sizes[0] = copy(bufs[0][offset:], d.in)
	d.in = nil
	return 1, nil
}

func (d *memoryDevice) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		d.out = append(d.out, b[offset:])
	}
	return len(bufs), nil
}

func (d *memoryDevice) BatchSize() int { return 1 }
func (d *memoryDevice) Close() error   { return nil }

// opener returns the packet that opens a flow of a protocol; an echo request
// has the source port as its identifier.
func opener(p sg.Protocol, src, dst netip.AddrPort) []byte {
	switch {
	case p == sg.TCP:
		return enforcetest.TCP(src, dst, packet.SYN, 1000, 0)
	case p == sg.UDP:
		return enforcetest.UDP(src, dst, 1)
	case p == sg.SCTP:
		return enforcetest.SCTP(src, dst)
	case p.HasICMP():
		return enforcetest.Echo(src.Addr(), dst.Addr(), false, src.Port())
	}
	// GRE: no options, version 0, IPv4 inside (RFC 2784).
	return enforcetest.IP(src.Addr(), dst.Addr(), uint8(p), []byte{0, 0, 8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0})
}
