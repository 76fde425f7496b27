package nftables

import (
	"fmt"
	"net/netip"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/enforce/enforcetest"
	"example.com/secgroup/sg"
)

// What a scenario begins with.
const (
	byForth      = iota // a packet of its opener
	byAnswer            // an answer
	byErrorForth        // an error about a packet of its opener
	byErrorBack         // an error about an answer
	unheard             // there is no answer ever
	errorsOnly          // later nothing but errors about answers
	forthOnly           // when half of the rules are gone nothing but a packet of its opener, then an answer
	reopened            // the other end opens it again while only that is allowed; then comes a packet of the opener
	reopenedBack        // likewise, then an answer
)

// scenario is a flow and what happens to it. After each change of policy it
// begins with something else: first is how it does after the first one.
type scenario struct {
	way
	first int
}

// begins is what f begins a phase with.
func (f *scenario) begins(phase int) int {
	if f.first >= unheard || phase == 0 {
		return f.first
	}
	return (f.first + phase - 1) % unheard
}

// play sends the packets of a phase.
func (f *scenario) play(phase int, send func(hop, []byte) bool) {
	forth := func(flags uint8) bool { return send(f.hop, f.forth(flags)) }
	back := func(flags uint8) bool { return send(f.back(), f.answer(flags)) }
	about := func(pkt []byte, h hop, src, dst netip.Addr) {
		send(hop{h.vpc, h.to, h.from}, enforcetest.Unreachable(src, dst, pkt))
	}
	errorForth := func() { about(f.forth(ack), f.hop, f.Server.Addr(), f.Client.Addr()) }
	errorBack := func() { about(f.answer(ack), f.back(), f.Client.Addr(), f.Server.Addr()) }
	switch begins := f.begins(phase); {
	case begins == unheard:
		if phase == 0 {
			forth(syn)
		}
		errorBack()
		if phase > 0 {
			forth(syn)
		}
		return
	case begins == errorsOnly && phase > 0:
		if phase > 1 {
			errorBack()
		}
		return
	case begins == forthOnly && phase > 0:
		switch phase {
		case 2:
			forth(ack)
		case 3:
			back(ack)
		}
		return
	case begins == reopened || begins == reopenedBack:
		switch phase {
		case 0:
			forth(syn)
		case 2: // half of the rules
			back(syn)
			forth(synAck)
			back(ack)
		case 4: // a new epoch, as all were in 3
			if begins == reopenedBack {
				back(ack)
			}
			forth(ack)
			back(ack)
		}
		return
	case phase == 0:
		if begins == byAnswer { // to nothing
			back(ack)
			errorForth()
		}
		forth(syn)
		back(synAck)
		forth(ack)
		if begins > unheard {
			return
		}
	}
	switch f.begins(phase) {
	case byForth:
		forth(ack)
	case byAnswer:
		back(ack)
	case byErrorForth:
		errorForth()
	case byErrorBack:
		errorBack()
	}
	back(ack)
	forth(ack)
	errorForth()
	errorBack()
	f.strangers(send)
	if phase > 0 && f.begins(phase) <= byAnswer {
		forth(syn)
		back(ack)
		forth(ack)
	}
}

// strangers has an interface send errors about the flow that is at neither end.
func (f *scenario) strangers(send func(hop, []byte) bool) {
	if f.vpc != "red" {
		return
	}
	var others []site
	for _, s := range sites()[:3] {
		if s.id != f.from && s.id != f.to {
			others = append(others, s)
		}
	}
	other := others[int(f.Client.Port()+f.Server.Port())%len(others)]
	src := addressIn(other.addrs, sg.FamilyOf(f.Client.Addr()))
	send(hop{f.vpc, other.id, f.to}, enforcetest.Unreachable(src, f.Server.Addr(), f.answer(ack)))
	send(hop{f.vpc, other.id, f.from}, enforcetest.Unreachable(src, f.Client.Addr(), f.forth(ack)))
}

// flows collects scenarios.
type flows struct {
	list []*scenario
	seen map[string]bool
	n    uint16
}

// add adds flows of an interface, one for each thing that they may begin with.
func (l *flows) add(s site, d sg.Direction, proto sg.Protocol, port uint16, remote netip.Addr, firsts ...int) {
	for _, first := range firsts {
		if key := fmt.Sprint(s.id, d, proto, port, remote, first); l.seen[key] {
			continue
		} else {
			l.seen[key] = true
		}
		l.n++
		remote := remote
		local := addressIn(s.addrs, sg.FamilyOf(remote))
		if first == byErrorBack && len(s.behind) > 0 {
			local = addressIn(s.behind, sg.FamilyOf(remote)).Next()
		}
		if !proto.HasPorts() && !proto.HasICMP() { // told apart by the addresses alone
			for range l.n % 16 {
				remote = remote.Next()
			}
			if a := remote.String(); a == hostOutward || a == hostInward {
				remote = remote.Next()
			}
		}
		f := &scenario{first: first, way: way{hop: hop{s.vpc, towards(s.vpc, remote), s.id}, proto: proto, Conn: enforcetest.Conn{Client: netip.AddrPortFrom(remote, 20_000+l.n), Server: netip.AddrPortFrom(local, port), ISN: 1000}}}
		if d == sg.Egress {
			f.from, f.to = f.to, f.from
			f.Client, f.Server = netip.AddrPortFrom(local, 20_000+l.n), netip.AddrPortFrom(remote, port)
		}
		l.list = append(l.list, f)
	}
}

// everyWay is everything that a flow can begin with.
var everyWay = []int{byForth, byAnswer, byErrorForth, byErrorBack, unheard, errorsOnly, forthOnly}

// scenarios are flows for every rule: what it allows, and what is next to it.
func scenarios(programs ...*ir.Program) []*scenario {
	l := &flows{seen: map[string]bool{}}
	for _, p := range programs {
		for _, s := range sites() {
			i, _ := p.Interface(s.id)
			pol, _ := p.Policy(i.Policy)
			for _, d := range directions() {
				l.ofRules(p, s, d, pol.Chain(d).Rules)
				l.ofWide(p, s, d, pol)
				l.ofOthers(s, d)
			}
		}
	}
	return l.list
}

// ofRules adds flows that the rules of a direction allow, and others.
func (l *flows) ofRules(p *ir.Program, s site, d sg.Direction, rules []ir.RuleNum) {
	for _, num := range rules {
		r, _ := p.Rule(num)
		protos := []sg.Protocol{r.Protocol}
		if r.Protocol == sg.AnyProtocol {
			protos = []sg.Protocol{sg.TCP, sg.UDP, 253}
		}
		remotes := []netip.Addr{map[sg.Family]netip.Addr{sg.IPv4: ip("198.51.100.200"), sg.IPv6: ip("2001:db8:c::200")}[r.Family]}
		if r.Peer != ir.Any {
			remotes = edges(p, r)
		}
		for _, proto := range protos {
			port := max(r.Ports.First, 1)
			if r.Protocol == sg.AnyProtocol {
				port = 4999
			}
			for k, remote := range remotes {
				switch {
				case k > 0:
					l.add(s, d, proto, port, remote, byForth, byAnswer)
					l.add(s, d, proto, port, remote.Next(), byForth)
				case s.id == "red-1" && 1000 < port && port < 2000:
					l.add(s, d, proto, port, remote, byForth)
				default:
					l.add(s, d, proto, port, remote, everyWay...)
				}
			}
			l.add(s, d, proto, port+1, remotes[0], byForth)
		}
	}
}

// edges are the first and the last address of every member of a rule's peer.
func edges(p *ir.Program, r ir.Rule) (out []netip.Addr) {
	for m := range p.Members(r.Peer, r.Family) {
		out = append(out, m.Addr())
		if last := lastAddr(m); last != m.Addr() {
			out = append(out, last)
		}
	}
	return out
}

// ofWide adds flows of the services of all rules with the peers to which, or
// from which, some rule allows everything.
func (l *flows) ofWide(p *ir.Program, s site, d sg.Direction, pol *ir.Policy) {
	var wide []ir.Rule
	for _, d := range directions() {
		for _, num := range pol.Chain(d).Rules {
			if r, _ := p.Rule(num); r.Protocol == sg.AnyProtocol && r.Peer != ir.Any {
				wide = append(wide, r)
			}
		}
	}
	for _, w := range wide {
		for _, num := range pol.Chain(d).Rules {
			r, _ := p.Rule(num)
			if !r.Protocol.HasPorts() && !r.Protocol.HasICMP() || r.Family != w.Family {
				continue
			}
			remote := edges(p, w)[0].Next()
			l.add(s, d, r.Protocol, max(r.Ports.First, 1), remote, byForth, byAnswer, byErrorForth, byErrorBack)
			if r.Protocol == sg.TCP {
				l.add(s, d, r.Protocol, max(r.Ports.First, 1), remote, reopened, reopenedBack)
			}
		}
	}
}

// ofOthers adds flows to other interfaces, and what no rule allows.
func (l *flows) ofOthers(s site, d sg.Direction) {
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		for _, other := range sites()[:3] {
			if other.id != s.id && other.vpc == s.vpc {
				l.add(s, d, sg.TCP, 80, addressIn(other.addrs, f), everyWay...)
				l.add(s, d, sg.UDP, 80, addressIn(other.addrs, f), everyWay...)
				l.add(s, d, sg.UDP, 3001, addressIn(other.addrs, f), byForth)
			}
		}
		far := map[sg.Family]netip.Addr{sg.IPv4: ip("198.51.100.7"), sg.IPv6: ip("2001:db8:c::7")}[f]
		for _, proto := range []sg.Protocol{sg.TCP, sg.UDP, 50} {
			l.add(s, d, proto, 80, far, everyWay...)
		}
	}
}
