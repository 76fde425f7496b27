package nftables

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// layout is a program as this host's table has it, in pieces. A copy costs
// little, and a change of a copy what it touches: see change.
type layout struct {
	prog  *ir.Program
	o     *Options
	epoch uint16
	zones map[uint16]int // conntrack zones by number of VPC, where they differ from it; never written to

	devices   *cow.Map[string, device]
	named     *cow.Map[sg.InterfaceID, string] // devices
	vpcs      *cow.Map[uint16, vpcPart]
	policies  *cow.Map[uint32, *policyPart]
	users     *cow.Map[policyUse, struct{}]
	selectors *cow.Map[ir.SelectorNum, *memberLengths]
	readers   *cow.Map[selectorUse, struct{}]
	uses      *cow.Map[ruleUse, int] // by how many policies
	ports     *cow.Map[string, portSet]
	ends      []netip.Prefix // of all devices, merged
}

// device is an interface on this host.
type device struct {
	name  string
	iface ir.Interface
}

// vpcPart is a VPC that has devices.
type vpcPart struct {
	id      sg.VPCID
	devices int
}

// policyPart is the chains of one policy. It never changes.
type policyPart struct {
	policy    *ir.Policy
	chains    []chain
	used      []ruleUse
	selectors map[ir.SelectorNum]bool
	ports     map[string][]string
}

// policyUse says that a device has a policy.
type policyUse struct {
	policy uint32
	device string
}

// selectorUse says that the chains of a policy look into the sets of a selector.
type selectorUse struct {
	selector ir.SelectorNum
	policy   uint32
}

// portSet is a set of services.
type portSet struct {
	keys     []string
	policies int // that look into it
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

// after is m after a change of members.
func (m *memberLengths) after(d ir.MemberDelta) *memberLengths {
	out := m.clone()
	for _, p := range d.Add {
		out.add(p, 1)
	}
	for _, p := range d.Remove {
		out.add(p, -1)
	}
	return out
}

// sameLengths reports whether there are the same lengths in both.
func (m *memberLengths) sameLengths(n *memberLengths) bool {
	return slices.Equal(m.lengths(sg.IPv4), n.lengths(sg.IPv4)) && slices.Equal(m.lengths(sg.IPv6), n.lengths(sg.IPv6))
}

// newLayout lays p out.
func newLayout(p *ir.Program, o Options) (*layout, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := emptyLayout(p, &o)
	l.epoch = epochOf(p)
	var all []sg.InterfaceID
	for i := range p.Interfaces() {
		all = append(all, i.ID)
	}
	_, err = l.change(ir.Delta{}, all)
	return l, err
}

// emptyLayout is that of a host without interfaces.
func emptyLayout(p *ir.Program, o *Options) *layout {
	return &layout{
		prog: p, o: o,
		devices:   cow.New[string, device](cmp.Compare[string]),
		named:     cow.New[sg.InterfaceID, string](cmp.Compare[sg.InterfaceID]),
		vpcs:      cow.New[uint16, vpcPart](cmp.Compare[uint16]),
		policies:  cow.New[uint32, *policyPart](cmp.Compare[uint32]),
		users:     cow.New[policyUse, struct{}](policyUse.compare),
		selectors: cow.New[ir.SelectorNum, *memberLengths](cmp.Compare[ir.SelectorNum]),
		readers:   cow.New[selectorUse, struct{}](selectorUse.compare),
		uses:      cow.New[ruleUse, int](ruleUse.compare),
		ports:     cow.New[string, portSet](cmp.Compare[string]),
	}
}

// clone is a copy of l, to be changed.
func (l *layout) clone() *layout {
	return &layout{
		prog: l.prog, o: l.o, epoch: l.epoch, zones: l.zones, ends: l.ends,
		devices: l.devices.Clone(), named: l.named.Clone(), vpcs: l.vpcs.Clone(), policies: l.policies.Clone(), users: l.users.Clone(),
		selectors: l.selectors.Clone(), readers: l.readers.Clone(), uses: l.uses.Clone(), ports: l.ports.Clone(),
	}
}

func (a policyUse) compare(b policyUse) int {
	return cmp.Or(cmp.Compare(a.policy, b.policy), cmp.Compare(a.device, b.device))
}

func (a selectorUse) compare(b selectorUse) int {
	return cmp.Or(cmp.Compare(a.selector, b.selector), cmp.Compare(a.policy, b.policy))
}

func (a ruleUse) compare(b ruleUse) int {
	return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(a.dir, b.dir))
}

// usersOf yields the devices that have a policy.
func (l *layout) usersOf(policy uint32) iter.Seq[string] {
	return func(yield func(string) bool) {
		for u := range l.users.From(policyUse{policy: policy}) {
			if u.policy != policy || !yield(u.device) {
				return
			}
		}
	}
}

// readersOf yields the policies that look into the sets of a selector.
func (l *layout) readersOf(s ir.SelectorNum) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for u := range l.readers.From(selectorUse{selector: s}) {
			if u.selector != s || !yield(u.policy) {
				return
			}
		}
	}
}

// none reports whether a sequence is empty.
func none[T any](seq iter.Seq[T]) bool {
	for range seq {
		return false
	}
	return true
}

// here reports whether an interface has a device.
func (l *layout) here(id sg.InterfaceID) bool {
	_, ok := l.named.Get(id)
	return ok
}

// has reports whether a policy is in the table.
func (l *layout) has(policy uint32) bool {
	_, ok := l.policies.Get(policy)
	return ok
}

// counts are the lengths of the prefixes of a selector, nil if no rule looks
// into its sets.
func (l *layout) counts(s ir.SelectorNum) *memberLengths {
	m, _ := l.selectors.Get(s)
	return m
}

// membersOf is counts, and counts if that was not done yet.
func (l *layout) membersOf(s ir.SelectorNum) *memberLengths {
	m := l.counts(s)
	if m == nil {
		m = &memberLengths{map[int]int{}, map[int]int{}}
		for p := range l.prog.Members(s, sg.FamilyAny) {
			m.add(p, 1)
		}
		l.selectors.Set(s, m)
	}
	return m
}

// epochOf is the epoch of a program in the 15 bits that a mark has for it.
func epochOf(p *ir.Program) uint16 { return uint16(p.Epoch()%maxEpoch) + 1 }

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

// vpcChain is the chain that sets the zone of a VPC.
func (l *layout) vpcChain(num uint16) string { return vpcChainOf(l.zoneOf(num)) }

// zoneOf is the conntrack zone of a VPC; zone 0 is the host's.
func (l *layout) zoneOf(num uint16) int {
	if z, ok := l.zones[num]; ok {
		return z
	}
	return int(num) + 1
}
