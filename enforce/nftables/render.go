package nftables

import (
	"fmt"
	"io"
	"iter"
	"net/netip"
	"slices"
	"strconv"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// Render writes the whole ruleset as one nft script, which replaces the table
// in one transaction. It is a pure function of p and o: equal inputs give equal
// bytes. Interfaces that are not on this host, and policies, groups and sets
// that none of its interfaces uses, are left out.
//
// What nftables can not express is refused with an error that names it:
// sg.Errors, whose parts wrap sg.ErrUnsupported, sg.ErrQuota, sg.ErrDuplicate
// or sg.ErrInvalid.
func Render(w io.Writer, p *ir.Program, o Options) error {
	if p == nil {
		return &sg.FieldError{Path: "program", Err: sg.ErrRequired}
	}
	l, err := newLayout(p, o)
	if err != nil {
		return err
	}
	out := newWriter(w)
	out.printf("table inet %s\ndelete table inet %s\n\n", l.o.Table, l.o.Table)
	l.ruleset().block(out)
	return out.flush()
}

// RenderDelta writes the nft script that leads from the ruleset of prev to
// that of next, both as Render writes them, in one transaction. It is a pure
// function of its arguments. prev and next are of one Compiler: without that
// their numbers mean different things, and the error wraps sg.ErrInvalid.
func RenderDelta(w io.Writer, prev, next *ir.Program, o Options) error {
	d, ok := next.Since(prev)
	if !ok {
		return &sg.FieldError{Path: "prev", Err: sg.ErrInvalid, Detail: "a program of another Compiler: render the whole"}
	}
	was, err := newLayout(prev, o)
	if err != nil {
		return err
	}
	is, err := newLayout(next, o)
	if err != nil {
		return err
	}
	out := newWriter(w)
	was.ruleset().change(out, is.ruleset(), is.memberChanges(was, d))
	return out.flush()
}

// ruleset puts the parts together.
func (l *layout) ruleset() *ruleset {
	r := &ruleset{table: l.o.Table}
	last := ir.RuleNum(0)
	for u := range l.uses.All() {
		if u.num != last {
			last = u.num
			rule, _ := l.prog.Rule(u.num)
			r.counters = append(r.counters, counter{counterName(u.num), rule.Ref.String()})
		}
	}

	elements := l.dispatchElements()
	for _, d := range dispatches() {
		r.sets = append(r.sets, set{name: d.name, decl: d.decl, comment: d.comment, verdicts: d.verdicts, elements: slices.Values(elements[d.name])})
	}
	if l.prog.Established() != sg.Keep {
		r.sets = append(r.sets, epochSet(l.epoch))
	}
	for name, p := range l.ports.All() {
		r.sets = append(r.sets, set{name: name, decl: "type inet_service; flags interval", elements: slices.Values(p.keys)})
	}
	for s := range l.selectors.All() {
		r.sets = append(r.sets, l.selectorSets(s)...)
	}

	r.chains = append(r.chains, baseChains(l.o)...)
	for num, v := range l.vpcs.All() {
		r.chains = append(r.chains, chain{name: l.vpcChain(num), rules: []string{withComment("ct zone set "+strconv.Itoa(l.zoneOf(num)), string(v.id))}})
	}
	r.chains = append(r.chains, sharedChains(l.o)...)
	r.chains = append(r.chains, epochChains(l.epoch, l.prog.Established() == sg.Keep)...)
	for _, p := range l.policies.All() {
		r.chains = append(r.chains, p.chains...)
	}
	for u := range l.uses.All() {
		r.chains = append(r.chains, l.ruleChain(u))
	}
	return r
}

// counterPrefix is what the names of counters begin with.
const counterPrefix = "rule"

func counterName(n ir.RuleNum) string { return counterPrefix + strconv.Itoa(int(n)) }

func vpcChainOf(zone int) string { return "vpc" + strconv.Itoa(zone-1) }

// ruleChain counts what a rule decides and passes it on.
func (l *layout) ruleChain(u ruleUse) chain {
	rule, _ := l.prog.Rule(u.num)
	end := "goto allow_" + u.dir.String()
	switch {
	case rule.Action == sg.Drop:
		end = "goto refuse"
	case rule.Stateless:
		end = "accept"
	}
	return chain{name: ruleChain(u.num, u.dir), comment: rule.Ref.String(), rules: []string{"counter name " + counterName(u.num) + " " + end}}
}

// selectorSets are the sets of a selector, one per family and prefix length.
func (l *layout) selectorSets(s ir.SelectorNum) []set {
	sel, _ := l.prog.Selector(s)
	var out []set
	for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
		for _, bits := range l.membersOf(s).lengths(f) {
			if bits == 0 {
				continue
			}
			out = append(out, set{
				name:     setName(s, f, bits),
				decl:     fmt.Sprintf("type ipv%d_addr", f),
				comment:  setComment(sel, bits),
				elements: l.members(s, f, bits),
			})
		}
	}
	return out
}

func setComment(s ir.Selector, bits int) string { return fmt.Sprintf("%s, /%d", peerText(s), bits) }

func peerText(s ir.Selector) string {
	if id, ok := s.Peer.Group(); ok {
		return "members of " + string(id) + " in " + string(s.VPC)
	}
	if id, ok := s.Peer.Set(); ok {
		return "IP set " + string(id)
	}
	return ""
}

func (l *layout) members(s ir.SelectorNum, f sg.Family, bits int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for p := range l.prog.Members(s, f) {
			if p.Bits() == bits && !yield(p.Addr().String()) {
				return
			}
		}
	}
}

// dispatchElements are the elements of every set of dispatches, by name.
func (l *layout) dispatchElements() map[string][]string {
	e := map[string][]string{}
	zone := func(device string, vpc uint16) {
		e["zones"] = append(e["zones"], quoteDevice(device)+" : goto "+l.vpcChain(vpc))
	}
	for _, d := range l.devices.All() {
		i := d.iface
		zone(d.name, i.VPCNum)
		e["zones_by_route"] = append(e["zones_by_route"], quoteDevice(d.name)+" : goto "+l.vpcChain(i.VPCNum))
		if i.Guard {
			e["guarded"] = append(e["guarded"], quoteDevice(d.name))
		}
		p := "p" + strconv.Itoa(int(i.Policy))
		e["egress_of"] = append(e["egress_of"], quoteDevice(d.name)+" : goto "+p+"_from")
		e["ingress_of"] = append(e["ingress_of"], quoteDevice(d.name)+" : goto "+p+"_to")
		e["ingress_local_of"] = append(e["ingress_local_of"], quoteDevice(d.name)+" : goto "+p+"_to_local")
		for _, a := range sg.MergePrefixes(prefixesOf(i)) {
			name := "own" + vFamily(sg.FamilyOf(a.Addr()))
			e[name] = append(e[name], quoteDevice(d.name)+" . "+addrText(a))
		}
		if i.Guard {
			for _, a := range sg.MergePrefixes(slices.Clone(i.Addrs)) {
				name := "home" + vFamily(sg.FamilyOf(a.Addr()))
				e[name] = append(e[name], quoteDevice(d.name)+" . "+addrText(a))
			}
		}
	}
	for _, a := range l.ends {
		name := "ends" + vFamily(sg.FamilyOf(a.Addr()))
		e[name] = append(e[name], addrText(a))
	}
	nums := map[sg.VPCID]uint16{}
	for num, v := range l.vpcs.All() {
		nums[v.id] = num
	}
	for _, name := range sortedKeys(l.o.Uplinks) {
		if num, ok := nums[l.o.Uplinks[name]]; ok { // else no interface of that VPC is here
			zone(name, num)
		}
	}
	return e
}

func quoteDevice(name string) string { return `"` + name + `"` }

// addrText writes a prefix, or an address without its length.
func addrText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// memberChanges are the changes of the sets that both layouts have.
func (l *layout) memberChanges(was *layout, d ir.Delta) map[string]elementChange {
	out := map[string]elementChange{}
	for s, is := range l.selectors.All() {
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			for bits := range is.of(f) {
				if old := was.counts(s); old != nil && old.of(f)[bits] > 0 {
					out[setName(s, f, bits)] = elementChange{} // as before, but for what follows
				}
			}
		}
	}
	for _, m := range d.Members {
		note := func(p netip.Prefix, add bool) {
			name := setName(m.Selector, sg.FamilyOf(p.Addr()), p.Bits())
			c, ok := out[name]
			if !ok {
				return
			}
			if add {
				c.add = append(c.add, p.Addr().String())
			} else {
				c.remove = append(c.remove, p.Addr().String())
			}
			out[name] = c
		}
		for _, p := range m.Add {
			note(p, true)
		}
		for _, p := range m.Remove {
			note(p, false)
		}
	}
	return out
}
