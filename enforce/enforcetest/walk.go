package enforcetest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/conntrack"
	"example.com/secgroup/conntrack/packet"
	"example.com/secgroup/enforce"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/policy"
)

func walkCases() []Case {
	var cases []Case
	for _, p := range []sg.Protocol{sg.TCP, sg.UDP, sg.ICMP} {
		cases = append(cases, Case{
			Name: "walk/" + p.String(),
			Doc: "Packets of a few flows, in any order, between random changes of policy, fare as with an enforce.Engine." +
				" There is nothing odd about the packets, only about their order.",
			run: func(b *bench) { walks(b, p) },
		})
	}
	return cases
}

// walks takes random walks, each with flows and a policy of its own.
func walks(b *bench, p sg.Protocol) {
	for n := range b.options.Walks {
		w := newWalk(b, p, n)
		for range b.options.Steps {
			if b.err != nil {
				break
			}
			w.step()
		}
		b.flush()
		if b.err != nil {
			b.err = fmt.Errorf("seed %d, walk %d: %w", b.options.Seed, n, b.err)
			return
		}
	}
}

// walk is a walk of one lab beside an engine.
type walk struct {
	generator
	b     *bench
	proto sg.Protocol
	ref   *enforce.Engine
	clock time.Duration // of ref
	flows []*walkFlow
	log   []walkEvent
}

// walkEvent is what happened to a flow, or with flow nil to all.
type walkEvent struct {
	flow *walkFlow
	text string
}

func (w *walk) note(f *walkFlow, format string, args ...any) {
	w.log = append(w.log, walkEvent{f, fmt.Sprintf(format, args...)})
}

// history returns what happened to f in the first n events.
func (w *walk) history(f *walkFlow, n int) string {
	s := "its flow before that:"
	for _, e := range w.log[:n] {
		if e.flow == f || e.flow == nil {
			s += "\n    " + e.text
		}
	}
	return s
}

// walkFlow is a flow that may be, of an interface.
type walkFlow struct {
	iface sg.InterfaceID
	d     sg.Direction // of its opener
	Conn
	id   uint16 // of pings
	open bool   // TCP: its SYN was answered, as the engine sees it

	last  []byte       // packet that passed
	lastD sg.Direction // of it
}

func newWalk(b *bench, p sg.Protocol, n int) *walk {
	w := &walk{generator: generator{rand.New(rand.NewPCG(b.options.Seed, uint64(n)))}, b: b, proto: p}
	began := time.Now()
	w.ref = enforce.NewEngine(enforce.Options{
		Conntrack: conntrack.Options{MaxEntries: 4096, Shards: 1, MaxFragments: 1},
		Now:       func() time.Time { return began.Add(w.clock) },
	})
	w.start(n)
	for _, i := range []sg.InterfaceID{"red-1", "blue-1"} {
		for _, f := range families() {
			for _, remote := range []netip.Addr{f.peer, f.far} {
				for _, port := range []uint16{80, 443} {
					for _, d := range both() {
						c := Conn{Client: at(remote, 0), Server: at(f.local, port), ISN: 1000}
						if d == sg.Egress {
							c.Client, c.Server = at(f.local, 0), at(remote, port)
						}
						w.flows = append(w.flows, &walkFlow{iface: i, d: d, Conn: c})
						w.renew(w.flows[len(w.flows)-1])
					}
				}
			}
		}
	}
	return w
}

// renew makes another flow of f, from another port: what was there before is
// not in the way. Whether a connection that was reset may be opened again from
// the same port is not for the walk: implementations differ in small ways.
func (w *walk) renew(f *walkFlow) {
	f.id, f.open, f.last = w.b.port(), false, nil
	f.Client = at(f.Client.Addr(), f.id)
}

// start makes a new policy altogether, in which every interface is another one
// than before.
func (w *walk) start(n int) {
	p := profile([]sg.Established{sg.Revalidate, sg.Keep, sg.Cut}[n%3])
	// What is allowed in every direction on every port allows UDP answers by
	// themselves: see the cases change/turned.
	if w.IntN(4) == 0 && w.proto != sg.UDP {
		p.Unattached, p.EmptyDirection = sg.Accept, sg.Accept
	}
	w.b.start(p)
	groups := []policy.PutGroup{w.group("red", "red-a"), w.group("red", "red-b"), w.group("blue", "blue-a"), w.group("blue", "blue-b")}
	c := []policy.Change{iface("red-1", "red-a", "red-b"), iface("blue-1", "blue-a")}
	w.note(nil, "%v; red-1 has red-a and red-b, blue-1 has blue-a", p.Established)
	for _, g := range groups {
		c = append(c, g)
		w.note(nil, "%s has the rules %v", g.Group.ID, g.Group.Rules)
	}
	w.b.start(p, c...)
	w.refApply()
}

func (w *walk) refApply() {
	if w.b.err == nil {
		if err := w.ref.Apply(w.b.ctx, w.b.matcher); err != nil {
			w.b.fail("the reference: %w", err)
		}
	}
}

func (w *walk) group(vpc sg.VPCID, id sg.GroupID) policy.PutGroup {
	g := groupIn(vpc, id)
	keys := make(map[sg.Rule]bool)
	for n := range w.IntN(5) {
		proto := w.proto
		if proto != sg.UDP && w.IntN(4) == 0 {
			proto = sg.AnyProtocol
		}
		if proto == sg.ICMP && w.IntN(2) == 0 {
			proto = sg.ICMPv6
		}
		from := pick(w.generator, "any", "any", "192.0.2.7/32", "192.0.2.0/24", "2001:db8:a::/48", "2001:db8:b::9/128", "group:"+string(id))
		switch proto {
		case sg.ICMP:
			from = pick(w.generator, "any", "0.0.0.0/0", "192.0.2.7/32")
		case sg.ICMPv6:
			from = pick(w.generator, "any", "::/0", "2001:db8:a::7/128")
		}
		r := rule(sg.RuleID(fmt.Sprint("r", n)), pick(w.generator, both()...), proto, pick(w.generator, "80", "443", "80-443"), from)
		if !keys[r.Key()] {
			keys[r.Key()] = true
			g.Group.Rules = append(g.Group.Rules, r)
		}
	}
	return g
}

func (w *walk) step() {
	switch n := w.IntN(100); {
	case n < 6:
		w.edit()
	case n < 7:
		w.advance()
	default:
		w.packet(w.flows[w.IntN(len(w.flows))])
	}
}

// edit changes the policy a little.
func (w *walk) edit() {
	vpc := pick[sg.VPCID](w.generator, "red", "blue")
	groups := []sg.GroupID{sg.GroupID(vpc + "-a"), sg.GroupID(vpc + "-b")}
	is := sg.InterfaceID(vpc + "-1")
	some := iface(is, groups[:w.IntN(3)]...)
	var c []policy.Change
	switch w.IntN(8) {
	case 0:
		c = []policy.Change{some}
		w.note(nil, "%s gets the groups %v", is, some.Interface.Groups)
	case 1:
		c = []policy.Change{policy.DeleteInterface{ID: is}, some}
		w.note(nil, "%s is deleted and put again, with the groups %v", is, some.Interface.Groups)
	case 2:
		m := member(sg.InterfaceID(vpc+"-m"), pick(w.generator, "192.0.2.7 2001:db8:a::7", "198.51.100.9", "2001:db8:b::9"), groups[:w.IntN(3)]...)
		m.Interface.VPC = vpc
		c = []policy.Change{m}
		w.note(nil, "%v becomes a member of %v", m.Interface.Addrs, m.Interface.Groups)
	default:
		g := w.group(vpc, pick(w.generator, groups...))
		c = []policy.Change{g}
		w.note(nil, "%s has the rules %v", g.Group.ID, g.Group.Rules)
	}
	w.b.change(c...)
	w.refApply()
}

// advance lets time pass, if the lab can.
func (w *walk) advance() {
	l, ok := w.b.lab.(Advancer)
	if !ok {
		return
	}
	w.b.flush()
	d := time.Duration(pick(w.generator, 1, 9, 31, 61, 121)) * time.Second
	l.Advance(d)
	w.clock += d
	w.note(nil, "%v pass", d)
}

// packet sends a packet of f to the lab and the engine.
func (w *walk) packet(f *walkFlow) {
	d, pkt, flags := f.d, []byte(nil), uint8(0)
	forth := w.IntN(2) == 0
	switch w.proto {
	case sg.TCP:
		flags = w.flags(f, forth)
		if pkt = f.FromClient(flags); !forth {
			pkt = f.FromServer(flags)
		}
	case sg.UDP:
		if pkt = UDP(f.Client, f.Server); !forth {
			pkt = UDP(f.Server, f.Client)
		}
	case sg.ICMP:
		if pkt = Echo(f.Client.Addr(), f.Server.Addr(), false, f.id); !forth {
			pkt = Echo(f.Server.Addr(), f.Client.Addr(), true, f.id)
		}
	}
	if !forth {
		d = d.Opposite()
	}
	about := w.IntN(6) == 0
	if about {
		// Not the packet, but an error about it, or about the last that passed.
		if f.last != nil {
			d, pkt = f.lastD, f.last
		}
		var p packet.Packet
		_ = packet.Decode(pkt, &p)
		d, pkt, flags = d.Opposite(), Unreachable(p.Tuple.DstAddr(), p.Tuple.SrcAddr(), pkt), 0
	}
	v := w.ref.Port(f.iface).Filter(d, pkt)
	passed := v.Action == sg.Accept
	w.b.send(f.iface, d, pkt, passed, "the engine says "+v.Reason.String())
	n := len(w.log)
	w.b.explain(func() string { return w.history(f, n) })
	w.note(f, "%v %s: %v %v", d, describe(pkt), v.Action, v.Reason)
	if passed && !about {
		f.last, f.lastD = pkt, d
	}
	switch {
	case passed && flags == syn && v.Reason != ir.ReasonEstablished:
		f.open = false
	case passed && flags == synAck:
		f.open = true
	case passed && flags == rstAck:
		w.renew(f)
	}
}

// flags returns what the next segment of f has. Resets come from who has a
// part in the connection.
func (w *walk) flags(f *walkFlow, forth bool) uint8 {
	list := []uint8{ack, ack, ack, syn, syn}
	if !forth {
		list = []uint8{ack, ack, ack, synAck, synAck}
	}
	if f.open || !forth {
		list = append(list, rstAck)
	}
	return pick(w.generator, list...)
}
