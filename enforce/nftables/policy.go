package nftables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

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
