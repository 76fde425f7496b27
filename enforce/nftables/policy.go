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

// form is how a chain looks at what it judges.
type form uint8

const (
	// byPacket judges a packet by its own fields.
	byPacket form = iota
	// byConnection judges the packet that opened a connection, by the
	// connection's original tuple: answers and ICMP errors are judged so after
	// a change.
	byConnection
	// stateless judges, by its own fields, a packet that fits no connection:
	// only what no stateful rule allows may pass.
	stateless
)

// policyChains writes the chains of one policy.
type policyChains struct {
	prog      *ir.Program
	lengths   func(ir.SelectorNum, sg.Family) []int // of the prefixes of a selector, descending
	num       uint32
	chains    []chain
	used      map[ruleUse]bool
	selectors map[ir.SelectorNum]bool
	ports     map[string][]string // sets of services by name
}

// ruleUse is a rule that verdicts of a direction name.
type ruleUse struct {
	num ir.RuleNum
	dir sg.Direction
}

func (c *policyChains) name(parts ...string) string {
	return "p" + strconv.Itoa(int(c.num)) + "_" + strings.Join(parts, "_")
}

func (c *policyChains) add(name, comment string, rules ...string) {
	c.chains = append(c.chains, chain{name: name, comment: comment, rules: rules})
}

// build writes every chain of pol.
func (c *policyChains) build(pol *ir.Policy) {
	out, _ := c.rules(pol.Chain(sg.Egress))
	in, _ := c.rules(pol.Chain(sg.Ingress))
	groups := groupsOf(slices.Concat(out, in))
	for _, d := range []sg.Direction{sg.Egress, sg.Ingress} {
		rules, mixed := c.rules(pol.Chain(d))
		c.entry(d, groups, mixed)
		forms := []form{byPacket, byConnection}
		if mixed {
			forms = append(forms, stateless)
		}
		for _, f := range forms {
			c.direction(pol.Chain(d), d, rules, f, mixed)
		}
	}
}

// rules resolves a chain's rules and reports whether some are stateless.
func (c *policyChains) rules(ch *ir.Chain) (rules []*ir.Rule, someStateless bool) {
	for _, n := range ch.Rules {
		r, _ := c.prog.Rule(n)
		rules = append(rules, &r)
		someStateless = someStateless || r.Action == sg.Accept && r.Stateless
	}
	return rules, someStateless
}

// entry writes the chains where packets of an interface arrive, one per hook.
//
// A packet of a connection is let through if the interface's half of the
// connection mark says that the policy of this epoch allows it. One of an older
// epoch is judged again: by itself if it goes the way of the packet that was
// allowed, an answer by that packet. All else stands on its own.
func (c *policyChains) entry(d sg.Direction, groups string, someStateless bool) {
	dir := d.String()
	own, again, refused := "jump "+c.name(dir, "own"), c.name(dir, "again"), c.refused(d, someStateless)
	if d == sg.Egress {
		from, tied := c.name("from"), c.name("from", "tied")
		lines := append(tiedTo("goto "+tied), own, "goto "+c.name(dir))
		lines[0] = withComment(lines[0], groups)
		c.add(from, "", lines...)
		c.add(tied, "from addresses that belong there: packets of connections, and others",
			isError+" jump "+c.name("from", "error"),
			"jump known_from",
			isError+" ct direction original "+srcByOriginal+" jump "+c.name("egress", "connection"),
			isError+" ct direction original "+refused,
			"ct direction original "+srcByOriginal+" goto "+again,
			noError+" ct direction reply "+dstByReply+" goto "+again,
			"ct direction reply "+dstByOriginal+" jump "+c.name("ingress", "connection"),
			"jump forget_from",
			own,
			"goto "+c.name(dir),
		)
		c.add(c.name("from", "error"), "ICMP errors that it may not send", append([]string{unanswered + " " + refused}, ofAnother(refused)...)...)
		c.add(again, "the way of the packet that was allowed: judged again", "jump forget_from", "goto "+c.name(dir))
	} else {
		to := []string{
			isError + " " + unanswered + " " + refused,
			"jump known_to",
			isError + " ct direction original " + dstByOriginal + " jump " + c.name("ingress", "connection"),
			isError + " ct direction original " + refused,
			"ct direction original " + dstByOriginal + " goto " + again,
			noError + " ct direction reply " + srcByReply + " goto " + again,
			"ct direction reply " + srcByOriginal + " jump " + c.name("egress", "connection"),
			"jump forget_to",
			own,
			"goto " + c.name(dir),
		}
		// What this host itself sends: the kernel has no route look-up by
		// device there, and so none in what is reached from there.
		c.add(c.name("to", "local"), "", slices.Delete(slices.Clone(to), 2, 3)...)
		to[1] = withComment(to[1], groups)
		c.add(c.name("to"), "", to...)
		c.add(again, "the way of the packet that was allowed: judged again", "jump forget_to", "goto "+c.name(dir))
	}
	c.add(c.name(dir, "own"), "what can open no connection",
		"ct state invalid,related "+refused,
		notOpening+" "+refused,
		"ct direction reply meta l4proto { icmp, icmpv6 } "+refused,
	)
}

// refused is the verdict for what can open no connection and fits none.
func (c *policyChains) refused(d sg.Direction, someStateless bool) string {
	if someStateless {
		return "goto " + c.name(d.String(), "stateless")
	}
	return "goto discard"
}

// forget is the chain that takes back what a direction's end said.
func forget(d sg.Direction) string {
	if d == sg.Egress {
		return "jump forget_from"
	}
	return "jump forget_to"
}

// noLonger is the end of a packet whose connection the direction d does not
// allow any more. An answer goes the other way, and stands on its own there; an
// error about an answer goes as the packet did that opened the connection.
func (c *policyChains) noLonger(d sg.Direction, someStateless bool) []string {
	o := d.Opposite()
	return []string{
		"ct direction reply " + forget(o),
		"ct direction reply jump " + c.name(o.String(), "own"),
		"ct direction reply goto " + c.name(o.String()),
		forget(d),
		c.refused(d, someStateless),
	}
}

// groupsOf names the groups that rules come from, in order.
func groupsOf(rules []*ir.Rule) string {
	var names []string
	for _, r := range rules {
		if id := string(r.Ref.Group); id != "" && !slices.Contains(names, id) {
			names = append(names, id)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "groups " + strings.Join(names, ", ")
}

// tiedTo gives packets whose source belongs behind the device they came from a
// verdict. A host that takes another's address must not ride on the other's
// connections.
func tiedTo(verdict string) []string {
	return []string{
		"fib saddr . iif oif exists " + verdict,
		"iifname . ip saddr @own_v4 " + verdict,
		"iifname . ip6 saddr @own_v6 " + verdict,
	}
}

// ofAnother gives ICMP errors a verdict that are about connections of another
// interface: who may send them is not who the packet says it is, but who has
// the connection.
func ofAnother(verdict string) (out []string) {
	for _, way := range []string{"original %s saddr", "reply %s daddr"} {
		for _, f := range []struct{ ip, sets string }{{"ip", "_v4"}, {"ip6", "_v6"}} {
			dir, field, _ := strings.Cut(fmt.Sprintf(way, f.ip), " ")
			end := "ct original " + field
			out = append(out, "ct direction "+dir+" "+end+" @ends"+f.sets+" iifname . "+end+" != @own"+f.sets+" "+verdict)
		}
	}
	return out
}

// direction writes the rules of one direction in one form.
func (c *policyChains) direction(ch *ir.Chain, d sg.Direction, rules []*ir.Rule, f form, someStateless bool) {
	name := c.name(d.String())
	switch f {
	case byConnection:
		name = c.name(d.String(), "connection")
	case stateless:
		name = c.name(d.String(), "stateless")
	}
	start := len(c.chains)
	w := &chainWriter{policyChains: c, dir: d, form: f, name: name, written: map[string]bool{}}
	if f == byConnection {
		w.no = "goto " + name + "_no"
	}
	var top []string
	if f == stateless {
		top = append(top, impossibleFlags+" goto discard")
	}
	for _, family := range []sg.Family{sg.IPv4, sg.IPv6} {
		var list []*ir.Rule
		for _, r := range rules {
			if r.Family == family {
				list = append(list, r)
			}
		}
		lines := w.family(family, list)
		if len(lines) == 0 {
			continue
		}
		sub := fmt.Sprintf("%s_v%d", name, family)
		c.add(sub, "", lines...)
		top = append(top, fmt.Sprintf("meta nfproto ipv%d jump %s", family, sub))
	}
	top = append(top, w.fallback(ch))
	comment := map[form]string{byConnection: "judges the packet that opened the connection", stateless: "what needs no connection"}[f]
	c.chains = slices.Insert(c.chains, start, chain{name: name, comment: comment, rules: top})
	if f == byConnection {
		c.add(name+"_no", "", c.noLonger(d, someStateless)...)
	}
}

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

// sortedUses returns rule uses in order of number and direction.
func sortedUses(m map[ruleUse]bool) []ruleUse {
	uses := make([]ruleUse, 0, len(m))
	for u := range m {
		uses = append(uses, u)
	}
	slices.SortFunc(uses, func(a, b ruleUse) int {
		if a.num != b.num {
			return int(a.num) - int(b.num)
		}
		return int(a.dir) - int(b.dir)
	})
	return uses
}
