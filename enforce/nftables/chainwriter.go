package nftables

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// fewCIDRs is how many rules with a CIDR as peer are written one by one; more
// of them become one look-up of the address.
const fewCIDRs = 4

// chainWriter writes the chains of one direction in one form.
type chainWriter struct {
	*policyChains
	dir     sg.Direction
	form    form
	name    string
	no      string // verdict for what its connection does not allow
	classes int
	tracked string          // the chain of the family's rules that track, if there are any and some do not
	within  bool            // that chain is being written
	written map[string]bool // chains of stateless rules
}

// fallback is the end of a direction's chain.
func (w *chainWriter) fallback(ch *ir.Chain) string {
	switch {
	case w.form == stateless:
		return "goto discard"
	case w.form == byConnection && ch.Default == sg.Accept:
		return w.accept()
	case w.form == byConnection:
		return w.no
	case ch.Default == sg.Accept:
		return withComment(w.accept(), ch.Reason.String())
	}
	return withComment("goto refuse", ch.Reason.String())
}

// accept is the verdict for what a stateful rule, or the default, allows.
func (w *chainWriter) accept() string {
	switch w.form {
	case stateless:
		return "goto discard" // there is a connection to fit, and it does not
	case byConnection:
		return "goto stamp_" + halfOf(w.dir)
	}
	return "goto allow_" + w.dir.String()
}

// verdict is what a match of r leads to.
func (w *chainWriter) verdict(r *ir.Rule) string {
	switch {
	case w.within:
		return w.accept() // the rule that decided is counted already
	case r.Action == sg.Accept && r.Stateless:
		return w.untracked(r)
	case w.form == byPacket:
		w.used[ruleUse{r.Num, w.dir}] = true
		return "goto " + ruleChain(r.Num, w.dir)
	case r.Action == sg.Accept:
		return w.accept()
	case w.form == byConnection:
		return w.no
	}
	return "goto refuse"
}

func ruleChain(n ir.RuleNum, d sg.Direction) string {
	return "rule" + strconv.Itoa(int(n)) + "_" + d.String()
}

// halfOf names the half of the connection mark in which the end speaks that
// the direction d of a connection's first packet is judged at.
func halfOf(d sg.Direction) string {
	if d == sg.Egress {
		return "src"
	}
	return "dst"
}

// family writes the rules of one address family, in order.
func (w *chainWriter) family(f sg.Family, rules []*ir.Rule) []string {
	var tracking []*ir.Rule
	mixed := false
	for _, r := range rules {
		switch {
		case r.Action == sg.Accept && !r.Stateless:
			tracking = append(tracking, r)
		case r.Action == sg.Accept:
			mixed = true
		}
	}
	w.tracked = ""
	if mixed && len(tracking) > 0 {
		w.tracked = fmt.Sprintf("%s_v%d_tracked", w.name, f)
		w.within = true
		w.add(w.tracked, "", w.blocks(f, tracking)...)
		w.within = false
	}
	return w.blocks(f, rules)
}

// blocks writes rules in order: blocks of rules for any peer, for CIDRs, and
// for groups and sets.
func (w *chainWriter) blocks(f sg.Family, rules []*ir.Rule) []string {
	var out []string
	for len(rules) > 0 {
		n := 1
		for n < len(rules) && w.kind(rules[n]) == w.kind(rules[0]) {
			n++
		}
		block := rules[:n]
		rules = rules[n:]
		switch w.kind(block[0]) {
		case sg.PeerUnset:
			out = append(out, w.services(block, "")...)
		case sg.PeerIsCIDR:
			out = append(out, w.cidrs(f, block)...)
		default:
			out = append(out, w.members(f, block)...)
		}
	}
	return out
}

// untracked is the verdict of a stateless rule that accepts. What a rule that
// tracks allows too is tracked, whichever comes first.
func (w *chainWriter) untracked(r *ir.Rule) string {
	end, name := []string{"accept"}, w.tracked+"_or_not"
	var count []string
	switch w.form {
	case byPacket:
		w.used[ruleUse{r.Num, w.dir}] = true
		if w.tracked == "" {
			return "goto " + ruleChain(r.Num, w.dir)
		}
		name = w.tracked + "_or_" + counterName(r.Num)
		count = []string{withComment("counter name "+counterName(r.Num), r.Ref.String())}
	case byConnection:
		if w.tracked == "" {
			return w.no // it licenses no connection
		}
		end = w.noLonger(w.dir, true)
	}
	if w.tracked == "" {
		return end[0]
	}
	if !w.written[name] {
		w.written[name] = true
		w.add(name, "", slices.Concat(count, []string{"jump " + w.tracked}, end)...)
	}
	return "goto " + name
}

// kind is the kind of peer of r, PeerUnset for any.
func (w *chainWriter) kind(r *ir.Rule) sg.PeerKind {
	if r.Peer == ir.Any {
		return sg.PeerUnset
	}
	if s, _ := w.prog.Selector(r.Peer); s.Peer.Kind() == sg.PeerIsCIDR {
		return sg.PeerIsCIDR
	}
	return sg.PeerIsGroup
}

// services writes rules that differ in service only.
func (w *chainWriter) services(rules []*ir.Rule, where string) []string {
	s := newServices(rules)
	var lines []string
	if w.form == byConnection {
		lines = w.connectionLines(rules[0].Family, &s, where)
	} else {
		lines = s.lines(where, w.verdict)
	}
	return lines
}

// rule writes one rule, and its name where people read it.
func (w *chainWriter) rule(r *ir.Rule, where string) []string {
	lines := w.services([]*ir.Rule{r}, where)
	if w.form == byPacket {
		for i := range lines {
			lines[i] = withComment(lines[i], r.Ref.String())
		}
	}
	return lines
}

// remote is the field of the far end.
func (w *chainWriter) remote(f sg.Family) string {
	field := map[sg.Family]string{sg.IPv4: "ip", sg.IPv6: "ip6"}[f] + map[sg.Direction]string{sg.Ingress: " saddr", sg.Egress: " daddr"}[w.dir]
	if w.form == byConnection {
		return "ct original " + field
	}
	return field
}

// cidrs writes rules for CIDRs: one look-up of the address gives the rules
// that are left.
func (w *chainWriter) cidrs(f sg.Family, rules []*ir.Rule) []string {
	prefixes := make([]netip.Prefix, len(rules))
	for i, r := range rules {
		s, _ := w.prog.Selector(r.Peer)
		prefixes[i], _ = s.Peer.CIDR()
	}
	remote := w.remote(f)
	var out []string
	if len(rules) < fewCIDRs {
		for i, r := range rules {
			out = append(out, w.rule(r, remote+" "+prefixes[i].Masked().String())...)
		}
		return out
	}
	var elements []string
	chains := map[string]string{} // by their lines
	for _, r := range flatten(prefixes) {
		list := make([]*ir.Rule, len(r.rules))
		for i, k := range r.rules {
			list[i] = rules[k]
		}
		lines := w.services(list, "")
		if len(lines) == 1 && (strings.HasPrefix(lines[0], "goto ") || lines[0] == "accept") {
			elements = append(elements, r.String()+" : "+lines[0])
			continue
		}
		key := strings.Join(lines, "\n")
		name := chains[key]
		if name == "" {
			w.classes++
			name = fmt.Sprintf("%s_v%d_c%d", w.name, f, w.classes)
			chains[key] = name
			w.add(name, "", lines...)
		}
		elements = append(elements, r.String()+" : jump "+name)
	}
	return []string{remote + " vmap { " + strings.Join(elements, ", ") + " }"}
}

// members writes rules for groups and IP sets: one line per rule and prefix
// length that the peer has.
func (w *chainWriter) members(f sg.Family, rules []*ir.Rule) []string {
	var out []string
	for _, r := range rules {
		w.selectors[r.Peer] = true
		for _, bits := range w.lengths(r.Peer, f) {
			out = append(out, w.rule(r, w.in(r.Peer, f, bits))...)
		}
	}
	return out
}

// in is the condition that the far end is in a set.
func (w *chainWriter) in(s ir.SelectorNum, f sg.Family, bits int) string {
	set := " @" + setName(s, f, bits)
	switch bits {
	case 0:
		return "" // the whole family
	case addrBits(f):
		return w.remote(f) + set
	}
	return w.remote(f) + " & " + mask(f, bits) + set
}

// fewPorts is how many ranges of ports of a connection are written one by one;
// more of them are a set.
const fewPorts = 4

// connectionLines returns the rules that send a connection where verdict says,
// by its original tuple. What an ICMP error quotes is looked up under ICMP:
// nft reads the ports of a tuple only beside a protocol of the packet.
func (w *chainWriter) connectionLines(f sg.Family, s *services, where string) []string {
	icmp := "icmp"
	if f == sg.IPv6 {
		icmp = "icmpv6"
	}
	var out []string
	for _, p := range s.protocols() {
		of := "ct original protocol " + strconv.Itoa(int(p))
		spans := joined(s.spans[p], func(a, b *ir.Rule) bool { return w.verdict(a) == w.verdict(b) })
		byVerdict := map[string][]string{}
		var verdicts []string
		for _, s := range spans {
			v := w.verdict(s.rule)
			if byVerdict[v] == nil {
				verdicts = append(verdicts, v)
			}
			byVerdict[v] = append(byVerdict[v], numbers(uint32(s.first), uint32(s.last)))
		}
		for _, v := range verdicts { // spans are disjoint: their order is nothing
			keys := byVerdict[v]
			if keys[0] == "0-65535" {
				out = append(out, statement(of, where, v))
				break
			}
			if len(keys) > fewPorts {
				keys = []string{"@" + w.portSet(keys)}
			}
			for _, k := range keys {
				in := "ct original proto-dst " + k
				if p.HasPorts() {
					out = append(out, statement("meta l4proto "+p.String(), in, where, v))
				}
				out = append(out, statement(of, "meta l4proto "+icmp, in, where, v))
			}
		}
	}
	if s.rest != nil {
		out = append(out, statement(where, w.verdict(s.rest)))
	}
	return out
}

// portSet names a set of services by what is in it. An anonymous set would do,
// but nft 1.0 lists one of a connection's ports in a form it does not read.
func (w *chainWriter) portSet(keys []string) string {
	sum := sha256.Sum256([]byte(strings.Join(keys, ",")))
	name := fmt.Sprintf("ports_%x", sum[:12])
	w.ports[name] = keys
	return name
}
