package hypervisor

import (
	"fmt"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

func decodeGroup(r *wire.Reader, o *wire.Object) *sg.Group {
	d := r.NewDraft(o, "", fieldOf)
	o.Nullable("user")
	d.Group.Scope = sg.User(sg.OwnerID(o.Text("user")))
	list, ok := o.Objects("rules")
	o.Done()
	if !ok {
		d.Template(Profile().NewGroup, sg.Ingress)
		d.Template(Profile().NewGroup, sg.Egress)
	}
	d.Read(list, decodeRule)
	return d.Done()
}

func decodeRule(o *wire.Object) sg.Rule {
	r := sg.Rule{Description: o.Text("description")}
	id, _ := o.Optional("id")
	r.ID = sg.RuleID(id)
	if s, ok := o.Required("direction"); ok {
		d, err := sg.ParseDirection(s)
		o.Merge("direction", err)
		r.Direction = d
	}
	r.Protocol = o.Protocol("protocol", "all", sg.TCP, sg.UDP, sg.ICMP, sg.ICMPv6)
	r.Ports = ports(o, r.Protocol)
	if s, ok := o.Required("ip_version"); ok {
		f, err := sg.ParseFamily(s)
		if err != nil || f == sg.FamilyAny {
			o.Fault("ip_version", s, sg.ErrInvalid, "want IPv4 or IPv6")
		}
		r.Family = f
	}
	r.Peer = remote(o)
	if r.Peer.Kind() == sg.PeerUnset {
		o.Quiet("source_type") // told
	}
	return r
}

// ports reads the two ends of a port range.
func ports(o *wire.Object, p sg.Protocol) sg.PortRange {
	o.Quiet("port_range_min") // what is wrong is told here
	if p != 0 && !p.HasPorts() {
		for _, key := range []string{"port_range_min", "port_range_max"} {
			if o.Skip(key); o.Has(key) {
				o.Fault(key, nil, sg.ErrInvalid, "protocol "+p.String()+" has no ports")
			}
		}
		return sg.PortRange{}
	}
	low, okLow := port(o, "port_range_min", p)
	high, okHigh := port(o, "port_range_max", p)
	if !okLow || !okHigh {
		return sg.PortRange{}
	}
	if low > high {
		o.Fault("port_range_min", low, sg.ErrInvalid, fmt.Sprintf("above port_range_max, which is %d", high))
	}
	return sg.PortRange{First: uint16(low), Last: uint16(high)}
}

func port(o *wire.Object, key string, p sg.Protocol) (int, bool) {
	if p.HasPorts() && !o.Has(key) {
		o.Fault(key, nil, sg.ErrRequired, "for one port, both are the same")
	}
	return o.Int(key, 1, 65535)
}

// remote reads the remote end: exactly the field that source_type names.
func remote(o *wire.Object) sg.Peer {
	typ, ok := o.Required("source_type")
	known := typ == sourceCIDR || typ == sourceGroup || typ == sourceSet
	if ok && !known {
		o.Fault("source_type", typ, sg.ErrInvalid, "want cidr, remote_group or ip_set")
	}
	var peer sg.Peer
	for _, key := range []string{sourceCIDR, sourceGroup, sourceSet} {
		if key == typ {
			if s, ok := o.Required(key); ok {
				peer = peerOf(o, key, s)
			}
			continue
		}
		if _, there := o.String(key); there && known {
			o.Fault(key, nil, sg.ErrConflict, "source_type is "+typ+", and a rule has one remote end")
		}
	}
	return peer
}

func peerOf(o *wire.Object, key, s string) sg.Peer {
	switch key {
	case sourceGroup:
		return o.GroupPeer(key, s)
	case sourceSet:
		return sg.PeerSet(sg.SetID(s))
	}
	return o.Prefix(key, s)
}
