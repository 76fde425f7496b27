package enforce_test

import (
	"net/netip"
	"slices"
	"time"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// oracle is the engine as plain as can be: a map of connections per interface,
// each packet of which is judged anew by Program.Eval, and no epochs, marks or
// batches. It knows TCP without FIN.
type oracle struct {
	now  time.Duration
	prog *ir.Program
	nics map[sg.InterfaceID]*oracleNIC
}

type oracleNIC struct {
	ir.Interface
	flows map[oracleKey]*oracleFlow
	frags map[uint16]oracleFrag
}

type oracleFrag struct {
	accept  bool
	d       sg.Direction
	expires time.Duration
}

type oracleKey struct {
	remote, local netip.Addr
	rport, lport  uint16
	proto         sg.Protocol
	asker         sg.Direction // of ICMP: the direction of requests
}

type oracleFlow struct {
	d       sg.Direction // of the first packet
	opening ir.Flow
	replied bool
	tcp     string // syn, crossed, answered, open, reset
	both    bool   // TCP: both sides sent a SYN
	answer  bool   // TCP: the first SYN-ACK was a reply
	dead    bool   // TCP: reset before it was answered
	unheard bool   // TCP: reset, and the other end sent no number to acknowledge
	syn     bool   // TCP: the last segment was a SYN of the opener
	old     bool   // TCP: the last segment was an ACK that answered the SYN
	expires time.Duration
}

// probe is a packet. about is what an ICMP error quotes.
type probe struct {
	iface         sg.InterfaceID
	d             sg.Direction
	remote, local netip.Addr
	rport, lport  uint16 // the ICMP identifier in both
	proto         sg.Protocol
	flags         string // TCP
	reply         bool   // ICMP
	about         *probe
	part          int // 1, 2: fragments of a datagram
	id            uint16
}

func (p *probe) key() oracleKey {
	k := oracleKey{p.remote, p.local, p.rport, p.lport, p.proto, 0}
	if p.proto.HasICMP() {
		k.asker = p.d
		if p.reply {
			k.asker = p.d.Opposite()
		}
	}
	return k
}

func (p *probe) flow() ir.Flow {
	f := ir.Flow{Remote: p.remote, Protocol: uint8(p.proto)}
	switch {
	case p.about != nil && p.remote.Is4():
		f.ICMPType, f.ICMPCode = 3, 1
	case p.about != nil:
		f.ICMPType, f.ICMPCode = 1, 1
	case p.proto.HasICMP():
		f.ICMPType = map[sg.Protocol]map[bool]uint8{sg.ICMP: {false: 8, true: 0}, sg.ICMPv6: {false: 128, true: 129}}[p.proto][p.reply]
	case p.d == sg.Ingress:
		f.Port = p.lport
	default:
		f.Port = p.rport
	}
	return f
}

// apply is Engine.Apply.
func (o *oracle) apply(p *ir.Program) {
	old := o.prog
	o.prog = p
	same := p.SameLineage(old)
	for id, n := range o.nics {
		is, ok := p.Interface(id)
		if !ok || is.VPC != n.VPC || same && is.Serial != n.Serial {
			delete(o.nics, id)
			continue
		}
		n.Interface = is
		if !same {
			clear(n.frags)
		}
		for k, f := range n.flows {
			if p.Established() == sg.Cut && !o.allows(id, f) {
				delete(n.flows, k)
			}
		}
	}
	for i := range p.Interfaces() {
		if o.nics[i.ID] == nil {
			o.nics[i.ID] = &oracleNIC{i, map[oracleKey]*oracleFlow{}, map[uint16]oracleFrag{}}
		}
	}
}

func (o *oracle) allows(id sg.InterfaceID, f *oracleFlow) bool {
	v := o.prog.Eval(id, f.d, f.opening)
	return v.Action == sg.Accept && !v.Stateless
}

// filter returns the verdict, and the flow that the packet belongs to, whose
// verdict may name any rule that allows it.
func (o *oracle) filter(p *probe) (v ir.Verdict, of *oracleFlow, opened bool) {
	n := o.nics[p.iface]
	if n == nil {
		return ir.Verdict{Reason: ir.ReasonUnknownInterface}, nil, false
	}
	if p.part == 2 {
		f, ok := n.frags[p.id]
		v = ir.Verdict{Reason: ir.ReasonFragment}
		if ok && f.accept && f.d == p.d && o.now < f.expires {
			v.Action = sg.Accept
		}
		return v, nil, false
	}
	v, of, opened = o.judge(n, p)
	if p.part == 1 {
		n.frags[p.id] = oracleFrag{v.Action == sg.Accept, p.d, o.now + 30*time.Second}
	}
	return v, of, opened
}

func (o *oracle) live(n *oracleNIC, k oracleKey) *oracleFlow {
	f := n.flows[k]
	if f != nil && o.now >= f.expires {
		delete(n.flows, k)
		return nil
	}
	return f
}

func (o *oracle) judge(n *oracleNIC, p *probe) (ir.Verdict, *oracleFlow, bool) {
	v := o.prog.Eval(p.iface, p.d, p.flow())
	invalid := ir.Verdict{Reason: ir.ReasonInvalidState}
	if v.Action == sg.Accept && v.Stateless && !(p.proto == sg.TCP && (p.flags == "" || p.flags == "FPU")) {
		invalid = v
	}
	if p.about != nil {
		f := o.live(n, p.about.key())
		if f == nil || f.dead || p.about.d == p.d || p.about.d != f.d && !f.replied || p.remote != p.about.remote && p.d == sg.Egress || p.local != p.about.local && p.d == sg.Ingress {
			return invalid, nil, false
		}
		if o.prog.Established() != sg.Keep && !o.allows(p.iface, f) {
			delete(n.flows, p.about.key())
			return invalid, nil, false
		}
		return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonRelated}, f, false
	}
	if f := o.live(n, p.key()); f != nil {
		before := *f
		switch o.track(f, p) {
		case "refused":
			return invalid, nil, false
		case "ok":
			if o.prog.Established() == sg.Keep {
				if p.proto == sg.TCP && p.flags == "S" && p.d == f.d && v.Action == sg.Drop {
					*f = before // as if it had not come
					return v, nil, false
				}
				return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished}, f, false
			}
			if o.allows(p.iface, f) {
				return ir.Verdict{Action: sg.Accept, Reason: ir.ReasonEstablished}, f, false
			}
			delete(n.flows, p.key())
			if p.d == f.d {
				return v, nil, false
			}
		}
	}
	if p.proto == sg.TCP && p.flags != "S" || p.proto.HasICMP() && p.reply {
		return invalid, nil, false
	}
	opens := v.Action == sg.Accept && !v.Stateless
	if opens {
		f := &oracleFlow{d: p.d, opening: p.flow(), tcp: "syn"}
		f.expires = o.now + o.idle(f, p.proto)
		n.flows[p.key()] = f
	}
	return v, nil, opens
}

func (o *oracle) idle(f *oracleFlow, p sg.Protocol) time.Duration {
	switch {
	case p == sg.TCP:
		return map[string]time.Duration{"syn": 120, "crossed": 120, "answered": 60, "open": 5 * 86400, "reset": 10}[f.tcp] * time.Second
	case p == sg.UDP && f.replied:
		return 120 * time.Second
	}
	return 30 * time.Second
}

// track moves a flow on: "refused", "ok", or "new" if the packet opens another.
func (o *oracle) track(f *oracleFlow, p *probe) string {
	reply := p.d != f.d
	renew := true
	if p.proto == sg.TCP {
		was, syn := f.tcp, f.syn
		if f.dead && p.flags != "S" {
			return "refused"
		}
		switch p.flags {
		case "S":
			switch {
			case was == "reset":
				return "new"
			case was == "syn" && reply:
				f.tcp, f.both = "crossed", true
			case was == "syn", was == "crossed":
			case !reply:
				renew = false
			case was == "answered" && f.both: // again
			default:
				return "refused"
			}
		case "SA":
			switch {
			case !reply && !f.both, was == "reset":
				return "refused"
			case was == "syn", was == "crossed":
				f.tcp, f.answer = "answered", reply
			case reply && syn: // answers a SYN in the middle
				f.tcp, f.both, f.answer = "answered", false, true
			case was == "answered" && reply != f.answer:
				f.tcp = "open"
			case reply:
				renew = false
			}
		case "A":
			switch {
			case was == "syn" || was == "crossed":
				if !reply {
					return "refused"
				}
				renew = false
			case was == "answered" && reply != f.answer:
				f.tcp = "open"
			case f.unheard && !reply:
				return "refused"
			case reply:
				f.unheard = false
			}
		case "R", "RA":
			switch {
			case was == "syn" && reply && p.flags == "R":
				return "refused"
			case was == "syn" && !reply && p.flags == "RA" && !f.old:
				return "refused" // acknowledges what was never sent
			case was == "crossed" && p.flags == "R", was == "reset":
				renew = false
			default:
				f.tcp, f.dead, f.unheard = "reset", !f.replied, was == "syn"
			}
		default:
			return "refused"
		}
		f.syn, f.old = !reply && p.flags == "S", was == "syn" && reply && p.flags == "A"
	}
	f.replied = f.replied || reply
	if renew {
		f.expires = o.now + o.idle(f, p.proto)
	}
	return "ok"
}

// names reports whether rule n may be named for a packet of f.
func (o *oracle) names(id sg.InterfaceID, f *oracleFlow, n ir.RuleNum) bool {
	if n == 0 {
		return o.prog.Eval(id, f.d, f.opening).Rule == 0
	}
	i, _ := o.prog.Interface(id)
	policy, _ := o.prog.Policy(i.Policy)
	r, ok := o.prog.Rule(n)
	return ok && slices.Contains(policy.Chain(f.d).Rules, n) && r.Action == sg.Accept &&
		r.MatchesService(f.opening) && o.prog.Selects(r.Peer, f.opening)
}

// flows counts the live connections.
func (o *oracle) flows() (n int) {
	for _, nic := range o.nics {
		for _, f := range nic.flows {
			if o.now < f.expires {
				n++
			}
		}
	}
	return n
}
