package nftables

import (
	"net/netip"

	"example.com/secgroup/compile"
	"example.com/secgroup/compile/ir"
	"example.com/secgroup/sg"
)

// connection is an entry of the kernel's connection table.
type connection struct {
	zone               uint16
	src, dst           netip.Addr // of the first packet
	replySrc, replyDst netip.Addr
	proto              uint8
	port               uint16 // destination port of the first packet
	icmpType, icmpCode uint8
	mark               uint32
}

// due is what is to become of connections after a change: it is done when the
// new policy is in force, and stays due if that fails.
type due struct {
	gone []place
	cut  bool // those that the policy refuses
}

// place is where connections of an interface are found that is no more.
type place struct {
	zone  int
	addrs []netip.Prefix
}

func (d *due) nothing() bool { return len(d.gone) == 0 && !d.cut }

// add notes what a change ends: interfaces that departed, and what next refuses
// if the epoch of before, 0 if there was none, is over.
func (d *due) add(departed []place, epoch uint16, next *layout) {
	d.gone = append(d.gone, departed...)
	if epoch != next.epoch && next.prog.Established() == sg.Cut {
		d.cut = true
	}
}

// departed are the interfaces that left, or are others now.
func departed(old, next *layout) (out []place) {
	for _, d := range old.devices.All() {
		now, ok := next.prog.Interface(d.iface.ID)
		same := ok && now.VPC == d.iface.VPC
		if next.prog.SameLineage(old.prog) {
			same = ok && now.Serial == d.iface.Serial
		}
		if !same {
			out = append(out, place{old.zoneOf(d.iface.VPCNum), d.iface.Addrs})
		}
	}
	return out
}

// endConnections does what is due.
func (b *Backend) endConnections() error {
	if b.due.nothing() {
		return nil
	}
	owners := b.now.layout.owners()
	_, err := b.kernel.sweep(func(c *connection) bool {
		return orphan(c, b.due.gone) || b.due.cut && owners.refused(b.now.matcher, c)
	})
	if err != nil {
		return &Error{Op: "apply", Err: ErrCleanup, Detail: "connections that it ends go on, apply again: " + err.Error()}
	}
	b.due = due{}
	return nil
}

// orphan reports whether c is a connection of one of the interfaces.
func orphan(c *connection, gone []place) bool {
	for _, g := range gone {
		if int(c.zone) != g.zone {
			continue
		}
		for _, p := range g.addrs {
			for _, a := range []netip.Addr{c.src, c.dst, c.replySrc, c.replyDst} {
				if p.Contains(a) {
					return true
				}
			}
		}
	}
	return false
}

// owners finds the interfaces of this host by address.
type owners map[int]*owned // by zone

type owned struct {
	hosts map[netip.Addr]ir.Interface
	nets  []device // interfaces of whole prefixes
}

func (l *layout) owners() owners {
	out := owners{}
	for _, d := range l.devices.All() {
		z := l.zoneOf(d.iface.VPCNum)
		if out[z] == nil {
			out[z] = &owned{hosts: map[netip.Addr]ir.Interface{}}
		}
		for _, p := range d.iface.Addrs {
			if p.IsSingleIP() {
				out[z].hosts[p.Addr()] = d.iface
			} else {
				out[z].nets = append(out[z].nets, d)
			}
		}
	}
	return out
}

func (o *owned) of(a netip.Addr) (ir.Interface, bool) {
	if i, ok := o.hosts[a]; ok {
		return i, true
	}
	for _, d := range o.nets {
		for _, p := range d.iface.Addrs {
			if p.Contains(a) {
				return d.iface, true
			}
		}
	}
	return ir.Interface{}, false
}

// refused reports whether the policy of m refuses what opened c, at one end or
// the other. Ends that have no address on this host refuse nothing.
func (o owners) refused(m *compile.Matcher, c *connection) bool {
	here := o[int(c.zone)]
	if here == nil {
		return false
	}
	refuses := func(d sg.Direction, local, remote netip.Addr) bool {
		i, ok := here.of(local)
		if !ok {
			return false
		}
		f := ir.Flow{Remote: remote, Protocol: c.proto, Port: c.port, ICMPType: c.icmpType, ICMPCode: c.icmpCode}
		v := m.Match(i.Index, d, f)
		return v.Action == sg.Drop || v.Stateless
	}
	return refuses(sg.Egress, c.src, c.dst) || refuses(sg.Ingress, c.replySrc, c.src)
}
