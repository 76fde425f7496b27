package nftables

import (
	"fmt"
	"io"
	"iter"
	"maps"
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
	l, err := newLayout(p, o, nil)
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
	was, err := newLayout(prev, o, nil)
	if err != nil {
		return err
	}
	is, err := newLayout(next, o, nil)
	if err != nil {
		return err
	}
	out := newWriter(w)
	was.ruleset().change(out, is.ruleset(), is.memberChanges(was, d))
	return out.flush()
}

// layout is a program as this host's table has it.
type layout struct {
	prog  *ir.Program
	o     *Options
	epoch uint16
	zones map[uint16]int // conntrack zones by number of VPC, where they differ from it

	devices   []device
	policies  map[uint32]*policyPart
	selectors map[ir.SelectorNum]*memberLengths
	vpcs      map[uint16]sg.VPCID
	here      map[sg.InterfaceID]bool
}

// withMembers is l for prog, whose members differ by d.
func (l *layout) withMembers(prog *ir.Program, d ir.Delta) *layout {
	next := *l
	next.prog = prog
	next.selectors = maps.Clone(l.selectors)
	for _, m := range d.Members {
		counts := next.selectors[m.Selector]
		if counts == nil {
			continue
		}
		counts = counts.clone()
		for _, p := range m.Add {
			counts.add(p, 1)
		}
		for _, p := range m.Remove {
			counts.add(p, -1)
		}
		next.selectors[m.Selector] = counts
	}
	return &next
}

// device is an interface on this host.
type device struct {
	name  string
	iface ir.Interface
}

// policyPart is the chains of one policy.
type policyPart struct {
	policy    *ir.Policy
	chains    []chain
	used      []ruleUse
	selectors map[ir.SelectorNum]bool
	ports     map[string][]string
}

// memberLengths counts the prefixes of a selector by length.
type memberLengths struct{ v4, v6 map[int]int }

func (m *memberLengths) of(f sg.Family) map[int]int {
	if f == sg.IPv4 {
		return m.v4
	}
	return m.v6
}

// lengths returns the lengths that there are, the longest first.
func (m *memberLengths) lengths(f sg.Family) []int {
	out := slices.Sorted(maps.Keys(m.of(f)))
	slices.Reverse(out)
	return out
}

func (m *memberLengths) add(p netip.Prefix, n int) {
	counts := m.of(sg.FamilyOf(p.Addr()))
	if counts[p.Bits()] += n; counts[p.Bits()] == 0 {
		delete(counts, p.Bits())
	}
}

func (m *memberLengths) clone() *memberLengths {
	return &memberLengths{maps.Clone(m.v4), maps.Clone(m.v6)}
}

// newLayout lays p out. What from has holds for p too: counts of members,
// policies, and the epoch; it may be nil.
func newLayout(p *ir.Program, o Options, from *layout) (*layout, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &layout{
		prog: p, o: &o, epoch: epochOf(p),
		policies: map[uint32]*policyPart{}, here: map[sg.InterfaceID]bool{}, selectors: map[ir.SelectorNum]*memberLengths{}, vpcs: map[uint16]sg.VPCID{},
	}
	if from != nil {
		l.epoch = from.epoch
		l.selectors = maps.Clone(from.selectors)
		if l.selectors == nil {
			l.selectors = map[ir.SelectorNum]*memberLengths{}
		}
	}
	if err := l.findDevices(); err != nil {
		return nil, err
	}
	var errs sg.Errors
	selectors := map[ir.SelectorNum]*memberLengths{}
	for _, d := range l.devices {
		num := d.iface.Policy
		if l.policies[num] != nil {
			continue
		}
		pol, ok := p.Policy(num)
		if !ok {
			errs.Add("interfaces["+quote(string(d.iface.ID))+"].policy", num, sg.ErrNotFound, "")
			continue
		}
		var part *policyPart
		if from != nil {
			part = from.policies[num]
		}
		if part == nil {
			part = l.policy(pol)
		}
		l.policies[num] = part
		for s := range part.selectors {
			selectors[s] = l.membersOf(s)
		}
	}
	l.selectors = selectors
	return l, errs.Err()
}

// epochOf is the epoch of a program in the 15 bits that a mark has for it.
func epochOf(p *ir.Program) uint16 { return uint16(p.Epoch()%maxEpoch) + 1 }

// findDevices finds the interfaces of this host.
func (l *layout) findDevices() error {
	var errs sg.Errors
	owner := map[string]sg.InterfaceID{}
	for i := range l.prog.Interfaces() {
		name, ok := l.o.Device(i.ID)
		if !ok {
			continue
		}
		path := "interfaces[" + quote(string(i.ID)) + "]"
		if why := checkDevice(name); why != "" {
			errs.Add(path+".device", name, sg.ErrInvalid, why)
			continue
		}
		if other, ok := owner[name]; ok {
			errs.Add(path+".device", name, sg.ErrDuplicate, "the device is that of "+quote(string(other)))
			continue
		}
		if i.VPCNum == 1<<16-1 {
			errs.Add(path+".vpc", string(i.VPC), sg.ErrQuota, "a host has zones for 65,535 VPCs")
			continue
		}
		owner[name] = i.ID
		l.vpcs[i.VPCNum] = i.VPC
		l.here[i.ID] = true
		l.devices = append(l.devices, device{name, i})
	}
	slices.SortFunc(l.devices, func(a, b device) int { return compareStrings(a.name, b.name) })
	for _, name := range sortedKeys(l.o.Uplinks) {
		if id, ok := owner[name]; ok {
			errs.Add("uplinks["+quote(name)+"]", name, sg.ErrDuplicate, "the device is that of "+quote(string(id)))
		}
	}
	return errs.Err()
}

func compareStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (l *layout) membersOf(s ir.SelectorNum) *memberLengths {
	m := l.selectors[s]
	if m == nil {
		m = &memberLengths{map[int]int{}, map[int]int{}}
		for p := range l.prog.Members(s, sg.FamilyAny) {
			m.add(p, 1)
		}
		l.selectors[s] = m
	}
	return m
}

// policy writes the chains of a policy.
func (l *layout) policy(pol *ir.Policy) *policyPart {
	c := &policyChains{
		prog:      l.prog,
		lengths:   func(s ir.SelectorNum, f sg.Family) []int { return l.membersOf(s).lengths(f) },
		num:       pol.Num,
		used:      map[ruleUse]bool{},
		selectors: map[ir.SelectorNum]bool{},
		ports:     map[string][]string{},
	}
	c.build(pol)
	return &policyPart{policy: pol, chains: c.chains, used: sortedUses(c.used), selectors: c.selectors, ports: c.ports}
}

// ruleset puts the parts together.
func (l *layout) ruleset() *ruleset {
	r := &ruleset{table: l.o.Table}
	used, ports := map[ruleUse]bool{}, map[string][]string{}
	for _, part := range l.policies {
		maps.Copy(ports, part.ports)
		for _, u := range part.used {
			used[u] = true
		}
	}
	uses := sortedUses(used)
	counted := map[ir.RuleNum]bool{}
	for _, u := range uses {
		if !counted[u.num] {
			counted[u.num] = true
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
	for _, name := range sortedKeys(ports) {
		r.sets = append(r.sets, set{name: name, decl: "type inet_service; flags interval", elements: slices.Values(ports[name])})
	}
	for _, s := range slices.Sorted(maps.Keys(l.selectors)) {
		r.sets = append(r.sets, l.selectorSets(s)...)
	}

	r.chains = append(r.chains, baseChains(l.o)...)
	for _, num := range slices.Sorted(maps.Keys(l.vpcs)) {
		r.chains = append(r.chains, chain{name: l.vpcChain(num), rules: []string{withComment("ct zone set "+strconv.Itoa(l.zoneOf(num)), string(l.vpcs[num]))}})
	}
	r.chains = append(r.chains, sharedChains(l.o)...)
	r.chains = append(r.chains, epochChains(l.epoch, l.prog.Established() == sg.Keep)...)
	for _, num := range slices.Sorted(maps.Keys(l.policies)) {
		r.chains = append(r.chains, l.policies[num].chains...)
	}
	for _, u := range uses {
		r.chains = append(r.chains, l.ruleChain(u))
	}
	return r
}

func counterName(n ir.RuleNum) string { return "rule" + strconv.Itoa(int(n)) }

func (l *layout) vpcChain(num uint16) string { return "vpc" + strconv.Itoa(l.zoneOf(num)-1) }

// zoneOf is the conntrack zone of a VPC; zone 0 is the host's.
func (l *layout) zoneOf(num uint16) int {
	if z, ok := l.zones[num]; ok {
		return z
	}
	return int(num) + 1
}

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
	for _, d := range l.devices {
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
		for _, a := range sg.MergePrefixes(slices.Concat(i.Addrs, i.Allow)) {
			name := "own" + vFamily(sg.FamilyOf(a.Addr()))
			e[name] = append(e[name], quoteDevice(d.name)+" . "+addrText(a))
		}
		if i.Guard {
			for _, a := range sg.MergePrefixes(i.Addrs) {
				name := "home" + vFamily(sg.FamilyOf(a.Addr()))
				e[name] = append(e[name], quoteDevice(d.name)+" . "+addrText(a))
			}
		}
	}
	var ends []netip.Prefix
	for _, d := range l.devices {
		ends = append(append(ends, d.iface.Addrs...), d.iface.Allow...)
	}
	for _, a := range sg.MergePrefixes(ends) {
		name := "ends" + vFamily(sg.FamilyOf(a.Addr()))
		e[name] = append(e[name], addrText(a))
	}
	nums := map[sg.VPCID]uint16{}
	for num, id := range l.vpcs {
		nums[id] = num
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
	for s, is := range l.selectors {
		for _, f := range []sg.Family{sg.IPv4, sg.IPv6} {
			for bits := range is.of(f) {
				if old := was.selectors[s]; old != nil && old.of(f)[bits] > 0 {
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
