package nftables

import (
	"maps"
	"net/netip"
	"slices"

	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
	"example.com/secgroup/sg/cow"
)

// touched are the pieces of a layout that a change may have changed. What is
// not among them is as it was.
type touched struct {
	devices   map[string]bool
	vpcs      map[uint16]bool
	policies  map[uint32]bool
	selectors map[ir.SelectorNum]bool
	uses      map[ruleUse]bool
	ports     map[string]bool
	ends      bool
}

// change makes l, which nobody else has, the layout of l.prog. d is what that
// differs by from the program of before, and interfaces, in order, are those to
// look up devices for: all that differ. The cost is that of what differs: of
// whole policies, though, and of all devices if addresses differ.
//
// After an error l is good for nothing.
func (l *layout) change(d ir.Delta, interfaces []sg.InterfaceID) (*touched, error) {
	t := &touched{
		devices: map[string]bool{}, vpcs: map[uint16]bool{}, policies: map[uint32]bool{},
		selectors: map[ir.SelectorNum]bool{}, uses: map[ruleUse]bool{}, ports: map[string]bool{},
	}
	stale := map[uint32]bool{} // policies to be written
	for _, num := range d.Policies {
		stale[num] = true
	}
	for _, m := range d.Members {
		was := l.counts(m.Selector)
		if was == nil {
			continue
		}
		is := was.after(m)
		l.selectors.Set(m.Selector, is)
		t.selectors[m.Selector] = true
		if !is.sameLengths(was) {
			for num := range l.readersOf(m.Selector) {
				stale[num] = true
			}
		}
	}
	concerned := maps.Clone(stale) // policies
	if err := l.moveDevices(interfaces, t, concerned); err != nil {
		return nil, err
	}
	if err := l.rewrite(concerned, stale, t); err != nil {
		return nil, err
	}
	for s := range t.selectors {
		if none(l.readersOf(s)) {
			l.selectors.Delete(s)
		}
	}
	return t, nil
}

// moveDevices finds the devices of interfaces anew. The policies that they had
// and have are noted.
func (l *layout) moveDevices(interfaces []sg.InterfaceID, t *touched, concerned map[uint32]bool) error {
	if len(interfaces) == 0 {
		return nil
	}
	was := map[string]device{}
	for _, id := range interfaces {
		if name, ok := l.named.Get(id); ok {
			was[name] = l.removeDevice(name, t)
			concerned[was[name].iface.Policy] = true
		}
	}
	var errs sg.Errors
	for _, id := range interfaces {
		i, ok := l.prog.Interface(id)
		if !ok {
			continue
		}
		name, ok := l.o.Device(id)
		if !ok {
			continue
		}
		path := "interfaces[" + quote(string(id)) + "]"
		if why := checkDevice(name); why != "" {
			errs.Add(path+".device", name, sg.ErrInvalid, why)
			continue
		}
		if other, ok := l.devices.Get(name); ok {
			errs.Add(path+".device", name, sg.ErrDuplicate, "the device is that of "+quote(string(other.iface.ID)))
			continue
		}
		if i.VPCNum == 1<<16-1 {
			errs.Add(path+".vpc", string(i.VPC), sg.ErrQuota, "a host has zones for 65,535 VPCs")
			continue
		}
		l.addDevice(device{name, i}, t)
		concerned[i.Policy] = true
	}
	for _, name := range sortedKeys(l.o.Uplinks) {
		if d, ok := l.devices.Get(name); ok {
			errs.Add("uplinks["+quote(name)+"]", name, sg.ErrDuplicate, "the device is that of "+quote(string(d.iface.ID)))
		}
	}
	for name := range t.devices {
		is, _ := l.devices.Get(name)
		if !slices.Equal(is.iface.Addrs, was[name].iface.Addrs) || !slices.Equal(is.iface.Allow, was[name].iface.Allow) {
			t.ends = true
		}
	}
	if t.ends {
		l.ends = nil
		for _, d := range l.devices.All() {
			l.ends = append(append(l.ends, d.iface.Addrs...), d.iface.Allow...)
		}
		l.ends = sg.MergePrefixes(l.ends)
	}
	return errs.Err()
}

func (l *layout) removeDevice(name string, t *touched) device {
	d, _ := l.devices.Get(name)
	t.devices[name], t.vpcs[d.iface.VPCNum] = true, true
	l.devices.Delete(name)
	l.named.Delete(d.iface.ID)
	l.users.Delete(policyUse{d.iface.Policy, name})
	v, _ := l.vpcs.Get(d.iface.VPCNum)
	if v.devices--; v.devices == 0 {
		l.vpcs.Delete(d.iface.VPCNum)
	} else {
		l.vpcs.Set(d.iface.VPCNum, v)
	}
	return d
}

func (l *layout) addDevice(d device, t *touched) {
	t.devices[d.name], t.vpcs[d.iface.VPCNum] = true, true
	l.devices.Set(d.name, d)
	l.named.Set(d.iface.ID, d.name)
	l.users.Set(policyUse{d.iface.Policy, d.name}, struct{}{})
	v, _ := l.vpcs.Get(d.iface.VPCNum)
	l.vpcs.Set(d.iface.VPCNum, vpcPart{d.iface.VPC, v.devices + 1})
}

// rewrite brings policies up to date: those that no device has go, those that
// are stale or new are written.
func (l *layout) rewrite(concerned, stale map[uint32]bool, t *touched) error {
	var errs sg.Errors
	for _, num := range slices.Sorted(maps.Keys(concerned)) {
		was, had := l.policies.Get(num)
		if none(l.usersOf(num)) {
			if had {
				l.replacePolicy(num, was, nil, t)
			}
			continue
		}
		if had && !stale[num] {
			continue
		}
		pol, ok := l.prog.Policy(num)
		if !ok {
			for name := range l.usersOf(num) {
				d, _ := l.devices.Get(name)
				errs.Add("interfaces["+quote(string(d.iface.ID))+"].policy", num, sg.ErrNotFound, "")
			}
			continue
		}
		l.replacePolicy(num, was, l.policy(pol), t)
	}
	return errs.Err()
}

// use notes that u was used or is. A rule has one counter for both directions,
// so that of the other may not be forgotten or go either.
func (t *touched) use(u ruleUse) {
	t.uses[u], t.uses[ruleUse{u.num, u.dir.Opposite()}] = true, true
}

// replacePolicy puts one part in the place of another. Either may be nil.
func (l *layout) replacePolicy(num uint32, was, is *policyPart, t *touched) {
	t.policies[num] = true
	if was != nil {
		l.policies.Delete(num)
		for _, u := range was.used {
			t.use(u)
			if n, _ := l.uses.Get(u); n > 1 {
				l.uses.Set(u, n-1)
			} else {
				l.uses.Delete(u)
			}
		}
		for s := range was.selectors {
			t.selectors[s] = true
			l.readers.Delete(selectorUse{s, num})
		}
		for name := range was.ports {
			t.ports[name] = true
			if p, _ := l.ports.Get(name); p.policies > 1 {
				l.ports.Set(name, portSet{p.keys, p.policies - 1})
			} else {
				l.ports.Delete(name)
			}
		}
	}
	if is != nil {
		l.policies.Set(num, is)
		for _, u := range is.used {
			t.use(u)
			n, _ := l.uses.Get(u)
			l.uses.Set(u, n+1)
		}
		for s := range is.selectors {
			t.selectors[s] = true
			l.readers.Set(selectorUse{s, num}, struct{}{})
		}
		for name, keys := range is.ports {
			t.ports[name] = true
			p, _ := l.ports.Get(name)
			l.ports.Set(name, portSet{keys, p.policies + 1})
		}
	}
}

// only is the layout of what a change touched, and of the devices that have
// a policy which it touched.
func (l *layout) only(t *touched) *layout {
	out := emptyLayout(l.prog, l.o)
	out.epoch, out.zones = l.epoch, l.zones
	put := func(name string) {
		if d, ok := l.devices.Get(name); ok {
			out.devices.Set(name, d)
		}
	}
	for name := range t.devices {
		put(name)
	}
	for num := range t.policies {
		if p, ok := l.policies.Get(num); ok {
			out.policies.Set(num, p)
			for name := range l.usersOf(num) {
				put(name)
			}
		}
	}
	keep(out.vpcs, l.vpcs, t.vpcs)
	keep(out.selectors, l.selectors, t.selectors)
	keep(out.uses, l.uses, t.uses)
	keep(out.ports, l.ports, t.ports)
	if t.ends {
		out.ends = l.ends
	}
	return out
}

// keep puts into to what from has under those keys.
func keep[K comparable, V any](to, from *cow.Map[K, V], keys map[K]bool) {
	for k := range keys {
		if v, ok := from.Get(k); ok {
			to.Set(k, v)
		}
	}
}

// sameVPCs reports whether a layout has the VPCs that another has, where a
// change touched them.
func (l *layout) sameVPCs(other *layout, t *touched) bool {
	for num := range t.vpcs {
		a, had := l.vpcs.Get(num)
		b, has := other.vpcs.Get(num)
		if had != has || a.id != b.id {
			return false
		}
	}
	return true
}

// prefixesOf are the addresses that an interface may use.
func prefixesOf(i ir.Interface) []netip.Prefix { return slices.Concat(i.Addrs, i.Allow) }
