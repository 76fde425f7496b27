package sg

// Rule allows traffic; there are no deny rules. Rule is comparable.
type Rule struct {
	ID          RuleID
	Direction   Direction
	Family      Family    // FamilyAny: derived from Peer or Protocol, or both families
	Protocol    Protocol  // required
	Ports       PortRange // required for TCP, UDP and SCTP; unset otherwise
	ICMP        ICMPMatch // only for ICMP and ICMPv6
	Peer        Peer      // required
	Description string
	Origin      string // what added the rule, if no person did, e.g. "aws: new group"
}

// Key returns r without ID, Description and Origin, with the family it takes
// effect for and one spelling of any: two rules with equal keys are duplicates.
func (r Rule) Key() Rule {
	r.Family = r.EffectiveFamily()
	if r.Peer.IsAny() {
		r.Peer = PeerAny()
	}
	r.ID, r.Description, r.Origin = "", "", ""
	return r
}

// EffectiveFamily returns the family that r is confined to: its own, else that
// of its CIDR, else that of its protocol, else FamilyAny. The family of an IP
// set is not known here.
func (r Rule) EffectiveFamily() Family {
	if f := r.AddressFamily(); f != FamilyAny {
		return f
	}
	return r.Protocol.Family()
}

// AddressFamily returns the family of r's own field or of its CIDR, whatever
// the protocol.
func (r Rule) AddressFamily() Family {
	if p, ok := r.Peer.CIDR(); ok && p.IsValid() && r.Family == FamilyAny {
		return FamilyOf(p.Addr())
	}
	return r.Family
}

// Validate reports every fault of r as Errors.
func (r Rule) Validate() error {
	var errs Errors
	errs.addName("id", string(r.ID))
	switch {
	case r.Direction == 0:
		errs.Add("direction", nil, ErrRequired, "want ingress or egress")
	case !r.Direction.Valid():
		errs.Add("direction", uint8(r.Direction), ErrInvalid, "want ingress or egress")
	}
	if !r.Family.Valid() {
		errs.Add("family", uint8(r.Family), ErrInvalid, "want ipv4, ipv6 or any")
	}
	r.validateProtocol(&errs)
	if f := r.Peer.validate(); f != nil {
		f.Path = "peer"
		errs = append(errs, f)
	} else if r.Family.Valid() {
		r.validateFamily(&errs)
	}
	return errs.Err()
}

func (r Rule) validateProtocol(errs *Errors) {
	switch {
	case r.Protocol == 0:
		errs.Add("protocol", nil, ErrRequired, "name one, or any")
		return
	case !r.Protocol.Valid():
		errs.Add("protocol", int(r.Protocol), ErrInvalid, "want a number from 1 to 255, or any")
		return
	}
	switch {
	case !r.Protocol.HasPorts() && !r.Ports.IsZero():
		errs.Add("ports", r.Ports, ErrInvalid, "protocol "+r.Protocol.String()+" has no ports")
	case r.Protocol.HasPorts() && r.Ports.IsZero():
		errs.Add("ports", nil, ErrRequired, "name a port, a range, or all")
	case r.Protocol.HasPorts() && !r.Ports.Valid():
		errs.Add("ports", r.Ports, ErrInvalid, "the first port is above the last")
	}
	if !r.Protocol.HasICMP() && !r.ICMP.IsAny() {
		errs.Add("icmp", r.ICMP, ErrInvalid, "protocol "+r.Protocol.String()+" has no ICMP types")
	}
}

// validateFamily checks that family, protocol and CIDR speak of the same IP
// version.
func (r Rule) validateFamily(errs *Errors) {
	if p, ok := r.Peer.CIDR(); ok && !r.Family.Matches(FamilyOf(p.Addr())) {
		errs.Add("peer", p, ErrFamily, "the rule is for "+r.Family.String())
		return
	}
	if f := r.Protocol.Family(); f != FamilyAny && r.EffectiveFamily() != f {
		errs.Add("protocol", r.Protocol, ErrFamily, r.Protocol.String()+" exists in "+f.String()+" only")
	}
}
