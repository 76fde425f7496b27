package stackit

import (
	"fmt"
	"strings"

	"example.com/secgroup/sg"
	"example.com/secgroup/sg/dialect/internal/wire"
)

const (
	noLabels = "the model has no labels"
	noTime   = "the model has no such time"
)

func decodeGroup(r *wire.Reader, o *wire.Object) *sg.Group {
	d := r.NewDraft(o, "", fieldOf)
	d.Group.Stateless = !o.Bool("stateful", true)
	d.Group.Created = o.Time("createdAt")
	o.IgnoreObject("labels", noLabels)
	o.IgnoreText("updatedAt", noTime)
	list, ok := o.Objects("rules")
	o.Done()
	if !ok {
		d.Template(Profile().NewGroup, sg.Ingress)
		d.Template(Profile().NewGroup, sg.Egress)
	}
	d.Read(list, func(o *wire.Object) sg.Rule { return decodeRule(o, d.Group.ID) })
	return d.Done()
}

func decodeRule(o *wire.Object, group sg.GroupID) sg.Rule {
	r := sg.Rule{Description: o.Text("description")}
	id, _ := o.Optional("id")
	r.ID = sg.RuleID(id)
	if s, ok := o.Required("direction"); ok {
		d, err := sg.ParseDirection(s)
		o.Merge("direction", err)
		r.Direction = d
	}
	if s, ok := o.String("ethertype"); ok {
		f, err := sg.ParseFamily(s)
		if err != nil || f == sg.FamilyAny {
			o.Fault("ethertype", s, sg.ErrInvalid, "want IPv4 or IPv6; absent is both")
		}
		r.Family = f
	}
	r.Peer = remote(o)
	if r.Protocol = protocol(o, r.AddressFamily()); r.Protocol == 0 {
		o.Quiet("protocol") // what is wrong is told
	}
	r.Ports = ports(o, r.Protocol)
	r.ICMP = icmp(o)
	r.Family = familyOf(r)
	if s, ok := o.Optional("securityGroupId"); ok && group != "" && sg.GroupID(s) != group {
		o.Fault("securityGroupId", s, sg.ErrConflict, "the rule stands in group "+string(group))
	}
	o.IgnoreText("createdAt", noTime)
	o.IgnoreText("updatedAt", noTime)
	return r
}

func remote(o *wire.Object) sg.Peer {
	prefix, okPrefix := o.Optional("ipRange")
	group, okGroup := o.Optional("remoteSecurityGroupId")
	var peer sg.Peer
	if okGroup {
		peer = o.GroupPeer("remoteSecurityGroupId", group)
	}
	if okPrefix {
		peer = o.Prefix("ipRange", prefix)
	}
	switch {
	case okPrefix && okGroup:
		o.Fault("remoteSecurityGroupId", nil, sg.ErrConflict, "the rule has an ipRange")
	case !o.Has("ipRange") && !o.Has("remoteSecurityGroupId"):
		peer = sg.PeerAny()
	}
	if peer.Kind() == sg.PeerUnset {
		o.Quiet("ipRange") // what is wrong is told
	}
	return peer
}

// protocol reads the protocol of a rule for addresses of family f.
func protocol(o *wire.Object, f sg.Family) sg.Protocol {
	if !o.Has("protocol") {
		return sg.AnyProtocol
	}
	p := o.Object("protocol")
	if p == nil {
		return 0
	}
	defer p.Done()
	name, hasName := p.Optional("name")
	n, hasNumber := p.Int("number", 1, 255)
	byName, byNumber := sg.Protocol(0), sg.Protocol(n)
	if hasName {
		if byName = named(name); byName == 0 {
			p.Fault("name", name, sg.ErrInvalid, "want a protocol such as tcp, udp or icmp, or only its number")
			return 0
		}
	}
	if f == sg.IPv6 { // where ICMP is ICMPv6, by either number
		byName, byNumber = inIPv6(byName), inIPv6(byNumber)
	}
	switch {
	case hasName && hasNumber && byName != byNumber:
		p.Fault("number", n, sg.ErrConflict, fmt.Sprintf("not the number of %q", name))
		return 0
	case hasName:
		return byName
	case !hasNumber && !p.Has("name") && !p.Has("number"):
		o.Fault("protocol", nil, sg.ErrRequired, "a name or a number")
	}
	return byNumber
}

// named returns the protocol of that name, or 0.
func named(name string) sg.Protocol {
	for _, n := range protocolNames() {
		if n.name == strings.ToLower(name) {
			return n.p
		}
	}
	return 0
}

func inIPv6(p sg.Protocol) sg.Protocol {
	if p == sg.ICMP {
		return sg.ICMPv6
	}
	return p
}

func ports(o *wire.Object, p sg.Protocol) sg.PortRange {
	if !o.Has("portRange") {
		if p.HasPorts() {
			return sg.AllPorts()
		}
		return sg.PortRange{}
	}
	o.Quiet("portRange")
	if p != 0 && !p.HasPorts() {
		o.Skip("portRange")
		o.Fault("portRange", nil, sg.ErrInvalid, "protocol "+p.String()+" has no ports")
		return sg.PortRange{}
	}
	l := o.Object("portRange")
	if l == nil {
		return sg.PortRange{}
	}
	low, okLow := number(l, "min", 65535)
	high, okHigh := number(l, "max", 65535)
	l.Done()
	switch {
	case !okLow || !okHigh || !p.HasPorts():
		return sg.PortRange{}
	case low > high:
		l.Fault("min", low, sg.ErrInvalid, fmt.Sprintf("above max, which is %d", high))
	case high == 0:
		l.Fault("max", high, sg.ErrInvalid, "port 0 alone can not be named")
	}
	return sg.PortRange{First: uint16(low), Last: uint16(high)}
}

func icmp(o *wire.Object) sg.ICMPMatch {
	p := o.Object("icmpParameters")
	if p == nil {
		return sg.ICMPMatch{}
	}
	typ, okType := number(p, "type", 255)
	code, okCode := number(p, "code", 255)
	p.Done()
	if !okType || !okCode {
		return sg.ICMPMatch{}
	}
	return sg.ICMPTypeCode(uint8(typ), uint8(code))
}

// number reads a whole number from 0 to high that must be there.
func number(o *wire.Object, key string, high int) (int, bool) {
	if !o.Has(key) {
		o.Fault(key, nil, sg.ErrRequired, "")
	}
	return o.Int(key, 0, high)
}
